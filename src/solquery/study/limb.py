"""The limb study (paper, Fig. 6): how well a generator reconstructs patches, against how near the limb they lie."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..aliases import Document
from ..errors import SolqueryError
from ..steering import SteeringWarning, invert
from .shares import interval_of, rank_correlation

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model

__all__ = ["LimbStudy", "crossing_rows", "figure_limb", "run_limb", "within_regions"]

_BATCH = 32
_FEWEST = 8
#: frames of a region, and degrees between its first and last place, from which on a trend within it can be told
_FEWEST_FRAMES, _LEAST_SPAN = 5, 20.0


def _degrees(mu: np.ndarray) -> np.ndarray:
    """Heliocentric angles of cosines (N,)."""
    return np.degrees(np.arccos(np.clip(mu, -1.0, 1.0)))


def within_regions(angle_deg: np.ndarray, values: np.ndarray, regions: np.ndarray, seed: int = 0) -> Document:
    """How values change as a region comes nearer to the limb: the rank correlation within each region, averaged.

    Between regions an error differs by flux and size far more than by place; within one these change less, and what
    the distance from disk centre does shows. A squared error may grow because the patch has more power there, noise
    included: the share that it is of that power says which.

    Parameters
    ----------
    angle_deg, values, regions
        (N,) heliocentric angles, values and names of the regions.
    seed
        Of the bootstrap over regions.

    Returns
    -------
    ``spearman``, the mean over regions, its 95 % interval ``low`` to ``high`` and ``p``, the two-sided probability of
    Wilcoxon's signed-rank test over regions; None where there are fewer than two of them (six for ``p``). ``regions``
    counts those that have five frames or more, 20 degrees or more apart.
    """
    from scipy.stats import wilcoxon

    found = []
    for name in np.unique(regions):
        rows = regions == name
        if rows.sum() >= _FEWEST_FRAMES and np.ptp(angle_deg[rows]) >= _LEAST_SPAN:
            found.append(rank_correlation(angle_deg[rows], values[rows])["spearman"])
    rho = np.array([one for one in found if one is not None], np.float64)
    interval = interval_of(rho, np.arange(len(rho)), seed=seed)
    low, high = interval if interval is not None else (None, None)
    p = float(wilcoxon(rho).pvalue) if len(rho) >= 6 and rho.any() else None
    mean = float(rho.mean()) if interval is not None else None
    return {"spearman": mean, "low": low, "high": high, "p": p, "regions": len(rho)}


def crossing_rows(angle_deg: np.ndarray, regions: np.ndarray, count: int, frames: int, seed: int = 0) -> np.ndarray:
    """Rows of so many regions that come far enough across the disk, at most `frames` of each, evenly by angle.

    As many as there are, where there are fewer.
    """
    chosen: list[np.ndarray] = []
    for name in np.random.default_rng(seed).permutation(np.unique(regions)):
        rows = np.flatnonzero(regions == name)
        if len(chosen) == count:
            break
        if len(rows) >= _FEWEST_FRAMES and np.ptp(angle_deg[rows]) >= _LEAST_SPAN:
            rows = rows[np.argsort(angle_deg[rows], kind="stable")]
            chosen.append(rows[np.linspace(0, len(rows) - 1, min(frames, len(rows))).round().astype(int)])
    return np.concatenate(chosen) if chosen else np.zeros(0, int)


@dataclass(frozen=True)
class LimbStudy:
    """Reconstruction error of patches of an archive against their heliocentric angle.

    Attributes
    ----------
    ids, regions, sources
        N patches.
    angle_deg
        (N,) heliocentric angle of the centre, 0 at disc centre, 90 at the limb.
    mse
        (N,) mean squared error in preset units squared.
    unexplained
        (N,) the same as a share of the patch's power, which does not grow with the flux.
    """

    ids: tuple[str, ...]
    regions: tuple[str, ...]
    sources: tuple[str, ...]
    angle_deg: np.ndarray
    mse: np.ndarray
    unexplained: np.ndarray

    def summary(self) -> Document:
        """JSON: rank correlations with angle over patches, and over regions (their means), and medians by angle."""
        names = sorted(set(self.regions))
        of = np.array(self.regions)

        def means(values: np.ndarray) -> np.ndarray:
            return np.array([values[of == name].mean() for name in names])

        edges = np.array([0, 20, 40, 60, 75, 90.1])
        bins = []
        for low, high in itertools.pairwise(edges):
            rows = (self.angle_deg >= low) & (self.angle_deg < high)
            if rows.any():
                bins.append(
                    {
                        "from_deg": float(low), "to_deg": float(min(high, 90)), "patches": int(rows.sum()),
                        "mse": float(np.median(self.mse[rows])),
                        "unexplained": float(np.median(self.unexplained[rows])),
                    }
                )  # fmt: skip
        return {
            "patches": len(self.ids),
            "regions": len(names),
            "sources": {kind: self.sources.count(kind) for kind in sorted(set(self.sources))},
            "mse": rank_correlation(self.angle_deg, self.mse),
            "unexplained": rank_correlation(self.angle_deg, self.unexplained),
            # frames of one region are not independent
            "mse_by_region": rank_correlation(means(self.angle_deg), means(self.mse)),
            "unexplained_by_region": rank_correlation(means(self.angle_deg), means(self.unexplained)),
            "mse_within_regions": within_regions(self.angle_deg, self.mse, of),
            "unexplained_within_regions": within_regions(self.angle_deg, self.unexplained, of),
            "bins": bins,
        }


def run_limb(
    archive: Archive,
    model: Model,
    n: int = 200,
    seed: int = 0,
    where: str | None = None,
    starts: int = 3,
    steps: int = 100,
    whole_regions: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> LimbStudy:
    """Invert patches of an archive and set their errors against the heliocentric angle.

    Parameters
    ----------
    archive, model
        Patches, and the generator that reconstructs them.
    n, seed, where
        At most so many patches, drawn with the seed from those that meet the SQL condition; those without a known
        angle are left out.
    starts, steps
        Of `invert`; as in the paper without a prior for the paper's networks.
    whole_regions
        All frames of one region after another, of those that come far enough across the disk, rather than frames at
        random: for how the error of each changes on its way.

    Raises
    ------
    SolqueryError
        When fewer than eight patches have a known heliocentric angle.
    """
    from ..archive.prepare import prepare_many

    table = archive.table(columns=["id", "region", "source", "mu"], where=where)
    mu = np.array([np.nan if v is None else v for v in table.column("mu").to_pylist()], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(mu))
    if len(known) < _FEWEST:
        raise SolqueryError(
            f"{len(known)} patches of {archive.uri} have a known heliocentric angle, {_FEWEST} are needed; "
            "ingest more, or loosen --where"
        )
    if whole_regions:
        names = np.array(table.column("region").to_pylist())[known]
        rows = np.sort(known[crossing_rows(_degrees(mu[known]), names, n, n, seed)[:n]])
        if len(rows) < _FEWEST:
            raise SolqueryError(
                f"{len(rows)} patches of {archive.uri} are of regions with {_FEWEST_FRAMES} frames or more, "
                f"{_LEAST_SPAN:.0f} degrees or more apart; {_FEWEST} are needed: ingest more frames of each region"
            )
    else:
        rows = np.sort(np.random.default_rng(seed).permutation(known)[:n])
    ids, regions, sources = ([table.column(key)[int(k)].as_py() for k in rows] for key in ("id", "region", "source"))
    mse, unexplained = [], []
    for first in range(0, len(ids), _BATCH):
        report(first, len(ids))
        batch = prepare_many(archive.patches(ids=ids[first : first + _BATCH]), model.preset)
        with warnings.catch_warnings():
            if model.preset.papers_method:
                # a latent vector that is left free ends far from the prior, as it does in the paper
                warnings.simplefilter("ignore", SteeringWarning)
            prior = 0.0 if model.preset.papers_method else 0.5
            answers = invert(model, batch, starts, steps, seed, prior=prior)
        for found in answers:
            mse.append(found.mse)
            unexplained.append(found.unexplained)
    return LimbStudy(
        tuple(ids), tuple(regions), tuple(sources), _degrees(mu[rows]), np.array(mse), np.array(unexplained)
    )


def figure_limb(study: LimbStudy) -> Figure:
    """Error and unexplained power against heliocentric angle, with medians and the way of each region (Fig. 6)."""
    summary = study.summary()
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    panels = (("mse", study.mse, "mean squared error"), ("unexplained", study.unexplained, "unexplained power"))
    for axes, (key, values, label) in zip(figure.subplots(1, 2), panels, strict=True):
        for kind, colour in (("simulated", "#b8640b"), ("real", "#0a7d78"), ("generated", "#6b46c1")):
            rows = np.array([source == kind for source in study.sources])
            if rows.any():
                axes.plot(study.angle_deg[rows], values[rows], ".", color=colour, alpha=0.5, markersize=5, label=kind)
        for name in sorted(set(study.regions)):
            rows = np.flatnonzero(np.array(study.regions) == name)
            if len(rows) >= _FEWEST_FRAMES and np.ptp(study.angle_deg[rows]) >= _LEAST_SPAN:
                rows = rows[np.argsort(study.angle_deg[rows], kind="stable")]
                axes.plot(study.angle_deg[rows], values[rows], "-", color="0.45", linewidth=0.6, alpha=0.4)
        middle = [0.5 * (row["from_deg"] + row["to_deg"]) for row in summary["bins"]]
        axes.plot(middle, [row[key] for row in summary["bins"]], "k-o", markersize=4, linewidth=1.2, label="median")
        axes.set_yscale("log")
        axes.set_xlim(0, 90)
        axes.set_xlabel("heliocentric angle (deg)", size=9)
        axes.set_ylabel(label, size=9)
        axes.tick_params(labelsize=8)
        found = [summary[key + more]["spearman"] for more in ("", "_by_region", "_within_regions")]
        shown = ["–" if value is None else f"{value:.2f}".replace("-", "−") for value in found]
        axes.set_title(f"rank correlation {shown[0]}, between regions {shown[1]}, within {shown[2]}", size=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
