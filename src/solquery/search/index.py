"""Exact nearest neighbours of a patch among the embeddings of an archive, one per region (paper, section 4).

The archive of the paper, 49,552 embeddings of 100 numbers, is 20 MB: every embedding is compared. For millions of them
there is `ApproximateIndex`, which `search` uses where an archive has one.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from .exact import all_squares, half_squares, one_per_region, smallest
from .lower_bounds import PrincipalAxisBounds, squares_to
from .patch_list import Match, PatchList, SearchError, nearest, region_names, texts

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = [
    "EmbeddingIndex",
    "Match",
    "SearchError",
    "appearance_scale",
    "checked_query",
    "checked_vectors",
    "nearest",
    "nearest_of_all",
    "other_length",
    "region_names",
    "texts",
]  # fmt: skip

#: nearest patches among which the regions are sought before all distances are taken
_DEEPEST = 512
#: queries up to which differences are quicker than a product of matrices, which wants the vectors in double precision
_ONE_BY_ONE = 4
#: vectors in double precision at a time
_AT_A_TIME = 65_536
#: queries from which the principal axes of the embeddings are worth being found
_WORTH_AXES = 256


def appearance_scale(vectors: np.ndarray) -> float:
    """Root of half the mean square distance between two of some embeddings (N, D)."""
    return max(float(np.sqrt(np.asarray(vectors, np.float64).var(0).sum())), 1e-12)


class EmbeddingIndex(PatchList):
    """The embeddings of an archive in memory: for many queries at once.

    Parameters
    ----------
    ids, regions
        (N,) texts, as numpy or Arrow arrays.
    vectors
        (N, D) float32.
    places
        (N,) uint64, where Lance has the rows (`solquery.archive.rows`); None where that is not known.

    Attributes
    ----------
    ids, regions
        (N,) str arrays.
    vectors, places
        As given.
    """

    def __init__(
        self, ids: ArrayLike, regions: ArrayLike, vectors: np.ndarray, places: np.ndarray | None = None
    ) -> None:
        super().__init__(ids, regions, places)
        self.vectors = vectors
        self._asked = 0

    def among(self, rows: np.ndarray) -> EmbeddingIndex:
        """Of some rows only, in their order."""
        at = pa.array(rows)
        places = None if self.places is None else self.places[rows]
        return EmbeddingIndex(self.id_array.take(at), self.region_array.take(at), self.vectors[rows], places)

    def distances(self, queries: np.ndarray) -> np.ndarray:
        """Euclidean distances (Q, N) float64 of query embeddings (Q, D) from every patch."""
        queries = np.atleast_2d(np.asarray(queries, dtype=np.float64))
        if queries.shape[1] != self.vectors.shape[1]:
            raise SearchError(other_length(queries.shape[1], self.vectors.shape[1]))
        out = np.empty((len(queries), len(self)))
        if len(queries) <= _ONE_BY_ONE and self.vectors.flags.c_contiguous:
            for query, apart in zip(queries, out, strict=True):
                squares_to(query, self.vectors, apart)
            return np.sqrt(out, out=out)
        own = (queries**2).sum(1)[:, None]
        # in double precision the vectors of a large archive are gigabytes
        for start in range(0, len(self), _AT_A_TIME):
            some = self.vectors[start : start + _AT_A_TIME].astype(np.float64)
            square = own + np.einsum("nd,nd->n", some, some) - 2 * queries @ some.T
            out[:, start : start + _AT_A_TIME] = np.sqrt(np.maximum(square, 0.0))
        return out

    @cached_property
    def appearance_scale(self) -> float:
        """What distances of embeddings are divided by, to be mixed with others (`combine`)."""
        return appearance_scale(self.vectors)

    @cached_property
    def _halves(self) -> np.ndarray:
        return half_squares(self.vectors)

    @cached_property
    def _principal_axes(self) -> PrincipalAxisBounds:
        return PrincipalAxisBounds(self.vectors, self._halves)

    def _bounds(self, queries: int) -> PrincipalAxisBounds | None:
        """What makes many searches quick; None while few were asked for, or where no axis says more than another."""
        self._asked += queries
        worth = self._asked >= _WORTH_AXES and self._principal_axes.kept < self.vectors.shape[1]
        return self._principal_axes if worth else None

    def nearest(
        self,
        queries: np.ndarray,
        k: int = 1,
        group: str = "region",
        exclude_region: str | Collection[str] | None = None,
    ) -> list[list[Match]]:
        """The `k` nearest patches of each query embedding (Q, D), without their rows; see `search`."""
        rows, squares = self.nearest_rows(queries, k, group, exclude_region)
        return [
            [
                self.match(row, float(distance), rank)
                for rank, (row, distance) in enumerate(zip(line, np.sqrt(apart), strict=True), start=1)
            ]
            for line, apart in zip(rows, squares, strict=True)
        ]

    def nearest_rows(
        self,
        queries: np.ndarray,
        k: int = 1,
        group: str = "region",
        exclude_region: str | Collection[str] | None = None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Row numbers and squared distances (float64) of what `nearest` gives; equal ones in the order of the rows."""
        queries = checked_vectors(queries, k, group, self.vectors.shape[1])
        exclude = region_names(exclude_region)
        halves, bounds = self._halves, self._bounds(len(queries))
        if exclude:
            halves = np.where(self.in_regions(exclude), np.float32(np.inf), halves)
        return nearest_of_all(queries, k, group, self.vectors, self.codes, halves, bounds)


def nearest_of_all(
    queries: np.ndarray, k: int, group: str, vectors: np.ndarray, codes: np.ndarray, halves: np.ndarray,
    bounds: PrincipalAxisBounds | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:  # fmt: skip
    """Rows and squared distances of the `k` nearest of vectors (N, D) of regions `codes`; the rest as in `smallest`."""
    available = int(np.isfinite(halves).sum())
    if group == "none":
        rows, squares = smallest(queries, vectors, min(k, max(available, 1)), halves, bounds)
        return [line[line >= 0] for line in rows], [s[line >= 0] for s, line in zip(squares, rows, strict=True)]

    def find(some: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        return smallest(some, vectors, depth, halves, bounds)

    found, apart, left = one_per_region(find, queries, k, codes, available, _DEEPEST)
    for at in left:
        # regions of very many frames: all distances at once
        everything = np.where(np.isfinite(halves), all_squares(queries[at], vectors), np.inf)
        found[at] = nearest(everything[None], k, codes)[0]
        apart[at] = everything[found[at]]
    return found, apart


def checked_vectors(queries: np.ndarray, k: int, group: str, length: int) -> np.ndarray:
    """Query embeddings (Q, D) float64, for `k` answers grouped by `group` among embeddings of `length` numbers."""
    if group not in ("region", "none"):
        raise ValueError(f"group must be 'region' or 'none', got {group!r}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    queries = np.atleast_2d(np.asarray(queries, dtype=np.float64))
    if queries.shape[1] != length:
        raise SearchError(other_length(queries.shape[1], length))
    if not np.isfinite(queries).all():
        raise SearchError("the embedding of the query is not a number; the encoder or the query is damaged")
    return queries


def other_length(query: int, archive: int) -> str:
    """That embeddings of two lengths cannot be compared."""
    return f"the query has {query} embedding numbers, the archive {archive}; embed the archive with the same model"


def checked_query(query: ArrayLike, model: Model) -> np.ndarray:
    """The query as (H, W) float32 in preset units, NaN as 0; SearchError where it is not one of this model."""
    x = np.asarray(query, dtype=np.float32)
    shape = tuple(model.preset.shape)
    if x.shape != shape:
        raise SearchError(
            f"a query of model {model.name!r} has shape {shape}, got {x.shape}; prepare it with its preset"
        )
    if np.isnan(x).all():
        raise SearchError("the query is NaN everywhere; there is nothing to search for")
    x = np.nan_to_num(x, nan=0.0)
    limit = model.preset.limit
    if np.abs(x).max() > 1.001 * limit:
        raise SearchError(
            f"the query reaches {np.abs(x).max():.4g}, preset units end at {limit:g}; convert gauss with "
            "preset.from_gauss"
        )
    return x
