"""Images that are stored as JSOC stores them: whole numbers of four bytes with a scale, a row a tile, Rice coded.

Rice coding as of the FITS standard 4.0 (10.4.1) and White & Greenfield (1999): a block of `BLOCKSIZE` pixels has
differences from pixel to pixel, folded to positive numbers, of which the low bits are written as they are and the rest
in unary. Other kinds of compressed images are left to a library.
"""

from __future__ import annotations

import numpy as np

from ..aliases import Array, Document, Keywords

__all__ = ["scaled_image"]


def scaled_image(content: bytes, start: int, cards: Keywords) -> Array | None:
    """(ny, nx) float64 of a compressed image, scaled, NaN where it is BLANK.

    Parameters
    ----------
    content, start
        The bytes of a file, and where the table of the image begins.
    cards
        Keywords of that table.

    Returns
    -------
    None for an image that is stored otherwise, or whose code breaks off.
    """
    if not _as_jsoc(cards):
        return None
    scale, zero, blank = cards.get("BSCALE", 1.0), cards.get("BZERO", 0.0), cards.get("BLANK", cards.get("ZBLANK"))
    if not all(isinstance(n, int | float) for n in (scale, zero)) or not isinstance(blank, int | None):
        return None
    if blank is None and scale == 1:
        return None  # whole numbers, which stay such
    from .rice_kernel import decode  # numba is loaded for a file that needs it

    rows, width, columns = cards["NAXIS2"], cards["NAXIS1"], cards["ZNAXIS1"]
    heap = start + cards.get("THEAP", rows * width)
    end = start + rows * width + cards["PCOUNT"]
    places = np.frombuffer(content, ">i4", rows * 2, start).reshape(rows, 2).astype(np.int64)
    if (places < 0).any() or heap + int((places[:, 0] + places[:, 1]).max(initial=0)) > end or end > len(content):
        return None
    out = np.empty((rows, columns))
    bytes_ = np.frombuffer(content, np.uint8)
    lost = np.iinfo(np.int64).min if blank is None else blank
    whole = decode(bytes_, heap + places[:, 1], places[:, 0], _block(cards), float(scale), float(zero), lost, out)
    return out if whole else None


def _named(cards: Keywords) -> Document:
    """Settings of the compression by their names."""
    return {cards[f"ZNAME{k}"]: cards.get(f"ZVAL{k}") for k in range(1, 10) if f"ZNAME{k}" in cards}


def _block(cards: Keywords) -> int:
    return int(_named(cards).get("BLOCKSIZE", 32))


def _as_jsoc(cards: Keywords) -> bool:
    """Whether a table holds one column of rows of an image, of four-byte whole numbers in Rice code."""
    expected = {
        "ZCMPTYPE": "RICE_1", "ZBITPIX": 32, "ZNAXIS": 2, "TFIELDS": 1, "TTYPE1": "COMPRESSED_DATA", "NAXIS1": 8,
        "BITPIX": 8, "GCOUNT": 1, "ZTILE1": cards.get("ZNAXIS1"), "ZTILE2": 1, "ZNAXIS2": cards.get("NAXIS2"),
    }  # fmt: skip
    named = {"BYTEPIX": 4, "BLOCKSIZE": 32} | _named(cards)
    sizes = [cards.get(key) for key in ("ZNAXIS1", "ZNAXIS2", "PCOUNT")]
    return (
        all(cards.get(key, 1 if key in ("ZTILE2", "GCOUNT") else None) == value for key, value in expected.items())
        and all(isinstance(n, int) and n > 0 for n in sizes)
        and str(cards.get("TFORM1", "")).startswith(("1PB", "PB"))
        and set(named) == {"BYTEPIX", "BLOCKSIZE"}
        and named["BYTEPIX"] == 4
        and isinstance(named["BLOCKSIZE"], int)
        and named["BLOCKSIZE"] > 0
    )
