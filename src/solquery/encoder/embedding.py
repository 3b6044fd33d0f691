"""Embeddings of patches, and how they get into an archive."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from ..aliases import Array, Document, Embedder
from ..archive.grid_names import grid_names
from ..archive.places import whole
from ..archive.view import shares_outside_view
from ..physics import measure_on_grid
from .folded import Folded
from .int8 import Calibration, Int8Encoder, PrecisionError, calibrate, calibration_patches
from .networks import Encoder

if TYPE_CHECKING:
    from distributed import Client

    from ..archive.store import Archive
    from ..protocols import Model

__all__ = ["PRECISIONS", "EmbedReport", "embed", "embed_archive"]

#: in which an archive can be embedded; they can be searched together (docs/searching.md)
PRECISIONS = ("fp32", "int8")


#: patches between two reports of progress, in a commit, and in a task of a cluster
_CHUNK, _COMMIT, _TASK = 512, 4096, 64
#: patches from which folding takes less time than it saves
_WORTH_FOLDING = 128


@dataclass(frozen=True)
class EmbedReport:
    """Patches that `embed_archive` embedded, those that had their embedding already, and the time it took.

    `skipped` counts those without a scale, which a preset in megametres cannot take.
    """

    embedded: int
    already: int
    seconds: float
    skipped: int = 0


def _device(encoder: object) -> torch.device:
    first = next(encoder.parameters(), None) if isinstance(encoder, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


@torch.no_grad()
def embed(encoder: Embedder, x: Array, batch: int = 64) -> np.ndarray:
    """Embeddings of patches.

    Parameters
    ----------
    encoder
        Any callable (N, 1, H, W) -> (N, D); a module is used in evaluation mode, where each patch is embedded
        independently of the others, and left in the mode it was in. For many patches on a CPU the encoder of this
        package is folded first (`Folded`), which changes numbers by rounding alone.
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
    training = encoder if isinstance(encoder, nn.Module) and encoder.training else None
    if training is not None:
        training.eval()
    folds = len(x) >= _WORTH_FOLDING and _can_fold(encoder)
    use: Embedder = Folded(cast(Encoder, encoder)) if folds else encoder
    try:
        parts = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            if not isinstance(part, torch.Tensor):
                part = torch.from_numpy(np.array(part, dtype=np.float32))
            part = torch.nan_to_num(part.detach().to(device, torch.float32), nan=0.0).unsqueeze(1)
            found = use(part.contiguous(memory_format=torch.channels_last))
            parts.append(torch.as_tensor(found).float().cpu().numpy())
    finally:
        if training is not None:
            training.train()
    if not parts:
        return np.zeros((0, getattr(encoder, "embedding_dim", 0)), np.float32)
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)


def embed_archive(
    archive: Archive,
    model: Model,
    progress: Callable[[int, int], None] | None = None,
    *,
    again: bool = False,
    batch: int = 64,
    client: Client | None = None,
    precision: str | None = None,
) -> EmbedReport:
    """Embed every patch that has no embedding of this model's encoder and preset, and measure it on the preset's grid.

    Columns written: ``embedding`` (D float32), ``embedding_model`` (`model.encoder_hash`), ``embedding_precision``,
    ``grid_preset`` and, for every registered parameter, ``grid_<name>``, measured in G and pixels on the grid of the
    preset, which is what the parameters of a generated patch can be compared with, and ``flux_outside_view``, the share
    of the flux over 100 G that the grid does not show (`solquery.archive.view`). They are committed some thousand
    patches at a time: memory does not grow with the archive, and a call that was cut short goes on where it was.

    Parameters
    ----------
    archive, model
        Where the patches are, and the encoder and preset to use.
    progress
        Called with (patches done, patches to do).
    again
        Also those that have an embedding of this encoder, e.g. after a parameter was added.
    client
        Of a Dask cluster (`solquery.archive.distribute.cluster`) whose workers read, prepare, measure and embed, a
        region at a time; they must reach the archive under the same name. This process commits.
    precision
        ``"fp32"``, or ``"int8"``, which is faster and nearly the same (`Int8Encoder`); patches that were embedded in
        the other one are embedded anew. None: what is embedded stays, the rest gets fp32.

    Returns
    -------
    EmbedReport

    Raises
    ------
    PrecisionError
        When there is no such precision, or none for this encoder or machine; nothing is written then.
    """
    if precision not in (None, *PRECISIONS):
        raise PrecisionError(f"no precision named {precision!r}; there are: {', '.join(PRECISIONS)}")
    began = time.monotonic()
    # two models may share an encoder and differ in the grid: neither what it is shown nor what is measured is the same
    current = {"embedding_model": model.encoder_hash, "grid_preset": model.preset.name}
    if precision is not None:
        current["embedding_precision"] = precision
    present = set(archive.columns)
    names = [name for name in (*current, "flux_outside_view") if name in present]
    table = archive.table(columns=["id", *names])
    there = np.full(table.num_rows, not again)
    for name, wanted in current.items():
        told = table[name] if name in names else pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        if name == "grid_preset" and name in names:
            told = grid_names(table)
        if name == "embedding_precision":
            told = pc.fill_null(told.cast(pa.string()), "fp32")  # embedded before there was a choice
        there &= np.asarray(pc.fill_null(pc.equal(told.cast(pa.string()), wanted), False))
    usable, lacking = np.ones(table.num_rows, bool), archive.without_scale(model.preset)
    if lacking:
        usable = ~np.asarray(pc.is_in(table["id"], value_set=pa.array(lacking, pa.string())))
    todo, already = whole(table["id"].filter(pa.array(usable & ~there))), int((usable & there).sum())
    del table
    if not len(todo):
        return EmbedReport(0, already, time.monotonic() - began, len(lacking))
    ids_of, values_of, held, done = [], [], 0, 0
    scales = _calibrated(model) if precision == "int8" else None
    if client is None:
        made = _here(archive, model, todo, batch, scales)
    else:
        made = _on_workers(archive, model, todo, batch, client, scales)
    for some, values in made:
        ids_of += some
        values_of.append(values)
        held, done = held + len(some), done + len(some)
        if held >= _COMMIT or done == len(todo):
            _store(archive, model, ids_of, values_of, precision or "fp32")
            ids_of, values_of, held = [], [], 0
        if progress is not None:
            progress(done, len(todo))
    return EmbedReport(len(todo), already, time.monotonic() - began, len(lacking))


def _calibrated(model: Model) -> Calibration:
    if not _can_fold(model.encoder):
        raise PrecisionError(f"the encoder of model {model.name!r} has no int8; embed with --precision fp32")
    return calibrate(model.encoder, calibration_patches(model))


def _network(model: Model, scales: Calibration | None) -> Embedder:
    """The encoder in the form that embeds fastest."""
    if scales is not None:
        return Int8Encoder(cast(Encoder, model.encoder), scales)
    return Folded(cast(Encoder, model.encoder)) if _can_fold(model.encoder) else model.encoder


def _can_fold(encoder: object) -> bool:
    return isinstance(encoder, Encoder) and _device(encoder).type == "cpu" and not encoder.training


def _columns(model: Model, x: np.ndarray, batch: int, encoder: Embedder) -> dict[str, np.ndarray]:
    """Embedding (N, D) and grid parameters (N,) of prepared patches (N, H, W)."""
    x = np.nan_to_num(np.asarray(x, dtype=np.float32), nan=0.0)
    measured = measure_on_grid(x, model.preset)
    values = {f"grid_{name}": np.asarray(column, dtype=np.float64) for name, column in measured.items()}
    return {**values, "embedding": embed(encoder, x, batch)}


def _store(archive: Archive, model: Model, ids: list[str], parts: list[dict[str, np.ndarray]], precision: str) -> None:
    values: Document = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    values["grid_preset"] = [model.preset.name] * len(ids)
    values["embedding_model"] = [model.encoder_hash] * len(ids)
    values["embedding_precision"] = [precision] * len(ids)
    archive.set_columns(ids, values)


def _here(
    archive: Archive, model: Model, todo: pa.Array, batch: int, scales: Calibration | None
) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
    network = _network(model, scales)
    for start in range(0, len(todo), _CHUNK):
        ids, x = archive.prepared(model.preset, ids=todo.slice(start, _CHUNK).to_pylist())
        outside = shares_outside_view(archive, ids, model.preset)
        yield list(ids), {**_columns(model, x, batch, network), "flux_outside_view": outside}


def _on_workers(
    archive: Archive, model: Model, todo: pa.Array, batch: int, client: Client, scales: Calibration | None
) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
    from ..archive.distribute import each

    groups = defaultdict(list)
    rows = archive.table(["id", "region"])
    rows = rows.filter(pc.is_in(rows["id"], value_set=todo))
    for patch_id, region in zip(rows["id"].to_pylist(), rows["region"].to_pylist(), strict=True):
        groups[region].append(patch_id)
    tasks = [ids[k : k + _TASK] for ids in groups.values() for k in range(0, len(ids), _TASK)]
    # once to every worker, not with every task
    shared = client.scatter(model, broadcast=True)
    for ids, columns in each(client, columns_of, tasks, archive, shared, batch, scales):
        yield list(ids), columns


def columns_of(
    ids: list[str], archive: Archive, model: Model, batch: int, scales: Calibration | None = None
) -> dict[str, np.ndarray]:
    """One task of a cluster: patches read from the archive, prepared, measured on the grid, and embedded."""
    from ..archive.cache import prepare_rows

    # rounded as in the file of prepared patches, so that the numbers are those of a single process
    x = prepare_rows(archive.patches(ids=ids), model.preset, len(ids))
    outside = shares_outside_view(archive, ids, model.preset)
    return {**_columns(model, x, batch, _network(model, scales)), "flux_outside_view": outside}
