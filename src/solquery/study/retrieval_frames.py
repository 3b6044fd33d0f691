"""What a search must and must not find: frames of one region, altered copies, and real frames among simulated ones.

Every frame asked for is in the archive, so that the right answer is known without a judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..archive.prepare import prepare
from ..errors import SolqueryError
from ..physics import measure
from ..retrieval import COMPARED, EmbeddingIndex, augment, combine, embed, load_index, parameter_distances
from ..retrieval.augment import seeded_generator
from ..retrieval.hybrid import LOOK_SHARE

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle
    from ..patch import Patch

__all__ = ["RealFrame", "changed", "frames_of_regions", "rank_of", "real_among_simulated", "share"]

_FIRST = 10
_CHUNK = 200


def share(hits: Any) -> dict[str, float | int | None]:
    """How many of how many, with the 95 % interval of Wilson (1927) for the share; None where nothing was asked."""
    hits = np.asarray(hits, dtype=bool)
    n = len(hits)
    if n == 0:
        return {"share": None, "low": None, "high": None, "of": 0}
    z, p = 1.959964, float(hits.mean())
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return {"share": p, "low": float(max(low, 0.0)), "high": float(min(high, 1.0)), "of": n}


def rank_of(distances: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rank (Q,) from 1 of the nearest wanted candidate; 0 where none is wanted or can be found.

    Parameters
    ----------
    distances
        (Q, N); infinite for what is no candidate. A candidate as near as the wanted one is counted before it.
    wanted
        (Q, N) truth values.
    """
    least = np.where(wanted, distances, np.inf).min(axis=1)
    before = ((distances <= least[:, None]) & ~wanted).sum(axis=1)
    return np.where(np.isfinite(least), before + 1, 0)


def changed(bundle: Bundle, x: np.ndarray, *key: int) -> np.ndarray:
    """Patches (N, H, W) in preset units shifted, zoomed, turned and flipped at random, as the encoder's training was.

    `key` are the numbers of the seed.
    """
    views = augment(torch.from_numpy(x).unsqueeze(1), bundle.preset.encoder.augment, seeded_generator(*key))
    return views.squeeze(1).numpy()


def frames_of_regions(archive: Archive, bundle: Bundle, count: int = 1_000, seed: int = 0) -> dict[str, Any]:
    """Frames of the archive as queries: other frames of the region, a changed copy, and one of reversed polarity.

    Frames marked ``split = 'test'`` are asked for where the archive has such, else any. All frames of the archive
    are candidates, ungrouped.

    Returns
    -------
    ``held_out``
        What was chosen from.
    ``same_region``
        Share of frames for which another frame of their region is among the first ten, the frame itself left out.
    ``changed_copy``
        Share of frames that come first when a shifted, zoomed, turned, perhaps flipped copy is the query.
    ``reversed_copy``
        Share of frames that come first when the query is a copy with exchanged polarities, which should be none.
    ``reversed_before_original``
        Share of changed copies to which the reversed frame is nearer than the frame itself, which should be none.
    """
    index = load_index(archive, bundle)
    pool, held_out = np.ones(len(index), bool), "the archive"
    if "split" in archive.columns:
        marked = np.isin(index.ids, archive.ids("split = 'test'"))
        if marked.any():
            pool, held_out = marked, "split = 'test'"
    _, code, size = np.unique(index.regions, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(pool & (size[code] > 1))
    rows = np.sort(rng.permutation(rows)[:count])
    others, copies, reversed_, nearer = [], [], [], []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        one = np.arange(len(part))
        names, pictures = archive.prepared(bundle.preset, ids=[str(index.ids[k]) for k in part])
        place = {name: k for k, name in enumerate(names)}
        x = np.stack([np.asarray(pictures[place[str(index.ids[k])]], np.float32) for k in part])
        x = np.nan_to_num(x)
        own = np.zeros((len(part), len(index)), bool)
        own[one, part] = True
        between = index.distances(index.vectors[part])
        between[own] = np.inf
        others.append(rank_of(between, (code[part][:, None] == code) & ~own))
        copy = embed(bundle.encoder, changed(bundle, x, seed, start))
        flipped = embed(bundle.encoder, -x)
        far = index.distances(copy)
        copies.append(rank_of(far, own))
        reversed_.append(rank_of(index.distances(flipped), own))
        nearer.append(np.linalg.norm(copy - flipped, axis=1) < far[one, part])
    first = _joined(others)
    return {
        "held_out": held_out,
        "frames": len(rows),
        "regions": len(np.unique(code[rows])),
        "same_region": share((first > 0) & (first <= _FIRST)),
        "same_region_first": share(first == 1),
        "changed_copy": share(_joined(copies) == 1),
        "reversed_copy": share(_joined(reversed_) == 1),
        "reversed_copy_median_rank": float(np.median(_joined(reversed_))) if len(rows) else None,
        "reversed_before_original": share(_joined(nearer)),
    }


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if len(parts) else np.zeros(0, int)


@dataclass(frozen=True)
class RealFrame:
    """A real frame among simulated patches.

    Attributes
    ----------
    id, region, t_rec
        Of the frame.
    copies
        Method to the rank of the frame for each of its changed copies.
    sibling
        Method to the rank of the nearest other frame of its region, the frame itself left out; None where it has
        no other.
    """

    id: str
    region: str
    t_rec: str | None
    copies: Mapping[str, list[int]]
    sibling: Mapping[str, int | None]


def real_among_simulated(
    archive: Archive, bundle: Bundle, patches: Sequence[Patch], copies: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Put real frames among the simulated patches of an archive, and look for each with altered copies and siblings.

    Nothing is written to the archive. Real patches that it holds already are no candidates.

    Parameters
    ----------
    archive, bundle
        Embedded with this bundle, with simulated patches.
    patches
        The real frames; one of each id.
    copies
        Changed copies of each.
    seed
        Of their changes.

    Returns
    -------
    ``simulated`` (candidates beside the real ones), ``frames``, ``regions``, ``copies``; ``copy_first`` and
    ``sibling_first``, method (``ssl``, ``hybrid``) to the shares at rank 1; ``ranks``, one entry a frame as
    `RealFrame`.

    Raises
    ------
    SolqueryError
        When there is no real frame, or two of one id.
    """
    if not patches:
        raise SolqueryError("there is no real frame to look for; name SHARP files that pass the quality rule")
    ids = [patch.id for patch in patches]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise SolqueryError(f"{min(twice)} was given twice; name every frame once")
    index = load_index(archive, bundle, "source = 'simulated'")
    names = [f"grid_{name}" for name in COMPARED]
    stored = archive.table(["id", *names], "source = 'simulated'")
    at = {name: k for k, name in enumerate(stored["id"].to_pylist())}
    order = [at[str(name)] for name in index.ids]
    x = np.stack([np.nan_to_num(prepare(patch, bundle.preset)) for patch in patches]).astype(np.float32)
    real = _measured(bundle, x)
    everything = {
        name: np.concatenate([np.asarray(stored[f"grid_{name}"].to_numpy(), np.float64)[order], real[name]])
        for name in COMPARED
    }
    regions = np.array([patch.region for patch in patches])
    vectors = np.concatenate([index.vectors, embed(bundle.encoder, x)])
    whole = replace(
        index, ids=np.concatenate([index.ids, ids]), regions=np.concatenate([index.regions, regions]), vectors=vectors
    )
    n, first = len(patches), len(index)
    own = np.zeros((n, len(whole)), bool)
    own[np.arange(n), first + np.arange(n)] = True
    # only real frames: a simulated region of the same name is another
    related = np.zeros_like(own)
    related[:, first:] = regions[:, None] == regions
    related &= ~own
    siblings = {}
    for method, distances in _distances(whole, everything, vectors[first:], real).items():
        distances[own] = np.inf
        siblings[method] = rank_of(distances, related)
    ranks: dict[str, list[np.ndarray]] = {"ssl": [], "hybrid": []}
    for copy in range(copies):
        views = changed(bundle, x, seed, copy)
        found = _distances(whole, everything, embed(bundle.encoder, views), _measured(bundle, views))
        for method, distances in found.items():
            ranks[method].append(rank_of(distances, own))
    several = related.any(axis=1)
    frames = [
        RealFrame(
            patch.id, patch.region, patch.t_rec,
            {method: [int(rank[k]) for rank in found] for method, found in ranks.items()},
            {method: int(rank[k]) if several[k] else None for method, rank in siblings.items()},
        )
        for k, patch in enumerate(patches)
    ]  # fmt: skip
    return {
        "simulated": first,
        "frames": n,
        "regions": len(set(regions.tolist())),
        "copies": copies,
        "copy_first": {method: share(_joined(found) == 1) for method, found in ranks.items()},
        "sibling_first": {method: share(rank[several] == 1) for method, rank in siblings.items()},
        "ranks": frames,
    }


def _measured(bundle: Bundle, x: np.ndarray) -> dict[str, np.ndarray]:
    found = measure(bundle.preset.to_gauss(torch.from_numpy(x)), bundle.preset.scale_mm, COMPARED)
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


def _distances(
    index: EmbeddingIndex, everything: Mapping[str, np.ndarray], vectors: np.ndarray, values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Method to (Q, N)."""
    look = index.distances(vectors)
    return {
        "ssl": look.copy(),
        "hybrid": combine(look, parameter_distances(values, everything), index.vectors, LOOK_SHARE),
    }
