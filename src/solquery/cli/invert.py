"""``solquery invert``: the latent vectors whose patches come closest to observations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SolqueryError
from .inputs import Reproject, Scale, Segment, Unit, fits_files, read_patches, refusal
from .output import Reporter, emit, picture, quantities, readable, table, write_file, write_json
from .plugins import load_models
from .steering import Json, ModelName, Seed, measured_on_grid

__all__ = ["register"]

#: patches inverted together
_BATCH = 32


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
    from ..steering.inputs import patch_on_grid
    from ..steering.inversion import invert as inverted
    from ..steering.layerwise import refine_layerwise

    models = load_models(model)
    stated: dict[str, Any] = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
    read, refused = read_patches(fits_files(files), strict_quality=False, **stated)
    patches, grids = [], []
    for patch in read:
        try:
            grids.append(patch_on_grid(patch, models))
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
        for first in range(0, len(grids), _BATCH):
            report.count(first, len(grids))
            batch = np.stack(grids[first : first + _BATCH])
            some = inverted(models, batch, starts, steps, seed)
            answers += refine_layerwise(models, batch, some) if detail else some
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
                    "parameters": quantities(original, models.preset.physical),
                    "reconstructed": quantities(rebuilt, models.preset.physical),
                    "errors": quantities({k: rebuilt[k] - original[k] for k in original}, models.preset.physical),
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
            (k, readable(entry), readable(record["reconstructed"][k])) for k, entry in record["parameters"].items()
        ]
        title = f"{record['id']}: mse {record['mse']:.5f}, |z| {record['z_norm']:.2f}, {record['picture']}"
        table(["parameter", "original", "reconstructed"], lines, title=title)
