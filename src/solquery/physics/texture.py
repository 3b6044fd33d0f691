"""Texture of a patch: width of the weak-field core (SIGMA), spectral slope (ALPHA), mean gradient (GRAD)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from .dilation import dilated
from .registry import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = [
    "ALPHA_CYCLES", "EMPTY_GAUSS", "EMPTY_PX", "SIGMA_BIN_GAUSS", "SIGMA_CLIP_GAUSS", "alpha", "fit_gaussian", "grad",
    "radial_power", "sigma", "without_empty",
]  # fmt: skip

#: SIGMA's histogram: clipped to +-1000 G (paper, section 2), in bins of 2 G of which one is centred on zero
SIGMA_CLIP_GAUSS = 1000.0
SIGMA_BIN_GAUSS = 2.0
#: a core narrower than a quarter of a bin lies in one bin, whose content does not say how narrow
SIGMA_LEAST_GAUSS = 0.25 * SIGMA_BIN_GAUSS
#: an empty stretch has no pixel of so many gauss, and room for a square of so many pixels
EMPTY_PX = 5
EMPTY_GAUSS = 1.0
#: ALPHA is fitted to this many cycles per patch, the mean excluded (paper, section 5)
ALPHA_CYCLES = 25


def _histogram(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Counts (N, M) float64 per bin over +-1000 G, and the M + 1 edges in G; missing pixels are left out."""
    n = fields.shape[0]
    half = round(SIGMA_CLIP_GAUSS / SIGMA_BIN_GAUSS)
    bins = 2 * half + 1
    # rounding to the nearest centre treats both signs alike; one bin more takes the missing pixels
    index = (fields.flatten(1).clamp(-SIGMA_CLIP_GAUSS, SIGMA_CLIP_GAUSS) / SIGMA_BIN_GAUSS).round_()
    index = torch.nan_to_num(index, nan=half + 1.0).to(torch.int32)
    index += half + (bins + 1) * torch.arange(n, dtype=torch.int32, device=fields.device)[:, None]
    counts = torch.bincount(index.flatten(), minlength=n * (bins + 1)).view(n, bins + 1)[:, :bins]
    edges = (torch.arange(bins + 1, dtype=torch.float64, device=fields.device) - half - 0.5) * SIGMA_BIN_GAUSS
    return counts.to(torch.float64), edges


def _core_guess(density: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and width (N,) from the peak of densities (N, M): a normal density of area one is as wide as it is low."""
    smooth = torch.nn.functional.avg_pool1d(density[:, None], 5, stride=1, padding=2)[:, 0]
    peak, where = smooth.max(1)
    centre = 0.5 * (edges[1:] + edges[:-1])
    return centre[where], 1.0 / (math.sqrt(2.0 * math.pi) * peak)


def without_empty(fields: Tensor) -> Tensor:
    """Fields (N, H, W) in G with NaN where they are empty: not reached by closing the pixels over 1 G with 5 x 5.

    No magnetograph is that quiet over so many pixels. It is the border of a grid that reaches beyond the observation.
    """
    loud = (fields.abs() >= EMPTY_GAUSS).to(torch.float32)
    closed = 1.0 - dilated(1.0 - dilated(loud, EMPTY_PX), EMPTY_PX)
    return torch.where(closed > 0, fields, torch.nan)


def fit_gaussian(counts: Tensor, edges: Tensor, iterations: int = 60) -> tuple[Tensor, Tensor]:
    """Least-squares fit of a normal density to histogram densities, all at once (Levenberg-Marquardt).

    Two parameters, mean and width; the area is one, as that of a probability density. The model is the density
    averaged over each bin, so that cores narrower than a bin are not overestimated.

    Parameters
    ----------
    counts
        (N, M) float64, pixels per bin.
    edges
        (M + 1,) float64, equally spaced.

    Returns
    -------
    Mean and standard deviation, each (N,), in the unit of `edges`; NaN where fewer than two bins are filled.
    """
    width = edges[1] - edges[0]
    possible = (counts > 0).sum(1) >= 2
    mean_out = torch.full(counts.shape[:1], torch.nan, dtype=torch.float64, device=counts.device)
    sigma_out = mean_out.clone()
    if not bool(possible.any()):
        return mean_out, sigma_out
    counts = counts[possible]
    density = counts / counts.sum(1, keepdim=True) / width
    mean, sigma = _core_guess(density, edges)

    def residual(mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        z = (edges - mean[:, None]) / sigma[:, None]
        model = 0.5 * torch.erf(z / math.sqrt(2.0)).diff(dim=1) / width
        return model - density, z

    damping = torch.full_like(mean, 1e-3)
    error, z = residual(mean, sigma)
    cost = error.square().sum(1)
    settled = torch.zeros_like(possible[possible])
    for _ in range(iterations):
        bell = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
        # derivatives by mean / sigma and by log sigma: both steps are then relative to the width
        by_mean = -bell.diff(dim=1) / width
        by_width = -(z * bell).diff(dim=1) / width
        a = by_mean.square().sum(1) * (1 + damping)
        b = (by_mean * by_width).sum(1)
        c = by_width.square().sum(1) * (1 + damping)
        u, v = (by_mean * error).sum(1), (by_width * error).sum(1)
        determinant = (a * c - b * b).clamp(min=torch.finfo(a.dtype).tiny)
        step_mean = (-(c * u - b * v) / determinant).clamp(-1.0, 1.0)
        step_width = (-(a * v - b * u) / determinant).clamp(-0.7, 0.7)
        trial_mean = mean + step_mean * sigma
        trial_sigma = (sigma * torch.exp(step_width)).clamp(min=0.05 * float(width))
        trial_error, trial_z = residual(trial_mean, trial_sigma)
        trial_cost = trial_error.square().sum(1)
        # what has settled stays as it is, so that a patch's result does not depend on its neighbours in the batch
        better = (trial_cost <= cost) & ~settled
        settled |= (step_mean.abs() < 1e-5) & (step_width.abs() < 1e-5)
        damping = torch.where(better, damping * 0.2, damping * 8.0)
        mean, sigma = torch.where(better, trial_mean, mean), torch.where(better, trial_sigma, sigma)
        cost = torch.where(better, trial_cost, cost)
        error = torch.where(better[:, None], trial_error, error)
        z = torch.where(better[:, None], trial_z, z)
        if bool(settled.all()):
            break
    mean_out[possible], sigma_out[possible] = mean, sigma
    return mean_out, sigma_out


@parameter(
    "sigma",
    "G",
    symbol="SIGMA",
    title="Width of the weak-field core",
    source="paper, section 5",
    missing="keep",
    formula="argmin over σ, m of Σ (histogram density − normal density(m, σ))²",
    domain="below some 300 G; fields that fill at least two bins of 2 G",
    without="NaN where the field fills fewer than two bins, or its core is narrower than a quarter of one",
)
def sigma(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Standard deviation of the normal density fitted to the histogram of the field, clipped to +-1000 G.

    Not the standard deviation of the field, which its spots dominate: the least-squares fit follows the core of weak
    field. Bins of 2 G. Missing pixels are left out, for a spike at zero would be all that the fit sees, and so are
    empty ones (`without_empty`). NaN where the field fills fewer than two bins, and where its core is narrower than a
    quarter of one, which the histogram cannot tell from any other narrow core.
    """
    width = fit_gaussian(*_histogram(without_empty(fields)))[1]
    return torch.where(width >= SIGMA_LEAST_GAUSS, width, torch.nan)


def radial_power(fields: Tensor, ratio: float = 1.0, cycles: int = ALPHA_CYCLES) -> tuple[Tensor, Tensor]:
    """Power spectrum averaged over rings of equal spatial frequency.

    Parameters
    ----------
    fields
        (N, H, W), any unit.
    ratio
        Height of a pixel in units of its width.
    cycles
        Highest frequency, in cycles per longer side of the patch.

    Returns
    -------
    Frequencies (K,) 1, 2, … in cycles per longer side, at most `cycles` and at most what both axes resolve, and
    powers (N, K) float64. Rings are one cycle wide; NaN where a ring holds no mode.
    """
    rows, columns, member = spectral_basis(*fields.shape[1:], ratio, cycles, fields.dtype, fields.device)
    # two products with cosines and sines: of so few modes, that is a tenth of the work of a full transform
    flat = fields - fields.mean((1, 2), keepdim=True)
    waves = rows.T @ (flat @ columns)
    # |F(ky, kx)|^2 + |F(-ky, kx)|^2 is twice the sum of the squares of the four products of waves
    mean = waves.square().flatten(1) @ member.to(fields.dtype).repeat(2, 2, 1).flatten(0, 1)
    return torch.arange(1, member.shape[2] + 1, dtype=torch.float64, device=fields.device), mean.to(torch.float64)


@lru_cache(maxsize=32)
def spectral_basis(
    height: int, width: int, ratio: float, cycles: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Waves along y (height, 2 Ky) and x (width, 2 Kx), and what each mode adds to the K rings: (Ky, Kx, K) float64."""
    rows, columns, member = (torch.from_numpy(part).to(device) for part in basis_arrays(height, width, ratio, cycles))
    return rows.to(dtype), columns.to(dtype), member


def basis_arrays(height: int, width: int, ratio: float, cycles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`spectral_basis` as arrays of float64."""
    longest = max(height * ratio, float(width))
    highest = min(cycles, math.floor(0.5 * longest / max(ratio, 1.0)))
    step_y, step_x = longest / (height * ratio), longest / width
    # modes beyond the last ring are not looked at
    ky = np.arange(min(height // 2, math.ceil((highest + 0.5) / step_y)) + 1.0)
    kx = np.arange(min(width // 2, math.ceil((highest + 0.5) / step_x)) + 1.0)
    ring = np.rint(np.hypot(ky[:, None] * step_y, kx[None, :] * step_x)).astype(np.int64)
    weight = _modes(ky, height)[:, None] * _modes(kx, width)[None, :]
    member = (ring[:, :, None] == np.arange(1, highest + 1)) * weight[:, :, None]
    return _waves(ky, height), _waves(kx, width), member / member.sum((0, 1))


def _waves(cycles: np.ndarray, length: int) -> np.ndarray:
    """Cosines, then sines, of K whole numbers of cycles over `length` pixels: (length, 2 K)."""
    phase = (cycles[None, :] * np.arange(length)[:, None]) % length * (2.0 * math.pi / length)
    return np.concatenate([np.cos(phase), np.sin(phase)], 1)


def _modes(cycles: np.ndarray, length: int) -> np.ndarray:
    """How many modes of a full transform a number of cycles stands for: 2, but 1 for none and for Nyquist's."""
    return np.where((cycles == 0) | (2 * cycles == length), 1.0, 2.0)


def _slope(frequency: Tensor, power: Tensor, floor: Tensor) -> Tensor:
    """Least-squares slope (N,) of log power (N, K) over log frequency (K,), from powers above `floor` (N,)."""
    use = (power > floor[:, None]).to(torch.float64)
    x = torch.log(frequency)[None, :].expand_as(power)
    y = torch.log(torch.where(use > 0, power, torch.ones_like(power)))
    number = use.sum(1).clamp(min=1)
    x = (x - ((use * x).sum(1) / number)[:, None]) * use
    slope = (x * y).sum(1) / (x * x).sum(1)
    return torch.where(use.sum(1) >= 3, slope, torch.full_like(slope, torch.nan))


@parameter(
    "alpha",
    "",
    symbol="ALPHA",
    title="Slope of the power spectrum",
    source="paper, section 5",
    formula="d log P / d log k over 1 … 25 cycles",
    domain="depends on the size of the patch; no window is applied",
    without="NaN for a constant field",
)
def alpha(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Exponent of the power law fitted to the radially averaged power spectrum, negative for a real patch.

    Least squares in log-log over the first 25 cycles per patch, the mean excluded (fewer on grids that resolve
    fewer); rings are one cycle wide and enter at their whole number of cycles. On a patch that is not square, cycles
    are counted along the longer side, and frequencies are isotropic on the Sun where the scale is known and on the
    grid where it is not. No window is applied. NaN for a constant field.
    """
    # ring power that float32 rounding alone would give
    floor = 1e-12 * torch.linalg.vector_norm(fields, dim=(1, 2)).to(torch.float64).square()
    if scale is None:
        return _slope(*radial_power(fields), floor)
    ratios, which = torch.unique(scale[:, 0] / scale[:, 1], return_inverse=True)
    out = torch.empty(len(fields), dtype=torch.float64, device=fields.device)
    for k, ratio in enumerate(ratios.tolist()):
        mine = which == k
        out[mine] = _slope(*radial_power(fields[mine], ratio), floor[mine])
    return out


@parameter(
    "grad",
    "G / Mm",
    grid_unit="G / pix",
    symbol="GRAD",
    title="Mean gradient",
    source="paper, section 5",
    formula="⟨|∇B|⟩",
    domain="compare at one resolution only: noise and small scales dominate it",
)
def grad(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Mean magnitude of the field's gradient: central differences inside, one-sided ones on the border."""
    dy, dx = torch.gradient(fields, dim=(1, 2))
    if scale is not None:
        dy = dy / scale[:, 0, None, None].to(dy.dtype)
        dx = dx / scale[:, 1, None, None].to(dx.dtype)
    return torch.hypot(dy, dx).mean((1, 2), dtype=torch.float64)
