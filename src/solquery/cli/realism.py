"""What ``solquery quality --real`` adds: generated patches against observed frames, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..aliases import Document
from .inputs import fits_files, read_patches
from .output import Reporter, note, table

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model

__all__ = ["compare_with_frames", "tell_realism"]


def compare_with_frames(
    model: Model,
    archive: Archive,
    files: Sequence[Path],
    count: int,
    seed: int,
    where: str | None,
    min_flux_mx: float | None,
) -> tuple[Document, bytes]:
    """The document of `run_realism`, with the files that were refused, and its figure as PNG."""
    from ..study.figures import png
    from ..study.realism import run_realism
    from ..study.realism_figure import figure_realism

    frames, refused = read_patches(fits_files(files))
    with Reporter("realism") as report:
        study = run_realism(model, frames, archive, count, seed, where, min_flux_mx=min_flux_mx, progress=report)
    study.document["selection"]["refused"] = refused
    return study.document, png(figure_realism(study))


def tell_realism(document: Document) -> None:
    """Tables and notes on stdout and stderr."""
    kinds = [kind for kind in ("generated", "held_out") if kind in document["auc"]]
    words = {"generated": "generated", "held_out": "held-out"}
    columns = ["statistic", "real"]
    for kind in kinds:
        columns += [f"{words[kind]} 5 %", "50 %", "95 %", "outside", "AUC"]
    rows = []
    for name, entry in document["statistics"].items():
        row = [name, f"{entry['real']:.2f}"]
        for kind in kinds:
            own = "" if kind == "generated" else f"_{kind}"
            row += [f"{value:.2f}" for value in entry[kind]] if kind in entry else ["–"] * 3
            row += [f"{entry[f'outside{own}']:.0%}", f"{entry[f'auc{own}']:.2f}"] if kind in entry else ["–"] * 2
        rows.append(row)
    counts = document["patches"]
    table(
        columns,
        rows,
        f"on the grid, against {counts['real']['compared']} observed frames of {counts['real']['regions']} regions: "
        "median of real regions, range of patches, share of real regions outside",
    )
    groups = list(document["auc"]["generated"])
    lines = [("real regions outside, mean", *(_share(document, kind) for kind in kinds))]
    for group in groups:
        told = (document["auc"][kind].get(group) for kind in kinds)
        lines.append(
            (
                f"AUC, {group}",
                *("–" if f is None else f"{f['auc']:.2f} ({f['low']:.2f} to {f['high']:.2f})" for f in told),
            )
        )
    table(["a classifier tells from real (0.5: cannot)", *(words[kind] for kind in kinds)], lines)
    if "generated_from_held_out" in document:
        parts = (f"{group} {found['auc']:.2f}" for group, found in document["generated_from_held_out"].items())
        note(f"AUC of a classifier that tells generated from held-out simulated patches: {', '.join(parts)}")
    table(
        ["", "drawn", "compared", "regions", "flux over 100 G (Mx) 5 %", "50 %", "95 %"],
        [
            (
                words.get(kind, kind),
                part.get("drawn", "–"),
                part["compared"],
                part["regions"],
                *(f"{flux:.2g}" for flux in part["flux_mx"]),
            )
            for kind, part in counts.items()
        ],
    )
    _notes(document)


def _share(document: Document, kind: str) -> str:
    value = document["mean_outside" if kind == "generated" else "mean_outside_held_out"]
    return "–" if value is None else f"{value:.0%}"


def _notes(document: Document) -> None:
    chosen = document["selection"]
    typer.echo(chosen["text"])
    for entry in chosen["real_left_out"]:
        note(f"left out: {entry['id']}: {entry['reason']}")
    if cut := chosen["real_cut_by_view"]:
        note(f"the grid shows less than 97 % of the flux of {len(cut)} observed frames: {', '.join(cut)}")
    if shown := chosen["shown_in_training"]:
        note(
            f"the generator was trained on frames of HARP {', '.join(map(str, shown))}: "
            "to judge it, give frames of regions that were left out"
        )
