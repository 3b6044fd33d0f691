"""R as Schrijver (2007) defined it, and as the SHARP keyword R_VALUE has it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..patch import MX_PER_G_MM2
from .inversion_lines import LINE_DILATION_PX, coarsened, overlap
from .registry import parameter

__all__ = ["WEIGHT_FWHM_MM", "r_schrijver", "r_value", "weighted_field"]

#: width of the Gaussian by which flux near an inversion line is weighted (Schrijver 2007)
WEIGHT_FWHM_MM = 15.0


def _smoothing(length: int, step_mm: Tensor) -> Tensor:
    """Gaussian weights (N, length, length) float64 over a line of pixels of `step_mm` (N,), of area one."""
    sigma = WEIGHT_FWHM_MM / (2.0 * math.sqrt(2.0 * math.log(2.0))) / step_mm
    place = torch.arange(length, dtype=torch.float64, device=step_mm.device)
    apart = place[:, None] - place[None, :]
    bell = torch.exp(-0.5 * (apart / sigma[:, None, None]).square()) / (math.sqrt(2.0 * math.pi) * sigma[:, None, None])
    return bell


def weighted_field(fields: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Unsigned field on the 2 arcsec grid, weighted and summed: (N,) in G, and the area of a pixel (N,) in Mm2."""
    total = torch.zeros(len(fields), dtype=torch.float64, device=fields.device)
    area = torch.zeros_like(total)
    for mine, coarse, step in coarsened(fields, scale):
        assert step is not None  # there is a scale
        near = overlap(coarse, LINE_DILATION_PX).to(coarse.dtype)
        rows, columns = (_smoothing(coarse.shape[k + 1], step[:, k]).to(coarse.dtype) for k in (0, 1))
        weight = rows @ near @ columns
        total[mine] = (weight * coarse.abs()).sum((1, 2), dtype=torch.float64)
        area[mine] = step[:, 0] * step[:, 1]
    return total, area


_DOMAIN = "line-of-sight field within 45° of disc centre (Schrijver 2007); from radial fields it comes out larger"


@parameter(
    "r_schrijver",
    "Mx",
    grid_unit="G pix",
    symbol="R_S07",
    title="Schrijver's R",
    source="Schrijver 2007, ApJ 655, L117",
    formula="Σ |B| w dA, w = Gauss(15 Mm) * (dilate₃(B > 150 G) ∩ dilate₃(B < −150 G)), 2″ pixels",
    domain=_DOMAIN,
    without="0 without inversion lines, NaN without a scale",
    default=False,
)
def r_schrijver(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Unsigned flux near strong-gradient inversion lines, weighted by how near.

    The field is averaged over whole pixels to about 2 arcsec (1.45 Mm); the masks above +150 G and below -150 G are
    dilated by 3 x 3 and intersected; that map is smoothed with a Gaussian of 15 Mm full width at half maximum and
    area one, and multiplies the unsigned flux. On a grid coarser than 2 arcsec the grid's own pixels are taken. NaN
    without a scale.
    """
    if scale is None:
        return torch.full((len(fields),), torch.nan, dtype=torch.float64, device=fields.device)
    total, area = weighted_field(fields, scale)
    return total * area * MX_PER_G_MM2


@parameter(
    "r_value",
    "",
    symbol="R_VALUE",
    title="R_VALUE, recomputed",
    source="SHARP keyword R_VALUE (Bobra et al. 2014)",
    formula="log₁₀ Σ |B| w, in G; w as in R_S07",
    domain=_DOMAIN,
    without="0 without inversion lines (as the keyword), NaN without a scale",
    default=False,
)
def r_value(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Decimal logarithm of `r_schrijver`'s sum in gauss, without the pixel's area, as the keyword has it.

    0 where the sum is below 1 G. NaN without a scale. The column ``r_value`` of an archive is not this but the
    keyword of the header.
    """
    if scale is None:
        return torch.full((len(fields),), torch.nan, dtype=torch.float64, device=fields.device)
    return torch.log10(weighted_field(fields, scale)[0].clamp(min=1.0))
