"""Pictures of patches and figures of the experiments; drawn without a display.

Magnetograms are grey (`magnetogram`), north up and west to the right. The colour of a frame says where a patch comes
from: real, simulated or generated.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Swatch
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from ..physics import get_parameter, unit_of
from ..physics.geometry import centroids
from .magnetogram import LIMIT_GAUSS, grey_bar, show_field, stretched
from .retrieval import METHODS, PARAMETERS

__all__ = [
    "KIND_COLOURS", "METHOD_LABELS", "figure_correlations", "figure_joint", "figure_patch", "figure_zoo", "png",
    "prefixed", "tile_png",
]  # fmt: skip

KIND_COLOURS = {"real": "#0a7d78", "simulated": "#b8640b", "generated": "#6b46c1"}
METHOD_LABELS = {"ssl": "Embedding", "hybrid": "Hybrid", "euclidean": "Euclidean", "mahalanobis": "Mahalanobis"}
_METHOD_STYLE = {
    "ssl": ("#1f5fa8", "o"),
    "hybrid": ("#0a7d78", "D"),
    "euclidean": ("#8a8a8a", "s"),
    "mahalanobis": ("#c2762b", "^"),
}
_QUERY, _MATCH = "#5f9fd6", "#e58fa3"
_FONT = {"size": 9}


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def tile_png(field_gauss: ArrayLike, zoom: int = 2) -> bytes:
    """One magnetogram (H, W) in gauss as a bare grey PNG, each pixel `zoom` x `zoom`; NaN is mid-grey."""
    from PIL import Image

    grey = np.round((stretched(field_gauss) + 1.0) * 127.5).astype(np.uint8)
    # row 0 is the southernmost, a picture begins at the top
    grey = np.ascontiguousarray(np.kron(grey[::-1], np.ones((zoom, zoom), np.uint8)))
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def prefixed(values: ArrayLike, unit: str) -> tuple[float, str]:
    """Divisor and unit with which the largest of `values` is readable: (1e6, "MG pix") for fluxes on a grid."""
    known = np.abs(np.asarray(values, dtype=np.float64))
    largest = known[np.isfinite(known)].max(initial=0.0)
    if unit == "G pix":
        for divisor, prefix in ((1e6, "M"), (1e3, "k")):
            if largest >= divisor:
                return divisor, f"{prefix}{unit}"
    if unit == "Mx" and largest > 0:
        power = int(np.floor(np.log10(largest)))
        return 10.0**power, f"$10^{{{power}}}$ Mx"
    return 1.0, unit


def _frame(axes: Axes, kind: str, width: float = 2.5) -> None:
    for spine in axes.spines.values():
        spine.set(color=KIND_COLOURS[kind], linewidth=width)


def _mark_centroids(axes: Axes, field: np.ndarray, scale_mm: tuple[float, float] | None) -> None:
    for sign, text, colour in ((1, "$+$", "#d62728"), (-1, "$-$", "#1f6fc4")):
        y, x = centroids(torch.from_numpy(np.nan_to_num(field))[None], None, sign)[0].tolist()
        if np.isfinite(x):
            if scale_mm:
                y, x = (y + 0.5) * scale_mm[0], (x + 0.5) * scale_mm[1]
            axes.plot(x, y, "o", markersize=11, markerfacecolor="white", markeredgecolor=colour, markeredgewidth=1.8)
            axes.plot(x, y, marker=text, markersize=6, color=colour, linestyle="none")


def figure_patch(
    field_gauss: np.ndarray, kind: str, title: str = "", scale_mm: tuple[float, float] | None = None
) -> Figure:
    """One magnetogram (H, W) in gauss with axes and colour bar: megametres where the scale is known, else pixels.

    A circled + and − mark the polarity centroids, whose distance is PSEP.

    Parameters
    ----------
    field_gauss
        (H, W).
    kind
        ``real``, ``simulated`` or ``generated``; written into the title and shown as the colour of the frame.
    title
        What else the title says.
    scale_mm
        (y, x) megametres per pixel.
    """
    height, width = field_gauss.shape
    sy, sx = scale_mm or (1.0, 1.0)
    extent = (0.0, width * sx, 0.0, height * sy) if scale_mm else (-0.5, width - 0.5, -0.5, height - 0.5)
    ratio = (height * sy) / (width * sx)
    figure = Figure(figsize=(5.4, float(np.clip(4.3 * ratio + 1.0, 2.4, 6.0))), layout="constrained")
    axes = figure.add_subplot()
    image = show_field(axes, field_gauss, extent)
    axes.set_title(f"{kind}: {title}" if title else kind, **_FONT, color=KIND_COLOURS[kind])
    unit = "Mm" if scale_mm else "pixel of the grid"
    axes.set_xlabel(f"west → ({unit})", **_FONT)
    axes.set_ylabel(f"north → ({unit})", **_FONT)
    axes.tick_params(labelsize=8)
    _frame(axes, kind)
    _mark_centroids(axes, np.asarray(field_gauss, dtype=np.float32), scale_mm)
    # beside the picture and as tall as it, whatever its shape
    grey_bar(figure, image, cax=axes.inset_axes((1.03, 0.0, 0.045, 1.0)))
    return figure


def figure_zoo(
    fields_gauss: np.ndarray, kinds: Sequence[str], title: str, columns: int = 6, width: float = 6.4
) -> Figure:
    """Patches (N, H, W) in gauss as a square mosaic, each framed in the colour of its kind (paper, Fig. 2).

    `width` is the figure's, in inches. Where all are of one kind the frames are thin and need no legend.
    """
    n, height, wide = fields_gauss.shape
    rows = -(-n // columns)
    gap = max(2, height // 24)
    mosaic = np.full((rows * (height + gap) + gap, columns * (wide + gap) + gap), LIMIT_GAUSS, np.float32)
    shown = [kind for kind in KIND_COLOURS if kind in kinds]
    # title and scale below and above, and the legend where there is one
    room = 0.95 + 0.3 * (len(shown) > 1)
    figure = Figure(figsize=(width, width * mosaic.shape[0] / mosaic.shape[1] + room), layout="constrained")
    axes = figure.add_subplot()
    line = 1.8 if len(shown) > 1 else 0.6
    for k, (field, kind) in enumerate(zip(fields_gauss, kinds, strict=True)):
        y = (rows - 1 - k // columns) * (height + gap) + gap
        x = (k % columns) * (wide + gap) + gap
        mosaic[y : y + height, x : x + wide] = field
        box = (x - 0.5 - gap / 4, y - 0.5 - gap / 4)
        axes.add_patch(
            Rectangle(box, wide + gap / 2, height + gap / 2, fill=False, linewidth=line, edgecolor=KIND_COLOURS[kind])
        )
    image = show_field(axes, mosaic, interpolation="antialiased")
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    grey_bar(figure, image, axes, width=0.45)
    if len(shown) > 1:
        swatches = [Swatch(facecolor="none", edgecolor=KIND_COLOURS[kind], linewidth=2, label=kind) for kind in shown]
        figure.legend(handles=swatches, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def figure_joint(
    name: str,
    query: np.ndarray,
    match: np.ndarray,
    population: np.ndarray,
    correlation: Mapping[str, float] | None = None,
    bins: int = 36,
    physical: bool = False,
) -> Figure:
    """Density of a parameter in queries and best matches, with marginals (paper, Figs. 7 and 9).

    Parameters
    ----------
    name
        A registered parameter.
    query, match
        (Q,); pairs with NaN are left out.
    population
        (N,) of the whole archive: the black outline in the margins.
    correlation
        With ``pearson`` and ``spearman``, for the title.
    physical
        Whether the values are in maxwell and megametres, or in gauss and pixels.
    """
    pairs = np.isfinite(query) & np.isfinite(match)
    divisor, unit = prefixed(np.concatenate([query[pairs], match[pairs]]), unit_of(name, physical))
    a, b, everything = query[pairs] / divisor, match[pairs] / divisor, population[np.isfinite(population)] / divisor
    both = np.concatenate([a, b]) if len(a) else np.array([0.0, 1.0])
    low, high = np.percentile(both, [0.3, 99.7])
    pad = 0.04 * (high - low) or 1.0
    edges = np.linspace(low - pad, high + pad, bins + 1)

    figure = Figure(figsize=(3.9, 4.0), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4), wspace=0.02, hspace=0.02)
    main = figure.add_subplot(grid[1, 0])
    top = figure.add_subplot(grid[0, 0], sharex=main)
    right = figure.add_subplot(grid[1, 1], sharey=main)
    counts, _, _ = np.histogram2d(a, b, bins=(edges, edges))
    # most pairs crowd where values are small: linear shades would show nothing else
    shade = LogNorm(1, max(2.0, float(counts.max(initial=0))))
    main.pcolormesh(edges, edges, np.ma.masked_equal(counts.T, 0), cmap="viridis_r", norm=shade, rasterized=True)
    main.plot(edges[[0, -1]], edges[[0, -1]], color="0.35", linewidth=0.8, linestyle="--")
    main.set(xlim=edges[[0, -1]], ylim=edges[[0, -1]])
    symbol = get_parameter(name).symbol
    suffix = f" ({unit})" if unit else ""
    main.set_xlabel(f"{symbol} of the query{suffix}", **_FONT)
    main.set_ylabel(f"{symbol} of the match{suffix}", **_FONT)
    main.tick_params(labelsize=8)
    for axes, values, colour, way in ((top, a, _QUERY, "vertical"), (right, b, _MATCH, "horizontal")):
        # the density of nothing is no number
        if np.histogram(values, edges)[0].any():
            axes.hist(values, edges, density=True, color=colour, alpha=0.75, orientation=way)
        if np.histogram(everything, edges)[0].any():
            axes.hist(everything, edges, density=True, histtype="step", color="black", linewidth=0.9, orientation=way)
        axes.set_axis_off()
    title = get_parameter(name).title
    if correlation is not None:
        numbers = f"\nPearson {correlation['pearson']:.2f}, Spearman {correlation['spearman']:.2f}"
        title += numbers.replace("-", "−").replace("nan", "–")
    figure.suptitle(title, fontsize=9.5)
    return figure


def figure_correlations(
    correlations: Mapping[str, Mapping[str, Mapping[str, float]]], paper: Mapping[str, tuple[float, float]]
) -> Figure:
    """Pearson and Spearman correlation by parameter and method, beside the paper's values for the embedding."""
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(PARAMETERS))[::-1]
    for axes, kind, which in ((left, "pearson", 0), (right, "spearman", 1)):
        for step, method in enumerate(METHODS):
            colour, marker = _METHOD_STYLE[method]
            values = [correlations[method][name][kind] for name in PARAMETERS]
            height = places + 0.24 - 0.16 * step
            axes.plot(values, height, marker, color=colour, markersize=6, label=METHOD_LABELS[method])
        axes.plot(
            [paper[name][which] for name in PARAMETERS], places + 0.24, "o", markersize=9, markerfacecolor="none",
            markeredgecolor="black", label="paper, self-supervised, real archive",
        )  # fmt: skip
        axes.set_xlabel(f"{kind.capitalize()} correlation, query and best match", **_FONT)
        values = [line.get_xdata() for line in axes.get_lines()]
        lowest = np.nanmin(np.concatenate([np.asarray(v, dtype=float) for v in values]))
        axes.set_xlim(min(-0.05, lowest - 0.05), 1.03)
        axes.grid(axis="x", color="0.9")
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.tick_params(labelsize=8)
    left.set_yticks(places, [get_parameter(name).symbol for name in PARAMETERS])
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
