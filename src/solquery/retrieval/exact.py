"""The k smallest Euclidean distances, for many queries at once, exactly as a loop over differences gives them.

Distances in product form, |q|² + |v|² - 2 q·v, are one matrix product, and too inexact to rank near-duplicates by. Here
the product only says which few vectors can be among the nearest: those within its largest possible rounding error of
the k-th. Their distances are then taken from differences in double precision, and ranked by them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["all_squares", "half_squares", "one_per_region", "smallest"]

#: queries and vectors in one matrix product, and columns of which only the best score is looked at first
_QUERIES, _VECTORS, _TOGETHER = 512, 16384, 16
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
    if k > _VECTORS // _TOGETHER // 2 or len(vectors) < 4 * k * _TOGETHER:
        return _by_differences(queries, vectors, k, halves)
    usable = halves[np.isfinite(halves)]
    longest = float(np.sqrt(2.0 * usable.max(initial=0.0)))
    lengths = np.linalg.norm(queries, axis=1)
    # |error| of a product of D + 1 terms in single precision, with room for those of the sides and of |v|²/2
    slack = 2.0 * (queries.shape[1] + 8) * 2.0**-23 * (lengths * longest + longest**2)
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
    n, dims = vectors.shape
    # a score q·v - |v|²/2 falls as the distance grows; its last term is one more dimension
    asked = np.concatenate([queries, np.ones((len(queries), 1))], 1).astype(np.float32)
    tiles = [slice(start, start + _QUERIES) for start in range(0, len(queries), _QUERIES)]
    best = np.full((len(queries), k), -np.inf, np.float32)
    held: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in tiles]
    width = min(_VECTORS, -(-n // _TOGETHER) * _TOGETHER)
    scores = np.empty((min(_QUERIES, len(queries)), width), np.float32)
    part = np.empty((width, dims + 1), np.float32)
    for start in range(0, n, width):
        some = min(width, n - start)
        part[:some, :dims] = vectors[start : start + some]
        part[:some, dims] = -halves[start : start + some]
        part[:some][~np.isfinite(halves[start : start + some]), :dims] = 0.0
        part[some:] = 0.0
        part[some:, dims] = -np.inf
        for at, tile in enumerate(tiles):
            mine = asked[tile]
            out = scores[: len(mine)]
            np.matmul(mine, part.T, out=out)
            columns = out.reshape(len(mine), _TOGETHER, width // _TOGETHER)
            highest = columns.max(1)
            # the k best of single columns seen so far: the k-th of all cannot be less than the last of them
            seen = np.concatenate([best[tile], highest], 1)
            best[tile] = np.partition(seen, seen.shape[1] - k, axis=1)[:, -k:]
            least = best[tile].min(1) - slack[tile].astype(np.float32)
            line, column = np.nonzero((highest >= least[:, None]) & (highest > -np.inf))
            values = columns[line, :, column]
            which, step = np.nonzero((values >= least[line, None]) & (values > -np.inf))
            found = (line[which], start + step * (width // _TOGETHER) + column[which], values[which, step])
            held[at].append(found)
            if sum(len(piece[0]) for piece in held[at]) > _PENDING:
                rows, _ = _ranked(queries[tile], vectors, k, held[at], least)
                line, place = np.nonzero(rows >= 0)
                # their scores let them through every time: that they are among the nearest is known
                held[at] = [(line, rows[line, place], np.full(len(line), np.inf, np.float32))]
    rows, squares = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
    for at, tile in enumerate(tiles):
        least = best[tile].min(1) - slack[tile].astype(np.float32)
        rows[tile], squares[tile] = _ranked(queries[tile], vectors, k, held[at], least)
    return rows, squares


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
    left, depth = np.arange(len(queries)), max(32 * k, 64)
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
