"""From a patch in gauss at its native size to the input of a network: resample, clip, scale (paper, section 2).

Resampling is separable and linear, so each axis is one matrix: exact area averages where the axis shrinks (its mean,
and with it the flux, is kept), linear interpolation between pixel centres where it grows. The matrices are sparse:
less work than dense ones, and none of it in threads of a BLAS that compete with a training beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from ..config import Preset
from ..patch import Patch

__all__ = ["axis_weights", "prepare", "prepare_many", "resize"]


@lru_cache(maxsize=1024)
def _sparse_weights(n: int, m: int) -> csr_array:
    return csr_array(axis_weights(n, m))


def axis_weights(n: int, m: int) -> np.ndarray:
    """Weights (m, n) float32 that take `n` samples of one axis to `m`; every row adds up to one.

    For ``m <= n`` row i holds the share of each input pixel in output pixel i, and every column adds up to ``m / n``.
    For ``m > n`` the two neighbours of each output centre are weighted by their distance; the edge is held constant.
    """
    if n < 1 or m < 1:
        raise ValueError(f"both lengths of an axis must be at least 1, got {n} -> {m}")
    if m == n:
        weights = np.eye(n)
    elif m < n:
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
    """Resample a field to `shape`, each axis by itself.

    Parameters
    ----------
    field
        (ny, nx); unit kept. Pixels that are not finite count as zero.
    shape
        (H, W) wanted: an axis that shrinks is averaged over exact areas, one that grows is interpolated linearly.

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
    if ny != height:
        field = _sparse_weights(ny, height) @ field
    if nx != width:
        field = (_sparse_weights(nx, width) @ np.ascontiguousarray(field.T)).T
    return np.ascontiguousarray(field)


def prepare(field: np.ndarray, preset: Preset) -> np.ndarray:
    """Network input of one field in gauss: (H, W) float32 in units of `preset`, within [-1, 1].

    Resampled first, then clipped, so that a strong pixel weighs in its neighbourhood with its full flux.
    """
    return preset.from_gauss(resize(field, preset.shape)).astype(np.float32, copy=False)


def prepare_many(patches: Iterable[Patch | np.ndarray], preset: Preset) -> np.ndarray:
    """`prepare` for patches, or fields in gauss, of any sizes: (N, H, W) float32."""
    rows = [prepare(patch.field if isinstance(patch, Patch) else patch, preset) for patch in patches]
    return np.stack(rows) if rows else np.zeros((0, *preset.shape), np.float32)
