"""Observations that a user drops on the page, read so that no file can harm the server.

Three fences. A compressed file is unpacked up to a limit. What each header declares is added up before anything is
read: an image of ten terabytes is refused by its header. Then another process, with little memory and time, decodes
the image and hands back its pixels; whatever a damaged or hostile file does to a decoder, it does there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import zlib
from collections import OrderedDict
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from ..aliases import Document
from ..patch import Patch
from ..serialise import plain
from ..sharp.fits import UnreadableFits

__all__ = ["Uploads", "check_declared", "read_upload"]

_UNPACKED_LIMIT = 128 * 2**20
_PIXEL_LIMIT = 2**24
_HEADER_LIMIT = 512 * 36
_UNITS_LIMIT = 64
_SECONDS = 60
#: uploads that are remembered, the newest; a field is at most 64 MB, usually under one
_KEPT = 16


def _unpacked(data: bytes) -> bytes:
    """The file itself, of one that may be gzipped."""
    if data[:2] != b"\x1f\x8b":
        return data
    stream = zlib.decompressobj(wbits=31)
    try:
        out = stream.decompress(data, _UNPACKED_LIMIT + 1)
    except zlib.error:
        raise UnreadableFits("cannot be unpacked; download it again") from None
    if len(out) > _UNPACKED_LIMIT:
        raise UnreadableFits(f"is larger than {_UNPACKED_LIMIT // 2**20} MB unpacked; use `solquery ingest` for it")
    if not stream.eof:
        raise UnreadableFits("is cut short; download it again")
    return out


def _cards(data: bytes, start: int) -> tuple[dict[str, int], int]:
    """Whole-numbered keywords of the header at `start`, and where the header ends."""
    found: dict[str, int] = {}
    for k in range(_HEADER_LIMIT):
        card = data[start + 80 * k : start + 80 * (k + 1)]
        if len(card) < 80:
            raise UnreadableFits("is cut short; download it again")
        if card[:8].rstrip() == b"END":
            return found, start + -(-(80 * (k + 1)) // 2880) * 2880
        match = re.match(rb"(\w+) *= *([+-]?\d{1,18})(?=[ /])", card + b" ")
        if match:
            found[match[1].decode()] = int(match[2])
        elif re.match(rb"(Z?NAXIS\d*|BITPIX|[PG]COUNT|ZTILE\d+) *= *[+-]?\d{19}", card):
            raise UnreadableFits("declares more pixels than any file can hold")
    raise UnreadableFits("has a header without an end")


def _product(found: dict[str, int], axes: str, count: int) -> int:
    size = 1
    for k in range(1, count + 1):
        length = found.get(f"{axes}{k}", 1)
        if length < 0:
            raise UnreadableFits("declares an axis of negative length")
        size *= length
    return size


def check_declared(data: bytes) -> None:
    """Refuse a FITS file whose headers declare more than is there, or than should be read into memory.

    Raises
    ------
    UnreadableFits
        With the reason.
    """
    if data[:9] != b"SIMPLE  =":
        raise UnreadableFits("is not a FITS file; take the Br or magnetogram segment of a SHARP, for example")
    start = 0
    for _ in range(_UNITS_LIMIT):
        found, start = _cards(data, start)
        for axes, count in (("NAXIS", found.get("NAXIS", 0)), ("ZNAXIS", found.get("ZNAXIS", 0)), ("ZTILE", 9)):
            if not 0 <= count <= 999:
                raise UnreadableFits("declares an impossible number of axes")
            compressed = "ZNAXIS" in found
            pixels = _product(found, axes, count)
            if pixels > (_PIXEL_LIMIT if axes != "NAXIS" or not compressed else _UNPACKED_LIMIT):
                raise UnreadableFits(
                    f"declares {pixels:.3g} pixels, this page reads up to {_PIXEL_LIMIT:.3g}; "
                    "use `solquery ingest` for a larger image"
                )
        sides = found.get("NAXIS", 0)
        size = abs(found.get("BITPIX", 8)) // 8 * _product(found, "NAXIS", sides) if sides else 0
        size = found.get("GCOUNT", 1) * (size + max(found.get("PCOUNT", 0), 0) * abs(found.get("BITPIX", 8)) // 8)
        if size < 0 or start + size > len(data):
            raise UnreadableFits("is cut short; download it again")
        start += -(-size // 2880) * 2880
        if start >= len(data) or not data[start : start + 80].strip(b"\0 "):
            return
    raise UnreadableFits(f"holds more than {_UNITS_LIMIT} parts")


def _shown(name: str) -> str:
    """The name a browser gave, as harmless text of at most 80 characters; it never becomes a path."""
    text = re.sub(r"[^\w.+ ()-]", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    return text[-80:] or "upload.fits"


def read_upload(data: bytes, name: str = "") -> Patch:
    """The patch in the bytes of a FITS file.

    Parameters
    ----------
    data
        FITS, plain or gzipped.
    name
        As the user calls the file; SHARP names tell HARP number, time and segment.

    Raises
    ------
    UnreadableFits
        Naming the file and the reason.
    """
    shown = _shown(name)
    try:
        if not data:
            raise UnreadableFits("is empty; download it again")
        data = _unpacked(data)
        check_declared(data)
        return _decoded(data, shown)
    except UnreadableFits as error:
        raise UnreadableFits(f"{shown}: {error}") from None


def _decoded(data: bytes, shown: str) -> Patch:
    with tempfile.TemporaryDirectory(prefix="solquery-") as folder:
        # a name without folders, which tells the reader HARP number and time; the folder is ours
        name = shown.removesuffix(".gz")
        place = Path(folder) / (name if name.lower().endswith(".fits") else "upload.fits")
        place.write_bytes(data)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "solquery.app.fits_child", str(place)],
                capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UnreadableFits("takes too long to decode; download it again") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").replace(str(place), shown)
        raise UnreadableFits(_failed(done.returncode, said))
    head, _, body = done.stdout.partition(b"\n")
    document = json.loads(head)
    if "error" in document:
        raise UnreadableFits(str(document["error"]).replace(f"{place}: ", "").replace(str(place), shown))
    known = {f.name for f in fields(Patch)}
    values = {key: value for key, value in document.items() if key in known}
    for key in ("latitude_deg", "longitude_deg", "carrington_deg", "b0_deg", "mu"):
        values[key] = float("nan") if values[key] is None else values[key]
    values["scale_mm"] = None if values["scale_mm"] is None else tuple(values["scale_mm"])
    values["noaa"] = tuple(values["noaa"])
    field = np.load(io.BytesIO(body), allow_pickle=False)
    return replace(Patch(field, **{k: v for k, v in values.items() if k != "field"}), file=shown)


def _failed(code: int, said: str) -> str:
    """Why the process that decodes has ended without an answer: its limits, or a fault that is not the file's."""
    last = (said.strip().splitlines() or [""])[-1][:200]
    if code < 0 or "MemoryError" in last or "allocate" in last:
        return "cannot be decoded within the memory and time allowed; download it again"
    why = last or f"exit code {code}"
    return f"cannot be decoded ({why}); read it with `solquery params` to see whether it is the file"


class Uploads:
    """The newest uploads, by an id made from their content; kept in memory, never on disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patches: OrderedDict[str, Patch] = OrderedDict()

    def keep(self, patch: Patch) -> str:
        """Remember a patch; its id."""
        digest = hashlib.sha256(np.ascontiguousarray(patch.field).tobytes() + patch.id.encode()).hexdigest()
        name = f"upload-{digest[:16]}"
        with self._lock:
            self._patches[name] = patch
            self._patches.move_to_end(name)
            while len(self._patches) > _KEPT:
                self._patches.popitem(last=False)
        return name

    def get(self, name: str) -> Patch | None:
        """The patch of that id, or None when it was never here or has been forgotten."""
        with self._lock:
            return self._patches.get(name)

    def __len__(self) -> int:
        return len(self._patches)


def document_of(patch: Patch) -> Document:
    """Everything of a patch but its field, as JSON can hold it."""
    return {f.name: plain(getattr(patch, f.name)) for f in fields(Patch) if f.name != "field"}
