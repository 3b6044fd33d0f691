"""Exact nearest neighbours of a patch among the embeddings of an archive, one per region (paper, section 4).

The archive of the paper, 49,552 embeddings of 100 numbers, is 20 MB: every embedding is compared. For millions of them
there is the approximate index of `ann`, which `search` uses where an archive has one.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SolqueryError
from .bounds import Turned
from .embedding import embed
from .exact import all_squares, half_squares, one_per_region, smallest
from .made_by import embed_with, other_encoder, other_preset
from .verify import LOOKED_AT, verified

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle

__all__ = [
    "EmbeddingIndex",
    "Match",
    "SearchError",
    "checked_query",
    "checked_vectors",
    "load_index",
    "nearest",
    "region_names",
    "rows_of",
    "search",
]

#: nearest patches among which the regions are sought before all distances are taken
_DEEPEST = 512
#: queries from which the principal axes of the embeddings are worth being found
_WORTH_TURNING = 256


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
    overlay
        Correlation with the query laid over it, where it was looked at again (`solquery.retrieval.verified`).
    """

    id: str
    region: str
    distance: float
    rank: int
    row: dict[str, Any] = field(default_factory=dict, repr=False)
    overlay: float | None = None


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


def rows_of(archive: Archive, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Metadata and parameters of the patches `ids`, by id, without the embedding."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    quoted = ", ".join("'" + i.replace("'", "''") + "'" for i in wanted)
    table = archive.table(where=f"id IN ({quoted})")
    if "embedding" in table.column_names:
        table = table.drop_columns(["embedding"])
    return {row["id"]: row for row in table.to_pylist()}


@dataclass(frozen=True)
class EmbeddingIndex:
    """The embeddings of an archive in memory: for many queries at once.

    Attributes
    ----------
    ids, regions
        (N,) str arrays.
    vectors
        (N, D) float32.
    """

    ids: np.ndarray
    regions: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def distances(self, queries: np.ndarray) -> np.ndarray:
        """Euclidean distances (Q, N) float64 of query embeddings (Q, D) from every patch."""
        queries = np.atleast_2d(np.asarray(queries, dtype=np.float64))
        if queries.shape[1] != self.vectors.shape[1]:
            raise SearchError(
                f"the query has {queries.shape[1]} embedding numbers, the archive {self.vectors.shape[1]}; "
                "embed the archive with the same bundle"
            )
        vectors = self.vectors.astype(np.float64)
        square = (queries**2).sum(1)[:, None] + (vectors**2).sum(1) - 2 * queries @ vectors.T
        return np.sqrt(np.maximum(square, 0.0))

    @cached_property
    def codes(self) -> np.ndarray:
        """(N,) int, one number a region, in the order of the regions' names."""
        return np.unique(self.regions, return_inverse=True)[1]

    @cached_property
    def _halves(self) -> np.ndarray:
        return half_squares(self.vectors)

    @cached_property
    def _turned(self) -> Turned:
        return Turned(self.vectors, self._halves)

    @cached_property
    def _asked(self) -> list[int]:
        return [0]

    def _bounds(self, queries: int) -> Turned | None:
        """What makes many searches quick; None while few were asked for, or where no axis says more than another."""
        self._asked[0] += queries
        worth = self._asked[0] >= _WORTH_TURNING and self._turned.kept < self.vectors.shape[1]
        return self._turned if worth else None

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
                Match(str(self.ids[row]), str(self.regions[row]), float(distance), rank)
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
            halves = np.where(np.isin(self.regions, list(exclude)), np.float32(np.inf), halves)
        available = int(np.isfinite(halves).sum())
        if group == "none":
            rows, squares = smallest(queries, self.vectors, min(k, max(available, 1)), halves, bounds)
            return [line[line >= 0] for line in rows], [s[line >= 0] for s, line in zip(squares, rows, strict=True)]

        def find(some: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
            return smallest(some, self.vectors, depth, halves, bounds)

        found, apart, left = one_per_region(find, queries, k, self.codes, available, _DEEPEST)
        for at in left:
            # regions of very many frames: all distances at once
            everything = np.where(np.isfinite(halves), all_squares(queries[at], self.vectors), np.inf)
            found[at] = nearest(everything[None], k, self.codes)[0]
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
        raise SearchError(
            f"the query has {queries.shape[1]} embedding numbers, the archive {length}; "
            "embed the archive with the same bundle"
        )
    if not np.isfinite(queries).all():
        raise SearchError("the embedding of the query is not a number; the encoder or the query is damaged")
    return queries


def region_names(exclude_region: str | Collection[str] | None) -> tuple[str, ...]:
    """One name, several, or none, as a tuple."""
    if exclude_region is None:
        return ()
    return (exclude_region,) if isinstance(exclude_region, str) else tuple(exclude_region)


def load_index(archive: Archive, bundle: Bundle, where: str | None = None) -> EmbeddingIndex:
    """The embeddings that the encoder of `bundle` made of the patches `where` selects.

    Raises
    ------
    SearchError
        When `where` matches no patch, no patch is embedded, or those that are were embedded by another encoder, or as
        another preset shows them.

    Warns
    -----
    UserWarning
        When some patches have no embedding of this encoder and preset, and so cannot be found.
    """
    present = set(archive.table(where="id IS NULL").column_names)
    wanted = [name for name in ("id", "region", "embedding", "embedding_model", "grid_preset") if name in present]
    table = archive.table(columns=wanted, where=where)
    if table.num_rows == 0:
        what = f"no patch matches {where!r}" if where else "the archive is empty"
        raise SearchError(f"{what}; {'widen the condition' if where else 'add patches with `solquery ingest`'}")
    advice = embed_with(archive, bundle)
    if "embedding" not in present or table.column("embedding").null_count == table.num_rows:
        raise SearchError(f"the {table.num_rows} patches searched have no embeddings; {advice}")
    models = table.column("embedding_model").to_pylist()
    usable = np.array([model == bundle.encoder_hash for model in models])
    usable &= ~np.asarray(table.column("embedding").is_null())
    if not usable.any():
        raise SearchError(other_encoder(models, archive, bundle))
    if "grid_preset" in present:
        presets = table.column("grid_preset").to_pylist()
        same = np.array([preset == bundle.preset.name for preset in presets])
        if not (usable & same).any():
            raise SearchError(other_preset(presets, bundle.preset.name, archive, bundle))
        usable &= same
    if not usable.all():
        warnings.warn(
            f"{int((~usable).sum())} of {len(usable)} patches have no embedding of this encoder and preset and cannot "
            f"be found; {advice}",
            stacklevel=2,
        )
    table = table.filter(usable)
    flat = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return EmbeddingIndex(
        ids=np.asarray(table.column("id").to_pylist(), dtype=str),
        regions=np.asarray(table.column("region").to_pylist(), dtype=str),
        vectors=np.asarray(flat, dtype=np.float32).reshape(table.num_rows, -1),
    )


def checked_query(query: Any, bundle: Bundle) -> np.ndarray:
    """The query as (H, W) float32 in preset units, NaN as 0; SearchError where it is not one of this bundle."""
    x = np.asarray(query, dtype=np.float32)
    shape = tuple(bundle.preset.shape)
    if x.shape != shape:
        raise SearchError(
            f"a query of bundle {bundle.name!r} has shape {shape}, got {x.shape}; prepare it with its preset"
        )
    if np.isnan(x).all():
        raise SearchError("the query is NaN everywhere; there is nothing to search for")
    x = np.nan_to_num(x, nan=0.0)
    limit = bundle.preset.limit
    if np.abs(x).max() > 1.001 * limit:
        raise SearchError(
            f"the query reaches {np.abs(x).max():.4g}, preset units end at {limit:g}; convert gauss with "
            "preset.from_gauss"
        )
    return x


def search(
    archive: Archive,
    bundle: Bundle,
    query: Any,
    k: int = 10,
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    verify: int = LOOKED_AT,
) -> list[Match]:
    """The patches of an archive that look most like the query.

    All embeddings are compared, unless the archive has an approximate index (`build_index`, ``solquery index``), which
    finds nearly all of the same in milliseconds among millions.

    Parameters
    ----------
    archive
        With the embeddings of this bundle (`embed_archive`).
    bundle
        Whose encoder embeds the query.
    query
        (H, W) in preset units, numpy or tensor: generated, edited, or a prepared observation.
    k
        How many; fewer come back where the archive has fewer.
    where
        SQL condition on the columns of the archive, e.g. ``"source = 'real' AND tuf > 1e22"``.
    group
        ``"region"``: the best frame of each region, since frames of one region are near-duplicates in time;
        ``"none"``: every patch for itself.
    exclude_region
        Name or names of regions to leave out, e.g. that of the query.
    verify
        How many of the nearest patches are looked at again, pixel by pixel (`solquery.retrieval.verified`): one over
        which the query can be laid comes first. 0 for none, where the query is no image that could be in the archive.

    Returns
    -------
    list of Match
        Nearest first, with Euclidean distances of the embeddings; before them what the query can be laid over.

    Raises
    ------
    SearchError
        When the query does not fit the preset, or nothing can be searched (see `load_index`).
    """
    from .ann import open_index

    x = checked_query(query, bundle)
    vectors = embed(bundle.encoder, x)
    quick = open_index(archive, bundle)
    index = load_index(archive, bundle, where) if quick is None else None

    def find(k: int, group: str) -> list[Match]:
        if index is not None:
            return index.nearest(vectors, k, group, exclude_region)[0]
        assert quick is not None
        return quick.nearest(vectors, k, group, exclude_region, where)[0]

    if verify:
        checked_vectors(vectors, k, group, vectors.shape[1])
        matches = verified(archive, bundle, x, find, k, group, verify)
    else:
        matches = find(k, group)
    rows = rows_of(archive, [match.id for match in matches])
    return [replace(match, row=rows.get(match.id, {})) for match in matches]
