"""All numbers and pictures of a retrieval study in one folder: ``retrieval.json`` and PNG files.

The correlations of the paper's section 4 with intervals, a visual likeness that no method optimises, frames and
altered copies whose answer is known, and real frames among simulated ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import figure_correlations
from .reproduce_figures import write_figure
from .reproduce_table import bootstrap
from .retrieval import PAPER, PARAMETERS, RetrievalStudy, correlate, run_retrieval
from .retrieval_figures import bipole, draw_joints, draw_pair, draw_rows
from .retrieval_frames import frames_of_regions, real_among_simulated

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle
    from ..patch import Patch

__all__ = ["correlations_with_intervals", "likeness_of_methods", "record_retrieval"]

Progress = Callable[[str, float], None]

_ALL = ("ssl", "hybrid", "euclidean", "mahalanobis", "random")
#: queries of the picture that compares all methods, and of Figure 8
_COMPARED, _ROWS = 12, 5


def correlations_with_intervals(
    found: RetrievalStudy, resamples: int = 1_000, seed: int = 0
) -> dict[str, dict[str, dict[str, Any]]]:
    """Method to parameter to ``pearson``, ``spearman``, their 95 % intervals ``…_interval``, ``pairs``, ``dropped``.

    Regions of the matches are resampled, since frames of one are near copies of each other. ``random`` are patches
    drawn blindly.
    """
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for method in _ALL:
        rows = found.drawn if method == "random" else found.best[method]
        regions = np.where(rows >= 0, found.regions[rows], "")
        out[method] = {}
        for name in PARAMETERS:
            query, match = found.queries[name], found.matched(method, name)
            intervals = bootstrap(query, match, regions, resamples, seed)
            out[method][name] = {
                **correlate(query, match),
                **{f"{statistic}_interval": list(interval) for statistic, interval in intervals.items()},
            }
    return out


def likeness_of_methods(
    values: Mapping[str, np.ndarray], resamples: int = 2_000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Median likeness by method, and paired differences of every other method from ``ssl`` and from ``hybrid``.

    Parameters
    ----------
    values
        Method to (J,), query by query; NaN where nothing was found.
    resamples, seed
        Of the bootstrap over queries.

    Returns
    -------
    ``median``
        Method to ``value``, ``low``, ``high``.
    ``difference``
        ``"ssl - euclidean"`` and so on to the median of the paired differences, its 95 % interval, and the share of
        queries in which the first is ahead, all over the queries in which both found something.
    """
    rng = np.random.default_rng(seed)

    def interval(sample: np.ndarray) -> dict[str, Any]:
        sample = sample[np.isfinite(sample)]
        if not len(sample):
            return {"value": None, "low": None, "high": None, "queries": 0}
        medians = [np.median(sample[rng.integers(len(sample), size=len(sample))]) for _ in range(resamples)]
        low, high = np.percentile(medians, (2.5, 97.5))
        return {"value": float(np.median(sample)), "low": float(low), "high": float(high), "queries": len(sample)}

    difference = {}
    for one in ("ssl", "hybrid"):
        for other in values:
            if other not in (one, "ssl"):
                gap = values[one] - values[other]
                known = gap[np.isfinite(gap)]
                ahead = float((known > 0).mean()) if len(known) else None
                difference[f"{one} - {other}"] = {**interval(gap), "ahead": ahead}
    return {"median": {name: interval(v) for name, v in values.items()}, "difference": difference}


def record_retrieval(
    archive: Archive,
    bundle: Bundle,
    folder: Path,
    queries: int = 1_000,
    seed: int = 0,
    real: Sequence[Patch] = (),
    resamples: int = 1_000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the study, draw the pictures into `folder`, and give the document that ``retrieval.json`` holds.

    Parameters
    ----------
    archive
        Embedded with `bundle` (`retrieval.embed_archive`).
    bundle
        With generator and encoder.
    folder
        For the pictures; it is made.
    queries
        Random queries, and at most so many frames of the archive; 0: only the real frames.
    seed
        Of all draws.
    real
        Real frames to be found among the simulated patches.
    resamples
        Draws of the bootstrap.
    progress
        Called with a text and the fraction done.

    Returns
    -------
    ``correlations``, ``paper``, ``likeness`` (means), ``likeness_of_methods``, ``frames``, ``real``, ``pictures``
    and the counts of `RetrievalStudy.summary`; what was not asked for is left out.

    Raises
    ------
    SearchError
        When the archive has no embeddings of this bundle.
    """
    began = time.monotonic()
    tell = progress or (lambda text, fraction: None)
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"bundle": bundle.name, "encoder": bundle.encoder_hash, "archive": archive.uri}
    if queries:
        found = run_retrieval(archive, bundle, queries, seed, lambda text, done: tell(text, 0.6 * done), judged=queries)
        tell("resampling the correlations", 0.6)
        document |= found.summary()
        document["correlations"] = correlations_with_intervals(found, resamples, seed)
        document["likeness_of_methods"] = likeness_of_methods(found.likeness_values, seed=seed)
        tell("asking for frames of the archive", 0.75)
        document["frames"] = frames_of_regions(archive, bundle, queries, seed)
        tell("drawing", 0.85)
        document["pictures"] = _pictures(archive, bundle, found, folder, seed)
    if real:
        tell(f"looking for {len(real)} real frames", 0.9)
        document["real"] = real_among_simulated(archive, bundle, real, seed=seed)
    tell("done", 1.0)
    return {**document, "seed": seed, "seconds": time.monotonic() - began}


def _pictures(archive: Archive, bundle: Bundle, found: RetrievalStudy, folder: Path, seed: int) -> dict[str, Any]:
    """Figures 7, 8 and 9, and the comparison of all methods; file names."""
    count = len(found.x)
    random = np.sort(np.random.default_rng(seed).permutation(count)[:_COMPARED])
    first = np.arange(min(_ROWS, count))
    three, four = ("ssl", "euclidean", "mahalanobis"), ("ssl", "euclidean", "mahalanobis", "hybrid")
    return {
        "figure7": {
            **draw_pair(archive, bundle, found, found.x[bipole(found)], folder / "figure7-pair.png"),
            "joints": draw_joints(bundle, found, folder, ("tuf", "psep", "tpf", "tnf")),
        },
        "figure8": draw_rows(archive, bundle, found, found.x[first], first, three, folder / "figure8.png"),
        "figure9": {
            "joints": draw_joints(bundle, found, folder, ("sigma", "alpha", "grad", "r")),
            "correlations": write_figure(
                figure_correlations(found.correlations(), PAPER), folder / "correlations.png", 100, 64
            ),
        },
        "comparison": draw_rows(archive, bundle, found, found.x[random], random, four, folder / "comparison.png"),
    }
