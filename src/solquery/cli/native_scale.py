"""``solquery model native``: measure what numbers on a model's grid are worth at the scale of the observations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SolqueryError
from .output import Reporter, emit, quantity, table

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["native_record", "register"]


def register(model_app: typer.Typer) -> None:
    """Add the verb of this file."""
    model_app.command("native")(native)


def native(
    model: Annotated[Path, typer.Argument(help="Folder of the model; it is written again.")],
    archive: Annotated[str, typer.Option("--archive", help="Archive whose patches are compared with their grids.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fit the curves from the model's grid to native scale, and keep them in the model."""
    from ..archive.store import Archive
    from ..encoder.embedding import embed_archive
    from ..model import Model
    from ..steering.native_scale import NATIVE_KEY, fit_native

    models = Model.load(model)
    if not models.preset.physical:
        raise SolqueryError(
            f"{model} is of preset {models.preset.name!r}, which stretches patches: its numbers have no scale to "
            "convert; use a model of preset physical"
        )
    store = Archive.open(archive)
    with Reporter("measuring on the grid") as report:
        embed_archive(store, models, report.count)
    record = fit_native(store, models.preset.name)
    models.metadata[NATIVE_KEY] = record
    models.save(model)
    if json:
        emit({"model": str(model), "hash": models.hash, **record})
        return
    rows = []
    for name, curve in record["curves"].items():
        middle = len(curve["grid"]) // 2
        band = f"{curve['low'][middle]:.2f} to {curve['high'][middle]:.2f}"
        covered = ", ".join(f"{c['share']:.0%} of {c['patches']:,} {kind}" for kind, c in curve["coverage"].items())
        ends = (f"{curve['middle'][0]:.3f}", f"{curve['middle'][-1]:.3f}")
        rows.append([name, f"{curve['middle'][middle]:.3f}", band, *ends, covered])
    made = ", ".join(
        f"{c['patches']:,} {kind} patches of {c['regions']:,} regions" for kind, c in record["fitted_on"].items()
    )
    columns = ["parameter", "median region", "two thirds between", "weakest", "strongest", "in the band"]
    table(columns, rows, title=f"native / grid, fitted on {made}")


def native_record(models: Model, got: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """What numbers on the grid are worth at native scale, for JSON; empty for a model that was not told."""
    from ..physics import unit_of
    from ..steering.native_scale import NATIVE_KEY, native_estimates

    found = native_estimates(models.metadata.get(NATIVE_KEY), got)
    return {
        name: quantity(entry["value"], unit_of(name, True), **{k: v for k, v in entry.items() if k != "value"})
        for name, entry in found.items()
    }
