"""Retrieval by parameters alone, which the embedding is held against (paper, section 4 and Fig. 8).

The feature vector of a patch is (TUF, R, PSEP) on the grid of the preset. PSEP does not exist where a polarity is
absent. A patch of the archive that lacks a parameter is no candidate: it is infinitely far from every query. A
query that lacks one is compared by those it has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from ..aliases import Entries
from ..archive.grid_names import GRID_COLUMNS, grid_names
from ..archive.rows import table_with_places
from .index import EmbeddingIndex, Match, SearchError
from .loading import rows_of
from .provenance import embed_with, other_preset

if TYPE_CHECKING:
    from ..archive.store import Archive

__all__ = ["FEATURES", "euclidean", "features", "mahalanobis", "search_parameters", "table_distances"]

#: the paper's feature vector
FEATURES = ("tuf", "r", "psep")


def features(values: Entries, names: Sequence[str] = FEATURES, prefix: str = "") -> np.ndarray:
    """The (N, P) float64 feature matrix from a mapping of names to N values (a dict, or columns of a table)."""
    return np.stack([np.atleast_1d(np.asarray(values[prefix + name], dtype=np.float64)) for name in names], axis=1)


def _complete(archive: np.ndarray) -> np.ndarray:
    complete = np.isfinite(archive).all(axis=1)
    if complete.sum() < 2:
        raise SearchError(
            f"only {int(complete.sum())} of {len(archive)} patches have every parameter of the comparison; "
            "their spread needs at least two"
        )
    return complete


def _scored(queries: np.ndarray, archive: np.ndarray, precision_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Distances (Q, N); `precision_of(kept)` gives the (p, p) metric for the parameters that a query has."""
    queries, archive = np.atleast_2d(np.asarray(queries, float)), np.asarray(archive, float)
    if queries.shape[1] != archive.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} parameters, the archive {archive.shape[1]}")
    complete = _complete(archive)
    distances = np.full((len(queries), len(archive)), np.inf)
    have = np.isfinite(queries)
    if not have.any(axis=1).all():
        raise SearchError(f"query {int(np.argmin(have.any(axis=1)))} has none of the parameters to compare by")
    for kept in np.unique(have, axis=0):
        lines = np.flatnonzero((have == kept).all(axis=1))
        # whitening: the metric's distance is the plain one of the transformed vectors
        whiten = np.linalg.cholesky(precision_of(kept))
        centre = archive[complete][:, kept].mean(axis=0)
        a, b = (queries[lines][:, kept] - centre) @ whiten, (archive[complete][:, kept] - centre) @ whiten
        for line, vector in zip(lines, a, strict=True):
            distances[line, complete] = np.sqrt(((b - vector) ** 2).sum(axis=1))
    return distances


def euclidean(queries: np.ndarray, archive: np.ndarray) -> np.ndarray:
    """Euclidean distances of feature vectors, each parameter divided by its standard deviation in the archive.

    Parameters
    ----------
    queries, archive
        (Q, P) and (N, P) feature vectors; NaN: missing (see the module's text).

    Returns
    -------
    numpy.ndarray
        (Q, N) float64; infinite for patches that lack a parameter.

    Notes
    -----
    The paper normalises "each parameter"; here to unit variance over the archive. A parameter that is the same in
    the whole archive has no say.
    """
    archive = np.asarray(archive, float)
    spread = archive[_complete(archive)].std(axis=0)
    weight = np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), 1e-150)
    return _scored(queries, archive, lambda kept: np.diag(weight[kept] ** 2))


def mahalanobis(queries: np.ndarray, archive: np.ndarray) -> np.ndarray:
    """Mahalanobis distances of feature vectors, with the covariance of the archive's; arguments as `euclidean`.

    Raises
    ------
    SearchError
        When the parameters of the archive depend linearly on each other, so that the covariance has no inverse.
    """
    archive = np.asarray(archive, float)
    covariance = np.atleast_2d(np.cov(archive[_complete(archive)], rowvar=False))
    scale = np.sqrt(np.diag(covariance))
    if not (scale > 0).all() or np.linalg.cond(covariance / np.outer(scale, scale)) > 1e12:
        raise SearchError("the parameters of the archive are linearly dependent; leave one of them out")

    def precision(kept: np.ndarray) -> np.ndarray:
        # inverted in units of the standard deviations: flux and length differ by many orders of magnitude
        s = scale[kept]
        return np.linalg.inv(covariance[np.ix_(kept, kept)] / np.outer(s, s)) / np.outer(s, s)

    return _scored(queries, archive, precision)


_METHODS = {"euclidean": euclidean, "mahalanobis": mahalanobis}


def table_distances(
    archive: Archive,
    values: Mapping[str, float],
    method: str = "mahalanobis",
    where: str | None = None,
    names: Sequence[str] = FEATURES,
    preset: str | None = None,
) -> tuple[EmbeddingIndex, np.ndarray]:
    """The patches, their features as vectors, and distances (1, N); arguments and errors as `search_parameters`."""
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    present = archive.columns
    missing = [name for name in names if f"grid_{name}" not in present]
    if missing:
        raise SearchError(f"the archive lacks {', '.join(missing)} on the grid; {embed_with(archive, again=True)}")
    columns_of = ["id", "region", *(f"grid_{name}" for name in names)]
    marked = "grid_preset" in present
    places, table = table_with_places(
        archive, [*columns_of, *(name for name in GRID_COLUMNS if name in present)], where
    )
    if table.num_rows == 0:
        raise SearchError(f"no patch matches {where!r}; widen the condition" if where else "the archive is empty")
    if marked:
        found = {name for name in grid_names(table).unique().to_pylist() if name is not None}
        if len(found | ({preset} if preset is not None else set())) > 1:
            raise SearchError(other_preset(found, preset, archive))
    matrix = features({name: table[name].to_numpy() for name in columns_of[2:]}, names, "grid_")
    # equal ones in the order of the ids
    patches = EmbeddingIndex(table["id"], table["region"], matrix, places)
    patches = patches.among(np.asarray(pc.sort_indices(table["id"])))
    return patches, _METHODS[method](features(values, names), patches.vectors)


def search_parameters(
    archive: Archive,
    values: Mapping[str, float],
    k: int = 10,
    method: str = "mahalanobis",
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    names: Sequence[str] = FEATURES,
    preset: str | None = None,
) -> list[Match]:
    """The patches of an archive whose parameters on the grid are nearest to those given.

    Parameters
    ----------
    archive
        With the columns ``grid_<name>`` that `embed_archive` writes.
    values
        Parameters of the query on the same grid, in G and pixels.
    method
        ``"euclidean"`` or ``"mahalanobis"``.
    k, where, group, exclude_region
        As in `search`.
    names
        Which parameters make the feature vector.
    preset
        On whose grid `values` were measured. Without it the patches must at least agree among themselves.

    Raises
    ------
    SearchError
        When the archive has no parameters on the grid, or some measured on the grid of another preset, or `where`
        matches nothing.
    """
    patches, distances = table_distances(archive, values, method, where, names, preset)
    matches = patches.ranked(distances[0], k, group, exclude_region)
    rows = rows_of(archive, [match.id for match in matches])
    return [replace(match, row=rows.get(match.id, {})) for match in matches]
