"""Whether a match is one: its distance beside those between the patches of the archive themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Closeness", "closeness_of"]

_SAMPLED = 64
_KEPT = 100_000
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
    pairs = _thinned(np.sort(np.concatenate(parts or [np.zeros(0)])))
    return Closeness(pairs, float(np.quantile(least, 0.95)) if least else float("nan"))


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most 100,000 of sorted values (N,), evenly spread."""
    return values if len(values) <= _KEPT else values[np.linspace(0, len(values) - 1, _KEPT).round().astype(int)]
