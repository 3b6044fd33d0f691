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
def _waves(field, mean, rows, columns, even, odd, half, out):
    """rows.T @ (field - mean) @ columns into out (2 Ky, 2 Kx); even, odd (4, W) and half (2 Ky, W) are overwritten.

    Cosines are equal at y and height - y, sines opposite: sum and difference of two lines take half the products.
    """
    height, width = field.shape
    n_y = rows.shape[1] // 2
    middle = height // 2 if height % 2 == 0 else 0
    for j in range(n_y):
        cosine, sine, sign = half[j], half[n_y + j], rows[middle, j] if middle else np.float32(0.0)
        for x in range(width):
            cosine[x] = field[0, x] - mean + sign * (field[middle, x] - mean)
            sine[x] = np.float32(0.0)
    pairs = (height - 1) // 2
    for first in range(1, pairs + 1, 4):
        for i in range(4):
            y, plus, minus = first + i, even[i], odd[i]
            if y > pairs:
                plus[:] = np.float32(0.0)
                minus[:] = np.float32(0.0)
                continue
            for x in range(width):
                plus[x] = field[y, x] + field[height - y, x] - np.float32(2.0) * mean
                minus[x] = field[y, x] - field[height - y, x]
        # lines beyond the last pair are 0, whatever they are multiplied with
        y1, y2, y3 = min(first + 1, pairs), min(first + 2, pairs), min(first + 3, pairs)
        for j in range(2 * n_y):
            a, b, c, d = rows[first, j], rows[y1, j], rows[y2, j], rows[y3, j]
            lines, sums = even if j < n_y else odd, half[j]
            l0, l1, l2, l3 = lines[0], lines[1], lines[2], lines[3]
            for x in range(width):
                sums[x] += a * l0[x] + b * l1[x] + c * l2[x] + d * l3[x]
    many = columns.shape[1]
    out[:] = np.float32(0.0)
    whole = width // 4 * 4
    for j in range(2 * n_y):
        line, sums = half[j], out[j]
        for x in range(0, whole, 4):
            a, b, c, d = line[x], line[x + 1], line[x + 2], line[x + 3]
            w0, w1, w2, w3 = columns[x], columns[x + 1], columns[x + 2], columns[x + 3]
            for k in range(many):
                sums[k] += a * w0[k] + b * w1[k] + c * w2[k] + d * w3[k]
        for x in range(whole, width):
            for k in range(many):
                sums[k] += line[x] * columns[x, k]


@njit(**EXACT)
def slopes(clean, which, rows, columns, ring_of, weight, frequency, out):
    """ALPHA of the patches `which` of clean (N, H, W) into the column of out; waves as of `spectral_basis`.

    ring_of, weight (Ky, Kx): the ring that a mode belongs to, or -1, and its share of the mean over that ring;
    frequency (K,): the logarithm of 1, 2, …
    """
    _, height, width = clean.shape
    (n_y, n_x), rings = weight.shape, len(frequency)
    even, odd = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    half = np.empty((rows.shape[1], width), np.float32)
    waves = np.empty((rows.shape[1], columns.shape[1]), np.float32)
    power = np.empty(rings)
    for i in which:
        field = clean[i]
        squares = 0.0
        for y in range(height):
            squares += _squares(field[y])
        _waves(field, np.float32(out[i, _NET] / (height * width)), rows, columns, even, odd, half, waves)
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
