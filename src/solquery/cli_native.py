"""``solquery bundle native``: measure what numbers on a bundle's grid are worth at the scale of the observations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_output import Reporter, emit, quantity, table
from .errors import SolqueryError

if TYPE_CHECKING:
    from .bundle import Bundle

__all__ = ["native_record", "register"]


def register(bundle_app: typer.Typer) -> None:
    """Add the verb of this file."""
    bundle_app.command("native")(native)


def native(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle; it is written again.")],
    archive: Annotated[str, typer.Option("--archive", help="Archive whose patches are compared with their grids.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fit the curves from the bundle's grid to native scale, and keep them in the bundle."""
    from .archive.store import Archive
    from .bundle import Bundle
    from .retrieval.embedding import embed_archive
    from .steering.native import NATIVE_KEY, fit_native

    models = Bundle.load(bundle)
    if not models.preset.physical:
        raise SolqueryError(
            f"{bundle} is of preset {models.preset.name!r}, which stretches patches: its numbers have no scale to "
            "convert; use a bundle of preset physical"
        )
    store = Archive.open(archive)
    with Reporter("measuring on the grid") as report:
        embed_archive(store, models, report.count)
    record = fit_native(store, models.preset.name)
    models.metadata[NATIVE_KEY] = record
    models.save(bundle)
    if json:
        emit({"bundle": str(bundle), "hash": models.hash, **record})
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


def native_record(models: Bundle, got: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """What numbers on the grid are worth at native scale, for JSON; empty for a bundle that was not told."""
    from .physics import unit_of
    from .steering.native import NATIVE_KEY, native_estimates

    found = native_estimates(models.metadata.get(NATIVE_KEY), got)
    return {
        name: quantity(entry["value"], unit_of(name, True), **{k: v for k, v in entry.items() if k != "value"})
        for name, entry in found.items()
    }
