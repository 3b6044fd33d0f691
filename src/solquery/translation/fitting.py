"""Fit a map on pairs: simple factors, ridge regression on neighbourhoods, and edits in the latent space of a generator.

Errors are those on regions that were left out, five groups of them in turn; the method with the least is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from .grid import seen, values_on, view_window, whole_window
from .kinds import KINDS, Kind, TranslationError
from .maps import METHODS, WITHOUT_MODEL, Translation, changed, latent_features, left_as_is, mean_angle, moved
from .pairs import Pair
from .ridge import fit_filters
from .scores import STRONG_GAUSS, Errors, Sample, scores
from .simple import fit_simple

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["STRONG_GAUSS", "Sample", "fit_methods", "fit_translation", "samples_of", "scores"]

#: Mm per pixel of a map that goes with no model: five pixels of a SHARP
SCALE_MM = (1.822125, 1.822125)
_FOLDS, _FEWEST = 5, 2
#: ridge of the map in latent space, in variances of a latent number for each pair
_LATENT_RIDGE = (0.01, 0.1, 1.0)
#: a method that needs a model must be better by this factor, and by so many gauss, to be preferred
_WORTH, _LEAST_GAUSS = 0.98, 0.5
_BATCH = 8


def samples_of(pairs: Iterable[Pair], kind: Kind, model: Model | None = None) -> list[Sample]:
    """Pairs on the grid of a model, or, without one, on a grid of 1.82 Mm that holds all of each patch.

    Raises
    ------
    TranslationError
        For a pair of other fields than the kind says, or without the angle that it needs.
    """
    out = []
    for pair in pairs:
        if pair.given.quantity != kind.reads or pair.wanted.quantity != kind.quantity:
            raise TranslationError(
                f"{pair.given.id}: a pair of kind {kind.name!r} is of {kind.reads} and {kind.quantity} field, not of "
                f"{pair.given.quantity} and {pair.wanted.quantity}"
            )
        given = pair.given
        window = whole_window(given, SCALE_MM) if model is None else view_window(given, model.preset)
        one = seen(given, window, angle=kind.angle)
        wanted, lost = values_on(pair.wanted, window)
        counts = changed(kind, one) & (lost < 0.5)
        if counts.any():
            out.append(Sample(one, wanted, counts, pair.region))
    return out


def fit_translation(
    pairs: Iterable[Pair],
    kind: str,
    *,
    name: str | None = None,
    model: Model | None = None,
    method: str | None = None,
    source: str = "",
    progress: Callable[[str], None] | None = None,
) -> Translation:
    """Fit a map on pairs.

    Parameters
    ----------
    pairs
        Of two regions at least; a hundred pairs of fifty regions are few.
    kind
        Of `KINDS`, or a name of your own: then a map over all pixels is made, from the field of the first pair's given
        patch to that of its wanted one, with the angle where all patches say it.
    name
        Of the map; that of the kind without it.
    model
        Also try its generator, on its grid: what it draws as a feature, a direction and a linear map in latent space.
    method
        Take this one of `solquery.translation.maps.METHODS`; None: the one with the least error on regions left out,
        those that need a model only where they are better by 2 % and half a gauss. Among them is ``simple``: what
        people do without a map.
    source
        What the pairs are of, for the record.
    progress
        Called with what is being done.

    Returns
    -------
    Translation
        With the errors of all methods that were tried.

    Raises
    ------
    TranslationError
        When the pairs are of fewer than two regions, given and wanted fields are the same, or the method needs a model
        that was not given.
    """
    listed = list(pairs) if kind not in KINDS else pairs
    chosen = KINDS[kind] if kind in KINDS else _own_kind(kind, list(listed))
    if method is not None and method not in METHODS:
        raise TranslationError(f"there is no method {method!r}; there are: {', '.join(METHODS)}")
    if method not in (None, *WITHOUT_MODEL) and model is None:
        raise TranslationError(f"method {method!r} goes through a generator; name a model")
    _checked(model)
    tell = progress or (lambda text: None)
    tell("placing pairs on the grid")
    samples = samples_of(listed, chosen, model)
    tried = [method] if method is not None else [*METHODS] if model is not None else [*WITHOUT_MODEL]
    made = fit_methods(samples, chosen, tried, model, name=name, source=source, progress=tell)
    price = {m: one.error[m]["rms_gauss"] for m, one in made.items()}
    price |= {m: value / _WORTH + _LEAST_GAUSS for m, value in price.items() if m not in WITHOUT_MODEL}
    return made[min(tried, key=price.__getitem__)]


def fit_methods(
    samples: list[Sample],
    kind: Kind,
    methods: Iterable[str],
    model: Model | None = None,
    *,
    name: str | None = None,
    source: str = "",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Translation]:
    """Maps of several methods on the same samples; each has the errors of all. Parameters as of `fit_translation`."""
    tell, tried = progress or (lambda text: None), list(methods)
    regions = sorted({sample.region for sample in samples})
    _refuse(samples, regions)
    folds = {region: k % min(_FOLDS, len(regions)) for k, region in enumerate(regions)}
    error = {"nothing": scores(samples, [left_as_is(kind, s.one) for s in samples])}
    error["simple"], simple = fit_simple(kind, samples, folds)
    drawn, z = _drawn(model, samples, tell) if model is not None and {*tried} - {*WITHOUT_MODEL} else (None, None)
    fitted: Document = {}
    for one in tried:
        tell(f"fitting {one}")
        if one == "simple":
            fitted[one] = simple
        elif one.startswith("filters"):
            strong = error["simple"]["rms_strong_gauss"]
            error[one], fitted[one] = fit_filters(kind, samples, folds, drawn if "+" in one else None, strong)
        else:
            assert model is not None and drawn is not None and z is not None
            error[one], fitted[one] = _fit_latent(one, kind, samples, folds, model, drawn, z)
    scale = SCALE_MM if model is None else model.preset.scale_mm
    assert scale is not None
    told = {"pairs": len(samples), "regions": len(regions), "data": source, "simple": simple["names"][0]}
    return {
        one: Translation(
            name or kind.name, kind, one, scale, error=error, provenance=told, **fitted[one],
            model=None if one in WITHOUT_MODEL or model is None else {"name": model.name, "hash": model.hash},
        )
        for one in tried
    }  # fmt: skip


def _checked(model: Model | None) -> None:
    if model is not None and not model.preset.physical:
        raise TranslationError(f"the grid of model {model.name!r} has no scale; take one that has, such as `physical`")
    if model is not None and model.hash is None:
        raise TranslationError(f"model {model.name!r} was never saved, so that a map could not name it; save it first")


def _own_kind(name: str, pairs: list[Pair]) -> Kind:
    if not pairs:
        raise TranslationError("there are no pairs; a map is fitted on pairs of two regions at least")
    placed = all(np.isfinite([p.given.latitude_deg, p.given.mu]).any() for p in pairs)
    first = pairs[0]
    return Kind(name, "given", "wanted", first.given.quantity, first.wanted.quantity, "all", placed)


def _refuse(samples: list[Sample], regions: list[str]) -> None:
    if len(regions) < _FEWEST:
        what = f"all of region {regions[0]}" if regions else "none with a pixel to learn from"
        raise TranslationError(f"the pairs are {what}; the error is measured on regions left out: give two at least")
    if all(np.array_equal(s.one.field[s.counts], s.wanted[s.counts]) for s in samples):
        raise TranslationError("given and wanted fields are the same in all pairs; there is nothing to fit")


def _drawn(model: Model, samples: list[Sample], tell: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
    """What the generator draws for the given patches (N, H, W) in G, and latents (2, N, D) of given and wanted ones."""
    from .latent import drawn_for, guess

    drawn, given, wanted = [], [], []
    for first in range(0, len(samples), _BATCH):
        tell(f"drawing {first} of {len(samples)}")
        part = samples[first : first + _BATCH]
        z, made = drawn_for(model, [s.one for s in part])
        drawn.append(made)
        given.append(z)
        wanted.append(guess(model, np.stack([s.wanted for s in part])))
    return np.concatenate(drawn), np.stack([np.concatenate(given), np.concatenate(wanted)])


def _fit_latent(
    method: str, kind: Kind, samples: list[Sample], folds: dict[str, int], model: Model, drawn: np.ndarray,
    z: np.ndarray,
) -> tuple[dict[str, float], Document]:  # fmt: skip
    """Errors on regions left out, and the arrays of all pairs."""
    from .latent import render_gauss

    place = np.array([folds[s.region] for s in samples])
    angle = np.array([mean_angle(s.one) for s in samples])

    x, step = latent_features(z[0], angle), z[1] - z[0]

    def edit(rows: np.ndarray, ridge: float) -> dict[str, np.ndarray]:
        if method == "direction":
            return {"direction": step[rows].mean(0)}
        return {"matrix": _latent_matrix(x[rows], step[rows], ridge)}

    def missed(ridge: float) -> float:
        """Squared error of the latents on the groups left out."""
        off = (x[place == f] @ edit(place != f, ridge)["matrix"] - step[place == f] for f in np.unique(place))
        return sum(float(np.square(part).sum()) for part in off)

    ridge = min(_LATENT_RIDGE, key=missed) if method == "latent-map" else 0.0
    edited = np.empty_like(drawn)
    for fold in np.unique(place):
        apart = Translation("", kind, method, SCALE_MM, latent=edit(place != fold, ridge))
        rows = np.flatnonzero(place == fold)
        for part in np.array_split(rows, -(-len(rows) // _BATCH)):
            edited[part] = render_gauss(model, apart.edited(z[0, part], angle[part]))
    # how much of the change to take: by least squares on the other groups
    dots = np.array([
        [float((d * (s.wanted - s.one.field))[s.counts].sum()), float((d * d)[s.counts].sum())]
        for s, d in zip(samples, edited - drawn, strict=True)
    ])  # fmt: skip
    errors = Errors()
    for k, sample in enumerate(samples):
        other = dots[place != place[k]].sum(0)
        errors.add(sample, moved(kind, sample.one, drawn[k], edited[k], other[0] / max(other[1], 1e-9)))
    total = dots.sum(0)
    strength = np.array([total[0] / max(total[1], 1e-9)], np.float32)
    return errors.scores(), {"latent": {**edit(np.ones(len(place), bool), ridge), "strength": strength}}


def _latent_matrix(x: np.ndarray, step: np.ndarray, ridge: float) -> np.ndarray:
    """(F, D) weights of the steps (N, D) by features (N, F), whose last is one and carries no penalty."""
    penalty = ridge * len(x) * np.diag(x.var(0))
    return np.linalg.solve(x.T @ x + penalty + 1e-9 * len(x) * np.eye(x.shape[1]), x.T @ step)
