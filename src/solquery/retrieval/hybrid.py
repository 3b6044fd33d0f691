"""One ranking from two kinds of likeness: how a patch looks to the encoder, and what its physical parameters are.

Parameters are compared by their normal scores in the archive: the rank of a value among the archive's, seen through
the Gaussian quantile function. One score is one spread, whatever the unit and however long the tail. The embedding is
divided so that two blind picks of the archive lie as far apart in it, in the mean square, as in one score. What a
weight says is then what it does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import ndtri

from ..physics import measure
from .embedding import embed
from .index import EmbeddingIndex, Match, SearchError, checked_query, load_index, nearest, region_names, rows_of

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle

__all__ = [
    "COMPARED",
    "LOOK",
    "WEIGHTS",
    "NormalScores",
    "ScoredParameters",
    "combine",
    "hybrid_distances",
    "mixed_distances",
    "parameter_distances",
    "parse_weights",
    "search_hybrid",
]

#: the parameters that are compared where no weights are given
COMPARED = ("tuf", "r", "psep", "tpf", "tnf", "sigma", "alpha", "grad")
#: name of the embedding's weight
LOOK = "look"
#: where none are given: the look counts as much as two parameters, and R, which varies most between patches that look
#: alike, for one and a half. Which polarity leads is one of them: the eight say nothing of it, and where they weigh
#: the look is outvoted (`solquery study retrieval`; docs/searching.md)
WEIGHTS = {LOOK: 2.0, **dict.fromkeys(COMPARED, 1.0), "r": 1.5, "polarity": 1.0}
#: difference, in scores, between a value and none
_ABSENT = 2.0


class NormalScores:
    """Normal scores of one parameter in an archive: monotonic, 0 at the median, 1 at the 84th percentile.

    Parameters
    ----------
    values
        (N,) in the archive; NaN where unknown. A constant parameter has score 0 everywhere.
    """

    def __init__(self, values: Any) -> None:
        from scipy.stats import rankdata  # takes a second to load

        known = np.asarray(values, np.float64)
        known = known[np.isfinite(known)]
        self.values, first = np.unique(known, return_index=True)
        self.scores = ndtri((rankdata(known) - 0.5) / max(len(known), 1))[first]

    def __call__(self, values: Any) -> np.ndarray:
        """Scores of values; beyond the archive's range those of its ends; NaN stays NaN."""
        values = np.asarray(values, np.float64)
        if not len(self.values):
            return np.full(values.shape, np.nan)
        return np.where(np.isfinite(values), np.interp(values, self.values, self.scores), np.nan)


class ScoredParameters:
    """Normal scores of the parameters of an archive, kept for many queries.

    Parameters
    ----------
    archive
        Parameter name to (N,) values; NaN where unknown.
    """

    def __init__(self, archive: Mapping[str, Any]) -> None:
        self._scores = {name: NormalScores(values) for name, values in archive.items()}
        self._archive = {name: scores(archive[name]) for name, scores in self._scores.items()}

    def distances(
        self, queries: Mapping[str, Any], weights: Mapping[str, float], rows: np.ndarray | None = None
    ) -> np.ndarray:
        """(Q, n) to all patches or to some rows of them, as `parameter_distances` gives them."""
        total: np.ndarray | None = None
        sum_weights: np.ndarray | None = None
        for name, weight in weights.items():
            a, b = np.atleast_1d(self._scores[name](queries[name])), self._archive[name]
            b = b if rows is None else b[rows]
            gap = a[:, None] - b[None, :]
            gap = np.where(np.isnan(b)[None, :], _ABSENT, gap)
            asked = (~np.isnan(a))[:, None] * weight
            part = np.where(asked > 0, asked * np.nan_to_num(gap) ** 2, 0.0)
            total = part if total is None else total + part
            sum_weights = asked if sum_weights is None else sum_weights + asked
        if total is None or sum_weights is None:
            raise ValueError("no parameter to compare by")
        return np.sqrt(total / np.maximum(sum_weights, 1e-12))


def parameter_distances(
    queries: Mapping[str, Any], archive: Mapping[str, Any], weights: Mapping[str, float] | None = None
) -> np.ndarray:
    """Root mean square difference of scores.

    Parameters
    ----------
    queries, archive
        Parameter name to (Q,) and (N,), in the same units.
    weights
        Parameter name to its weight in the mean; None: the eight of `COMPARED` alike.

    Returns
    -------
    (Q, N) float64. What a query does not have is not asked of the archive; what a patch of the archive lacks counts
    as two spreads apart.
    """
    weights = dict.fromkeys(COMPARED, 1.0) if weights is None else dict(weights)
    return ScoredParameters({name: archive[name] for name in weights}).distances(queries, weights)


def combine(look: np.ndarray, physics: np.ndarray, vectors: np.ndarray, share: float) -> np.ndarray:
    """Distance that mixes two.

    Parameters
    ----------
    look
        (Q, N) Euclidean distances of embeddings.
    physics
        (Q, N) from `parameter_distances`.
    vectors
        (N, D) embeddings of the archive, which give the look its scale.
    share
        Of the look, between 0 and 1.
    """
    scale = max(float(np.sqrt(np.asarray(vectors, np.float64).var(0).sum())), 1e-12)
    return np.sqrt(share * (look / scale) ** 2 + (1.0 - share) * physics**2)


def parse_weights(texts: Sequence[str], known: Collection[str]) -> dict[str, float] | None:
    """``["look=2", "tuf=1,psep=0.5"]`` to weights; None where nothing is given.

    Raises
    ------
    SearchError
        For a name that is not known, a weight that is no positive number, or nothing left to compare by.
    """
    pairs = [pair.strip() for text in texts for pair in text.split(",") if pair.strip()]
    if not pairs:
        return None
    weights: dict[str, float] = {}
    for pair in pairs:
        name, _, value = (part.strip() for part in pair.partition("="))
        if name != LOOK and name not in known:
            raise SearchError(f"no weight for {name!r}; there are: {', '.join((LOOK, *known))}")
        try:
            weight = float(value)
        except ValueError:
            weight = float("nan")
        if not 0 <= weight < float("inf"):
            raise SearchError(f"the weight of {name} must be a number from 0 on, got {value!r}; write e.g. {name}=2")
        weights[name] = weight
    if not any(weights.values()):
        raise SearchError("every weight is 0: nothing is left to compare by")
    return weights


def _table(archive: Archive, names: Sequence[str]) -> Any:
    columns = [f"grid_{name}" for name in names]
    present = archive.table(where="id IS NULL").column_names
    missing = [name for name, column in zip(names, columns, strict=True) if column not in present]
    if missing:
        raise SearchError(
            f"the archive lacks {', '.join(missing)} on the grid; "
            f"measure it: `solquery archive embed {archive.uri} --again`"
        )
    return archive.table(columns=["id", *columns])


def hybrid_distances(
    archive: Archive,
    bundle: Bundle,
    query: Any,
    where: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> tuple[EmbeddingIndex, np.ndarray]:
    """The patches that can be found and their distances (1, N) from one query; all else as in `search_hybrid`."""
    weights = dict(WEIGHTS if weights is None else weights)
    x = checked_query(query, bundle)
    index = load_index(archive, bundle, where)
    physical = [name for name, weight in weights.items() if name != LOOK and weight > 0]
    scored, rows = ScoredParameters({}), np.empty(0, np.int64)
    if physical:
        table = _table(archive, physical)
        # scores come from the whole archive, so that a `where` does not change what a spread is
        scored = ScoredParameters({name: table.column(f"grid_{name}").to_numpy() for name in physical})
        place = {name: row for row, name in enumerate(table.column("id").to_pylist())}
        rows = np.array([place[name] for name in index.ids])
    # so does the scale of the look: a match is as far away whatever else may be found
    vectors = load_index(archive, bundle).vectors if where else None
    return index, mixed_distances(index, bundle, x, scored, rows, weights, vectors)


def mixed_distances(
    index: EmbeddingIndex,
    bundle: Bundle,
    x: np.ndarray,
    scored: ScoredParameters,
    rows: np.ndarray,
    weights: Mapping[str, float],
    vectors: np.ndarray | None = None,
) -> np.ndarray:
    """Distances (1, N) of a query (H, W), in preset units, from the patches of an index, by look and physics.

    Parameters
    ----------
    scored, rows
        Parameters of an archive, and which of its rows the patches of the index are.
    weights
        As in `search_hybrid`.
    vectors
        Embeddings of the whole archive, where the index is a part of it: they give the look its scale. None: those of
        the index.
    """
    physical = {name: weight for name, weight in weights.items() if name != LOOK and weight > 0}
    look = index.distances(embed(bundle.encoder, x))
    physics = np.zeros_like(look)
    if physical:
        asked = measure(bundle.preset.to_gauss(torch.from_numpy(x)[None]), bundle.preset.scale_mm, list(physical))
        physics = scored.distances({name: values.numpy() for name, values in asked.items()}, physical, rows)
    return combine(
        look, physics, index.vectors if vectors is None else vectors, weights.get(LOOK, 0.0) / sum(weights.values())
    )


def search_hybrid(
    archive: Archive,
    bundle: Bundle,
    query: Any,
    k: int = 10,
    where: str | None = None,
    group: str = "region",
    exclude_region: str | Collection[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[Match]:
    """The patches of an archive that look like the query and have its physical parameters.

    Parameters
    ----------
    archive, bundle, query, k, where, group, exclude_region
        As in `search`.
    weights
        Of ``"look"`` (the embedding) and of parameters by name; what is not named has no say. None: `WEIGHTS`, the
        look, the eight parameters of the paper and which polarity leads. Without ``"look"``, or with 0 for it, the
        search is by physics alone.

    Returns
    -------
    list of Match
        Nearest first. A distance of 1 is one spread of the archive, in the mean over what is compared.

    Raises
    ------
    SearchError
        As `search`, and where the archive lacks a parameter on the grid.
    """
    index, distances = hybrid_distances(archive, bundle, query, where, weights)
    distances[:, np.isin(index.regions, list(region_names(exclude_region)))] = np.inf
    columns = nearest(distances, k, index.regions if group == "region" else None)[0]
    found = rows_of(archive, [str(index.ids[c]) for c in columns])
    return [
        Match(str(index.ids[c]), str(index.regions[c]), float(distances[0, c]), rank, found.get(str(index.ids[c]), {}))
        for rank, c in enumerate(columns, start=1)
    ]
