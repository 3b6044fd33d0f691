"""Edits of an inverted patch that reach further than its latent vector: what is told beside it moves, too.

With its local noise an inverted patch lies where the observed flux lies, and six held parameters leave a latent vector
little room. The same optimisation that found the patch then leads it to other parameters: the picture stays as close as
it can, and z, the differences of the parts and the noise move together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .carried import LayerwiseGenerator
from .latents import frozen, render
from .native_scale import native_scale_of
from .reconstruction_loss import MATCHED
from .refinement import Refinement, lead, rounded

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Led", "detail_of", "lead_with_detail"]

#: evaluations with each weight of the physics
_EVALUATIONS = 8
#: weights of |z| and of the detail, as in `reconstruct`
_PRIOR, _APART = 0.5, 0.05


class Led(NamedTuple):
    """Latent (D,), differences (parts, D), local noise (local_noise,), and the patch (1, H, W) that they make."""

    z: np.ndarray
    offsets: np.ndarray
    noise: np.ndarray
    x: torch.Tensor


def detail_of(model: Model) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Differences (parts, D) and local noise, if any, that a model carries (`with_layerwise`); None without."""
    generator = model.generator
    if not isinstance(generator, LayerwiseGenerator):
        return None
    noise = None if generator.noise is None else generator.noise.cpu().numpy()
    return generator.offsets.cpu().numpy(), noise


def lead_with_detail(model: Model, z: np.ndarray, wanted: Mapping[str, float]) -> Led | None:
    """The patch nearest to that of a latent vector which has the wanted parameters, its detail moving with it.

    Parameters
    ----------
    model
        That carries the detail of an inverted patch (`with_layerwise`).
    z
        (D,) latent of the patch to start from.
    wanted
        Parameter to value, in the numbers of the model. The others of TUF, PSEP, AREA, R, tilt and polarity are held
        as the start has them.

    Returns
    -------
    None where the model carries no local noise, or a parameter is none of these six.
    """
    carried = model.generator
    if not isinstance(carried, LayerwiseGenerator) or carried.noise is None or not set(wanted) <= set(MATCHED):
        return None
    scale = native_scale_of(model)
    on_grid = {name: float(value if scale is None else scale.to_grid(name, value)) for name, value in wanted.items()}
    plain: Any = copy.copy(model)
    plain.generator = carried.inner
    target = render(carried, z[None], model.preset.shape)[:, 0]
    with frozen(plain.generator) as device:
        refinement = Refinement(plain, target.to(device), _PRIOR, _APART, layerwise=True)
        refinement.distance.aim({name: value for name, value in on_grid.items() if math.isfinite(value)})
        first = torch.from_numpy(np.asarray(z, np.float32)[None]).to(device)
        v = lead(refinement, refinement.variables(first, carried.offsets[None], carried.noise[None]), _EVALUATIONS)
        with torch.no_grad():
            v, made = rounded(refinement, v)
            found, offsets, noise = refinement.latents(v)
    assert offsets is not None and noise is not None
    arrays = [one[0].cpu().numpy().copy() for one in (found, offsets, noise)]
    return Led(arrays[0], arrays[1], arrays[2], made.cpu())
