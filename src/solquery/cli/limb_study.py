"""``solquery study limb``: how well patches are reconstructed, against how near the limb they lie."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .options import Json, ModelName, Seed, Where
from .output import Reporter, emit, note, table, write_file, write_json

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the verb of this file."""
    group.command("limb")(limb)


def limb(
    archive: Annotated[str, typer.Option(help="Archive whose patches are reconstructed.")],
    model: ModelName = None,
    where: Where = None,
    n: Annotated[int, typer.Option("-n", min=8, help="Patches, at most.")] = 200,
    starts: Annotated[int, typer.Option(min=1, max=256, help="Starts per patch.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 100,
    whole_regions: Annotated[
        bool, typer.Option("--whole-regions", help="All frames of each region, for how its error changes on its way.")
    ] = False,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for limb.json and limb.png.")] = Path("limb"),
    json: Json = False,
) -> None:
    """Reconstruction error against heliocentric angle, with its rank correlation (paper, Fig. 6)."""
    from ..archive.store import Archive
    from ..model import Model
    from ..study.figures import png
    from ..study.limb import figure_limb, run_limb

    began = time.monotonic()
    models, store = Model.load(model), Archive.open(archive)
    with Reporter("inverting") as report:
        study = run_limb(store, models, n, seed, where, starts, steps, whole_regions, report.count)
    summary = study.summary()
    rows = [
        {"id": i, "region": r, "source": s, "angle_deg": float(a), "mse": float(m), "unexplained": float(u)}
        for i, r, s, a, m, u in zip(
            study.ids, study.regions, study.sources, study.angle_deg, study.mse, study.unexplained, strict=True
        )
    ]
    seconds = time.monotonic() - began
    document = {"model": models.name, "archive": store.uri, "seed": seed, **summary, "rows": rows, "seconds": seconds}
    write_json(out / "limb.json", document)
    write_file(out / "limb.png", png(figure_limb(study)))
    note(f"written: {out / 'limb.json'}, {out / 'limb.png'}")
    if json:
        emit(document)
        return
    lines = [
        (f"{b['from_deg']:.0f} to {b['to_deg']:.0f}°", b["patches"], f"{b['mse']:.5f}", f"{b['unexplained']:.2f}")
        for b in summary["bins"]
    ]
    table(["heliocentric angle", "patches", "median mse", "median unexplained power"], lines)
    for key, title in (("mse", "mse"), ("unexplained", "unexplained power")):
        by_patch, by_region = summary[key], summary[f"{key}_by_region"]
        shown = ["–" if e["spearman"] is None else f"{e['spearman']:.2f}" for e in (by_patch, by_region)]
        typer.echo(
            f"rank correlation of {title} with angle: {shown[0]} over {by_patch['n']} patches, {shown[1]} over the "
            f"means of {by_region['n']} regions"
        )
        within = summary[f"{key}_within_regions"]
        if within["spearman"] is not None:
            chance = "" if within["p"] is None else f", p = {within['p']:.1g}"
            typer.echo(
                f"  within a region, as it comes nearer to the limb: {within['spearman']:.2f} "
                f"[{within['low']:.2f}, {within['high']:.2f}], mean of {within['regions']}{chance}"
            )
