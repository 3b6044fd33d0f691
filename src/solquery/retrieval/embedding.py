"""Embeddings of patches, and how they get into an archive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..physics import measure

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle

__all__ = ["EmbedReport", "embed", "embed_archive"]

_CHUNK = 512  # patches between two reports of progress


@dataclass(frozen=True)
class EmbedReport:
    """Patches that `embed_archive` embedded, those that had their embedding already, and the time it took."""

    embedded: int
    already: int
    seconds: float


def _device(encoder: Any) -> torch.device:
    first = next(encoder.parameters(), None) if isinstance(encoder, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


@torch.no_grad()
def embed(encoder: Any, x: Any, batch: int = 64) -> np.ndarray:
    """Embeddings of patches.

    Parameters
    ----------
    encoder
        Any callable (N, 1, H, W) -> (N, D); a module is used in evaluation mode, where each patch is embedded
        independently of the others, and left in the mode it was in.
    x
        (N, H, W) or (H, W), numpy array (memory maps too) or tensor in preset units; NaN counts as 0 G.
    batch
        Patches at a time.

    Returns
    -------
    numpy.ndarray
        (N, D) float32; (1, D) for a single patch.

    Raises
    ------
    ValueError
        When `x` has another number of axes.
    """
    if x.ndim == 2:
        x = x[None]
    if x.ndim != 3:
        raise ValueError(f"patches to embed must have shape (N, H, W) or (H, W), got {tuple(x.shape)}")
    device = _device(encoder)
    training = isinstance(encoder, nn.Module) and encoder.training
    if training:
        encoder.eval()
    try:
        parts = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            if not isinstance(part, torch.Tensor):
                part = torch.from_numpy(np.array(part, dtype=np.float32))
            part = torch.nan_to_num(part.detach().to(device, torch.float32), nan=0.0).unsqueeze(1)
            parts.append(encoder(part.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    finally:
        if training:
            encoder.train()
    if not parts:
        return np.zeros((0, getattr(encoder, "embedding_dim", 0)), np.float32)
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)


def embed_archive(
    archive: Archive,
    bundle: Bundle,
    progress: Callable[[int, int], None] | None = None,
    *,
    again: bool = False,
    batch: int = 64,
) -> EmbedReport:
    """Store the embedding of every patch that has none of this bundle's encoder, and its parameters on the grid.

    Columns written: ``embedding`` (D float32), ``embedding_model`` (`bundle.encoder_hash`), ``grid_preset`` and, for
    every registered parameter, ``grid_<name>``, measured in G and pixels on the grid of the preset, which is what
    the parameters of a generated patch can be compared with.

    Parameters
    ----------
    archive, bundle
        Where the patches are, and the encoder and preset to use.
    progress
        Called with (patches done, patches to do).
    again
        Also those that have an embedding of this encoder, e.g. after a parameter was added.

    Returns
    -------
    EmbedReport
    """
    began = time.monotonic()
    preset = bundle.preset
    columns = set(archive.table(where="id IS NULL").column_names)
    wanted = ["id"] + (["embedding_model"] if "embedding_model" in columns else [])
    table = archive.table(columns=wanted)
    ids = table.column("id").to_pylist()
    models = table.column("embedding_model").to_pylist() if len(wanted) > 1 else [None] * len(ids)
    todo = [i for i, model in zip(ids, models, strict=True) if again or model != bundle.encoder_hash]
    if not todo:
        return EmbedReport(0, len(ids), time.monotonic() - began)
    # the whole archive is cached as one memory map, a part of it is not
    todo, x = archive.prepared(preset) if len(todo) == len(ids) else archive.prepared(preset, ids=todo)
    vectors, measured = [], []
    for start in range(0, len(todo), _CHUNK):
        part = np.nan_to_num(np.array(x[start : start + _CHUNK], dtype=np.float32), nan=0.0)
        vectors.append(embed(bundle.encoder, part, batch))
        measured.append(measure(preset.to_gauss(part), preset.scale_mm))
        if progress is not None:
            progress(min(start + _CHUNK, len(todo)), len(todo))
    values: dict[str, Any] = {
        f"grid_{name}": np.concatenate([np.asarray(m[name], dtype=np.float64) for m in measured])
        for name in measured[0]
    }
    values["grid_preset"] = [preset.name] * len(todo)
    values["embedding"] = np.concatenate(vectors)
    values["embedding_model"] = [bundle.encoder_hash] * len(todo)
    archive.set_columns(list(todo), values)
    return EmbedReport(len(todo), len(ids) - len(todo), time.monotonic() - began)
