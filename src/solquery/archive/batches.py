"""Prepared patches in batches as tensors, for a training or a measurement that passes over an archive."""

from __future__ import annotations

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

__all__ = ["Batch", "batches"]


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
    if archive.path is None:
        ids, stored, places = archive.table(["id"], where)["id"], None, None
    else:
        ids, stored = archive.prepared_rows(preset)
        places = np.arange(len(ids))
        if where:
            # a patch that came in between has no prepared row yet
            found = pc.index_in(archive.table(["id"], where)["id"], value_set=ids.combine_chunks())
            places = pc.drop_null(found).to_numpy()
            ids = ids.take(pa.array(places))
    order = np.arange(len(ids))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    for start in range(0, len(ids), size):
        chosen = order[start : start + size]
        if drop_last and len(chosen) < size:
            return
        named = ids.take(pa.array(chosen)).to_pylist()
        if stored is not None:
            # torch turns halves into floats nine times as fast as numpy
            x = torch.from_numpy(stored[places[chosen]]).float()
        else:
            x = torch.from_numpy(np.stack([prepare(patch, preset) for patch in archive.patches(ids=named)]))
        yield Batch(named, x[:, None])
