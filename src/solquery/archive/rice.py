"""Rice-compressed rows of 32-bit numbers to floats, compiled. Imported by `plain` alone; needs numba.

The code is that of the FITS standard 4.0, section 10.4.1 (RICE_1): a row begins with its first number as it is; blocks
follow, each with the number of low bits that its differences share. A difference is its high part in unary, then the
low bits; a block of one value has no bits at all, and one of noise has its differences as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["decode_rows"]

_EXACT: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
#: bits that tell a block's number of low bits, its value for "as they are", and bits of a whole difference
_LENGTH_BITS, _WHOLE, _WHOLE_BITS = 5, 25, 32
#: zeros before the first one in a byte
_ZEROS = np.array([8 - int(byte).bit_length() for byte in range(256)], np.int64)


@njit(inline="always", **_EXACT)
def _more(data, at, held, have):
    """Bits behind those that are held, as many as fit; `held` has them foremost, and zeros behind."""
    if have <= 32 and at + 4 <= len(data):
        four = (
            (np.uint64(data[at]) << np.uint64(24))
            | (np.uint64(data[at + 1]) << np.uint64(16))
            | (np.uint64(data[at + 2]) << np.uint64(8))
            | np.uint64(data[at + 3])
        )
        return at + 4, held | (four << np.uint64(32 - have)), have + 32
    while have <= 56 and at < len(data):
        held |= np.uint64(data[at]) << np.uint64(56 - have)
        at += 1
        have += 8
    return at, held, have


@njit(**_EXACT)
def _row(data, block, zeros, out):
    """One row of int32 from its bytes; False where they are too few, or more than it takes."""
    if len(data) < 4:
        return False
    last = np.uint32(0)
    for k in range(4):
        last = np.uint32((last << np.uint32(8)) | np.uint32(data[k]))
    at, held, have = 4, np.uint64(0), 0
    for start in range(0, len(out), block):
        at, held, have = _more(data, at, held, have)
        low = np.int64(held >> np.uint64(64 - _LENGTH_BITS)) - 1
        held <<= np.uint64(_LENGTH_BITS)
        have -= _LENGTH_BITS
        if have < 0 or low > _WHOLE:
            return False
        bits = low if low < _WHOLE else _WHOLE_BITS
        for x in range(start, min(start + block, len(out))):
            if low < 0:
                out[x] = np.int32(last)
                continue
            high = 0
            if have <= 32:
                at, held, have = _more(data, at, held, have)
            if low < _WHOLE:
                foremost = zeros[held >> np.uint64(56)]
                while foremost == 8:
                    if have > 8:
                        high += 8
                        held <<= np.uint64(8)
                        have -= 8
                    else:
                        # zeros behind the bits that are held say nothing
                        before = have
                        at, held, have = _more(data, at, held, have)
                        if have == before:
                            return False
                    foremost = zeros[held >> np.uint64(56)]
                high += foremost
                held <<= np.uint64(foremost + 1)
                have -= foremost + 1
                if have < bits:
                    at, held, have = _more(data, at, held, have)
            have -= bits
            if have < 0:
                return False
            value = np.uint32(high << bits)
            if bits:
                value |= np.uint32(held >> np.uint64(64 - bits))
                held <<= np.uint64(bits)
            # even: a step up; odd: a step down
            step = value >> np.uint32(1)
            last = np.uint32(last + (~step if value & np.uint32(1) else step))
            out[x] = np.int32(last)
    # what is left are the bits that fill the last byte
    return at == len(data) and have < 8


@njit(**_EXACT)
def decode_rows(heap, lengths, offsets, block, scale, zero, blank, has_blank, out):
    """Rows of an image, decoded and scaled; False where some row is not what it should be.

    Parameters
    ----------
    heap
        (B,) uint8, all compressed rows.
    lengths, offsets
        (ny,) int64: bytes of each row in it; within it.
    block
        Numbers in a block.
    scale, zero
        (ny,) float64: a pixel is ``number * scale + zero``, in double precision.
    blank, has_blank
        The number that stands for a missing pixel, if there is one.
    out
        (ny, nx) float32, written to; missing pixels become NaN.
    """
    ny, nx = out.shape
    numbers = np.empty(nx, np.int32)
    for y in range(ny):
        if not _row(heap[offsets[y] : offsets[y] + lengths[y]], block, _ZEROS, numbers):
            return False
        for x in range(nx):
            if has_blank and numbers[x] == blank:
                out[y, x] = np.float32(np.nan)
            else:
                out[y, x] = np.float32(numbers[x] * scale[y] + zero[y])
    return True
