"""The figures of the paper that only a reproduction draws: parameters on patches, latent plane, strips, inversions."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import AsinhNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..physics import get_parameter
from ..physics.geometry import centroids, dilate
from ..physics.integral import POLARITY_THRESHOLD_GAUSS
from .figures import LIMIT_GAUSS, png

if TYPE_CHECKING:
    from ..steering import Strip
    from ..steering.projection import Projection

__all__ = [
    "figure_curves",
    "figure_inversions",
    "figure_parameters",
    "figure_plane",
    "figure_rows",
    "figure_strips",
    "near_lines",
    "write_figure",
]

_SMALL = {"fontsize": 8}
#: of the stretched grey of `figure_rows`: linear within, black and white
KNEE_GAUSS, STRETCHED_GAUSS = 100.0, 2000.0
_LINES = {"tuf": "#1f5fa8", "r": "#c2762b", "psep": "#0a7d78"}
_OTHER = "#6b46c1"
_LOW, _HIGH = "#1a9641", "#2b5fd9"


def write_figure(figure: Figure, path: Path, dpi: int = 110, colours: int = 128) -> str:
    """Write a figure with a palette of few colours, a third of the bytes; returns the file's name."""
    from PIL import Image

    with Image.open(io.BytesIO(png(figure, dpi))) as picture:
        small = picture.convert("RGB").quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, format="PNG", optimize=True)
    return path.name


def near_lines(field_gauss: np.ndarray) -> np.ndarray:
    """(H, W) truth values: the strong-gradient inversion lines over which R is summed."""
    field = torch.from_numpy(np.nan_to_num(np.asarray(field_gauss, dtype=np.float32)))[None]
    positive = (field > POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    negative = (field < -POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    return (dilate(positive | (negative << 1)) == 3)[0].numpy()


def _grey(axes: Axes, field: np.ndarray, extent: Sequence[float] | None = None) -> None:
    axes.imshow(
        np.nan_to_num(field), cmap="gray", vmin=-LIMIT_GAUSS, vmax=LIMIT_GAUSS, origin="lower", extent=extent,
        interpolation="nearest" if extent is None else "antialiased",
    )  # fmt: skip


def _bare(axes: Axes, colour: str = "0.6", width: float = 0.8) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=width)


def _signs(field: np.ndarray) -> np.ndarray:
    return (field > POLARITY_THRESHOLD_GAUSS).astype(np.int8) - (field < -POLARITY_THRESHOLD_GAUSS)


def _axis_of(field: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Columns and rows of the two centroids, or None where a polarity is missing."""
    batch = torch.from_numpy(np.nan_to_num(np.asarray(field, dtype=np.float32)))[None]
    ends = torch.cat([centroids(batch, None, sign) for sign in (1, -1)]).numpy()
    return (ends[:, 1], ends[:, 0]) if np.isfinite(ends).all() else None


def figure_parameters(fields_gauss: np.ndarray, shown: int, columns: int = 10) -> Figure:
    """How TUF, PSEP and R come from a patch, and the polarity centroids of many (paper, Fig. 3).

    Parameters
    ----------
    fields_gauss
        (N, H, W).
    shown
        Which of them is taken apart in the top row.
    """
    n, height, width = fields_gauss.shape
    rows, gap = -(-n // columns), max(2, height // 24)
    cell = (height + gap, width + gap)
    mosaic = np.full((rows * cell[0] + gap, columns * cell[1] + gap), np.nan)
    # Fig. 3 draws the masks black and white on grey
    colours = ListedColormap(["#111111", "#9a9a9a", "#ffffff"]).with_extremes(bad="#5b6470")
    figure = Figure(figsize=(7.2, 2.75 + 7.2 * mosaic.shape[0] / mosaic.shape[1]), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(2.5, 7.2 * mosaic.shape[0] / mosaic.shape[1]))
    field = fields_gauss[shown]
    first, second, third = (figure.add_subplot(grid[0, k]) for k in range(3))
    _grey(first, field)
    first.contour(field, levels=[-POLARITY_THRESHOLD_GAUSS], colors="#1f6fc4", linewidths=0.8)
    first.contour(field, levels=[POLARITY_THRESHOLD_GAUSS], colors="#d62728", linewidths=0.8)
    first.set_title("field, contours at ±150 G", **_SMALL)
    second.imshow(_signs(field), cmap=colours, vmin=-1, vmax=1, origin="lower", interpolation="nearest")
    ends = _axis_of(field)
    if ends is not None:
        second.plot(*ends, color="#00c8d7", linewidth=2.0, marker="o", markersize=4)
    second.set_title("beyond ±150 G; the line is PSEP", **_SMALL)
    _grey(third, field)
    near = near_lines(field)
    third.imshow(np.where(near, 1.0, np.nan), cmap=ListedColormap(["#ffb000"]), alpha=0.65, origin="lower",
                 interpolation="nearest")  # fmt: skip
    third.set_title(f"pixels that R sums over: {int(near.sum())}", **_SMALL)
    for axes in (first, second, third):
        _bare(axes)
    below = figure.add_subplot(grid[1, :])
    for k, one in enumerate(fields_gauss):
        y, x = (rows - 1 - k // columns) * cell[0] + gap, (k % columns) * cell[1] + gap
        mosaic[y : y + height, x : x + width] = _signs(one)
        ends = _axis_of(one)
        if ends is not None:
            below.plot(ends[0] + x, ends[1] + y, color="#00c8d7", linewidth=1.1)
    below.imshow(mosaic, cmap=colours, vmin=-1, vmax=1, origin="lower", interpolation="nearest")
    below.set_axis_off()
    return figure


def _choose_for_plane(points: np.ndarray, cells: int) -> tuple[list[int], np.ndarray, np.ndarray]:
    """One point per cell of a grid over the cloud, so that pictures do not overlap; and the two ranges."""
    low, high = np.percentile(points, 1, axis=0), np.percentile(points, 99, axis=0)
    size = np.maximum((high - low) / cells, 1e-9)
    place = np.floor((points - low) / size).astype(int)
    centre = low + (place + 0.5) * size
    distance = (((points - centre) / size) ** 2).sum(1)
    chosen: dict[tuple[int, int], int] = {}
    for k in np.argsort(distance, kind="stable"):
        if ((place[k] >= 0) & (place[k] < cells)).all():
            chosen.setdefault((int(place[k, 0]), int(place[k, 1])), int(k))
    return list(chosen.values()), low, high


def figure_plane(projection: Projection, fields_gauss: np.ndarray, position: np.ndarray, name: str) -> Figure:
    """Patches on the plane in which the boundary of a parameter is a line, and both extremes enlarged (paper, Fig. 4).

    Parameters
    ----------
    projection
        Of N latents.
    fields_gauss
        (N, H, W) their patches.
    position
        (N,) signed distance of each latent from the boundary.
    """
    cells = 13
    chosen, low, high = _choose_for_plane(projection.points, cells)
    size = (high - low) / cells
    figure = Figure(figsize=(5.4, 7.6), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=(4.4, 1, 1))
    main = figure.add_subplot(grid[0, :])
    order = [k for k in np.argsort(position, kind="stable") if k in set(chosen)]
    ends = {**dict.fromkeys(order[:4], _LOW), **dict.fromkeys(order[-4:], _HIGH)}
    for k in chosen:
        x, y = projection.points[k]
        box = (x - 0.46 * size[0], x + 0.46 * size[0], y - 0.46 * size[1], y + 0.46 * size[1])
        step = max(1, fields_gauss.shape[1] // 64)
        _grey(main, fields_gauss[k][::step, ::step], box)
        if k in ends:
            main.add_patch(
                Rectangle((box[0], box[2]), box[1] - box[0], box[3] - box[2], fill=False, linewidth=1.8,
                          edgecolor=ends[k], zorder=4)
            )  # fmt: skip
    at = np.array([low[0] - size[0], high[0] + size[0]])
    main.plot(at, projection.line(at), color="#d62728", linewidth=1.8, zorder=5)
    main.set(xlim=at, ylim=(low[1] - size[1], high[1] + size[1]), aspect="auto")
    main.set_xlabel(f"latent number {projection.axes[0] + 1}", **_SMALL)
    main.set_ylabel("the other numbers, weighted by the normal", **_SMALL)
    main.tick_params(labelsize=7)
    main.set_title(f"{get_parameter(name).title}; red: decision boundary", fontsize=9.5)
    for row, (members, colour, word) in enumerate(((order[:4], _LOW, "low"), (order[-4:], _HIGH, "high")), start=1):
        for column, k in enumerate(members):
            axes = figure.add_subplot(grid[row, column])
            _grey(axes, fields_gauss[k])
            _bare(axes, colour, 2.2)
            if column == 0:
                axes.set_ylabel(f"{word} extreme", **_SMALL)
    return figure


def figure_strips(strips: Sequence[tuple[Strip, np.ndarray, Mapping[str, np.ndarray]]], frames: int = 7) -> Figure:
    """Steps along directions with the measured values as curves under them (paper, Fig. 5).

    Parameters
    ----------
    strips
        Strip, its (K, H, W) patches in gauss, and parameter name to (K,) percentiles among generated patches.
    frames
        How many of the K patches are shown.
    """
    figure = Figure(figsize=(7.6, 2.2 * len(strips) + 0.3), layout="constrained")
    outer = figure.add_gridspec(len(strips), 1)
    for row, (one, gauss, ranks) in enumerate(strips):
        inner = outer[row].subgridspec(2, frames, height_ratios=(1.0, 0.78), hspace=0.0, wspace=0.03)
        shown = np.linspace(0, len(one.eps) - 1, frames).round().astype(int)
        for column, k in enumerate(shown):
            axes = figure.add_subplot(inner[0, column])
            _grey(axes, gauss[k])
            _bare(axes)
            if column == frames // 2:
                held = " and ".join(_symbol(name) for name in one.hold)
                axes.set_title(f"{_symbol(one.name)} {f'with {held} held' if held else 'alone'}", fontsize=9.5)
        below = figure.add_subplot(inner[1, :])
        half = (one.eps[-1] - one.eps[0]) / (frames - 1) / 2
        for name, values in ranks.items():
            below.plot(one.eps, values, color=_LINES.get(name, _OTHER), linewidth=1.6, label=_symbol(name))
        flips: Any = np.flatnonzero(np.diff(np.sign(one.values["polarity"]))) if "polarity" in one.values else []
        for k in flips:
            below.axvline((one.eps[k] + one.eps[k + 1]) / 2, color="#d62728", linewidth=1.0, linestyle=":")
        below.set(xlim=(one.eps[0] - half, one.eps[-1] + half), ylim=(-4, 104), xticks=one.eps[shown],
                  yticks=[0, 50, 100])  # fmt: skip
        below.tick_params(labelsize=7)
        below.grid(axis="y", color="0.9")
        below.set_ylabel("percentile", **_SMALL)
        if row == 0:
            below.legend(ncols=len(ranks), frameon=False, fontsize=7.5, loc="lower right", borderpad=0.1)
        if row == len(strips) - 1:
            below.set_xlabel("step along the unit normal (standard deviations of the prior)", **_SMALL)
    return figure


def _symbol(name: str) -> str:
    return "polarity" if name == "polarity" else get_parameter(name).symbol


def figure_inversions(
    real_gauss: np.ndarray, made_gauss: np.ndarray, shown_mu: np.ndarray, mu: np.ndarray, error: np.ndarray
) -> Figure:
    """Patches of the archive, what the generator makes of them, and the error against the angle (paper, Fig. 6).

    Parameters
    ----------
    real_gauss, made_gauss
        (K, H, W) pairs, by angle.
    shown_mu
        (K,) cosine of the heliocentric angle of the pairs.
    mu, error
        (N,) of the whole sample; error in (1000 G)².
    """
    k = len(real_gauss)
    figure = Figure(figsize=(8.6, 2.5), layout="constrained")
    grid = figure.add_gridspec(2, k + 2, width_ratios=(*[1] * k, 0.1, 2.6))
    for column in range(k):
        for row, field in enumerate((real_gauss[column], made_gauss[column])):
            axes = figure.add_subplot(grid[row, column])
            _grey(axes, field)
            _bare(axes)
            if row == 0:
                axes.set_title(f"{np.degrees(np.arccos(min(shown_mu[column], 1.0))):.0f}°", **_SMALL)
            if column == 0:
                axes.set_ylabel(("archive", "generator")[row], **_SMALL)
    main = figure.add_subplot(grid[:, k + 1 :])
    angle = np.degrees(np.arccos(np.clip(mu, 0.0, 1.0)))
    positive = np.maximum(error, 1e-9)
    low, high = np.percentile(positive, (0.5, 99.5)) if len(error) > 1 else (1e-3, 1.0)
    y = np.geomspace(float(low), float(high), 13) if len(error) > 1 else np.array([1e-3, 1.0])
    x = np.arange(0.0, 91.0, 10.0)
    counts, _, _ = np.histogram2d(angle, positive, bins=(x, np.unique(y)))
    main.pcolormesh(x, np.unique(y), np.ma.masked_equal(counts.T, 0), cmap="Blues", vmin=0, rasterized=True)
    middle, median = [], []
    for low, high in itertools.pairwise(x):
        inside = (angle >= low) & (angle < high)
        if inside.sum() >= 3:
            middle.append((low + high) / 2)
            median.append(float(np.median(positive[inside])))
    main.plot(middle, median, "o-", color="#d62728", linewidth=1.4, markersize=4, label="median")
    main.set_yscale("log")
    main.set_xlim(0, 90)
    main.set_xlabel("heliocentric angle (degrees)", **_SMALL)
    main.set_ylabel("mean squared error, (1000 G)²", **_SMALL)
    main.tick_params(labelsize=7, which="both")
    if middle:
        main.legend(frameon=False, fontsize=7.5)
    return figure


def figure_rows(
    rows: Sequence[Sequence[np.ndarray | None]],
    heads: Sequence[str],
    labels: Sequence[str] = (),
    scale_mm: tuple[float, float] | None = None,
) -> Figure:
    """Patches (H, W) in gauss in rows and columns (paper, left of Fig. 7, and Fig. 8); None leaves a place empty.

    North is up and west to the right. The grey is stretched: linear within ±`KNEE_GAUSS`, logarithmic beyond, so that
    network and spots are seen in one picture. Where `scale_mm`, Mm per pixel (y, x), is known a bar tells 50 Mm.
    """
    figure = Figure(figsize=(1.75 * len(heads) + 0.3, 1.75 * len(rows) + 0.9), layout="constrained")
    grid = figure.subplots(len(rows), len(heads), squeeze=False)
    norm = AsinhNorm(KNEE_GAUSS, -STRETCHED_GAUSS, STRETCHED_GAUSS)
    for k, row in enumerate(rows):
        for axes, field, head in zip(grid[k], row, heads, strict=True):
            if field is None:
                axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, **_SMALL)
            else:
                axes.imshow(np.nan_to_num(field), cmap="gray", norm=norm, origin="lower", interpolation="nearest")
            _bare(axes)
            if k == 0:
                axes.set_title(head, fontsize=9.5)
        if labels:
            grid[k, 0].set_ylabel(labels[k], **_SMALL)
    first = next((field for row in rows[:1] for field in row[:1] if field is not None), None)
    if scale_mm is not None and first is not None:
        height, width = first.shape
        length, at = 50.0 / scale_mm[1], (0.05 * width, 0.07 * height)
        grid[0, 0].plot((at[0], at[0] + length), (at[1], at[1]), color="white", linewidth=2.0, solid_capstyle="butt")
        grid[0, 0].text(at[0], at[1] + 0.02 * height, "50 Mm", color="white", va="bottom", fontsize=7)
    shades = ScalarMappable(norm, "gray")
    bar = figure.colorbar(shades, ax=grid, location="bottom", aspect=40, shrink=0.8, pad=0.01)
    bar.set_ticks([-2000, -500, -100, 0, 100, 500, 2000], labels=["−2000", "−500", "−100", "0", "100", "500", "2000"])
    bar.minorticks_off()
    bar.set_label("field (G); north up, west to the right", **_SMALL)
    bar.ax.tick_params(labelsize=7)
    return figure


def figure_curves(curves: Mapping[str, Sequence[tuple[float, float]]], title: str, chosen: float | None) -> Figure:
    """Training statistics against images shown, each in a panel of its own, with the chosen checkpoint marked."""
    count = max(1, len(curves))
    figure = Figure(figsize=(7.6, 0.5 + 1.35 * -(-count // 2)), layout="constrained")
    grid = figure.subplots(-(-count // 2), min(2, count), squeeze=False)
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    for axes, (name, points) in zip(grid.flat, curves.items(), strict=False):
        x, y = np.array(points, dtype=np.float64).T
        axes.plot(x / 1000, y, color="#1f5fa8", linewidth=1.2, marker="." if len(x) < 20 else None)
        if chosen is not None:
            axes.axvline(chosen / 1000, color="#d62728", linewidth=1.0, linestyle="--")
        axes.set_title(name.replace("_", " "), **_SMALL)
        axes.tick_params(labelsize=7)
    # the last panel of each column; the one above an empty place is the last of its own
    for axes in grid.flat[max(0, len(curves) - grid.shape[1]) : len(curves)]:
        axes.set_xlabel("thousand images shown", **_SMALL)
    figure.suptitle(title, fontsize=9.5)
    return figure
