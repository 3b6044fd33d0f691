"""Compiled kernels: everything about one patch while it is in the cache. Imported by `fast` alone; needs numba."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .integral import POLARITY_THRESHOLD_GAUSS
from .geometry import R_DILATION_PX
from .texture import SIGMA_BIN_GAUSS, SIGMA_CLIP_GAUSS

__all__ = ["COLUMNS", "NAMES", "measure_patches"]

#: what `measure_patches` writes for each patch, in this order
NAMES = (
    "tuf", "tpf", "tnf", "net_flux", "count", "plus_y", "plus_x", "minus_y", "minus_x",
    "r", "sigma", "grad", "pil_length", "pil_gradient",
)  # fmt: skip
COLUMNS = len(NAMES)

# numbers in float32, so that comparisons are those of the definitions in torch
_THRESHOLD = np.float32(POLARITY_THRESHOLD_GAUSS)
_ZERO = np.float32(0.0)
_CLIP = np.float32(SIGMA_CLIP_GAUSS)
_BIN = np.float32(SIGMA_BIN_GAUSS)
_HALF = round(SIGMA_CLIP_GAUSS / SIGMA_BIN_GAUSS)
_BINS = 2 * _HALF + 1
_REACH = R_DILATION_PX // 2

# sums may be reordered, which is what lets them run in vector registers; NaN and infinity keep their meaning
_SUMS = {"reassoc", "contract", "nsz", "arcp"}
_FAST = {"nogil": True, "cache": True, "fastmath": _SUMS, "error_model": "numpy"}
_EXACT = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_FAST)
def _clean(raw, clean):
    height, width = raw.shape
    for y in range(height):
        for x in range(width):
            value = raw[y, x]
            clean[y, x] = value if abs(value) < np.float32(np.inf) else _ZERO


@njit(**_FAST)
def _sums(field, out):
    """Fluxes, area, first moments of the strong pixels."""
    height, width = field.shape
    total = net = plus = minus = count = 0.0
    plus_y = plus_x = minus_y = minus_x = 0.0
    for y in range(height):
        a = b = p = m = px = mx = 0.0
        k = 0
        for x in range(width):
            value = field[y, x]
            a += abs(value)
            b += value
        for x in range(width):
            value = field[y, x]
            up = value if value > _THRESHOLD else _ZERO
            down = -value if -value > _THRESHOLD else _ZERO
            p += up
            m += down
            px += up * np.float64(x)
            mx += down * np.float64(x)
            k += abs(value) > _THRESHOLD
        total += a
        net += b
        plus += p
        minus += m
        plus_x += px
        minus_x += mx
        plus_y += p * y
        minus_y += m * y
        count += k
    out[0], out[1], out[2], out[3], out[4] = total, plus, minus, net, count
    out[5], out[6], out[7], out[8] = plus_y, plus_x, minus_y, minus_x


@njit(**_FAST)
def _gradient(field, step_y, step_x):
    """Mean magnitude of the gradient, as `texture.grad`."""
    height, width = field.shape
    total = 0.0
    by_x, by_y = np.float32(1.0 / step_x), np.float32(1.0 / step_y)
    half = np.float32(0.5)
    for y in range(height):
        above, below = min(y + 1, height - 1), max(y - 1, 0)
        inverse = by_y * half if above - below == 2 else by_y
        upper, lower, here = field[above], field[below], field[y]
        row = 0.0
        for x in range(1, width - 1):
            dy = (upper[x] - lower[x]) * inverse
            dx = (here[x + 1] - here[x - 1]) * half * by_x
            row += math.sqrt(dy * dy + dx * dx)
        for x, left, right in ((0, 0, 1), (width - 1, width - 2, width - 1)):
            dy = (upper[x] - lower[x]) * inverse
            dx = (here[right] - here[left]) * by_x
            row += math.sqrt(dy * dy + dx * dx)
        total += row
    return total / (height * width)


@njit(**_EXACT)
def _overlap(code, reach_y, reach_x, wide, near):
    """Bits of the pixels within reach: `code` (H, W) grown by a rectangle, into `near`; `wide` is room to work."""
    height, width = code.shape
    for y in range(height):
        source, target = code[y], wide[y]
        for x in range(width):
            target[x] = source[x]
        for step in range(1, min(reach_x, width - 1) + 1):
            for x in range(width - step):
                target[x] |= source[x + step]
            for x in range(step, width):
                target[x] |= source[x - step]
    for y in range(height):
        target = near[y]
        low, high = max(y - reach_y, 0), min(y + reach_y, height - 1)
        for x in range(width):
            target[x] = wide[low, x]
        for other in range(low + 1, high + 1):
            source = wide[other]
            for x in range(width):
                target[x] |= source[x]


@njit(**_FAST)
def _sum_where(field, near):
    height, width = field.shape
    total = 0.0
    for y in range(height):
        row = 0.0
        for x in range(width):
            row += abs(field[y, x]) if near[y, x] == 3 else _ZERO
        total += row
    return total


@njit(**_EXACT)
def _lines(field, near, step_y, step_x):
    """Length of the zero contour in the cells that touch the overlap, and the gradient integrated along it."""
    height, width = field.shape
    length = integral = 0.0
    for y in range(height - 1):
        for x in range(width - 1):
            if not (near[y, x] == 3 or near[y, x + 1] == 3 or near[y + 1, x] == 3 or near[y + 1, x + 1] == 3):
                continue
            a, b = float(field[y, x]), float(field[y, x + 1])
            c, d = float(field[y + 1, x]), float(field[y + 1, x + 1])
            pa, pb, pc, pd = a > 0, b > 0, c > 0, d > 0
            if pa == pb and pb == pc and pc == pd:
                continue
            # where the contour crosses the sides of the cell, in Mm
            south = a / (a - b) * step_x if pa != pb else 0.0
            north = c / (c - d) * step_x if pc != pd else 0.0
            west = a / (a - c) * step_y if pa != pc else 0.0
            east = b / (b - d) * step_y if pb != pd else 0.0
            if pa != pb and pc != pd and pa != pc and pb != pd:
                if (a + b + c + d > 0) == pa:
                    here = math.hypot(step_x - south, east) + math.hypot(north, step_y - west)
                else:
                    here = math.hypot(south, west) + math.hypot(step_x - north, step_y - east)
            elif pa != pb and pc != pd:
                here = math.hypot(south - north, step_y)
            elif pa != pc and pb != pd:
                here = math.hypot(west - east, step_x)
            elif pa != pb:
                here = math.hypot(south, west) if pa != pc else math.hypot(step_x - south, east)
            else:
                here = math.hypot(north, step_y - west) if pa != pc else math.hypot(step_x - north, step_y - east)
            dy, dx = 0.5 * (c + d - a - b) / step_y, 0.5 * (b + d - a - c) / step_x
            length += here
            integral += here * math.hypot(dy, dx)
    return length, integral


@njit(**_EXACT)
def _histogram(raw, counts):
    height, width = raw.shape
    counts[:] = 0
    used = 0
    for y in range(height):
        for x in range(width):
            value = raw[y, x]
            if abs(value) < np.float32(np.inf):
                value = min(max(value, -_CLIP), _CLIP) / _BIN
                counts[int(np.rint(value)) + _HALF] += 1
                used += 1
    return used


@njit(**_FAST)
def _residual(density, squares, low_edge, width, mean, sigma, edge_cdf, z, low, high):
    """Sum of squares of model minus density; bins outside low … high, where the model is nothing, from `squares`."""
    for k in range(low, high + 1):
        z[k] = (low_edge + k * width - mean) / sigma
        edge_cdf[k] = 0.5 * math.erf(z[k] / math.sqrt(2.0))
    cost = squares[low] + (squares[len(density)] - squares[high])
    for k in range(low, high):
        error = (edge_cdf[k + 1] - edge_cdf[k]) / width - density[k]
        cost += error * error
    return cost


@njit(**_EXACT)
def _window(mean, sigma, low_edge, width, bins):
    """First and last edge between which a normal density is more than nothing."""
    low = int(math.floor((mean - 8.0 * sigma - low_edge) / width))
    high = int(math.ceil((mean + 8.0 * sigma - low_edge) / width))
    low = min(max(low, 0), bins)
    return low, max(min(high, bins), low)


@njit(**_EXACT)
def _fit(counts, used, density, squares, cdf, z, trial_cdf, trial_z):
    """Width of the normal density closest to a histogram: `texture.fit_gaussian`, step by step, for one patch."""
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
    cost = _residual(density, squares, low_edge, width, mean, sigma, cdf, z, low, high)
    damping = 1e-3
    norm = 1.0 / math.sqrt(2.0 * math.pi)
    for _ in range(60):
        a = b = c = u = v = 0.0
        left = norm * math.exp(-0.5 * z[low] * z[low])
        for k in range(low, high):
            right = norm * math.exp(-0.5 * z[k + 1] * z[k + 1])
            by_mean = -(right - left) / width
            by_width = -(z[k + 1] * right - z[k] * left) / width
            error = (cdf[k + 1] - cdf[k]) / width - density[k]
            a += by_mean * by_mean
            b += by_mean * by_width
            c += by_width * by_width
            u += by_mean * error
            v += by_width * error
            left = right
        a *= 1 + damping
        c *= 1 + damping
        determinant = max(a * c - b * b, 2.2250738585072014e-308)
        step_mean = min(max(-(c * u - b * v) / determinant, -1.0), 1.0)
        step_width = min(max(-(a * v - b * u) / determinant, -0.7), 0.7)
        new_mean = mean + step_mean * sigma
        new_sigma = max(sigma * math.exp(step_width), 0.05 * width)
        new_low, new_high = _window(new_mean, new_sigma, low_edge, width, bins)
        new_cost = _residual(
            density, squares, low_edge, width, new_mean, new_sigma, trial_cdf, trial_z, new_low, new_high
        )
        if new_cost <= cost:
            mean, sigma, cost, low, high = new_mean, new_sigma, new_cost, new_low, new_high
            cdf, trial_cdf = trial_cdf, cdf
            z, trial_z = trial_z, z
            damping *= 0.2
        else:
            damping *= 8.0
        if abs(step_mean) < 1e-5 and abs(step_width) < 1e-5:
            break
    return sigma


@njit(**_EXACT)
def _mark(field, code):
    height, width = field.shape
    for y in range(height):
        for x in range(width):
            value = field[y, x]
            code[y, x] = np.uint8(value > _THRESHOLD) | (np.uint8(value < -_THRESHOLD) << 1)


@njit(**_EXACT)
def measure_patches(raw, clean, scale, reach, out, sigma, gradient, r, lines):
    """Everything about the patches raw (N, H, W) float32 into out (N, COLUMNS), and missing pixels as 0 into clean.

    scale (N, 2) float64; reach (N, 2) pixels to each side for inversion lines; four flags say what else than sums
    is wanted.
    """
    n, height, width = raw.shape
    counts = np.empty(_BINS, np.int64)
    density, squares = np.empty(_BINS), np.empty(_BINS + 1)
    cdf, z, trial_cdf, trial_z = np.empty(_BINS + 1), np.empty(_BINS + 1), np.empty(_BINS + 1), np.empty(_BINS + 1)
    code = np.empty((height, width), np.uint8)
    wide, near = np.empty_like(code), np.empty_like(code)
    for i in range(n):
        field, row = clean[i], out[i]
        _clean(raw[i], field)
        _sums(field, row)
        meet = row[1] > 0 and row[2] > 0
        if (r or lines) and meet:
            _mark(field, code)
        if r and meet:
            _overlap(code, _REACH, _REACH, wide, near)
            row[9] = _sum_where(field, near)
        if sigma:
            used = _histogram(raw[i], counts)
            row[10] = _fit(counts, used, density, squares, cdf, z, trial_cdf, trial_z)
        if gradient:
            row[11] = _gradient(field, scale[i, 0], scale[i, 1])
        if lines and meet:
            _overlap(code, reach[i, 0], reach[i, 1], wide, near)
            row[12], row[13] = _lines(field, near, scale[i, 0], scale[i, 1])
