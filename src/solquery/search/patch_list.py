"""Patches that can be searched, without what they are compared by: their ids, their regions, where Lance has them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from ..aliases import Row
from ..archive.places import whole
from ..errors import SolqueryError

__all__ = ["Match", "PatchList", "SearchError", "nearest", "region_names", "texts"]


class SearchError(SolqueryError, ValueError):
    """A search that cannot be answered."""


@dataclass(frozen=True)
class Match:
    """One answer to a search.

    Attributes
    ----------
    id, region
        Of the patch in the archive.
    distance
        From the query, in the space that was searched (embedding, or parameters).
    rank
        1 for the nearest.
    row
        Metadata and parameters of the patch as the archive has them, without field and embedding.
    correlation
        Correlation with the query laid over it, where the two were compared pixel by pixel
        (`solquery.search.reranked`); else None.
    place
        Where Lance has the row (`solquery.archive.rows`), at the version that was searched; None where not known.
    """

    id: str
    region: str
    distance: float
    rank: int
    row: Row = field(default_factory=dict, repr=False)
    correlation: float | None = None
    place: int | None = field(default=None, repr=False, compare=False)


def nearest(
    distances: np.ndarray,
    k: int,
    regions: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Columns of the smallest distances, nearest first.

    Parameters
    ----------
    distances
        (Q, N); infinite or NaN where a patch is no candidate.
    k
        How many per query; fewer come back where there are fewer candidates.
    regions
        (N,) names: at most one patch, the nearest, of each region. None: patches regardless of region.

    Returns
    -------
    list of numpy.ndarray
        Q arrays of at most k column numbers; equal distances in the order of the columns.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    distances = np.where(np.isnan(distances), np.inf, distances)
    if regions is None:
        representative = np.broadcast_to(np.arange(distances.shape[1]), distances.shape)
    else:
        names, codes = np.unique(np.asarray(regions), return_inverse=True)
        by_region = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[by_region], np.arange(len(names)))
        grouped = distances[:, by_region]
        least = np.minimum.reduceat(grouped, starts, axis=1)
        # the first column of each region that reaches the region's least distance
        at = np.where(grouped == least[:, codes[by_region]], np.arange(len(codes)), len(codes))
        representative = by_region[np.minimum.reduceat(at, starts, axis=1)]
        distances = least
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    found = []
    for line, columns in enumerate(order):
        columns = columns[np.isfinite(distances[line, columns])]
        found.append(representative[line, columns])
    return found


class PatchList:
    """Patches of an archive, in the order of their ids.

    Parameters
    ----------
    ids, regions
        (N,) texts, as numpy or Arrow arrays.
    places
        (N,) uint64, where Lance has the rows (`solquery.archive.rows`); None where that is not known.

    Attributes
    ----------
    id_array, region_array
        (N,) Arrow arrays, in a tenth of the room of Python's texts.
    places
        As given.
    """

    def __init__(self, ids: ArrayLike, regions: ArrayLike, places: np.ndarray | None = None) -> None:
        self.id_array, self.region_array, self.places = texts(ids), texts(regions), places

    def __len__(self) -> int:
        return len(self.id_array)

    @cached_property
    def ids(self) -> np.ndarray:
        """(N,) str."""
        return np.asarray(self.id_array.to_pylist(), dtype=str)

    @cached_property
    def regions(self) -> np.ndarray:
        """(N,) str."""
        return np.asarray(self.region_array.to_pylist(), dtype=str)

    @cached_property
    def _names(self) -> pa.Array:
        """The regions' names, sorted, each once."""
        return self.region_array.unique().sort()

    @cached_property
    def codes(self) -> np.ndarray:
        """(N,) int, one number a region, in the order of the regions' names."""
        return np.asarray(pc.index_in(self.region_array, value_set=self._names)).astype(np.int64)

    def rows(self, ids: ArrayLike) -> np.ndarray:
        """(n,) ascending rows of those of some patches, named by their ids, that are here."""
        return np.asarray(pc.indices_nonzero(pc.is_in(self.id_array, value_set=texts(ids)))).astype(np.int64)

    def in_regions(self, names: Collection[str]) -> np.ndarray:
        """(N,) bool, the rows of some regions."""
        return np.asarray(pc.is_in(self.region_array, value_set=texts(list(names))))

    def ranked(
        self, distances: np.ndarray, k: int, group: str, exclude_region: str | Collection[str] | None = None
    ) -> list[Match]:
        """The `k` nearest patches by distances (N,) that were measured otherwise; equal ones in the order of the rows.

        NaN and infinity are those of patches that are no candidates.
        """
        apart = np.where(np.isnan(distances), np.inf, distances)
        if exclude := region_names(exclude_region):
            apart[self.in_regions(exclude)] = np.inf
        candidates, depth = int(np.isfinite(apart).sum()), max(16 * k, 64)
        while True:
            rows = _smallest(apart, min(depth, candidates))
            if group == "region":
                names = np.asarray(self.region_array.take(pa.array(rows)).to_pylist(), dtype=object)
                rows = rows[np.sort(np.unique(names.astype(str), return_index=True)[1])]
            if len(rows) >= k or depth >= candidates:
                return [self.match(row, float(apart[row]), rank) for rank, row in enumerate(rows[:k], start=1)]
            depth *= 16

    def match(self, row: int, distance: float, rank: int) -> Match:
        """The patch of a row as an answer, without its metadata."""
        place = None if self.places is None else int(self.places[row])
        return Match(self.id_array[int(row)].as_py(), self.region_array[int(row)].as_py(), distance, rank, place=place)


def _smallest(values: np.ndarray, depth: int) -> np.ndarray:
    """Rows of the `depth` smallest of values (N,), and of all equal to the last; equal ones in their order."""
    if depth == 0:
        return np.zeros(0, np.int64)
    rows = np.flatnonzero(values <= np.partition(values, depth - 1)[depth - 1])
    return np.asarray(rows[np.argsort(values[rows], kind="stable")])


def texts(values: ArrayLike | pa.Array) -> pa.Array:
    """Texts of numpy, Arrow or a list as one Arrow array."""
    if isinstance(values, pa.ChunkedArray):
        return whole(values)
    return values if isinstance(values, pa.Array) else pa.array(values, pa.string())


def region_names(exclude_region: str | Collection[str] | None) -> tuple[str, ...]:
    """One name, several, or none, as a tuple."""
    if exclude_region is None:
        return ()
    return (exclude_region,) if isinstance(exclude_region, str) else tuple(exclude_region)
