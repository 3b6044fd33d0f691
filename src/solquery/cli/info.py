"""The verb `info`: what is installed, and what an archive, a preset or a model holds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document, Entries
from .options import Json
from .output import emit, plain, readable, table
from .steering import model_info

if TYPE_CHECKING:
    from torch import nn

__all__ = ["register"]

#: of a model's preset, what a person looks for first; all else is in the JSON document
_GRID = ("name", "shape", "scale_mm", "clip_gauss")


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(info)


def info(
    archive: Annotated[str | None, typer.Option(help="Directory or URI of an archive.")] = None,
    preset: Annotated[str | None, typer.Option(help="Name of a preset.")] = None,
    model: Annotated[str | None, typer.Option("--model", "--bundle", help="Name or folder of a model.")] = None,
    json: Json = False,
) -> None:
    """Describe an archive, a preset or a model; without any of them, what there is."""
    if sum(what is not None for what in (archive, preset, model)) > 1:
        raise typer.BadParameter("--archive, --preset and --model exclude each other")
    if archive is not None:
        from ..archive.store import Archive

        document = Archive.open(archive).info()
    elif preset is not None:
        document = _preset(preset)
    elif model is not None:
        document = model_info(model)
    else:
        document = _installed()
    if json:
        emit(document)
    elif model is not None:
        _lines(_flat(_in_short(document)))
        _parameters(document["directions"] or {})
    elif archive is None and preset is None:
        _lines(_flat({name: value for name, value in document.items() if name != "parameters"}))
        rows = document["parameters"].items()
        table(
            ["parameter", "", "unit", "where the grid has no scale"],
            [(name, p["title"], p["unit"] or "–", p["grid_unit"] or "–") for name, p in rows],
            left=(1, 2, 3),
        )
    else:
        _lines(_flat(plain(document)))


def _installed() -> Document:
    from .. import __version__
    from ..config import PRESETS
    from ..model import Model
    from ..physics import parameters

    known = {p.name: {"title": p.title, "unit": p.unit, "grid_unit": p.grid_unit} for p in parameters().values()}
    return {"version": __version__, "presets": sorted(PRESETS), "models": Model.list(), "parameters": known}


def _in_short(document: Entries) -> Document:
    """A model's name, grid and networks."""
    preset = document["preset"]
    short = {"name": document["name"], "hash": document["hash"], "preset": {name: preset[name] for name in _GRID}}
    for kind in ("generator", "encoder"):
        if kind in document:
            words = {name: preset[kind][name] for name in ("arch", "loss")}
            short[kind] = {**words, "parameters": f"{document[kind]['parameters']:,}"}
    return short


def _parameters(directions: Mapping[str, Entries]) -> None:
    """What can be asked of a model: a table."""
    from ..physics import get_parameter, parameters

    known = parameters()
    table(
        ["parameter", "", "median", "accuracy of its direction", "by guessing"],
        [
            (name, get_parameter(name).title if name in known else "", readable(row["median"]),
             f"{row['accuracy']:.2f}", f"{row['chance']:.2f}")
            for name, row in directions.items()
        ],
        left=(1,),
    )  # fmt: skip


def _lines(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    table(["", ""], pairs, left=(1,))


def _flat(document: Entries, before: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines of a table."""
    for key, value in document.items():
        if isinstance(value, Mapping) and set(value) == {"value", "unit"}:
            yield before + key, readable(value)
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            shown = ", ".join(str(part) for part in itertools.islice(value, 12))
            yield before + key, shown + (", …" if len(value) > 12 else "")
        else:
            yield before + key, "–" if value is None else str(value)


def _preset(name: str) -> Document:
    """The settings of a preset and the sizes of its networks."""
    import torch

    from ..config import get_preset
    from ..encoder.networks import Predictor, build_encoder
    from ..generator.registry import build_discriminator, build_generator

    preset = get_preset(name)
    document = dataclasses.asdict(preset)
    with torch.random.fork_rng(devices=[]):
        document["generator"]["parameters"] = _size(build_generator(preset.generator, preset.shape))
        document["discriminator"] = {"parameters": _size(build_discriminator(preset.generator, preset.shape))}
        document["encoder"]["parameters"] = _size(build_encoder(preset.encoder))
        document["predictor"] = {"parameters": _size(Predictor(preset.encoder))}
    return document


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
