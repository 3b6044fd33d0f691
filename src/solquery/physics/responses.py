"""How parameters respond to the noise of a field: draws of noise on an estimate of the field without it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from .observed import Window, measure_within
from .quiet import HOLDS, NEAR_PX, NoiseModel, draw_hidden, draw_noise
from .registry import get_parameter

__all__ = ["Response", "angle_apart", "denoised", "moments", "noise_in_field", "responses"]

#: draws of the field that hides under it
_HIDDEN_SAMPLES = 4
#: draws that tell what stronger noise beside the region would add
_AROUND_SAMPLES = 4
#: elsewhere the mean of a window of this side shows field beyond so many times its own variance
_WIDE_PX, _EXCEEDS = 15, 2.5
#: a transverse field t, in units of F, with normal noise of Q and U of standard deviation 0.92 F squared, whose
#: direction is chosen rightly with the probability that a normal variate of 38 G is below t: by how much its mean
#: exceeds t, and its spread, both in units of its spread where there is no field
_FIELDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 12.0)
_ADDS = (0.0, 0.049, 0.092, 0.123, 0.139, 0.141, 0.13, 0.087, 0.042, 0.014, 0.001, 0.0, 0.0, 0.0, 0.0, 0.0)
_SPREADS = (1.0, 0.988, 0.953, 0.901, 0.839, 0.773, 0.71, 0.61, 0.544, 0.491, 0.411, 0.306, 0.202, 0.152, 0.101, 0.05)
#: F in G (Hoeksema et al. 2014: about 100), the share of its spread that the map keeps, and the noise of the
#: line-of-sight field, G: with them, noise against field is as in simulated frames beside their twins without noise
_FLOOR_GAUSS, _KEPT, _SIGHT_GAUSS = 126.0, 0.65, 7.5


def moments(values: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (N,) of draws (S, N), of angles round the circle; NaN where under half are known."""
    known = np.isfinite(values)
    count = known.sum(0)
    safe = np.where(known, values, 0.0)
    if unit == "deg":
        turn = np.deg2rad(safe)
        y, x = ((f(turn) * known).sum(0) / np.maximum(count, 1) for f in (np.sin, np.cos))
        mean = np.rad2deg(np.arctan2(y, x))
        out = np.rad2deg(np.sqrt(-2.0 * np.log(np.clip(np.hypot(y, x), 1e-12, 1.0))))
    else:
        mean = safe.sum(0) / np.maximum(count, 1)
        out = np.sqrt((((safe - mean) * known) ** 2).sum(0) / np.maximum(count - 1, 1))
    enough = 2 * count >= len(values)
    return np.where(enough, mean, np.nan), np.where(enough, out, np.nan)


def denoised(field: np.ndarray, noise: NoiseModel) -> np.ndarray:
    """An estimate of the field without noise: (H, W) float32, G, NaN where a pixel is missing.

    Where the mean square of a window of 5 x 5 pixels is 5 times the noise's variance the field is kept, and lessened so
    that its mean square is that of the field alone. Elsewhere only the mean of 15 x 15 pixels shows field, as far as it
    exceeds the noise of such a mean.
    """
    values = np.asarray(field, dtype=np.float32)
    return _denoised(values, noise)[0]


def _denoised(values: np.ndarray, noise: NoiseModel) -> tuple[np.ndarray, np.ndarray]:
    """`denoised` of float32 values, and where it keeps them (H, W) bool."""
    finite = np.isfinite(values)
    filled = np.where(finite, values, np.float32(0.0))
    variance = np.square(np.asarray(noise.level, dtype=np.float32))
    square = filled * filled
    power = uniform_filter(square, NEAR_PX, mode="nearest")
    holds = power > HOLDS * variance
    strong = filled * np.sqrt(_share(np.maximum(power, square / 4.0), variance))
    rest = uniform_filter(np.where(holds, np.float32(0.0), filled), _WIDE_PX, mode="nearest")
    rest /= np.maximum(1.0 - uniform_filter(holds.astype(np.float32), _WIDE_PX, mode="nearest"), 0.2)
    of_mean = variance * np.float32(_EXCEEDS * noise.excess(_WIDE_PX) / _WIDE_PX**2)
    weak = rest * _share(rest * rest, of_mean)
    return np.where(finite, np.where(holds, strong, weak), np.float32(np.nan)), holds


def _share(power: np.ndarray, noise: np.ndarray | np.float32) -> np.ndarray:
    """Share of a power that is no noise, 0 where there is less than that."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(power > 0, np.clip(1.0 - noise / power, 0.0, 1.0), 0.0)
    return np.asarray(share, dtype=np.float32)


class Response(NamedTuple):
    """One parameter of a patch, and what noise does to it, in the parameter's own unit.

    Attributes
    ----------
    plain
        Its value.
    excess, spread
        What noise adds on average, and the standard deviation of that.
    hidden
        What weak field that hides under the noise adds.
    along, around
        What noise along the region's field, and stronger noise beside the region, would add to `excess`.
    """

    plain: float
    excess: float
    spread: float
    hidden: float
    along: float
    around: float


def responses(
    values: np.ndarray, scale_mm: Any, model: NoiseModel, wanted: list[str], samples: int, seed: int,
    window: Window | None,
) -> dict[str, Response]:  # fmt: skip
    """What noise of the model, and field that hides under it, do to each parameter of a field (H, W)."""
    noise = draw_noise(model, values.shape, samples, seed)
    weak = np.zeros((0, *values.shape), np.float32)
    if model.hidden > 0:
        weak = draw_hidden(model, values.shape, _HIDDEN_SAMPLES, scale_mm, seed + 1)
    clean, holds = _denoised(values, model)
    noise *= noise_in_field(clean, model)
    along = clean + np.where(holds, _along(clean, model), np.float32(0.0))
    known = measure_within(np.stack([values, along]), scale_mm, wanted, window)
    first = _draws(clean, holds, noise, weak, scale_mm, wanted, window)
    other = first
    if model.around is not None:
        # the same draws, as strong as the noise beside the region: few of them tell the difference
        raised = replace(model, level=model.around)
        times = model.around / np.asarray(model.level, dtype=np.float32)
        few = slice(0, _AROUND_SAMPLES)
        other = _draws(*_denoised(values, raised), noise[few] * times, weak[few] * times, scale_mm, wanted, window)
    out = {}
    for name in wanted:
        unit = get_parameter(name).unit
        apart = angle_apart if unit == "deg" else float.__sub__
        plain, with_along = known[name].tolist()
        bare, drawn, hidden = first[name]
        mean, spread = _moment(drawn, unit)
        adds = apart(_moment(hidden, unit)[0], bare) if len(hidden) else 0.0
        # the same draws of both, so that their scatter is not in the difference
        both = [_excess(part, len(other[name][1]), unit) for part in (first[name], other[name])]
        difference = apart(both[1], both[0])
        # unknown with the stronger noise, as an angle between polarities that one draw lacks: no difference is known
        around = difference if math.isfinite(difference) else 0.0
        out[name] = Response(plain, apart(apart(mean, bare), adds), spread, adds, apart(with_along, bare), around)
    return out


#: of one parameter: of the field without noise, with each draw of noise, and with each draw of hidden field
_Drawn = tuple[float, np.ndarray, np.ndarray]


def _draws(
    clean: np.ndarray, holds: np.ndarray, noise: np.ndarray, weak: np.ndarray, scale_mm: Any, wanted: list[str],
    window: Window | None,
) -> dict[str, _Drawn]:  # fmt: skip
    """Each parameter of a field (H, W), of it with noise (S, H, W), and of it with hidden field where it holds none."""
    fields = np.concatenate([clean[None], noise + clean, np.where(holds, clean, clean + weak)])
    found = measure_within(fields, scale_mm, wanted, window)
    last = 1 + len(noise)
    return {name: (float(v[0]), v[1:last], v[last:]) for name, v in found.items()}


def _excess(found: _Drawn, count: int, unit: str) -> float:
    """What the first draws of noise add on average, without what hidden field adds."""
    bare, drawn, hidden = found
    apart = angle_apart if unit == "deg" else float.__sub__
    adds = apart(_moment(hidden[:count], unit)[0], bare) if len(hidden) else 0.0
    return apart(apart(_moment(drawn[:count], unit)[0], bare), adds)


def _moment(values: np.ndarray, unit: str) -> tuple[float, float]:
    mean, spread = moments(values[:, None], unit)
    return float(mean[0]), float(spread[0])


def angle_apart(angle: float, other: float) -> float:
    """Difference of two angles, -180 to 180 degrees."""
    return (angle - other + 180.0) % 360.0 - 180.0


def _transverse(clean: np.ndarray, model: NoiseModel) -> tuple[np.ndarray, np.ndarray]:
    """Transverse field (H, W) of a radial field in units of its noise floor, and the sine of the heliocentric angle.

    The level tells the sine: it is that of the floor times the sine.
    """
    sine = np.minimum(np.asarray(model.level, dtype=np.float32) / np.float32(_KEPT * _FLOOR_GAUSS), np.float32(1.0))
    return np.abs(np.nan_to_num(clean)) * sine / np.float32(_FLOOR_GAUSS), sine


def noise_in_field(clean: np.ndarray, model: NoiseModel) -> np.ndarray:
    """Standard deviation of the noise of a radial field as a share of that in quiet pixels, (H, W) float32.

    The transverse field is a root of Q and U: where it is stronger than its noise floor of some 100 G, their noise
    changes it less. The line-of-sight field has the same noise everywhere.

    Parameters
    ----------
    clean
        (H, W) G, without noise (`denoised`).
    model
        Noise of the quiet pixels; that of a line-of-sight field, or as stated by somebody, is the same everywhere.
    """
    if not model.transverse:
        return np.ones(clean.shape, dtype=np.float32)
    transverse, sine = _transverse(clean, model)
    part = np.square(np.interp(transverse, _FIELDS, _SPREADS))
    sight = np.square(_SIGHT_GAUSS / np.asarray(model.level, dtype=np.float32)) * (1.0 - np.square(sine))
    sight = np.clip(sight, 0.0, 1.0)
    return np.asarray(np.sqrt(sight + (1.0 - sight) * part), dtype=np.float32)


def _along(clean: np.ndarray, model: NoiseModel) -> np.ndarray:
    """What noise of the transverse field adds to a radial field (H, W) on average, with its sign, G.

    The transverse field is a root of Q and U, to which noise adds. Where no field says which way it points, that has
    either sign, and quiet pixels show it; in the region it has the sign of the field, until the transverse field
    exceeds its noise. It matters near disc centre, where the transverse field is small.
    """
    if not model.transverse:
        return np.zeros_like(clean)
    adds = np.interp(_transverse(clean, model)[0], _FIELDS, _ADDS)
    return np.asarray(np.copysign(np.asarray(model.level, dtype=np.float32) * adds, clean), dtype=np.float32)
