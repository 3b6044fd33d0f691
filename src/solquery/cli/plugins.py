"""Plug-ins on the command line: loading the files, and giving models and archives what they lack of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .output import Reporter, note

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model

__all__ = ["hoisted", "load_models", "load_plugins", "measured_in"]


def hoisted(args: Sequence[str]) -> list[str]:
    """Arguments with every ``--plugin FILE`` moved before the verb: the option may stand anywhere."""
    end = list(args).index("--") if "--" in args else len(args)
    front: list[str] = []
    rest: list[str] = []
    k = 0
    while k < end:
        if args[k] == "--plugin" and k + 1 < end:
            front += args[k : k + 2]
            k += 2
            continue
        (front if args[k].startswith("--plugin=") else rest).append(args[k])
        k += 1
    return [*front, *rest, *args[end:]]


def load_plugins(files: Sequence[Path]) -> None:
    """Load them here, and name them in the environment for the processes that a verb starts."""
    if not files:
        return  # physics need not be loaded to print a verb's help
    from ..plugins import ENVIRONMENT, load_plugin

    for file in files:
        load_plugin(file)
        there = [part for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
        if str(file.resolve()) not in there:
            os.environ[ENVIRONMENT] = os.pathsep.join([*there, str(file.resolve())])


def load_models(where: str | None, encoder: str | None = None) -> Model:
    """A model, with a direction for each parameter of the plug-ins, and with another encoder where one is named."""
    from ..model import Model
    from ..physics import get_parameter, plugin_names

    model = Model.load(where)
    if model.directions is not None:
        missing = [n for n in plugin_names() if n not in model.directions.names and get_parameter(n).default]
        if missing:
            from ..extension import extend_directions

            with Reporter("plug-in") as report:
                report(f"fitting the direction of {', '.join(missing)}")
                model.directions = extend_directions(model, missing)
    return model if encoder is None else model.with_encoder(encoder)


def measured_in(store: Archive) -> None:
    """Measure the parameters of plug-ins on an archive that has no column for them yet."""
    from ..physics import get_parameter, plugin_names

    present = set(store.columns)
    missing = [name for name in plugin_names() if name not in present and get_parameter(name).default]
    if missing:
        note(f"measuring {', '.join(missing)} on the {len(store)} patches of {store.uri}")
        store.measure(missing)
