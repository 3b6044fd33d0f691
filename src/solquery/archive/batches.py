"""Prepared patches in batches as tensors, for a training or a measurement that passes over an archive."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config import Preset, get_preset
from .prepare import prepare

if TYPE_CHECKING:
    import torch

    from .store import Archive

__all__ = ["Batch", "as_float32", "batches"]


class Batch(NamedTuple):
    """Ids, and their prepared patches (N, 1, H, W) float32 in units of the preset."""

    ids: list[str]
    x: torch.Tensor


def batches(
    archive: Archive,
    preset: Preset | str,
    size: int = 64,
    where: str | None = None,
    seed: int | None = None,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """Prepared patches of an archive, `size` at a time; memory holds one batch, whatever the size of the archive.

    Local archives read from the file of `Archive.prepared_memmap`; from an object store, fields are read and prepared
    as they are needed.

    Parameters
    ----------
    preset
        How patches are prepared.
    size
        Patches in a batch; the last may be smaller.
    where
        SQL condition as in `Archive.table`.
    seed
        None keeps the order of the ids; a number shuffles, the same way for the same number.
    drop_last
        Leave out a last batch that is smaller.

    Yields
    ------
    Batch
    """
    import torch

    if size < 1:
        raise ValueError(f"a batch has at least one patch, got {size}")
    preset = get_preset(preset)
    stored, places = None, None
    if archive.path is not None:
        ids, stored = archive.prepared_file(preset)
        if where:
            # a patch that came in between has no prepared row yet
            places = pc.drop_null(pc.index_in(archive._ids(where), value_set=ids))
            ids, places = ids.take(places), np.asarray(places)
    else:
        ids = archive._with_scale(archive._ids(where), preset)
    order = np.arange(len(ids))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    for start in range(0, len(ids), size):
        chosen = order[start : start + size]
        if drop_last and len(chosen) < size:
            return
        named = ids.take(pa.array(chosen)).to_pylist()
        if stored is not None:
            x = as_float32(stored[chosen if places is None else places[chosen]])
        else:
            x = np.stack([prepare(patch, preset) for patch in archive.patches(ids=named)])
        yield Batch(named, torch.from_numpy(x)[:, None])


def as_float32(stored: np.ndarray) -> np.ndarray:
    """float16 to float32, by torch, which has the processor's vector instructions do it."""
    import torch

    if not len(stored):
        return stored.astype(np.float32)
    with warnings.catch_warnings():
        # a map of a file cannot be written to, and is not
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(stored).to(torch.float32).numpy()
