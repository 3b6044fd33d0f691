"""Generated patches against observed frames on the model's grid: statistics, and a classifier that tells them apart.

`quality` compares with simulated patches; this compares with the Sun. The same is done with held-out simulated patches,
so that the reader sees what of the difference the archive brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..archive.prepare import prepare
from ..archive.view import MARKED_SHARE, flux_outside_view
from ..steering.drawing import draw_patches
from .grid_statistics import GROUPS, group_of
from .quality import QualityError
from .region_classifier import MeasuredPatches, distinguish, measure_patches
from .shares import one_of_each_first

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..config import Preset
    from ..model import Model
    from ..patch import Patch

__all__ = ["RealismStudy", "run_realism", "usable_frames"]

Progress = Callable[[str, float], None]
#: share of missing pixels above which a frame is left out
_MISSING = 0.01
_FEWEST_REGIONS, _FEWEST_PATCHES = 4, 20
#: parts that hundreds of simulated regions are left out in
_FOLDS = 10
_WORDS = {"generated": "generated", "held_out": "held-out simulated"}


@dataclass(frozen=True)
class RealismStudy:
    """Generated patches, and held-out simulated ones, against observed frames.

    Attributes
    ----------
    generated, real
        Statistics of patches drawn from the generator, and of the observed frames.
    held_out
        The same of simulated patches; None where no archive was given.
    document
        What ``solquery quality --real --json`` prints under ``real``.
    """

    generated: MeasuredPatches = field(repr=False)
    real: MeasuredPatches = field(repr=False)
    held_out: MeasuredPatches | None = field(repr=False)
    document: Document = field(repr=False)


def usable_frames(patches: Iterable[Patch], min_mu: float = 0.4) -> tuple[list[Patch], list[dict[str, str]]]:
    """Frames to compare with, and id and reason of those left out.

    Kept is the radial field nearer to disk centre than `min_mu` with at most 1 % of its pixels missing and a scale.
    `read_sharp` has refused before what QUALITY marks as bad.
    """
    kept, left_out = [], []
    for patch in patches:
        why = None
        if patch.quantity != "radial":
            why = f"{patch.quantity} field, not radial"
        elif not patch.mu > min_mu:
            why = f"mu {patch.mu:.2f}, not over {min_mu:g}"
        elif patch.missing_fraction > _MISSING:
            why = f"{patch.missing_fraction:.0%} of the pixels missing"
        elif patch.scale_mm is None:
            why = "no scale in Mm per pixel"
        if why is None:
            kept.append(patch)
        else:
            left_out.append({"id": patch.id, "reason": why})
    return kept, left_out


def _on_grid(patches: Iterable[Patch], preset: Preset) -> Iterable[np.ndarray]:
    """Fields (H, W) in gauss as networks see them: resampled, and strong field soft-clipped as in generated ones."""
    for patch in patches:
        yield preset.to_gauss(prepare(patch, preset))


def _generated(model: Model, count: int, seed: int) -> MeasuredPatches:
    preset = model.preset
    x = draw_patches(model, count, seed)[1]
    assert preset.scale_mm is not None
    return measure_patches(
        (preset.to_gauss(row) for row in x), [f"generated {k}" for k in range(count)], preset.scale_mm
    )


def _held_out(
    archive: Archive, preset: Preset, count: int, seed: int, where: str | None, min_mu: float
) -> MeasuredPatches:
    """One blindly drawn frame of each of at most `count` regions."""
    rule = f"source = 'simulated' AND quantity = 'radial' AND mu > {min_mu} AND missing_fraction <= {_MISSING}"
    table = archive.table(["id", "region"], rule if where is None else f"({where}) AND {rule}")
    ids, regions = (np.asarray(table[name].to_pylist(), dtype=str) for name in ("id", "region"))
    rows = one_of_each_first(regions, np.random.default_rng(seed))[: min(count, len(np.unique(regions)))]
    drawn = list(archive.patches(ids=ids[rows].tolist())) if len(rows) else []
    assert preset.scale_mm is not None
    return measure_patches(_on_grid(drawn, preset), [patch.region for patch in drawn], preset.scale_mm)


def run_realism(
    model: Model,
    real: Sequence[Patch],
    archive: Archive | None = None,
    count: int = 1_000,
    seed: int = 0,
    where: str | None = None,
    min_mu: float = 0.4,
    min_flux_mx: float | None = None,
    progress: Progress | None = None,
) -> RealismStudy:
    """Compare generated patches with observed frames, all on the grid of the model's preset.

    Parameters
    ----------
    model
        With a generator, of a preset with a fixed scale.
    real
        Observed frames; those that are not radial, nearer to the limb than `min_mu` or with more than 1 % of missing
        pixels are left out and listed. A region is the mean of its frames.
    archive
        Of simulated patches that the model was not trained on, to compare with in the same way: one frame of each
        region, of the same `min_mu`; None leaves them out.
    count, seed
        Patches that are generated and, at most, taken of the archive; of the draws, folds and intervals.
    where
        Which patches of the archive, in SQL.
    min_flux_mx
        Unsigned flux over 100 G in view that a patch of any kind must have at least; that of the weakest real frame
        without it. Observed regions were chosen by somebody, and a generator also draws those that nobody would choose.

    Raises
    ------
    QualityError
        When the preset has no scale, fewer than four real regions or fewer than 20 other patches are left.
    """
    tell = progress or (lambda text, fraction: None)
    preset = model.preset
    if preset.scale_mm is None:
        raise QualityError(
            f"preset {preset.name!r} stretches patches and has no scale: statistics in megametres need a model of "
            "preset 'physical'"
        )
    frames, left_out = usable_frames(real, min_mu)
    tell("measuring observed frames", 0.0)
    observed = measure_patches(_on_grid(frames, preset), [patch.region for patch in frames], preset.scale_mm)
    _require_regions(observed, len(left_out))
    least = float(observed.flux_mx.min()) if min_flux_mx is None else float(min_flux_mx)
    observed = observed.chosen(observed.flux_mx >= least)
    _require_regions(observed, len(left_out), least)
    tell("generating and measuring", 0.2)
    drawn = {"generated": _generated(model, count, seed)}
    if archive is not None:
        tell("measuring held-out patches", 0.5)
        drawn["held_out"] = _held_out(archive, preset, count, seed, where, min_mu)
    others = {kind: all_.chosen(all_.flux_mx >= least) for kind, all_ in drawn.items()}
    for kind, kept in others.items():
        if len(kept) < _FEWEST_PATCHES:
            raise QualityError(
                f"{len(kept)} of {len(drawn[kind])} {_WORDS[kind]} patches have {least:.2g} Mx over 100 G in view, as "
                f"the real regions have: at least {_FEWEST_PATCHES} are needed; take more patches, or a smaller flux"
            )
    document = {
        "selection": _selection(model, frames, left_out, least, min_mu, min_flux_mx is None),
        "patches": {
            **{kind: {"drawn": len(drawn[kind]), **_counts(kept)} for kind, kept in others.items()},
            "real": _counts(observed),
        },
        "seed": seed,
        **_held_against(observed, others, seed, tell),
    }
    if "held_out" in others:
        tell("telling generated from held-out", 0.95)
        document["generated_from_held_out"] = _told_apart(others["held_out"], others["generated"], seed)
    return RealismStudy(others["generated"], observed, others.get("held_out"), document)


def _held_against(real: MeasuredPatches, others: Mapping[str, MeasuredPatches], seed: int, tell: Progress) -> Document:
    """Statistic by statistic, and by a classifier."""
    statistics = _compare(real, others)
    out: Document = {"statistics": statistics}
    for share in ("outside", "outside_held_out"):
        known = [entry[share] for entry in statistics.values() if share in entry]
        out[f"mean_{share}"] = float(np.mean(known)) if known else None
    groups = {group: [name for name in statistics if group_of(name) == group] for group in ("structure", "quiet")}
    groups["all"] = list(statistics)
    out["auc"] = {}
    for k, (kind, kept) in enumerate(others.items()):
        tell(f"telling {_WORDS[kind]} from real", 0.7 + 0.15 * k)
        out["auc"][kind] = {group: distinguish(real, kept, names, seed) for group, names in groups.items() if names}
    return out


def _told_apart(held_out: MeasuredPatches, generated: MeasuredPatches, seed: int) -> Document:
    """By group of statistics: how well a classifier tells generated patches from those that they should be like.

    Observed regions are few. Of simulated ones there are as many as one likes, so that this shows what the generator
    lost of its archive, whatever the archive lacks of the Sun.
    """
    names = [name for name in generated.values if name in held_out.values]
    groups = {group: [name for name in names if group_of(name) == group] for group in ("structure", "quiet")}
    return {group: distinguish(held_out, generated, chosen, seed, _FOLDS) for group, chosen in groups.items() if chosen}


def _require_regions(real: MeasuredPatches, left_out: int, least: float | None = None) -> None:
    count = len(np.unique(real.regions))
    if count < _FEWEST_REGIONS:
        flux = "" if least is None else f" with {least:.2g} Mx"
        raise QualityError(
            f"{count} real regions{flux} to compare with are too few ({left_out} frames left out): at least "
            f"{_FEWEST_REGIONS} are needed, of radial field away from the limb; give more files"
        )


def _counts(patches: MeasuredPatches) -> Document:
    return {
        "compared": len(patches),
        "regions": len(np.unique(patches.regions)),
        "flux_mx": np.percentile(patches.flux_mx, (5, 50, 95)).tolist(),
    }


def _selection(
    model: Model, frames: Sequence[Patch], left_out: list[dict[str, str]], least: float, min_mu: float, weakest: bool
) -> Document:
    """What is compared, in words and numbers."""
    preset = model.preset
    cut = [patch.id for patch in frames if flux_outside_view(patch.field, patch.scale_mm, preset) > MARKED_SHARE]
    story = model.metadata.get("provenance", {}).get("generator", {}).get("provenance", {})
    harps = {int(number) for number in (story.get("real") or {}).get("harps", ())}
    shown = sorted({int(patch.harpnum) for patch in frames if patch.harpnum is not None} & harps)
    flux = f"{least:.3g} Mx over 100 G in view" + (", as the weakest real frame" if weakest else "")
    return {
        "grid": {"shape": list(preset.shape), "scale_mm": list(preset.scale_mm or ())},
        "min_mu": min_mu,
        "min_flux_mx": least,
        "max_missing": _MISSING,
        "real_left_out": left_out,
        "real_cut_by_view": cut,
        "shown_in_training": shown,
        "text": f"real: radial field that passes the QUALITY rule, mu > {min_mu:g}, at most {_MISSING:.0%} missing; "
        f"held-out: simulated, same mu, one frame a region; generated: any draw, its mu is unknown; all: at least "
        f"{flux}; the observed rectangle alone is measured",
    }


def _compare(real: MeasuredPatches, others: Mapping[str, MeasuredPatches]) -> dict[str, Document]:
    """Ranges of each kind, the real regions, the share of them outside, and the AUC of the statistic alone.

    A statistic that fewer than four real regions or 20 generated patches have is left out.
    """
    out: dict[str, Document] = {}
    for group in GROUPS:
        for name in (name for name in real.values if group_of(name) == group):
            regions = real.by_region(name)
            regions = regions[np.isfinite(regions)]
            entry: Document = {"group": group, "real": None, "real_regions": regions.tolist()}
            for kind, patches in others.items():
                values = patches.values[name][np.isfinite(patches.values[name])]
                if len(values) < _FEWEST_PATCHES or len(regions) < _FEWEST_REGIONS:
                    continue
                low, middle, high = np.percentile(values, (5, 50, 95))
                above = ((values < regions[:, None]).mean() + (values <= regions[:, None]).mean()) / 2
                own = "" if kind == "generated" else f"_{kind}"
                entry[kind] = [float(low), float(middle), float(high)]
                entry["real"] = float(np.median(regions))
                entry[f"outside{own}"] = float(((regions < low) | (regions > high)).mean())
                entry[f"auc{own}"] = float(above)
            if "generated" in entry:
                out[name] = entry
    return out
