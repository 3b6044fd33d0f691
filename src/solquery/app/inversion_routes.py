"""Routes of inversions under way: begin one, of an observation or a sketch, look how far it is, give it up."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Path, Query
from fastapi.responses import JSONResponse, Response

from ..aliases import Document
from . import answers as a
from .lanes import Busy, Lane, TooSlow
from .packed import MEDIA_TYPE, field_record, pack
from .schemas import SketchIn

if TYPE_CHECKING:
    import numpy as np

    from .inversions import InversionJob
    from .service import Service

__all__ = ["inversion_routes"]

_PACKED: dict[int | str, Document] = {200: {"content": {MEDIA_TYPE: {}}}}
_Id = Annotated[str, Path(max_length=64)]
_Packed = Annotated[bool, Query(description="JSON and the reconstruction as float16 in one binary body.")]


def inversion_routes(app: FastAPI, service: Service, work: Lane, long: Lane) -> None:
    """Add the routes to an application; guesses are made in the lane `work`, refined in the lane `long`."""
    tasks: set[asyncio.Task[None]] = set()

    def answered(document: Document, field: np.ndarray, packed: bool) -> Response:
        if packed:
            return Response(pack(document, field), media_type=MEDIA_TYPE)
        return JSONResponse({**document, "field": field_record(field)})

    async def refine(job: InversionJob) -> None:
        try:
            await long.run(job.run)
        except Busy:
            job.give_up("the server has too many inversions to do; try again in a moment")
        except TooSlow:
            job.cancel()

    async def begun(job: InversionJob, packed: bool) -> Response:
        task = asyncio.create_task(refine(job))
        # an event loop keeps no hold of its tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return answered(*await work.run(partial(service.inversion, job.id)), packed)

    @app.post("/api/inversions", response_model=a.InversionStateOut, responses=_PACKED)
    async def begin(
        patch: Annotated[str, Query(max_length=300, description="Id of a patch of the archive, or of an upload.")],
        client: Annotated[
            str | None, Query(max_length=64, description="Who asks; its older inversions are given up.")
        ] = None,
        packed: _Packed = False,
    ) -> Response:
        """Begin to invert an observation: the answer is a guess, and the id by which its refinement is followed."""
        return await begun(await work.run(partial(service.begin_inversion, patch, client)), packed)

    @app.post("/api/sketch", response_model=a.InversionStateOut, responses=_PACKED)
    async def sketch(asked: SketchIn, packed: _Packed = False) -> Response:
        """Begin to draw a region with the physics of a sketch; it is followed and given up as an inversion is."""
        return await begun(await work.run(partial(service.begin_sketch, asked)), packed)

    @app.get("/api/inversions/{inversion_id}", response_model=a.InversionStateOut, responses=_PACKED)
    async def look(inversion_id: _Id, packed: _Packed = False) -> Response:
        """Where an inversion stands. One that nobody asks about for twenty seconds is given up."""
        return answered(*await work.run(partial(service.inversion, inversion_id)), packed)

    @app.delete("/api/inversions/{inversion_id}", response_model=a.InversionStateOut, responses=_PACKED)
    async def cancel(inversion_id: _Id, packed: _Packed = False) -> Response:
        """Give an inversion up: it ends within one evaluation of a few patches, and keeps what it has come to."""
        service.cancel_inversion(inversion_id)
        return answered(*await work.run(partial(service.inversion, inversion_id)), packed)
