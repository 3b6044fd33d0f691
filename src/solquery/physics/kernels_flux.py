"""Compiled kernels of FLUX: coherent patches, their smoothed density, and the sums that it weights. Needs numba."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels_sigma import EXACT, FAST
from .region import COHERENT_GAUSS, DENSITY_GAUSS, STRONG_GAUSS

__all__ = ["own_sums"]

_COHERENT = np.float32(COHERENT_GAUSS)
_STRONG = np.float32(STRONG_GAUSS)


@njit(**EXACT)
def _worn(mask, out):
    """Mask (H + 2, W + 2) uint8 with a border of zeros eroded by a pixel and its four neighbours, into `out`."""
    height, width = mask.shape
    for y in range(1, height - 1):
        target, here, below, above = out[y, 1:], mask[y, 1:], mask[y - 1, 1:], mask[y + 1, 1:]
        west, east = mask[y], mask[y, 2:]
        for x in range(width - 2):
            target[x] = here[x] & below[x] & above[x] & west[x] & east[x]


@njit(**EXACT)
def _grown(mask, out):
    """The same, dilated."""
    height, width = mask.shape
    for y in range(1, height - 1):
        target, here, below, above = out[y, 1:], mask[y, 1:], mask[y - 1, 1:], mask[y + 1, 1:]
        west, east = mask[y], mask[y, 2:]
        for x in range(width - 2):
            target[x] = here[x] | below[x] | above[x] | west[x] | east[x]


@njit(**EXACT)
def _coherent(field, reach, one, other):
    """Mask of the coherent patches, (H + 2, W + 2) with a border of zeros, in one of the two rooms given."""
    height, width = field.shape
    for y in range(height):
        target, source = one[y + 1, 1:], field[y]
        for x in range(width):
            target[x] = np.uint8(abs(source[x]) > _COHERENT)
    for _ in range(reach):
        _worn(one, other)
        one, other = other, one
    for _ in range(reach):
        _grown(one, other)
        one, other = other, one
    return one


@njit(**FAST)
def _smoothed(values, wide_y, wide_x, half, out):
    """Values (H, W) float64 smoothed by Gaussians of `wide_y` and `wide_x` pixels, nothing outside, into `out`."""
    height, width = values.shape
    bell = np.exp(-0.5 * (np.arange(width) / wide_x) ** 2) / (math.sqrt(2.0 * math.pi) * wide_x)
    half[:] = 0.0
    for y in range(height):
        target = half[y]
        for k in range(width):
            value = values[y, k]
            if value > 0.0:
                for x in range(k, width):
                    target[x] += value * bell[x - k]
                for x in range(k):
                    target[x] += value * bell[k - x]
    bell = np.exp(-0.5 * (np.arange(height) / wide_y) ** 2) / (math.sqrt(2.0 * math.pi) * wide_y)
    for y in range(height):
        target = out[y]
        target[:] = 0.0
        for k in range(height):
            weight, source = bell[abs(y - k)], half[k]
            for x in range(width):
                target[x] += weight * source[x]


@njit(**FAST)
def own_sums(fields, which, by, bx, reach, wide_y, wide_x, sums):
    """Flux in G pixels and number of pixels of the regions' own field, into `sums` (N, 2).

    Parameters
    ----------
    fields
        (N, H, W) float32 G, finite.
    which
        Patches that share the layout: blocks of by x bx pixels, a diamond of half-width `reach` pixels, and the
        smoothing's standard deviations `wide_y`, `wide_x` in blocks.
    """
    height, width = fields.shape[1:]
    rows, columns = (height + by - 1) // by, (width + bx - 1) // bx
    rooms = np.zeros((2, height + 2, width + 2), np.uint8)
    density, half, smooth = np.empty((rows, columns)), np.empty((rows, columns)), np.empty((rows, columns))
    strong, count = np.empty((rows, columns)), np.empty((rows, columns))
    for k in which:
        field = fields[k]
        patches = _coherent(field, reach, rooms[0], rooms[1])
        density[:] = 0.0
        strong[:] = 0.0
        count[:] = 0.0
        for y in range(height):
            j = y // by
            for x in range(width):
                value = abs(field[y, x])
                inside = patches[y + 1, x + 1] > 0
                if inside or value > _STRONG:
                    i = x // bx
                    strong[j, i] += value
                    count[j, i] += 1.0
                    if inside:
                        density[j, i] += value
        density /= by * bx
        _smoothed(density, wide_y, wide_x, half, smooth)
        total = number = 0.0
        for j in range(rows):
            for i in range(columns):
                weight = smooth[j, i] / (smooth[j, i] + DENSITY_GAUSS)
                total += weight * strong[j, i]
                number += weight * count[j, i]
        sums[k, 0] = total
        sums[k, 1] = number
