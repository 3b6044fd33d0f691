"""The unsigned flux and the area of the region's own field, without the quiet Sun and the noise that fill its box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from ..patch import MX_PER_G_MM2
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = [
    "BLOCK_MM", "COHERENT_GAUSS", "COHERENT_MM", "DENSITY_GAUSS", "DENSITY_MM", "STRONG_GAUSS", "coherent", "flux",
    "flux_area", "layout", "membership", "own_field", "steps",
]  # fmt: skip

#: field from which a pixel can be part of a coherent patch
COHERENT_GAUSS = 180.0
#: a coherent patch holds at least a diamond of this half-width: smaller ones are noise or single network elements
COHERENT_MM = 0.73
#: standard deviation of the Gaussian by which the flux density of coherent patches is smoothed
DENSITY_MM = 7.29
#: smoothed density at which a pixel is as likely the region's as not
DENSITY_GAUSS = 50.0
#: the density is worked out in blocks of about this side
BLOCK_MM = 2.9154
#: any pixel beyond this counts where the density is high (the threshold of the polarity masks)
STRONG_GAUSS = 150.0
#: a bare grid is taken for one of this many Mm per pixel (the view of preset ``paper`` over a HARP of median size)
_BARE_MM = 1.8


def steps(scale: Tensor | np.ndarray | None, n: int) -> np.ndarray:
    """Mm per pixel (N, 2) float64, of a bare grid the assumed one."""
    if scale is None:
        return np.full((n, 2), _BARE_MM)
    return scale if isinstance(scale, np.ndarray) else scale.cpu().numpy()


def layout(step_mm: tuple[float, float]) -> tuple[int, int, int]:
    """Pixels of a block along y and x, and the half-width of the diamond in pixels, for (y, x) Mm per pixel."""
    by, bx = (max(1, round(BLOCK_MM / step)) for step in step_mm)
    return by, bx, round(COHERENT_MM / math.sqrt(step_mm[0] * step_mm[1]))


def _shifted(mask: Tensor, dim: int, step: int, fill: bool) -> Tensor:
    """Mask (N, H, W) moved by one pixel along a dimension; what comes in from outside is `fill`."""
    out = torch.full_like(mask, fill)
    size = mask.shape[dim] - 1
    out.narrow(dim, max(step, 0), size).copy_(mask.narrow(dim, max(-step, 0), size))
    return out


def _grown(mask: Tensor, times: int) -> Tensor:
    """Mask dilated `times` by the pixel and its four neighbours."""
    for _ in range(times):
        around = [_shifted(mask, dim, step, False) for dim in (1, 2) for step in (-1, 1)]
        mask = mask | around[0] | around[1] | around[2] | around[3]
    return mask


def coherent(fields: Tensor, reach_px: int) -> Tensor:
    """Pixels (N, H, W) bool of the patches beyond 180 G that hold a diamond of half-width `reach_px`.

    The mask of the pixels beyond the threshold, whatever their sign, opened by that diamond; nothing lies outside.
    """
    loud = fields.abs() > COHERENT_GAUSS
    # eroding is dilating what is not there; outside of the grid nothing is
    padded = torch.nn.functional.pad(~loud, (reach_px,) * 4, value=True)
    worn = ~_grown(padded, reach_px)[:, reach_px : padded.shape[1] - reach_px, reach_px : padded.shape[2] - reach_px]
    return _grown(worn, reach_px)


def _blocks(values: Tensor, by: int, bx: int) -> Tensor:
    """Means (N, H', W') float64 over blocks; an incomplete one at the border is filled up with zeros."""
    padded = torch.nn.functional.pad(values.to(torch.float64), (0, -values.shape[2] % bx, 0, -values.shape[1] % by))
    return padded if by == bx == 1 else torch.nn.functional.avg_pool2d(padded[:, None], (by, bx))[:, 0]


def membership(fields: Tensor, step_mm: tuple[float, float]) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Which pixels count as the region's own, and how much.

    Parameters
    ----------
    fields
        (N, H, W) G, finite.
    step_mm
        (y, x) Mm per pixel, the same for all.

    Returns
    -------
    mask, weight, block
        (N, H, W) bool: pixels of coherent patches, and all beyond 150 G. (N, H', W') between 0 and 1: share with which
        the pixels of each block of ``block`` = (by, bx) pixels count, S / (S + 50 G), where S is the flux density of
        the coherent patches smoothed with a Gaussian of 7.3 Mm.
    """
    by, bx, reach = layout(step_mm)
    patches = coherent(fields, reach)
    density = _blocks(fields.abs() * patches, by, bx)
    widths = DENSITY_MM / (by * step_mm[0]), DENSITY_MM / (bx * step_mm[1])
    rows, columns = (torch.from_numpy(_bell_array(density.shape[k + 1], widths[k])).to(fields.device) for k in (0, 1))
    smooth = rows @ density @ columns
    return patches | (fields.abs() > STRONG_GAUSS), smooth / (smooth + DENSITY_GAUSS), (by, bx)


def own_field(field: np.ndarray, scale_mm: tuple[float, float]) -> np.ndarray:
    """Field (H, W) float32 in G with the weight of every pixel in FLUX: 0 where it does not count, or is missing."""
    values = np.nan_to_num(np.asarray(field, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    step = float(scale_mm[0]), float(scale_mm[1])
    by, bx, reach = layout(step)
    size = np.abs(values)
    patches = _opened(size > COHERENT_GAUSS, reach)
    padded = np.pad((size * patches).astype(np.float64), ((0, -size.shape[0] % by), (0, -size.shape[1] % bx)))
    density = padded.reshape(padded.shape[0] // by, by, padded.shape[1] // bx, bx).mean((1, 3))
    widths = DENSITY_MM / (by * step[0]), DENSITY_MM / (bx * step[1])
    smooth = _bell_array(len(density), widths[0]) @ density @ _bell_array(density.shape[1], widths[1])
    weight = (smooth / (smooth + DENSITY_GAUSS)).repeat(by, 0).repeat(bx, 1)[: size.shape[0], : size.shape[1]]
    return np.asarray(values * ((patches | (size > STRONG_GAUSS)) * weight), dtype=np.float32)


def _opened(mask: np.ndarray, reach_px: int) -> np.ndarray:
    """Mask (H, W) opened by a diamond of half-width `reach_px`; nothing lies outside."""
    from scipy.ndimage import binary_dilation, binary_erosion

    if reach_px == 0:
        return mask
    return binary_dilation(binary_erosion(mask, iterations=reach_px), iterations=reach_px)


def _bell_array(length: int, width: float) -> np.ndarray:
    """Gaussian weights (length, length) of standard deviation `width` pixels and area one."""
    apart = np.subtract.outer(np.arange(length), np.arange(length)) / width
    return np.exp(-0.5 * apart**2) / (math.sqrt(2.0 * math.pi) * width)


def _summed(fields: Tensor, scale: Tensor | None, power: int) -> Tensor:
    """Sum (N,) over the region's own pixels of |B| (power 1, in G pixels) or of one (power 0, in pixels)."""
    every = steps(scale, len(fields))
    kinds, which = np.unique(every, axis=0, return_inverse=True)
    out = torch.zeros(len(fields), dtype=torch.float64, device=fields.device)
    for k, kind in enumerate(kinds.tolist()):
        mine = torch.from_numpy(which.reshape(-1) == k).to(fields.device)
        part = fields if len(kinds) == 1 else fields[mine]
        mask, weight, (by, bx) = membership(part, (kind[0], kind[1]))
        mean = _blocks(part.abs() * mask if power else mask, by, bx)
        out[mine] = (mean * weight).sum((1, 2), dtype=torch.float64) * (by * bx)
    return out


_DOMAIN = (
    "radial field, μ > 0.5; of a SHARP only where its header places the region; else other regions in the box count"
)


@parameter(
    "flux",
    "Mx",
    grid_unit="G pix",
    symbol="FLUX",
    title="Unsigned flux of the region",
    source="calibrated against USFLUX of SHARP headers; see docs/parameters.md",
    formula="Σ w |B| dA over coherent patches (|B| > 180 G) and |B| > 150 G; w = S / (S + 50 G), S: smoothed density",
    domain=_DOMAIN,
    without="0 without a coherent patch",
)
def flux(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Unsigned flux of the region's own field: what the quiet Sun and the noise add to the box is left out.

    Pixels beyond 180 G that form patches of at least 1.5 Mm across are coherent; their flux density is smoothed with
    a Gaussian of 7.3 Mm. Where that density S is high, all pixels beyond 150 G and all coherent ones count; where it is
    low, they count in part, with the weight S / (S + 50 G), since a lone patch is more often the network or another
    region. Noise forms few coherent patches, so that neither the size of the box nor its distance from disc centre
    matters as it does for `tuf`. Without a scale the grid's pixels are taken for 1.8 Mm.
    """
    total = _summed(fields, scale, 1)
    return total if scale is None else total * scale[:, 0] * scale[:, 1] * MX_PER_G_MM2


@parameter(
    "flux_area",
    "Mm2",
    grid_unit="pix",
    symbol="FAREA",
    title="Area of the region's own strong field",
    source="pixels of FLUX",
    formula="Σ w dA over the pixels of FLUX",
    domain="AREA_ACR counts line-of-sight pixels: larger from radial fields the nearer the limb",
    without="0 without a coherent patch",
    default=False,
)
def flux_area(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Area of the pixels that `flux` sums over, each with its weight; without a scale their number."""
    total = _summed(fields, scale, 0)
    return total if scale is None else total * scale[:, 0] * scale[:, 1]
