"""Does search find what it should: another frame of the region, a changed copy of a patch, and never its negative.

Three questions to which the right answer is known. A frame of an archive is asked for, itself left out: is another
frame of the same region among the first ten? A patch that was shifted, zoomed, tilted and mirrored within what the
encoder is to ignore: is the patch it was made from the first answer? And with the negatives of all those patches among
the answers: does a negative ever come first? Polarity is physics (Hale's law), and the encoder must see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..aliases import Document
from ..encoder import embed
from ..encoder.augment import augment, seeded_generator
from ..search import RERANK_DEPTH, load_index
from ..search.rerank import ALIKE, staged_correlations
from .shares import share_of

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..config import AugmentConfig
    from ..model import Model
    from ..search import EmbeddingIndex

__all__ = ["CHANGES", "changed_copies", "copies", "looked_again", "rank_of", "same_region"]

#: what a copy is changed by: all at once, then one at a time (settings of `AugmentConfig`)
CHANGES = ("all", "shift_px", "zoom", "rotation_deg", "vertical_flip")
_STILL = {"shift_px": 0.0, "zoom": (1.0, 1.0), "rotation_deg": 0.0, "vertical_flip": False}
_CHUNK = 256


def _distances(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(Q, N) squared Euclidean distances."""
    a, b = queries.astype(np.float64), vectors.astype(np.float64)
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T


def rank_of(distances: np.ndarray, columns: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rank (Q,) from 1 of one column for each row of distances (Q, N); ties count against it."""
    own = distances[np.arange(len(distances)), columns]
    return (distances <= own[:, None]).sum(1)


def changed_copies(x: np.ndarray, change: str, config: AugmentConfig, seed: int) -> np.ndarray:
    """Patches (N, H, W) changed at random within `config`; `change` is one of `CHANGES`."""
    only = config if change == "all" else replace(config, **{**_STILL, change: getattr(config, change)})
    return augment(torch.as_tensor(x)[:, None], only, seeded_generator(seed, CHANGES.index(change)))[:, 0].numpy()


def same_region(archive: Archive, model: Model, count: int = 1_000, k: int = 10, seed: int = 0) -> Document:
    """How often another frame of the region of an archive's frame is among the first `k` other frames.

    Parameters
    ----------
    archive, model
        Embedded with the model's encoder.
    count, seed
        How many frames of regions that have others are asked for, and the seed of their choice.

    Returns
    -------
    ``share`` with ``low`` and ``high`` (95 %, regions resampled), ``first`` (the share at rank 1), ``frames``,
    ``regions``, and ``k``.
    """
    index = load_index(archive, model)
    _, place, size = np.unique(index.regions, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(size[place] > 1)
    if len(rows) > count:
        rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    hits, first = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        distance = _distances(index.vectors[part], index.vectors)
        distance[np.arange(len(part)), part] = np.inf
        near = np.argpartition(distance, min(k, distance.shape[1]) - 1, axis=1)[:, :k]
        hits[start : start + _CHUNK] = (place[near] == place[part][:, None]).any(1)
        first[start : start + _CHUNK] = place[distance.argmin(1)] == place[part]
    return {
        **share_of(hits, place[rows], seed=seed),
        "first": float(first.mean()) if len(first) else None,
        "frames": len(rows),
        "regions": len(np.unique(place[rows])),
        "k": k,
    }


def copies(
    archive: Archive, model: Model, count: int = 200, seed: int = 0, rerank: int = RERANK_DEPTH,
    among: int | None = None,
) -> Document:  # fmt: skip
    """How often the patch that a changed copy was made from is the first answer, and how often a negative is.

    Among the whole archive, or `among` so many of its patches, drawn with the seed.

    Returns
    -------
    For each of `CHANGES` the ``share`` at rank 1 with its interval; under ``reranked`` that of copies changed in all
    ways when the `rerank` first answers are looked at again, as a search does (`solquery.search.reranked`); under
    ``negative`` the
    share of those copies for which the negative of any of the patches, added to the archive, comes first.
    """
    index = load_index(archive, model)
    rng = np.random.default_rng(seed)
    pool = np.arange(len(index))
    if among is not None and among < len(pool):
        pool = np.sort(rng.choice(len(pool), among, replace=False))
    places = np.sort(rng.choice(len(pool), min(count, len(pool)), replace=False))
    rows, vectors = pool[places], index.vectors[pool]
    x = _pictures(archive, model, index, rows)
    regions, out = index.regions[rows], {}
    for change in CHANGES:
        changed = changed_copies(x, change, model.preset.encoder.augment, seed)
        found = embed(model.encoder, changed)
        distance = _distances(found, vectors)
        out[change] = share_of(rank_of(distance, places) == 1, regions, seed=seed)
        if change == "all":
            best = looked_again(changed, distance, rerank, model, lambda at: _pictures(archive, model, index, pool[at]))
            out["verified"] = share_of(best == places, regions, seed=seed)
            negative = _distances(found, embed(model.encoder, -x)).min(1)
            out["negative"] = share_of(negative <= distance.min(1), regions, seed=seed)
    return {"patches": len(rows), "among": len(pool), "looked_at": rerank, **out}


def _pictures(archive: Archive, model: Model, index: EmbeddingIndex, rows: np.ndarray) -> np.ndarray:
    """(N, H, W) float32, NaN as 0, in the order of `rows`."""
    return np.nan_to_num(archive.prepared(model.preset, ids=[str(index.ids[row]) for row in rows])[1])


def looked_again(
    queries: np.ndarray,
    distances: np.ndarray,
    first: int,
    model: Model,
    pictures: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Rows (Q,) of the first answers to queries (Q, H, W), the `first` nearest by `distances` (Q, N) looked at again.

    `pictures` gives the patches of rows.
    """
    best = np.empty(len(queries), int)
    for k, (query, line) in enumerate(zip(queries, distances, strict=True)):
        near = np.argsort(line, kind="stable")[:first]
        values, _ = staged_correlations(query, pictures(near), model.preset.encoder.augment)
        best[k] = near[values.argmax()] if values.max() >= ALIKE else near[0]
    return best
