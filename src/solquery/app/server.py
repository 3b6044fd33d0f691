"""The HTTP API and the page: routes over a `Service`, work in lanes, every failure as one line of JSON."""

from __future__ import annotations

import logging
import mimetypes
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from .. import __version__
from ..aliases import Document, Entries
from ..errors import SolqueryError
from ..physics import parameters
from ..sharp.fits import UnreadableFits
from ..steering import OutOfReach
from . import answers as a
from . import models_found as f
from . import schemas as m
from .inversion_routes import inversion_routes
from .lanes import Busy, Lane, Superseded, TooSlow
from .packed import MEDIA_TYPE, field_record, pack
from .security import Guard
from .service import Missing, Service

if TYPE_CHECKING:
    import numpy as np

__all__ = ["create_app"]

_LOG = logging.getLogger("solquery.app")
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}

Format = Annotated[
    Literal["json", "packed", "fits"],
    Query(description="JSON; JSON and float16 fields in one binary body; or a FITS file (of the first patch)."),
]
_FITS_BODY = {
    "requestBody": {
        "required": False,
        "description": "A FITS file, plain or gzipped, at most 32 MB.",
        "content": {"application/fits": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_OTHER_BODIES: Document = {"content": {MEDIA_TYPE: {}, "application/fits": {}}}
_PROBLEMS: dict[int | str, Document] = {
    code: {"model": a.Problem, "description": text}
    for code, text in {
        400: "The request cannot be read.",
        401: "A token is needed.",
        403: "Another site may not ask.",
        404: "Not here.",
        409: "The same client has asked for something newer.",
        413: "Too large.",
        415: "A form, where the file itself is wanted.",
        422: "Understood, but it cannot be answered; the message says why.",
        503: "Too much to do; ask again in a moment.",
        504: "Took too long.",
    }.items()
}


def _problem(status: int, kind: str, message: str, nearest: Mapping[str, float] | None = None) -> JSONResponse:
    headers = {"retry-after": "1"} if status == 503 else None
    problem: Document = {"kind": kind, "message": message}
    if nearest:
        problem["nearest"] = dict(nearest)
    return JSONResponse({"error": problem}, status, headers=headers)


def _refusal(error: Entries) -> str:
    """What pydantic found wrong, with the words of the page for the fields of the API."""
    where = [str(part) for part in error.get("loc", ()) if part not in ("body", "query", "path", "filters")]
    known: Entries = parameters()
    if where[:1] == ["blobs"] and len(where) > 1:
        # a person counts from one; the flux of a blob is no parameter of a region
        where, known = [f"blob {int(where[1]) + 1}", *where[2:]], {}
    named = [_WORDS[part] if part in _WORDS else known[part].title if part in known else part for part in where]
    said = str(error.get("msg", "not understood")).removeprefix("Value error, ")
    return f"{', '.join(part for part in named if part)}: {said}" if where else said


#: fields of a request, as people call them
_WORDS = {
    "z": "latent vector",
    "k": "number of matches",
    "n": "number of patches",
    "set": "",
    "hold": "held values",
    "parameters": "",
    "latitude_deg": "latitude",
    "longitude_deg": "longitude",
    "mu_min": "least μ",
    "since": "first day",
    "until": "last day",
    "describe": "description",
}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, "invalid", _refusal(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        response = _problem(error.status_code, "refused", str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(SolqueryError)
    async def known(_: Request, error: SolqueryError) -> JSONResponse:
        if isinstance(error, Missing):
            return _problem(404, "not found", _one_line(error))
        kinds = {OutOfReach: "out of reach", UnreadableFits: "unreadable"}
        kind = next((text for known_as, text in kinds.items() if isinstance(error, known_as)), "invalid")
        said, nearest = _one_line(error), getattr(error, "nearest", None)
        for name in nearest or ():
            if name in parameters():
                said = said.replace(f"{name} = ", f"{parameters()[name].title} ")
        return _problem(422, kind, said, nearest)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return _problem(503, "busy", "the server has more to do than it can hold; try again in a moment")

    @app.exception_handler(TooSlow)
    async def slow(_: Request, error: TooSlow) -> JSONResponse:
        return _problem(504, "too slow", "this took too long; try again, or ask for less at once")

    @app.exception_handler(Superseded)
    async def stale(_: Request, error: Superseded) -> JSONResponse:
        return _problem(409, "superseded", "a newer request of the same client came first")

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _problem(500, "fault", "this is a fault of the server, not yours; its log says more")


def _shaped(how: str, document: Document, fields: np.ndarray, record: Callable[[], bytes]) -> Response:
    """A document with one field (H, W) in the format asked for."""
    if how == "packed":
        return Response(pack(document, fields), media_type=MEDIA_TYPE)
    if how == "fits":
        named = {"content-disposition": 'attachment; filename="solquery.fits"'}
        return Response(record(), media_type="application/fits", headers=named)
    return JSONResponse({**document, "field": field_record(fields)})


def _of(client: str | None, kind: str) -> str | None:
    """A client's changes supersede each other, and so do its searches, but not one the other."""
    return None if client is None else f"{kind}:{client}"


async def _file_body(request: Request) -> bytes:
    """The FITS file in the body of a request; forms of browsers are refused with the way to send a file."""
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/"):
        raise HTTPException(
            415, "the body is a form (multipart); send the file itself, e.g. curl --data-binary @FILE with ?name=FILE"
        )
    return await request.body()


class _Lanes(NamedTuple):
    """Where requests wait: none waits behind another kind."""

    hand: Lane
    work: Lane
    long: Lane
    #: errors take a second or two: they wait behind each other, and nothing behind them
    errors: Lane


def create_app(service: Service, *, token: str | None = None) -> Guard:
    """The ASGI application of a service.

    Parameters
    ----------
    service
        Model and archive.
    token
        What every request must carry, for a server that other machines reach; None for this machine alone.
    """
    cores = os.cpu_count() or 2
    # a slider, a search, an inversion, errors
    lanes = _Lanes(
        Lane("hand", max(2, cores), 64, 15.0),
        Lane("work", max(2, cores), 32, 45.0),
        Lane("long", 1, 6, 240.0),
        Lane("errors", 1, 16, 60.0),
    )

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.inversions.close()
        for lane in lanes:
            lane.close()

    app = FastAPI(
        title="Solquery",
        version=__version__,
        summary="Describe a solar active region, see it, find it in an archive.",
        description="Fields are in gauss; row 0 is the southernmost, column 0 the easternmost. Every parameter comes "
        "with its unit; of a calibrated model all are at native scale, with a band where they are estimates. "
        "Generated patches are made by a network: they are no observations.",
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, lifespan=life, responses=_PROBLEMS,
    )  # fmt: skip
    _handlers(app)
    _overviews(app, service, lanes)
    _generation(app, service, lanes)
    _archive(app, service, lanes)
    _observations(app, service, lanes)
    inversion_routes(app, service, lanes.work, lanes.long)
    _page(app)
    return Guard(app, token, large=("/api/patch", "/api/invert"))


def _overviews(app: FastAPI, service: Service, lanes: _Lanes) -> None:
    """Routes that tell what there is: model, archive, parameters, the spaces of both."""
    work = lanes.work

    @app.get("/api/health", response_model=a.HealthOut)
    async def health() -> Response:
        """Version, model and archive."""
        return JSONResponse(service.health())

    @app.get("/api/parameters", response_model=a.ParametersOut)
    async def parameters() -> Response:
        """Every parameter: title, unit, definition, reach, and its histogram in the archive."""
        return JSONResponse(await work.run(service.parameters))

    @app.get("/api/map", response_model=a.MapOut)
    async def latent_map(parameter: Annotated[str, Query(max_length=64)] = "tuf") -> Response:
        """The latent space in two dimensions in which the boundary of a parameter is a line."""
        return JSONResponse(await work.run(partial(service.map, parameter)))

    @app.get("/api/cloud", response_model=a.CloudOut)
    async def cloud(
        x: Annotated[str, Query(max_length=64)] = "tuf", y: Annotated[str, Query(max_length=64)] = "r"
    ) -> Response:
        """Two parameters of the patches of the archive."""
        return JSONResponse(await work.run(partial(service.cloud, x, y)))

    @app.get("/api/space", response_model=f.SpaceOut)
    async def space(
        column: Annotated[str, Query(max_length=64)] = "tuf",
        places: Annotated[bool, Query(description="False: only the column, for places that are known.")] = True,
    ) -> Response:
        """The encoder's space of the archive in two dimensions, with a column to colour it by."""
        return JSONResponse(await work.run(partial(service.space, column, places)))


def _generation(app: FastAPI, service: Service, lanes: _Lanes) -> None:
    """Routes that make patches."""
    hand, work = lanes.hand, lanes.work

    @app.post("/api/edit", response_model=a.AnswerOut, responses={200: _OTHER_BODIES})
    async def edit(asked: m.EditIn, format: Format = "json") -> Response:
        """Change one patch, holding some of its parameters."""
        lane = work if asked.exact and asked.set else hand
        document, field = await lane.run(partial(service.edit, asked), _of(asked.client, "change"))
        return _shaped(
            format, document, field, lambda: service.fits_bytes(service.generated_patch(document["z"], field))
        )

    @app.post("/api/generate", response_model=a.GenerateOut, responses={200: _OTHER_BODIES})
    async def generate(asked: m.GenerateIn, format: Format = "json") -> Response:
        """Make patches with the properties asked for."""
        began = time.monotonic()
        answers, fields = await work.run(partial(service.generate, asked), _of(asked.client, "change"))
        seconds = time.monotonic() - began
        if format == "fits":
            patch = service.generated_patch(answers[0]["z"], fields[0])
            return _shaped(format, {}, fields[0], lambda: service.fits_bytes(patch))
        if format == "packed":
            return _shaped(format, {"answers": answers, "seconds": seconds}, fields, bytes)
        made = [{**answer, "field": field_record(field)} for answer, field in zip(answers, fields, strict=True)]
        return JSONResponse({"answers": made, "seconds": seconds})


def _archive(app: FastAPI, service: Service, lanes: _Lanes) -> None:
    """Routes that find patches of the archive."""
    hand, work = lanes.hand, lanes.work

    @app.post("/api/search", response_model=a.SearchOut)
    async def search(asked: m.SearchIn) -> Response:
        """The patches of the archive that look most like a query."""
        return JSONResponse(await work.run(partial(service.search, asked), _of(asked.client, "search")))

    @app.post("/api/understand", response_model=f.UnderstoodOut)
    async def understand(asked: f.UnderstandIn) -> Response:
        """Read a line of text: what it says of observations, what of the physics, and what is not understood."""
        return JSONResponse(await hand.run(partial(service.understand, asked.text)))

    @app.post("/api/frames", response_model=f.FramesOut)
    async def frames(asked: f.FramesIn) -> Response:
        """The frames of the archive that meet filters, in the order of time."""
        return JSONResponse(await work.run(partial(service.frames, asked)))

    @app.post("/api/estimate", response_model=a.EstimateOut)
    async def estimate(asked: m.EstimateIn) -> Response:
        """Where patches lie in the latent space, estimated in one pass; 404 where the model cannot."""
        return JSONResponse(await work.run(partial(service.estimate, asked.ids), _of(asked.client, "estimate")))


def _observations(app: FastAPI, service: Service, lanes: _Lanes) -> None:
    """Routes that read, show and invert one observation."""
    work, long, long_reads = lanes.work, lanes.long, lanes.errors

    @app.get("/api/errors/{patch_id:path}", response_model=a.ErrorsOut)
    async def errors(patch_id: Annotated[str, Path(max_length=300)]) -> Response:
        """Standard errors of the parameters of an observation, from the noise of its own quiet pixels."""
        return JSONResponse(await long_reads.run(partial(service.errors, patch_id)))

    @app.post("/api/patch", response_model=a.PatchOut, openapi_extra=_FITS_BODY, responses={200: _OTHER_BODIES})
    async def read(
        request: Request, name: Annotated[str, Query(max_length=200)] = "", format: Format = "json"
    ) -> Response:
        """Read an observation: a FITS file as the body. It is remembered for a while, by the id that comes back."""
        data = await _file_body(request)
        patch_id, patch = await work.run(partial(service.read, data, name))
        document, field = await work.run(partial(service.describe, patch_id, "preset"))
        return _shaped(format, document, field, lambda: service.fits_bytes(patch))

    @app.get("/api/patch/{patch_id:path}", response_model=a.PatchOut, responses={200: _OTHER_BODIES})
    async def patch(
        patch_id: Annotated[str, Path(max_length=300)],
        grid: Annotated[
            Literal["native", "preset"], Query(description="Native scale, or the preset's grid.")
        ] = "preset",
        format: Format = "json",
    ) -> Response:
        """A patch of the archive, or an upload."""
        if format == "fits":
            found = await work.run(partial(service.patch, patch_id))
            return _shaped(format, {}, found.field, lambda: service.fits_bytes(found))
        document, field = await work.run(partial(service.describe, patch_id, grid))
        return _shaped(format, document, field, bytes)

    @app.post("/api/invert", response_model=a.InversionOut, openapi_extra=_FITS_BODY, responses={200: _OTHER_BODIES})
    async def invert(
        request: Request,
        patch: Annotated[str | None, Query(max_length=300, description="Id; without it the body is FITS.")] = None,
        name: Annotated[str, Query(max_length=200, description="Name of the file in the body.")] = "",
        starts: Annotated[int, Query(ge=1, le=16, description="Among which the start is chosen.")] = 4,
        steps: Annotated[int, Query(ge=2, le=400, description="Of the picture and the physics together.")] = 50,
        seed: Annotated[int, Query(ge=0, lt=2**32)] = 0,
        prior: Annotated[
            float, Query(ge=0, le=100, description="Pull to where the model was trained, from where edits succeed.")
        ] = 0.5,
        format: Annotated[Literal["json", "packed"], Query()] = "json",
    ) -> Response:
        """The latent vector whose patch comes closest to an observation, with its physics; packed: original and that.

        Waits until it is done; `/api/inversions` answers with a guess at once.
        """
        if patch is None:
            data = await _file_body(request)
            patch, _ = await work.run(partial(service.read, data, name))
        document, fields = await long.run(partial(service.invert, str(patch), starts, steps, seed, prior))
        return _shaped(format, document, fields if format == "packed" else fields[1], bytes)


def _page(app: FastAPI) -> None:
    """The files of the page, read once; a name from a client is looked up among them and never opened."""
    folder = files("solquery").joinpath("app", "page")
    shipped = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}

    def send(name: str) -> Response:
        if name not in shipped:
            raise HTTPException(404, "no such page; go to /")
        suffix = name[name.rfind(".") :]
        kind = _KINDS.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(shipped[name], media_type=kind, headers={"cache-control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return send("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return send(name)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return send("sun.svg")
