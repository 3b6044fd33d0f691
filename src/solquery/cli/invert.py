"""``solquery invert``: the latent vectors whose patches come closest to observations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SolqueryError
from .inputs import Reproject, Scale, Segment, Unit, fits_files, grid_of, read_patches, refusal
from .output import Reporter, emit, picture, quantities, quantity, readable, table, tell_band, write_file, write_json
from .plugins import load_models
from .steering import Grid, Json, ModelName, Seed, measured_on_grid

if TYPE_CHECKING:
    from ..model import Model
    from ..patch import Patch

__all__ = ["register"]

#: patches inverted together
_LOT = 32


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(invert)


def invert(
    files: Annotated[list[Path], typer.Argument(help="SHARP FITS files, or directories of them.")],
    model: ModelName = None,
    starts: Annotated[int, typer.Option(min=1, max=256, help="Starts per patch; the best one counts.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 200,
    detail: Annotated[
        bool, typer.Option("--detail", help="A latent for each part of the generator, near the common one.")
    ] = False,
    seed: Seed = 0,
    grid: Grid = False,
    out: Annotated[Path, typer.Option(help="Folder for pictures, latents and invert.json.")] = Path("inverted"),
    segment: Segment = None,
    unit: Unit = None,
    scale: Scale = None,
    reproject: Reproject = False,
    json: Json = False,
) -> None:
    """Find the latent vectors whose patches come closest to observations."""
    import io

    import numpy as np

    from ..archive.export import file_stems
    from ..steering.inversion import invert as inverted
    from ..steering.layerwise import refine_layerwise

    models = load_models(model)
    stated: dict[str, Any] = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
    read, refused = read_patches(fits_files(files), strict_quality=False, **stated)
    patches, grids = [], []
    for patch in read:
        try:
            grids.append(grid_of(patch, models))
            patches.append(patch)
        except (SolqueryError, ValueError) as error:
            refused.append(refusal(patch.file, error))
    if not patches:
        raise SolqueryError(f"none of the {len(refused)} files could be read; the reasons are above")
    began = time.monotonic()
    records: list[dict[str, Any]] = []
    with Reporter("inverting") as report:
        answers: list[Any] = []
        # many at a time, and none waits for all
        for first in range(0, len(grids), _LOT):
            report.count(first, len(grids))
            lot = np.stack(grids[first : first + _LOT])
            some = inverted(models, lot, starts, steps, seed)
            answers += refine_layerwise(models, lot, some) if detail else some
        stems = file_stems([patch.id for patch in patches])
        for patch, name, x, found in zip(patches, stems, grids, answers, strict=True):
            original, rebuilt = measured_on_grid(models, x), measured_on_grid(models, found.x)
            latent = io.BytesIO()
            np.save(latent, found.z)
            stem = out / name
            titles = [f"{patch.source}, {patch.region}", f"reconstruction, mse {found.mse:.4f}", "difference"]
            tiles = [x, found.x, x - found.x]
            shown = write_file(stem.with_name(stem.name + ".png"), picture(tiles, models.preset, titles, patch.id))
            kept = write_file(stem.with_name(stem.name + ".npy"), latent.getvalue())
            more: dict[str, Any] = {}
            if found.offsets is not None:
                offsets = io.BytesIO()
                np.save(offsets, found.offsets)
                more["detail"] = str(write_file(stem.with_name(stem.name + ".detail.npy"), offsets.getvalue()))
            records.append(
                {
                    "id": patch.id,
                    "region": patch.region,
                    "mse": found.mse,
                    "z_norm": found.z_norm,
                    "unexplained": found.unexplained,
                    **_beside(patch, original, rebuilt, models),
                    "start_mse": found.start_mse,
                    "file": patch.file,
                    "picture": str(shown),
                    "latent": str(kept),
                    **more,
                }
            )
    document: dict[str, Any] = {
        "patches": records,
        "refused": refused,
        "model": models.name,
        "seed": seed,
        "seconds": time.monotonic() - began,
    }
    write_json(out / "invert.json", document)
    if json:
        emit(document)
        return
    for record in records:
        lines = [
            (
                k, readable(entry), readable(record["reconstructed"][k]), tell_band(record["reconstructed"][k]),
                *((readable(record[part][k].get("grid")) for part in ("parameters", "reconstructed")) if grid else ()),
            )
            for k, entry in record["parameters"].items()
        ]  # fmt: skip
        heads = ["parameter", "original", "reconstructed", "two thirds within"]
        heads += ["original, grid", "reconstructed, grid"] if grid else []
        title = f"{record['id']}: mse {record['mse']:.5f}, |z| {record['z_norm']:.2f}, {record['picture']}"
        table(heads, lines, title=title)


def _beside(patch: Patch, original: dict[str, float], rebuilt: dict[str, float], model: Model) -> dict[str, Any]:
    """Observation and reconstruction in numbers: one measured at native scale, the other estimated there.

    Without a calibration, or for a patch without scale, both are of the grid.
    """
    from ..physics import measure_patch
    from ..steering.native_scale import native_quantities, native_scale_of

    told = {
        "parameters": quantities(original, model.preset.physical),
        "reconstructed": native_quantities(model, rebuilt),
    }
    scale = native_scale_of(model)
    if scale is not None and patch.scale_mm is not None:
        seen = measure_patch(patch, original)
        grid = told["parameters"]
        told["parameters"] = {
            # what has no estimate at native scale is compared on the grid
            name: {**entry, "grid": grid[name]} if "grid" in told["reconstructed"][name] else grid[name]
            for name, entry in quantities(seen, physical=True).items()
        }
    pairs = {name: (told["reconstructed"][name]["value"], entry["value"]) for name, entry in told["parameters"].items()}
    apart = {name: None if None in pair else pair[0] - pair[1] for name, pair in pairs.items()}
    on_grid = quantities({name: rebuilt[name] - original[name] for name in original}, model.preset.physical)
    units = {name: entry["unit"] for name, entry in told["parameters"].items()}
    return {
        "scale": "grid" if scale is None else "native",
        **told,
        "errors": {name: quantity(apart[name], units[name], grid=on_grid[name]) for name in original},
    }
