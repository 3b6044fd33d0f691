"""Prepared patches in batches as tensors, for a training or a measurement that passes over an archive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

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
    stored = None
    if archive.path is not None:
        known, stored = archive.prepared_memmap(preset)
    ids = archive.ids(where)
    places = np.arange(len(ids))
    if stored is not None and where:
        at = {patch_id: k for k, patch_id in enumerate(known)}
        # a patch that came in between has no prepared row yet
        ids = [patch_id for patch_id in ids if patch_id in at]
        places = np.array([at[patch_id] for patch_id in ids], dtype=int)
    elif stored is not None:
        ids, places = known, np.arange(len(known))
    order = np.arange(len(ids))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    for start in range(0, len(ids), size):
        chosen = order[start : start + size]
        if drop_last and len(chosen) < size:
            return
        named = [ids[k] for k in chosen]
        if stored is not None:
            x = stored[places[chosen]].astype(np.float32)
        else:
            x = np.stack([prepare(patch, preset) for patch in archive.patches(ids=named)])
        yield Batch(named, torch.from_numpy(x)[:, None])
