"""Compiled: a field in 16 bits, and what its row tells of it, in one pass. Imported by `records` alone; needs numba."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["encode"]

#: of |x| in single precision: infinity, and the least that is a normal number in 16 bits
_INFINITE, _NORMAL = np.uint32(0x7F800000), np.uint32(0x38800000)
#: what its exponent is less in 16 bits, with half of what is cut off
_LESS = np.uint32(0x38000000 - 0xFFF)
_NAN, _SIGN = np.uint32(0x7E00), np.uint32(0x8000)


@njit(cache=True, nogil=True)
def encode(bits, values, clip, out):
    """Field into out (N,) uint16, rounded to even as IEEE 754 says, NaN for what is not finite.

    Parameters
    ----------
    bits, values
        (N,) the field as uint32 and as float32.
    clip
        Bits of a positive number.

    Returns
    -------
    How many are finite, how many of those are beyond the number, and the bits of the largest of those, unsigned.
    """
    finite, beyond, largest = 0, 0, np.uint32(0)
    for k in range(len(bits)):
        size = bits[k] & np.uint32(0x7FFFFFFF)
        known = size < _INFINITE
        finite += known
        beyond += known and size > clip
        largest = max(largest, size if known else np.uint32(0))
        normal = (size - _LESS + ((size >> np.uint32(13)) & np.uint32(1))) >> np.uint32(13)
        # of smaller ones the last digit is worth 2^-24
        small = abs(values[k]) if size < _NORMAL else np.float32(0.0)
        short = np.uint32(np.int32(np.rint(small * np.float32(16777216.0)))) if size < _NORMAL else normal
        sign = (bits[k] >> np.uint32(16)) & _SIGN
        out[k] = np.uint16(sign | short if known else _NAN)
    return finite, beyond, largest
