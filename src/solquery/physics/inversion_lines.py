"""Strong polarity inversion lines: how long they are, and how steep the field is across them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from .geometry import R_DILATION_PX, dilate
from .integral import POLARITY_THRESHOLD_GAUSS
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = [
    "LINE_DILATION_PX", "LINE_PIXEL_MM", "block_px", "coarsened", "inversion_lines", "overlap", "pil_gradient",
    "pil_length",
]  # fmt: skip

#: pixels are averaged to this size before lines are looked for: 2 arcsec (Schrijver 2007)
LINE_PIXEL_MM = 1.45
#: side of the square, in such pixels, by which the polarity masks grow before they are intersected (Schrijver 2007)
LINE_DILATION_PX = 3


def block_px(scale: Tensor | np.ndarray | None, n: int) -> np.ndarray:
    """Whole pixels (N, 2) that make up `LINE_PIXEL_MM`, at least one; one without a scale."""
    if scale is None:
        return np.ones((n, 2), dtype=np.int64)
    steps = scale if isinstance(scale, np.ndarray) else scale.cpu().numpy()
    return np.maximum(np.rint(LINE_PIXEL_MM / steps), 1).astype(np.int64)


def coarsened(fields: Tensor, scale: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Fields averaged over blocks, those together whose blocks are alike.

    Yields
    ------
    Which patches (N,) bool, their fields (M, H', W'), and their scale (M, 2) or None. An incomplete block at the
    border is filled up with no field.
    """
    kinds, which = np.unique(block_px(scale, len(fields)), axis=0, return_inverse=True)
    for k, (by, bx) in enumerate(kinds.tolist()):
        mine = torch.from_numpy(which.reshape(-1) == k).to(fields.device)
        part = fields[mine]
        if by > 1 or bx > 1:
            part = torch.nn.functional.pad(part, (0, -part.shape[2] % bx, 0, -part.shape[1] % by))
            part = torch.nn.functional.avg_pool2d(part[:, None], (by, bx))[:, 0]
        step = None if scale is None else scale[mine] * torch.tensor([by, bx], dtype=scale.dtype, device=scale.device)
        yield mine, part, step


def overlap(fields: Tensor, size: int) -> Tensor:
    """Pixels (N, H, W) bool of which a square of `size` pixels holds field beyond 150 G of both signs."""
    code = (fields > POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    code |= (fields < -POLARITY_THRESHOLD_GAUSS).to(torch.uint8) << 1
    return dilate(code, size) == 3


def inversion_lines(fields: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """Length of the strong inversion lines, and the field's gradient integrated along them.

    Parameters
    ----------
    fields
        (N, H, W), G.
    scale
        (N, 2) Mm per pixel or None.

    Returns
    -------
    (N,) in Mm or pixels, and (N,) in G.
    """
    length = torch.zeros(len(fields), dtype=torch.float64, device=fields.device)
    integral = torch.zeros_like(length)
    for mine, part, step in coarsened(fields, scale):
        length[mine], integral[mine] = _contour(part, step, LINE_DILATION_PX if scale is not None else R_DILATION_PX)
    return length, integral


def _contour(fields: Tensor, scale: Tensor | None, size: int) -> tuple[Tensor, Tensor]:
    """Length of the zero contour in the cells that touch the overlap, and the gradient integrated along it."""
    n = len(fields)
    near = overlap(fields, size)
    cell = near[:, 1:, 1:] | near[:, 1:, :-1] | near[:, :-1, 1:] | near[:, :-1, :-1]
    positive = fields > 0
    count = sum(
        positive[:, y : y + cell.shape[1], x : x + cell.shape[2]].to(torch.uint8) for y in (0, 1) for x in (0, 1)
    )
    patch, y, x = (cell & (count > 0) & (count < 4)).nonzero(as_tuple=True)
    a, b, c, d = (fields[patch, y + j, x + i].to(torch.float64) for j in (0, 1) for i in (0, 1))
    ones = torch.ones_like(a)
    step_y, step_x = (ones, ones) if scale is None else scale[patch].unbind(1)
    pa, pb, pc, pd = a > 0, b > 0, c > 0, d > 0

    def crossing(one: Tensor, other: Tensor, step: Tensor) -> Tensor:
        return one / torch.where(one == other, ones, one - other) * step

    south, north = crossing(a, b, step_x), crossing(c, d, step_x)
    west, east = crossing(a, c, step_y), crossing(b, d, step_y)
    # the four corners of the cell that a piece of the contour can cut off, and the two ways straight across
    cuts = {
        "a": torch.hypot(south, west),
        "b": torch.hypot(step_x - south, east),
        "c": torch.hypot(north, step_y - west),
        "d": torch.hypot(step_x - north, step_y - east),
    }
    up, across = torch.hypot(south - north, step_y), torch.hypot(west - east, step_x)
    length = torch.where(
        (pa != pb) & (pa != pc),
        cuts["a"],
        torch.where((pa != pb) & (pb != pd), cuts["b"], torch.where((pc != pd) & (pa != pc), cuts["c"], cuts["d"])),
    )
    length = torch.where((pa != pb) & (pc != pd), up, length)
    length = torch.where((pa != pc) & (pb != pd), across, length)
    # a saddle: the mean decides which pair of corners hangs together
    saddle = (pa != pb) & (pc != pd) & (pa != pc)
    joined = (a + b + c + d > 0) == pa
    length = torch.where(saddle, torch.where(joined, cuts["b"] + cuts["c"], cuts["a"] + cuts["d"]), length)
    slope = torch.hypot(0.5 * (c + d - a - b) / step_y, 0.5 * (b + d - a - c) / step_x)
    zero = torch.zeros(n, dtype=torch.float64, device=fields.device)
    return zero.index_add(0, patch, length), zero.index_add(0, patch, length * slope)


_DOMAIN = "noise beyond 150 G on the averaged pixels (radial fields towards the limb) makes lines of its own"


@parameter(
    "pil_length",
    "Mm",
    grid_unit="pix",
    symbol="L_PIL",
    title="Length of strong inversion lines",
    source="after Falconer et al. 2003 (strong-gradient length) and Schrijver 2007 (its mask)",
    formula="length of {B = 0} in dilate₃(B > 150 G) ∩ dilate₃(B < −150 G), 2″ pixels",
    domain=_DOMAIN,
)
def pil_length(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Length of the zero contour where strong fields of opposite sign meet; 0 where they do not.

    The field is averaged over whole pixels to about 2 arcsec (1.45 Mm) and the masks above +150 G and below -150 G are
    dilated by 3 x 3, as for Schrijver's R; cells of four pixels count that touch the intersection. The contour is drawn
    through them by linear interpolation, so that its length does not depend on how it lies to the grid. On a coarser
    grid the grid's own pixels are taken; without a scale they are dilated by 7 x 7, as for the paper's R.
    """
    return inversion_lines(fields, scale)[0]


@parameter(
    "pil_gradient",
    "G",
    symbol="G_PIL",
    title="Gradient along strong inversion lines",
    source="after Falconer et al. 2008 (gradient-weighted length)",
    formula="∫ |∇B| dl over the lines of L_PIL",
    domain=_DOMAIN,
)
def pil_gradient(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Gradient of the field integrated along the lines whose length is `pil_length`; 0 where there are none.

    Per cell of four pixels, the magnitude of the bilinear gradient in its middle times the length of the contour in
    it. A gradient times a length is a field strength: the number needs no scale but for the lines it is taken over.
    """
    return inversion_lines(fields, scale)[1]
