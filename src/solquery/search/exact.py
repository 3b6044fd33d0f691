"""The k smallest Euclidean distances, for many queries at once, exactly as a loop over differences gives them.

A matrix product says which few vectors can be among the nearest (`lower_bounds`), allowing for its largest possible
rounding error. Their distances are taken from differences in double precision, and ranked by them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .lower_bounds import LOWEST, LeadingColumnBounds, LowerBounds, scan

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["all_squares", "half_squares", "one_per_region", "smallest"]

#: queries and vectors in one matrix product, the scores of which stay in the cache; with few queries the vectors are
#: not copied, and longer stretches cost less than many calls
_QUERIES, _VECTORS, _FEW, _STRETCH = 256, 1024, 16, 16384
#: nearest that are kept beyond those asked for: enough, but where so many vectors are equally far
_SPARE = 6
#: a difference of squares that rounding in double precision explains
_ROUNDING = 1e-12
#: numbers subtracted at a time
_DIFFERENCES = 4_000_000

#: (queries (Q, D), depth) to rows (Q, depth) and squares (Q, depth), nearest first; -1 and infinity where there is none
Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def half_squares(vectors: np.ndarray) -> np.ndarray:
    """(N,) float32 of |v|²/2; infinite for a vector with a number that is none."""
    out = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _STRETCH):
        part = np.asarray(vectors[start : start + _STRETCH], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            out[start : start + _STRETCH] = 0.5 * np.einsum("nd,nd->n", part, part)
    return np.where(np.isnan(out), np.float32(np.inf), out)


def all_squares(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(N,) float64 squared distances of one query (D,) from all vectors (N, D), from differences."""
    query = np.asarray(query, np.float64)
    out = np.empty(len(vectors))
    step = max(_DIFFERENCES // max(len(query), 1), 1)
    for start in range(0, len(vectors), step):
        out[start : start + step] = _squares(vectors[start : start + step], query)
    return out


def _squares(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    difference = vectors.astype(np.float64)
    difference -= queries
    difference *= difference
    return difference.sum(1)


def smallest(
    queries: np.ndarray,
    vectors: np.ndarray,
    k: int,
    halves: np.ndarray | None = None,
    bounds: LowerBounds | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` nearest vectors of each query.

    Parameters
    ----------
    queries
        (Q, D).
    vectors
        (N, D) float32, in memory or mapped from a file.
    k
        How many.
    halves
        (N,) from `half_squares`; infinite where a vector is no candidate. None: computed here.
    bounds
        Of these vectors, made before (`PrincipalAxisBounds`); None: whole vectors are multiplied.

    Returns
    -------
    rows, squares
        (Q, k) int64 and float64: squared distances in double precision, nearest first, equal ones in the order of the
        rows; -1 and infinity where there are fewer than k candidates.
    """
    queries = np.ascontiguousarray(queries, np.float64)
    vectors = np.ascontiguousarray(vectors, np.float32)
    halves = half_squares(vectors) if halves is None else np.ascontiguousarray(halves, np.float32)
    few = len(queries) < _FEW
    bounds = LeadingColumnBounds(vectors, halves, copied=not few) if bounds is None else bounds
    with np.errstate(over="ignore", invalid="ignore"):
        asked, lengths = bounds.asked(queries)
        # |error| of a product in single precision of at most D + 2 terms, with room for those of the sides; and the
        # distances themselves are rounded, where a query is far from everything
        dims, far = queries.shape[1] + 8, np.sqrt(lengths)
        slack = 2.0 * dims * 2.0**-23 * (far * bounds.longest + bounds.longest**2)
        slack += dims * 2.0**-51 * (far + bounds.longest) ** 2
    if not np.isfinite(slack).all() or slack.max(initial=0.0) > 1e30:
        return _by_differences(queries, vectors, k, halves)
    rows, squares = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)

    def answer(tile: slice) -> None:
        found, apart = _candidates(
            queries[tile], vectors, k + _SPARE, halves, bounds, asked[tile], lengths[tile], slack[tile]
        )
        rows[tile], squares[tile] = _ranked(queries[tile], vectors, k, found)
        # more vectors equally far than are kept: which of them come first is not known
        last, kth = apart.max(1, initial=-1.0), squares[tile][:, -1]
        for line in np.flatnonzero(np.isfinite(last) & (last <= kth * (1.0 + _ROUNDING))):
            at = slice(tile.start + line, tile.start + line + 1)
            rows[at], squares[at] = _by_differences(queries[at], vectors, k, halves)

    if few:
        answer(slice(0, len(queries)))
        return rows, squares
    # a tile for each core, so that also what is no matrix product runs on all of them
    blas = _blas()
    threads = max((library["num_threads"] for library in blas.info()), default=1)
    size = min(_QUERIES, -(-len(queries) // threads))
    tiles = [slice(start, min(start + size, len(queries))) for start in range(0, len(queries), size)]
    with blas.limit(limits=1), ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(answer, tiles):
            pass
    return rows, squares


def _by_differences(
    queries: np.ndarray, vectors: np.ndarray, k: int, halves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows, squares = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
    for line, query in enumerate(queries):
        with np.errstate(over="ignore", invalid="ignore"):
            all_of_them = np.where(np.isfinite(halves), all_squares(query, vectors), np.inf)
        all_of_them[np.isnan(all_of_them)] = np.inf
        order = np.argsort(all_of_them, kind="stable")[:k]
        order = order[np.isfinite(all_of_them[order])]
        rows[line, : len(order)], squares[line, : len(order)] = order, all_of_them[order]
    return rows, squares


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _candidates(
    queries: np.ndarray,
    vectors: np.ndarray,
    keep: int,
    halves: np.ndarray,
    bounds: LowerBounds,
    asked: np.ndarray,
    lengths: np.ndarray,
    slack: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The `keep` nearest of each query, but for rounding, in any order: (Q, keep) rows, -1 for none, and squares."""
    squares, rows = np.full((len(queries), keep), np.inf), np.full((len(queries), keep), -1, np.int64)
    held, least = np.zeros(len(queries), np.int64), np.full(len(queries), LOWEST)
    width = _STRETCH if len(queries) < _FEW else _VECTORS
    out = np.empty(len(queries) * width, np.float32)
    for start in range(0, len(bounds.rows), width):
        stop = min(start + width, len(bounds.rows))
        scores = out[: len(queries) * (stop - start)].reshape(len(queries), -1)
        bounds.scores(asked, start, stop, scores)
        scan(scores, bounds.rows[start:stop], queries, vectors, halves, lengths, slack, squares, rows, held, least)
    return rows, squares


def _ranked(queries: np.ndarray, vectors: np.ndarray, k: int, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of candidates (Q, K), ranked by true distance, equal ones in the order of the rows."""
    line, column = np.nonzero(found >= 0)
    row, squares = found[line, column], np.full(found.shape, np.inf)
    step = max(_DIFFERENCES // max(queries.shape[1], 1), 1)
    for start in range(0, len(line), step):
        piece = slice(start, start + step)
        squares[line[piece], column[piece]] = _squares(vectors[row[piece]], queries[line[piece]])
    order = np.lexsort((found, squares))[:, :k]
    return np.take_along_axis(found, order, 1), np.take_along_axis(squares, order, 1)


def one_per_region(
    find: Find, queries: np.ndarray, k: int, codes: np.ndarray, available: int, deepest: int
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """The nearest row of each of the `k` nearest regions, by going as deep as that takes.

    Parameters
    ----------
    find
        Gives the nearest rows of any region.
    queries
        (Q, D).
    k
        Regions wanted.
    codes
        (N,) int, one number a region.
    available, deepest
        How many rows there are to find, and how many `find` is ever asked for.

    Returns
    -------
    rows, squares
        Of each query at most k, nearest first.
    unfinished
        Queries for which `deepest` rows hold fewer than k regions and there are more rows.
    """
    rows = [np.zeros(0, np.int64)] * len(queries)
    squares = [np.zeros(0)] * len(queries)
    left, depth = np.arange(len(queries)), max(16 * k, 64)
    while len(left):
        depth = min(depth, deepest, max(available, 1))
        found, apart = find(queries[left], depth)
        wanting = []
        for at, line, values in zip(left, found, apart, strict=True):
            line, values = line[line >= 0], values[line >= 0]
            first = np.sort(np.unique(codes[line], return_index=True)[1])[:k]
            rows[at], squares[at] = line[first], values[first]
            if len(first) < k and len(line) == depth and depth < available:
                wanting.append(at)
        left = np.array(wanting, dtype=np.int64)
        if depth == deepest:
            break
        depth *= 4
    return rows, squares, left
