"""Which vectors can be among the nearest: lower bounds of distances, many at once, from a matrix product.

A distance in product form, |q|² + |v|² - 2 q·v, is one matrix product, and too inexact to rank near-duplicates by; but
it says which few vectors can be among the nearest at all, and those are measured from differences. The product need not
even be of whole vectors. Along the principal axes of the archive, the first few numbers hold most of what is
different in embeddings, and of all the others only the length is kept as one number more. That a distance cannot be
less than these numbers say is the triangle inequality: |a'' - b''| ≥ | |a''| - |b''| |, where '' is what is left out.
"""

from __future__ import annotations

from typing import Protocol

import numba
import numpy as np

__all__ = ["LOWEST", "LeadingColumnBounds", "LowerBounds", "PrincipalAxisBounds", "scan", "squares_to"]

#: scores are looked at in groups of so many: most hold nothing that is near
_GROUP = 64
#: rows and queries that say how many axes are worth their product, and which neighbour among the rows is the far one
_SAMPLE, _TRIED, _FAR = 4096, 64, 3
#: what a row costs for each number in the product, for looking at its score, and for being measured: nanoseconds
_COLUMN, _LOOK, _MEASURE = 0.04, 0.15, 250.0
#: axes that are tried
_AXES = (8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96)

#: a score that every candidate has, and no row that is none
LOWEST = np.float32(np.finfo(np.float32).min)


class LowerBounds(Protocol):
    """Rows in some order, and scores q·v - |v|²/2 of them which are never less than the true ones, but for rounding."""

    #: (N,) which row of the vectors stands where
    rows: np.ndarray
    #: length of the longest vector, from where the scores are taken
    longest: float

    def asked(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Queries (Q, D) as they are multiplied (Q, W) float32, and their squared lengths (Q,) float64."""

    def scores(self, asked: np.ndarray, start: int, stop: int, out: np.ndarray) -> None:
        """Scores (Q, stop - start) float32 of rows; minus infinity where a row is no candidate."""


class LeadingColumnBounds:
    """Scores of whole vectors, as they are.

    Parameters
    ----------
    vectors
        (N, D) float32, in memory or mapped from a file.
    halves
        (N,) from `half_squares`; infinite where a vector is no candidate.
    copied
        Whether enough queries come at once that a copy of the vectors is worth its time.
    """

    def __init__(self, vectors: np.ndarray, halves: np.ndarray, copied: bool) -> None:
        self._vectors, self._halves, self._copied = vectors, halves, copied
        self.rows = np.arange(len(vectors))
        self.longest = float(np.sqrt(2.0 * halves[np.isfinite(halves)].max(initial=0.0)))

    def asked(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        one = np.ones((len(queries), 1))
        return np.concatenate([queries, one], 1).astype(np.float32), np.einsum("qd,qd->q", queries, queries)

    def scores(self, asked: np.ndarray, start: int, stop: int, out: np.ndarray) -> None:
        half, dims = self._halves[start:stop], self._vectors.shape[1]
        with np.errstate(invalid="ignore", over="ignore"):
            if self._copied:
                part = np.empty((stop - start, dims + 1), np.float32)
                part[:, :dims], part[:, dims] = self._vectors[start:stop], -half
                np.matmul(asked, part.T, out=out)
            else:
                np.matmul(asked[:, :dims], self._vectors[start:stop].T, out=out)
                out -= half
        left_out = np.flatnonzero(~np.isfinite(half))
        if len(left_out):
            out[:, left_out] = -np.inf


class PrincipalAxisBounds:
    """Scores of the first numbers along the principal axes and of the length of the rest; made once, for many queries.

    Rows are taken at even steps through the vectors: any stretch of them is a sample of all, and the first says well
    how near the nearest are.

    Parameters
    ----------
    vectors
        (N, D) float32.
    halves
        (N,) from `half_squares`.
    axes
        How many; None: as many as make a search quickest, tried out on a sample.
    """

    def __init__(self, vectors: np.ndarray, halves: np.ndarray, axes: int | None = None) -> None:
        usable = np.flatnonzero(np.isfinite(halves))
        self._mean = np.zeros(vectors.shape[1])
        for start in range(0, len(usable), 65536):
            self._mean += vectors[usable[start : start + 65536]].sum(0, dtype=np.float64)
        self._mean /= max(len(usable), 1)
        some = vectors[usable[:: max(len(usable) // 20_000, 1)]].astype(np.float64) - self._mean
        self._axes = np.linalg.eigh(some.T @ some)[1][:, ::-1]
        step = max(int(np.sqrt(len(usable))), 1)
        self.rows = np.concatenate([usable[k::step] for k in range(step)]) if len(usable) else usable
        kept = best_axes(some @ self._axes, len(usable)) if axes is None else axes
        self.kept = min(kept, vectors.shape[1])
        self._packed = np.empty((len(self.rows), self.kept + 2), np.float32)
        self.longest = 0.0
        for start in range(0, len(self.rows), 16384):
            piece = slice(start, start + 16384)
            rotated, square = self._along_axes(vectors[self.rows[piece]].astype(np.float64))
            self._packed[piece, :-1], self._packed[piece, -1] = rotated, -0.5 * square
            self.longest = max(self.longest, float(np.sqrt(square.max(initial=0.0))))

    def _along_axes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First numbers of x (N, D) and the length of the rest (N, kept + 1), and squared lengths (N,)."""
        x = x - self._mean
        first, square = x @ self._axes[:, : self.kept], np.einsum("nd,nd->n", x, x)
        rest = np.sqrt(np.maximum(square - np.einsum("nd,nd->n", first, first), 0.0))
        return np.concatenate([first, rest[:, None]], 1), square

    def asked(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rotated, square = self._along_axes(queries)
        return np.concatenate([rotated, np.ones((len(rotated), 1))], 1).astype(np.float32), square

    def scores(self, asked: np.ndarray, start: int, stop: int, out: np.ndarray) -> None:
        np.matmul(asked, self._packed[start:stop].T, out=out)


def best_axes(rotated: np.ndarray, rows: int) -> int:
    """How many principal axes make a search among `rows` quickest, from a sample (S, D) along all of them."""
    dims = rotated.shape[1]
    sample = rotated[:: max(len(rotated) // _SAMPLE, 1)]
    tried = sample[:: max(len(sample) // _TRIED, 1)]
    true = _gaps(tried, sample)
    # a neighbour that is farther than what a search among all rows asks for: queries are of no region of the archive
    reach = np.partition(true, min(_FAR, len(sample) - 1), axis=1)[:, min(_FAR, len(sample) - 1)]
    best, least = dims, np.inf
    for kept in (*(k for k in _AXES if k < dims), dims):
        bound = _gaps(tried[:, :kept], sample[:, :kept])
        rest = [np.linalg.norm(x[:, kept:], axis=1) for x in (tried, sample)]
        bound += (rest[0][:, None] - rest[1]) ** 2
        near = float((bound <= reach[:, None]).mean())
        cost = _COLUMN * (kept + 2) + _LOOK + _MEASURE * near
        if cost < least:
            best, least = kept, cost
    return best


def _gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T, 0.0)


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _square(query, vector):
    total = 0.0
    for d in range(len(query)):
        gap = np.float64(vector[d]) - query[d]
        total += gap * gap
    return total


@numba.njit(nogil=True, cache=True)
def squares_to(query, vectors, out):
    """Squared distances of a query (D,) float64 from vectors (N, D) float32, from differences, into `out` (N,)."""
    for row in range(len(vectors)):
        out[row] = _square(query, vectors[row])


@numba.njit(nogil=True, cache=True)
def _farther(squares, rows, a, b):
    return squares[a] > squares[b] or (squares[a] == squares[b] and rows[a] > rows[b])


@numba.njit(nogil=True, cache=True)
def _keep(squares, rows, held, square, row):
    """A candidate put into the heap of the nearest so far, whose first is the farthest; how many it holds then."""
    size = len(squares)
    if held < size:
        at = held
        squares[at], rows[at] = square, row
        while at > 0:
            above = (at - 1) // 2
            if not _farther(squares, rows, at, above):
                break
            squares[at], squares[above] = squares[above], squares[at]
            rows[at], rows[above] = rows[above], rows[at]
            at = above
        return held + 1
    if square > squares[0] or (square == squares[0] and row > rows[0]):
        return held
    squares[0], rows[0] = square, row
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _farther(squares, rows, below + 1, below):
            below += 1
        if not _farther(squares, rows, below, at):
            break
        squares[at], squares[below] = squares[below], squares[at]
        rows[at], rows[below] = rows[below], rows[at]
        at = below
    return held


@numba.njit(nogil=True, cache=True)
def scan(scores, rows, queries, vectors, halves, lengths, slack, squares, found, held, least):
    """Measure what can be near by its score, and keep the nearest.

    Parameters
    ----------
    scores
        (Q, C) float32 of a stretch of rows.
    rows
        (C,) which they are.
    queries, vectors
        (Q, D) float64 and (N, D) float32.
    halves
        (N,) float32, infinite where a vector is no candidate.
    lengths, slack
        (Q,) squared lengths of the queries from where the scores are taken, and how much rounding can do to a score.
    squares, found, held
        (Q, K), (Q, K), (Q,) heaps of the nearest so far, and how many they hold; changed.
    least
        (Q,) float32, the score that a row must have to be measured; changed.
    """
    count = scores.shape[1]
    for q in range(scores.shape[0]):
        need, line = least[q], scores[q]
        for start in range(0, count, _GROUP):
            stop = min(start + _GROUP, count)
            high = 0
            for c in range(start, stop):
                high += line[c] >= need
            if high == 0:
                continue
            for c in range(start, stop):
                if line[c] >= need:
                    row = rows[c]
                    if not halves[row] < np.inf:
                        continue
                    held[q] = _keep(squares[q], found[q], held[q], _square(queries[q], vectors[row]), row)
                    if held[q] == squares.shape[1]:
                        need = np.float32((lengths[q] - squares[q, 0]) / 2.0 - slack[q])
        least[q] = need
