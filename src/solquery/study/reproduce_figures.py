"""The figures of the paper that only a reproduction draws: parameters on patches, latent plane, strips, matches."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..physics import get_parameter
from ..physics.geometry import centroids, dilate
from ..physics.integral import POLARITY_THRESHOLD_GAUSS
from .figures import png
from .magnetogram import bare, grey_bar, show_field
from .report import parameter_text

if TYPE_CHECKING:
    from matplotlib.image import AxesImage

    from ..steering import Traversal
    from ..steering.projection import Projection

__all__ = [
    "figure_curves", "figure_parameters", "figure_plane", "figure_rows", "figure_strips",
    "near_lines", "write_figure",
]  # fmt: skip

_SMALL = {"fontsize": 8}
_LINES = {"tuf": "#1f5fa8", "r": "#c2762b", "psep": "#0a7d78"}
_OTHER = "#6b46c1"
_LOW, _HIGH = "#1a9641", "#2b5fd9"


def write_figure(figure: Figure, path: Path, dpi: int = 110, colours: int = 128) -> str:
    """Write a figure with a palette of few colours, a third of the bytes; returns the file's name.

    Half of the palette are even greys, so that no field is tinted and black stays black; one of them is that of no
    field, or its faintest ripples would flicker between two.
    """
    from PIL import Image

    with Image.open(io.BytesIO(png(figure, dpi))) as picture:
        full = np.asarray(picture.convert("RGB"))
    code = full.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    # a table of all colours there can be: sorting millions of pixels takes longer than drawing them
    table = np.zeros(1 << 24, np.uint8)
    table[code] = 1
    codes = np.flatnonzero(table)
    known = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)
    palette = np.repeat(np.linspace(0, 255, colours // 2 - 1).round()[:, None], 3, axis=1)
    coloured = known[np.ptp(known, axis=1) > 8]
    if len(coloured):
        few = Image.fromarray(coloured[None]).quantize(colours - colours // 2, Image.Quantize.MAXCOVERAGE)
        palette = np.concatenate([palette, np.array(few.getpalette(), float).reshape(-1, 3)])
    # Pillow's own search rounds on the way, and tints what is white
    nearest = ((known[:, None].astype(np.float32) - palette.astype(np.float32)) ** 2).sum(2).argmin(1)
    table[codes] = nearest
    small = Image.fromarray(table[code], "P")
    small.putpalette(palette.astype(np.uint8).tobytes())
    small.save(path, format="PNG", optimize=True)
    return path.name


def near_lines(field_gauss: np.ndarray) -> np.ndarray:
    """(H, W) truth values: the strong-gradient inversion lines over which R is summed."""
    field = torch.from_numpy(np.nan_to_num(np.asarray(field_gauss, dtype=np.float32)))[None]
    positive = (field > POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    negative = (field < -POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    return (dilate(positive | (negative << 1)) == 3)[0].numpy()


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
    show_field(first, field)
    first.contour(field, levels=[-POLARITY_THRESHOLD_GAUSS], colors="#1f6fc4", linewidths=0.8)
    first.contour(field, levels=[POLARITY_THRESHOLD_GAUSS], colors="#d62728", linewidths=0.8)
    first.set_title("field, contours at ±150 G", **_SMALL)
    second.imshow(_signs(field), cmap=colours, vmin=-1, vmax=1, origin="lower", interpolation="nearest")
    ends = _axis_of(field)
    if ends is not None:
        second.plot(*ends, color="#00c8d7", linewidth=2.0, marker="o", markersize=4)
    second.set_title("beyond ±150 G; the line is PSEP", **_SMALL)
    show_field(third, field)
    near = near_lines(field)
    third.imshow(np.where(near, 1.0, np.nan), cmap=ListedColormap(["#ffb000"]), alpha=0.65, origin="lower",
                 interpolation="nearest")  # fmt: skip
    third.set_title(f"pixels that R sums over: {int(near.sum())}", **_SMALL)
    for axes in (first, second, third):
        bare(axes)
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


def _choose_for_plane(points: np.ndarray, cells: int) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """The point nearest the centre of each cell of a grid over the cloud, with that centre; and a cell's size.

    Drawn at the centres, pictures fill the plane and none covers another; a point is moved by half a cell at most.
    """
    low, high = np.percentile(points, 1, axis=0), np.percentile(points, 99, axis=0)
    size = np.maximum((high - low) / cells, 1e-9)
    place = np.floor((points - low) / size).astype(int)
    centre = low + (place + 0.5) * size
    distance = (((points - centre) / size) ** 2).sum(1)
    chosen: dict[tuple[int, int], int] = {}
    for k in np.argsort(distance, kind="stable"):
        if ((place[k] >= 0) & (place[k] < cells)).all():
            chosen.setdefault((int(place[k, 0]), int(place[k, 1])), int(k))
    return {k: centre[k] for k in chosen.values()}, size


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
    chosen, size = _choose_for_plane(projection.points, 13)
    order = [k for k in np.argsort(position, kind="stable") if k in chosen]
    lowest, highest = order[:4], order[-4:]
    figure = Figure(figsize=(5.4, 7.9), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=(4.4, 1, 1))
    main = figure.add_subplot(grid[0, :])
    ends = {**dict.fromkeys(lowest, _LOW), **dict.fromkeys(highest, _HIGH)}
    for k, (x, y) in chosen.items():
        box = (x - 0.48 * size[0], x + 0.48 * size[0], y - 0.48 * size[1], y + 0.48 * size[1])
        image = show_field(main, fields_gauss[k], box, "antialiased")
        if k in ends:
            main.add_patch(
                Rectangle((box[0], box[2]), box[1] - box[0], box[3] - box[2], fill=False, linewidth=2.0,
                          edgecolor=ends[k], zorder=4)
            )  # fmt: skip
    corners = np.array(list(chosen.values()))
    low, high = corners.min(0) - size, corners.max(0) + size
    at = np.array([low[0], high[0]])
    main.plot(at, projection.line(at), color="#d62728", linewidth=1.8, zorder=5)
    main.set(xlim=at, ylim=(low[1], high[1]), aspect="auto")
    main.set_xlabel(f"latent number {projection.axes[0] + 1}", **_SMALL)
    main.set_ylabel("the other numbers, weighted by the normal", **_SMALL)
    main.tick_params(labelsize=7)
    main.set_title(f"{get_parameter(name).title}; red: decision boundary", fontsize=9.5)
    low_word, high_word = ("negative leads", "positive leads") if name == "polarity" else ("lowest", "highest")
    for row, (members, colour, word) in enumerate(((lowest, _LOW, low_word), (highest, _HIGH, high_word)), start=1):
        for column, k in enumerate(members):
            axes = figure.add_subplot(grid[row, column])
            show_field(axes, fields_gauss[k])
            bare(axes, colour, 2.2)
            if column == 0:
                axes.set_ylabel(word, **_SMALL)
    grey_bar(figure, image, figure.axes, width=0.6)
    return figure


def figure_strips(
    strips: Sequence[tuple[Traversal, np.ndarray, Mapping[str, np.ndarray]]], frames: int = 7, physical: bool = False
) -> Figure:
    """Steps along directions with the measured values as curves under them (paper, Fig. 5).

    Parameters
    ----------
    strips
        Strip, its (K, H, W) patches in gauss, and parameter name to (K,) percentiles among generated patches.
    frames
        How many of the K patches are shown, each with its value of what is changed.
    physical
        Whether values are in maxwell and megametres, or in gauss and pixels.
    """
    ratio = max((gauss.shape[1] / gauss.shape[2] for _, gauss, _ in strips), default=1.0)
    figure = Figure(figsize=(8.2, (1.45 + 1.1 * ratio) * len(strips) + 0.5), layout="constrained")
    parts = figure.subfigures(len(strips), 1, squeeze=False)[:, 0]
    for part, (one, gauss, ranks) in zip(parts, strips, strict=True):
        grid = part.add_gridspec(2, frames, height_ratios=(ratio, 0.72), hspace=0.02, wspace=0.03)
        held = " and ".join(_symbol(name) for name in one.hold)
        part.suptitle(f"{_symbol(one.name)} changed, {held or 'nothing'} held", x=0.01, ha="left", fontsize=9.5)
        shown = np.linspace(0, len(one.eps) - 1, frames).round().astype(int)
        for column, k in enumerate(shown):
            axes = part.add_subplot(grid[0, column])
            show_field(axes, gauss[k], interpolation="antialiased")
            bare(axes)
            axes.set_title(parameter_text(one.name, float(one.values[one.name][k]), physical), fontsize=7.5, pad=3)
        below = part.add_subplot(grid[1, :])
        half = (one.eps[-1] - one.eps[0]) / (frames - 1) / 2
        lines = [
            below.plot(one.eps, values, color=_LINES.get(name, _OTHER), linewidth=1.6, label=_symbol(name))[0]
            for name, values in ranks.items()
        ]
        for k in np.flatnonzero(np.diff(np.sign(one.values.get("polarity", [])))):
            below.axvline((one.eps[k] + one.eps[k + 1]) / 2, color="#d62728", linewidth=1.0, linestyle=":")
        below.set(xlim=(one.eps[0] - half, one.eps[-1] + half), ylim=(-4, 104), xticks=one.eps[shown],
                  yticks=[0, 50, 100])  # fmt: skip
        below.tick_params(labelsize=7)
        below.grid(axis="y", color="0.9")
        below.set_ylabel("percentile", **_SMALL)
    figure.legend(handles=lines, loc="outside upper right", ncols=len(lines), frameon=False, fontsize=8)
    figure.supxlabel("step along the unit normal (standard deviations of the prior)", **_SMALL)
    return figure


def _symbol(name: str) -> str:
    return "polarity" if name == "polarity" else get_parameter(name).symbol


def figure_rows(
    rows: Sequence[Sequence[np.ndarray | None]],
    heads: Sequence[str],
    labels: Sequence[str] = (),
    scale_mm: tuple[float, float] | None = None,
) -> Figure:
    """Patches (H, W) in gauss in rows and columns (paper, left of Fig. 7, and Fig. 8); None leaves a place empty.

    North is up and west to the right. Where `scale_mm`, Mm per pixel (y, x), is known a bar tells 50 Mm.
    """
    shapes = [field.shape for row in rows for field in row if field is not None]
    high = 1.75 * max((height / width for height, width in shapes), default=1.0)
    figure = Figure(figsize=(1.75 * len(heads) + 0.3, high * len(rows) + 0.85), layout="constrained")
    grid = figure.subplots(len(rows), len(heads), squeeze=False)
    image: AxesImage | None = None
    for k, row in enumerate(rows):
        for axes, field, head in zip(grid[k], row, heads, strict=True):
            if field is None:
                axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, **_SMALL)
            else:
                image = show_field(axes, field)
            bare(axes)
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
    if image is not None:
        grey_bar(figure, image, list(grid.flat), width=0.6 if len(heads) < 4 else 0.4)
    return figure


#: what a line of stats.jsonl says, as a title
_CURVES = {
    "loss_g": "generator, adversarial loss",
    "loss_d": "discriminator, loss",
    "discriminator_accuracy": "discriminator, share told right",
    "held_out_discriminator_accuracy": "the same, held-out regions",
    "nats": "generator, reconstruction (nats a patch)",
    "kl": "inference, distance to the prior (nats)",
    "texture": "generator, difference in texture",
    "loss": "loss",
    "effective_rank": "embedding, effective dimensions",
    "embedding_std": "embedding, spread per dimension",
    "physics": "embedding, error of taught parameters",
}


def figure_curves(curves: Mapping[str, Sequence[tuple[float, float]]], title: str, used: float | None) -> Figure:
    """Training statistics against images shown, each in a panel of its own; a dashed line at the checkpoint in use."""
    count = max(1, len(curves))
    rows = -(-count // 2)
    figure = Figure(figsize=(7.6, 0.75 + 1.35 * rows), layout="constrained")
    grid = figure.subplots(rows, min(2, count), squeeze=False, sharex=True)
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    for axes, (name, points) in zip(grid.flat, curves.items(), strict=False):
        x, y = np.array(points, dtype=np.float64).T
        axes.plot(x / 1000, y, color="#1f5fa8", linewidth=1.2, marker="." if len(x) < 40 else None)
        if used is not None:
            axes.axvline(used / 1000, color="#d62728", linewidth=1.0, linestyle="--")
        axes.set_title(_CURVES.get(name, name.replace("_", " ")), **_SMALL)
        axes.tick_params(labelsize=7, labelbottom=True)
        axes.grid(color="0.93")
    figure.supxlabel("thousand images shown", **_SMALL)
    figure.suptitle(title, fontsize=9.5)
    return figure
