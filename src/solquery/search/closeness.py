"""Whether a match is one: its distance beside those between the patches of the archive themselves.

A search always has a nearest patch, also where the archive holds nothing like the query. What a small distance is
depends on encoder and archive, so that it is measured: how far patches of the archive are from their nearest other
region, and from any other region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from .exact import all_squares
from .hybrid import EMBEDDING, combine, shares
from .structure import STRUCTURE

if TYPE_CHECKING:
    from .approximate import ApproximateIndex
    from .session import SearchSession

__all__ = ["Closeness", "closeness", "closeness_of", "distances_between", "quick_closeness"]

_SAMPLED = 64
_KEPT = 100_000
#: patches of an approximate index that the sampled ones are compared with
_OTHERS = 2_048
#: patches whose distances from all others are in memory together
_AT_A_TIME = 8


@dataclass(frozen=True)
class Closeness:
    """Distances in an archive, to judge one by.

    Attributes
    ----------
    pairs
        (P,) sorted distances of pairs of patches of different regions.
    threshold
        95 of 100 patches have another region nearer than this.
    """

    pairs: np.ndarray
    threshold: float

    def share(self, distance: float) -> float | None:
        """Share of the pairs that lie farther apart than `distance`; None in an archive of one region."""
        if not len(self.pairs):
            return None
        return float(1.0 - np.searchsorted(self.pairs, distance, side="right") / len(self.pairs))

    def close(self, distance: float) -> bool | None:
        """Whether a distance is one that patches of the archive have from their nearest other region."""
        return None if not np.isfinite(self.threshold) else bool(distance <= self.threshold)


def closeness(session: SearchSession, by: str, quick: ApproximateIndex | None, loaded: bool) -> Closeness | None:
    """Of the whole archive of a session.

    Parameters
    ----------
    by
        What is compared.
    quick
        The approximate index, where there is one.
    loaded
        Whether the embeddings are in memory, or are soon.

    Returns
    -------
    None of the paper's distances, and where only reading a large archive would tell.
    """
    if quick is not None:
        return quick_closeness(quick)
    if by in ("euclidean", "mahalanobis") or not loaded:
        return None
    return closeness_of(session.index().codes, lambda rows: distances_between(session, by, rows))


def closeness_of(regions: np.ndarray, distances: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> Closeness:
    """Distances between patches of different regions, from a sample of at most 64.

    Parameters
    ----------
    regions
        (N,) names, or numbers that stand for them.
    distances
        (Q,) rows to (Q, N) distances from them.
    seed
        Of the sample.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(regions))[:_SAMPLED])
    parts: list[np.ndarray] = []
    least: list[float] = []
    for start in range(0, len(rows), _AT_A_TIME):
        some = rows[start : start + _AT_A_TIME]
        for row, apart in zip(some, np.asarray(distances(some), dtype=np.float64), strict=True):
            found = np.sort(apart[np.isfinite(apart) & (regions != regions[row])])
            if len(found):
                least.append(float(found[0]))
                parts.append(_thinned(found))
    return _closeness(np.concatenate(parts or [np.zeros(0)]), least)


def quick_closeness(index: ApproximateIndex, seed: int = 0) -> Closeness:
    """The same of an approximate index: nearest other regions by its searches, pairs with 2,048 other patches."""
    rng = np.random.default_rng(seed)
    codes = np.asarray(index.codes)
    rows, others = (np.sort(rng.permutation(len(index))[:count]) for count in (_SAMPLED, _OTHERS))
    parts: list[np.ndarray] = [np.zeros(0)]
    least: list[float] = []
    for row in rows:
        vector = np.asarray(index.vectors[row], np.float64)
        squares = index.nearest_rows(vector[None], 1, exclude_region=index.regions[int(codes[row])].as_py())[1][0]
        if len(squares):
            least.append(float(np.sqrt(squares[0])))
        parts.append(np.sqrt(all_squares(vector, index.vectors[others[codes[others] != codes[row]]])))
    return _closeness(np.concatenate(parts), least)


def distances_between(session: SearchSession, by: str, rows: np.ndarray) -> np.ndarray:
    """(Q, N) distances of patches of an archive from all of them, as a search measures them.

    Parameters
    ----------
    session
        Of the archive.
    by
        ``"embedding"``, ``"structure"``, ``"hybrid"`` or ``"physics"``, with their own weights.
    rows
        (Q,) of `session.index()`, which the N are as well.

    Returns
    -------
    float64; infinite by structure where one of the two has no field.
    """
    index = session.index()
    if by == STRUCTURE:
        every = session.structure().patches
        place = pc.fill_null(pc.index_in(index.id_array, value_set=every.id_array), -1).to_numpy()
        apart = every.distances(every.vectors[place[rows]])[:, place]
        return np.where((place < 0) | (place[rows] < 0)[:, None], np.inf, apart)
    look = index.distances(index.vectors[rows])
    if by == EMBEDDING or not len(rows):
        return look
    weights = shares(by)
    physical = {name: weight for name, weight in weights.items() if name != EMBEDDING}
    scored, at = session.scored(tuple(physical), index)
    share = weights.get(EMBEDDING, 0.0) / sum(weights.values())
    return combine(look, scored.between(at[rows], physical, at), index.appearance_scale, share)


def _closeness(pairs: np.ndarray, least: list[float]) -> Closeness:
    return Closeness(_thinned(np.sort(pairs)), float(np.quantile(least, 0.95)) if least else float("nan"))


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most 100,000 of sorted values (N,), evenly spread."""
    return values if len(values) <= _KEPT else values[np.linspace(0, len(values) - 1, _KEPT).round().astype(int)]
