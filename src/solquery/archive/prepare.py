"""From a patch in gauss at its native size to the input of a network: resample, clip, scale (paper, section 2).

Resampling is separable and linear, so each axis is one matrix. One rule holds for both axes of an image, as in the
paper: exact area averages (the mean, and with it the flux, is kept) where it has at least as many pixels as the grid,
linear interpolation between pixel centres where it has fewer. The matrices are sparse: less work than dense ones, and
none of it in threads of a BLAS that compete with a training beside it.

A preset with a fixed scale (`physical`) lays its grid around the region instead: each of its pixels is the mean over
its own square megametres, and zero where the patch ends. Flux in view is kept, but for what cancels within a pixel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from ..config import Preset
from ..errors import SolqueryError
from ..patch import Patch

__all__ = [
    "NoScale", "axis_weights", "field_centre", "place_on_grid", "prepare", "prepare_many", "preset_key", "resize",
    "to_grid",
]  # fmt: skip


class NoScale(SolqueryError, ValueError):
    """A patch without a scale where a preset needs one."""


#: pixels weaker than this (G) do not say where a region is
CENTRE_GAUSS = 100.0
#: to be raised when `prepare` gives other numbers than before: for grids of a fixed scale, and for stretched patches
METHOD, METHOD_STRETCHED = 1, 2


@lru_cache(maxsize=1024)
def _sparse_weights(n: int, m: int, method: str) -> csr_array:
    return csr_array(axis_weights(n, m, method))


def axis_weights(n: int, m: int, method: str | None = None) -> np.ndarray:
    """Weights (m, n) float32 that take `n` samples of one axis to `m`; every row adds up to one.

    With `method` ``"area"`` row i holds the share of each input pixel in output pixel i, and every column adds up to
    ``m / n``. With ``"bilinear"`` the two neighbours of each output centre are weighted by their distance; the edge is
    held constant. None: ``"area"`` where the axis shrinks, else ``"bilinear"``.
    """
    if n < 1 or m < 1:
        raise ValueError(f"both lengths of an axis must be at least 1, got {n} -> {m}")
    if method not in (None, "area", "bilinear"):
        raise ValueError(f"method must be 'area' or 'bilinear', got {method!r}")
    if m == n:
        weights = np.eye(n)
    elif method == "area" or (method is None and m < n):
        # in units of 1/m of an input pixel all borders are whole numbers: no rounding in the overlaps
        begin, end = np.arange(m)[:, None] * n, (np.arange(m)[:, None] + 1) * n
        left, right = np.arange(n)[None] * m, (np.arange(n)[None] + 1) * m
        weights = np.clip(np.minimum(end, right) - np.maximum(begin, left), 0, None) / n
    else:
        centre = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        below = np.minimum(centre.astype(int), max(n - 2, 0))
        above = np.minimum(below + 1, n - 1)
        share = centre - below
        weights = np.zeros((m, n))
        np.add.at(weights, (np.arange(m), below), 1 - share)
        np.add.at(weights, (np.arange(m), above), share)
    return weights.astype(np.float32)


def resize(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample a field to `shape`.

    Parameters
    ----------
    field
        (ny, nx); unit kept. Pixels that are not finite count as zero.
    shape
        (H, W) wanted. A field with at least as many pixels is averaged over exact areas, a smaller one is interpolated
        bilinearly (paper, section 2); of one that is longer on one axis and shorter on the other both axes go the same
        way.

    Returns
    -------
    (H, W) float32.

    Raises
    ------
    ValueError
        When `field` is not two-dimensional, or a length is below one.
    """
    field = np.asarray(field)
    if field.ndim != 2:
        raise ValueError(f"a field has two axes (ny, nx), got shape {field.shape}")
    # FITS arrays are big-endian; a native copy is what the matrix product needs
    field = np.nan_to_num(field.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    (ny, nx), (height, width) = field.shape, shape
    method = "area" if ny * nx >= height * width else "bilinear"
    if ny != height:
        field = _sparse_weights(ny, height, method) @ field
    if nx != width:
        field = (_sparse_weights(nx, width, method) @ np.ascontiguousarray(field.T)).T
    return np.ascontiguousarray(field)


def field_centre(field: np.ndarray) -> tuple[float, float]:
    """Centre (y, x) of a region in pixels from the outer corner of pixel (0, 0): that of its flux over 100 G.

    What lies below is mostly noise and says nothing of where the region is. The middle of the box where nothing is
    stronger.
    """
    weight = np.clip(np.abs(np.nan_to_num(field, posinf=0.0, neginf=0.0)) - CENTRE_GAUSS, 0.0, None)
    total = float(weight.sum(dtype=np.float64))
    ny, nx = weight.shape
    if total <= 0.0:
        return ny / 2, nx / 2
    y = float(weight.sum(axis=1, dtype=np.float64) @ (np.arange(ny) + 0.5)) / total
    x = float(weight.sum(axis=0, dtype=np.float64) @ (np.arange(nx) + 0.5)) / total
    return y, x


def _window_start(centre: float, length: float, view: float) -> float:
    """Where a window of `view` about `centre` begins on an axis of `length`, shifted so that it wastes no room.

    A window shorter than the axis stays within it; a longer one holds all of it.
    """
    low, high = min(0.0, length - view), max(0.0, length - view)
    return min(max(centre - view / 2, low), high)


def view_starts(
    shape: tuple[int, ...], scale_mm: tuple[float, float], preset: Preset, centre: tuple[float, float]
) -> list[tuple[float, float]]:
    """Where the view of a fixed-scale preset begins and how long it is, (y, x), in pixels of a field about `centre`."""
    assert preset.scale_mm is not None
    out = []
    for axis in (0, 1):
        view = preset.shape[axis] * preset.scale_mm[axis] / scale_mm[axis]
        out.append((_window_start(centre[axis], shape[axis], view), view))
    return out


def window_weights(n: int, m: int, step: float, start: float) -> csr_array:
    """Weights (m, n) float32 of `n` input pixels in `m` output pixels of `step` input pixels each, from `start` on.

    Shares of area: an output pixel is the mean over its extent, with zero where there is no input; no flux is lost
    within the window or made.
    """
    begin = start + step * np.arange(m)[:, None]
    overlap = np.minimum(begin + step, np.arange(n)[None] + 1.0) - np.maximum(begin, np.arange(n)[None])
    return csr_array((np.clip(overlap, 0.0, None) / step).astype(np.float32))


def place_on_grid(
    field: np.ndarray, scale_mm: tuple[float, float], preset: Preset, centre: tuple[float, float] | None = None
) -> np.ndarray:
    """Lay a field on the fixed-scale grid of a preset, centred on the region, without stretching it.

    Parameters
    ----------
    field
        (ny, nx); unit kept. Pixels that are not finite count as zero.
    scale_mm
        (y, x) Mm per pixel of `field`.
    preset
        With a `scale_mm`.
    centre
        (y, x) in pixels of `field`; that of its flux where not given (`field_centre`).

    Returns
    -------
    (H, W) float32: means over the pixels of the grid; zero beyond the edge of `field`.

    Raises
    ------
    ValueError
        When `field` is not two-dimensional or a scale is not a positive number.
    """
    field = np.asarray(field)
    if field.ndim != 2:
        raise ValueError(f"a field has two axes (ny, nx), got shape {field.shape}")
    if preset.scale_mm is None:
        raise ValueError(f"preset {preset.name!r} has no fixed scale; it stretches patches")
    if not all(np.isfinite(s) and s > 0 for s in scale_mm):
        raise ValueError(f"the scale of a patch must be positive Mm per pixel, got {tuple(scale_mm)}")
    field = np.nan_to_num(field.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    middle = field_centre(field) if centre is None else centre
    weights = []
    for axis, (start, _) in enumerate(view_starts(field.shape, scale_mm, preset, middle)):
        step = preset.scale_mm[axis] / scale_mm[axis]
        weights.append(window_weights(field.shape[axis], preset.shape[axis], step, start))
    return np.ascontiguousarray((weights[1] @ np.ascontiguousarray((weights[0] @ field).T)).T)


def to_grid(patch: Patch | np.ndarray, preset: Preset, scale_mm: tuple[float, float] | None = None) -> np.ndarray:
    """(H, W) float32 gauss on the grid of `preset`: stretched, or at the preset's fixed scale.

    Raises
    ------
    ValueError
        When the preset has a fixed scale and the patch has none; when the shape or scale do not fit.
    """
    field, scale = (patch.field, patch.scale_mm) if isinstance(patch, Patch) else (patch, scale_mm)
    if not preset.physical:
        return resize(field, preset.shape)
    if scale is None and not isinstance(patch, Patch) and np.shape(field) == tuple(preset.shape):
        scale = preset.scale_mm  # already on the grid
    if scale is None:
        what = f"patch {patch.id!r}" if isinstance(patch, Patch) else f"a field of shape {np.shape(field)}"
        raise NoScale(f"preset {preset.name!r} works in megametres and {what} has no scale; give its Mm per pixel")
    return place_on_grid(field, scale, preset)


def prepare(patch: Patch | np.ndarray, preset: Preset, scale_mm: tuple[float, float] | None = None) -> np.ndarray:
    """Network input of one patch, or of one field in gauss with its scale: (H, W) float32 in units of `preset`.

    Resampled first, then clipped or soft-clipped, so that a strong pixel counts in its neighbourhood with all its flux.
    An array without scale on the very grid of a preset with one is taken to be of that scale; a `Patch` never is.

    Raises
    ------
    ValueError
        When the preset has a fixed scale and the patch has none; when the shape or scale do not fit.
    """
    return preset.from_gauss(to_grid(patch, preset, scale_mm)).astype(np.float32, copy=False)


def prepare_many(patches: Iterable[Patch | np.ndarray], preset: Preset) -> np.ndarray:
    """`prepare` for patches, or fields in gauss, of any sizes: (N, H, W) float32."""
    rows = [prepare(patch, preset) for patch in patches]
    return np.stack(rows) if rows else np.zeros((0, *preset.shape), np.float32)


def preset_key(preset: Preset) -> str:
    """Name of a preset with a hash of all that bears on preparing; networks and their training do not."""
    relevant = {k: v for k, v in asdict(preset).items() if k not in ("generator", "encoder")}
    method = METHOD if preset.physical else METHOD_STRETCHED
    text = json.dumps([method, relevant], sort_keys=True, default=str)
    return f"{preset.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
