"""From simulation to the Sun: does an encoder trained on simulated regions recognise observed ones.

Observed frames are put among the patches of an archive. A changed copy of each should find its original first, and a
frame whose region was also observed at other times, hours or days apart, should find one of those first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..archive.prepare import prepare
from ..encoder import embed
from ..errors import SolqueryError
from ..search import RERANK_DEPTH, EmbeddingIndex, load_index
from ..search.query import Query
from ..search.structure import STRUCTURE_DEPTH, StructureIndex, signatures
from ..sharp.fits import UnreadableFits, read_sharp
from .recall import changed_copies, looked_again, rank_of
from .shares import share_of

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..patch import Patch

__all__ = ["neighbours_in_time", "read_frames", "real_frames", "twins"]

#: copies made of each frame
COPIES = 5
#: a frame so long before or after another one shows a region that has turned and changed, and is not asked for
HOURS = 48.0


def read_frames(files: Iterable[str | Path]) -> tuple[list[Patch], list[dict[str, str]]]:
    """Frames that pass the rule of quality, sorted by region and time, and those refused with the reason."""
    patches, refused = [], []
    for file in files:
        try:
            patches.append(read_sharp(file))
        except UnreadableFits as error:
            refused.append({"file": str(file), "why": str(error)})
    return sorted(patches, key=lambda p: (p.region, p.t_rec, p.id)), refused


def real_frames(
    archive: Archive,
    model: Model,
    patches: Sequence[Patch],
    *,
    where: str | None = "source = 'simulated'",
    copies: int = COPIES,
    seed: int = 0,
) -> Document:
    """Put observed frames among the patches of an archive and look for them.

    Parameters
    ----------
    archive, model
        Embedded with the model's encoder; nothing is written.
    patches
        Observed frames.
    where
        Which patches of the archive they are put among.
    copies, seed
        Changed copies of each frame (shift, zoom, rotation, flip within what the encoder is to ignore).

    Returns
    -------
    ``copies``, ``reranked`` (when the first answers are looked at again) and ``others`` (of frames that have one within
    `HOURS`): share at rank 1 with interval;
    ``frames``: for each its id, region, time, the ranks of
    the original for its copies, and rank, id and hours apart of the nearest other frame of its region (None without).

    Raises
    ------
    SolqueryError
        Without a frame.
    """
    if not patches:
        raise SolqueryError("no frame is left to look for: none was given, or the rule of quality refused all")
    among = _Among(archive, model, patches, where)
    x, own, vectors, columns = among.x, among.own, among.vectors, among.columns
    regions = np.array([patch.region for patch in patches])

    ranks = np.empty((copies, len(patches)), int)
    again = np.empty((copies, len(patches)), bool)
    for k in range(copies):
        changed = changed_copies(x, "all", model.preset.encoder.augment, seed + k)
        apart = _gaps(embed(model.encoder, changed), vectors)
        ranks[k] = rank_of(apart, columns)
        again[k] = looked_again(changed, apart, RERANK_DEPTH, model, among.pictures) == columns

    gaps = _gaps(own, vectors)
    gaps[np.arange(len(patches)), columns] = np.inf
    frames, found_first, groups = [], [], []
    for k, patch in enumerate(patches):
        others = [j for j, region in enumerate(regions) if region == patch.region and j != k]
        entry: Document = {
            "id": patch.id, "region": patch.region, "t_rec": patch.t_rec or None,
            "copies": ranks[:, k].tolist(), "other": None,
        }  # fmt: skip
        if others:
            best = others[int(gaps[k, columns[others]].argmin())]
            rank = int((gaps[k] <= gaps[k, columns[best]]).sum())
            entry["other"] = {"rank": rank, "id": patches[best].id, "hours": _hours(patch, patches[best])}
            near = [j for j in others if (_hours(patch, patches[j]) or 0.0) <= HOURS]
            if near:
                found_first.append(int((gaps[k] <= gaps[k, columns[near]].min()).sum()) == 1)
                groups.append(patch.region)
        frames.append(entry)
    return {
        "among": len(among.index),
        "frames": frames,
        "copies": {**share_of((ranks == 1).T.ravel(), np.repeat(regions, copies), seed), "of": int(ranks.size)},
        "verified": {**share_of(again.T.ravel(), np.repeat(regions, copies), seed), "of": int(ranks.size)},
        "others": {**share_of(found_first, groups, seed), "of": len(found_first)},
    }


class _Among:
    """Frames put among the patches of an archive: all embeddings, and the pictures of rows."""

    def __init__(self, archive: Archive, model: Model, patches: Sequence[Patch], where: str | None) -> None:
        self.archive, self.model, self.patches = archive, model, patches
        self.index = load_index(archive, model, where)
        self.x = _on_grid(patches, model)
        self.own = embed(model.encoder, self.x)
        self.vectors = np.concatenate([self.index.vectors, self.own])
        self.columns = len(self.index) + np.arange(len(patches))

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """(K, H, W) in preset units."""
        first = len(self.index)
        out = np.empty((len(rows), *self.x.shape[1:]), np.float32)
        stored = np.asarray(rows) < first
        if stored.any():
            ids = [str(name) for name in self.index.ids[rows[stored]]]
            out[stored] = np.nan_to_num(self.archive.prepared(self.model.preset, ids=ids)[1])
        out[~stored] = self.x[rows[~stored] - first]
        return out

    def structure(
        self, queries: Sequence[Patch], x: np.ndarray, where: str | None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Of queries, whose grid is `x`, by structure: distances (Q, N) from all patches, in the order of `vectors`.

        And the columns of the nearest to each, in the order in which they come when they are compared again.
        """
        stored = StructureIndex.read(self.archive, self.model, where)
        # both sorted by id; a patch without field has no signature and is infinitely far
        rows, at = stored.patches.rows(self.index.ids), self.index.rows(stored.patches.ids)
        ids = np.array([patch.id for patch in self.patches])
        own = StructureIndex(
            EmbeddingIndex(ids, ids, signatures(self.x)),
            np.array([patch.quantity == "radial" for patch in self.patches]),
        )
        out, again = np.full((len(queries), len(self.vectors)), np.inf), []
        cfg, names = self.model.preset.encoder.augment, np.concatenate([self.index.ids, ids])
        for line, query, image in zip(out, queries, x, strict=True):
            asked = Query(image, self.model, patch=query)
            line[at] = stored.distances(asked)[rows]
            line[len(self.index) :] = own.distances(asked)
            near = np.argsort(line, kind="stable")[:STRUCTURE_DEPTH]
            pictures, values = self.pictures(near), np.empty(len(near), np.float32)
            for index, these in ((stored, near < len(self.index)), (own, near >= len(self.index))):
                values[these] = index.correlations(asked, cfg, names[near[these]].tolist(), pictures[these])
            again.append(near[np.argsort(-values, kind="stable")])
        return out, again

    def first(self, queries: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """Rows (Q,) that a search answers with: the nearest, looked at again pixel by pixel."""
        return looked_again(queries, gaps, RERANK_DEPTH, self.model, self.pictures)


def _on_grid(patches: Sequence[Patch], model: Model) -> np.ndarray:
    return np.stack([np.nan_to_num(prepare(patch, model.preset)) for patch in patches]).astype(np.float32)


def twins(
    archive: Archive,
    model: Model,
    queries: Sequence[Patch],
    patches: Sequence[Patch],
    *,
    where: str | None = "source = 'simulated'",
    seed: int = 0,
) -> Document:
    """Line-of-sight frames as queries for the radial frame of the same region and instant.

    Parameters
    ----------
    archive, model, where, seed
        As in `real_frames`.
    queries
        Line-of-sight frames; those without a twin are left out.
    patches
        Radial frames, which are put among the patches of the archive.

    Returns
    -------
    ``embedding``, ``search`` (looked at again), ``signature`` (of structure) and ``structure`` (the nearest compared
    again; `solquery.search.structure`): share of queries whose twin comes first, with interval over regions; ``region``
    holds the same four for any frame of the twin's region, which is what a search grouped by region answers with;
    ``frames``: id, region, rank by the embedding and by signature of each, and id of the first answer by structure.

    Raises
    ------
    SolqueryError
        When no query has a twin.
    """
    place = {(patch.region, patch.t_rec): k for k, patch in enumerate(patches)}
    asked = [(one, place[one.region, one.t_rec]) for one in queries if (one.region, one.t_rec) in place]
    if not asked:
        raise SolqueryError("none of the line-of-sight frames has a radial frame of the same region and T_REC")
    among = _Among(archive, model, patches, where)
    x = _on_grid([one for one, _ in asked], model)
    gaps = _gaps(embed(model.encoder, x), among.vectors)
    apart, again = among.structure([one for one, _ in asked], x, where)
    columns = among.columns[[k for _, k in asked]]
    ranks, by_signature = rank_of(gaps, columns), rank_of(apart, columns)
    regions = [one.region for one, _ in asked]
    first = {
        "embedding": gaps.argmin(1), "search": among.first(x, gaps),
        "signature": apart.argmin(1), "structure": np.array([best[0] for best in again]),
    }  # fmt: skip
    ids = [*among.index.ids, *(patch.id for patch in patches)]
    names = np.array([*([""] * len(among.index)), *(patch.region for patch in patches)])
    frames = [
        {
            "id": one.id,
            "region": one.region,
            "rank": int(rank),
            "rank_signature": int(other),
            "found": str(ids[best[0]]),
        }
        for (one, _), rank, other, best in zip(asked, ranks, by_signature, again, strict=True)
    ]
    return {
        "of": len(asked), "among": len(among.vectors),
        **{name: share_of(found == columns, regions, seed) for name, found in first.items()},
        "region": {name: share_of(names[found] == regions, regions, seed) for name, found in first.items()},
        "frames": frames,
    }  # fmt: skip


def neighbours_in_time(
    archive: Archive,
    model: Model,
    patches: Sequence[Patch],
    *,
    hours: float = 3.0,
    where: str | None = "source = 'simulated'",
) -> Document:
    """Each frame as the query among all the others and the patches of an archive; right is one of its region and time.

    Parameters
    ----------
    archive, model, where
        As in `real_frames`.
    patches
        Frames of one region or several; those without another of theirs within `hours` are put there, not looked for.
    hours
        Most hours between a frame and the right answer.

    Returns
    -------
    ``embedding`` and ``search`` (looked at again): the share of frames whose first answer is right; ``of`` how many.

    Raises
    ------
    SolqueryError
        When no frame has another one of its region so near in time.
    """
    among = _Among(archive, model, patches, where)
    gaps = _gaps(among.own, among.vectors)
    gaps[np.arange(len(patches)), among.columns] = np.inf
    right = np.zeros((len(patches), len(among.vectors)), bool)
    for k, one in enumerate(patches):
        for j, other in enumerate(patches):
            apart = _hours(one, other)
            right[k, among.columns[j]] = j != k and one.region == other.region and apart is not None and apart <= hours
    asked = np.flatnonzero(right.any(1))
    if not len(asked):
        raise SolqueryError(f"no frame has another one of its region within {hours:g} hours")
    first = {"embedding": gaps[asked].argmin(1), "search": among.first(among.x[asked], gaps[asked])}
    shares = {name: float(right[asked, rows].mean()) for name, rows in first.items()}
    return {"of": len(asked), "among": len(among.vectors), "hours": hours, **shares}


def _gaps(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(Q, N) Euclidean distances, one query at a time: without the cancellation of the product form."""
    return np.stack([np.linalg.norm(vectors - query, axis=1) for query in queries])


def _hours(one: Patch, other: Patch) -> float | None:
    if one.time is None or other.time is None:
        return None
    return abs((one.time - other.time).total_seconds()) / 3600.0
