"""FITS files as they nearly always are, read in a fifth of the time that a library for every FITS file takes.

Understood is one image: in the first unit as float32, or in the second as rows of 32-bit numbers compressed with
RICE_1, as JSOC writes SHARPs; with cards that say what they say without doubt, and not a byte too few or too many. Of
anything else, and of anything that is damaged, nothing is said here (None), and astropy has to look at it. What is said
is what astropy says of the same file, to the bit; the tests hold the two beside each other.
"""

from __future__ import annotations

import math
import os
import re
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from . import header as hd

__all__ = ["PlainFile", "Unit", "read_plain", "units_of"]

_BLOCK, _CARD = 2880, 80
_KEY = re.compile(r"[A-Z0-9_-]+ *")
_VALUE = re.compile(
    r" *(?:'(?P<text>[^']*)'(?=$|/| )|(?P<truth>[TF])|(?P<whole>[+-]?\d+)|(?P<missing>[+-]?(?:nan|inf))"
    r"|(?P<real>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?))? *(?:/.*)?"
)
#: text that astropy takes for a number with a name of its own
_RECORD_VALUED = re.compile(r"[A-Za-z_][\w.]*: +[+-]?[.\d]")
_COMMENTARY = ("", "COMMENT", "HISTORY")
#: cards that belong to the table around a compressed image, which astropy leaves out of the image's header
_OF_THE_TABLE = re.compile(
    r"(T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|BCOL|DIM|CTYP|CUNI|CRPX|CRVL|CDLT|RPOS)[1-9]\d*|TFIELDS|THEAP"
    r"|Z(NAXIS|TILE|NAME|VAL)\d*|Z(SIMPLE|TENSION|BITPIX|EXTEND|BLOCKED|PCOUNT|GCOUNT|HECKSUM|DATASUM)"
    r"|Z(IMAGE|CMPTYPE|MASKCMP|QUANTIZ|DITHER0|BLANK|SCALE|ZERO))$"
)
_COLUMNS = {"1PB": (">i4", (2,)), "1D": (">f8", ()), "1E": (">f4", ())}
_NO_DITHER = (None, "NO_DITHER")
_SCALED = {"BSCALE", "BZERO", "BLANK"}


class Unit(NamedTuple):
    """A header with its data: places in the file, and what the cards say."""

    start: int
    data: int
    end: int
    cards: dict[str, Any]


class PlainFile(NamedTuple):
    """The image (ny, nx) float32, its keywords, and the units of the file."""

    image: np.ndarray
    keywords: dict[str, Any]
    units: list[Unit]


@cache
def _rice() -> ModuleType | None:
    """The compiled decoder, or None where numba is missing or switched off (``SOLQUERY_NUMBA=0``)."""
    if os.environ.get("SOLQUERY_NUMBA", "1") == "0":
        return None
    try:
        from . import rice
    except ImportError:
        return None
    return rice


# ------------------------------------------------------------------- headers


def _cards(text: str) -> dict[str, Any] | None:
    """Values by keyword of a header's text; None where some card is not beyond doubt, or a keyword comes twice."""
    found: dict[str, Any] = {}
    lines = [text[k : k + _CARD] for k in range(0, len(text), _CARD)]
    k = 0
    while k < len(lines):
        line = lines[k]
        k += 1
        key = line[:8].rstrip()
        if key in _COMMENTARY:
            continue
        value = _VALUE.fullmatch(line, 10)
        if line[8:10] != "= " or value is None or not _KEY.fullmatch(line, 0, 8) or key in ("CONTINUE", "HIERARCH"):
            return None
        if key in found:
            return None
        words = value["text"]
        if words is not None:
            words = words.rstrip()
            while words.endswith("&") and k < len(lines) and lines[k].startswith("CONTINUE  "):
                more = _VALUE.fullmatch(lines[k], 10)
                if more is None or more["text"] is None:
                    return None
                words = words[:-1] + more["text"].rstrip()
                k += 1
            if words.endswith("&") or _RECORD_VALUED.match(words):
                return None
            found[key] = words
        elif value["truth"]:
            found[key] = value["truth"] == "T"
        elif value["whole"]:
            found[key] = int(value["whole"])
        elif value["real"]:
            found[key] = float(value["real"].upper().replace("D", "E"))
        else:
            found[key] = None
    return found


def _size(cards: dict[str, Any]) -> int | None:
    """Bytes of data behind a header, padded; None where it does not say."""
    axes: list[Any] = [cards.get(f"NAXIS{k + 1}") for k in range(_whole(cards, "NAXIS", 0, 2))]
    counts = [abs(cards.get("BITPIX") or 0) // 8, cards.get("GCOUNT", 1), cards.get("PCOUNT", 0)]
    if any(type(n) is not int or n < 0 for n in (*axes, *counts)) or "GROUPS" in cards:
        return None
    size = counts[0] * counts[1] * (counts[2] + math.prod(axes)) if axes else 0
    return -(-size // _BLOCK) * _BLOCK


def _whole(cards: dict[str, Any], key: str, low: int, high: int) -> int:
    """A whole number of a header; below `low` where it is none in the range."""
    value = cards.get(key)
    return value if type(value) is int and low <= value <= high else low - 1


def units_of(content: bytes) -> list[Unit] | None:
    """The one or two units of a plain file; None for any other."""
    out: list[Unit] = []
    at = 0
    while at < len(content):
        begins = b"SIMPLE  =" if not out else b"XTENSION="
        end = content.find(b"END" + b" " * (_CARD - 3), at)
        while end >= 0 and (end - at) % _CARD:
            end = content.find(b"END" + b" " * (_CARD - 3), end + 1)
        data = at - (at - end - _CARD) // _BLOCK * _BLOCK
        if end < 0 or len(out) == 2 or not content.startswith(begins, at) or content[end + 3 : data].strip(b" "):
            return None
        try:
            text = content[at:end].decode("ascii")
        except UnicodeDecodeError:
            return None
        cards = _cards(text) if text.isprintable() else None
        size = None if cards is None or _whole(cards, "NAXIS", 0, 2) < 0 else _size(cards)
        if cards is None or size is None or data + size > len(content):
            return None
        out.append(Unit(at, data, data + size, cards))
        at = data + size
    return out or None


# -------------------------------------------------------------------- images


def read_plain(content: bytes) -> PlainFile | None:
    """The image of a file and its keywords as `header.readable` gives them; None for a file that is not plain."""
    units = units_of(content)
    if units is None:
        return None
    cards = units[-1].cards
    if len(units) == 1:
        image = _floats(content, units[0])
    else:
        image = None if units[0].cards.get("NAXIS") != 0 else _compressed(content, units[1])
        cards = {key: value for key, value in cards.items() if not _OF_THE_TABLE.match(key)}
    if image is None:
        return None
    return PlainFile(image, {k: v for k, v in cards.items() if hd.says_something(v)}, units)


def _floats(content: bytes, unit: Unit) -> np.ndarray | None:
    """An image that lies in the file as it is."""
    cards = unit.cards
    if (cards.get("SIMPLE"), cards.get("BITPIX"), cards.get("NAXIS")) != (True, -32, 2) or cards.get("PCOUNT", 0):
        return None
    if cards.keys() & {"BSCALE", "BZERO", "BLANK", "GCOUNT"}:
        return None
    shape = cards["NAXIS2"], cards["NAXIS1"]
    if not math.prod(shape):
        return None
    return np.frombuffer(content, ">f4", math.prod(shape), unit.data).reshape(shape).astype(np.float32)


def _compressed(content: bytes, unit: Unit) -> np.ndarray | None:
    """An image of which each row is one string of bytes behind a table."""
    cards, rice = unit.cards, _rice()
    ny, nx = cards.get("ZNAXIS2"), cards.get("ZNAXIS1")
    wanted = {
        "XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS2": ny, "GCOUNT": 1, "ZIMAGE": True, "ZNAXIS": 2,
        "ZTILE1": nx, "ZTILE2": 1, "ZCMPTYPE": "RICE_1",
    }  # fmt: skip
    if rice is None or any(type(cards.get(k)) is not type(v) or cards[k] != v for k, v in wanted.items()):
        return None
    if not (type(ny) is int and type(nx) is int and ny > 0 and nx > 0):
        return None
    settings = {str(cards.get(f"ZNAME{k}")): cards.get(f"ZVAL{k}") for k in range(1, 10) if f"ZNAME{k}" in cards}
    if settings.get("BYTEPIX") != 4 or settings.get("BLOCKSIZE") != 32 or cards.get("ZQUANTIZ") not in _NO_DITHER:
        return None
    table, heap_at = _table(content, unit), cards["NAXIS1"] * ny
    scaling = None if table is None else _scaling(cards, table)
    if table is None or scaling is None or cards.get("THEAP", heap_at) != heap_at:
        return None
    heap = np.frombuffer(content, np.uint8, cards["PCOUNT"], unit.data + heap_at)
    lengths, offsets = (table["COMPRESSED_DATA"][:, k].astype(np.int64) for k in (0, 1))
    if lengths.min() < 1 or offsets.min() < 0 or (lengths + offsets).max() > len(heap):
        return None
    image = np.empty((ny, nx), np.float32)
    scale, zero, blank = scaling
    if not rice.decode_rows(heap, lengths, offsets, 32, scale, zero, blank or 0, blank is not None, image):
        return None
    return image


def _table(content: bytes, unit: Unit) -> np.ndarray | None:
    """The table around a compressed image, a row for each row of the image."""
    cards, columns = unit.cards, []
    for k in range(1, _whole(cards, "TFIELDS", 1, 9) + 1):
        name, form = cards.get(f"TTYPE{k}"), re.sub(r"^(?=[PDE])|\(\d+\)$", "", str(cards.get(f"TFORM{k}")))
        kind = _COLUMNS.get(form if form[:1] == "1" else f"1{form}")
        if kind is None or f"TSCAL{k}" in cards or f"TZERO{k}" in cards or not isinstance(name, str):
            return None
        columns.append((name, *kind))
    names = [column[0] for column in columns]
    known = {"COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "ZSCALE", "ZZERO"}
    if "COMPRESSED_DATA" not in names or not known.issuperset(names) or len(set(names)) < len(names):
        return None
    row = np.dtype(columns)
    return np.frombuffer(content, row, cards["NAXIS2"], unit.data) if row.itemsize == cards["NAXIS1"] else None


def _scaling(cards: dict[str, Any], table: np.ndarray) -> tuple[np.ndarray, np.ndarray, int | None] | None:
    """Scale and zero of each row, and the number of a missing pixel, if there is one."""
    ny, names = len(table), table.dtype.names or ()
    if cards.get("ZBITPIX") == 32 and not {"ZSCALE", "ZZERO"} & {*names, *cards}:
        scale = np.full(ny, cards.get("BSCALE", 1.0), np.float64)
        zero = np.full(ny, cards.get("BZERO", 0.0), np.float64)
        blank = cards.get("BLANK", cards.get("ZBLANK"))
    elif cards.get("ZBITPIX") == -32 and {"ZSCALE", "ZZERO"} <= set(names) and not cards.keys() & _SCALED:
        scale, zero = table["ZSCALE"].astype(np.float64), table["ZZERO"].astype(np.float64)
        blank = cards.get("ZBLANK")
    else:
        return None
    if not (np.isfinite(zero).all() and np.isfinite(scale).all() and (scale > 0).all()):
        return None
    return (scale, zero, blank) if blank is None or (type(blank) is int and abs(blank) <= 2**31) else None
