"""Regions as probable as a far-side map makes them: drawn from a prior by their likelihood, then led to the map.

A draw x of the prior has, given the map and its noise, the likelihood exp(-chi² / 2), summed over the places where it
could lie. Few of some thousand draws are like a map within its noise, so that chi² is divided by a temperature at which
as many have a say as the ensemble has members (importance sampling); what the map says beyond that leads them
(refine.py).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..aliases import Document, Entries
from ..physics import measure_on_grid
from ..steering import SteeringWarning
from ..steering.generated import Generated, Origin
from ..steering.latents import render
from ..steering.vocabulary import in_grid_unit, number_or_quantity
from .maps import FarsideError, FarsideMap, coarse
from .prior import PARAMETERS, Prior
from .refine import Asked, Strengths, refined
from .strength import mean_strength

__all__ = ["Ensemble", "Member", "farside_ensemble", "parse_constraints"]

#: how far the region may lie from the place of a draw's, in Mm
_REACH_MM = 44.0
#: share of the map that a generator's map may be off, besides the noise: it is not the Sun
_MODEL_ERROR = 0.1
#: chi² per independent pixel above which a warning is due
_UNLIKE = 4.0
#: parameters whose tolerance is in degrees, and not a share
_ANGLES = ("tilt",)


@dataclass(frozen=True)
class Member(Generated):
    """One region of an ensemble: a latent vector (D,) and its image (H, W) in preset units."""

    z: np.ndarray
    x: np.ndarray
    parameters: dict[str, float]
    origin: Origin | None = None


@dataclass(frozen=True)
class Ensemble:
    """Regions that could be behind a far-side map.

    Attributes
    ----------
    members
        Equally probable.
    parameters
        Name to (M,): of the members, in the units of the model's grid.
    offsets_mm
        (M, 2): how far north and west of its place in `members` each region lies in the map.
    temperature
        What chi² was divided by for the choice among draws; the rest of what the map says has led the members.
    chi2
        (M,) per independent pixel of the map; far above 1 no region that the generator draws is like the map.
    map
        What they were made for.
    """

    members: list[Member]
    parameters: dict[str, np.ndarray]
    offsets_mm: np.ndarray
    temperature: float
    chi2: np.ndarray
    map: FarsideMap

    def interval(self, name: str, share: float = 0.68) -> tuple[float, float, float]:
        """Median of a parameter, and the ends of its central `share`; NaN where most members do not have it."""
        values = self.parameters[name]
        known = values[np.isfinite(values)]
        if 2 * len(known) < len(values):
            return math.nan, math.nan, math.nan
        middle, low, high = np.quantile(known, [0.5, 0.5 - share / 2, 0.5 + share / 2])
        return float(middle), float(low), float(high)

    def summary(self) -> Document:
        """JSON: each parameter with its interval of 68 %, the share of leading positive polarity, and the quality."""
        told: Document = {}
        for name in PARAMETERS:
            if name != "polarity":
                middle, low, high = self.interval(name)
                told[name] = {"median": middle, "low": low, "high": high}
        leads = self.parameters["polarity"]
        known = leads[np.isfinite(leads) & (leads != 0)]
        return {
            "parameters": told, "leading_positive": float((known > 0).mean()) if len(known) else None,
            "members": len(self.members), "temperature": self.temperature, "chi2": float(np.median(self.chi2)),
        }  # fmt: skip


def farside_ensemble(
    found: FarsideMap,
    prior: Prior,
    *,
    members: int = 24,
    constraints: Entries | None = None,
    seed: int = 0,
    evaluations: int = 40,
) -> Ensemble:
    """Regions that could be behind a map, with what else is known of them as constraints.

    Parameters
    ----------
    found
        The map, on the pixels of the prior's (`degraded` and `read_map` make such).
    prior
        Draws of a generator, of the map's resolution.
    members
        How many regions.
    constraints
        Name to value, or to (value, tolerance): ``{"tuf": ("2e22 Mx", 0.2), "psep": "60 Mm", "tilt": (10, 15),
        "polarity": 1}``. A tolerance (one standard deviation) is a share of the value, 0.1 unless given; of a tilt it
        is in degrees, 10 unless given. ``polarity`` is 1 or -1, that of the western one, which Hale's law gives.
    seed
        Of the draw.
    evaluations
        Of the generator, by which the members are led to the map; 0 leaves them as they were drawn.

    Returns
    -------
    Ensemble
        Its numbers are those of the model's grid.

    Raises
    ------
    FarsideError
        For a map of other pixels or resolution, an unknown constraint, or constraints that no draw meets.

    Warns
    -----
    SteeringWarning
        When no member is like the map.

    Examples
    --------
    >>> from solquery import Model
    >>> model = Model.load()
    >>> prior = draw_prior(model, 256)
    >>> truth = render(model.generator, prior.z[:1], model.preset.shape)[0, 0].numpy()
    >>> ensemble = farside_ensemble(degraded(truth, model.preset), prior, members=4, evaluations=4)
    >>> len(ensemble.members)
    4
    """
    if found.field.shape != prior.maps.shape[1:]:
        raise FarsideError(
            f"the map has {found.field.shape} pixels and those of the prior {prior.maps.shape[1:]}; make both for one "
            "model"
        )
    if not math.isclose(found.resolution_mm, prior.resolution_mm, rel_tol=1e-6):
        raise FarsideError(
            f"the map has {found.resolution_mm:g} Mm and the prior {prior.resolution_mm:g} Mm; draw one of the same"
        )
    asked = _asked(constraints or {}, prior)
    weight = 1 / (found.noise_gauss**2 + (_MODEL_ERROR * found.field) ** 2) / found.independent
    chi2, shifts = _chi2(found, weight, prior.maps * _amounts(found, prior.maps)[:, None, None])
    penalty = _penalty(prior, asked)
    if not np.isfinite(penalty).any():
        raise FarsideError("no draw meets the constraints; loosen them, or draw more")
    temperature, weights = _weights(chi2, penalty + _of_sums(found, prior.maps), float(members))
    # systematic resampling: each draw comes up as often as its weight says, to one
    rng = np.random.default_rng(seed)
    rows = np.searchsorted(np.cumsum(weights), (np.arange(members) + rng.random()) / members)
    rows = np.minimum(rows, len(prior) - 1)
    model = prior.model
    smooth = {name: one for name, one in asked.items() if name != "polarity"}
    # an area that is asked for says how strong the field is
    strengths = None if "area" in asked else _strengths(prior, rows)
    z = refined(found, model, prior.z[rows], shifts[rows], weight, smooth, temperature, seed, evaluations, strengths)
    images = render(model.generator, z, model.preset.shape)[:, 0].numpy()
    maps = coarse(np.asarray(model.preset.to_gauss(images)), model.preset, found.resolution_mm)
    distance, shifts = _chi2(found, weight, maps)
    distance /= found.field.size / found.independent
    _judge(distance)
    measured = {name: np.asarray(v) for name, v in measure_on_grid(images, model.preset, PARAMETERS).items()}
    origin = Origin.of(model)
    return Ensemble(
        [
            Member(z[k], images[k], {name: float(values[k]) for name, values in measured.items()}, origin)
            for k in range(members)
        ],
        measured, shifts * np.asarray(found.scale_mm), temperature, distance, found,
    )  # fmt: skip


def _strengths(prior: Prior, rows: np.ndarray) -> Strengths | None:
    """What mean strengths the draws of these rows are led to, by the law of the prior."""
    if prior.strength is None:
        return None
    preset = prior.model.preset
    drawn = render(prior.model.generator, prior.z[rows], preset.shape)[:, 0].numpy()
    return Strengths.of(prior.strength, *mean_strength(np.asarray(preset.to_gauss(drawn)), preset))


def _chi2(found: FarsideMap, weight: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) -2 log likelihood of each draw, summed over places; (N, 2) the best place, in pixels (y, x).

    chi² of a draw moved by s is sum of w (d - m(s))²: correlations, which a Fourier transform gives for all s at once.
    """
    data = found.field
    reach = [max(1, round(_REACH_MM / mm)) for mm in found.scale_mm]
    shape = [n + r for n, r in zip(data.shape, reach, strict=True)]
    # what lies beyond the edge of a map is quiet
    transform = partial(np.fft.rfft2, s=shape)
    to_map, to_square = np.conj(transform(weight * data)), np.conj(transform(weight))
    constant = float((weight * data**2).sum())
    best = np.empty((len(drawn), 2))
    chi2 = np.empty(len(drawn))
    dy, dx = (np.arange(-r, r + 1) for r in reach)
    places = np.ix_(-dy % shape[0], -dx % shape[1])
    for first in range(0, len(drawn), 512):
        maps = drawn[first : first + 512].astype(np.float64)
        part = slice(first, first + len(maps))
        cross = np.fft.irfft2(transform(maps) * to_map, shape)
        square = np.fft.irfft2(transform(maps**2) * to_square, shape)
        at = (constant - 2 * cross + square)[(slice(None), *places)]
        flat = at.reshape(len(maps), -1)
        least = flat.min(axis=1)
        chi2[part] = least - 2 * np.log(np.exp(-0.5 * (flat - least[:, None])).mean(axis=1))
        y, x = np.unravel_index(flat.argmin(axis=1), at.shape[1:])
        best[part] = np.stack([dy[y], dx[x]], axis=1)
    return chi2, best


def parse_constraints(texts: Sequence[str]) -> Document:
    """Constraints from texts such as ``tuf=2e22Mx±20%``, ``tilt=8±10``, ``polarity=1`` (also with ``+-``).

    Raises
    ------
    FarsideError
        Naming the text that is none.
    """
    out: Document = {}
    for text in texts:
        name, _, rest = text.partition("=")
        value, _, tolerance = rest.replace("+-", "±").partition("±")
        name, value, tolerance = name.strip(), value.strip(), tolerance.strip()
        if not name or not value:
            raise FarsideError(f"{text!r} is no constraint; write NAME=VALUE±TOLERANCE, as tuf=2e22Mx±20%")
        try:
            share = float(tolerance.rstrip("%")) / (100 if tolerance.endswith("%") else 1) if tolerance else None
        except ValueError:
            raise FarsideError(
                f"the tolerance of {name} is a share, as 20%, or degrees of a tilt, not {tolerance!r}"
            ) from None
        out[name] = value if share is None else (value, share)
    return out


def _asked(constraints: Entries, prior: Prior) -> dict[str, Asked]:
    """Constraints as they were given, checked."""
    out = {}
    for name, given in constraints.items():
        if name not in PARAMETERS:
            raise FarsideError(f"an ensemble knows no constraint {name!r}; there are: {', '.join(PARAMETERS)}")
        angle = name in _ANGLES
        asked, tolerance = given if isinstance(given, tuple | list) else (given, 10.0 if angle else 0.1)
        value, tolerance = _number(name, asked, prior), float(tolerance)
        if name == "polarity" and value not in (1, -1):
            raise FarsideError(f"polarity is 1 or -1, that of the western one, not {asked!r}")
        if not (math.isfinite(tolerance) and tolerance > 0):
            raise FarsideError(f"the tolerance of {name} is a number above zero, not {tolerance!r}")
        if not math.isfinite(value) or (value <= 0 and not angle and name != "polarity"):
            raise FarsideError(f"{name} is asked to be {asked!r}; a constraint is a finite number above zero")
        out[name] = Asked(value, tolerance if angle else math.log1p(tolerance), angle)
    return out


def _penalty(prior: Prior, asked: Mapping[str, Asked]) -> np.ndarray:
    """(N,) -2 log of how well each draw meets the constraints; infinite where it has not the quantity."""
    out = np.zeros(len(prior))
    for name, one in asked.items():
        values = prior.parameters[name]
        off = np.where(values == one.value, 0.0, np.inf) if name == "polarity" else one.off(values).numpy()
        out += np.where(np.isfinite(off), off**2, np.inf)
    return out


def _number(name: str, asked: Any, prior: Prior) -> float:
    """A constraint in the unit of the grid."""
    if isinstance(asked, str):
        asked = number_or_quantity(name, asked)
    return in_grid_unit(name, asked, prior.model.preset.physical) if hasattr(asked, "unit") else float(asked)


def _amounts(found: FarsideMap, drawn: np.ndarray) -> np.ndarray:
    """(N,) by what each draw is multiplied before its shape is compared: to the sum of the map, within a factor 4."""
    sums = np.maximum(drawn.sum((1, 2), dtype=np.float64), 1e-6)
    return np.clip(max(float(found.field.sum()), 0.0) / sums, 0.25, 4.0)


def _of_sums(found: FarsideMap, drawn: np.ndarray) -> np.ndarray:
    """(N,) squared difference of the sums of map and draw, in standard deviations.

    Of draws that have another shape than the region the weaker ones have the smaller chi², and at a high temperature
    most of those that have a say have another shape. Hence shapes are compared at equal sums, and the sums apart.
    """
    data = float(found.field.sum())
    noise = found.noise_gauss * math.sqrt(found.independent * found.field.size)
    return ((drawn.sum((1, 2), dtype=np.float64) - data) ** 2) / (noise**2 + (_MODEL_ERROR * data) ** 2)


def _weights(chi2: np.ndarray, penalty: np.ndarray, wanted: float) -> tuple[float, np.ndarray]:
    """The lowest temperature of chi² from 1 on at which the weights amount to `wanted` draws, and the weights.

    The penalty keeps its weight, unless it alone leaves too few draws.
    """
    able = np.isfinite(penalty)
    wanted = min(wanted, 0.9 * able.sum())
    held = np.where(able, penalty, np.inf)
    held -= held.min()

    def weighted(total: np.ndarray) -> np.ndarray:
        w = np.exp(-0.5 * (total - total[able].min()))
        return w / w.sum()

    softer = 1.0
    while 1 / np.square(weighted(held / softer)).sum() < wanted:
        softer *= 1.2
    held /= softer
    chi2 = chi2 - chi2.min()

    def at(temperature: float) -> np.ndarray:
        return weighted(held + chi2 / temperature)

    low, high = 1.0, 1.0
    if 1 / np.square(at(1.0)).sum() >= wanted:
        return 1.0, at(1.0)
    while 1 / np.square(at(high)).sum() < wanted:
        low, high = high, 2 * high
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if 1 / np.square(at(middle)).sum() < wanted else (low, middle)
    return high, at(high)


def _judge(chi2: np.ndarray) -> None:
    """Warn of an ensemble that is not like its map."""
    middle = float(np.median(chi2))
    if middle > _UNLIKE:
        warnings.warn(
            f"no region that the model draws is like the map (chi² {middle:.1f} per independent pixel); its scale, "
            "unit or place may be wrong, or the region is unlike all that the model knows",
            SteeringWarning, stacklevel=3,
        )  # fmt: skip
