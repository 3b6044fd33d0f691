"""``solquery model native``: calibrate a model from its grid to the scale of the observations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..aliases import Entries
from ..errors import SolqueryError
from .options import Json
from .output import Reporter, emit, note, table

__all__ = ["register"]

#: a band that is to hold two thirds is told as one that does not where it holds less or more observed patches
_HOLDS = (0.55, 0.80)


def register(model_app: typer.Typer) -> None:
    """Add the verb of this file."""
    model_app.command("native")(native)


def native(
    model: Annotated[Path, typer.Argument(help="Folder of the model; it is written again.")],
    archive: Annotated[
        list[str],
        typer.Option(
            "--archive",
            help="Archive of simulated or observed patches; may be repeated. Observed ones set the width of the bands.",
        ),
    ],
    quantity: Annotated[str, typer.Option(help="radial or line-of-sight: which fields are compared.")] = "radial",
    out: Annotated[Path | None, typer.Option(help="Write the model to this folder and leave the first one.")] = None,
    json: Json = False,
) -> None:
    """Calibrate a model from its grid to native scale, with bands whose coverage is counted on unseen regions."""
    from ..archive.store import Archive
    from ..model import Model
    from ..steering.native_fit import fit_native, grid_pairs
    from ..steering.native_scale import NATIVE_KEY
    from .directions import encoder_home

    models = Model.load(model)
    if not models.preset.physical:
        raise SolqueryError(
            f"{model} is of preset {models.preset.name!r}, which stretches patches: its numbers have no scale to "
            "convert; use a model of preset physical"
        )
    if quantity not in ("radial", "line-of-sight"):
        raise typer.BadParameter(f"--quantity is radial or line-of-sight, got {quantity!r}")
    stores = [Archive.open(one) for one in archive]
    with Reporter("measuring on the grid") as report:
        pairs = grid_pairs(stores, models.preset, quantity, report.count)
    record = {**fit_native(pairs), "quantity": quantity}
    models.metadata[NATIVE_KEY] = record
    home = model if out is None else out
    models.save(home, encoder_from=encoder_home(home))
    if "real" not in record["fitted_on"]:
        note("the bands are those of simulated patches alone; name an archive of observed ones with --archive as well")
    if json:
        emit({"model": str(home), "hash": models.hash, **record})
        return
    made = ", ".join(
        f"{c['patches']:,} {kind} patches of {c['regions']:,} regions" for kind, c in record["fitted_on"].items()
    )
    columns = ["parameter", "native / grid", "weakest", "strongest", "two thirds within", "coverage"]
    table(columns, [_row(name, c) for name, c in record["curves"].items()], title=f"fitted on {made}")


def _row(name: str, curve: Entries) -> list[str]:
    """One parameter: the curve at its middle and ends, the band in the middle, and how often it holds."""
    middle = len(curve["grid"]) // 2
    covered = ", ".join(
        f"{c['share']:.0%} of {c['patches']:,} {kind}{_doubt(kind, c)}" for kind, c in curve["coverage"].items()
    )
    places = (middle, 0, -1)
    value, low, high = (curve[key][middle] for key in ("native", "low", "high"))
    if curve["kind"] == "log":
        shown = [f"{curve['native'][k] / curve['grid'][k]:.3f}" for k in places]
        band = f"{100 * (low / value - 1):+.0f} %, {100 * (high / value - 1):+.0f} %"
    else:
        shown = [f"{curve['native'][k] - curve['grid'][k]:+.3g}" for k in places]
        band = f"{low - value:+.2g}, {high - value:+.2g}"
    return [name, *shown, band.replace("-", "−"), covered]


def _doubt(kind: str, found: Entries) -> str:
    return " (!)" if kind == "real" and not _HOLDS[0] <= found["share"] <= _HOLDS[1] else ""
