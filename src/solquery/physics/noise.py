"""Bias and standard error of parameters under the noise of the field."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from ..lazy import deferred
from .observed import OF_REGION, Window
from .quiet import HIDDEN_UNSURE, NoiseModel, estimate_noise, white_noise
from .registry import as_fields, checked_array, get_parameter, is_tensor, measure, parameters
from .responses import angle_apart, denoised, moments, responses

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

__all__ = ["SAMPLES", "ErrorEstimate", "denoised", "parameter_errors", "uncertainty"]

#: draws of the noise that a bias and an error are taken from
SAMPLES = 16
#: of a parameter: factor of the spread of its draws, how far the bias is off as a share of it, and how much of the
#: excess of the draws is bias; these for what is not listed
_PLAIN = (1.0, 0.03, 1.0)
#: an estimate of the field without noise holds some of it, so that noise that is drawn on it finds pixels near a
#: threshold, and lines between them, that the noise of the frame has moved already: less of the excess is bias. From 60
#: simulated pairs (seed 91) and 60 analytic frames (seed 31) together (scripts/check_errors.py); docs/numbers.md judges
#: them on others
_RAGGED = {
    "imbalance": (1.05, 0.03, 1.0),
    "tuf": (0.8, 0.08, 1.0),
    "tpf": (1.1, 0.03, 0.75),
    "tnf": (1.1, 0.03, 0.75),
    "area": (1.55, 0.03, 0.75),
    "r": (0.9, 0.25, 0.5),
    "pil_length": (1.0, 0.05, 0.3),
    "pil_gradient": (1.05, 0.05, 0.3),
    "r_schrijver": (1.4, 0.1, 0.3),
    "r_value": (1.45, 0.06, 0.75),
    "separation": (0.7, 0.03, 0.5),
    "psep": (0.8, 0.03, 0.5),
    "flux": (1.2, 0.03, 0.85),
    "flux_area": (1.5, 0.03, 0.85),
    "grad": (0.8, 0.05, 0.95),
    "alpha": (1.7, 0.03, 0.7),
    "tilt": (0.8, 0.03, 1.0),
    "axis_angle": (0.8, 0.03, 1.0),
}
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
    follows it, and that of the mean of so few draws. Noise of the transverse field is less in strong field
    (`noise_in_field`). What it adds along the region's own field (`NoiseModel.transverse`), and what stronger noise
    beside the region would add (`NoiseModel.around`), is no more than modelled: half of either counts as bias, half as
    error. The error's own relative error is 1 / sqrt(2 (samples - 1)): 18 % for 16.

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
    for name, found in responses(values, scale_mm, model, wanted, samples, seed, window).items():
        factor, share, part = _RAGGED.get(name, _PLAIN)
        bias = part * (found.excess + 0.5 * (found.along + found.around))
        if get_parameter(name).unit == "deg":
            bias = angle_apart(bias, 0.0)
        # two standard errors of so few draws hold what two of many do; their mean is as uncertain as that of so many
        wide = float(stdtrit(samples - 1, 0.975)) / 1.96 * math.sqrt(1.0 + 1.0 / samples)
        error = math.hypot(
            factor * wide * found.spread, bias * math.hypot(model.level_error, share), HIDDEN_UNSURE * found.hidden,
            0.5 * found.along, 0.5 * found.around,
        )  # fmt: skip
        if name in _OF_NOISE:
            bias, error = math.nan, found.spread
        out[name] = ErrorEstimate(bias, error) if math.isfinite(found.plain) else ErrorEstimate(math.nan, math.nan)
    return out


def uncertainty(
    fields: Any,
    scale_mm: Any = None,
    noise_gauss: float | None = None,
    names: Iterable[str] | None = None,
    samples: int = 32,
    seed: int = 0,
    window: Window | None = None,
    quantity: str = "radial",
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
    quantity
        ``radial`` or ``line-of-sight``: what kind of field the noise is estimated of.

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
        steps = [None] * len(batch) if scale is None else [tuple(step) for step in scale.tolist()]
        rows = [
            parameter_errors(field, steps[k], None, wanted, samples, seed, window, quantity)
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
        spread = moments(torch.stack(draws[name]).cpu().numpy(), get_parameter(name).unit)[1]
        error = torch.from_numpy(spread).to(plain[name].device)
        out[name] = torch.where(torch.isfinite(plain[name]), error, torch.full_like(error, torch.nan))
    if "net_flux" in out:
        one = measure(torch.ones_like(batch[:1, :2, :2]).expand(len(batch), -1, -1), scale_mm, "net_flux")["net_flux"]
        out["net_flux"] = noise * one / 4.0 * torch.isfinite(batch).sum((1, 2)).to(torch.float64).sqrt()
    return out
