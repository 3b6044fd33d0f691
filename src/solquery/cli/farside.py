"""The verb `farside`: regions that a low-resolution map leaves possible."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .inputs import Scale
from .output import Reporter, emit, note, picture, quantity, readable, table, write_file, write_json
from .plugins import load_models
from .steering import Json, ModelName, Seed

if TYPE_CHECKING:
    from ..model import Model
    from ..steering.ensemble import Ensemble

__all__ = ["register"]

#: misfit beyond which the generator cannot draw what the sketch shows
_OFF = 2.0
Band = tuple[float, float]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(farside)


def farside(
    file: Annotated[
        Path, typer.Argument(help="FITS: radial field with signs, of low resolution; the region in the middle.")
    ],
    model: ModelName = None,
    resolution: Annotated[float, typer.Option(min=0.1, help="Full width at half maximum of the map, Mm.")] = 20.0,
    noise: Annotated[float, typer.Option(min=0.01, help="Standard error of its pixels, G.")] = 10.0,
    flux: Annotated[
        Band | None, typer.Option(metavar="VALUE ERROR", help="Unsigned flux on the model's grid, Mx.")
    ] = None,
    separation: Annotated[Band | None, typer.Option(metavar="VALUE ERROR", help="Of the polarities, Mm.")] = None,
    tilt: Annotated[Band | None, typer.Option(metavar="VALUE ERROR", help="Of the axis, deg.")] = None,
    members: Annotated[int, typer.Option(min=10, help="How many regions.")] = 100,
    keep: Annotated[int, typer.Option(min=1, help="How many of them are written as FITS files.")] = 10,
    degrade: Annotated[
        bool, typer.Option("--degrade", help="The file is an ordinary magnetogram: make the low-resolution map of it.")
    ] = False,
    seed: Seed = 0,
    scale: Scale = None,
    out: Annotated[Path, typer.Option(help="Folder for FITS files, picture and ensemble.json.")] = Path("farside"),
    json: Json = False,
) -> None:
    """Draw regions that a low-resolution map leaves possible, as many as asked for; none of them is an observation."""
    from ..sharp.fits import read_sharp
    from ..steering.ensemble import draw_ensemble, low_resolution

    models = load_models(model)
    sketch = read_sharp(file, strict_quality=False, scale_mm=scale)
    if degrade:
        sketch = low_resolution(sketch, models.preset, resolution_mm=resolution, noise_gauss=noise, seed=seed)
    given = {name: band for name, band in (("tuf", flux), ("psep", separation), ("tilt", tilt)) if band is not None}
    began = time.monotonic()
    with Reporter("drawing regions") as report:
        found = draw_ensemble(
            models, sketch, constraints=given, resolution_mm=resolution, noise_gauss=noise, members=members, seed=seed,
            progress=report.count,
        )  # fmt: skip
    document = {**_written(models, found, keep, out), "seconds": time.monotonic() - began}
    write_json(out / "ensemble.json", document)
    if json:
        emit(document)
        return
    rows = [
        (name, readable(e["median"]), readable(e["low"]), readable(e["high"]))
        for name, e in document["parameters"].items()
    ]
    table(["parameter", "median", "from", "to"], rows, title=f"{found!r}: the middle 68 %, on the model's grid")
    if found.misfit > _OFF:
        note(
            f"solquery: the members are off the map by {found.misfit:.1f} of its errors: the model cannot draw this "
            "region"
        )


def _written(models: Model, found: Ensemble, keep: int, out: Path) -> dict[str, Any]:
    """Write members, sketch and picture; what the document says of them."""
    from ..sharp.fits_writing import write_fits
    from ..steering.vocabulary import unit_of_target

    files = []
    for number, member in enumerate(found.members[:keep]):
        file = write_fits(
            member.to_patch(f"{found.sketch.id}-possible-{number:03d}"), out / f"member-{number:03d}.fits"
        )
        files.append(str(file))
    write_fits(found.sketch, out / "sketch.fits")
    parameters = {}
    for name, values in found.values.items():
        low, high = found.interval(name)
        unit = unit_of_target(name, True)
        middle = sum(found.interval(name, 0.0)) / 2
        parameters[name] = {
            key: quantity(value, unit) for key, value in (("median", middle), ("low", low), ("high", high))
        } | {"values": [float(v) for v in values]}
    shown = [member.x for member in found.members[:6]]
    titles = [f"possible {k} (generated)" for k in range(len(shown))]
    image = write_file(out / "members.png", picture(shown, models.preset, titles, found.sketch.id))
    return {
        "sketch": found.sketch.id, "members": len(found.members), "misfit": found.misfit, "model": models.name,
        "parameters": parameters, "files": files, "picture": str(image),
        "limits": "generated regions that the sketch leaves possible; none of them was observed",
    }  # fmt: skip
