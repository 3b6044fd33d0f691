"""The paper's Figure 6: patches, what a generator makes of them, and the error against the place on the disk."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .magnetogram import bare, grey_bar, show_field

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["figure_inversions"]

_SMALL = {"fontsize": 8}


def figure_inversions(
    real_gauss: np.ndarray,
    made_gauss: np.ndarray,
    shown_mu: np.ndarray,
    mu: np.ndarray,
    error: np.ndarray,
    followed: Sequence[tuple[np.ndarray, np.ndarray]] = (),
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
    followed
        Heliocentric angle in degrees and error of each region that is followed across the disk.
    """
    k, more = len(real_gauss), [2.0] if followed else []
    figure = Figure(figsize=(12.4 if followed else 10.0, 3.2), layout="constrained")
    grid = figure.add_gridspec(2, k + 2 + len(more), width_ratios=(*[1] * k, 0.1, 2.4, *more))
    small = []
    for column in range(k):
        for row, field in enumerate((real_gauss[column], made_gauss[column])):
            axes = figure.add_subplot(grid[row, column])
            image = show_field(axes, field)
            small.append(axes)
            bare(axes)
            if row == 0:
                axes.set_title(f"{np.degrees(np.arccos(min(shown_mu[column], 1.0))):.0f}°", **_SMALL)
            if column == 0:
                axes.set_ylabel(("archive", "generator")[row], **_SMALL)
    grey_bar(figure, image, small, width=0.5)
    main = figure.add_subplot(grid[:, k + 1])
    angle = np.degrees(np.arccos(np.clip(mu, 0.0, 1.0)))
    positive = np.maximum(error, 1e-9)
    low, high = np.percentile(positive, (0.5, 99.5)) if len(error) > 1 else (1e-3, 1.0)
    y = np.geomspace(float(low), float(high), 13) if len(error) > 1 else np.array([1e-3, 1.0])
    x = np.arange(0.0, 91.0, 10.0)
    counts, _, _ = np.histogram2d(angle, positive, bins=(x, np.unique(y)))
    shade = main.pcolormesh(x, np.unique(y), np.ma.masked_equal(counts.T, 0), cmap="Blues", vmin=0, rasterized=True)
    bar = figure.colorbar(shade, ax=main, pad=0.02, aspect=30)
    bar.set_label("patches", **_SMALL)
    bar.ax.tick_params(labelsize=7)
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
    if followed:
        _on_their_way(figure.add_subplot(grid[:, k + 2]), followed)
    return figure


def _on_their_way(axes: Axes, followed: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """The error of each region in units of its own median, and the median of all by angle."""
    angle = np.concatenate([one for one, _ in followed])
    relative = np.concatenate([error / max(float(np.median(error)), 1e-12) for _, error in followed])
    first = 0
    for one, _ in followed:
        rows = first + np.argsort(one, kind="stable")
        axes.plot(angle[rows], relative[rows], "-", color="#0a7d78", linewidth=0.6, alpha=0.35)
        first += len(one)
    places = [(low, (angle >= low) & (angle < low + 10.0)) for low in np.arange(0.0, 90.0, 10.0)]
    known = [(low + 5.0, float(np.median(relative[rows]))) for low, rows in places if rows.sum() >= 3]
    if known:
        axes.plot(*zip(*known, strict=True), "o-", color="#d62728", linewidth=1.4, markersize=4, label="median")
        axes.legend(frameon=False, fontsize=7.5)
    axes.set_yscale("log")
    axes.set_xlim(0, 90)
    axes.set_title(f"{len(followed)} regions, each on its way", **_SMALL)
    axes.set_xlabel("heliocentric angle (degrees)", **_SMALL)
    axes.set_ylabel("error over the region's median", **_SMALL)
    axes.tick_params(labelsize=7, which="both")
