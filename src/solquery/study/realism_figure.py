"""The figure of `solquery.study.realism`: statistics as ranges, with the real regions as dots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..aliases import Document, Row
from .figures import KIND_COLOURS
from .realism import RealismStudy

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["figure_realism"]

#: dots beyond are drawn at the edge, as triangles
_EDGE = 3.0


def figure_realism(study: RealismStudy) -> Figure:
    """Range of generated (and held-out simulated) patches in each statistic, and every real region.

    Each statistic has an axis of its own: 0 is the median of generated patches, -1 and +1 their 5 and 95 % points.
    """
    statistics = study.document["statistics"]
    # groups have a line between them for their name
    rows: list[tuple[str, Row | None]] = []
    for name, entry in statistics.items():
        if not any(known is not None and known["group"] == entry["group"] for _, known in rows):
            rows.append((entry["group"], None))
        rows.append((name, entry))
    figure = Figure(figsize=(9.6, 0.27 * len(rows) + 1.6), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-1, 1, color=KIND_COLOURS["generated"], alpha=0.10, linewidth=0)
    axes.axvline(0, color=KIND_COLOURS["generated"], linewidth=1)
    labels = []
    for y, (name, entry) in enumerate(rows):
        labels.append(name.removeprefix("quiet: ").removeprefix("box: ") if entry else name.upper())
        if entry is None:
            continue
        axes.axhline(y, color="0.9", linewidth=0.6, zorder=0)
        _draw(axes, y, entry)
        axes.text(_EDGE + 0.3, y, f"{entry['outside']:.0%}", va="center", ha="right", fontsize=7.5)
        axes.text(_EDGE + 0.7, y, f"{entry['auc']:.2f}", va="center", ha="right", fontsize=7.5)
    axes.text(_EDGE + 0.3, 0, "outside", va="center", ha="right", fontsize=7.5)
    axes.text(_EDGE + 0.7, 0, "AUC", va="center", ha="right", fontsize=7.5)
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    for text, (_, entry) in zip(axes.get_yticklabels(), rows, strict=True):
        if entry is None:
            text.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.8)
    axes.set_xlim(-_EDGE - 0.1, _EDGE + 0.75)
    axes.set_xticks([-3, -2, -1, 0, 1, 2, 3], ["", "", "5 %", "median", "95 %", "", ""], fontsize=8)
    axes.set_xlabel("range of generated patches; triangles: real regions further out", fontsize=8.5)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    _key(figure, study)
    figure.suptitle(_title(study.document), fontsize=9.5)
    return figure


def _draw(axes: Axes, y: float, entry: Document) -> None:
    """One statistic: the range of held-out patches as a bar, real regions as dots, their median as a line."""
    generated = entry["generated"]
    if "held_out" in entry:
        low, middle, high = _scaled(entry["held_out"], generated).clip(-_EDGE, _EDGE)
        axes.plot([low, high], [y, y], color=KIND_COLOURS["simulated"], linewidth=3, alpha=0.45, solid_capstyle="butt")
        axes.plot([middle], [y], "|", color=KIND_COLOURS["simulated"], markersize=7)
    real = _scaled(entry["real_regions"], generated)
    for part, marker in ((np.abs(real) <= _EDGE, "o"), (real > _EDGE, ">"), (real < -_EDGE, "<")):
        axes.plot(
            real[part].clip(-_EDGE, _EDGE), np.full(int(part.sum()), y), marker, color=KIND_COLOURS["real"],
            markersize=3.6, alpha=0.75, markeredgewidth=0,
        )  # fmt: skip


def _scaled(values: ArrayLike, generated: list[float]) -> np.ndarray:
    """Values so that the 5, 50 and 95 % points of generated patches become -1, 0 and 1."""
    low, middle, high = generated
    off = np.asarray(values, float) - middle
    return off / np.where(off < 0, max(middle - low, 1e-9), max(high - middle, 1e-9))


def _key(figure: Figure, study: RealismStudy) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch as Swatch

    handles: list[Artist] = [
        Swatch(color=KIND_COLOURS["generated"], alpha=0.2, label="generated, 5 to 95 %"),
        Line2D([], [], color=KIND_COLOURS["real"], marker="o", linestyle="", markersize=4, label="real regions"),
    ]
    if study.held_out is not None:
        bar = Line2D([], [], color=KIND_COLOURS["simulated"], linewidth=3, alpha=0.45)
        bar.set_label("held-out simulated, 5 to 95 %")
        handles.insert(1, bar)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def _title(document: Document) -> str:
    told = []
    for kind, words in (("generated", "generated"), ("held_out", "held-out")):
        if kind in document["auc"]:
            parts = (f"{group} {found['auc']:.2f}" for group, found in document["auc"][kind].items())
            told.append(f"{words} {', '.join(parts)}")
    patches = document["patches"]
    counts = f"{patches['generated']['compared']:,} generated patches, {patches['real']['regions']} real regions"
    return f"{counts}\na classifier tells them from real ones, AUC: {'; '.join(told)}"
