"""The experiments on inversion and retrieval (paper, Figs. 6 to 9 and its table), called as `reproduce_experiments`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..physics import measure
from ..serialise import finite
from ..steering import Inversion, invert
from .describe_experiments import embedded
from .figures import figure_correlations
from .inversion_error import figure_inversions
from .limb import crossing_rows, within_regions
from .paper_experiments import sigma_of_mean_zero, similarity_differences
from .reproduce_figures import write_figure
from .reproduce_stages import Folders
from .reproduce_table import bootstrap, comparison
from .retrieval import METHODS, PAPER, RetrievalStudy, correlate, run_retrieval
from .retrieval_report import PAPERS_METHODS, bipole_of, joint_figure, pair_figure, rows_figure
from .shares import one_of_each_first, rank_correlation

if TYPE_CHECKING:
    from .reproduce import Study

#: queries shown beside what each method found (paper, Fig. 8)
_ROWS = 5
#: pairs shown in Figure 6
_PAIRS = 5
#: frames of each region that is followed across the disk
_FRAMES = 8


def _sample(study: Study) -> list[Document]:
    """Rows of the archive to invert: as many regions as can be, then further frames; the same for the same seed."""
    rows = study.archive.table(["id", "region", "mu"], "mu IS NOT NULL AND mu > 0").to_pylist()
    order = one_of_each_first([row["region"] for row in rows], np.random.default_rng(study.plan.seed))
    return sorted((rows[k] for k in order[: study.plan.inversions]), key=lambda row: (-row["mu"], row["id"]))


def _prior(study: Study) -> float:
    return 0.0 if study.model.preset.papers_method else 0.5


def _inverted(study: Study, ids: list[str], begin: float, end: float) -> tuple[np.ndarray, list[Inversion]]:
    """Patches of the archive (N, H, W) in preset units, and the closest that the generator makes."""
    x = np.nan_to_num(study.archive.prepared(study.model.preset, ids=ids)[1])
    found: list[Inversion] = []
    for k in range(0, len(x), 16):
        study.progress(f"inverting {len(x)} patches of the archive", begin + (end - begin) * k / len(x))
        part = x[k : k + 16]
        found += invert(study.model, part, study.plan.starts, study.plan.steps, study.plan.seed, prior=_prior(study))
    return x, found


def _crossings(study: Study) -> tuple[Document, list[tuple[np.ndarray, np.ndarray]]]:
    """How the error changes within a region as it comes nearer to the limb (`within_regions`), and that of each."""
    rows = study.archive.table(["id", "region", "mu"], "mu IS NOT NULL AND mu > 0").to_pylist()
    angle = np.degrees(np.arccos(np.clip([row["mu"] for row in rows], 0.0, 1.0)))
    regions = np.array([row["region"] for row in rows])
    chosen = crossing_rows(angle, regions, study.plan.crossings, _FRAMES, study.plan.seed)
    found = _inverted(study, [rows[k]["id"] for k in chosen], 1.0 / 3.0, 1.0)[1] if len(chosen) else []
    error = np.array([answer.mse for answer in found])
    followed = [
        (angle[chosen][rows], error[rows]) for rows in (regions[chosen] == one for one in np.unique(regions[chosen]))
    ]
    return within_regions(angle[chosen], error, regions[chosen], study.plan.seed), followed


def figure6(study: Study, folder: Path, before: Folders) -> Document:
    """Error of the generator's best approximation against heliocentric angle."""
    rows = _sample(study)
    if len(rows) < 3:
        return {"file": None, "patches": len(rows), "why": "fewer than three patches of the archive have an angle"}
    x, found = _inverted(study, [row["id"] for row in rows], 0.0, 1.0 / 3.0)
    mu = np.array([row["mu"] for row in rows])
    error = np.array([answer.mse for answer in found])
    power = np.maximum((x**2).mean((1, 2)), 1e-12)
    angle = np.degrees(np.arccos(np.clip(mu, 0.0, 1.0)))
    regions = np.array([row["region"] for row in rows])
    tests = {}
    for name, values in (("error", error), ("share", error / power)):
        interval = bootstrap(angle, values, regions, study.plan.resamples, study.plan.seed)["spearman"]
        of_regions = [np.array([v[regions == one].mean() for one in np.unique(regions)]) for v in (angle, values)]
        tests[name] = {
            "spearman": finite(correlate(angle, values)["spearman"]),
            "low": finite(interval[0]),
            "high": finite(interval[1]),
            "p": rank_correlation(*of_regions)["p"],
            "median": float(np.median(values)),
        }
    shown = np.unique(np.linspace(0, len(rows) - 1, min(_PAIRS, len(rows))).round().astype(int))
    made = np.stack([found[k].x.reshape(x.shape[1:]) for k in shown])
    within, followed = _crossings(study)
    drawn = figure_inversions(study.gauss(x[shown]), study.gauss(made), mu[shown], mu, error, followed)
    return {
        "file": write_figure(drawn, folder / "inversions.png", 120, 96),
        "patches": len(rows),
        "regions": len(set(regions)),
        "beyond_60_degrees": float((angle > 60).mean()),
        "prior": _prior(study),
        **tests,
        "within_regions": within,
        "mu": mu.tolist(),
        "error_values": error.tolist(),
    }


def queries(study: Study, folder: Path, before: Folders) -> Document:
    """Random queries and the best match of each by every method; kept for the figures that follow."""
    embedded(study, 0.5)
    found = run_retrieval(
        study.archive, study.model, study.plan.queries, study.plan.seed,
        lambda text, fraction: study.progress(text, 0.5 + 0.5 * fraction), study.plan.judged,
    )  # fmt: skip
    columns: Document = {f"query_{name}": v for name, v in found.queries.items()}
    columns |= {f"population_{name}": v for name, v in found.population.items()}
    columns |= {f"best_{name}": v for name, v in found.best.items()}
    np.savez(
        folder / "study.npz",
        ids=found.ids,
        regions=found.regions,
        sources=found.sources,
        # what the figures show: the first queries, and the bipole
        x=found.x[[*range(min(_ROWS, len(found.x))), bipole_of(found)]],
        **columns,
    )
    summary = json.loads(json.dumps(found.summary()), parse_constant=lambda _: None)
    return {
        **summary,
        "judged": found.judged,
        "visual_similarity_above": similarity_differences(found, study.plan.resamples, study.plan.seed),
        "sigma_zero": sigma_of_mean_zero(study, found),
    }


def _load(study: Study, folders: Folders) -> RetrievalStudy:
    """What `queries` kept; `x` has the first queries and the bipole only."""
    with np.load(folders["queries"] / "study.npz") as kept:
        arrays = {name: kept[name] for name in kept.files}

    def group(start: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(start): v for name, v in arrays.items() if name.startswith(start)}

    return RetrievalStudy(
        arrays["x"], group("query_"), group("best_"), arrays["ids"], arrays["regions"],
        arrays["sources"], group("population_"), {}, study.plan.seed,
    )  # fmt: skip


def _joints(study: Study, folder: Path, found: RetrievalStudy, names: tuple[str, ...]) -> dict[str, str]:
    physical = study.model.preset.physical
    return {name: write_figure(joint_figure(found, name, physical), folder / f"{name}.png", 95, 64) for name in names}


def figure7(study: Study, folder: Path, before: Folders) -> Document:
    """A bipole and its match, both also with polarities exchanged; histograms of TUF, PSEP, TPF and TNF."""
    found, preset = _load(study, before), study.model.preset
    drawn, pairs, ids = pair_figure(study.archive, study.model, found.x[-1])
    rows = [int(np.flatnonzero(found.ids == name)[0]) if name else None for name in ids]
    signs = []
    for pair in pairs:
        fields = np.stack([field for field in pair if field is not None])
        signs.append([finite(v) for v in measure(fields, preset.scale_mm, ("polarity",))["polarity"]])
    return {
        "file": write_figure(drawn, folder / "pair.png", 100, 64),
        "joints": _joints(study, folder, found, ("tuf", "psep", "tpf", "tnf")),
        "matches": [
            {
                "id": name,
                "region": None if row is None else str(found.regions[row]),
                "source": None if row is None else str(found.sources[row]),
            }
            for name, row in zip(ids, rows, strict=True)
        ],
        "leading": signs,
    }


def figure8(study: Study, folder: Path, before: Folders) -> Document:
    """Queries beside what embedding, Euclidean and Mahalanobis distance found."""
    found = _load(study, before)
    count = len(found.x) - 1
    drawn = rows_figure(study.archive, study.model, found, PAPERS_METHODS, range(count))
    return {"file": write_figure(drawn, folder / "rows.png", 100, 64), "rows": count}


def figure9(study: Study, folder: Path, before: Folders) -> Document:
    """Histograms of SIGMA, ALPHA and GRAD, and of R, which the paper gives in words."""
    found = _load(study, before)
    correlations = found.correlations()
    drawn = figure_correlations(correlations, PAPER)
    return {
        "joints": _joints(study, folder, found, ("sigma", "alpha", "grad", "r")),
        "file": write_figure(drawn, folder / "correlations.png", 100, 64),
    }


def table(study: Study, folder: Path, before: Folders) -> Document:
    """The paper's correlations beside ours with intervals; the other methods without."""
    found = _load(study, before)
    best = found.best["ssl"]
    regions = np.where(best >= 0, found.regions[best], "")
    kinds = sorted(set(found.sources.tolist()))
    counts = " and ".join(f"{int((found.sources == kind).sum()):,} {kind}" for kind in kinds)
    data = f"{len(best):,} generated queries, {counts} patches of {len(np.unique(found.regions)):,} regions"
    matches = {name: found.matched("ssl", name) for name in PAPER}
    rows = comparison(found.queries, matches, regions, data, study.plan.resamples, study.plan.seed)
    others = {
        method: {name: correlate(found.queries[name], found.matched(method, name)) for name in PAPER}
        for method in METHODS
    }
    plain: Document = {
        method: {n: {k: finite(v) if isinstance(v, float) else v for k, v in row.items()} for n, row in rows_.items()}
        for method, rows_ in others.items()
    }
    population = {name: _beside(found.queries[name], found.population[name]) for name in PAPER}
    return {"rows": rows, "methods": plain, "data": data, "population": population}


def _beside(made: np.ndarray, kept: np.ndarray) -> Document:
    """P16, P50 and P84 of generated and of archived patches; the share of the former within P5 to P95 of the latter."""
    made, kept = (v[np.isfinite(v)] for v in (made, kept))
    out: Document = {
        kind: [float(v) for v in np.percentile(values, (16, 50, 84))] if len(values) else [None] * 3
        for kind, values in (("generated", made), ("archive", kept))
    }
    low, high = np.percentile(kept, (5, 95)) if len(kept) else (np.nan, np.nan)
    return out | {"within": float(np.mean((made >= low) & (made <= high))) if len(made) and len(kept) else None}
