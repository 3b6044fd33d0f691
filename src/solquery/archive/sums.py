"""The checksums inside a FITS file, against the bytes as they lie in it.

astropy mends cards such as JSOC's USFLUX while it reads, and then finds the mended header at odds with its checksum; so
sums are taken here over what was there before anything was mended.
"""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from . import header as hd
from .plain import Unit, units_of

__all__ = ["data_fault", "sums_fault", "sums_of"]

_ALL_WRONG = "does not agree with the checksum inside it: bytes have changed on the way"
_DATA_WRONG = "does not agree with the DATASUM inside it: bytes have changed; download it again"


def _ones_sum(data: bytes) -> int:
    """32-bit ones' complement sum of FITS blocks (FITS standard 4.0, appendix J)."""
    total = int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _units(content: bytes) -> Iterator[Unit]:
    """The units of a file, by astropy where it is none of the plain ones."""
    plain = units_of(content)
    if plain is not None:
        yield from plain
        return
    with warnings.catch_warnings(), fits.open(io.BytesIO(content), disable_image_compression=True) as units:
        warnings.simplefilter("ignore")
        for unit in units:
            at = unit.fileinfo()
            cards = {key: unit.header[key] for key in ("DATASUM", "CHECKSUM") if key in unit.header}
            yield Unit(at["hdrLoc"], at["datLoc"], at["datLoc"] + at["datSpan"], cards)


def _faults(content: bytes, units: Sequence[Unit] | None = None) -> tuple[bool, bool]:
    """Whether some DATASUM, and some CHECKSUM, is not that of its bytes."""
    data_wrong = all_wrong = False
    for unit in _units(content) if units is None else units:
        datasum = hd.whole(unit.cards.get("DATASUM"))
        data_wrong |= datasum is not None and _ones_sum(content[unit.data : unit.end]) != datasum
        all_wrong |= "CHECKSUM" in unit.cards and _ones_sum(content[unit.start : unit.end]) != 0xFFFFFFFF
    return data_wrong, all_wrong


def sums_of(content: bytes, units: Sequence[Unit], header: bool) -> str | None:
    """What the checksums of a plain file's data, and of its `header` if it counts, say against its bytes."""
    data_wrong, all_wrong = _faults(content, units)
    if header:
        return _ALL_WRONG if data_wrong or all_wrong else None
    return _DATA_WRONG if data_wrong else None


def sums_fault(path: Path) -> str | None:
    """What the checksums of header and data say against a file; None where they agree or there are none."""
    try:
        if any(_faults(path.read_bytes())):
            return _ALL_WRONG
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
            return _DATA_WRONG
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
        return None  # astropy has read the image from it, so this says nothing against the image
    return None
