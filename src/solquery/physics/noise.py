"""Bias and standard error of parameters under the noise of the field."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.special import erf, stdtrit

from ..lazy import deferred
from .observed import OF_REGION, Window, measure_within
from .quiet import HIDDEN_UNSURE, NoiseModel, draw_hidden, draw_noise, estimate_noise, white_noise
from .registry import as_fields, checked_array, get_parameter, is_tensor, measure, parameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["SAMPLES", "ErrorEstimate", "denoised", "parameter_errors", "uncertainty"]

#: draws of the noise that a bias and an error are taken from
SAMPLES = 16
#: draws of the field that hides under it
_HIDDEN_SAMPLES = 4
#: a window of this side holds field where its mean square is so many times the noise's variance
_NEAR_PX, _HOLDS = 5, 5.0
#: elsewhere the mean of a window of this side shows field beyond so many times its own variance
_WIDE_PX, _EXCEEDS = 15, 2.5
#: how far a bias is off where the field and the shape of the noise are not quite as estimated, as a share of it
_OF_BIAS = 0.03
#: parameters that hang on few pixels about a threshold vary more with the noise than about an estimate of the field:
#: factor of the spread and share of the bias, from Monte Carlo on simulated regions (tests/physics/test_noise.py)
_RAGGED = {
    "imbalance": (1.2, 0.05),
    "tuf": (1.0, 0.025),
    "tpf": (1.1, 0.05),
    "tnf": (1.1, 0.05),
    "area": (1.2, 0.05),
    "r": (1.35, 0.12),
    "pil_length": (1.8, 0.1),
    "pil_gradient": (1.8, 0.1),
    "r_schrijver": (1.6, 0.15),
    "r_value": (1.8, 0.15),
    "separation": (0.9, 0.05),
    "psep": (0.92, 0.03),
    "flux": (0.95, 0.04),
    "flux_area": (1.25, 0.05),
    "grad": (1.0, 0.06),
    "alpha": (1.0, 1.0),
    "net_flux": (1.15, 0.03),
    "tilt": (0.9, 0.03),
    "axis_angle": (0.9, 0.03),
}
#: noise of Q and U adds to a transverse field t, in units F of its level where there is no field, so much on average,
#: in units of its spread there: from normal noise of Q and U with standard deviations of 0.92 F squared
_ADDS_AT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5)
_ADDS = (0.87, 0.74, 0.62, 0.51, 0.41, 0.32, 0.25, 0.13, 0.05, 0.02, 0.0)
#: F in G (Hoeksema et al. 2014), the share of its spread that the map keeps, and how strong, in G, the transverse field
#: has to be for its direction to be chosen rightly in two of three pixels
_FLOOR_GAUSS, _KEPT, _CHOSEN_GAUSS = 100.0, 0.72, 38.0
#: what these measure is the noise itself where there is any
_OF_NOISE = ("sigma", "sigma_zero")


class ErrorEstimate(NamedTuple):
    """What the noise does to one parameter, in the parameter's own unit; NaN: unknown.

    ``bias`` is what the noise adds on average: the value less its bias estimates that of the field without noise.
    ``error`` is the standard error of that difference. SIGMA is the width of the noise: its bias is not known, its
    error that of the value.
    """

    bias: float
    error: float


def _moments(values: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
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
    power = uniform_filter(square, _NEAR_PX, mode="nearest")
    holds = power > _HOLDS * variance
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


def _model(field: np.ndarray, scale_mm: Any, noise: NoiseModel | float | None, quantity: str) -> NoiseModel:
    if isinstance(noise, NoiseModel):
        return noise
    if noise is None:
        return estimate_noise(field, None if scale_mm is None else tuple(scale_mm), quantity)
    gauss = float(noise)
    if not (math.isfinite(gauss) and gauss >= 0):
        raise ValueError(f"the noise must be a number of gauss, 0 or more, got {noise}")
    return white_noise(gauss)


def parameter_errors(
    field: Any,
    scale_mm: tuple[float, float] | None = None,
    noise: NoiseModel | float | None = None,
    names: Iterable[str] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    window: Window | None = None,
    quantity: str = "radial",
) -> dict[str, ErrorEstimate]:
    """Bias and standard error of each parameter of one patch.

    A parametric bootstrap: noise is drawn `samples` times and added to an estimate of the field without noise
    (`denoised`); the mean of what is measured, less what is measured without noise, is the bias, its spread the error.
    Weak field that hides under noise which was estimated from quiet pixels (`draw_hidden`) belongs to what is measured
    without noise. The error holds the uncertainty of its strength, that of the noise's own level, as far as the bias
    follows it, and that of the mean of so few draws. Noise of the transverse field that adds along the region's own
    field (`NoiseModel.transverse`) is no more than modelled: half of it counts as bias, half as error. The error's own
    relative error is 1 / sqrt(2 (samples - 1)): 18 % for 16.

    Parameters
    ----------
    field
        (H, W) G. Missing pixels stay missing.
    scale_mm
        (y, x) Mm per pixel, or None.
    noise
        A model of it; a number of gauss for independent pixels; None (default) for an estimate from the patch's own
        quiet pixels (`estimate_noise`).
    names
        Which parameters; None for all but those that are measured on demand only.
    samples, seed
        How many draws, at least 4, and the seed they are drawn from.
    window
        Rows and columns in which the region lies (`region_window`): those of FLUX and its area.
    quantity
        ``radial`` or ``line-of-sight``: what kind of field the noise is estimated of.

    Raises
    ------
    SolqueryError
        Where the noise is to be estimated and too few pixels are quiet.
    ValueError
        For a noise that is negative or not finite, or fewer than 4 samples.
    """
    if samples < 4:
        raise ValueError(f"a standard error takes at least 4 samples, got {samples}")
    values = checked_array(field.detach().cpu().numpy() if is_tensor(field) else field)
    if len(values) != 1:
        raise ValueError(f"errors are estimated for one field (H, W) at a time, got shape {values.shape}")
    values = values[0]
    model = _model(values, scale_mm, noise, quantity)
    wanted = [get_parameter(name).name for name in names] if names is not None else list(parameters())
    out = {}
    for name, found in _responses(values, scale_mm, model, wanted, samples, seed, window).items():
        factor, share = _RAGGED.get(name, (1.0, _OF_BIAS))
        bias = found.mean - found.bare - found.hidden + 0.5 * found.along
        if get_parameter(name).unit == "deg":
            bias = (bias + 180.0) % 360.0 - 180.0
        # two standard errors of so few draws hold what two of many do; their mean is as uncertain as that of so many
        wide = float(stdtrit(samples - 1, 0.975)) / 1.96 * math.sqrt(1.0 + 1.0 / samples)
        error = math.hypot(
            factor * wide * found.spread, bias * math.hypot(model.level_error, share), HIDDEN_UNSURE * found.hidden,
            0.5 * found.along,
        )  # fmt: skip
        if name in _OF_NOISE:
            bias, error = math.nan, found.spread
        out[name] = ErrorEstimate(bias, error) if math.isfinite(found.plain) else ErrorEstimate(math.nan, math.nan)
    return out


class _Response(NamedTuple):
    """One parameter: of the patch, of its denoised field, what hidden field and noise along the field add, draws."""

    plain: float
    bare: float
    hidden: float
    along: float
    mean: float
    spread: float


def _responses(
    values: np.ndarray, scale_mm: Any, model: NoiseModel, wanted: list[str], samples: int, seed: int,
    window: Window | None,
) -> dict[str, _Response]:  # fmt: skip
    """What noise of the model, and field that hides under it, do to each parameter of a field (H, W)."""
    clean, holds = _denoised(values, model)
    shaken = draw_noise(model, values.shape, samples, seed) + clean
    drawn = measure_within(shaken, scale_mm, wanted, window)
    alone = [values, clean, clean + np.where(holds, _along(clean, model), np.float32(0.0))]
    if model.hidden > 0:
        weak = draw_hidden(model, values.shape, _HIDDEN_SAMPLES, scale_mm, seed + 1)
        alone += list(np.where(holds, clean, clean + weak))
    known = measure_within(np.stack(alone), scale_mm, wanted, window)
    out = {}
    for name in wanted:
        unit = get_parameter(name).unit
        mean, spread = (float(v[0]) for v in _moments(drawn[name][:, None], unit))
        plain, bare, along, *weak_values = known[name].tolist()
        along = (along - bare + 180.0) % 360.0 - 180.0 if unit == "deg" else along - bare
        hidden = 0.0
        if weak_values:
            hidden = float(_moments(np.array(weak_values)[:, None], unit)[0][0]) - bare
            hidden = (hidden + 180.0) % 360.0 - 180.0 if unit == "deg" else hidden
        out[name] = _Response(plain, bare, hidden, along, mean, spread)
    return out


def _along(clean: np.ndarray, model: NoiseModel) -> np.ndarray:
    """What noise of the transverse field adds to a radial field (H, W) on average, with its sign, G.

    The transverse field is a root of Q and U, to which noise adds. Where no field says which way it points, that has
    either sign, and quiet pixels show it; in the region it has the sign of the field, until the transverse field
    exceeds its noise. It matters near disc centre, where the transverse field is small.
    """
    if not model.transverse:
        return np.zeros_like(clean)
    level = np.asarray(model.level, dtype=np.float32)
    # the sine of the heliocentric angle times the field
    transverse = np.abs(np.nan_to_num(clean)) * level / (_KEPT * _FLOOR_GAUSS)
    adds = np.interp(transverse / _FLOOR_GAUSS, _ADDS_AT, _ADDS) * erf(transverse / (_CHOSEN_GAUSS * np.sqrt(2.0)))
    return np.asarray(np.copysign(level * adds, clean), dtype=np.float32)


def uncertainty(
    fields: Any,
    scale_mm: Any = None,
    noise_gauss: float | None = None,
    names: Iterable[str] | None = None,
    samples: int = 32,
    seed: int = 0,
    window: Window | None = None,
) -> dict[str, Tensor]:
    """Standard errors of parameters of patches; `parameter_errors` gives the bias too.

    With a number of gauss every pixel has independent Gaussian noise, which is added to the field `samples` times; the
    spread of what is measured is the error, with a relative error of its own of 1 / sqrt(2 (samples - 1)), 13 % for 32.
    NET is linear in the field, its error is known exactly. Without one, level and correlation of each patch's noise
    are estimated from its own quiet pixels (`parameter_errors`). Angles are averaged round the circle.

    Parameters
    ----------
    fields, scale_mm, names
        As `measure` takes them. Missing pixels stay missing.
    noise_gauss
        Standard deviation of the noise of one pixel, G, or None. Real noise is correlated, and a number given here is
        taken for independent noise: errors of sums come out some four times too small.
    samples, seed
        How many draws, at least 4, and the seed they are drawn from.
    window
        Rows and columns in which the region lies, in each patch (`region_window`): those of FLUX and its area.

    Returns
    -------
    One (N,) float64 tensor per parameter in the parameter's own unit; NaN where it is unknown, or becomes unknown in
    more than half of the draws.

    Raises
    ------
    SolqueryError
        Where the noise is to be estimated and a patch has too few quiet pixels.
    ValueError
        For a noise that is negative or not finite, or fewer than 4 samples.
    """
    batch = as_fields(fields).to(torch.float32)
    wanted = [get_parameter(name).name for name in names] if names is not None else list(parameters())
    if noise_gauss is None:
        from .registry import as_scale

        scale = as_scale(scale_mm, len(batch), torch.device("cpu"))
        rows = [
            parameter_errors(
                field, None if scale is None else tuple(scale[k].tolist()), None, wanted, samples, seed, window
            )
            for k, field in enumerate(batch)
        ]
        return {n: torch.tensor([row[n].error for row in rows], dtype=torch.float64) for n in wanted}
    noise = float(noise_gauss)
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"the noise must be a number of gauss, 0 or more, got {noise_gauss}")
    if samples < 4:
        raise ValueError(f"a standard error takes at least 4 samples, got {samples}")
    own = [] if window is None else [name for name in wanted if name in OF_REGION]
    if window is None or not own:
        return _independent(batch, scale_mm, noise, wanted, samples, seed)
    rest = [name for name in wanted if name not in own]
    found = _independent(batch, scale_mm, noise, rest, samples, seed) if rest else {}
    found |= _independent(batch[:, window[0], window[1]], scale_mm, noise, own, samples, seed)
    return {name: found[name] for name in wanted}


def _independent(
    batch: Tensor, scale_mm: Any, noise: float, wanted: list[str], samples: int, seed: int
) -> dict[str, Tensor]:
    """Errors of a batch (N, H, W) when every pixel has independent noise."""
    plain = measure(batch, scale_mm, wanted)
    source = np.random.default_rng(seed)
    draws: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for _ in range(samples):
        grain = torch.from_numpy(source.standard_normal(batch.shape, dtype=np.float32) * noise)
        for name, values in measure(batch + grain.to(batch.device), scale_mm, wanted).items():
            draws[name].append(values)
    out = {}
    for name in wanted:
        spread = _moments(torch.stack(draws[name]).cpu().numpy(), get_parameter(name).unit)[1]
        error = torch.from_numpy(spread).to(plain[name].device)
        out[name] = torch.where(torch.isfinite(plain[name]), error, torch.full_like(error, torch.nan))
    if "net_flux" in out:
        one = measure(torch.ones_like(batch[:1, :2, :2]).expand(len(batch), -1, -1), scale_mm, "net_flux")["net_flux"]
        out["net_flux"] = noise * one / 4.0 * torch.isfinite(batch).sum((1, 2)).to(torch.float64).sqrt()
    return out
