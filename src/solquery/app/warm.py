"""The first calls of a page, made before the address is printed: what compiles or is cached, does so here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import SolqueryError
from .schemas import EditIn, GenerateIn, SearchIn

if TYPE_CHECKING:
    from .service import Service

__all__ = ["FIRST", "warm"]

#: the patch on which the page opens
FIRST = "strong, wide bipole"


def warm(service: Service, progress: Callable[[int, int], None] | None = None) -> None:
    """Make every kind of request once, so that the first user does not wait for it.

    Parameters
    ----------
    service
        Of the server that is about to start.
    progress
        Called with the number of requests made and of all.
    """
    names = [name for name in service.directions.names if not service.directions.is_binary(name)]
    try:
        made = service.generate(GenerateIn.model_validate({"describe": FIRST}))[0][0]
    except SolqueryError:
        # a model without directions for these words
        made = service.generate(GenerateIn.model_validate({"seed": 1}))[0][0]
    z, value = made["z"], made["measured"][names[0]]["value"]
    asked = {"z": z, "set": {names[0]: value}}
    steps: list[Callable[[], object]] = [
        service.parameters,
        lambda: service.map(names[0]),
        lambda: service.edit(EditIn.model_validate({**asked, "exact": False})),
        lambda: service.edit(EditIn.model_validate(asked)),
    ]
    if service.catalogue is not None:
        steps += [lambda: service.cloud(names[0], names[-1])]
        for by in ("embedding", "hybrid", "physics"):
            steps.append(partial(service.search, SearchIn.model_validate({"z": z, "by": by})))
        steps += [lambda: service.describe(str(service.catalogue.ids[0]), "native")]  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, step in enumerate(steps, start=1):
            step()
            if progress is not None:
                progress(k, len(steps))
