"""How reports draw a magnetogram: grey from -1000 to +1000 G through an asinh, north up and west to the right.

In a grey that is linear to 1000 G all but the strongest regions vanish. An asinh is linear below the 150 G at which
polarities begin to count, and logarithmic beyond, so that plage of 50 G shows beside spots; sign and order of the
fields stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..grey import LIMIT_GAUSS, SOFT_GAUSS, stretched

if TYPE_CHECKING:
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage

__all__ = ["GREY_TEXT", "LIMIT_GAUSS", "SOFT_GAUSS", "bare", "grey_bar", "show_field", "stretched"]

GREY_TEXT = "Grey: −1,000 G (black) to +1,000 G (white), through an asinh of 150 G, so that weak field shows too."

#: where the scale has ticks, as shares of full white
_TICKS = (-1, -0.3, -0.1, 0, 0.1, 0.3, 1)


def show_field(
    axes: Axes,
    field_gauss: ArrayLike,
    extent: Sequence[float] | None = None,
    interpolation: str = "nearest",
    limit_gauss: float = LIMIT_GAUSS,
) -> AxesImage:
    """Draw a field (H, W) in gauss and return the image, of which `grey_bar` makes the scale.

    A `limit_gauss` of full white other than 1000 G, for images of another kind, softens at the same share of it.
    """
    return axes.imshow(
        np.nan_to_num(np.asarray(field_gauss, dtype=np.float32)),
        cmap="gray", norm=AsinhNorm(limit_gauss * SOFT_GAUSS / LIMIT_GAUSS, -limit_gauss, limit_gauss), origin="lower",
        extent=extent, interpolation=interpolation,
    )  # fmt: skip


def grey_bar(
    figure: Figure,
    image: AxesImage,
    axes: Axes | Sequence[Axes] | None = None,
    cax: Axes | None = None,
    width: float = 0.4,
) -> Colorbar:
    """The scale of the greys in gauss: in `cax` and upright, or below `axes` and `width` of their width."""
    ticks = [share * image.norm.vmax for share in _TICKS]
    if cax is not None:
        bar = figure.colorbar(image, cax=cax, ticks=ticks)
    else:
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=width, aspect=50 * width, pad=0.02, ticks=ticks)
    bar.set_label("field (G)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.ax.minorticks_off()
    (bar.ax.yaxis if cax is not None else bar.ax.xaxis).set_major_formatter(lambda v, _: f"{v:g}".replace("-", "−"))
    return bar


def bare(axes: Axes, colour: str = "0.6", width: float = 0.8) -> None:
    """Axes without ticks, framed in a colour."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=width)
