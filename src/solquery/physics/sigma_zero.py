"""SIGMA as the paper writes it: the width of a normal density of mean zero fitted to the histogram of the field."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from .registry import parameter
from .texture import EMPTY_PX, SIGMA_BIN_GAUSS, SIGMA_CLIP_GAUSS, SIGMA_LEAST_GAUSS, _histogram, without_empty

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["fit_mean_zero", "of_arrays", "sigma_zero"]

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
    widths = _widths(counts.cpu().numpy(), edges.cpu().numpy())
    return torch.from_numpy(widths).to(counts.device)


def _widths(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    width = float(edges[1] - edges[0])
    with np.errstate(invalid="ignore"):
        density = counts / counts.sum(1, keepdims=True) / width
    low, high = math.log(0.25 * width), math.log(float(edges[-1]))

    def cost(log_sigma: np.ndarray) -> np.ndarray:
        z = edges / np.exp(log_sigma)[:, None]
        return np.asarray(np.square(0.5 * np.diff(erf(z / math.sqrt(2.0)), axis=1) / width - density).sum(1))

    grid = np.linspace(low, high, _TRIALS)
    costs = np.stack([cost(np.full(len(counts), trial)) for trial in grid], 1)
    best = costs.argmin(1)
    inside = (best > 0) & (best < _TRIALS - 1)
    left, right = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, _TRIALS - 1)]
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    for _ in range(_NARROWINGS):
        inner = right - golden * (right - left), left + golden * (right - left)
        lower = cost(inner[0]) < cost(inner[1])
        left, right = np.where(lower, left, inner[0]), np.where(lower, inner[1], right)
    known = inside & ((counts > 0).sum(1) >= 2)
    return np.where(known, np.exp(0.5 * (left + right)), np.nan)


def of_arrays(raw: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """`sigma_zero` (N,) of fields (N, H, W) float32, with missing pixels and with 0 there, by the compiled kernels."""
    from .kernels_sigma import BINS, histogram, without_empty

    n, _, columns = raw.shape
    counts = np.zeros((n, BINS + 1), np.int64)
    others, index = np.empty(BINS + 1, np.int64), np.empty(columns, np.int32)
    run, filled = np.empty(columns + EMPTY_PX - 1, np.int64), np.empty_like(raw[0])
    for k in range(n):
        seen = filled if without_empty(raw[k], clean[k], run, filled) else raw[k]
        histogram(seen, counts[k], others, index)
    edges = (np.arange(BINS + 1) - 0.5 * BINS) * SIGMA_BIN_GAUSS
    parts = [
        _widths(some[:, :BINS].astype(np.float64), edges) for some in np.split(counts, range(_AT_A_TIME, n, _AT_A_TIME))
    ]
    return np.concatenate(parts) if n else np.zeros(0)


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
