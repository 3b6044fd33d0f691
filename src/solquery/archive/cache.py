"""Prepared patches on disk: one float16 array per preset, that follows the archive's content.

A file's name carries the preset and the content it was made from, so a stale one is never read. When the archive has
changed, rows whose field has not are copied from the file before, and only the others are resampled.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from ..config import Preset
from ..patch import Patch
from .places import whole
from .prepare import prepare, preset_key

__all__ = ["Make", "content_key", "is_prepared_file", "prepare_rows", "prepared", "prepared_few", "preset_key"]

#: prepares the patches of some ids, in their order
Make = Callable[[list[str]], Iterable[np.ndarray]]
#: ids that are asked for together, and prepared patches that are copied together
_AT_A_TIME, _COPIED = 4096, 64
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def content_key(keys: pa.Table) -> str:
    """SHA-256 of an archive's ids and field checksums: columns `id` and `checksum`, sorted by id."""
    digest = hashlib.sha256()
    for part in keys.to_batches(max_chunksize=_AT_A_TIME):
        pairs = zip(part["id"].to_pylist(), part["checksum"].to_pylist(), strict=True)
        digest.update("".join(f"{patch_id}\0{checksum}\n" for patch_id, checksum in pairs).encode())
    return digest.hexdigest()


def is_prepared_file(path: Path) -> bool:
    """Whether a file in the folder of prepared patches is one of them, and not what a killed writer left."""
    return re.fullmatch(r"[\w-]+-[0-9a-f]{10}-[0-9a-f]{16}\.(npy|json|arrow|npz)", path.name) is not None


def prepare_rows(patches: Iterable[Patch], preset: Preset, n: int) -> np.ndarray:
    """`n` patches to (n, H, W) float16 in preset units."""
    out = np.empty((n, *preset.shape), np.float16)
    for k, patch in enumerate(patches):
        out[k] = prepare(patch, preset)
    return out


def prepared(folder: Path, preset: Preset, keys: pa.Table, make: Make) -> np.ndarray:
    """The prepared patches of an archive, from `folder` or made now.

    Parameters
    ----------
    folder
        Where the files lie; made when needed.
    keys
        Columns `id` and `checksum` of the rows wanted, sorted by id.
    make
        Gives the prepared patches (H, W) of some ids, in their order.

    Returns
    -------
    (N, H, W) float16, a read-only map of the file.
    """
    name = preset_key(preset)
    path = folder / f"{name}-{content_key(keys)[:16]}.npy"
    if not len(keys):
        return np.zeros((0, *preset.shape), np.float16)
    if path.exists():
        return np.load(path, mmap_mode="r")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        return _elsewhere(path, preset, keys, make)
    old, before = _latest(folder, name, keys)
    token = uuid.uuid4().hex
    partial = folder / f".{path.stem}.{token}.npy"
    try:
        out = _room_for(partial, (len(keys), *preset.shape))
        kept, fresh = np.flatnonzero(before >= 0), np.flatnonzero(before < 0)
        for start in range(0, len(kept), _COPIED):
            assert old is not None  # rows are kept of a file that is there
            some = kept[start : start + _COPIED]
            out[some] = old[before[some]]
        for start in range(0, len(fresh), _AT_A_TIME):
            some = fresh[start : start + _AT_A_TIME]
            asked = keys["id"].take(pa.array(some)).to_pylist()
            for k, x in zip(some, make(asked), strict=True):
                out[k] = x
        out.flush()
        del out, old
        stale = [f for f in folder.glob(f"{name}-*") if f.stem != path.stem]
        listing = partial.with_suffix(".arrow")
        feather.write_feather(keys, str(listing), compression="uncompressed")
        os.replace(listing, path.with_suffix(".arrow"))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_suffix(".arrow").unlink(missing_ok=True)
    for file in stale:
        file.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def prepared_few(folder: Path, preset: Preset, keys: pa.Table, make: Make) -> np.ndarray:
    """(n, H, W) float16 of some rows, from the newest file where it has them, else prepared by themselves.

    No file is written, and of an archive of millions nothing is read but the ids of that file.

    Parameters
    ----------
    folder, preset, keys, make
        As for `prepared`; the rows may be any, in any order.
    """
    out, found = np.empty((len(keys), *preset.shape), np.float16), np.zeros(len(keys), bool)
    for file in _files(folder, preset_key(preset))[:1]:
        try:
            listed = feather.read_table(str(file.with_suffix(".arrow")))  # mapped, not read
            array = np.load(file, mmap_mode="r")
            here = np.asarray(pc.indices_nonzero(pc.is_in(listed["id"], value_set=keys["id"].combine_chunks())))
            # a few rows one by one: to take them would put the whole list together first
            known = _joined(pa.concat_tables([listed.slice(row, 1) for row in here.tolist()] or [listed.slice(0, 0)]))
        except (OSError, ValueError, KeyError, pa.ArrowException):
            continue
        if len(array) == len(listed):
            # the picture of another field under the same id is none
            at = pc.index_in(_joined(keys), value_set=known)
            found = np.asarray(at.is_valid())
            out[found] = array[here[np.asarray(at.drop_null())]]
    rest = np.flatnonzero(~found)
    for k, x in zip(rest, make(keys["id"].take(pa.array(rest)).to_pylist()), strict=True):
        out[k] = x
    return out


def _room_for(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A file of float16 that can be written to as an array, all of it there.

    Raises
    ------
    OSError
        When the disk has no room for it: a write to a map of a file that cannot grow would end the process.
    """
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(os.path.getsize(path), 1))
    return out


@lru_cache(maxsize=4)
def _unnamed(path: Path, shape: tuple[int, ...]) -> list[np.ndarray]:
    """A place for the one array that is made for `path`, which itself cannot be written."""
    return []


def _elsewhere(path: Path, preset: Preset, keys: pa.Table, make: Make) -> np.ndarray:
    """The prepared patches of an archive that cannot be written to: in a temporary file, for this process alone."""
    shape = (len(keys), *preset.shape)
    held = _unnamed(path, shape)
    if not held:
        with tempfile.TemporaryDirectory(prefix="solquery-") as folder:
            # the map keeps the file until nobody uses it any more
            out = _room_for(Path(folder, "prepared.npy"), shape)
            for start in range(0, len(keys), _AT_A_TIME):
                asked = keys["id"][start : start + _AT_A_TIME].to_pylist()
                for k, x in enumerate(make(asked), start=start):
                    out[k] = x
        out.flags.writeable = False
        held.append(out)
    return held[0]


def _files(folder: Path, name: str) -> list[Path]:
    """The files of prepared patches of a preset, newest first."""
    return sorted(folder.glob(f"{name}-*.npy"), key=lambda f: f.stat().st_mtime, reverse=True)


def _latest(folder: Path, name: str, keys: pa.Table) -> tuple[np.ndarray | None, np.ndarray]:
    """The newest file of a preset, and the row in it of each of `keys`, -1 where it has none."""
    for file in _files(folder, name):
        try:
            rows = feather.read_table(str(file.with_suffix(".arrow")), memory_map=False)
            array = np.load(file, mmap_mode="r")
            known = _joined(rows)
        except (OSError, ValueError, KeyError, pa.ArrowException):
            continue
        if len(array) == len(rows):
            return array, np.asarray(pc.fill_null(pc.index_in(_joined(keys), value_set=known), -1))
    return None, np.full(len(keys), -1)


def _joined(keys: pa.Table) -> pa.Array:
    return whole(pc.binary_join_element_wise(keys["id"], keys["checksum"], "\0"))
