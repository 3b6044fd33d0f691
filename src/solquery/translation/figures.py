"""A translated patch beside the one that it was made of."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..grey import LIMIT_GAUSS, SOFT_GAUSS
from ..patch import Patch

__all__ = ["picture_of"]


def picture_of(given: Patch, made: Patch) -> bytes:
    """PNG of a patch and what a map made of it: north up, west to the right, one grey scale; missing pixels are red."""
    from matplotlib import colormaps
    from matplotlib.colors import AsinhNorm
    from matplotlib.figure import Figure

    ny, nx = given.field.shape
    wide = 4.2
    figure = Figure(figsize=(2 * wide + 0.9, wide * ny / nx + 0.7), layout="constrained")
    axes = figure.subplots(1, 2)
    grey = colormaps["gray"].with_extremes(bad="#c0392b")
    told = made.truth.get("translation", {})
    error = told.get("error", {}).get("rms_gauss")
    ending = "" if error is None else f", error {error:.0f} G"
    titles = [f"{given.source}, {given.quantity}", f"translated by {told.get('name')}: {made.quantity}{ending}"]
    image: Any = None
    for axis, patch, title in zip(axes, (given, made), titles, strict=True):
        image = axis.imshow(
            np.ma.masked_invalid(patch.field), origin="lower", cmap=grey, interpolation="nearest",
            norm=AsinhNorm(SOFT_GAUSS, -LIMIT_GAUSS, LIMIT_GAUSS),
        )  # fmt: skip
        axis.set_axis_off()
        axis.set_title(title, fontsize=8)
    figure.colorbar(image, ax=list(axes), label="field (G)", shrink=0.8, ticks=[-1000, -300, -100, 0, 100, 300, 1000])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, facecolor="white")
    return buffer.getvalue()
