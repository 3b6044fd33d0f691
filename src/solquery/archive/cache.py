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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..config import Preset
from ..patch import Patch
from .prepare import prepare

__all__ = ["content_key", "is_prepared_file", "prepare_rows", "prepared", "preset_key"]

#: to be raised when `prepare` gives other numbers than before
METHOD = 1


def content_key(keys: Mapping[str, str]) -> str:
    """SHA-256 of an archive's ids and field checksums."""
    digest = hashlib.sha256()
    for patch_id in sorted(keys):
        digest.update(f"{patch_id}\0{keys[patch_id]}\n".encode())
    return digest.hexdigest()


def preset_key(preset: Preset) -> str:
    """Name of a preset with a hash of all that bears on preparing; networks and their training do not."""
    relevant = {k: v for k, v in asdict(preset).items() if k not in ("generator", "encoder")}
    text = json.dumps([METHOD, relevant], sort_keys=True, default=str)
    return f"{preset.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def is_prepared_file(path: Path) -> bool:
    """Whether a file in the folder of prepared patches is one of them, and not what a killed writer left."""
    return re.fullmatch(r"[\w-]+-[0-9a-f]{10}-[0-9a-f]{16}\.(npy|json)", path.name) is not None


def prepare_rows(patches: Iterable[Patch], preset: Preset, n: int) -> np.ndarray:
    """`n` patches to (n, H, W) float16 in preset units."""
    out = np.empty((n, *preset.shape), np.float16)
    for k, patch in enumerate(patches):
        out[k] = prepare(patch.field, preset)
    return out


def prepared(
    folder: Path, preset: Preset, keys: Mapping[str, str], read: Callable[[list[str]], Iterable[Patch]]
) -> np.ndarray:
    """The prepared patches of an archive, from `folder` or made now.

    Parameters
    ----------
    folder
        Where the files lie; made when needed.
    keys
        Id to checksum, in the order of the rows wanted.
    read
        Gives the patches of some ids, in their order.

    Returns
    -------
    (N, H, W) float16, a read-only map of the file.
    """
    name = preset_key(preset)
    ids = list(keys)
    path = folder / f"{name}-{content_key(keys)[:16]}.npy"
    if not ids:
        return np.zeros((0, *preset.shape), np.float16)
    if path.exists():
        return np.load(path, mmap_mode="r")
    folder.mkdir(parents=True, exist_ok=True)
    old, before = _latest(folder, name)
    token = uuid.uuid4().hex
    partial = folder / f".{path.stem}.{token}.npy"
    try:
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(len(ids), *preset.shape))
        fresh = []
        for k, patch_id in enumerate(ids):
            row = before.get((patch_id, keys[patch_id]))
            if row is None:
                fresh.append(k)
            else:
                out[k] = old[row]  # type: ignore[index]
        for k, patch in zip(fresh, read([ids[k] for k in fresh]), strict=True):
            out[k] = prepare(patch.field, preset)
        out.flush()
        del out, old
        stale = [f for f in folder.glob(f"{name}-*") if f.stem != path.stem]
        listing = partial.with_suffix(".json")
        listing.write_text(json.dumps([[i, keys[i]] for i in ids]))
        os.replace(listing, path.with_suffix(".json"))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_suffix(".json").unlink(missing_ok=True)
    for file in stale:
        file.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _latest(folder: Path, name: str) -> tuple[np.ndarray | None, dict[tuple[str, str], int]]:
    """The newest file of a preset and the row of each (id, checksum) in it."""
    files = sorted(folder.glob(f"{name}-*.npy"), key=lambda f: f.stat().st_mtime)
    for file in reversed(files):
        try:
            rows = {(i, key): k for k, (i, key) in enumerate(json.loads(file.with_suffix(".json").read_text()))}
            array = np.load(file, mmap_mode="r")
        except (OSError, ValueError):
            continue
        if len(array) == len(rows):
            return array, rows
    return None, {}
