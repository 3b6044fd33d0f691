"""Reranking the first answers of a search: is one of them the query itself, moved.

An embedding forgets on purpose where in the frame a region lies, how large and how tilted it is, and a little of the
rest with it: frames of one region, hours apart, come as near as a copy of the query itself. The first answers can
be compared pixel by pixel: lay the query over each by shift, zoom, rotation and vertical flip (`Aligner`), and see
how much agrees. What agrees nearly everywhere comes first; of all others the embedding knows better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..config import AugmentConfig
from ..encoder.augment import Views
from .alignment import Aligner

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model
    from .index import Match

__all__ = ["ALIKE", "RERANK_DEPTH", "best_correlation", "reranked", "staged_correlations"]

#: first answers that are reranked where nothing else is said
RERANK_DEPTH = 20
#: correlation from which one patch is the other one, moved, or the same region hours apart: of 100 copies among 10,000
#: patches none was below 0.89, of 1,086 first answers of other regions one in a hundred above 0.85
ALIKE = 0.85
#: pixels averaged while all are compared, and how many of the best are then compared pixel by pixel
_COARSE, _CLOSE = 2, 8


def best_correlation(
    query: ArrayLike, candidates: ArrayLike, cfg: AugmentConfig | None = None
) -> tuple[np.ndarray, Views]:
    """How well a patch can be laid over others, on the whole grid.

    Parameters
    ----------
    query, candidates
        (H, W) and (N, H, W) in preset units; NaN counts as 0.
    cfg
        What may be done to the query; None: as in the paper.

    Returns
    -------
    values
        (N,) float32 within [-1, 1], the normalised cross-correlation over what both cover; 1 for a transformed copy.
    views
        What was done to the query.

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    x, b = _checked(query, candidates)
    return Aligner(x, cfg or AugmentConfig()).over(b)


def _checked(query: ArrayLike, candidates: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, b = np.asarray(query, dtype=np.float32), np.asarray(candidates, dtype=np.float32)
    if x.ndim != 2 or b.shape[1:] != x.shape:
        raise ValueError(f"a patch and those to lay it over must have the same (H, W), got {x.shape} and {b.shape[1:]}")
    return x, b


def staged_correlations(
    query: np.ndarray, candidates: np.ndarray, cfg: AugmentConfig, aligner: Aligner | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`best_correlation` for a ranking: (N,) numbers to rank by, and (N,) whether each is the correlation.

    It is for the few that are best on averages of four pixels, which are compared on all pixels. The number of each
    other one is that on averages, and no larger than the lowest of the few: the order is that of the fine comparison
    where it was made. `aligner` is that of the query, where there is one.
    """
    x, b = _checked(query, candidates)
    aligner = Aligner(x, cfg) if aligner is None else aligner
    values = aligner.over(b, finest=_COARSE)[0]
    fine = np.zeros(len(values), bool)
    if len(values):
        fine[np.argsort(-values, kind="stable")[:_CLOSE]] = True
        values[fine] = aligner.over(b[fine])[0]
        values[~fine] = np.minimum(values[~fine], values[fine].min())
    return values, fine


def reranked(
    archive: Archive,
    model: Model,
    query: np.ndarray,
    find: Callable[[int, str], list[Match]],
    k: int = 10,
    group: str = "region",
    first: int = RERANK_DEPTH,
    aligner: Aligner | None = None,
    pictures: Callable[[list[Match]], np.ndarray] | None = None,
    compare: Callable[[list[str], np.ndarray], np.ndarray] | None = None,
) -> list[Match]:
    """The answers of a search, those first over which the query can be laid.

    Parameters
    ----------
    archive, model
        As for the search.
    query
        (H, W) in preset units.
    find
        The search: from a number of answers and a `group` to that many matches.
    k, group
        As in `solquery.search.search`.
    first
        How many patches, whatever their regions, are compared again.
    aligner
        Of the query, where there is one.
    pictures
        Gives the prepared patches (N, H, W) of matches; None: from the archive, by their ids.
    compare
        Gives correlations (N,) of patches, by ids and grids; all of them come first then, by it. None: the query is
        laid over each (`best_correlation`).

    Returns
    -------
    list of Match
        Those that were compared on all pixels have their `correlation` (`best_correlation`); where it is at least
        `ALIKE` they come first, by it; all others in the order they had. Distances are those of the search.
    """
    near = find(first, "none")
    answers = find(k, group)
    if not near:
        return answers
    if pictures is None:
        names, x = archive.prepared(model.preset, ids=[match.id for match in near])
    else:
        names, x = [match.id for match in near], pictures(near)
    x = np.asarray(x, np.float32)
    if compare is None:
        values, fine = staged_correlations(query, x, model.preset.encoder.augment, aligner)
    else:
        values, fine = compare(names, x), np.ones(len(names), bool)
    least = ALIKE if compare is None else -np.inf
    measured = {name for name, told in zip(names, fine, strict=True) if told}
    found = {name: float(value) for name, value in zip(names, values, strict=True)}
    # a stable sort: the search decides between equals
    alike = sorted((m for m in near if found[m.id] >= least), key=lambda m: -found[m.id])
    chosen, seen = [], set()
    for match in [*alike, *answers]:
        key = match.region if group == "region" else match.id
        if key not in seen:
            seen.add(key)
            chosen.append(replace(match, correlation=found[match.id] if match.id in measured else None))
    return [replace(match, rank=rank) for rank, match in enumerate(chosen[:k], start=1)]
