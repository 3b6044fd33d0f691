"""The checksums inside a FITS file, against the bytes as they lie in it.

astropy mends cards such as JSOC's USFLUX while it reads, and then finds the mended header at odds with its checksum; so
sums are taken here over what was there before anything was mended.
"""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from . import header as hd

if TYPE_CHECKING:
    from astropy.io import fits
else:
    # a plain file is read without astropy
    fits = deferred("astropy.io.fits")

__all__ = ["data_fault", "ones_sum", "sums_fault"]


def ones_sum(data: bytes) -> int:
    """32-bit ones' complement sum of FITS blocks (FITS standard 4.0, appendix J)."""
    total = int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _faults(content: bytes) -> tuple[bool, bool]:
    """Whether some DATASUM, and some CHECKSUM, is not that of its bytes."""
    data_wrong = all_wrong = False
    with warnings.catch_warnings(), fits.open(io.BytesIO(content), disable_image_compression=True) as units:
        warnings.simplefilter("ignore")
        for unit in units:
            at = unit.fileinfo()
            header = content[at["hdrLoc"] : at["datLoc"]]
            data = content[at["datLoc"] : at["datLoc"] + at["datSpan"]]
            datasum = hd.whole(unit.header.get("DATASUM"))
            data_wrong |= datasum is not None and ones_sum(data) != datasum
            all_wrong |= "CHECKSUM" in unit.header and ones_sum(header + data) != 0xFFFFFFFF
    return data_wrong, all_wrong


def sums_fault(path: Path) -> str | None:
    """What the checksums of header and data say against a file; None where they agree or there are none."""
    try:
        if any(_faults(path.read_bytes())):
            return "does not agree with the checksum inside it: bytes have changed on the way"
    except Exception as error:  # astropy raises many kinds for one damaged file
        return f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]})"
    return None


def data_fault(path: Path) -> str | None:
    """What DATASUM says against the image of a file; None where it agrees, or there is none.

    A header may have been edited since, and its own sum is left alone: keywords never stop a good image.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if b"DATASUM =" in content and _faults(content)[0]:
            return "does not agree with the DATASUM inside it: bytes have changed; download it again"
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
        return None  # astropy has read the image from it, so this says nothing against the image
    return None
