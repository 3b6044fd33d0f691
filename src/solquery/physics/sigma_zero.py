"""SIGMA as the paper writes it: the width of a normal density of mean zero fitted to the histogram of the field."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .registry import parameter
from .texture import SIGMA_CLIP_GAUSS, SIGMA_LEAST_GAUSS, _histogram, without_empty

__all__ = ["fit_mean_zero", "sigma_zero"]

_TRIALS, _NARROWINGS = 48, 40
#: patches whose histograms are compared with densities at a time
_AT_A_TIME = 256


def fit_mean_zero(counts: Tensor, edges: Tensor) -> Tensor:
    """Least-squares width of a normal density of mean zero, averaged over bins.

    Parameters
    ----------
    counts
        (N, M) float64, pixels per bin.
    edges
        (M + 1,) float64, equally spaced.

    Returns
    -------
    (N,) in the unit of `edges`. NaN where fewer than two bins are filled, and where no width between a quarter of a bin
    and the outermost edge fits better than all others: the histogram has no such core.
    """
    width = float(edges[1] - edges[0])
    density = counts / counts.sum(1, keepdim=True) / width
    low, high = math.log(0.25 * width), math.log(float(edges[-1]))

    def cost(log_sigma: Tensor) -> Tensor:
        z = edges / log_sigma.exp()[:, None]
        return (0.5 * torch.erf(z / math.sqrt(2.0)).diff(dim=1) / width - density).square().sum(1)

    grid = torch.linspace(low, high, _TRIALS, dtype=torch.float64, device=counts.device)
    costs = torch.stack([cost(trial.expand(len(counts))) for trial in grid], 1)
    best = costs.argmin(1)
    inside = (best > 0) & (best < _TRIALS - 1)
    left, right = grid[(best - 1).clamp(min=0)], grid[(best + 1).clamp(max=_TRIALS - 1)]
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    for _ in range(_NARROWINGS):
        inner = right - golden * (right - left), left + golden * (right - left)
        lower = cost(inner[0]) < cost(inner[1])
        left, right = torch.where(lower, left, inner[0]), torch.where(lower, inner[1], right)
    sigma = (0.5 * (left + right)).exp()
    known = inside & ((counts > 0).sum(1) >= 2)
    return torch.where(known, sigma, torch.nan)


@parameter(
    "sigma_zero",
    "G",
    symbol="SIGMA_0",
    title="Width of the weak-field core about zero",
    source="paper, section 4",
    missing="keep",
    formula="argmin over σ of Σ (histogram density − normal density(0, σ))²",
    domain=f"{SIGMA_LEAST_GAUSS:g} to {SIGMA_CLIP_GAUSS:g} G",
    without="NaN where the field fills fewer than two bins of 2 G, or its core is narrower than a quarter of one",
    default=False,
)
def sigma_zero(fields: Tensor, scale: Tensor | None) -> Tensor:
    """Standard deviation of the normal density of mean zero fitted to the histogram of the field.

    The paper's definition. `sigma` fits the mean as well, which real fields have, and is measured for every patch.
    Where no width fits, the answer is NaN, never the last step of a fit that went nowhere.
    """
    out = []
    for part in fields.split(_AT_A_TIME):
        out.append(fit_mean_zero(*_histogram(without_empty(part))))
    return torch.cat(out) if out else torch.zeros(0, dtype=torch.float64)
