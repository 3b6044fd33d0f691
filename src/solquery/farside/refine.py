"""Lead the draws that are most like a map closer to it, each to the map with other noise.

Importance sampling among some thousand draws can use a part of what a map says, at a temperature T above 1. The rest,
a likelihood of which 1 - 1/T is left, is used here: each member minimises its distance from the map, to which noise of
the map's kind is added, and from where it stood, to which the prior ties it (randomised maximum likelihood, Oliver et
al. 1996; the split of the likelihood into steps, Emerick & Reynolds 2013, doi:10.1016/j.cageo.2012.03.011). Without the
noise all members would come out alike; were the generator linear, they would be draws of the posterior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..patch import MX_PER_G_MM2
from ..physics.smooth import SMOOTH, WIDTH_GAUSS, smooth_measure
from ..steering.latents import frozen
from ..steering.minimise import BatchedLBFGS
from .maps import WEAKEST_GAUSS, WIDTHS, FarsideMap, smoothing_matrices
from .strength import StrengthLaw

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Asked", "Strengths", "moved", "refined"]

#: of the part of the likelihood that is left: below it nothing is led
_LEAST_LEFT = 0.02
#: gauss over which the cut of weak field is soft, so that there is a gradient
_SOFT_GAUSS = 5.0
#: how near a member is led to its quantile of the mean strength, as a standard deviation of log10
_STRENGTH_TOLERANCE = 0.02


@dataclass(frozen=True)
class Asked:
    """A constraint: the value in the unit of the grid, and one standard deviation, of its logarithm or in degrees."""

    value: float
    tolerance: float
    angle: bool = False

    def off(self, values: Tensor | np.ndarray) -> Tensor:
        """In standard deviations; not finite where there is no value."""
        given = torch.as_tensor(values)
        if self.angle:
            # an axis has no ends: 90° and -90° are the same
            return ((given - self.value + 90.0) % 180.0 - 90.0) / self.tolerance
        return torch.log(given.clamp(min=1e-30) / self.value) / self.tolerance


@dataclass(frozen=True)
class Strengths:
    """What mean strength each of M members is led to: a quantile of the law, at the flux that it comes to have."""

    flux: Tensor
    strength: Tensor

    @classmethod
    def of(cls, law: StrengthLaw, flux_mx: np.ndarray, strength_gauss: np.ndarray) -> Strengths:
        """Quantiles evenly over the law, for M draws in the order in which their own strengths stand in it."""
        ones = np.nan_to_num(np.log10(np.maximum(strength_gauss, 1e-3)), nan=np.inf)
        lines = np.stack([np.interp(np.log10(np.maximum(flux_mx, 1.0)), law.flux, q) for q in law.strength.T], axis=1)
        # how far above the law's median, in its spread at that flux
        height = (ones - lines[:, lines.shape[1] // 2]) / np.maximum(lines[:, -1] - lines[:, 0], 1e-3)
        levels = (np.argsort(np.argsort(height)) + 0.5) / len(height)
        return cls(*(torch.from_numpy(part.astype(np.float32)) for part in (law.flux, law.at(levels))))

    def off(self, unsigned: Tensor, counted: Tensor, which: Tensor, scale_mm: tuple[float, float]) -> Tensor:
        """Of members `which`, in standard deviations, by |B| (N, H, W) and what of it a map shows, in gauss."""
        flux = torch.log10((counted.sum((1, 2)) * (scale_mm[0] * scale_mm[1])).clamp(min=1.0)) + math.log10(
            MX_PER_G_MM2
        )
        area = torch.log10(_area(unsigned, scale_mm).clamp(min=1.0)) + math.log10(MX_PER_G_MM2)
        above = torch.searchsorted(self.flux, flux.detach()).clamp(1, len(self.flux) - 1)
        low, high = self.flux[above - 1], self.flux[above]
        part = ((flux - low) / (high - low)).clamp(0.0, 1.0)
        lines = self.strength[which]
        first, second = (lines.gather(1, at[:, None])[:, 0] for at in (above - 1, above))
        return (flux - area - (first + part * (second - first))) / _STRENGTH_TOLERANCE


def _area(unsigned: Tensor, scale_mm: tuple[float, float]) -> Tensor:
    """(N,) Mm² beyond 150 G, with a soft threshold."""
    return SMOOTH["area"](unsigned, torch.tensor([scale_mm]), WIDTH_GAUSS)


def refined(
    found: FarsideMap,
    model: Model,
    z: np.ndarray,
    shifts: np.ndarray,
    weight: np.ndarray,
    constraints: Mapping[str, Asked],
    temperature: float,
    seed: int,
    evaluations: int,
    strengths: Strengths | None = None,
) -> np.ndarray:
    """Latents (M, D) led to a map.

    Parameters
    ----------
    found
        The map.
    model
        Whose generator draws.
    z
        (M, D), drawn by importance at `temperature`.
    shifts
        (M, 2) of each in the map, in its pixels (y, x).
    weight
        (h, w): inverse variance of the map's pixels, by how many are independent.
    constraints
        By name; those without a smooth version are left to the importance.
    seed
        Of the noise that is added.
    evaluations
        Of the generator, each of all members.
    strengths
        The mean strength that each is led to.
    """
    left = 1.0 - 1.0 / temperature
    if left < _LEAST_LEFT or evaluations < 1:
        return z
    target, weights = _targets(found, weight, shifts, left, seed)
    rows, columns = (torch.from_numpy(part) for part in smoothing_matrices(model.preset, found.resolution_mm))
    start = torch.from_numpy(z)
    asked = {name: one for name, one in constraints.items() if name in SMOOTH}
    scale = model.preset.scale_mm or (1.0, 1.0)

    def objective(v: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v = v.detach().requires_grad_(True)
        fields = torch.as_tensor(model.preset.to_gauss(model.generator(v)[:, 0]))
        unsigned = fields.abs()
        counted = unsigned * torch.sigmoid((unsigned - WEAKEST_GAUSS) / _SOFT_GAUSS)
        made = rows @ counted @ columns.T
        loss = 0.5 * left * (weights[which] * (made - target[which]).square()).sum((1, 2))
        loss = loss + 0.5 * (v - start[which]).square().sum(1)
        if asked:
            for name, values in smooth_measure(fields, model.preset.scale_mm, asked).items():
                # areas are in double precision, and the networks are not
                off = asked[name].off(values).to(loss.dtype)
                loss = loss + 0.5 * left * torch.where(torch.isfinite(off), off.square(), 0.0)
        if strengths is not None:
            loss = loss + 0.5 * strengths.off(unsigned, counted, which, scale).square()
        (gradient,) = torch.autograd.grad(loss.sum(), v)
        return loss.detach(), gradient, fields.detach()

    with frozen(model.generator):
        search = BatchedLBFGS(objective, start)
        for _ in range(evaluations - 1):
            search.step()
    return search.v.numpy()


def _targets(
    found: FarsideMap, weight: np.ndarray, shifts: np.ndarray, left: float, seed: int
) -> tuple[Tensor, Tensor]:
    """(M, h, w) maps with noise added, and weights, moved to where each member is drawn."""
    rng = np.random.default_rng([seed, 1])
    sigma = [found.resolution_mm / WIDTHS / mm for mm in found.scale_mm]
    grown = math.sqrt(4 * math.pi * sigma[0] * sigma[1])
    maps, weights = [], []
    for shift in shifts.astype(int):
        grain = grown * gaussian_filter(rng.standard_normal(found.field.shape), sigma, mode="wrap")
        # as large as the weights say that the map may be off, for the part of the likelihood that is left
        deviation = 1 / np.sqrt(weight * found.independent * left)
        maps.append(moved(found.field + deviation * grain, -shift))
        weights.append(moved(weight, -shift))
    return (torch.from_numpy(np.stack(part).astype(np.float32)) for part in (maps, weights))  # type: ignore[return-value]


def moved(image: np.ndarray, by: np.ndarray) -> np.ndarray:
    """An image moved by whole pixels (y, x); 0 comes in."""
    out = np.zeros_like(image)
    (y, x), (h, w) = by, image.shape
    out[max(y, 0) : h + min(y, 0), max(x, 0) : w + min(x, 0)] = image[
        max(-y, 0) : h - max(y, 0), max(-x, 0) : w - max(x, 0)
    ]
    return out
