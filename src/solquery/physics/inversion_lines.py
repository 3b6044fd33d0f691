"""Strong polarity inversion lines: how long they are, and how steep the field is across them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .geometry import R_DILATION_PX, grow
from .integral import POLARITY_THRESHOLD_GAUSS
from .registry import parameter

__all__ = ["LINE_REACH_MM", "inversion_lines", "pil_gradient", "pil_length", "reach_px"]

#: how far apart strong fields of opposite sign may lie from their inversion line: a pixel of 2 arcsec (Schrijver 2007)
LINE_REACH_MM = 1.45


def reach_px(scale: Tensor | None, n: int) -> np.ndarray:
    """`LINE_REACH_MM` in whole pixels (N, 2), at least one; without a scale as far as the paper's R reaches."""
    if scale is None:
        return np.full((n, 2), R_DILATION_PX // 2, dtype=np.int64)
    return np.maximum(np.rint(LINE_REACH_MM / scale.cpu().numpy()), 1).astype(np.int64)


def _overlap(fields: Tensor, reach: np.ndarray) -> Tensor:
    """Pixels (N, H, W) bool within reach of strong field of both signs."""
    code = (fields > POLARITY_THRESHOLD_GAUSS).to(torch.uint8)
    code |= (fields < -POLARITY_THRESHOLD_GAUSS).to(torch.uint8) << 1
    kinds, which = np.unique(reach, axis=0, return_inverse=True)
    out = torch.empty_like(code)
    for k, (y, x) in enumerate(kinds.tolist()):
        mine = torch.from_numpy(which.reshape(-1) == k).to(code.device)
        out[mine] = grow(grow(code[mine], 2, x), 1, y)
    return out == 3


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
    n = len(fields)
    near = _overlap(fields, reach_px(scale, n))
    cell = near[:, 1:, 1:] | near[:, 1:, :-1] | near[:, :-1, 1:] | near[:, :-1, :-1]
    positive = fields > 0
    count = sum(positive[:, y : y + cell.shape[1], x : x + cell.shape[2]].to(torch.uint8) for y in (0, 1) for x in (0, 1))
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


_DOMAIN = "on radial or line-of-sight fields; noise above 150 G makes lines of its own"


@parameter(
    "pil_length",
    "Mm",
    grid_unit="pix",
    symbol="L_PIL",
    title="Length of strong inversion lines",
    source="after Falconer et al. 2003 (strong-gradient length) and Schrijver 2007 (its mask)",
    formula="length of {B = 0} within 1.45 Mm of both B > 150 G and B < −150 G",
    domain=_DOMAIN,
)
def pil_length(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Length of the zero contour where strong fields of opposite sign meet; 0 where they do not.

    The contour is drawn through cells of four pixels by linear interpolation, so that its length does not depend on
    how it lies to the grid. Cells count that touch a pixel within 1.45 Mm (Schrijver's 2 arcsec, in whole pixels, a
    square neighbourhood, at least one pixel) both of field above +150 G and of field below -150 G. Without a scale
    the reach is 3 pixels, that of the paper's R.
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
