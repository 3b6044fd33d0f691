"""Compiled: rows of four-byte pixels from their Rice code. Imported by `rice` alone; needs numba."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["decode"]

#: of four-byte pixels: bits that tell how many low bits a block has, and the number that says that nothing is coded
_CHOICE_BITS, _PLAIN = 5, 25
#: zeros at the high end of a byte
_ZEROS = np.array([8 - n.bit_length() for n in range(256)])


@njit(cache=True, nogil=True, inline="always")
def _told(number: np.uint32, last: np.int32) -> np.int32:
    """The pixel after `last` whose folded difference is a number: even ones are positive; 32 bits wrap around."""
    half = np.uint32(number >> np.uint32(1))
    difference = half if number & np.uint32(1) == 0 else np.uint32(~half)
    return np.int32(np.uint32(last) + difference)


@njit(cache=True, nogil=True, inline="always")
def _more(content, at, end, bits, there):
    """Bits with at least 32 of them that are not used yet, or all that are left; how many, and the next byte."""
    if at + 4 <= end:
        four = np.uint64(content[at]) << np.uint64(24) | np.uint64(content[at + 1]) << np.uint64(16)
        four |= np.uint64(content[at + 2]) << np.uint64(8) | np.uint64(content[at + 3])
        return (bits << np.uint64(32)) | four, there + 32, at + 4
    while at < end:
        bits, there, at = (bits << np.uint64(8)) | np.uint64(content[at]), there + 8, at + 1
    return bits, there, at


@njit(cache=True, nogil=True)
def decode(content, starts, sizes, block, scale, zero, blank, out):
    """Rows of an image from their code into out (rows, columns); False where one breaks off.

    The last `there` bits of `bits` are not used yet; what stands above them has been.
    """
    rows, columns = out.shape
    one, byte = np.uint64(1), np.uint64(255)
    for row in range(rows):
        at, end = starts[row], starts[row] + sizes[row]
        bits, there, at = _more(content, at, end, np.uint64(0), 0)
        if there < 32:
            return False
        last, there = np.int32(np.uint32(bits)), there - 32
        column = 0
        while column < columns:
            if there < 32:
                bits, there, at = _more(content, at, end, bits, there)
            there -= _CHOICE_BITS
            if there < 0:
                return False
            low = np.int64((bits >> np.uint64(there)) & np.uint64(31)) - 1
            stop = min(column + block, columns)
            if low < 0:
                value = np.nan if last == blank else last * scale + zero
                for k in range(column, stop):
                    out[row, k] = value
                column = stop
                continue
            need, high = 32 if low == _PLAIN else low, 0
            for k in range(column, stop):
                if there < 32:
                    bits, there, at = _more(content, at, end, bits, there)
                if low != _PLAIN:
                    # the zeros before the next one
                    high = 0
                    while True:
                        if there < 8:
                            bits, there, at = _more(content, at, end, bits, there)
                        if there < 8:
                            zeros = 0
                            while there > zeros and (bits >> np.uint64(there - 1 - zeros)) & one == 0:
                                zeros += 1
                        else:
                            zeros = _ZEROS[(bits >> np.uint64(there - 8)) & byte]
                        high, there = high + zeros, there - zeros
                        if zeros < 8:
                            break
                    there -= 1
                    if there < 0:
                        return False
                    if there < need:
                        bits, there, at = _more(content, at, end, bits, there)
                there -= need
                if there < 0:
                    return False
                rest = (bits >> np.uint64(there)) & ((one << np.uint64(need)) - one)
                last = _told(np.uint32((np.uint64(high) << np.uint64(need)) | rest), last)
                out[row, k] = np.nan if last == blank else last * scale + zero
            column = stop
    return True
