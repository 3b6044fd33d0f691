"""Shares, paired differences and rank correlations; in intervals whole regions are drawn with replacement.

Frames of one region are near copies of each other; an interval that took them for independent would be too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["difference_of", "interval_of", "one_of_each_first", "rank_correlation", "share_of"]


def interval_of(
    values: ArrayLike,
    groups: ArrayLike,
    statistic: str = "mean",
    resamples: int = 1_000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Bootstrap interval of the mean or the median of values (N,) that belong to groups (N,).

    Returns
    -------
    (low, high); None where there are fewer than two groups.
    """
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return None
    rng = np.random.default_rng(seed)
    if statistic == "mean":
        total = np.bincount(place, values, len(names))
        count = np.bincount(place, minlength=len(names))
        drawn = rng.integers(len(names), size=(resamples, len(names)))
        sample = total[drawn].sum(1) / count[drawn].sum(1)
    elif statistic == "median":
        members = [np.flatnonzero(place == k) for k in range(len(names))]
        sample = np.empty(resamples)
        for k in range(resamples):
            rows = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
            sample[k] = np.median(values[rows])
    else:
        raise ValueError(f"statistic must be 'mean' or 'median', not {statistic!r}")
    low, high = np.percentile(sample, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)


def share_of(hits: ArrayLike, groups: ArrayLike, seed: int = 0) -> dict[str, float | None]:
    """``share`` of truth values (N,) with the interval ``low`` to ``high``; all None where there are none."""
    hits = np.asarray(hits, bool)
    if not len(hits):
        return {"share": None, "low": None, "high": None}
    interval = interval_of(hits, groups, seed=seed)
    low, high = interval if interval is not None else (None, None)
    return {"share": float(hits.mean()), "low": low, "high": high}


def difference_of(a: ArrayLike, b: ArrayLike, groups: ArrayLike, seed: int = 0) -> dict[str, float | None]:
    """Mean of the paired differences a - b (N,), and its interval."""
    gap = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    interval = interval_of(gap, groups, seed=seed)
    low, high = interval if interval is not None else (None, None)
    return {"difference": float(gap.mean()), "low": low, "high": high}


def rank_correlation(a: np.ndarray, b: np.ndarray) -> dict[str, float | int | None]:
    """``spearman`` of pairs (N,), its two-sided probability ``p`` of independent ones, and ``n``; None without any."""
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"spearman": None, "p": None, "n": len(a)}
    found = spearmanr(a, b)
    return {"spearman": float(found.statistic), "p": float(found.pvalue), "n": len(a)}


def one_of_each_first(groups: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """(N,) all rows, blindly one of each group (a region), then a second of each, and so on."""
    groups = np.asarray(groups)
    order = rng.permutation(len(groups))
    shuffled = groups[order]
    together = np.argsort(shuffled, kind="stable")
    first = np.r_[True, shuffled[together][1:] != shuffled[together][:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(len(groups)), 0))
    turn = np.empty(len(groups), int)
    turn[together] = np.arange(len(groups)) - start
    return np.asarray(order[np.argsort(turn, kind="stable")])
