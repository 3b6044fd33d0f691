"""How well a best match keeps the physics of its query: random generated queries against an archive.

Paper, section 4 and Figs. 7 to 9: 1,000 random queries, the nearest patch of the archive for each, and the
correlation of eight parameters between the two, for the embedding and for two baselines on (TUF, R, PSEP).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Document
from ..encoder import embed
from ..physics import measure_on_grid
from ..search import (
    FEATURES,
    combine,
    euclidean,
    features,
    load_index,
    mahalanobis,
    nearest,
    parameter_distances,
    visual_similarity,
)
from ..search.hybrid import EMBEDDING, WEIGHTS
from ..steering.drawing import draw_patches

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model
    from ..search import EmbeddingIndex

__all__ = ["METHODS", "PAPER", "PARAMETERS", "RetrievalStudy", "correlate", "retrieval_study", "run_retrieval"]

Progress = Callable[[str, float], None]

#: the parameters of the paper's comparison, in its order
PARAMETERS = ("tuf", "r", "psep", "tpf", "tnf", "sigma", "alpha", "grad")
#: ways of finding the best match; the first is the paper's
METHODS = ("ssl", "hybrid", "euclidean", "mahalanobis")
_TABLE_ONLY = ("euclidean", "mahalanobis")
#: (Pearson, Spearman) of the paper, section 4: 1,000 generated queries against 49,552 observed patches
PAPER = {
    "tuf": (0.78, 0.79),
    "r": (0.73, 0.76),
    "psep": (0.28, 0.31),
    "tpf": (0.69, 0.70),
    "tnf": (0.72, 0.72),
    "sigma": (0.57, 0.56),
    "alpha": (0.47, 0.47),
    "grad": (0.79, 0.78),
}

#: queries compared with the archive at a time
_CHUNK = 200
#: queries whose matches are judged by eye, that is by `search.visual_similarity`, which is slow
_JUDGED = 48


def correlate(a: ArrayLike, b: ArrayLike) -> dict[str, float | int]:
    """Pearson and Spearman correlation of two samples (N,), with the number of pairs used and dropped.

    Pairs in which either value is NaN are dropped. Both correlations are NaN with fewer than three pairs, or where
    one side does not vary.
    """
    from scipy.stats import pearsonr, spearmanr

    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"two samples of one length are needed, got shapes {one.shape} and {other.shape}")
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    out: dict[str, float | int] = {"pearson": float("nan"), "spearman": float("nan")}
    if len(one) >= 3 and np.ptp(one) > 0 and np.ptp(other) > 0:
        out = {"pearson": float(pearsonr(one, other)[0]), "spearman": float(spearmanr(one, other)[0])}
    return {**out, "pairs": len(one), "dropped": int((~known).sum())}


@dataclass(frozen=True)
class RetrievalStudy:
    """Random queries and what each method found for them. All parameters are in the units of the grid.

    Attributes
    ----------
    x
        (Q, H, W) float32 queries in preset units.
    queries
        Parameter name to (Q,).
    best
        Method to (Q,) rows of the archive's table; -1 where nothing was found.
    ids, regions, sources
        (N,) of the patches of the archive.
    population
        Parameter name to (N,), over the whole archive.
    alike
        Method to the visual similarity (J,) of query and match for the first J queries, and ``random`` for patches
        drawn blindly.
    seed
        Of the queries.
    """

    x: np.ndarray = field(repr=False)
    queries: dict[str, np.ndarray] = field(repr=False)
    best: dict[str, np.ndarray] = field(repr=False)
    ids: np.ndarray = field(repr=False)
    regions: np.ndarray = field(repr=False)
    sources: np.ndarray = field(repr=False)
    population: dict[str, np.ndarray] = field(repr=False)
    alike: dict[str, np.ndarray] = field(repr=False)
    seed: int

    @property
    def judged(self) -> int:
        """How many queries were judged by eye's measure."""
        return max((len(values) for values in self.alike.values()), default=0)

    @property
    def visual_similarity(self) -> dict[str, float]:
        """Method to the mean visual similarity."""
        return {method: float(values.mean()) for method, values in self.alike.items()}

    def matched(self, method: str, name: str) -> np.ndarray:
        """(Q,) parameter `name` of the best matches; NaN where there is none."""
        rows = self.best[method]
        return np.where(rows >= 0, self.population[name][rows], np.nan)

    def correlations(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """Method to parameter to what `correlate` gives."""
        return {
            method: {name: correlate(self.queries[name], self.matched(method, name)) for name in PARAMETERS}
            for method in self.best
        }

    def summary(self) -> Document:
        """What ``solquery study retrieval --json`` prints."""
        found = self.best["ssl"][self.best["ssl"] >= 0]
        return {
            "correlations": self.correlations(),
            "paper": {name: {"pearson": p, "spearman": s} for name, (p, s) in PAPER.items()},
            "visual_similarity": dict(self.visual_similarity),
            "visual_similarity_queries": self.judged,
            "queries": len(self.x),
            "patches": len(self.ids),
            "regions": len(np.unique(self.regions)),
            "distinct_matches": len(np.unique(found)),
            "real_matches": int((self.sources[found] == "real").sum()),
            "seed": self.seed,
        }


def _best_by_parameters(queries: dict[str, np.ndarray], population: dict[str, np.ndarray], method: str) -> np.ndarray:
    distance = {"euclidean": euclidean, "mahalanobis": mahalanobis}[method]
    asked, stored = features(queries), features(population)
    rows = []
    for start in range(0, len(asked), _CHUNK):
        found = nearest(distance(asked[start : start + _CHUNK], stored), 1)
        rows += [columns[0] if len(columns) else -1 for columns in found]
    return np.array(rows, dtype=int)


def _best_by_both(
    index: EmbeddingIndex,
    embedded: np.ndarray,
    queries: dict[str, np.ndarray],
    population: dict[str, np.ndarray],
    row_of: dict[str, int],
) -> np.ndarray:
    """Rows of the best matches by look and physics together, with the default weights."""
    rows = np.array([row_of[str(name)] for name in index.ids])
    weights, total = {name: weight for name, weight in WEIGHTS.items() if name != EMBEDDING}, sum(WEIGHTS.values())
    best = []
    for start in range(0, len(embedded), _CHUNK):
        part = slice(start, start + _CHUNK)
        asked = {name: queries[name][part] for name in weights}
        physics = parameter_distances(asked, population, weights)[:, rows]
        distances = combine(index.distances(embedded[part]), physics, index.vectors, WEIGHTS[EMBEDDING] / total)
        best += [rows[columns[0]] if len(columns) else -1 for columns in nearest(distances, 1)]
    return np.array(best, dtype=int)


def _judge(
    archive: Archive,
    model: Model,
    x: np.ndarray,
    best: dict[str, np.ndarray],
    ids: np.ndarray,
    judged: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Visual similarity of each method's matches for the first queries, beside that of random patches."""
    n = min(judged, len(x))
    rng = np.random.default_rng(seed)
    rows = {method: np.where(found[:n] >= 0, found[:n], 0) for method, found in best.items()}
    rows["random"] = rng.integers(0, len(ids), n)
    wanted = np.unique(np.concatenate(list(rows.values())))
    pictures = archive.prepared(model.preset, ids=[str(ids[row]) for row in wanted])[1]
    others = [pictures[np.searchsorted(wanted, found)] for found in rows.values()]
    # one call for all: most of its cost is per step of the search, not per pair
    values = visual_similarity(
        np.tile(x[:n], (len(rows), 1, 1)), np.concatenate(others), model.preset.encoder.augment, pool=4
    )
    return dict(zip(rows, values.reshape(len(rows), n), strict=True))


def run_retrieval(
    archive: Archive,
    model: Model,
    queries: int = 1_000,
    seed: int = 0,
    progress: Progress | None = None,
    judged: int = _JUDGED,
    where: str | None = None,
    methods: Collection[str] = METHODS,
) -> RetrievalStudy:
    """Draw random queries, find the best match of each by every method, and keep what is needed for figures.

    Parameters
    ----------
    archive
        Embedded with this model (`solquery.embed_archive`).
    model
        With generator and encoder.
    queries, seed
        How many latents are drawn from the prior, and the seed of the draw.
    progress
        Called with a text and the fraction done.
    judged
        How many of the queries are held beside their matches by eye's measure (`visual_similarity`), which takes its
        time.
    where
        SQL condition: which patches of the archive are searched.
    methods
        Some of `METHODS`; that by the embedding is always among them.

    Raises
    ------
    SearchError
        When the archive is empty or was not embedded with this model's encoder.
    """
    if queries < 3:
        raise ValueError(f"at least 3 queries are needed for a correlation, got {queries}")
    tell = progress or (lambda text, fraction: None)
    index = load_index(archive, model, where)
    names = list(dict.fromkeys((*PARAMETERS, *FEATURES, *(name for name in WEIGHTS if name != EMBEDDING))))
    table = archive.table(columns=["id", "region", "source", *(f"grid_{name}" for name in names)], where=where)
    population = {
        name: np.asarray(table.column(f"grid_{name}").to_numpy(zero_copy_only=False), dtype=np.float64)
        for name in names
    }
    ids = np.asarray(table.column("id").to_pylist(), dtype=str)

    tell(f"drawing {queries} random queries", 0.0)
    x = draw_patches(model, queries, seed)[1]
    tell("measuring the queries", 0.3)
    measured = {name: value.numpy() for name, value in measure_on_grid(x, model.preset, names).items()}
    tell("embedding the queries", 0.4)
    embedded = embed(model.encoder, x)
    found = index.nearest(embedded, 1, group="none")
    row_of = {name: row for row, name in enumerate(ids)}
    best = {"ssl": np.array([row_of[matches[0].id] if matches else -1 for matches in found], dtype=int)}
    tell("searching by parameters", 0.8)
    if "hybrid" in methods:
        best["hybrid"] = _best_by_both(index, embedded, measured, population, row_of)
    for method in _TABLE_ONLY:
        if method in methods:
            best[method] = _best_by_parameters(measured, population, method)
    tell("comparing the looks of the matches", 0.85)
    alike = _judge(archive, model, x, best, ids, judged, seed) if judged else {}
    tell("queries done", 1.0)
    return RetrievalStudy(
        x=x,
        queries=measured,
        best=best,
        ids=ids,
        regions=np.asarray(table.column("region").to_pylist(), dtype=str),
        sources=np.asarray(table.column("source").to_pylist(), dtype=str),
        population=population,
        alike=alike,
        seed=seed,
    )


def retrieval_study(
    archive: Archive,
    model: Model,
    queries: int = 1_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Document:
    """`run_retrieval`, summarised: correlations by method and parameter, visual similarity, and counts."""
    return run_retrieval(archive, model, queries, seed, progress).summary()
