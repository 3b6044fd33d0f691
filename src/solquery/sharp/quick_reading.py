"""Images and keywords of FITS files that are as the standard has them.

astropy reads any file, mends what it can, and takes its time for it. A file whose every card is plain and whose data
agree with their sum needs none of that: its header is a few lines of text, and its image is decompressed here where it
is stored as JSOC's are (`rice`), else by `fitsio` where that is installed. Whatever is unusual is left to astropy, and
so is every complaint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..aliases import Array, Header, Keywords
from . import header as hd
from .checksums import ones_sum
from .rice import scaled_image

__all__ = ["Unit", "quick_units"]

_BLOCK, _CARD = 2880, 80
#: JSOC writes exponents in lower case, and nan where it knows no number
_VALUE = re.compile(
    r"([A-Z0-9_-]+) *= (?: *(?:'((?:[^']|'')*)'|([TF])|([+-]?\d+)"
    r"|([+-]?(?:\d+\.\d*|\.\d+|\d+(?=[EDed]))(?:[EDed][+-]?\d+)?)|([+-]?nan)|)) *(?:/.*)?"
)
_SILENT = re.compile(r"(?:COMMENT|HISTORY|        )|[A-Z0-9_-]+ *(?:/.*)?$")
#: cards of the table that a compressed image is stored as
_OF_TABLE = re.compile(
    r"(TFIELDS|THEAP|(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TBCOL|TDIM|TCTYP|TCUNI|TCRPX|TCRVL|TCDLT|TRPOS)[1-9]\d*)$"
)
_OF_COMPRESSION = re.compile(
    r"(ZSIMPLE|ZTENSION|ZBITPIX|ZEXTEND|ZBLOCKED|ZPCOUNT|ZGCOUNT|ZHECKSUM|ZDATASUM|ZIMAGE|ZCMPTYPE|ZMASKCMP|ZQUANTIZ"
    r"|ZDITHER0|ZBLANK|ZSCALE|ZZERO|(ZNAXIS|ZTILE|ZNAME|ZVAL)\d*|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|CHECKSUM|DATASUM)$"
)


class Unit(NamedTuple):
    """A header-data unit: the shape of its image, () without one; the image; its keywords; how it is scaled."""

    shape: tuple[int, ...]
    array: np.ndarray | None
    keywords: Header
    scaling: Header


class _Unusual(Exception):
    """A file that is not plain."""


@cache
def _fitsio() -> Any:
    """The module, or None where it is missing."""
    try:
        import fitsio
    except ImportError:
        return None
    return fitsio


def quick_units(path: Path) -> list[Unit] | None:
    """The units of a plain file; None where astropy has to read it, as all with ``SOLQUERY_FITSIO=0``."""
    if os.environ.get("SOLQUERY_FITSIO", "1") == "0":
        return None
    try:
        content = path.read_bytes()
        with ExitStack() as stack:

            @cache
            def opened() -> Any:
                if _fitsio() is None:
                    raise _Unusual
                return stack.enter_context(_fitsio().FITS(str(path)))

            def read(k: int) -> Any:
                return opened()[k].read()

            headers = list(_headers(content))
            return [
                _unit(cards, scaled_image(content, start, cards), partial(read, k))
                for k, (cards, start) in enumerate(headers)
            ]
    except (_Unusual, OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError):
        return None


def _headers(content: bytes) -> Iterator[tuple[Header, int]]:
    """Cards of each unit, whose data are there and agree with DATASUM, and where these begin."""
    at = 0
    if not content.startswith(b"SIMPLE  = "):
        raise _Unusual
    while at < len(content):
        cards, start = _cards(content, at)
        size = abs(_whole(cards, "BITPIX")) // 8 * cards.get("GCOUNT", 1)
        lengths = [_whole(cards, f"NAXIS{k}") for k in range(1, _whole(cards, "NAXIS") + 1)]
        size *= cards.get("PCOUNT", 0) + int(np.prod(lengths)) if lengths else 0
        at = start + -(-size // _BLOCK) * _BLOCK
        if at > len(content):
            raise _Unusual
        said = hd.whole(cards.get("DATASUM"))
        # astropy notices where a compressed image ends too soon; CFITSIO does not
        if ones_sum(content[start:at]) != said if said is not None else "ZIMAGE" in cards:
            raise _Unusual
        yield cards, start


def _whole(cards: Keywords, key: str) -> int:
    value = cards[key]
    if not isinstance(value, int) or (value < 0 and key != "BITPIX"):
        raise _Unusual
    return value


def _cards(content: bytes, at: int) -> tuple[Header, int]:
    """Keywords and values of the header that begins at a place, the first where one comes twice, and where it ends."""
    found: Header = {}
    while True:
        block = content[at : at + _BLOCK].decode("ascii")
        if len(block) < _BLOCK or not block.isprintable():
            raise _Unusual
        at += _BLOCK
        for start in range(0, _BLOCK, _CARD):
            card = block[start : start + _CARD]
            if card.rstrip() == "END":
                return found, at
            told = _told_by(card)
            if told is not None:
                found.setdefault(*told)


@lru_cache(maxsize=8192)
def _told_by(card: str) -> tuple[str, str | float | None] | None:
    """Keyword and value of a card, None where it holds neither; frames of a series share most of their cards."""
    plain = _VALUE.fullmatch(card)
    if plain:
        return plain[1], _value(plain)
    if not _SILENT.match(card) or card.startswith(("CONTINUE", "HIERARCH")):
        raise _Unusual
    return None


def _value(card: re.Match[str]) -> str | float | None:
    """The value of a card; None where it has none, or is said to be no number."""
    _, text, truth, number, real, _ = card.groups()
    if text is not None:
        if text.endswith("&"):
            raise _Unusual  # a text that goes on in the next card
        return text.replace("''", "'").rstrip()
    if truth is not None:
        return truth == "T"
    return int(number) if number is not None else float(real.upper().replace("D", "E")) if real is not None else None


def _unit(cards: Header, array: Array | None, read: Callable[[], Any]) -> Unit:
    """One unit of a file, of the array that it holds, or which else is to be read."""
    compressed = cards.get("ZIMAGE") is True
    if compressed:
        cards = _of_image(cards)
    elif cards.get("XTENSION", "IMAGE").strip() != "IMAGE":
        return Unit((), None, _told(cards), {})
    shape = tuple(_whole(cards, f"NAXIS{k}") for k in range(_whole(cards, "NAXIS"), 0, -1))
    scaling: Header = {key: cards.get(key) for key in ("BSCALE", "BZERO", "BITPIX")} if shape else {}
    if not shape or 0 in shape:
        return Unit(shape, None, _told(cards), scaling)
    blank = cards.get("BLANK")
    decoded = array is not None
    array = np.asarray(read()) if array is None else array
    if scaling["BITPIX"] > 0 and not decoded:
        scale, zero = float(cards.get("BSCALE") or 1.0), float(cards.get("BZERO") or 0.0)
        if zero and scale == 1.0:
            raise _Unusual  # unsigned numbers
        if blank is not None:
            kind = np.float32 if scaling["BITPIX"] <= 16 else np.float64
            array = np.where(array == kind(blank * scale + zero), kind(np.nan), array.astype(kind))
    # what the array was stored with is no longer true of it, as astropy has it
    rest = {key: value for key, value in cards.items() if key not in ("BSCALE", "BZERO", "BLANK")}
    if array.shape != shape:
        raise _Unusual
    return Unit(shape, array, _told(rest), scaling)


def _of_image(cards: Header) -> Header:
    """Cards of a compressed image, from those of the table that it is stored as."""
    if "ZBLANK" in [cards.get(f"TTYPE{k}") for k in range(1, _whole(cards, "TFIELDS") + 1)]:
        raise _Unusual
    if cards.get("ZTENSION", "IMAGE").strip() != "IMAGE":
        raise _Unusual
    rest = {key: value for key, value in cards.items() if _of_image_itself(key)}
    primary = cards.get("ZSIMPLE") is True
    if not primary:
        rest |= {"XTENSION": "IMAGE", "PCOUNT": cards.get("ZPCOUNT", 0), "GCOUNT": cards.get("ZGCOUNT", 1)}
    rest |= {"BITPIX": _whole({"BITPIX": cards["ZBITPIX"]}, "BITPIX"), "NAXIS": _whole(cards, "ZNAXIS")}
    rest |= {f"NAXIS{k}": cards[f"ZNAXIS{k}"] for k in range(1, rest["NAXIS"] + 1)}
    if rest["BITPIX"] > 0 and "ZBLANK" in cards:
        rest.setdefault("BLANK", cards["ZBLANK"])
    if rest.get("EXTNAME") == "COMPRESSED_IMAGE":
        del rest["EXTNAME"]
    return rest


@lru_cache(maxsize=4096)
def _of_image_itself(key: str) -> bool:
    """Whether a card of the table of a compressed image is one of the image."""
    return not (_OF_TABLE.match(key) or _OF_COMPRESSION.match(key))


def _told(cards: Keywords) -> Header:
    return {key: value for key, value in cards.items() if hd.is_told(key, value)}
