"""The whole retrieval study (paper, Figs. 7 to 9) for any model and archive: one document, and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..encoder import embed
from ..search import load_index
from .figures import figure_correlations, figure_joint
from .recall import copies, same_region
from .reproduce_figures import figure_rows, write_figure
from .reproduce_table import bootstrap
from .retrieval import METHODS, PAPER, PARAMETERS, RetrievalStudy, correlate, run_retrieval
from .shares import difference_of, interval_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..archive.store import Archive
    from ..model import Model

__all__ = [
    "PAPERS_METHODS", "bipole_of", "correlations_of", "joint_figure", "pair_figure", "pictures_of", "rows_figure",
    "similarity_of", "study_retrieval", "write_pictures",
]  # fmt: skip

Progress = Callable[[str, float], None]

#: queries of the comparison picture
COMPARED = 12
#: methods that the paper compares, in its order
PAPERS_METHODS = ("ssl", "euclidean", "mahalanobis")
_TITLES = {"ssl": "embedding", "hybrid": "hybrid", "euclidean": "Euclidean", "mahalanobis": "Mahalanobis"}


def correlations_of(found: RetrievalStudy, resamples: int = 1_000) -> dict[str, dict[str, Document]]:
    """Method to parameter to Pearson and Spearman with 95 % intervals, regions of the matches being resampled."""
    out: dict[str, dict[str, Document]] = {}
    for method in METHODS:
        best = found.best[method]
        regions = np.where(best >= 0, found.regions[best], "")
        out[method] = {}
        for name in PARAMETERS:
            matched = found.matched(method, name)
            intervals = bootstrap(found.queries[name], matched, regions, resamples, found.seed)
            entry: Document = dict(correlate(found.queries[name], matched))
            entry |= {f"{statistic}_interval": list(interval) for statistic, interval in intervals.items()}
            out[method][name] = entry
    return out


def similarity_of(found: RetrievalStudy) -> Document:
    """Medians of the visual similarity with intervals, and paired differences: the gain over the table searches."""
    # each query is a group of its own: they are drawn one by one
    groups = np.arange(found.judged)
    medians = {
        method: {
            "median": float(np.median(values)),
            "interval": list(interval_of(values, groups, "median", seed=found.seed) or (None, None)),
        }
        for method, values in found.alike.items()
    }
    pairs = [(one, other) for one in ("ssl", "hybrid") for other in ("euclidean", "mahalanobis")]
    pairs.append(("hybrid", "ssl"))
    differences = {
        f"{one} - {other}": difference_of(found.alike[one], found.alike[other], groups, found.seed)
        for one, other in pairs
    }
    return {"queries": found.judged, "methods": medians, "differences": differences}


def bipole_of(found: RetrievalStudy) -> int:
    """Row of a query with two strong, well separated polarities."""
    size = np.minimum(found.queries["tpf"], found.queries["tnf"])
    psep = found.queries["psep"]
    middle = np.nanmedian(psep) if np.isfinite(psep).any() else 0.0
    return int(np.argmax(np.where(np.nan_to_num(psep, nan=-1.0) >= middle, size, -1.0)))


def study_retrieval(
    archive: Archive,
    model: Model,
    queries: int = 1_000,
    judged: int = 500,
    frames: int = 1_000,
    changed: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Document, RetrievalStudy]:
    """Correlations, visual similarity, and what search finds of what it should.

    Parameters
    ----------
    archive, model
        Embedded with the model's encoder.
    queries
        Drawn from the prior, for the correlations.
    judged
        Of these, held beside their matches by eye's measure.
    frames, changed
        Frames asked for others of their region; patches of which changed copies are asked for.
    seed
        Of all draws.

    Returns
    -------
    The document of `retrieval.json`, and the study with the patches for the pictures.
    """
    tell = progress or (lambda text, fraction: None)
    found = run_retrieval(archive, model, queries, seed, lambda t, f: tell(t, 0.7 * f), judged)
    tell("resampling", 0.7)
    correlations = correlations_of(found)
    tell("frames of the same region", 0.85)
    region = same_region(archive, model, frames, seed=seed)
    tell("changed copies", 0.9)
    copied = copies(archive, model, changed, seed)
    kinds, counts = np.unique(found.sources, return_counts=True)
    document = {
        "queries": len(found.x),
        "patches": len(found.ids),
        "sources": {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)},
        "regions": len(np.unique(found.regions)),
        "correlations": correlations,
        "paper": {name: {"pearson": p, "spearman": s} for name, (p, s) in PAPER.items()},
        "visual_similarity": similarity_of(found),
        "same_region": region,
        "copies": copied,
        "seed": seed,
    }
    tell("done", 1.0)
    return document, found


def pictures_of(archive: Archive, model: Model, ids: Iterable[str]) -> dict[str, np.ndarray]:
    """Id to (H, W) in gauss on the grid, missing pixels 0, of some patches of an archive."""
    names, x = archive.prepared(model.preset, ids=sorted(set(ids)))
    return {name: np.asarray(model.preset.to_gauss(np.nan_to_num(x[k]))) for k, name in enumerate(names)}


def joint_figure(found: RetrievalStudy, name: str, physical: bool) -> Figure:
    """A parameter of query and match by embedding (paper, Figs. 7 and 9)."""
    asked, matched = found.queries[name], found.matched("ssl", name)
    return figure_joint(name, asked, matched, found.population[name], correlate(asked, matched), physical=physical)


def pair_figure(
    archive: Archive, model: Model, query: np.ndarray
) -> tuple[Figure, list[list[np.ndarray | None]], list[str | None]]:
    """A query (H, W) in preset units and its best match, and both again with its polarities exchanged (Fig. 7, left).

    With the figure the two pairs in gauss, and the ids of the two matches; None where nothing was found.
    """
    both = np.stack([query, -query])
    answers = load_index(archive, model).nearest(embed(model.encoder, both), 1, group="none")
    ids = [matches[0].id if matches else None for matches in answers]
    shown = pictures_of(archive, model, [name for name in ids if name])
    pairs = [[np.asarray(model.preset.to_gauss(x)), shown.get(name or "")] for x, name in zip(both, ids, strict=True)]
    heads, labels = ("generated query", "best match"), ("as drawn", "polarities exchanged")
    return figure_rows(pairs, heads, labels, model.preset.scale_mm), pairs, ids


def rows_figure(
    archive: Archive, model: Model, found: RetrievalStudy, methods: Sequence[str], queries: Iterable[int]
) -> Figure:
    """Some of the queries beside what each method found (paper, Fig. 8)."""
    queries = list(queries)
    ids = [[str(found.ids[r]) if (r := int(found.best[m][k])) >= 0 else "" for m in methods] for k in queries]
    shown = pictures_of(archive, model, [name for row in ids for name in row if name])
    rows = [
        [model.preset.to_gauss(found.x[k]), *(shown.get(name) for name in names)]
        for k, names in zip(queries, ids, strict=True)
    ]
    return figure_rows(rows, ("query", *(_TITLES[m] for m in methods)), scale_mm=model.preset.scale_mm)


def write_pictures(archive: Archive, model: Model, found: RetrievalStudy, out: Path) -> list[str]:
    """The paper's Figures 7, 8 and 9, and twelve queries beside what every method found; names of the files."""
    out.mkdir(parents=True, exist_ok=True)
    drawn = {"figure7-pair": pair_figure(archive, model, found.x[bipole_of(found)])[0]}
    for figure, names in (("7", ("tuf", "psep", "tpf", "tnf")), ("9", ("sigma", "alpha", "grad", "r"))):
        drawn |= {f"figure{figure}-{name}": joint_figure(found, name, model.preset.physical) for name in names}
    files = [write_figure(one, out / f"{name}.png", 110, 128) for name, one in drawn.items()]
    files.append(write_figure(figure_correlations(found.correlations(), PAPER), out / "correlations.png", 110, 64))
    for name, methods, count in (("figure8", PAPERS_METHODS, 6), ("comparison", METHODS, COMPARED)):
        # any queries, not the first: those are the ones that everybody looks at
        rng = np.random.default_rng(found.seed + 1)
        chosen = np.sort(rng.choice(len(found.x), min(count, len(found.x)), replace=False))
        one = rows_figure(archive, model, found, methods, chosen.tolist())
        files.append(write_figure(one, out / f"{name}.png", 110, 128))
    return files
