"""How far a generated patch is from an observed one: picture by scale, and physics by soft versions of the parameters.

The squared error of single pixels is mostly about where each flux element lies, which no generator can know; block
means and the compressed field say whether spots, plage and network are there. The parameters are differentiated with
ramps for thresholds (gradients.py), and what those miss of the definitions is made up for by what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..aliases import Entries
from ..config import Preset
from ..generator.pyramid import compress
from ..physics import measure_on_grid
from .gradients import soft_quantities

__all__ = ["BLOCKS", "MATCHED", "TOLERANCES", "ReconstructionLoss", "explained_by_scale", "parameter_errors"]

#: sides of the blocks, in pixels, at which the power explained is told: 1.8, 3.6, 7.3 and 14.6 Mm on 1.82 Mm pixels
BLOCKS = (1, 2, 4, 8)
#: weight of the unexplained share of the power by block, and of that of the compressed field: with less on the coarse
#: ones the steps that mend the parameters are paid with the structure of the region
_FIELD = {1: 0.4, 4: 0.4, 8: 0.4}
_COMPRESSED = {1: 0.2, 4: 0.3}

#: parameters that a reconstruction is led to, and how far off they may end: relative, degrees for the tilt
TOLERANCES = {"tuf": 0.05, "psep": 0.05, "area": 0.05, "r": 0.15, "tilt": 3.0}
#: those, and which polarity leads
MATCHED = (*TOLERANCES, "polarity")
#: soft quantities and the weight of their squared relative errors; the last two are the separation vector
_WEIGHTS = (1.0, 1.0, 0.3, 1.0, 1.0)
#: share of the unsigned flux that is added to R before ratios are taken: R is 0 on half of the Sun's regions
_R_FLOOR = 0.003
#: pixels that are added to the area
_AREA_FLOOR = 10.0
#: error beyond which its cost rises linearly
_BEND = 0.2


def _means(x: Tensor, side: int) -> Tensor:
    return x if side == 1 else F.avg_pool2d(x[:, None], side)[:, 0]


def explained_by_scale(x: Tensor, made: Tensor) -> Tensor:
    """(N, len(BLOCKS)) share of the power of x (N, H, W) that `made` explains, both averaged over blocks.

    One minus the squared error over the power; negative where an empty patch would be closer.
    """
    out = []
    for side in BLOCKS:
        a, b = _means(x, side), _means(made, side)
        out.append(1.0 - (a - b).square().sum((1, 2)) / a.square().sum((1, 2)).clamp(min=1e-12))
    return torch.stack(out, 1)


def parameter_errors(observed: Entries, made: Entries) -> dict[str, Tensor]:
    """Errors (N,) of the parameters in `MATCHED`, in units of their tolerance.

    NaN where one is undefined on the observed patch; infinite where it is on the other only, or another polarity leads.
    R counts as met where both are less than a hundredth of the unsigned flux.
    """
    a, b = ({k: torch.as_tensor(v).double() for k, v in some.items()} for some in (observed, made))
    out = {}
    for name, tolerance in TOLERANCES.items():
        if name == "tilt":
            # across the ends of (-90, 90] the axis turns on: 89 and -89 degrees are two apart
            out[name] = ((b[name] - a[name] + 90.0) % 180.0 - 90.0).abs() / tolerance
        else:
            out[name] = (b[name] / a[name] - 1.0).abs() / tolerance
    small = torch.maximum(a["r"], b["r"]) < 0.01 * a["tuf"]
    out["r"] = torch.where(small, torch.zeros_like(out["r"]), out["r"])
    leads = torch.where(a["polarity"] == b["polarity"], 0.0, math.inf)
    out["polarity"] = leads
    for name, error in out.items():
        error = torch.where(torch.isnan(b[name]), math.inf, error)
        out[name] = torch.where(torch.isnan(a[name]), math.nan, error)
    return out


class ReconstructionLoss:
    """Distances of patches made of latents (N, D) or (N, parts, D) from N observed ones.

    Attributes
    ----------
    weight
        Of the physics beside the picture.
    gap
        (N, 5) what the soft errors miss of those by the definitions (`set_gap`); None before.
    observed
        Parameter to (N,), by the definitions, on the grid.
    """

    def __init__(self, preset: Preset, target: Tensor) -> None:
        self.preset, self.target, self.weight = preset, target, 0.0
        self.gap: Tensor | None = None
        self.scale = None
        if preset.scale_mm is not None:
            self.scale = torch.tensor(preset.scale_mm, dtype=torch.float64, device=target.device).expand(len(target), 2)
        self.observed = {k: v.double() for k, v in measure_on_grid(target.cpu(), preset, MATCHED).items()}
        self._pairs: list[tuple[float, Tensor, Tensor, int, bool]] = []
        for weights, compressed in ((_FIELD, False), (_COMPRESSED, True)):
            for side, weight in weights.items():
                mean = _means(target, side)
                mean = compress(mean) if compressed else mean
                power = mean.square().sum((1, 2)).clamp(min=1e-6 * mean[0].numel())
                self._pairs.append((weight, mean, power, side, compressed))
        everything = torch.arange(len(target), device=target.device)
        with torch.no_grad():
            self._soft = self._columns(self._softly(target, everything), everything)

    def picture(self, made: Tensor, rows: Tensor) -> Tensor:
        """(K,) weighted unexplained shares of `made` (K, H, W) at all scales, of the observed patches `rows`."""
        total = torch.zeros(len(made), device=made.device)
        for weight, mean, power, side, compressed in self._pairs:
            other = _means(made, side)
            other = compress(other) if compressed else other
            total = total + weight * (other - mean[rows]).square().sum((1, 2)) / power[rows]
        return total

    def _softly(self, x: Tensor, rows: Tensor) -> dict[str, Tensor]:
        scale = None if self.scale is None else self.scale[rows]
        return soft_quantities(self.preset.to_gauss(x), scale)

    def exactly(self, x: Tensor) -> dict[str, Tensor]:
        """The same by the definitions: the separation vector points from the negative to the positive polarity."""
        found = self.observed if x is self.target else self.measured(x)
        found = {k: v.to(x.device) for k, v in found.items()}
        angle, length = torch.deg2rad(found["tilt"]), found["polarity"] * found["psep"]
        return {**found, "step": torch.stack([length * angle.sin(), length * angle.cos()], 1)}

    def _columns(self, found: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """(K, 5): logarithms of TUF, area and R over the observed ones, and the separation vector over its length."""
        observed = {k: v.to(rows.device)[rows] for k, v in self.observed.items()}
        pixel = 1.0 if self.scale is None else float(self.scale[0].prod())
        flux, least = observed["tuf"].clamp(min=1e-12), _AREA_FLOOR * pixel
        length = observed["psep"].clamp(min=3.0 * math.sqrt(pixel))[:, None]
        columns = [
            (found["tuf"] / flux).clamp(min=1e-3).log(),
            ((found["area"] + least) / (observed["area"] + least)).log(),
            ((found["r"] + _R_FLOOR * flux) / (observed["r"] + _R_FLOOR * flux)).log(),
            *(found["step"] / length).unbind(1),
        ]
        return torch.stack([column.float() for column in columns], 1)

    def soft_errors(self, made: Tensor, rows: Tensor) -> Tensor:
        """(K, 5) relative errors of the soft quantities; 0 where one is undefined on the observed patch."""
        return torch.nan_to_num(self._columns(self._softly(made, rows), rows) - self._soft[rows], nan=0.0)

    def errors(self, made: Tensor, rows: Tensor) -> Tensor:
        """(K, 5) the same by the definitions; 0 where one is undefined on either patch."""
        observed = {k: v[rows] for k, v in self.exactly(self.target).items()}
        return torch.nan_to_num(self._columns(self.exactly(made), rows) - self._columns(observed, rows), nan=0.0)

    def physics(self, made: Tensor, rows: Tensor) -> Tensor:
        """(K,) weighted errors of the soft quantities: quadratic when small, linear when large.

        R that is all missing must not outweigh the picture.
        """
        errors = self.soft_errors(made, rows)
        errors = errors if self.gap is None else errors + self.gap[rows]
        softened = 2.0 * _BEND**2 * ((1.0 + (errors / _BEND).square()).sqrt() - 1.0)
        return (softened * softened.new_tensor(_WEIGHTS)).sum(1)

    def __call__(self, made: Tensor, rows: Tensor) -> Tensor:
        """(K,) of the picture, and of the physics as its weight says."""
        loss = self.picture(made, rows)
        return loss if self.weight == 0 else loss + self.weight * self.physics(made, rows)

    def aim(self, asked: Mapping[str, float]) -> None:
        """Lead the patches to other values (`MATCHED` parameter to number, on the grid) than those observed."""
        everything = torch.arange(len(self.target), device=self.target.device)
        measured = self.exactly(self.target)
        self.observed = self.observed | {k: torch.full_like(self.observed[k], float(v)) for k, v in asked.items()}
        with torch.no_grad():
            soft = self._columns(self._softly(self.target, everything), everything)
            further = self._columns(self.exactly(self.target), everything) - self._columns(measured, everything)
            self._soft = soft + torch.nan_to_num(further, nan=0.0)

    def set_gap(self, made: Tensor) -> None:
        """From now on the soft errors of all N patches are those by the definitions at `made`, and differ beside it."""
        rows = torch.arange(len(made), device=made.device)
        with torch.no_grad():
            self.gap = (self.errors(made, rows) - self.soft_errors(made, rows)).clamp(-1.0, 1.0)

    def measured(self, made: Tensor) -> dict[str, Tensor]:
        """`MATCHED` parameters (K,) of patches (K, H, W), by the definitions."""
        return {k: v.double() for k, v in measure_on_grid(made.detach().cpu(), self.preset, MATCHED).items()}
