"""One ranking from two kinds of similarity: how a patch looks to the encoder, and what its physical parameters are.

Parameters are compared by their normal scores in the archive: the rank of a value among the archive's, seen through
the Gaussian quantile function. One score is one spread, whatever the unit and however long the tail. The embedding is
divided so that two blind picks of the archive lie as far apart in it, in the mean square, as in one score. What a
weight says is then what it does.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import ArrayLike
from scipy.special import ndtri

from ..aliases import Entries
from ..archive.places import whole
from ..archive.rows import table_with_places
from ..encoder.embedding import embed
from ..physics import measure
from .index import EmbeddingIndex, SearchError, appearance_scale
from .patch_list import PatchList
from .structure import STRUCTURE

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..protocols import Model

__all__ = [
    "BY", "COMPARED", "EMBEDDING", "WEIGHTS", "ArchiveScores", "NormalScores", "ScoredParameters", "combine",
    "compared", "mixed_distances", "parameter_distances", "parse_weights", "scored_parameters", "shares",
]  # fmt: skip

#: the parameters that are compared where no weights are given
COMPARED = ("tuf", "r", "psep", "tpf", "tnf", "sigma", "alpha", "grad")
#: name of the embedding's weight
EMBEDDING = "embedding"
#: what a search can compare: embeddings; embedding and parameters; parameters; coarse structure; the paper's distances
#: of (TUF, R, PSEP)
BY = (EMBEDDING, "hybrid", "physics", STRUCTURE, "euclidean", "mahalanobis")
#: what the first of them was called before
_SSL = "ssl"
#: where none are given: the embedding counts as much as two parameters, and R, which varies most between patches that
#: look alike, for one and a half. Which polarity leads is one of them: the eight say nothing of it, and where they
#: weigh the embedding is outvoted (`solquery study retrieval`; docs/searching.md)
WEIGHTS = {EMBEDDING: 2.0, **dict.fromkeys(COMPARED, 1.0), "r": 1.5, "polarity": 1.0}
#: difference, in scores, between a value and none
_ABSENT = 2.0


def compared(by: str) -> str:
    """One of `BY`, under its name of today; ValueError for anything else."""
    if by not in (*BY, _SSL):
        raise ValueError(f"by must be one of {', '.join(BY)}, got {by!r}")
    return EMBEDDING if by == _SSL else by


def shares(by: str) -> dict[str, float]:
    """Weights of a search by ``"hybrid"``, embedding and parameters, or by ``"physics"``, parameters alone."""
    return {name: weight for name, weight in WEIGHTS.items() if by == "hybrid" or name != EMBEDDING}


class NormalScores:
    """Normal scores of one parameter in an archive: monotonic, 0 at the median, 1 at the 84th percentile.

    Parameters
    ----------
    values
        (N,) in the archive; NaN where unknown. A constant parameter has score 0 everywhere.
    """

    def __init__(self, values: ArrayLike) -> None:
        known = np.asarray(values, np.float64)
        self._sorted = np.sort(known[np.isfinite(known)])

    def _of(self, values: np.ndarray) -> np.ndarray:
        """Scores of values that are in the archive: of their rank, the mean one where several are equal."""
        below = np.searchsorted(self._sorted, values, "left")
        upto = np.searchsorted(self._sorted, values, "right")
        return ndtri(((below + upto + 1) / 2 - 0.5) / len(self._sorted))

    def __call__(self, values: ArrayLike) -> np.ndarray:
        """Scores of values; beyond the archive's range those of its ends; NaN stays NaN."""
        values = np.asarray(values, np.float64)
        if not len(self._sorted):
            return np.full(values.shape, np.nan)
        known = np.isfinite(values)
        inside = np.clip(np.where(known, values, self._sorted[0]), self._sorted[0], self._sorted[-1])
        # the neighbours among the archive's values: the value itself, where it is one of them
        low = self._sorted[np.searchsorted(self._sorted, inside, "right") - 1]
        high = self._sorted[np.searchsorted(self._sorted, inside, "left")]
        at_low, at_high = self._of(low), self._of(high)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            between = (at_high - at_low) / (high - low) * (inside - low) + at_low
        return np.where(known, np.where(high > low, between, at_low), np.nan)


class ScoredParameters:
    """Normal scores of the parameters of an archive, kept for many queries.

    Parameters
    ----------
    archive
        Parameter name to (N,) values; NaN where unknown.
    """

    def __init__(self, archive: Entries) -> None:
        self._scores = {name: NormalScores(values) for name, values in archive.items()}
        self._archive = {name: scores(archive[name]) for name, scores in self._scores.items()}
        self._absent = {name: np.isnan(values) for name, values in self._archive.items()}

    def distances(self, queries: Entries, weights: Mapping[str, float], rows: np.ndarray | None = None) -> np.ndarray:
        """(Q, n) to all patches or to some rows of them, as `parameter_distances` gives them."""
        return self._apart({name: np.atleast_1d(self._scores[name](queries[name])) for name in weights}, weights, rows)

    def between(self, some: np.ndarray, weights: Mapping[str, float], rows: np.ndarray) -> np.ndarray:
        """(Q, n) distances of some rows (Q,) of the archive from others (n,)."""
        return self._apart({name: self._archive[name][some] for name in weights}, weights, rows)

    def _apart(self, queries: Entries, weights: Mapping[str, float], rows: np.ndarray | None) -> np.ndarray:
        total: np.ndarray | None = None
        sum_weights: np.ndarray | None = None
        for name, weight in weights.items():
            a, b, absent = np.asarray(queries[name]), self._archive[name], self._absent[name]
            if rows is not None:
                b, absent = b[rows], absent[rows]
            part = a[:, None] - b[None, :]
            part[:, absent] = _ABSENT
            part *= part
            part *= weight
            asked = (~np.isnan(a))[:, None] * weight
            part[np.isnan(a)] = 0.0
            total = part if total is None else np.add(total, part, out=total)
            sum_weights = asked if sum_weights is None else sum_weights + asked
        if total is None or sum_weights is None:
            raise ValueError("no parameter to compare by")
        total /= np.maximum(sum_weights, 1e-12)
        return np.sqrt(total, out=total)


def parameter_distances(queries: Entries, archive: Entries, weights: Mapping[str, float] | None = None) -> np.ndarray:
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


def combine(appearance: np.ndarray, physics: np.ndarray, vectors: np.ndarray | float, share: float) -> np.ndarray:
    """Distance that mixes two.

    Parameters
    ----------
    appearance
        (Q, N) Euclidean distances of embeddings.
    physics
        (Q, N) from `parameter_distances`.
    vectors
        (N, D) embeddings of the archive, which give the appearance its scale; or that scale, of `appearance_scale`.
    share
        Of the appearance, between 0 and 1.
    """
    scale = vectors if isinstance(vectors, float) else appearance_scale(vectors)
    return np.sqrt(share * (appearance / scale) ** 2 + (1.0 - share) * physics**2)


def parse_weights(texts: Sequence[str], known: Collection[str]) -> dict[str, float] | None:
    """``["embedding=2", "tuf=1,psep=0.5"]`` to weights; None where nothing is given.

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
        name = EMBEDDING if name == "look" else name  # as it was called before
        if name != EMBEDDING and name not in known:
            raise SearchError(f"no weight for {name!r}; there are: {', '.join((EMBEDDING, *known))}")
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


def scored_parameters(archive: Archive, names: Sequence[str]) -> tuple[pa.Array, ScoredParameters]:
    """Ids of all patches of an archive, and the scores of some of their parameters on the grid.

    Scores come from the whole archive, so that a condition does not change what a spread is.

    Raises
    ------
    SearchError
        Where the archive lacks a parameter on the grid.
    """
    columns = [f"grid_{name}" for name in names]
    present = set(archive.columns)
    missing = [name for name, column in zip(names, columns, strict=True) if column not in present]
    if missing:
        raise SearchError(
            f"the archive lacks {', '.join(missing)} on the grid; "
            f"measure it: `solquery archive embed {archive.uri} --again`"
        )
    table = table_with_places(archive, ["id", *columns])[1]
    values = {name: table[column].to_numpy() for name, column in zip(names, columns, strict=True)}
    return whole(table["id"]), ScoredParameters(values)


class ArchiveScores:
    """Normal scores of the parameters of an archive, each read once; may be used from several threads."""

    def __init__(self, archive: Archive) -> None:
        self._archive, self._lock = archive, threading.Lock()
        self._scored: dict[tuple[str, ...], tuple[pa.Array, ScoredParameters]] = {}
        #: of the patches that were asked about last, their rows among the scores
        self._places: dict[tuple[str, ...], tuple[PatchList, np.ndarray]] = {}
        self._scores: dict[str, NormalScores] = {}

    def scored(self, names: tuple[str, ...], patches: PatchList) -> tuple[ScoredParameters, np.ndarray]:
        """Scores of some parameters on the grid, and the rows (N,) in them of some patches."""
        with self._lock:
            if names not in self._scored:
                self._scored[names] = scored_parameters(self._archive, names)
            ids, scored = self._scored[names]
            known = self._places.get(names)
            if known is None or known[0] is not patches:
                known = self._places[names] = patches, np.asarray(pc.index_in(patches.id_array, value_set=ids))
            return scored, known[1]

    def scores(self, columns: Sequence[str]) -> dict[str, NormalScores]:
        """Normal scores of columns, ``tuf`` or ``grid_tuf``."""
        with self._lock:
            absent = [name for name in columns if name not in self._scores]
            if absent:
                table = table_with_places(self._archive, absent)[1]
                self._scores |= {name: NormalScores(table[name].to_numpy()) for name in absent}
            return {name: self._scores[name] for name in columns}


def mixed_distances(
    index: EmbeddingIndex,
    model: Model,
    x: np.ndarray,
    scored: ScoredParameters,
    rows: np.ndarray,
    weights: Mapping[str, float],
    *,
    vector: np.ndarray | None = None,
    archive_vectors: np.ndarray | float | None = None,
) -> np.ndarray:
    """Distances (1, N) of a query (H, W), in preset units, from the patches of an index, by embedding and physics.

    Parameters
    ----------
    scored, rows
        Parameters of an archive, and which of its rows the patches of the index are.
    weights
        As in `search_hybrid`.
    vector
        (1, D) embedding of the query, where it is known.
    archive_vectors
        (N, D) embeddings of the whole archive, where the index is a part of it: they give the appearance its scale; or
        that scale. None: those of the index.
    """
    physical = {name: weight for name, weight in weights.items() if name != EMBEDDING and weight > 0}
    appearance = index.distances(embed(model.encoder, x) if vector is None else vector)
    physics = np.zeros_like(appearance)
    if physical:
        asked = measure(model.preset.to_gauss(torch.from_numpy(x)[None]), model.preset.scale_mm, list(physical))
        physics = scored.distances({name: values.numpy() for name, values in asked.items()}, physical, rows)
    scale_of = index.appearance_scale if archive_vectors is None else archive_vectors
    return combine(appearance, physics, scale_of, weights.get(EMBEDDING, 0.0) / sum(weights.values()))
