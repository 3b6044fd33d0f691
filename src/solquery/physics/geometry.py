"""How the two polarities lie to each other: separation, tilt, which sign leads, and the inversion line (R)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import deferred
from .integral import POLARITY_THRESHOLD_GAUSS, integrate, strong
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["R_DILATION_PX", "axis_angle", "centroids", "dilate", "grow", "polarity", "psep", "r", "tilt"]

#: side of the square by which the polarity masks grow before they are intersected (paper, section 4)
R_DILATION_PX = 7


def centroids(fields: Tensor, scale: Tensor | None, sign: int) -> Tensor:
    """Field-strength-weighted centroid of the pixels beyond 150 G of polarity `sign`.

    Parameters
    ----------
    fields
        (N, H, W), G.
    scale
        (N, 2) Mm per pixel or None.
    sign
        +1 or -1.

    Returns
    -------
    (N, 2) (y, x) from the centre of pixel (0, 0), in Mm or in pixels; NaN where the polarity is absent.
    """
    weight = strong(fields, sign)
    rows = weight.sum(2, dtype=torch.float64)
    columns = weight.sum(1, dtype=torch.float64)
    y = rows @ torch.arange(rows.shape[1], dtype=torch.float64, device=rows.device)
    x = columns @ torch.arange(columns.shape[1], dtype=torch.float64, device=rows.device)
    # 0 / 0 is the NaN that says there is no such polarity
    centre = torch.stack([y, x], 1) / rows.sum(1)[:, None]
    return centre if scale is None else centre * scale


def _leading_minus_following(fields: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """Vector (N, 2) (y, x) from following to leading centroid, and the leading sign (N,), NaN where undecided."""
    step = centroids(fields, scale, +1) - centroids(fields, scale, -1)
    sign = torch.sign(step[:, 1])
    # centroids on one meridian: neither leads
    sign = torch.where(sign == 0, torch.full_like(sign, torch.nan), sign)
    return step * sign[:, None], sign


@parameter(
    "psep",
    "Mm",
    grid_unit="pix",
    symbol="PSEP",
    title="Polarity separation",
    source="paper, section 4",
    formula="|c₊ − c₋|, c± = Σ |B| r / Σ |B| over ±B > 150 G",
    domain="one bipole; with several, centroids cancel (see separation)",
    without="NaN without both polarities",
)
def psep(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Distance between the centroids of the two polarities.

    Centroids are weighted by field strength over the pixels above +150 G and below -150 G; each axis has its own
    scale. NaN where one polarity is missing.
    """
    step = centroids(fields, scale, +1) - centroids(fields, scale, -1)
    return torch.linalg.vector_norm(step, dim=1)


@parameter(
    "tilt",
    "deg",
    symbol="TILT",
    title="Tilt",
    source="angle of the axis whose length is PSEP",
    formula="atan2(Δy, Δx) from the following to the leading centroid",
    domain="with a scale; stretched grids distort angles",
    without="NaN without both polarities, or where neither leads",
)
def tilt(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Angle of the vector from the following to the leading polarity, from due west toward north.

    The leading polarity is the one whose centroid lies further west (columns grow westward, rows northward), so the
    angle is within (-90, 90): positive with the leading polarity further north. Joy's law reads negative in the
    northern and positive in the southern hemisphere. Together with `polarity` it fixes the full direction: the vector
    from negative to positive polarity has the angle `tilt` where the positive one leads and `tilt` + 180 degrees
    where it follows. NaN where one polarity is missing or neither leads. Without a scale it is the angle on the grid,
    which a stretch distorts.
    """
    step, _ = _leading_minus_following(fields, scale)
    return torch.rad2deg(torch.atan2(step[:, 0], step[:, 1]))


@parameter(
    "axis_angle",
    "deg",
    symbol="AXIS",
    title="Direction of the bipole",
    source="TILT with its quadrant",
    formula="atan2(y₊ − y₋, x₊ − x₋)",
    domain="with a scale; stretched grids distort angles",
    without="NaN without both polarities, or where their centroids coincide",
    # an angle that wraps round has no median to tell high from low by
    default=False,
)
def axis_angle(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Angle of the vector from the negative to the positive polarity, from due west toward north, in (-180, 180].

    `tilt` where the positive polarity leads, `tilt` turned by 180 degrees where it follows. NaN where one polarity is
    missing, or where both centroids coincide.
    """
    step = centroids(fields, scale, +1) - centroids(fields, scale, -1)
    angle = torch.rad2deg(torch.atan2(step[:, 0], step[:, 1]))
    return torch.where((step == 0).all(1), torch.full_like(angle, torch.nan), angle)


@parameter(
    "polarity",
    "",
    symbol="POL",
    title="Leading polarity",
    source="paper, section 4 (polarity flip)",
    formula="sign(x₊ − x₋)",
    without="NaN without both polarities, or where neither leads",
)
def polarity(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Sign of the leading polarity, the one whose centroid lies further west: +1 or -1; NaN where it is unknown."""
    return _leading_minus_following(fields, scale)[1]


def grow(code: Tensor, dim: int, reach: int) -> Tensor:
    """Bitwise OR of `code` over a window of 2 reach + 1 along `dim`, nothing coming in from outside."""
    out = code
    length = code.shape[dim]
    done = 1
    # windows double: 1, 2, 4, ... pixels to the right of each pixel, then the rest
    window = 2 * reach + 1
    padding = [0, 0, 0, 0]
    padding[2 * (2 - dim)] = padding[2 * (2 - dim) + 1] = reach
    out = torch.nn.functional.pad(out, padding)
    while done < window:
        step = min(done, window - done)
        size = out.shape[dim] - step
        out = out.narrow(dim, 0, size) | out.narrow(dim, step, size)
        done += step
    return out.narrow(dim, 0, length)


def dilate(code: Tensor, size: int = R_DILATION_PX) -> Tensor:
    """Dilate bit masks (N, H, W) uint8 by a square of odd `size` pixels; every bit is a mask of its own."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the dilation's size must be odd and positive, got {size}")
    return grow(grow(code, 2, size // 2), 1, size // 2)


@parameter(
    "r",
    "Mx",
    grid_unit="G pix",
    symbol="R",
    title="Flux near inversion lines",
    source="paper, section 4",
    formula="Σ |B| dA over dilate₇(B > 150 G) ∩ dilate₇(B < −150 G)",
    domain="compare on one grid only: the 7 × 7 window is in pixels",
)
def r(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Unsigned field summed near strong-gradient polarity inversion lines; 0 where there are none.

    The masks of the pixels above +150 G and below -150 G are dilated by 7 x 7 pixels and intersected; the sum runs
    over the intersection. The square is counted in pixels of the grid at hand, so values of different grids are not
    comparable: the paper's is the one on 128 x 128. Not Schrijver's (2007) R, which weights with a Gaussian of 15 Mm
    on the line-of-sight field, nor the SHARP keyword R_VALUE, the
    logarithm of that: see `r_schrijver` and `r_value`.
    """
    positive = (fields > POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    negative = (fields < -POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    near = dilate(positive | (negative << 1)) == 3
    return integrate(fields.abs() * near, scale)
