"""Are far-side ensembles calibrated: patches of known truth blurred to far-side maps, and ensembles made for these.

The rank of the truth among the members is uniform where an ensemble is right about how much it does not know (Hamill
2001, doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2): a heap at both ends is an ensemble too narrow, one in the
middle too wide, one at one end biased. Skill is measured by the continuous ranked probability score (Gneiting & Raftery
2007), beside what the generator draws without any map.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..aliases import Document
from ..errors import SolqueryError
from ..farside import Ensemble, FarsideMap, Prior, degraded, draw_prior, farside_ensemble
from ..farside.maps import coarse
from ..physics import measure_on_grid, unit_of
from ..steering import SteeringWarning
from .figures import prefixed
from .magnetogram import bare, grey_bar, show_field
from .shares import one_of_each_first

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..model import Model

__all__ = ["FarsideStudy", "figure_ensemble", "figure_ranks", "run_farside"]

#: what is judged; the polarity is not in the map
JUDGED = ("tuf", "tpf", "tnf", "area", "psep", "tilt", "r")
_BINS = 6
_FEWEST = 10
_CENTRAL = 0.68
#: full width at which pictures are compared: finer structure has no place in a map of 20 Mm
_LIKE_MM = 8.0


@dataclass(frozen=True)
class FarsideStudy:
    """Ranks and scores of ensembles.

    Attributes
    ----------
    ids, regions
        Of N patches.
    ranks
        Name to (N,): share of members below the truth, ties by halves; NaN where the truth or most members have none.
    scores, prior_scores
        Name to (N,): continuous ranked probability score of the ensemble, and of the prior; in logarithm to base 10,
        of a tilt in degrees.
    visual_similarity
        (N,): correlation of |B| at 8 Mm between truth and members, their mean; of draws without a map in
        `prior_similarity`, of the map itself in `map_similarity`.
    temperatures, chi2
        (N,) of the ensembles.
    settings
        Members, draws, evaluations, resolution in Mm, noise in gauss.
    shown
        The ensemble of the strongest region, and the truth (H, W) in preset units.
    """

    ids: tuple[str, ...]
    regions: tuple[str, ...]
    ranks: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    prior_scores: dict[str, np.ndarray]
    visual_similarity: np.ndarray
    prior_similarity: np.ndarray
    map_similarity: np.ndarray
    temperatures: np.ndarray
    chi2: np.ndarray
    settings: dict[str, float]
    shown: tuple[Ensemble, np.ndarray]

    def summary(self) -> Document:
        """JSON: for each parameter histogram of ranks, its chi² probability, share within 68 %, and skill."""
        from scipy.stats import chisquare

        told: Document = {}
        for name, ranks in self.ranks.items():
            known = np.isfinite(ranks)
            counts = np.histogram(ranks[known], _BINS, (0.0, 1.0))[0]
            scored = np.isfinite(self.scores[name]) & np.isfinite(self.prior_scores[name])
            worth = 1 - self.scores[name][scored].mean() / self.prior_scores[name][scored].mean()
            told[name] = {
                "patches": int(known.sum()), "histogram": counts.tolist(),
                "p_uniform": float(chisquare(counts).pvalue) if known.any() else None,
                "within_68": float((np.abs(ranks[known] - 0.5) < _CENTRAL / 2).mean()) if known.any() else None,
                "skill": float(worth),
            }  # fmt: skip
        return {
            "patches": len(self.ids), "regions": len(set(self.regions)), **self.settings, "parameters": told,
            "visual_similarity": {
                "members": float(np.mean(self.visual_similarity)), "draws": float(np.mean(self.prior_similarity)),
                "map": float(np.mean(self.map_similarity)),
            },
            "temperature": float(np.median(self.temperatures)), "chi2": float(np.median(self.chi2)),
        }  # fmt: skip


def run_farside(
    archive: Archive,
    model: Model,
    n: int = 60,
    seed: int = 0,
    where: str | None = None,
    *,
    draws: int = 2_000,
    members: int = 24,
    evaluations: int = 40,
    resolution_mm: float = 20.0,
    noise_gauss: float = 20.0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> FarsideStudy:
    """Blur patches of an archive to far-side maps, make ensembles, and rank the truth among the members.

    Parameters
    ----------
    archive, model
        Patches that the model was not trained on, and the model.
    n, seed, where
        At most so many patches, one of a region, drawn with the seed from those that meet the SQL condition.
    draws, members, evaluations
        Of `draw_prior` and `farside_ensemble`.
    resolution_mm, noise_gauss
        Of the maps.

    Raises
    ------
    SolqueryError
        When there are fewer than ten regions.
    """
    from ..archive.prepare import prepare_many

    table = archive.table(columns=["id", "region"], where=where)
    names = np.array(table.column("region").to_pylist())
    rows = one_of_each_first(names, np.random.default_rng(seed))[: min(n, len(np.unique(names)))]
    if len(rows) < _FEWEST:
        raise SolqueryError(
            f"{len(rows)} regions of {archive.uri} are too few for ranks, {_FEWEST} are needed; simulate or ingest more"
        )
    ids = [table.column("id")[int(k)].as_py() for k in rows]
    prior = draw_prior(model, draws, seed, resolution_mm=resolution_mm, report=report)
    x = np.nan_to_num(prepare_many(archive.patches(ids=ids), model.preset)).astype(np.float32)
    truth = {name: np.asarray(v) for name, v in measure_on_grid(x, model.preset, JUDGED).items()}
    made: list[Ensemble] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)  # chi² is told
        for k, image in enumerate(x):
            report(k, len(x))
            blurred = degraded(image, model.preset, resolution_mm=resolution_mm, noise_gauss=noise_gauss, seed=seed + k)
            made.append(farside_ensemble(blurred, prior, members=members, seed=seed + k, evaluations=evaluations))
    settings = {
        "draws": draws, "members": members, "evaluations": evaluations, "resolution_mm": resolution_mm,
        "noise_gauss": noise_gauss,
    }  # fmt: skip
    return _judged(ids, names[rows].tolist(), x, truth, made, prior, settings)


def _judged(
    ids: list[str], regions: list[str], x: np.ndarray, truth: dict[str, np.ndarray], made: list[Ensemble],
    prior: Prior, settings: dict[str, float],
) -> FarsideStudy:  # fmt: skip
    ranks, scores, prior_scores = {}, {}, {}
    for name in JUDGED:
        values = truth[name]
        ranks[name] = np.array([_rank(one.parameters[name], v) for one, v in zip(made, values, strict=True)])
        known = prior.parameters[name][prior.parameters[name] > 0]
        # an R of 0 has no logarithm: what is weaker than a thousandth of what is usual counts as that
        floor = 1e-3 * float(np.median(known)) if len(known) else 1.0
        scores[name] = np.array(
            [_score(name, one.parameters[name], v, floor) for one, v in zip(made, values, strict=True)]
        )
        prior_scores[name] = np.array([_score(name, prior.parameters[name], v, floor) for v in values])
    preset = prior.model.preset
    fine = coarse(np.asarray(preset.to_gauss(x)), preset, _LIKE_MM)
    drawn = _images(prior, len(made))
    like = [_similarity(one, fine[k : k + 1]) for k, one in enumerate(made)]
    return FarsideStudy(
        tuple(ids), tuple(regions), ranks, scores, prior_scores, np.array(like),
        np.array([_correlation(a, b) for a, b in zip(drawn, fine, strict=True)]),
        np.array([_correlation(one.map.field, b) for one, b in zip(made, fine, strict=True)]),
        np.array([one.temperature for one in made]), np.array([np.median(one.chi2) for one in made]), settings,
        (made[strongest := int(np.nanargmax(truth["tuf"]))], x[strongest]),
    )  # fmt: skip


def _images(prior: Prior, n: int) -> np.ndarray:
    """(n, h, w) |B| at 8 Mm of draws of the prior."""
    from ..steering.latents import render

    preset = prior.model.preset
    rows = np.arange(n) % len(prior)
    x = render(prior.model.generator, prior.z[rows], preset.shape)[:, 0].numpy()
    return coarse(np.asarray(preset.to_gauss(x)), preset, _LIKE_MM)


def _similarity(one: Ensemble, truth: np.ndarray) -> float:
    """Mean correlation of the members, each at its place in the map, with the truth (1, h, w)."""
    from ..farside.refine import moved

    preset = one.members[0].origin.preset  # type: ignore[union-attr]
    drawn = coarse(np.asarray(preset.to_gauss(np.stack([m.x for m in one.members]))), preset, _LIKE_MM)
    shifts = np.rint(one.offsets_mm / np.asarray(one.map.scale_mm)).astype(int)
    return float(np.mean([_correlation(moved(image, by), truth[0]) for image, by in zip(drawn, shifts, strict=True)]))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0


def _rank(members: np.ndarray, truth: float) -> float:
    """Share of the members below the truth, ties by halves."""
    known = members[np.isfinite(members)]
    if not np.isfinite(truth) or 2 * len(known) < len(members):
        return float("nan")
    return float((known < truth).mean() + 0.5 * (known == truth).mean())


def _score(name: str, members: np.ndarray, truth: float, floor: float) -> float:
    """Continuous ranked probability score: mean distance to the truth less half that of members from each other."""
    known = members[np.isfinite(members)]
    if not np.isfinite(truth) or not len(known):
        return float("nan")
    if name == "tilt":

        def apart(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
            # an axis has no ends
            return np.abs((a - b + 90.0) % 180.0 - 90.0)
    else:
        known, truth = np.log10(np.maximum(known, floor)), float(np.log10(max(truth, floor)))

        def apart(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
            return np.abs(a - b)

    some = known[:: max(1, len(known) // 500)]
    return float(apart(known, truth).mean() - 0.5 * apart(some[:, None], some[None]).mean())


def figure_ranks(study: FarsideStudy) -> Figure:
    """Histogram of the ranks of each parameter, with the band that 19 of 20 flat ones stay within."""
    from scipy.stats import binom

    summary = study.summary()["parameters"]
    figure = Figure(figsize=(11.0, 2.6), layout="constrained")
    for axes, (name, told) in zip(figure.subplots(1, len(summary)), summary.items(), strict=True):
        low, high = binom.interval(0.95, told["patches"], 1 / _BINS)
        axes.axhspan(low, high, color="#d9d9d9", lw=0)
        axes.bar(np.arange(_BINS), told["histogram"], 0.86, color="#0a7d78")
        axes.set_xticks([0, _BINS - 1], ["lowest", "highest"])
        axes.set_title(f"{name.upper()}: skill {told['skill']:.2f}".replace("-", "−"), size=9)
        axes.tick_params(labelsize=8)
    figure.supxlabel("rank of the truth among the members", size=9)
    figure.supylabel("patches", size=9)
    return figure


def figure_ensemble(found: Ensemble, truth: np.ndarray | None = None, shown: int = 6) -> Figure:
    """The map, some members of its ensemble, and the truth (H, W) in preset units where it is known."""
    origin = found.members[0].origin
    if origin is None:
        raise ValueError("the members do not say which model made them")
    preset = origin.preset
    images: list[tuple[str, np.ndarray | FarsideMap]] = [(f"the map, up to {found.map.field.max():.0f} G", found.map)]
    if truth is not None:
        images.append(("the truth", np.asarray(preset.to_gauss(truth))))
    images += [
        (f"member {k + 1} (generated)", np.asarray(preset.to_gauss(one.x)))
        for k, one in enumerate(found.members[:shown])
    ]
    columns = 4
    lines = -(-len(images) // columns)
    figure = Figure(figsize=(2.9 * columns, 1.75 * lines), layout="constrained")
    for axes in figure.subplots(lines, columns, squeeze=False).flat[len(images) :]:
        axes.set_axis_off()
    unit = unit_of("tuf", preset.physical)
    for axes, (title, image) in zip(figure.axes, images, strict=False):
        if isinstance(image, FarsideMap):
            axes.imshow(image.field, origin="lower", cmap="magma", interpolation="nearest")
        else:
            shown_as = show_field(axes, image)
        bare(axes)
        axes.set_title(title, size=8)
    grey_bar(figure, shown_as, figure.axes[:])
    middle, low, high = found.interval("tuf")
    divisor, written = prefixed([middle], unit)
    times = " × " if divisor != 1 else " "
    figure.suptitle(
        f"total unsigned flux of the ensemble {middle / divisor:.2g}{times}{written}, 68 % within "
        f"{low / divisor:.2g} and {high / divisor:.2g}",
        size=9,
    )
    return figure
