"""Maps of mean unsigned field as coarse as helioseismology of the far side sees them.

The map is the unsigned field |B| smoothed by a Gaussian. What is weaker than 30 G is left out, being mostly noise of
the magnetogram, so that the quiet Sun is near 0. The noise of the map is a random field with the same smoothing. Maps
of travel times or phase shifts have to be turned into gauss first; González Hernández et al. (2007, ApJ 669, 1382)
relate the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from ..config import Preset
from ..errors import SolqueryError
from ..patch import MX_PER_G_MM2, Patch

__all__ = [
    "FarsideError",
    "FarsideMap",
    "coarse",
    "degraded",
    "map_scale",
    "read_map",
    "smoothing_matrices",
    "strong_flux",
]

#: pixels of the model's grid to a side of one of a map
STRIDE = 4
#: weaker field is not counted
WEAKEST_GAUSS = 30.0
#: full width at half maximum, in standard deviations
WIDTHS = math.sqrt(8 * math.log(2))


class FarsideError(SolqueryError):
    """A map that no ensemble can be made from."""


@dataclass(frozen=True)
class FarsideMap:
    """Mean unsigned field of a region, smoothed.

    Attributes
    ----------
    field
        (h, w) float64, gauss, 0 in the quiet Sun; row 0 is the southernmost.
    scale_mm
        (y, x) Mm per pixel.
    resolution_mm
        Full width at half maximum of the smoothing.
    noise_gauss
        Standard deviation of the map's noise, in gauss, after the smoothing.
    """

    field: np.ndarray
    scale_mm: tuple[float, float]
    resolution_mm: float = 20.0
    noise_gauss: float = 20.0

    def __post_init__(self) -> None:
        if self.field.ndim != 2 or not np.isfinite(self.field).all():
            raise FarsideError("a far-side map is an image (h, w) without missing pixels; fill them with 0")
        if not (math.isfinite(self.noise_gauss) and self.noise_gauss > 0):
            raise FarsideError(f"the noise of a far-side map is a number of gauss above zero, not {self.noise_gauss}")
        if not (math.isfinite(self.resolution_mm) and self.resolution_mm > 0):
            raise FarsideError(f"the resolution of a far-side map is in Mm and above zero, not {self.resolution_mm}")

    @property
    def independent(self) -> float:
        """Pixels of which one is independent: the noise is smoothed as the field is.

        A Gaussian of standard deviation s leaves a correlation exp(-r² / 4 s²), whose integral is 4 pi s².
        """
        sigma = self.resolution_mm / WIDTHS
        return 4 * math.pi * sigma**2 / (self.scale_mm[0] * self.scale_mm[1])


def map_scale(preset: Preset) -> tuple[float, float]:
    """Mm per pixel (y, x) of the maps of a model's grid.

    Raises
    ------
    FarsideError
        For a grid that has no scale.
    """
    if preset.scale_mm is None:
        raise FarsideError(f"a far-side map is in Mm, and the grid of preset {preset.name!r} has no scale")
    return STRIDE * preset.scale_mm[0], STRIDE * preset.scale_mm[1]


def coarse(fields: np.ndarray, preset: Preset, resolution_mm: float) -> np.ndarray:
    """Maps (N, h, w) in gauss, without noise, of fields (N, H, W) in gauss on the grid of a preset.

    Missing pixels count as 0 G.
    """
    rows, columns = smoothing_matrices(preset, resolution_mm)
    return np.asarray(rows @ _counted(fields) @ columns.T, np.float64)


def _counted(fields: np.ndarray) -> np.ndarray:
    unsigned = np.abs(np.nan_to_num(np.asarray(fields, np.float32)))
    return unsigned * (unsigned > WEAKEST_GAUSS)


def strong_flux(fields: np.ndarray, preset: Preset) -> np.ndarray:
    """(N,) Mx: unsigned flux beyond 30 G, which a map shows, of fields (N, H, W) in gauss on the grid of a preset."""
    y, x = map_scale(preset)
    return _counted(fields).sum((1, 2), dtype=np.float64) * (x * y / STRIDE**2) * MX_PER_G_MM2


def smoothing_matrices(preset: Preset, resolution_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, H) and (w, W) float32: a map is the first times |B| times the second transposed."""
    rows, columns = (
        _smoothing(n, resolution_mm / WIDTHS * STRIDE / mm)
        for n, mm in zip(preset.shape, map_scale(preset), strict=True)
    )
    return rows, columns


@lru_cache(maxsize=8)
def _smoothing(n: int, sigma: float) -> np.ndarray:
    """(n / STRIDE, n) weights of a Gaussian about every fourth pixel; beyond the edge the last pixel goes on."""
    return gaussian_filter(np.eye(n, dtype=np.float32), [0.0, sigma], mode="nearest").T[STRIDE // 2 :: STRIDE]


def degraded(
    x: np.ndarray, preset: Preset, *, resolution_mm: float = 20.0, noise_gauss: float = 20.0, seed: int = 0
) -> FarsideMap:
    """What a far-side map would show of a patch: to try an ensemble where the truth is known.

    Parameters
    ----------
    x
        (H, W) in preset units.
    preset
        Whose grid it is on, which has a scale.
    resolution_mm
        Full width at half maximum, in Mm.
    noise_gauss
        Standard deviation of the noise, which is smoothed as the field is.
    seed
        Of the noise.

    Raises
    ------
    FarsideError
        For a grid without scale.
    """
    fine = preset.shape
    field = coarse(np.asarray(preset.to_gauss(np.asarray(x)))[None], preset, resolution_mm)[0]
    scale = preset.scale_mm or (1.0, 1.0)
    sigma = [resolution_mm / WIDTHS / mm for mm in scale]
    grain = gaussian_filter(np.random.default_rng(seed).standard_normal(fine), sigma, mode="wrap")
    grain *= noise_gauss * math.sqrt(4 * math.pi * sigma[0] * sigma[1])
    offset = STRIDE // 2
    return FarsideMap(field + grain[offset::STRIDE, offset::STRIDE], map_scale(preset), resolution_mm, noise_gauss)


def read_map(patch: Patch, preset: Preset, *, resolution_mm: float = 20.0, noise_gauss: float = 20.0) -> FarsideMap:
    """A map of unsigned field, as a FITS file has it, on the pixels that a model's ensemble is compared on.

    Parameters
    ----------
    patch
        Its field is the smoothed unsigned field in gauss, at any scale; the region is near the middle.
    preset
        Of the model.
    resolution_mm, noise_gauss
        Of the map.

    Raises
    ------
    FarsideError
        For a patch without scale, one with negative values that are more than noise (a magnetogram, which
        `degraded` takes), or one that is coarser than it says.
    """
    if patch.scale_mm is None:
        raise FarsideError(f"{patch.file or patch.id}: has no scale; give its Mm per pixel with --scale")
    if max(patch.scale_mm) > resolution_mm:
        raise FarsideError(
            f"{patch.file or patch.id}: its pixels of {max(patch.scale_mm):.3g} Mm are larger than the resolution of "
            f"{resolution_mm:g} Mm"
        )
    given = np.nan_to_num(np.asarray(patch.field, np.float64))
    given -= np.median(given)
    if given.min() < -max(5 * noise_gauss, 0.3 * given.max()):
        raise FarsideError(
            f"{patch.file or patch.id}: has both polarities ({given.min():.0f} to {given.max():.0f} G), so that it is "
            "no map of unsigned field; --degrade makes one of a magnetogram"
        )
    scale, fine = map_scale(preset), preset.scale_mm or (1.0, 1.0)
    at = [
        (np.arange(STRIDE // 2, n, STRIDE) - (n - 1) / 2) * mm / own + (m - 1) / 2
        for n, mm, own, m in zip(preset.shape, fine, patch.scale_mm, given.shape, strict=True)
    ]
    field = map_coordinates(given, np.meshgrid(*at, indexing="ij"), order=1, mode="constant", cval=0.0)
    return FarsideMap(field, scale, resolution_mm, noise_gauss)
