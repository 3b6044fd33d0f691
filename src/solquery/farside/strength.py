"""How strong the field of regions of some flux is, on average over their area: what a generator may be biased in.

A map of 20 Mm shows the flux of a region and hardly over which area it is spread. What it does not show the ensemble
has from the generator, and a generator may spread flux too evenly. The mean strength, flux of the field beyond 30 G by
the area of that beyond 150 G, is thus taken from regions: its quantiles, as they change with the flux.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from ..config import Preset
from ..io import write_atomically
from ..patch import MX_PER_G_MM2
from .maps import FarsideError, strong_flux

__all__ = ["StrengthLaw", "shipped_strength"]

#: quantiles that a law keeps
_LEVELS = np.linspace(0.025, 0.975, 20)
#: fluxes at which it keeps them, and how many of the regions nearest in flux they are quantiles of
_KNOTS, _NEAR = 10, 60
#: a grid whose pixels differ by no more has the same strengths
_SAME_SCALE = 0.05
_FILE = "strength.json"


@dataclass(frozen=True)
class StrengthLaw:
    """Quantiles of the mean strength of regions, by flux.

    Attributes
    ----------
    flux
        (K,) log10 of the unsigned flux beyond 30 G, in Mx, rising.
    levels
        (L,) probabilities, rising.
    strength
        (K, L) log10 of the mean strength in gauss, that flux over the area of the field beyond 150 G.
    scale_mm
        (y, x) Mm per pixel of the grid that they were measured on.
    regions
        How many.
    """

    flux: np.ndarray
    levels: np.ndarray
    strength: np.ndarray
    scale_mm: tuple[float, float]
    regions: int

    @classmethod
    def of(cls, fields: np.ndarray, preset: Preset) -> StrengthLaw:
        """From fields (N, H, W) in gauss of regions on the grid of a preset, one frame of each.

        Raises
        ------
        FarsideError
            For fewer regions than the quantiles need, or a grid without scale.
        """
        flux, strength = mean_strength(fields, preset)
        known = np.isfinite(strength)
        flux, strength = np.log10(flux[known]), np.log10(strength[known])
        if len(flux) < 2 * _NEAR:
            raise FarsideError(f"{len(flux)} regions with strong field are too few for its law; give {2 * _NEAR}")
        assert preset.scale_mm is not None
        order = np.argsort(flux)
        flux, strength = flux[order], strength[order]
        middles = np.linspace(_NEAR // 2, len(flux) - _NEAR // 2, _KNOTS).astype(int)
        near = [slice(at - _NEAR // 2, at + _NEAR // 2) for at in middles]
        return cls(
            np.array([flux[part].mean() for part in near]), _LEVELS,
            np.stack([np.quantile(strength[part], _LEVELS) for part in near]), preset.scale_mm, len(flux),
        )  # fmt: skip

    def at(self, levels: np.ndarray) -> np.ndarray:
        """(M, K) log10 gauss: of each probability (M,), its quantile at the fluxes of the law."""
        return np.stack([np.interp(levels, self.levels, line) for line in self.strength], axis=1)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON."""
        record = {
            "flux_log10_mx": self.flux.round(4).tolist(), "levels": self.levels.round(4).tolist(),
            "strength_log10_gauss": self.strength.round(4).tolist(), "scale_mm": list(self.scale_mm),
            "regions": self.regions,
        }  # fmt: skip
        return write_atomically(path, json.dumps(record) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> StrengthLaw:
        """Read one that `save` wrote.

        Raises
        ------
        FarsideError
            When the file is none.
        """
        try:
            record = json.loads(Path(path).read_text())
            arrays = [np.asarray(record[k], float) for k in ("flux_log10_mx", "levels", "strength_log10_gauss")]
            y, x = map(float, record["scale_mm"])
            return cls(arrays[0], arrays[1], arrays[2], (y, x), int(record["regions"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FarsideError(f"{path} holds no law of the mean strength ({error})") from None


def mean_strength(fields: np.ndarray, preset: Preset) -> tuple[np.ndarray, np.ndarray]:
    """(N,) flux in Mx beyond 30 G, and the mean strength in gauss, NaN where no pixel is beyond 150 G.

    Parameters
    ----------
    fields
        (N, H, W) in gauss on the grid of a preset; missing pixels count as 0.

    Raises
    ------
    FarsideError
        For a grid without scale.
    """
    from ..physics.integral import POLARITY_THRESHOLD_GAUSS

    flux = strong_flux(fields, preset)
    assert preset.scale_mm is not None
    beyond = (np.abs(np.nan_to_num(fields)) > POLARITY_THRESHOLD_GAUSS).sum((1, 2))
    area = beyond * (preset.scale_mm[0] * preset.scale_mm[1]) * MX_PER_G_MM2
    return flux, np.where(beyond > 0, flux / np.maximum(area, 1.0), np.nan)


@lru_cache(maxsize=1)
def _shipped() -> StrengthLaw:
    with resources.as_file(resources.files(__package__) / _FILE) as path:
        return StrengthLaw.load(path)


def shipped_strength(preset: Preset) -> StrengthLaw | None:
    """The law of simulated regions on a grid of 1.82 Mm; None for a grid of other pixels."""
    law = _shipped()
    same = preset.scale_mm is not None and np.allclose(preset.scale_mm, law.scale_mm, rtol=_SAME_SCALE)
    return law if same else None
