"""Slopes of the parameters in latent space: through the generator by automatic differentiation.

Thresholds and masks have no slope, and leaving them out misses what happens at their edge: a pixel that passes 150 G
enters with all of its flux. Here such edges are ramps a few tens of gauss wide. These values only say which way to go;
what is accepted is always measured by the definitions in `physics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Preset
from ..physics import get_parameter, measure
from ..physics.geometry import R_DILATION_PX
from ..physics.integral import POLARITY_THRESHOLD_GAUSS, integrate, pixel_area
from .latents import evaluating

__all__ = ["SMOOTH", "latent_gradients", "soft_quantities"]

#: half-width of the ramp that stands for the threshold, in gauss
_RAMP_GAUSS = 25.0
#: length of the trial steps for what cannot be differentiated, in standard deviations of the prior
_TRIAL = 0.15
_BATCH = 25


def _share(fields: Tensor, sign: int) -> Tensor:
    """How far each pixel is beyond the threshold in a polarity, 0 to 1."""
    return torch.sigmoid((sign * fields - POLARITY_THRESHOLD_GAUSS) / _RAMP_GAUSS)


def _strong(fields: Tensor, sign: int) -> Tensor:
    return sign * fields * _share(fields, sign)


def _centroid(fields: Tensor, scale: Tensor | None, sign: int) -> Tensor:
    weight = _strong(fields, sign).clamp(min=0.0)
    rows, columns = weight.sum(2), weight.sum(1)
    total = rows.sum(1).clamp(min=1e-6)
    y = rows @ torch.arange(rows.shape[1], dtype=rows.dtype, device=rows.device) / total
    x = columns @ torch.arange(columns.shape[1], dtype=rows.dtype, device=rows.device) / total
    centre = torch.stack([y, x], 1)
    return centre if scale is None else centre * scale.to(centre.dtype)


def _step(fields: Tensor, scale: Tensor | None) -> Tensor:
    return _centroid(fields, scale, +1) - _centroid(fields, scale, -1)


def _psep(fields: Tensor, scale: Tensor | None) -> Tensor:
    return _step(fields, scale).square().sum(1).clamp(min=1e-12).sqrt()


def _tilt(fields: Tensor, scale: Tensor | None) -> Tensor:
    step = _step(fields, scale)
    step = step * torch.where(step[:, 1:] < 0, -1.0, 1.0)
    return torch.rad2deg(torch.atan2(step[:, 0], step[:, 1].clamp(min=1e-6)))


def _grown(share: Tensor) -> Tensor:
    # one axis after the other: a seventh of the comparisons of the square
    reach = R_DILATION_PX // 2
    wide = F.max_pool2d(share[:, None], (1, R_DILATION_PX), stride=1, padding=(0, reach))
    return F.max_pool2d(wide, (R_DILATION_PX, 1), stride=1, padding=(reach, 0))[:, 0]


def _r(fields: Tensor, scale: Tensor | None) -> Tensor:
    near = _grown(_share(fields, +1)) * _grown(_share(fields, -1))
    return integrate(fields.abs() * near, scale)


def _area(fields: Tensor, scale: Tensor | None) -> Tensor:
    return (_share(fields, +1) + _share(fields, -1)).sum((1, 2)) * pixel_area(scale)


#: ramps instead of steps: ``(fields (N, H, W) in G, scale (N, 2) or None) -> (N,)``
SMOOTH: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "tpf": lambda fields, scale: integrate(_strong(fields, +1), scale),
    "tnf": lambda fields, scale: integrate(_strong(fields, -1), scale),
    "area": _area,
    "psep": _psep,
    "tilt": _tilt,
    "r": _r,
}
#: differentiable as they are defined
_AS_DEFINED = ("tuf", "net_flux", "grad", "alpha")


def soft_quantities(fields: Tensor, scale: Tensor | None) -> dict[str, Tensor]:
    """TUF as defined; AREA, R and the separation vector with ramps for thresholds.

    Parameters
    ----------
    fields
        (N, H, W), gauss.
    scale
        (N, 2) Mm per pixel, or None.

    Returns
    -------
    ``tuf``, ``area`` and ``r`` (N,), in the units of the grid; ``step`` (N, 2): from the centroid of the negative to
    that of the positive polarity, (y, x).
    """
    return {
        "tuf": integrate(fields.abs(), scale),
        "area": _area(fields, scale),
        "r": _r(fields, scale),
        "step": _step(fields, scale),
    }


def latent_gradients(
    generator: Any, preset: Preset, z: Tensor, names: Sequence[str], basis: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of parameters with respect to the latent vector.

    Parameters
    ----------
    generator, preset
        As in a model.
    z
        (N, D).
    names
        M registered parameters. TUF, NET, GRAD and ALPHA are differentiated as they are defined, TPF, TNF, AREA, PSEP,
        TILT and R with ramps for thresholds; others get finite differences along `basis`.
    basis
        (D, B) orthonormal directions that the finite differences look along; without it all D axes.

    Returns
    -------
    (N, M, D) float32, and the patches (N, H, W) in preset units that the latents give.
    """
    with evaluating(generator) as device:
        frozen = [p for p in generator.parameters() if p.requires_grad] if isinstance(generator, nn.Module) else []
        for p in frozen:
            p.requires_grad_(False)
        try:
            # small batches: the graph of each is kept in memory
            parts = [_differentiated(generator, preset, part.to(device), names) for part in z.split(_BATCH)]
            gradients, x = (torch.cat(found) for found in zip(*parts, strict=True))
        finally:
            for p in frozen:
                p.requires_grad_(True)
    rest = [name for name in names if name not in SMOOTH and name not in _AS_DEFINED]
    if rest:
        found = _by_trial(generator, preset, z.to(device), rest, x, basis)
        for k, name in enumerate(rest):
            gradients[:, names.index(name)] = found[:, k]
    return torch.nan_to_num(gradients).cpu(), x.cpu()


def _differentiated(generator: Any, preset: Preset, z: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    gradients = torch.zeros(len(z), len(names), z.shape[1], device=z.device)
    scale = None
    if preset.scale_mm is not None:
        scale = torch.tensor(preset.scale_mm, dtype=torch.float64, device=z.device).expand(len(z), 2)
    known = [name for name in names if name in SMOOTH or name in _AS_DEFINED]
    with torch.enable_grad():
        z = z.detach().requires_grad_(True)
        x = generator(z)[:, 0]
        fields = preset.to_gauss(x.float())
        # the network is gone through backward once a parameter; the graph is kept until the last
        for k, name in enumerate(known):
            value = (SMOOTH.get(name) or get_parameter(name).function)(fields, scale)
            (found,) = torch.autograd.grad(value.sum(), z, retain_graph=k + 1 < len(known))
            gradients[:, names.index(name)] = found.float()
    return gradients, x.detach().float()


def _by_trial(
    generator: Any, preset: Preset, z: Tensor, names: Sequence[str], x: Tensor, basis: Tensor | None
) -> Tensor:
    """(N, M, D) slopes within the span of `basis`, from a trial step along each of its columns."""
    n, dim = z.shape
    columns = torch.eye(dim, device=z.device) if basis is None else basis.to(z)
    with torch.no_grad(), evaluating(generator):
        here = measure(preset.to_gauss(x), preset.scale_mm, names)
        ends = (z[:, None] + _TRIAL * columns.T[None]).flatten(0, 1)
        made = torch.cat([generator(part)[:, 0].float() for part in ends.split(25)])
        there = measure(preset.to_gauss(made), preset.scale_mm, names)
    rows = [(there[k].view(n, -1) - here[k][:, None]) / _TRIAL for k in names]
    return torch.stack(rows, 1).float() @ columns.T
