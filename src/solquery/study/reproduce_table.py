"""The paper's numbers beside ours: correlations of query and match, with bootstrap intervals, as one table.

Frames of one region are near copies of each other, so pairs are resampled region by region: the interval says what
another archive of as many regions would have given, not what more frames of the same ones would.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Document
from ..serialise import finite
from .retrieval import PAPER, correlate

__all__ = ["bootstrap", "comparison"]

_STATISTICS = ("pearson", "spearman")


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def bootstrap(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike, resamples: int = 1_000, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Intervals of the Pearson and Spearman correlation of two samples, whole groups being drawn with replacement.

    Parameters
    ----------
    a, b
        (N,); pairs with NaN are left out.
    groups
        (N,) what a pair belongs to, e.g. the region of the match.
    resamples, seed
        How many draws, and their seed.
    level
        Probability covered, between equal tails.

    Returns
    -------
    ``pearson`` and ``spearman`` to (low, high); NaN where fewer than two groups are there or nothing varies.
    """
    from scipy.stats import rankdata

    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    known = np.isfinite(one) & np.isfinite(other)
    one, other, owner = one[known], other[known], np.asarray(groups)[known]
    unknown = dict.fromkeys(_STATISTICS, (float("nan"), float("nan")))
    names, place = np.unique(owner, return_inverse=True)
    if len(names) < 2:
        return unknown
    members = [np.flatnonzero(place == k) for k in range(len(names))]
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in _STATISTICS}
    for _ in range(resamples):
        rows = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        drawn["pearson"].append(_pearson(one[rows], other[rows]))
        drawn["spearman"].append(_pearson(rankdata(one[rows]), rankdata(other[rows])))
    tails = (50.0 * (1.0 - level), 50.0 * (1.0 + level))
    out = {}
    for name, values in drawn.items():
        sample = np.array(values)[np.isfinite(values)]
        low, high = np.percentile(sample, tails) if len(sample) else unknown[name]
        out[name] = (float(low), float(high))
    return out


def comparison(
    queries: Mapping[str, np.ndarray],
    matches: Mapping[str, np.ndarray],
    regions: np.ndarray,
    data: str,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[Document]:
    """One row per number that the paper gives for its retrieval: what it says, what came out here, the difference.

    Parameters
    ----------
    queries, matches
        Parameter name to (Q,).
    regions
        (Q,) region of each best match: what the bootstrap resamples.
    data
        On which data, for the last column.

    Returns
    -------
    Rows of ``parameter``, ``statistic``, ``paper``, ``ours``, ``low``, ``high``, ``difference``, ``pairs``,
    ``regions``, ``data``; None for what is unknown.
    """
    rows = []
    for name, stated in PAPER.items():
        found = correlate(queries[name], matches[name])
        intervals = bootstrap(queries[name], matches[name], regions, resamples, seed)
        known = np.isfinite(queries[name]) & np.isfinite(matches[name])
        for statistic, paper in zip(_STATISTICS, stated, strict=True):
            ours = finite(found[statistic])
            low, high = (finite(v) for v in intervals[statistic])
            rows.append(
                {
                    "parameter": name,
                    "statistic": statistic,
                    "paper": paper,
                    "ours": ours,
                    "low": low,
                    "high": high,
                    "difference": None if ours is None else ours - paper,
                    "pairs": found["pairs"],
                    "regions": len(np.unique(regions[known])),
                    "data": data,
                }
            )
    return rows
