"""A patch on the grid of a map: field, where it is missing or saturated, and the angle at which it was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..archive.prepare import field_centre, view_starts, window_weights
from ..config import Preset
from ..patch import Patch
from ..sharp.header import RSUN_MM, number
from ..sharp.limb import mu_of_pixels
from .kinds import TranslationError

__all__ = ["Seen", "Window", "saturation_level", "seen", "values_on", "view_window", "whole_window"]

#: a pixel of the grid of which a larger share is missing or beyond the patch counts as missing
_MOST_MISSING = 0.5
#: a clipped field holds its largest value at least so often
_PILED_UP = 5


@dataclass(frozen=True)
class Window:
    """A grid over a patch: its shape, Mm per pixel, and where it begins, (y, x) Mm from the corner of the patch."""

    shape: tuple[int, int]
    scale_mm: tuple[float, float]
    start_mm: tuple[float, float]


@dataclass(frozen=True)
class Seen:
    """What a map is told of a patch; arrays are (H, W) float32.

    Attributes
    ----------
    field
        G, mean over what is there; 0 where nothing is.
    missing, saturated
        Shares of a pixel that are missing, and that are as strong as the field can be.
    valid
        Whether a pixel lies within the patch and on the disk.
    mu
        Cosine of the heliocentric angle.
    toward
        (2, H, W) y and x components of the unit vector toward the limb times the sine of that angle.
    """

    field: np.ndarray
    missing: np.ndarray
    saturated: np.ndarray
    valid: np.ndarray
    mu: np.ndarray
    toward: np.ndarray
    window: Window


def whole_window(patch: Patch, scale_mm: tuple[float, float]) -> Window:
    """The grid of a scale that holds all of a patch, centred on it."""
    sides = _sides(patch)
    shape = [max(round(side / s), 1) for side, s in zip(sides, scale_mm, strict=True)]
    start = [(side - n * s) / 2 for side, n, s in zip(sides, shape, scale_mm, strict=True)]
    return Window((shape[0], shape[1]), scale_mm, (start[0], start[1]))


def view_window(patch: Patch, preset: Preset) -> Window:
    """The grid of a preset, where `solquery.prepare` lays it around the region."""
    assert preset.scale_mm is not None
    _sides(patch)
    assert patch.scale_mm is not None
    starts = view_starts(patch.field.shape, patch.scale_mm, preset, field_centre(patch.field))
    start = [at * s for (at, _), s in zip(starts, patch.scale_mm, strict=True)]
    return Window(preset.shape, preset.scale_mm, (start[0], start[1]))


def _sides(patch: Patch) -> list[float]:
    if patch.scale_mm is None:
        raise TranslationError(f"{patch.file or patch.id} has no scale; give its Mm per pixel with --scale")
    return [n * s for n, s in zip(patch.field.shape, patch.scale_mm, strict=True)]


def _placed(values: np.ndarray, scale_mm: tuple[float, float], window: Window) -> np.ndarray:
    """Means over the pixels of a window; what lies beyond the patch counts as 0."""
    out = values
    for axis in (0, 1):
        step, at = window.scale_mm[axis] / scale_mm[axis], window.start_mm[axis] / scale_mm[axis]
        weights = window_weights(values.shape[axis], window.shape[axis], step, at)
        out = np.ascontiguousarray((weights @ np.ascontiguousarray(out)).T)
    return out


def values_on(patch: Patch, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Field (H, W) in gauss of a patch on a window, and the share of each pixel that is missing or beyond the patch."""
    assert patch.scale_mm is not None
    there = np.isfinite(patch.field)
    share = _placed(there.astype(np.float32), patch.scale_mm, window)
    total = _placed(np.where(there, patch.field, 0.0).astype(np.float32), patch.scale_mm, window)
    lost = 1.0 - share
    # whatever is not missing by `Seen.missing` has a value, down to the pixel of which exactly half is there
    return np.where(lost > _MOST_MISSING, 0.0, total / np.maximum(share, 1e-6)).astype(np.float32), lost


def saturation_level(patch: Patch) -> float:
    """The strength (G) at which a patch is clipped; infinite where its largest value is there a few times only."""
    strength = np.abs(patch.field[np.isfinite(patch.field)])
    if not strength.size:
        return float("inf")
    level = float(strength.max())
    return level if int((strength >= 0.9995 * level).sum()) >= _PILED_UP and level > 0 else float("inf")


def seen(patch: Patch, window: Window, *, angle: bool = True) -> Seen:
    """A patch on a window, as maps read it.

    Parameters
    ----------
    patch, window
        What, and where.
    angle
        Whether the angle at which it was observed must be known.

    Raises
    ------
    TranslationError
        When it must, and the patch does not say.
    """
    assert patch.scale_mm is not None
    field, lost = values_on(patch, window)
    level = saturation_level(patch)
    at_limit = np.abs(np.nan_to_num(patch.field)) >= 0.9995 * level
    sides = _sides(patch)
    centres = [
        (start + (np.arange(n) + 0.5) * s - side / 2) / RSUN_MM
        for start, n, s, side in zip(window.start_mm, window.shape, window.scale_mm, sides, strict=True)
    ]
    inside = _placed(np.ones(patch.field.shape, np.float32), patch.scale_mm, window) > 1.0 - _MOST_MISSING
    mu, toward = _angles(patch, centres[0], centres[1], angle)
    return Seen(
        field, lost, _placed(at_limit.astype(np.float32), patch.scale_mm, window), inside & (mu > 0.02),
        np.clip(mu, 0.2, 1.0).astype(np.float32), toward.astype(np.float32), window,
    )  # fmt: skip


def _angles(patch: Patch, y: np.ndarray, x: np.ndarray, needed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of the heliocentric angle on a grid (radians from the centre), and its slope away from the disk centre."""
    shape = (len(y), len(x))
    if np.isfinite([patch.latitude_deg, patch.longitude_deg]).all():
        b0 = patch.b0_deg if np.isfinite(patch.b0_deg) else 0.0
        aside = number(patch.keywords.get("HGLN_OBS"))
        longitude = patch.longitude_deg - (aside if np.isfinite(aside) else 0.0)
        mu = mu_of_pixels(x[None], y[:, None], patch.latitude_deg, longitude, b0)
        mu = np.nan_to_num(np.broadcast_to(mu, shape), nan=0.0)
        slopes = [np.gradient(mu, at, axis=k) if len(at) > 1 else np.zeros(shape) for k, at in enumerate((y, x))]
        return mu, -np.stack(slopes)
    if np.isfinite(patch.mu):
        # how far from the disk's centre is known, but not in which direction
        return np.full(shape, patch.mu), np.zeros((2, *shape))
    if needed:
        raise TranslationError(
            f"{patch.file or patch.id} does not say where on the disk it was observed, and this map depends on the "
            "angle; give a patch with latitude and longitude"
        )
    return np.ones(shape), np.zeros((2, *shape))
