"""How well a best match keeps the physics of its query: random generated queries against an archive.

Paper, section 4 and Figs. 7 to 9: 1,000 random queries, the nearest patch of the archive for each, and the
correlation of eight parameters between the two, for the embedding and for two baselines on (TUF, R, PSEP).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..physics import measure
from ..retrieval import (
    COMPARED,
    FEATURES,
    combine,
    embed,
    euclidean,
    features,
    likeness,
    load_index,
    mahalanobis,
    nearest,
    parameter_distances,
)
from ..retrieval.hybrid import LOOK_SHARE
from ..steering import render

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle
    from ..retrieval import EmbeddingIndex

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
#: queries whose matches are judged by eye, that is by `retrieval.likeness`, which is slow
_JUDGED = 48
#: pixels averaged for it
_POOL = 4


def correlate(a: Any, b: Any) -> dict[str, float | int]:
    """Pearson and Spearman correlation of two samples (N,), with the number of pairs used and dropped.

    Pairs in which either value is NaN are dropped. Both correlations are NaN with fewer than three pairs, or where
    one side does not vary.
    """
    from scipy.stats import pearsonr, spearmanr

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"two samples of one length are needed, got shapes {a.shape} and {b.shape}")
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    out: dict[str, float | int] = {"pearson": float("nan"), "spearman": float("nan")}
    if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
        out = {"pearson": float(pearsonr(a, b)[0]), "spearman": float(spearmanr(a, b)[0])}
    return {**out, "pairs": len(a), "dropped": int((~known).sum())}


@dataclass(frozen=True)
class RetrievalStudy:
    """Random queries and what each method found for them. All parameters are in gauss and pixels of the grid.

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
    likeness_values
        Method to the visual likeness (J,) of the first J queries and their matches, and ``random`` for patches drawn
        blindly; NaN where nothing was found.
    drawn
        (Q,) rows of patches drawn blindly: what a method has to be better than.
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
    likeness_values: dict[str, np.ndarray] = field(repr=False)
    drawn: np.ndarray = field(repr=False)
    seed: int

    @property
    def likeness(self) -> dict[str, float]:
        """Method to the mean of its `likeness_values`."""
        return {name: float(np.nanmean(v)) if np.isfinite(v).any() else float("nan")
                for name, v in self.likeness_values.items()}  # fmt: skip

    @property
    def judged(self) -> int:
        """How many queries the likeness is over."""
        return min((len(v) for v in self.likeness_values.values()), default=0)

    def matched(self, method: str, name: str) -> np.ndarray:
        """(Q,) parameter `name` of the best matches (or of those drawn: ``random``); NaN where there is none."""
        rows = self.drawn if method == "random" else self.best[method]
        return np.where(rows >= 0, self.population[name][rows], np.nan)

    def correlations(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """Method to parameter to what `correlate` gives."""
        return {
            method: {name: correlate(self.queries[name], self.matched(method, name)) for name in PARAMETERS}
            for method in self.best
        }

    def summary(self) -> dict[str, Any]:
        """What ``solquery study retrieval --json`` prints."""
        found = self.best["ssl"][self.best["ssl"] >= 0]
        return {
            "correlations": self.correlations(),
            "paper": {name: {"pearson": p, "spearman": s} for name, (p, s) in PAPER.items()},
            "likeness": dict(self.likeness),
            "likeness_queries": self.judged,
            "queries": len(self.x),
            "patches": len(self.ids),
            "regions": len(np.unique(self.regions)),
            "distinct_matches": len(np.unique(found)),
            "real_matches": int((self.sources[found] == "real").sum()),
            "seed": self.seed,
        }


def _draw(bundle: Bundle, queries: int, seed: int) -> np.ndarray:
    """(Q, H, W) patches of latents from the prior."""
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(queries, int(bundle.generator.latent_dim), generator=source)
    return render(bundle.generator, z, bundle.preset.shape)[:, 0].numpy()


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
    best = []
    for start in range(0, len(embedded), _CHUNK):
        part = slice(start, start + _CHUNK)
        asked = {name: queries[name][part] for name in COMPARED}
        physics = parameter_distances(asked, population)[:, rows]
        distances = combine(index.distances(embedded[part]), physics, index.vectors, LOOK_SHARE)
        best += [rows[columns[0]] if len(columns) else -1 for columns in nearest(distances, 1)]
    return np.array(best, dtype=int)


def _judge(
    archive: Archive, bundle: Bundle, x: np.ndarray, found: dict[str, np.ndarray], ids: np.ndarray, tell: Progress
) -> dict[str, np.ndarray]:
    """Visual likeness (J,) of the queries x (J, H, W) and the rows (J,) that each method found."""
    pairs = [(k, row) for rows in found.values() for k, row in enumerate(rows[: len(x)]) if row >= 0]
    wanted = np.unique([row for _, row in pairs]) if pairs else np.zeros(0, int)
    names, pictures = archive.prepared(bundle.preset, ids=[str(ids[row]) for row in wanted])
    place = {name: k for k, name in enumerate(names)}
    values = {name: np.full(len(x), np.nan) for name in found}
    for name, rows in found.items():
        at = np.flatnonzero(rows[: len(x)] >= 0)
        # some hundred at a time: each method may have found other patches, and all of them are too many to hold
        for start in range(0, len(at), _CHUNK):
            part = at[start : start + _CHUNK]
            other = np.stack([np.asarray(pictures[place[str(ids[rows[k]])]], dtype=np.float32) for k in part])
            values[name][part] = likeness(x[part], other, bundle.preset.encoder.augment, pool=_POOL)
        tell("judging the likeness of the matches", 0.85 + 0.15 * (list(found).index(name) + 1) / len(found))
    return values


def run_retrieval(
    archive: Archive,
    bundle: Bundle,
    queries: int = 1_000,
    seed: int = 0,
    progress: Progress | None = None,
    judged: int = _JUDGED,
) -> RetrievalStudy:
    """Draw random queries, find the best match of each by every method, and keep what is needed for figures.

    Parameters
    ----------
    archive
        Embedded with this bundle (`retrieval.embed_archive`).
    bundle
        With generator and encoder.
    queries, seed
        How many latents are drawn from the prior, and the seed of the draw.
    progress
        Called with a text and the fraction done.
    judged
        Of how many queries the matches are judged by `retrieval.likeness`.

    Raises
    ------
    SearchError
        When the archive is empty or was not embedded with this bundle's encoder.
    """
    if queries < 3:
        raise ValueError(f"at least 3 queries are needed for a correlation, got {queries}")
    tell = progress or (lambda text, fraction: None)
    index = load_index(archive, bundle)
    names = list(dict.fromkeys((*PARAMETERS, *FEATURES)))
    table = archive.table(columns=["id", "region", "source", *(f"grid_{name}" for name in names)])
    population = {
        name: np.asarray(table.column(f"grid_{name}").to_numpy(zero_copy_only=False), dtype=np.float64)
        for name in names
    }
    ids = np.asarray(table.column("id").to_pylist(), dtype=str)

    tell(f"drawing {queries} random queries", 0.0)
    x = _draw(bundle, queries, seed)
    tell("measuring the queries", 0.3)
    measured = {
        name: value.numpy()
        for name, value in measure(bundle.preset.to_gauss(torch.from_numpy(x)), bundle.preset.scale_mm, names).items()
    }
    tell("embedding the queries", 0.4)
    embedded = embed(bundle.encoder, x)
    found = index.nearest(embedded, 1, group="none")
    row_of = {name: row for row, name in enumerate(ids)}
    best = {"ssl": np.array([row_of[matches[0].id] if matches else -1 for matches in found], dtype=int)}
    tell("searching by parameters", 0.8)
    best["hybrid"] = _best_by_both(index, embedded, measured, population, row_of)
    for method in _TABLE_ONLY:
        best[method] = _best_by_parameters(measured, population, method)
    tell("judging the likeness of the matches", 0.85)
    drawn = np.random.default_rng(seed).integers(0, len(ids), len(x))
    alike = _judge(archive, bundle, x[:judged], {**best, "random": drawn}, ids, tell)
    tell("queries done", 1.0)
    return RetrievalStudy(
        x=x,
        queries=measured,
        best=best,
        ids=ids,
        regions=np.asarray(table.column("region").to_pylist(), dtype=str),
        sources=np.asarray(table.column("source").to_pylist(), dtype=str),
        population=population,
        likeness_values=alike,
        drawn=drawn,
        seed=seed,
    )


def retrieval_study(
    archive: Archive,
    bundle: Bundle,
    queries: int = 1_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`run_retrieval`, summarised: correlations by method and parameter, likeness, and counts."""
    return run_retrieval(archive, bundle, queries, seed, progress).summary()
