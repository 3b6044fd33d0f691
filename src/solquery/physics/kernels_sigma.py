"""Compiled kernels of SIGMA: histogram without what is empty, and the fit of a normal density. Needs numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .texture import EMPTY_GAUSS, EMPTY_PX, SIGMA_BIN_GAUSS, SIGMA_CLIP_GAUSS, SIGMA_LEAST_GAUSS

__all__ = ["BINS", "EXACT", "FAST", "fit", "histogram", "without_empty"]

# numbers in float32, so that comparisons are those of the definitions in torch
_ZERO = np.float32(0.0)
_CLIP = np.float32(SIGMA_CLIP_GAUSS)
_BIN = np.float32(SIGMA_BIN_GAUSS)
_QUIET = np.float32(EMPTY_GAUSS)
_HALF = round(SIGMA_CLIP_GAUSS / SIGMA_BIN_GAUSS)
BINS = 2 * _HALF + 1

#: the normal distribution and its density from 0 to 7.5 sigma, between which cubics run (to 1e-10)
_PER_SIGMA = 64
_GRID = np.arange(int(7.5 * _PER_SIGMA) + 2) / _PER_SIGMA
_CDF = np.array([0.5 * math.erf(v / math.sqrt(2.0)) for v in _GRID])
_PDF = np.exp(-0.5 * _GRID**2) / math.sqrt(2.0 * math.pi)
_SLOPE = -_GRID * _PDF

# sums may be reordered, which is what lets them run in vector registers; NaN and infinity keep their meaning
_SUMS = {"reassoc", "contract", "nsz", "arcp"}
FAST: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": _SUMS, "error_model": "numpy"}
EXACT: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**FAST)
def _bins_of(row, index):
    """Bin of each pixel of a row; the bin after the last is for missing pixels."""
    for x in range(len(row)):
        value = row[x]
        known = abs(value) < np.float32(np.inf)
        value = min(max(value if known else _ZERO, -_CLIP), _CLIP) / _BIN
        index[x] = np.int32(np.rint(value)) + _HALF if known else BINS


@njit(**EXACT)
def without_empty(raw, field, column, out):
    """Raw into out with NaN where it is empty (`texture.without_empty`); whether anything is, else out is not written.

    field: raw with 0 where a pixel is missing; column: (width + 4). Every quiet square of EMPTY_PX pixels is empty;
    what lies beyond the border is quiet. Of a square that continues the one before it, only the new edge is written.
    """
    height, width = field.shape
    half = EMPTY_PX // 2
    column[:] = 0
    found = False
    for y in range(-half, height + half):
        run, before = 0, False
        for x in range(-half, width + half):
            inside = 0 <= y < height and 0 <= x < width
            run = run + 1 if not inside or abs(field[y, x]) < _QUIET else 0
            above = column[x + half] >= EMPTY_PX
            column[x + half] = column[x + half] + 1 if run >= EMPTY_PX else 0
            here = column[x + half] >= EMPTY_PX
            if here:
                if not found:
                    out[:] = raw
                    found = True
                top = y if above and before else y - EMPTY_PX + 1
                left = x if above and before else x - EMPTY_PX + 1
                if above and not before:
                    top = y
                elif before and not above:
                    left = x
                for v in range(max(top, 0), min(y + 1, height)):
                    for u in range(max(left, 0), min(x + 1, width)):
                        out[v, u] = np.nan
            before = here
    return found


@njit(**EXACT)
def histogram(raw, counts, others, index):
    """Pixels per bin into counts (BINS + 1); how many there are. Two tables, so that equal neighbours do not wait."""
    height, width = raw.shape
    counts[:] = 0
    others[:] = 0
    for y in range(height):
        _bins_of(raw[y], index)
        for x in range(0, width - 1, 2):
            counts[index[x]] += 1
            others[index[x + 1]] += 1
        if width % 2:
            counts[index[width - 1]] += 1
    used = 0
    for k in range(BINS):
        counts[k] += others[k]
        used += counts[k]
    return used


@njit(**FAST)
def _normal(z, cdf, pdf, low_edge, width, mean, sigma, low, high):
    """Standardised edges low … high, the normal distribution there (less one half), and its density."""
    step = 1.0 / _PER_SIGMA
    last = np.int64(len(_GRID) - 2)
    for k in range(low, high + 1):
        value = (low_edge + k * width - mean) / sigma
        place = abs(value) * _PER_SIGMA
        i = min(np.int64(place), last)
        t = min(place - i, 1.0)
        f, g = step * _PDF[i], step * _PDF[i + 1]
        rise = _CDF[i + 1] - _CDF[i]
        size = _CDF[i] + t * (f + t * (3.0 * rise - 2.0 * f - g + t * (f + g - 2.0 * rise)))
        cdf[k] = size if value > 0 else -size
        f, g = step * _SLOPE[i], step * _SLOPE[i + 1]
        rise = _PDF[i + 1] - _PDF[i]
        pdf[k] = _PDF[i] + t * (f + t * (3.0 * rise - 2.0 * f - g + t * (f + g - 2.0 * rise)))
        z[k] = value


@njit(**FAST)
def _residual(density, squares, low_edge, width, mean, sigma, edge_cdf, pdf, z, low, high):
    """Sum of squares of model minus density; bins outside low … high, where the model is nothing, from `squares`."""
    _normal(z, edge_cdf, pdf, low_edge, width, mean, sigma, low, high)
    cost = squares[low] + (squares[len(density)] - squares[high])
    for k in range(low, high):
        error = (edge_cdf[k + 1] - edge_cdf[k]) / width - density[k]
        cost += error * error
    return cost


@njit(**EXACT)
def _window(mean, sigma, low_edge, width, bins):
    """First and last edge between which a normal density is more than nothing."""
    low = math.floor((mean - 7.0 * sigma - low_edge) / width)
    high = math.ceil((mean + 7.0 * sigma - low_edge) / width)
    low = min(max(low, 0), bins)
    return low, max(min(high, bins), low)


@njit(**EXACT)
def fit(counts, used, density, squares, cdf, pdf, z, trial_cdf, trial_pdf, trial_z):
    """Width of the normal density closest to a histogram: `texture.sigma`, step by step, for one patch."""
    bins = len(counts)
    filled = 0
    for k in range(bins):
        filled += counts[k] > 0
    if filled < 2:
        return np.nan
    width = 2.0 * SIGMA_CLIP_GAUSS / (bins - 1)
    low_edge = -SIGMA_CLIP_GAUSS - 0.5 * width
    squares[0] = 0.0
    for k in range(bins):
        density[k] = counts[k] / used / width
        squares[k + 1] = squares[k] + density[k] * density[k]
    best, where = -1.0, 0
    for k in range(bins):
        total = 0.0
        for j in range(max(k - 2, 0), min(k + 3, bins)):
            total += density[j]
        if total > best:
            best, where = total, k
    mean = low_edge + (where + 0.5) * width
    sigma = 1.0 / (math.sqrt(2.0 * math.pi) * best / 5.0)
    low, high = _window(mean, sigma, low_edge, width, bins)
    cost = _residual(density, squares, low_edge, width, mean, sigma, cdf, pdf, z, low, high)
    damping = 1e-3
    for _ in range(60):
        a = b = c = u = v = 0.0
        for k in range(low, high):
            by_mean = -(pdf[k + 1] - pdf[k]) / width
            by_width = -(z[k + 1] * pdf[k + 1] - z[k] * pdf[k]) / width
            error = (cdf[k + 1] - cdf[k]) / width - density[k]
            a += by_mean * by_mean
            b += by_mean * by_width
            c += by_width * by_width
            u += by_mean * error
            v += by_width * error
        a *= 1 + damping
        c *= 1 + damping
        determinant = max(a * c - b * b, 2.2250738585072014e-308)
        step_mean = min(max(-(c * u - b * v) / determinant, -1.0), 1.0)
        step_width = min(max(-(a * v - b * u) / determinant, -0.7), 0.7)
        new_mean = mean + step_mean * sigma
        new_sigma = max(sigma * math.exp(step_width), 0.05 * width)
        new_low, new_high = _window(new_mean, new_sigma, low_edge, width, bins)
        new_cost = _residual(
            density, squares, low_edge, width, new_mean, new_sigma, trial_cdf, trial_pdf, trial_z, new_low, new_high
        )
        if new_cost <= cost:
            mean, sigma, cost, low, high = new_mean, new_sigma, new_cost, new_low, new_high
            cdf, trial_cdf = trial_cdf, cdf
            pdf, trial_pdf = trial_pdf, pdf
            z, trial_z = trial_z, z
            damping *= 0.2
        else:
            damping *= 8.0
        if abs(step_mean) < 1e-5 and abs(step_width) < 1e-5:
            break
    return sigma if sigma >= SIGMA_LEAST_GAUSS else np.nan
