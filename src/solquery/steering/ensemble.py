"""An ensemble of regions that a low-resolution sketch leaves possible, as far-side maps of helioseismology have it.

A map of 20 Mm resolution says where the flux of a region is and not what it looks like. Members of the ensemble are
drawn by a generator; each agrees with the sketch and with what else is known (flux, separation, tilt) within their
errors, and they differ in everything else. Their latent vectors are found by an ensemble smoother with several data
assimilations (Emerick and Reynolds 2013, Computers & Geosciences 55, 3): the prior of the generator is moved toward the
data in `rounds` steps by the covariance of latents and data among the members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..archive.prepare import to_grid
from ..patch import Patch
from ..physics import measure_on_grid
from .generated import Generated, Origin
from .inversion import frozen
from .latents import SteeringError, render

if TYPE_CHECKING:
    from ..config import Preset
    from ..protocols import Model

__all__ = ["Ensemble", "Member", "draw_ensemble", "low_resolution", "rank_of", "uniformity"]

RESOLUTION_MM, NOISE_GAUSS = 20.0, 10.0
#: what can be given beside the sketch, and whether its logarithm is compared
CONSTRAINTS = {"tuf": True, "psep": True, "tilt": False}
#: measured on every member
NAMES = ("tuf", "psep", "tilt", "polarity", "r", "area", "net_flux")
_BATCH = 16
#: standard deviation of a Gaussian for one of full width at half maximum
_SIGMA = 1 / math.sqrt(8 * math.log(2))


@dataclass(frozen=True)
class Member(Generated):
    """One region that the sketch leaves possible: latent vector (D,), image (H, W) in preset units, its model."""

    z: np.ndarray
    x: np.ndarray
    sketch: str = ""
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def _truth(self) -> dict[str, Any]:
        return {"possible_for": self.sketch}


@dataclass(frozen=True, repr=False)
class Ensemble:
    """Regions that a sketch leaves possible.

    Attributes
    ----------
    sketch
        The low-resolution patch.
    members
        As many as asked for, none more likely than another.
    values
        Parameter to its values (M,) on the grid of the model.
    misfit
        Root mean square of what the members' low-resolution fields are off the sketch, in its errors; about 1 where
        the generator can draw the region, and well above where it cannot.
    """

    sketch: Patch
    members: list[Member]
    values: dict[str, np.ndarray]
    misfit: float

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self.members)} generated regions for {self.sketch.id!r}, misfit {self.misfit:.2f}>"

    def interval(self, name: str, share: float = 0.68) -> tuple[float, float]:
        """The middle `share` of the members' values of a parameter, in the units of the grid."""
        low, high = np.nanpercentile(self.values[name], [50 - 50 * share, 50 + 50 * share])
        return float(low), float(high)


def _axis(n: int, step: float) -> np.ndarray:
    """Centres of `n` pixels in Mm from the middle."""
    return (np.arange(n) - (n - 1) / 2) * step


def _weights(to: np.ndarray, at: np.ndarray, resolution_mm: float) -> np.ndarray:
    """(len(to), len(at)) of a Gaussian mean; beyond the grid the field counts as 0."""
    profile = np.exp(-0.5 * ((to[:, None] - at[None]) / (resolution_mm * _SIGMA)) ** 2)
    whole = resolution_mm * _SIGMA * math.sqrt(2 * math.pi) / abs(at[1] - at[0])
    return np.asarray(profile / whole)


def low_resolution(
    patch: Patch, preset: Preset, *, resolution_mm: float = RESOLUTION_MM, noise_gauss: float = 0.0, seed: int = 0
) -> Patch:
    """What a map of low resolution shows of a patch in the view of a preset: Gaussian means, two for each resolution.

    Parameters
    ----------
    patch
        Radial, in gauss, with a scale. Missing pixels count as 0.
    preset
        With a scale.
    resolution_mm
        Full width at half maximum.
    noise_gauss, seed
        White noise that is added to each mean.

    Returns
    -------
    Patch
        Of source ``sketch``, which no archive takes.
    """
    if preset.scale_mm is None:
        raise SteeringError(f"preset {preset.name!r} has no scale, and the resolution is in Mm; use `physical`")
    if not resolution_mm >= 2 * max(preset.scale_mm) or noise_gauss < 0:
        raise SteeringError(
            f"the resolution must be {2 * max(preset.scale_mm):.3g} Mm or more and the noise 0 G or more, got "
            f"{resolution_mm:g} and {noise_gauss:g}"
        )
    step = resolution_mm / 2
    shape = [max(int(n * s / step), 2) for n, s in zip(preset.shape, preset.scale_mm, strict=True)]
    rows, columns = (
        _weights(_axis(m, step), _axis(n, s), resolution_mm)
        for m, n, s in zip(shape, preset.shape, preset.scale_mm, strict=True)
    )
    field = rows @ to_grid(patch, preset).astype(np.float64) @ columns.T
    field += noise_gauss * np.random.default_rng([seed, 20]).standard_normal(field.shape)
    told = {"resolution_mm": resolution_mm, "noise_gauss": noise_gauss, "of": patch.id}
    return Patch(
        field.astype(np.float32), (step, step), f"{patch.id}-{resolution_mm:g}Mm", patch.region, "sketch",
        t_rec=patch.t_rec, truth={"low_resolution": told},
    )  # fmt: skip


class _Data:
    """What is known: pixels of the sketch and constraints, in units of their errors."""

    def __init__(
        self, model: Model, sketch: Patch, resolution_mm: float, noise_gauss: float,
        constraints: Mapping[str, tuple[float, float]],
    ) -> None:  # fmt: skip
        preset = model.preset
        assert preset.scale_mm is not None and sketch.scale_mm is not None
        self.preset, self.noise, self.constraints = preset, noise_gauss, dict(constraints)
        self.rows, self.columns = (
            _weights(_axis(m, step), _axis(n, s), resolution_mm)
            for m, step, n, s in zip(sketch.field.shape, sketch.scale_mm, preset.shape, preset.scale_mm, strict=True)
        )
        seen = np.isfinite(sketch.field)
        inside = self.rows.sum(1)[:, None] * self.columns.sum(1)[None] > 0.5
        self.known = seen & inside
        wanted = [
            self._plain(name, value) / self._error(name, value, off) for name, (value, off) in constraints.items()
        ]
        self.pixels = int(self.known.sum())
        self.observed = np.concatenate([sketch.field[self.known] / noise_gauss, wanted])

    @staticmethod
    def _plain(name: str, value: Any) -> Any:
        return np.log(value) if CONSTRAINTS[name] else value

    @staticmethod
    def _error(name: str, value: float, off: float) -> float:
        return off / value if CONSTRAINTS[name] else off

    def of(self, x: np.ndarray) -> np.ndarray:
        """(M, P) of images (M, H, W) in preset units."""
        gauss = np.asarray(self.preset.to_gauss(x), np.float64)
        coarse = np.einsum("yh,mhw,xw->myx", self.rows, gauss, self.columns, optimize=True)
        parts = [coarse[:, self.known] / self.noise]
        if self.constraints:
            found = measure_on_grid(x, self.preset, list(self.constraints))
            for name, (value, off) in self.constraints.items():
                got = found[name].double().numpy()
                if name == "tilt":
                    got = value + (got - value + 90.0) % 180.0 - 90.0
                plain = self._plain(name, np.where(got > 0, got, np.nan) if CONSTRAINTS[name] else got)
                # a member without it says nothing of it
                plain = np.where(np.isfinite(plain), plain, self._plain(name, value))
                parts.append((plain / self._error(name, value, off))[:, None])
        return np.concatenate(parts, 1)


def _refuse(model: Model, sketch: Patch, noise_gauss: float, members: int, given: Mapping[str, Any]) -> None:
    if not model.preset.physical:
        raise SteeringError(f"the grid of model {model.name!r} has no scale, and a sketch is in Mm; use `physical`")
    if sketch.scale_mm is None:
        raise SteeringError(f"{sketch.id} has no scale; give its Mm per pixel")
    if sketch.quantity != "radial":
        raise SteeringError(f"{sketch.id} is a {sketch.quantity} field; the generator draws radial fields")
    field = sketch.field[np.isfinite(sketch.field)]
    if not field.size or not np.abs(field).max() > 3 * noise_gauss:
        raise SteeringError(f"{sketch.id} holds nothing beyond three times its noise of {noise_gauss:g} G")
    if not (field.min() < -2 * noise_gauss and field.max() > 2 * noise_gauss):
        raise SteeringError(
            f"{sketch.id} has one polarity only; maps of helioseismology are without sign: give it one, by Hale's law "
            "or by what the region was before"
        )
    if not noise_gauss > 0 or members < 10:
        raise SteeringError(f"noise must be above 0 G and members 10 or more, got {noise_gauss:g} and {members}")
    for name, value in given.items():
        if name not in CONSTRAINTS:
            raise SteeringError(f"{name!r} is no constraint; there are: {', '.join(CONSTRAINTS)}")
        pair = np.asarray(value, np.float64)
        if pair.shape != (2,) or not np.isfinite(pair).all() or pair[1] <= 0 or (CONSTRAINTS[name] and pair[0] <= 0):
            raise SteeringError(f"constraint {name!r} is a value and its error, such as (1e22, 2e21), not {value!r}")


def draw_ensemble(
    model: Model,
    sketch: Patch,
    *,
    constraints: Mapping[str, tuple[float, float]] | None = None,
    resolution_mm: float = RESOLUTION_MM,
    noise_gauss: float = NOISE_GAUSS,
    members: int = 100,
    rounds: int = 4,
    seed: int = 0,
    names: Sequence[str] = NAMES,
    progress: Callable[[int, int], None] | None = None,
) -> Ensemble:
    """Regions that agree with a low-resolution sketch, and differ in what it does not say.

    Parameters
    ----------
    model
        With generator and a preset with scale.
    sketch
        Low-resolution radial field with signs, in gauss, e.g. of `low_resolution`; its centre is that of the region.
    constraints
        Name to value and standard error: ``tuf`` (Mx), ``psep`` (Mm), ``tilt`` (deg), on the grid of the model.
    resolution_mm
        Full width at half maximum of the sketch.
    noise_gauss
        Standard error of its pixels.
    members, rounds
        How many regions, and steps from the prior to the data.
    seed
        Of the prior and of the perturbed data.
    names
        Parameters to measure on the members.
    progress
        Called with rounds done and rounds in all.

    Raises
    ------
    SteeringError
        For a sketch without scale, without signal or of one polarity, and for constraints that are none.
    """
    given = dict(constraints or {})
    _refuse(model, sketch, noise_gauss, members, given)
    data = _Data(model, sketch, resolution_mm, noise_gauss, given)
    rng = np.random.default_rng([seed, 31])
    z = rng.standard_normal((members, int(model.generator.latent_dim)))
    for done in range(rounds):
        if progress is not None:
            progress(done, rounds)
        got = data.of(_drawn(model, z))
        shaken = data.observed + math.sqrt(rounds) * rng.standard_normal(got.shape)
        y = (got - got.mean(0)) / math.sqrt(members - 1)
        a = (z - z.mean(0)) / math.sqrt(members - 1)
        z = z + ((shaken - got) @ y.T) @ np.linalg.solve(y @ y.T + rounds * np.eye(members), a)
    x = _drawn(model, z)
    off = (data.of(x) - data.observed)[:, : data.pixels]
    values = {name: v.double().numpy() for name, v in measure_on_grid(x, model.preset, list(names)).items()}
    origin = Origin.of(model)
    made = [Member(one.astype(np.float32), image, sketch.id, origin) for one, image in zip(z, x, strict=True)]
    return Ensemble(sketch, made, values, float(np.sqrt(np.mean(off**2))))


def _drawn(model: Model, z: np.ndarray) -> np.ndarray:
    """(M, H, W) float32 in preset units."""
    with frozen(model.generator), torch.no_grad():
        parts = torch.from_numpy(z.astype(np.float32)).split(_BATCH)
        return np.concatenate([render(model.generator, p, model.preset.shape)[:, 0].numpy() for p in parts])


def rank_of(truth: float, values: np.ndarray, rng: np.random.Generator) -> float:
    """Place of a true value among those of an ensemble, 0 to 1; uniform where the ensemble is calibrated.

    Ties are broken at random (Hamill 2001); NaN for a truth that is not known, or where half of the members have none.
    """
    known = values[np.isfinite(values)]
    if not math.isfinite(truth) or len(known) < len(values) / 2:
        return float("nan")
    below, same = int((known < truth).sum()), int((known == truth).sum())
    return (below + int(rng.integers(0, same + 1)) + float(rng.random())) / (len(known) + 1)


def uniformity(places: np.ndarray, bins: int = 5) -> tuple[np.ndarray, float]:
    """Counts of the places (`rank_of`) in equal bins, and the probability of counts as uneven if they were uniform."""
    from scipy.stats import chisquare

    known = places[np.isfinite(places)]
    counts = np.histogram(known, bins, (0.0, 1.0))[0]
    return counts, float(chisquare(counts).pvalue) if len(known) >= bins else float("nan")
