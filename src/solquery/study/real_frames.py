"""From simulation to the Sun: does an encoder trained on simulated regions recognise observed ones.

Observed frames are put among the patches of an archive. A changed copy of each should find its original first, and a
frame whose region was also observed at other times, hours or days apart, should find one of those first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..archive.prepare import prepare
from ..encoder import embed
from ..errors import SolqueryError
from ..search import RERANK_DEPTH, load_index
from ..sharp.fits import UnreadableFits, read_sharp
from .recall import changed_copies, looked_again, rank_of
from .shares import share_of

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..patch import Patch

__all__ = ["read_frames", "real_frames"]

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
) -> dict[str, Any]:
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
    index = load_index(archive, model, where)
    x = np.stack([np.nan_to_num(prepare(patch, model.preset)) for patch in patches]).astype(np.float32)
    own = embed(model.encoder, x)
    vectors = np.concatenate([index.vectors, own])
    regions = np.array([patch.region for patch in patches])
    columns = len(index) + np.arange(len(patches))

    def pictures(rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *x.shape[1:]), np.float32)
        ids = [str(index.ids[row]) for row in rows if row < len(index)]
        found = dict(zip(*archive.prepared(model.preset, ids=ids), strict=True)) if ids else {}
        for k, row in enumerate(rows):
            out[k] = np.nan_to_num(found[str(index.ids[row])]) if row < len(index) else x[row - len(index)]
        return out

    ranks = np.empty((copies, len(patches)), int)
    again = np.empty((copies, len(patches)), bool)
    for k in range(copies):
        changed = changed_copies(x, "all", model.preset.encoder.augment, seed + k)
        apart = _gaps(embed(model.encoder, changed), vectors)
        ranks[k] = rank_of(apart, columns)
        again[k] = looked_again(changed, apart, RERANK_DEPTH, model, pictures) == columns

    gaps = _gaps(own, vectors)
    gaps[np.arange(len(patches)), columns] = np.inf
    frames, found_first, groups = [], [], []
    for k, patch in enumerate(patches):
        others = [j for j, region in enumerate(regions) if region == patch.region and j != k]
        entry: dict[str, Any] = {
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
        "among": len(index),
        "frames": frames,
        "copies": {**share_of((ranks == 1).T.ravel(), np.repeat(regions, copies), seed), "of": int(ranks.size)},
        "verified": {**share_of(again.T.ravel(), np.repeat(regions, copies), seed), "of": int(ranks.size)},
        "others": {**share_of(found_first, groups, seed), "of": len(found_first)},
    }


def _gaps(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(Q, N) Euclidean distances, one query at a time: without the cancellation of the product form."""
    return np.stack([np.linalg.norm(vectors - query, axis=1) for query in queries])


def _hours(one: Patch, other: Patch) -> float | None:
    if one.time is None or other.time is None:
        return None
    return abs((one.time - other.time).total_seconds()) / 3600.0
