"""Make a patch worse in a known way: as MDI sees it, with a block missing, or saturated.

Pairs for a translation are made so: the good patch is what is wanted of the bad one.
"""

from __future__ import annotations

import numpy as np

from ..archive.prepare import field_centre, window_weights
from ..patch import Patch
from ..simulator.optics import resample_columns, smooth
from .kinds import TranslationError

__all__ = ["MDI_FACTOR", "MDI_NOISE_GAUSS", "MDI_PIXEL_MM", "mdi_like", "saturated", "with_missing_block"]

#: two arcseconds at one astronomical unit, Mm
MDI_PIXEL_MM = 1.45
#: MDI against HMI: line-of-sight field of active regions, and the noise of one magnetogram of five minutes
#: (Liu et al. 2012, Solar Physics 279, 295)
MDI_FACTOR, MDI_NOISE_GAUSS = 1.40, 16.2
#: width of MDI's point spread, full disk: four arcseconds (Scherrer et al. 1995), full width at half maximum, Mm
_MDI_WIDTH_MM = 2.9


def mdi_like(patch: Patch, seed: int = 0, *, noise_gauss: float = MDI_NOISE_GAUSS, factor: float = MDI_FACTOR) -> Patch:
    """A line-of-sight patch as MDI's full-disk magnetograms show it: 4 arcsec point spread, 2 arcsec pixels, its noise.

    Pixels and noise are those of the detector: foreshortened from east to west by the cosine of the heliocentric angle,
    then interpolated back to equal areas.

    Parameters
    ----------
    patch
        Along the line of sight, with a scale, e.g. of HMI. Missing pixels count as 0 G.
    seed
        Of the noise.
    noise_gauss
        Standard deviation in one pixel of the detector, in MDI's gauss.
    factor
        MDI's gauss for one of HMI.

    Returns
    -------
    Patch
        Of 1.45 Mm per pixel; `truth` says what was done. Its corner at the first pixel is that of `patch`.

    Raises
    ------
    TranslationError
        For a radial field, or one without scale.
    """
    if patch.quantity != "line-of-sight" or patch.scale_mm is None:
        what = "has no scale" if patch.quantity == "line-of-sight" else f"is a {patch.quantity} field"
        raise TranslationError(f"{patch.id} {what}; MDI saw the line-of-sight field: give that of HMI, with its scale")
    scale_y, scale_x = patch.scale_mm
    mu = float(np.clip(patch.mu if np.isfinite(patch.mu) else 1.0, 0.2, 1.0))
    field = np.nan_to_num(np.asarray(patch.field, np.float32))
    sigma = _MDI_WIDTH_MM / 2.3548
    blurred = smooth(field, sigma / scale_y, sigma / mu / scale_x)
    rows, columns = (max(int(n * s / MDI_PIXEL_MM), 2) for n, s in zip(field.shape, (scale_y, scale_x), strict=True))
    detector = max(int(np.ceil(columns * mu)), 2)
    down = window_weights(field.shape[0], rows, MDI_PIXEL_MM / scale_y, 0.0) @ blurred
    step = columns * MDI_PIXEL_MM / scale_x / detector
    seen = (window_weights(field.shape[1], detector, step, 0.0) @ np.ascontiguousarray(down.T)).T
    noise = np.random.default_rng([seed, 1996]).standard_normal(seen.shape).astype(np.float32)
    seen = np.ascontiguousarray(factor * seen + noise_gauss * noise, np.float32)
    share = detector / columns
    out = resample_columns(seen, 0.5 * share - 0.5, share, columns)
    done = {"mdi_like": {"noise_gauss": noise_gauss, "factor": factor, "seed": seed, "of": patch.id}}
    return patch.with_field(out, (MDI_PIXEL_MM, MDI_PIXEL_MM), id=f"{patch.id}-mdi-like", truth={**patch.truth, **done})


def saturated(patch: Patch, limit_gauss: float = 1500.0) -> Patch:
    """The patch with field beyond ± `limit_gauss` set to that limit, as a register or an archive that clips does."""
    if not limit_gauss > 0:
        raise TranslationError(f"the limit must be a number of gauss above 0, got {limit_gauss}")
    done = {"saturated": {"limit_gauss": limit_gauss, "of": patch.id}}
    field = np.clip(patch.field, -limit_gauss, limit_gauss)
    return patch.with_field(field, patch.scale_mm, id=f"{patch.id}-saturated", truth={**patch.truth, **done})


def with_missing_block(patch: Patch, side_mm: float = 30.0, seed: int = 0) -> Patch:
    """The patch with a square block missing (NaN), somewhere within `side_mm` of the centre of its flux.

    Raises
    ------
    TranslationError
        When it has no scale, or the block is larger than half of a side.
    """
    if patch.scale_mm is None:
        raise TranslationError(f"{patch.id} has no scale, and the block is in Mm; give its Mm per pixel")
    sides = [max(round(side_mm / s), 1) for s in patch.scale_mm]
    if any(side > n // 2 for side, n in zip(sides, patch.field.shape, strict=True)):
        raise TranslationError(f"{patch.id} is too small for a block of {side_mm:g} Mm to be missing; make it smaller")
    rng = np.random.default_rng([seed, 2029])
    centre = field_centre(patch.field)
    field = np.array(patch.field, np.float32)
    at = []
    for axis in (0, 1):
        middle = centre[axis] + rng.uniform(-1, 1) * sides[axis]
        at.append(int(np.clip(middle - sides[axis] / 2, 0, field.shape[axis] - sides[axis])))
    field[at[0] : at[0] + sides[0], at[1] : at[1] + sides[1]] = np.nan
    done = {"missing_block": {"side_mm": side_mm, "seed": seed, "of": patch.id}}
    return patch.with_field(field, patch.scale_mm, id=f"{patch.id}-missing", truth={**patch.truth, **done})
