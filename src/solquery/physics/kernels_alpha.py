"""Compiled kernels of ALPHA: the few waves of a patch that its rings need, and the slope through them. Needs numba."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import NAMES
from .kernels_sigma import EXACT, FAST

__all__ = ["slopes"]

#: columns of `measure_patches` that are read and written here
_NET, _SLOPE = NAMES.index("net_flux"), NAMES.index("alpha")


@njit(**FAST)
def _waves(field, mean, rows, columns, half, out):
    """rows.T @ (field - mean) @ columns, four lines at a time: half (H, 2 Kx), out (2 Ky, 2 Kx), all float32."""
    height, width = field.shape
    many = columns.shape[1]
    half[:] = np.float32(0.0)
    out[:] = np.float32(0.0)
    whole = height // 4 * 4
    for y in range(0, whole, 4):
        h0, h1, h2, h3 = half[y], half[y + 1], half[y + 2], half[y + 3]
        for x in range(width):
            a, b, c, d = field[y, x] - mean, field[y + 1, x] - mean, field[y + 2, x] - mean, field[y + 3, x] - mean
            wave = columns[x]
            for k in range(many):
                h0[k] += a * wave[k]
                h1[k] += b * wave[k]
                h2[k] += c * wave[k]
                h3[k] += d * wave[k]
        for j in range(len(out)):
            a, b, c, d = rows[y, j], rows[y + 1, j], rows[y + 2, j], rows[y + 3, j]
            sums = out[j]
            for k in range(many):
                sums[k] += a * h0[k] + b * h1[k] + c * h2[k] + d * h3[k]
    for y in range(whole, height):
        h0 = half[y]
        for x in range(width):
            a, wave = field[y, x] - mean, columns[x]
            for k in range(many):
                h0[k] += a * wave[k]
        for j in range(len(out)):
            a, sums = rows[y, j], out[j]
            for k in range(many):
                sums[k] += a * h0[k]


@njit(**EXACT)
def slopes(clean, which, rows, columns, ring_of, weight, frequency, out):
    """ALPHA of the patches `which` of clean (N, H, W) into the column of out; waves as of `spectral_basis`.

    ring_of, weight (Ky, Kx): the ring that a mode belongs to, or -1, and its share of the mean over that ring;
    frequency (K,): the logarithm of 1, 2, …
    """
    _, height, width = clean.shape
    (n_y, n_x), rings = weight.shape, len(frequency)
    half = np.empty((height, columns.shape[1]), np.float32)
    waves = np.empty((rows.shape[1], columns.shape[1]), np.float32)
    power = np.empty(rings)
    for i in which:
        field = clean[i]
        squares = 0.0
        for y in range(height):
            squares += _squares(field[y])
        _waves(field, np.float32(out[i, _NET] / (height * width)), rows, columns, half, waves)
        power[:] = 0.0
        for j in range(n_y):
            for k in range(n_x):
                ring = ring_of[j, k]
                if ring >= 0:
                    mode = 0.0
                    for part in range(4):
                        mode += np.float64(waves[j + (part // 2) * n_y, k + (part % 2) * n_x]) ** 2
                    power[ring] += mode * weight[j, k]
        used, mean_x, mean_y = 0, 0.0, 0.0
        for ring in range(rings):
            if power[ring] > 1e-12 * squares:
                used += 1
                mean_x += frequency[ring]
                mean_y += math.log(power[ring])
        above = below = 0.0
        for ring in range(rings):
            if power[ring] > 1e-12 * squares:
                x = frequency[ring] - mean_x / used
                above += x * (math.log(power[ring]) - mean_y / used)
                below += x * x
        out[i, _SLOPE] = above / below if used >= 3 else np.nan


@njit(**FAST)
def _squares(row):
    total = 0.0
    for x in range(len(row)):
        total += row[x] * row[x]
    return total
