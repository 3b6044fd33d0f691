"""R as Schrijver (2007) defined it, and as the SHARP keyword R_VALUE has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from ..patch import MX_PER_G_MM2
from .integral import POLARITY_THRESHOLD_GAUSS
from .inversion_lines import LINE_DILATION_PX, block_px, coarsened, overlap
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["KEYWORD_FWHM_MM", "WEIGHT_FWHM_MM", "keyword_sum", "of_arrays", "r_schrijver", "r_value", "weighted_field"]

#: width of the Gaussian by which flux near an inversion line is weighted (Schrijver 2007)
WEIGHT_FWHM_MM = 15.0
#: the same in the pipeline of SHARPs: 10 pixels of 4 x 0.364425 Mm
KEYWORD_FWHM_MM = 14.577
#: full width at half maximum of a Gaussian, in standard deviations
_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))


def _smoothing(length: int, step_mm: Tensor) -> Tensor:
    """Gaussian weights (N, length, length) float64 over a line of pixels of `step_mm` (N,), of area one."""
    sigma = WEIGHT_FWHM_MM / _FWHM / step_mm
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


def keyword_sum(fields: Tensor, scale: Tensor) -> Tensor:
    """Sum (N,) in G that R_VALUE is the logarithm of: every fourth pixel of HMI's, a Gaussian of 10 such pixels."""
    out = torch.zeros(len(fields), dtype=torch.float64, device=fields.device)
    kinds, which = np.unique(block_px(scale, len(fields)), axis=0, return_inverse=True)
    for k, (by, bx) in enumerate(kinds.tolist()):
        mine = torch.from_numpy(which.reshape(-1) == k).to(fields.device)
        part = fields[mine]
        rows, columns = max(part.shape[1] // by, 1), max(part.shape[2] // bx, 1)
        # samples, not means: the pipeline takes one pixel of each block, and none of an incomplete one
        sampled = part[:, ::by, ::bx][:, :rows, :columns]
        near = overlap(sampled, LINE_DILATION_PX).to(torch.float64)
        if bool(near.any()):
            step = scale[mine] * torch.tensor([by, bx], dtype=scale.dtype, device=scale.device)
            weight = _bells(rows, step[:, 0]) @ near @ _bells(columns, step[:, 1])
            out[mine] = (weight * sampled.abs()).sum((1, 2), dtype=torch.float64)
    return out


def _bells(length: int, step_mm: Tensor) -> Tensor:
    """Gaussians (N, length, length) over 41 pixels of 2 arcsec, as far as the pipeline's kernel reaches, of sum one."""
    sigma = KEYWORD_FWHM_MM / _FWHM / step_mm
    reach = torch.round(2.0 * KEYWORD_FWHM_MM / step_mm)
    place = torch.arange(length, dtype=torch.float64, device=step_mm.device)
    apart = (place[:, None] - place[None, :]).abs()
    bell = torch.exp(-0.5 * (apart / sigma[:, None, None]).square()) * (apart <= reach[:, None, None])
    far = torch.arange(-int(reach.max()), int(reach.max()) + 1, dtype=torch.float64, device=step_mm.device)
    whole = (torch.exp(-0.5 * (far / sigma[:, None]).square()) * (far.abs() <= reach[:, None])).sum(1)
    return bell / whole[:, None, None]


def of_arrays(fields: np.ndarray, scale: np.ndarray | None) -> dict[str, np.ndarray]:
    """`r_schrijver` and `r_value` of arrays (N, H, W) float32, finite, with scale (N, 2): the definitions in numpy."""
    if scale is None:
        return {name: np.full(len(fields), np.nan) for name in ("r_schrijver", "r_value")}
    out = {"r_schrijver": np.zeros(len(fields)), "r_value": np.zeros(len(fields))}
    for k, (field, (by, bx)) in enumerate(zip(fields, block_px(scale, len(fields)).tolist(), strict=True)):
        step = scale[k] * (by, bx)
        height, width = field.shape
        padded = np.pad(field, ((0, -height % by), (0, -width % bx)))
        means = padded.reshape(padded.shape[0] // by, by, padded.shape[1] // bx, bx).mean((1, 3))
        rows, columns = (_smoothing_array(n, size) for n, size in zip(means.shape, step, strict=True))
        out["r_schrijver"][k] = _weighted(means, rows, columns) * step[0] * step[1] * MX_PER_G_MM2
        # samples, not means, as in `keyword_sum`
        sampled = field[::by, ::bx][: max(height // by, 1), : max(width // bx, 1)]
        rows, columns = (_bells_array(n, size) for n, size in zip(sampled.shape, step, strict=True))
        out["r_value"][k] = math.log10(max(_weighted(sampled, rows, columns), 1.0))
    return out


def _weighted(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """Unsigned field (H, W) near inversion lines, weighted and summed."""
    from scipy.ndimage import maximum_filter

    size = LINE_DILATION_PX
    positive, negative = (
        maximum_filter(mask.view(np.uint8), size, mode="constant") > 0
        for mask in (field > POLARITY_THRESHOLD_GAUSS, field < -POLARITY_THRESHOLD_GAUSS)
    )
    near = positive & negative
    if not near.any():
        return 0.0
    return float(((rows @ near.astype(np.float64) @ columns) * np.abs(field)).sum(dtype=np.float64))


def _apart(length: int) -> np.ndarray:
    return np.abs(np.subtract.outer(np.arange(length), np.arange(length)))


def _smoothing_array(length: int, step_mm: float) -> np.ndarray:
    sigma = WEIGHT_FWHM_MM / _FWHM / step_mm
    return np.exp(-0.5 * (_apart(length) / sigma) ** 2) / (math.sqrt(2.0 * math.pi) * sigma)


def _bells_array(length: int, step_mm: float) -> np.ndarray:
    sigma, reach = KEYWORD_FWHM_MM / _FWHM / step_mm, int(np.rint(2.0 * KEYWORD_FWHM_MM / step_mm))
    apart = _apart(length)
    bell = np.exp(-0.5 * (apart / sigma) ** 2) * (apart <= reach)
    return bell / np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum()


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
    source="SHARP keyword R_VALUE (Bobra et al. 2014), as its pipeline computes it",
    formula="log₁₀ Σ |B| w, in G, over every 4th pixel (2″); w = Gauss(10 such pixels) * (dilate₃ ∩ dilate₃ at ±150 G)",
    domain="line-of-sight field at HMI's pixels; from a radial field it is not the keyword's definition",
    without="0 without inversion lines (as the keyword), NaN without a scale",
    default=False,
)
def r_value(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Decimal logarithm of the weighted unsigned field near inversion lines, as the keyword has it; 0 below 1 G.

    Of the line-of-sight field every fourth pixel is taken (2 arcsec on HMI's CEA grid), not a mean; the masks above
    +150 G and below -150 G are dilated by 3 x 3 and intersected; that map is smoothed with a Gaussian of 10 such pixels
    (14.6 Mm) full width at half maximum and area one, and multiplies the unsigned field. On 27 frames this is the
    header's value to 0.005. From a radial field it comes out larger. NaN without a scale. The column ``r_value`` of an
    archive is not this but the keyword of the header.
    """
    if scale is None:
        return torch.full((len(fields),), torch.nan, dtype=torch.float64, device=fields.device)
    return torch.log10(keyword_sum(fields, scale).clamp(min=1.0))
