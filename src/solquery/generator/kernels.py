"""What follows each convolution of the optimized pyramid, in one pass over its channels; needs numba.

Doubling, normalisation, scale, shift, noise and activation are a dozen small operations of torch, and for one image
each takes longer to be called than to be done. Kernels release the interpreter's lock.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ..aliases import Entries

__all__ = ["finish_layer"]

_OPTIONS: Entries = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
#: neighbours of a pixel, itself among them
_AROUND = 9


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
def _moments(pixels, groups, eps, gain, shift, scale, offset):
    """Scale and offset (O,) that normalise groups of channels of (h, w, O), with a gain and a shift of their own."""
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
        middle = square = 0.0
        for o in range(group * each, (group + 1) * each):
            middle += first[o]
            square += second[o]
        middle /= count
        variance = max(square / count - middle * middle, 0.0)
        rate = 1.0 / math.sqrt(variance + eps)
        for o in range(group * each, (group + 1) * each):
            scale[o] = (1.0 + gain[o]) * rate
            offset[o] = shift[o] - middle * scale[o]


@njit(**_OPTIONS)
def _activated(pixels, scale, offset, noise, grain):
    """Normalise (h, w, O) in place, add the noise (h, w, 9) of each pixel's neighbourhood, and let it leak."""
    rows, columns, outer = pixels.shape
    slope = np.float32(0.2)
    for y in range(rows):
        for x in range(columns):
            target = pixels[y, x]
            n = noise[y, x]
            for o in range(outer):
                value = offset[o] + target[o] * scale[o]
                for k in range(_AROUND):
                    value += n[k] * grain[k, o]
                target[o] = value if value > 0 else slope * value


@njit(**_OPTIONS)
def finish_layer(made, doubles, groups, eps, gain, shift, noise, grain, out):
    """Fill `out` (N, h, w, O) with a layer's features.

    Parameters
    ----------
    made
        (N, h, w, O) float32 of the convolution; where the layer doubles, (N, h / 2 + 1, w / 2 + 1, 4 O) by phase.
    doubles
        Whether it does.
    groups, eps
        Of the normalisation.
    gain, shift
        (N, O) of the style.
    noise
        (N, h, w, 9): of the neighbourhood of each pixel.
    grain
        (9, O): how much of each neighbour's noise a channel takes.
    """
    outer = out.shape[3]
    scale, offset = np.empty(outer, np.float32), np.empty(outer, np.float32)
    for n in range(len(out)):
        if doubles:
            _doubled(made[n], out[n])
        else:
            out[n] = made[n]
        _moments(out[n], groups, eps, gain[n], shift[n], scale, offset)
        _activated(out[n], scale, offset, noise[n], grain)
