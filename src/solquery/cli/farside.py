"""The verb `farside`, and `study farside`, which asks whether its ensembles are calibrated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from .options import Json, ModelName, Scale, Seed, Segment, Unit, Where
from .output import Reporter, emit, note, quantities, readable, table, write_file, write_json
from .plugins import load_models

if TYPE_CHECKING:
    import numpy as np

    from ..farside import Ensemble
    from ..model import Model

__all__ = ["register", "register_study"]

Draws = Annotated[int, typer.Option(min=50, help="Regions that are generated before they are compared with the map.")]
Members = Annotated[int, typer.Option(min=4, max=1000, help="Regions of the ensemble.")]
Steps = Annotated[int, typer.Option(min=0, help="Steps by which the members are led to the map.")]
Resolution = Annotated[float, typer.Option(min=1.0, help="Of the map: full width at half maximum, in Mm.")]
Noise = Annotated[float, typer.Option(min=0.1, help="Of the map: standard deviation, in gauss.")]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(farside)


def register_study(group: typer.Typer) -> None:
    """Add what judges the verb to the group `study`."""
    group.command("farside")(study_farside)


def farside(
    file: Annotated[Path, typer.Argument(help="FITS: map of smoothed unsigned field, in gauss.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="What else is known: NAME=VALUE or NAME=VALUE±TOLERANCE, as tuf=2e22Mx±20%, tilt=8±10."
        ),
    ] = None,
    degrade: Annotated[bool, typer.Option(help="The file is a magnetogram: make the map of it first.")] = False,
    resolution: Resolution = 20.0,
    noise: Noise = 20.0,
    model: ModelName = None,
    draws: Draws = 2_000,
    members: Members = 24,
    steps: Steps = 40,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for the ensemble: FITS, latents, picture, JSON.")] = Path("farside"),
    segment: Segment = None,
    unit: Unit = None,
    scale: Scale = None,
    json: Json = False,
) -> None:
    """Regions that could be behind a blurred map of unsigned field, such as helioseismology makes of the far side."""
    import warnings

    from ..farside import degraded, draw_prior, farside_ensemble, read_map
    from ..farside.ensemble import parse_constraints
    from ..sharp.fits import read_sharp, read_unsigned
    from ..steering import SteeringWarning
    from ..steering.inputs import patch_on_grid

    constraints = parse_constraints(set_ or [])
    models = load_models(model)
    if degrade:
        patch = read_sharp(file, strict_quality=False, segment=segment, unit=unit, scale_mm=scale)
    else:
        patch = read_unsigned(file, unit=unit, scale_mm=scale)
    began = time.monotonic()
    truth = patch_on_grid(patch, models) if degrade else None
    if truth is None:
        found = read_map(patch, models.preset, resolution_mm=resolution, noise_gauss=noise)
    else:
        found = degraded(truth, models.preset, resolution_mm=resolution, noise_gauss=noise, seed=seed)
    with Reporter("drawing") as report, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SteeringWarning)
        prior = draw_prior(models, draws, seed, resolution_mm=resolution, report=report.count)
        ensemble = farside_ensemble(
            found, prior, members=members, constraints=constraints, seed=seed, evaluations=steps
        )
    document = {
        "file": str(file), "model": models.name, "seed": seed, "resolution_mm": resolution, "noise_gauss": noise,
        "constraints": list(set_ or []), **_kept(models, ensemble, truth, out),
        "warnings": [str(one.message) for one in said if issubclass(one.category, SteeringWarning)],
        "seconds": time.monotonic() - began,
    }  # fmt: skip
    write_json(out / "farside.json", document)
    if json:
        emit(document)
        return
    rows = [
        (name, *(readable(told[key]) for key in ("median", "low", "high")))
        for name, told in document["parameters"].items()
    ]
    table(["parameter", "median", "16 %", "84 %"], rows, title=f"{document['picture']}, {members} generated regions")
    note("plausible regions, not the region: what a map of 20 Mm does not show is the generator's")
    for line in document["warnings"]:
        note(f"solquery: {line}")


def _kept(models: Model, ensemble: Ensemble, truth: np.ndarray | None, out: Path) -> Document:
    """Write the members and the picture; what the document says of them."""
    import dataclasses
    import io

    import numpy as np

    from ..sharp.fits_writing import write_fits
    from ..study.farside import figure_ensemble
    from ..study.figures import png

    out.mkdir(parents=True, exist_ok=True)
    files = []
    for number, member in enumerate(ensemble.members, start=1):
        path = out / f"member-{number:03d}.fits"
        write_fits(dataclasses.replace(member.to_patch(), file=path.name), path)
        files.append(str(path))
    latents = io.BytesIO()
    np.save(latents, np.stack([member.z for member in ensemble.members]))
    write_file(out / "latents.npy", latents.getvalue())
    shown = write_file(out / "farside.png", png(figure_ensemble(ensemble, truth)))
    told = ensemble.summary()
    ends = {
        key: quantities({name: values[key] for name, values in told["parameters"].items()}, models.preset.physical)
        for key in ("median", "low", "high")
    }
    told["parameters"] = {name: {key: ends[key][name] for key in ends} for name in told["parameters"]}
    return told | {"files": files, "latents": str(out / "latents.npy"), "picture": str(shown)}


def study_farside(
    archive: Annotated[str, typer.Option(help="Archive of patches that the model was not trained on.")],
    model: ModelName = None,
    where: Where = None,
    n: Annotated[int, typer.Option("-n", min=10, help="Regions, at most; one patch of each.")] = 60,
    resolution: Resolution = 20.0,
    noise: Noise = 20.0,
    draws: Draws = 2_000,
    members: Members = 24,
    steps: Steps = 40,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for farside.json and the pictures.")] = Path("farside-study"),
    json: Json = False,
) -> None:
    """Rank of the truth in far-side ensembles of patches whose truth is known, and what the ensembles add."""
    from ..archive.store import Archive
    from ..study.farside import figure_ensemble, figure_ranks, run_farside
    from ..study.figures import png

    began = time.monotonic()
    models, store = load_models(model), Archive.open(archive)
    with Reporter("making ensembles") as report:
        study = run_farside(
            store, models, n, seed, where, draws=draws, members=members, evaluations=steps,
            resolution_mm=resolution, noise_gauss=noise, report=report.count,
        )  # fmt: skip
    document = {
        "model": models.name, "archive": store.uri, "seed": seed, **study.summary(),
        "seconds": time.monotonic() - began,
    }  # fmt: skip
    write_json(out / "farside.json", document)
    write_file(out / "ranks.png", png(figure_ranks(study)))
    write_file(out / "ensemble.png", png(figure_ensemble(*study.shown)))
    note(f"written: {out / 'farside.json'}, {out / 'ranks.png'}, {out / 'ensemble.png'}")
    if json:
        emit(document)
        return
    rows = [
        (
            name,
            told["patches"],
            " ".join(map(str, told["histogram"])),
            f"{told['within_68']:.0%}",
            f"{told['skill']:.2f}",
        )
        for name, told in document["parameters"].items()
    ]
    table(["parameter", "patches", "ranks, lowest to highest", "within 68 %", "skill"], rows)
    like = document["visual_similarity"]
    typer.echo(
        f"correlation of |B| with the truth: members {like['members']:.2f}, draws without a map "
        f"{like['draws']:.2f}, the map itself {like['map']:.2f}"
    )
