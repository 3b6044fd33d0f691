"""``solquery invert``: the latent vectors whose patches come closest to observations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .inputs import fits_files, read_patches, refusal
from .options import Files, Grid, Json, ModelName, Reproject, Scale, Seed, Segment, Unit
from .output import (
    Reporter,
    emit,
    picture,
    quantities,
    quantity,
    readable,
    table,
    tell_band,
    write_file,
    write_json,
    write_npy,
)
from .plugins import load_models
from .steering import measured_on_grid

if TYPE_CHECKING:
    import numpy as np

    from ..model import Model
    from ..patch import Patch
    from ..steering import Inversion

__all__ = ["register"]

#: patches inverted together
_BATCH = 32


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(invert)


def invert(
    files: Files,
    model: ModelName = None,
    closest: Annotated[
        bool | None,
        typer.Option(
            "--closest/--physics",
            help="One latent vector closest in squared error, as in the paper (default with preset paper); or picture "
            "at several scales, and TUF, PSEP, R, tilt, polarity and area as observed.",
        ),
    ] = None,
    starts: Annotated[
        int | None, typer.Option(min=1, max=256, help="Starts per patch [8 with --closest, else 4].")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the optimiser [200 with --closest, else 78].")
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Pull to where the generator was trained; 0: none, as in the paper [0.5; preset paper: 0]."
        ),
    ] = None,
    detail: Annotated[
        bool | None,
        typer.Option("--detail/--no-detail", help="A latent for each part of the generator [on without --closest]."),
    ] = None,
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
    import numpy as np

    from ..archive.export import file_stems
    from ..steering.inputs import patch_on_grid

    models = load_models(model)
    invert_batch = _method(models, closest, starts, steps, prior, detail, seed)
    stated: Document = {"segment": segment, "unit": unit, "scale": scale, "reproject": reproject}
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
    records: list[Document] = []
    with Reporter("inverting") as report:
        answers: list[Inversion] = []
        # many at a time, and none waits for all
        for first in range(0, len(grids), _BATCH):
            report.count(first, len(grids))
            answers += invert_batch(np.stack(grids[first : first + _BATCH]))
        stems = file_stems([patch.id for patch in patches])
        for patch, name, x, found in zip(patches, stems, grids, answers, strict=True):
            records.append(_record(models, patch, x, found, out / name))
    document: Document = {
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
        _tell(record, models, grid)


def _record(models: Model, patch: Patch, x: np.ndarray, found: Inversion, stem: Path) -> Document:
    """Write pictures and latents of one patch to files that begin with `stem`; its entry of the document."""
    from ..archive.view import caveats_on_grid

    def kept(name: str, array: np.ndarray) -> str:
        return str(write_npy(stem.with_name(f"{stem.name}{name}.npy"), array))

    titles = [f"{patch.source}, {patch.region}", f"reconstruction, mse {found.mse:.4f}", "difference"]
    limits = caveats_on_grid(patch, models.preset)
    heading = "\n".join([patch.id, *(caveat.text for caveat in limits)])
    tiles = picture([x, found.x, x - found.x], models.preset, titles, heading)
    details = {"detail": found.offsets, "noise": found.noise}
    return {
        "id": patch.id,
        "region": patch.region,
        "source": patch.source,
        "quantity": patch.quantity,
        "caveats": [caveat._asdict() for caveat in limits],
        "mse": found.mse,
        "z_norm": found.z_norm,
        "unexplained": found.unexplained,
        **_beside(patch, measured_on_grid(models, x), measured_on_grid(models, found.x), models),
        "start_mse": found.start_mse,
        "explained": {str(side): share for side, share in (found.explained or {}).items()},
        "verdict": found.verdict,
        "reason": found.reason,
        "file": patch.file,
        "picture": str(write_file(stem.with_name(stem.name + ".png"), tiles)),
        "latent": kept("", found.z),
        **{name: kept(f".{name}", array) for name, array in details.items() if array is not None},
    }


def _tell(record: Document, models: Model, grid: bool) -> None:
    """The table of one patch."""
    lines = [
        (
            k, readable(entry), readable(record["reconstructed"][k]), tell_band(record["reconstructed"][k]),
            readable(record["errors"][k]),
            *((readable(record[part][k].get("grid")) for part in ("parameters", "reconstructed")) if grid else ()),
        )
        for k, entry in record["parameters"].items()
    ]  # fmt: skip
    heads = ["parameter", "observed", "reconstructed", "two thirds within", "difference"]
    heads += ["observed, grid", "reconstructed, grid"] if grid else []
    title = f"{record['id']}: mse {record['mse']:.5f}, |z| {record['z_norm']:.2f}, {record['picture']}"
    table(heads, lines, title=title)
    for caveat in record["caveats"]:
        typer.echo(f"caution: {caveat['text']}")
    _say(record, models)


def _method(
    models: Model, closest: bool | None, starts: int | None, steps: int | None, prior: float | None,
    detail: bool | None, seed: int,
) -> Callable[[np.ndarray], Sequence[Inversion]]:  # fmt: skip
    """What inverts patches (N, H, W): one latent vector closest in squared error, or picture and physics."""
    import warnings

    from ..steering import SteeringWarning, invert, reconstruct, refine_layerwise
    from ..steering.refinement import EVALUATIONS

    paper = models.preset.name == "paper"
    if closest is None:
        closest = paper
    if prior is None:
        prior = 0.0 if paper else 0.5

    def plainly(batch: np.ndarray) -> Sequence[Inversion]:
        found = invert(models, batch, starts or 8, steps or 200, seed, prior=prior)
        return refine_layerwise(models, batch, found, prior=prior) if detail else found

    def physically(batch: np.ndarray) -> Sequence[Inversion]:
        layerwise = detail is not False
        with warnings.catch_warnings():
            # each record has its own verdict
            warnings.filterwarnings("ignore", "the model cannot draw", SteeringWarning)
            return reconstruct(
                models, batch, starts=starts or 4, evaluations=max(steps or EVALUATIONS, 2), seed=seed, prior=prior,
                layerwise=layerwise,
            )  # fmt: skip

    return plainly if closest else physically


def _say(record: Document, models: Model) -> None:
    """Share of the power explained at each scale, and the verdict."""
    if not record["explained"]:
        return
    scale = models.preset.scale_mm
    shares = [
        f"{share:.0%} at " + (f"{int(side) * scale[1]:.1f} Mm" if scale else f"{side} px")
        for side, share in record["explained"].items()
    ]
    typer.echo(f"power explained: {', '.join(shares)}")
    if record["verdict"] == "cannot draw":
        typer.echo(f"the model cannot draw this region: {record['reason']}")


def _beside(patch: Patch, original: dict[str, float], rebuilt: dict[str, float], model: Model) -> Document:
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
