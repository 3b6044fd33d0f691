"""Compiled kernels: everything about one patch while it is in the cache. Imported by `fast` alone; needs numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .geometry import R_DILATION_PX
from .integral import POLARITY_THRESHOLD_GAUSS
from .kernels_sigma import BINS, EXACT, FAST, fit, histogram, without_empty
from .texture import EMPTY_PX
from .transport import CELLS, CUT, SOFTNESS, SWEEPS

__all__ = ["COLUMNS", "NAMES", "measure_patches"]

#: what `measure_patches` writes for each patch, in this order
NAMES = (
    "tuf", "tpf", "tnf", "net_flux", "count", "plus_y", "plus_x", "minus_y", "minus_x",
    "r", "sigma", "grad", "pil_length", "pil_gradient", "separation", "alpha",
)  # fmt: skip
COLUMNS = len(NAMES)

# numbers in float32, so that comparisons are those of the definitions in torch
_THRESHOLD = np.float32(POLARITY_THRESHOLD_GAUSS)
_ZERO: Any = np.float32(0.0)
_REACH = R_DILATION_PX // 2


@njit(**FAST)
def _clean(raw, clean):
    height, width = raw.shape
    for y in range(height):
        for x in range(width):
            value = raw[y, x]
            clean[y, x] = value if abs(value) < np.float32(np.inf) else _ZERO


@njit(**FAST)
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


@njit(**FAST)
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


@njit(**EXACT)
def _overlap(code, reach_y, reach_x, wide, near):
    """Bits of the pixels within reach: `code` (H, W) grown by a rectangle, into `near`; `wide` is room to work."""
    height, width = code.shape
    for y in range(height):
        source, target = code[y], wide[y]
        for x in range(width):
            target[x] = source[x]
        for step in range(1, min(reach_x, width - 1) + 1):
            # views, since an index that might be negative keeps the loop out of vector registers
            shifted, ahead = target[step:], source[step:]
            for x in range(width - step):
                target[x] |= ahead[x]
            for x in range(width - step):
                shifted[x] |= source[x]
    for y in range(height):
        target = near[y]
        low, high = max(y - reach_y, 0), min(y + reach_y, height - 1)
        for x in range(width):
            target[x] = wide[low, x]
        for other in range(low + 1, high + 1):
            source = wide[other]
            for x in range(width):
                target[x] |= source[x]


@njit(**FAST)
def _sum_where(field, near):
    height, width = field.shape
    total = 0.0
    for y in range(height):
        row = 0.0
        for x in range(width):
            row += abs(field[y, x]) if near[y, x] == 3 else _ZERO
        total += row
    return total


@njit(**FAST)
def _average(field, by, bx, out):
    """Means over blocks of by x bx pixels; what lies beyond the border counts as no field."""
    height, width = field.shape
    for j in range(out.shape[0]):
        for k in range(out.shape[1]):
            total = _ZERO
            for y in range(j * by, min(j * by + by, height)):
                for x in range(k * bx, min(k * bx + bx, width)):
                    total += field[y, x]
            out[j, k] = total / np.float32(by * bx)


@njit(**EXACT)
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


@njit(**EXACT)
def _gather(field, sign, total, mass, y_sum, x_sum, share, y_mean, x_mean):
    """Cells that hold flux of one sign, as `transport.separation` gathers it; how many there are."""
    height, width = field.shape
    mass[:] = 0.0
    y_sum[:] = 0.0
    x_sum[:] = 0.0
    for y in range(height):
        row = y * CELLS // height * CELLS
        for x in range(width):
            value = sign * field[y, x]
            if value > _THRESHOLD:
                cell = row + x * CELLS // width
                mass[cell] += value
                y_sum[cell] += value * y
                x_sum[cell] += value * x
    used, kept = 0, 0.0
    for cell in range(CELLS * CELLS):
        if mass[cell] / total > CUT:
            share[used] = mass[cell] / total
            y_mean[used], x_mean[used] = y_sum[cell] / mass[cell], x_sum[cell] / mass[cell]
            kept += share[used]
            used += 1
    for k in range(used):
        share[k] /= kept
    return used


@njit(**FAST)
def _separation(a, ay, ax, b, by, bx, step_y, step_x, u, v, kernel, squared):
    """Geometric mean of the distances over the plan of transport from shares a to shares b."""
    n, m = len(a), len(b)
    mean = 0.0
    for i in range(n):
        for j in range(m):
            dy, dx = (ay[i] - by[j]) * step_y, (ax[i] - bx[j]) * step_x
            squared[i, j] = dy * dy + dx * dx
            mean += a[i] * squared[i, j] * b[j]
    floor = step_y * step_x
    soft = 1.0 / (SOFTNESS * max(mean, floor))
    for i in range(n):
        for j in range(m):
            kernel[i, j] = math.exp(-squared[i, j] * soft)
    tiny = 2.2250738585072014e-308
    for j in range(m):
        v[j] = 1.0
    for _ in range(SWEEPS):
        for i in range(n):
            total = 0.0
            for j in range(m):
                total += kernel[i, j] * v[j]
            u[i] = a[i] / max(total, tiny)
        for j in range(m):
            v[j] = 0.0
        for i in range(n):
            for j in range(m):
                v[j] += u[i] * kernel[i, j]
        for j in range(m):
            v[j] = b[j] / max(v[j], tiny)
    weight = total = 0.0
    for i in range(n):
        for j in range(m):
            plan = u[i] * kernel[i, j] * v[j]
            weight += plan
            total += plan * 0.5 * math.log(max(squared[i, j], floor))
    return math.exp(total / weight)


@njit(**EXACT)
def _mark(field, code):
    height, width = field.shape
    for y in range(height):
        for x in range(width):
            value = field[y, x]
            code[y, x] = np.uint8(value > _THRESHOLD) | (np.uint8(value < -_THRESHOLD) << 1)


@njit(**EXACT)
def measure_patches(raw, clean, scale, blocks, reach, out, sigma, gradient, r, lines, transport):
    """Everything about the patches raw (N, H, W) float32 into out (N, COLUMNS), and missing pixels as 0 into clean.

    scale (N, 2) float64; blocks (N, 2) pixels to average for inversion lines,
    whose masks grow by `reach`; five flags say what else than sums
    is wanted.
    """
    n, height, width = raw.shape
    counts, others = np.empty(BINS + 1, np.int64), np.empty(BINS + 1, np.int64)
    index, column = np.empty(width, np.int32), np.empty(width + EMPTY_PX - 1, np.int64)
    density, squares = np.empty(BINS), np.empty(BINS + 1)
    tables = np.empty((6, BINS + 1))
    code = np.empty((height, width), np.uint8)
    wide, near, averages = np.empty_like(code), np.empty_like(code), np.empty((height, width), np.float32)
    room = CELLS * CELLS
    cells = np.empty((9, room))
    u, v, plan, squared = np.empty(room), np.empty(room), np.empty((room, room)), np.empty((room, room))
    for i in range(n):
        field, row = clean[i], out[i]
        _clean(raw[i], field)
        _sums(field, row)
        meet = row[1] > 0 and row[2] > 0
        if r and meet:
            _mark(field, code)
            _overlap(code, _REACH, _REACH, wide, near)
            row[9] = _sum_where(field, near)
        if sigma:
            seen = averages if without_empty(raw[i], field, column, averages) else raw[i]
            used = histogram(seen, counts, others, index)
            row[10] = fit(
                counts[:BINS], used, density, squares, tables[0], tables[1], tables[2], tables[3], tables[4], tables[5]
            )
        if gradient:
            row[11] = _gradient(field, scale[i, 0], scale[i, 1])
        if lines and meet:
            by, bx = blocks[i, 0], blocks[i, 1]
            coarse = field
            if by > 1 or bx > 1:
                coarse = averages[: (height + by - 1) // by, : (width + bx - 1) // bx]
                _average(field, by, bx, coarse)
            high, long = coarse.shape
            _mark(coarse, code[:high, :long])
            _overlap(code[:high, :long], reach, reach, wide[:high, :long], near[:high, :long])
            row[12], row[13] = _lines(coarse, near[:high, :long], scale[i, 0] * by, scale[i, 1] * bx)
        row[14] = np.nan
        if transport and meet:
            mass, y_sum, x_sum = cells[0], cells[1], cells[2]
            k = _gather(field, np.float32(1), row[1], mass, y_sum, x_sum, cells[3], cells[4], cells[5])
            m = _gather(field, np.float32(-1), row[2], mass, y_sum, x_sum, cells[6], cells[7], cells[8])
            row[14] = _separation(
                cells[3, :k], cells[4, :k], cells[5, :k], cells[6, :m], cells[7, :m], cells[8, :m],
                scale[i, 0], scale[i, 1], u[:k], v[:m], plan[:k, :m], squared[:k, :m],
            )  # fmt: skip
