"""What follows each convolution of the optimized pyramid, in one pass over its channels, and back; needs numba.

Doubling, normalisation, scale, shift, noise and activation are a dozen small operations of torch, and for one image
each takes longer to be called than to be done. Kernels release the interpreter's lock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["finish_layer", "finish_layer_back"]

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


@njit(**_OPTIONS)
def _doubled(made, out):
    """(h + 1, w + 1, 4 O) by phase into (2 h, 2 w, O): each of four pixels takes its phase of its neighbourhood."""
    rows, columns, outer = out.shape
    for y in range(rows):
        for x in range(columns):
            down, right = y & 1, x & 1
            at = (2 * down + right) * outer
            source = made[(y >> 1) + down, (x >> 1) + right]
            target = out[y, x]
            for o in range(outer):
                target[o] = source[at + o]


@njit(**_OPTIONS)
def _moments(pixels, groups, eps, middle, rate):
    """Mean and one over the standard deviation (G,) of groups of channels of (h, w, O)."""
    rows, columns, outer = pixels.shape
    first, second = np.zeros(outer), np.zeros(outer)
    a, b = np.empty(outer, np.float32), np.empty(outer, np.float32)
    for y in range(rows):
        # single precision along a row is as exact as the sums are wanted, and twice as fast
        a[:] = np.float32(0.0)
        b[:] = np.float32(0.0)
        for x in range(columns):
            source = pixels[y, x]
            for o in range(outer):
                a[o] += source[o]
                b[o] += source[o] * source[o]
        for o in range(outer):
            first[o] += a[o]
            second[o] += b[o]
    each = outer // groups
    count = rows * columns * each
    for group in range(groups):
        mean = first[group * each : (group + 1) * each].sum() / count
        square = second[group * each : (group + 1) * each].sum() / count
        middle[group] = mean
        rate[group] = 1.0 / math.sqrt(max(square - mean * mean, 0.0) + eps)


@njit(**_OPTIONS)
def _activated(pixels, scale, offset, noise, grain):
    """Normalise (h, w, O) in place, add the noise (h + 2, w + 2) about each pixel, and apply a leaky ReLU."""
    rows, columns, outer = pixels.shape
    slope = np.float32(0.2)
    for y in range(rows):
        for x in range(columns):
            target = pixels[y, x]
            n0, n1, n2 = noise[y, x], noise[y, x + 1], noise[y, x + 2]
            n3, n4, n5 = noise[y + 1, x], noise[y + 1, x + 1], noise[y + 1, x + 2]
            n6, n7, n8 = noise[y + 2, x], noise[y + 2, x + 1], noise[y + 2, x + 2]
            for o in range(outer):
                value = offset[o] + target[o] * scale[o]
                value += n0 * grain[0, o] + n1 * grain[1, o] + n2 * grain[2, o]
                value += n3 * grain[3, o] + n4 * grain[4, o] + n5 * grain[5, o]
                value += n6 * grain[6, o] + n7 * grain[7, o] + n8 * grain[8, o]
                target[o] = value if value > 0 else slope * value


@njit(**_OPTIONS)
def finish_layer(made, gain, shift, noise, out, middle, rate, doubles, eps, grain):
    """Fill `out` (N, h, w, O) with a layer's features, `middle` and `rate` (N, G) with the moments of its groups.

    Parameters
    ----------
    made
        (N, h, w, O) float32 of the convolution; where the layer doubles, (N, h / 2 + 1, w / 2 + 1, 4 O) by phase.
    gain, shift
        (N, O) of the style.
    noise
        (N, h + 2, w + 2), with a border of zeros.
    doubles
        Whether the layer does.
    eps
        Of the normalisation.
    grain
        (9, O): how much of each neighbour's noise a channel takes.
    """
    outer, groups = out.shape[3], middle.shape[1]
    each = outer // groups
    scale, offset = np.empty(outer, np.float32), np.empty(outer, np.float32)
    for n in range(len(out)):
        if doubles:
            _doubled(made[n], out[n])
        else:
            out[n] = made[n]
        _moments(out[n], groups, eps, middle[n], rate[n])
        for o in range(outer):
            scale[o] = (1.0 + gain[n, o]) * rate[n, o // each]
            offset[o] = shift[n, o] - middle[n, o // each] * scale[o]
        _activated(out[n], scale, offset, noise[n], grain)


@njit(**_OPTIONS)
def _through_activation(gradients, out, made, doubles, before, first, second):
    """From gradients (h, w, O) of features to those before the activation; their sums (O,) with 1 and with `made`."""
    rows, columns, outer = out.shape
    negative_slope = np.float32(0.2)
    a, b = np.empty(outer, np.float32), np.empty(outer, np.float32)
    for y in range(rows):
        # whole rows at once: the compiler makes vectors of long loops over few arrays only
        row, here, there = gradients[y].reshape(-1), out[y].reshape(-1), before[y].reshape(-1)
        for i in range(columns * outer):
            there[i] = row[i] * (np.float32(1.0) if here[i] > 0 else negative_slope)
        a[:] = np.float32(0.0)
        b[:] = np.float32(0.0)
        for x in range(columns):
            gradient, source = before[y, x], _pixel(made, y, x, outer, doubles)
            for o in range(outer):
                a[o] += gradient[o]
                b[o] += gradient[o] * source[o]
        for o in range(outer):
            first[o] += a[o]
            second[o] += b[o]


@njit(**_OPTIONS)
def _pixel(made, y, x, outer, doubles):
    """(O,) of a pixel of a layer in (h, w, O), or by phase in (h / 2 + 1, w / 2 + 1, 4 O)."""
    if not doubles:
        return made[y, x]
    down, right = y & 1, x & 1
    at = (2 * down + right) * outer
    return made[(y >> 1) + down, (x >> 1) + right, at : at + outer]


@njit(**_OPTIONS)
def _through_norm(gradients, made, doubles, a, b, c, to_made):
    """Fill `to_made` (like `made`) with a · gradients + b · made + c by channel: normalisation has no more to it."""
    rows, columns, outer = gradients.shape
    if doubles:
        # on its border some phases belong to no pixel
        to_made[0], to_made[-1] = np.float32(0.0), np.float32(0.0)
        to_made[:, 0], to_made[:, -1] = np.float32(0.0), np.float32(0.0)
    for y in range(rows):
        for x in range(columns):
            gradient, source = gradients[y, x], _pixel(made, y, x, outer, doubles)
            target = _pixel(to_made, y, x, outer, doubles)
            for o in range(outer):
                target[o] = a[o] * gradient[o] + b[o] * source[o] + c[o]


@njit(**_OPTIONS)
def finish_layer_back(gradients, out, made, gain, middle, rate, before, to_made, to_gain, to_shift, doubles):
    """From the gradients (N, h, w, O) of features to those `before` the activation, of `made`, `gain` and `shift`.

    The others as `finish_layer` left them; shapes as there, each gradient that of what it belongs to.
    """
    outer, groups = out.shape[3], middle.shape[1]
    each = outer // groups
    count = out.shape[1] * out.shape[2] * each
    a, b, c = np.empty(outer, np.float32), np.empty(outer, np.float32), np.empty(outer, np.float32)
    for n in range(len(out)):
        first, second = np.zeros(outer), np.zeros(outer)
        _through_activation(gradients[n], out[n], made[n], doubles, before[n], first, second)
        for group in range(groups):
            mean, steep = middle[n, group], rate[n, group]
            one = two = 0.0
            for o in range(group * each, (group + 1) * each):
                to_shift[n, o] = first[o]
                to_gain[n, o] = steep * (second[o] - mean * first[o])
                one += (1.0 + gain[n, o]) * first[o] / count
                two += (1.0 + gain[n, o]) * to_gain[n, o] / count
            for o in range(group * each, (group + 1) * each):
                a[o] = steep * (1.0 + gain[n, o])
                b[o] = -steep * steep * two
                c[o] = steep * (steep * two * mean - one)
        _through_norm(before[n], made[n], doubles, a, b, c, to_made[n])
