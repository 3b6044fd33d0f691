"""Prepared patches on disk: one float16 array per preset, that follows the archive's content.

A file's name carries the preset and the content it was made from, so a stale one is never read. When the archive has
changed, rows whose field has not are copied from the file before, and only the others are resampled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from ..config import Preset
from ..patch import Patch
from .prepare import prepare

__all__ = ["content_key", "is_prepared_file", "prepare_rows", "prepared", "preset_key"]

#: to be raised when `prepare` gives other numbers than before
METHOD = 1


#: rows at a time that are held as Python objects; as such they take ten times the room
_LOT = 4096


def content_key(listing: pa.Table) -> str:
    """SHA-256 of an archive's ids and field checksums: columns ``id``, in order, and ``checksum``."""
    digest = hashlib.sha256()
    for part in listing.to_batches(max_chunksize=_LOT):
        for patch_id, mark in zip(part["id"].to_pylist(), part["checksum"].to_pylist(), strict=True):
            digest.update(f"{patch_id}\0{mark}\n".encode())
    return digest.hexdigest()


def preset_key(preset: Preset) -> str:
    """Name of a preset with a hash of all that bears on preparing; networks and their training do not."""
    relevant = {k: v for k, v in asdict(preset).items() if k not in ("generator", "encoder")}
    text = json.dumps([METHOD, relevant], sort_keys=True, default=str)
    return f"{preset.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def is_prepared_file(path: Path) -> bool:
    """Whether a file in the folder of prepared patches is one of them, and not what a killed writer left."""
    return re.fullmatch(r"[\w-]+-[0-9a-f]{10}-[0-9a-f]{16}\.(npy|arrow|json)", path.name) is not None


def prepare_rows(patches: Iterable[Patch], preset: Preset, n: int) -> np.ndarray:
    """`n` patches to (n, H, W) float16 in preset units."""
    out = np.empty((n, *preset.shape), np.float16)
    for k, patch in enumerate(patches):
        out[k] = prepare(patch, preset)
    return out


def prepared(
    folder: Path, preset: Preset, listing: pa.Table, read: Callable[[list[str]], Iterable[Patch]]
) -> np.ndarray:
    """The prepared patches of an archive, from `folder` or made now.

    Parameters
    ----------
    folder
        Where the files lie; made when needed.
    listing
        Columns ``id`` and ``checksum``, in the order of the rows wanted.
    read
        Gives the patches of some ids, in their order.

    Returns
    -------
    (N, H, W) float16, a read-only map of the file.
    """
    name = preset_key(preset)
    n = len(listing)
    path = folder / f"{name}-{content_key(listing)[:16]}.npy"
    if not n:
        return np.zeros((0, *preset.shape), np.float16)
    if path.exists():
        return np.load(path, mmap_mode="r")
    folder.mkdir(parents=True, exist_ok=True)
    old, before = _latest(folder, name)
    token = uuid.uuid4().hex
    partial = folder / f".{path.stem}.{token}.npy"
    part = partial.with_suffix(".arrow")
    try:
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(n, *preset.shape))
        place = np.full(n, -1) if before is None else _places(listing, before)
        for start in range(0, n, _LOT):
            rows = place[start : start + _LOT]
            known = np.flatnonzero(rows >= 0)
            if len(known):
                out[start + known] = old[rows[known]]
            fresh = start + np.flatnonzero(rows < 0)
            ids = listing["id"].take(pa.array(fresh)).to_pylist()
            for k, patch in zip(fresh, read(ids) if ids else (), strict=True):
                out[k] = prepare(patch, preset)
        out.flush()
        del out, old
        stale = [f for f in folder.glob(f"{name}-*") if f.stem != path.stem]
        feather.write_feather(listing.select(["id", "checksum"]), part)
        os.replace(part, path.with_suffix(".arrow"))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    for file in stale:
        file.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _places(listing: pa.Table, before: pa.Table) -> np.ndarray:
    """(N,) row of each (id, checksum) of `listing` in `before`; -1 where it is not there."""

    def joined(table: pa.Table) -> pa.ChunkedArray:
        return pc.binary_join_element_wise(table["id"], table["checksum"], "\0")

    found = pc.index_in(joined(listing), value_set=joined(before).combine_chunks())
    return pc.fill_null(found, -1).to_numpy()


def _latest(folder: Path, name: str) -> tuple[np.ndarray | None, pa.Table | None]:
    """The newest file of a preset and the listing of its rows."""
    files = sorted(folder.glob(f"{name}-*.npy"), key=lambda f: f.stat().st_mtime)
    for file in reversed(files):
        try:
            rows = feather.read_table(file.with_suffix(".arrow"))
            array = np.load(file, mmap_mode="r")
        except (OSError, ValueError):
            continue
        if len(array) == len(rows) and {"id", "checksum"} <= set(rows.column_names):
            return array, rows
    return None, None
