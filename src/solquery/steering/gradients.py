"""Slopes of the parameters in latent space: through the generator by automatic differentiation.

Thresholds and masks have no gradient, and leaving them out misses what happens at their edge: a pixel that passes 150 G
enters with all of its flux. Here such edges are ramps (`physics.smooth`), a few tens of gauss wide. These values only
say which way to go; what is accepted is always measured by the definitions in `physics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..config import Preset
from ..physics import get_parameter, measure, smooth
from ..physics.integral import integrate
from ..protocols import Generator
from .latents import evaluating, frozen

__all__ = ["SMOOTH", "latent_gradients", "soft_quantities"]

#: width of the ramp that stands for the threshold, in gauss
_RAMP_GAUSS = 25.0
#: length of the trial steps for what cannot be differentiated, in standard deviations of the prior
_TRIAL = 0.15
_BATCH = 25


Definition = Callable[[Tensor, Tensor | None], Tensor]


def _ramped(soft: smooth.Definition) -> Definition:
    return lambda fields, scale: soft(fields, scale, _RAMP_GAUSS)


#: ramps instead of steps: ``(fields (N, H, W) in G, scale (N, 2) or None) -> (N,)``
SMOOTH: dict[str, Definition] = {name: _ramped(soft) for name, soft in smooth.SMOOTH.items() if name != "tuf"}
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
        "area": SMOOTH["area"](fields, scale),
        "r": SMOOTH["r"](fields, scale),
        "step": smooth.step(fields, scale, _RAMP_GAUSS),
    }


def latent_gradients(
    generator: Generator, preset: Preset, z: Tensor, names: Sequence[str], basis: Tensor | None = None
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
    with frozen(generator) as device:
        # small batches: the graph of each is kept in memory
        parts = [_differentiated(generator, preset, part.to(device), names) for part in z.split(_BATCH)]
        gradients, x = (torch.cat(found) for found in zip(*parts, strict=True))
    rest = [name for name in names if name not in SMOOTH and name not in _AS_DEFINED]
    if rest:
        found = _by_trial(generator, preset, z.to(device), rest, x, basis)
        for k, name in enumerate(rest):
            gradients[:, names.index(name)] = found[:, k]
    return torch.nan_to_num(gradients).cpu(), x.cpu()


def _differentiated(generator: Generator, preset: Preset, z: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
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
    generator: Generator, preset: Preset, z: Tensor, names: Sequence[str], x: Tensor, basis: Tensor | None
) -> Tensor:
    """(N, M, D) gradients within the span of `basis`, from a trial step along each of its columns."""
    n, dim = z.shape
    columns = torch.eye(dim, device=z.device) if basis is None else basis.to(z)
    with torch.no_grad(), evaluating(generator):
        here = measure(preset.to_gauss(x), preset.scale_mm, names)
        ends = (z[:, None] + _TRIAL * columns.T[None]).flatten(0, 1)
        made = torch.cat([generator(part)[:, 0].float() for part in ends.split(25)])
        there = measure(preset.to_gauss(made), preset.scale_mm, names)
    rows = [(there[k].view(n, -1) - here[k][:, None]) / _TRIAL for k in names]
    return torch.stack(rows, 1).float() @ columns.T
