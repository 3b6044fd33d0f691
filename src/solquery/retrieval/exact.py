"""The k smallest Euclidean distances, for many queries at once, exactly as a loop over differences gives them.

Distances in product form, |q|² + |v|² - 2 q·v, are one matrix product, and too inexact to rank near-duplicates by. Here
the product only says which few vectors can be among the nearest: those within its largest possible rounding error of
the k-th. Their distances are then taken from differences in double precision, and ranked by them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["all_squares", "half_squares", "one_per_region", "smallest"]

#: queries and vectors in one matrix product; fewer queries are not worth a copy of the vectors
_QUERIES, _VECTORS, _FEW = 512, 16384, 16
#: candidates held before they are thinned out to the nearest; there are so many only where vectors are equal
_PENDING = 4_000_000
#: numbers subtracted at a time
_DIFFERENCES = 4_000_000

#: (queries (Q, D), depth) to rows (Q, depth) and squares (Q, depth), nearest first; -1 and infinity where there is none
Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def half_squares(vectors: np.ndarray) -> np.ndarray:
    """(N,) float32 of |v|²/2; infinite for a vector with a number that is none."""
    out = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _VECTORS):
        part = np.asarray(vectors[start : start + _VECTORS], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            out[start : start + _VECTORS] = 0.5 * np.einsum("nd,nd->n", part, part)
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
    queries: np.ndarray, vectors: np.ndarray, k: int, halves: np.ndarray | None = None
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

    Returns
    -------
    rows, squares
        (Q, k) int64 and float64: squared distances in double precision, nearest first, equal ones in the order of the
        rows; -1 and infinity where there are fewer than k candidates.
    """
    queries = np.ascontiguousarray(queries, np.float64)
    halves = half_squares(vectors) if halves is None else halves
    # the product has to tell the k best apart by the best of each few columns
    if k > _VECTORS // _together(k) // 2 or len(vectors) < 4 * k * _together(k):
        return _by_differences(queries, vectors, k, halves)
    usable = halves[np.isfinite(halves)]
    longest = float(np.sqrt(2.0 * usable.max(initial=0.0)))
    lengths = np.linalg.norm(queries, axis=1)
    # |error| of a product of D + 1 terms in single precision, with room for those of the sides and of |v|²/2
    slack = 2.0 * (queries.shape[1] + 8) * 2.0**-23 * (lengths * longest + longest**2)
    # and the distances themselves are rounded, where a query is far from everything
    slack += (queries.shape[1] + 8) * 2.0**-51 * (lengths + longest) ** 2
    if not np.isfinite(slack).all() or slack.max(initial=0.0) > 1e30:
        return _by_differences(queries, vectors, k, halves)
    return _by_products(queries, vectors, k, halves, slack)


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


def _by_products(
    queries: np.ndarray, vectors: np.ndarray, k: int, halves: np.ndarray, slack: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows, squares = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))

    def answer(tile: slice) -> None:
        rows[tile], squares[tile] = _tile(queries[tile], vectors, k, halves, slack[tile])

    if len(queries) < _FEW:
        answer(slice(None))
        return rows, squares
    # a tile for each core, so that also what is no matrix product runs on all of them
    blas = _blas()
    threads = max((library["num_threads"] for library in blas.info()), default=1)
    size = min(_QUERIES, -(-len(queries) // threads))
    with blas.limit(limits=1), ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(answer, [slice(start, start + size) for start in range(0, len(queries), size)]):
            pass
    return rows, squares


@lru_cache(maxsize=1)
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _tile(
    queries: np.ndarray, vectors: np.ndarray, k: int, halves: np.ndarray, slack: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`smallest` for as many queries as a matrix product takes at once."""
    n, dims = vectors.shape
    together = _together(k)
    few, slack = len(queries) < _FEW, slack.astype(np.float32)
    # a score q·v - |v|²/2 falls as the distance grows; its last term is one more dimension
    asked = np.concatenate([queries, np.ones((len(queries), 1))], 1).astype(np.float32)
    best = np.full((len(queries), k), -np.inf, np.float32)
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    pending = 0
    width = min(_VECTORS, -(-n // together) * together)
    scores = np.empty((len(queries), width), np.float32)
    part = np.zeros((0 if few else width, dims + 1), np.float32)
    for start in range(0, n, width):
        some = min(width, n - start)
        half = halves[start : start + some]
        out = scores[:, :some]
        if few:
            with np.errstate(invalid="ignore", over="ignore"):
                np.matmul(asked[:, :dims], vectors[start : start + some].T, out=out)
                out -= half
        else:
            part[:some, :dims] = vectors[start : start + some]
            part[:some, dims] = -half
            with np.errstate(invalid="ignore", over="ignore"):
                np.matmul(asked, part[:some].T, out=out)
        left_out = np.flatnonzero(~np.isfinite(half))
        if len(left_out):
            out[:, left_out] = -np.inf
        scores[:, some:] = -np.inf
        columns = scores.reshape(len(queries), together, width // together)
        highest = columns.max(1)
        # the k best of single columns seen so far: the k-th of all cannot be less than the last of them
        seen = np.concatenate([best, highest], 1)
        best = np.partition(seen, seen.shape[1] - k, axis=1)[:, -k:]
        least = best.min(1) - slack
        line, column = np.nonzero((highest >= least[:, None]) & (highest > -np.inf))
        values = columns[line, :, column]
        which, step = np.nonzero((values >= least[line, None]) & (values > -np.inf))
        held.append((line[which], start + step * (width // together) + column[which], values[which, step]))
        pending += len(which)
        if pending > _PENDING:
            rows, _ = _ranked(queries, vectors, k, held, least)
            line, place = np.nonzero(rows >= 0)
            # that these are among the nearest so far is known: they need no score
            held = [(line, rows[line, place], np.full(len(line), np.inf, np.float32))]
            pending = len(line)
    return _ranked(queries, vectors, k, held, best.min(1) - slack)


def _together(k: int) -> int:
    """Columns of which only the best score is looked at first; few enough that those of a chunk tell the `k` best."""
    return 64 if k <= 32 else 16


def _ranked(
    queries: np.ndarray,
    vectors: np.ndarray,
    k: int,
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    least: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates (query, row, score) in pieces, those of at least a score, ranked by true distance."""
    line, row, score = (np.concatenate(pieces) for pieces in zip(*held, strict=True))
    keep = score >= least[line]
    line, row = line[keep], row[keep]
    squares = np.empty(len(line))
    step = max(_DIFFERENCES // max(queries.shape[1], 1), 1)
    for start in range(0, len(line), step):
        piece = slice(start, start + step)
        squares[piece] = _squares(vectors[row[piece]], queries[line[piece]])
    order = np.lexsort((row, squares, line))
    line, row, squares = line[order], row[order], squares[order]
    place = np.arange(len(line)) - np.searchsorted(line, line)
    keep = place < k
    rows, nearest = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
    rows[line[keep], place[keep]], nearest[line[keep], place[keep]] = row[keep], squares[keep]
    return rows, nearest


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
