"""More of a patch than one latent vector holds: a latent for each part of the generator, all near the one found.

A generator that is told the latent vector in every layer can be told another one in each (the extended latent space of
Abdal et al. 2019, arXiv:1904.03189). The parts stay near the common vector, so that the directions mean what they mean
and an edit moves all of them alike: steering goes on as before, on a generator that carries the differences with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .carried import parts_of
from .editing import warn_if_far
from .generated import Shown
from .inversion import Inversion, targets_of
from .latents import frozen, in_use

if TYPE_CHECKING:
    from torch import nn

    from ..protocols import Model

__all__ = ["refine_layerwise"]

_PATCHES = 8


def refine_layerwise(
    model: Model,
    x: object,
    found: Sequence[Inversion],
    steps: int = 80,
    *,
    weight: float = 0.25,
    prior: float = 0.5,
    learning_rate: float = 0.1,
) -> list[Inversion]:
    """Refine inversions with a latent of its own for each part of the generator.

    Parameters
    ----------
    model
        Whose generator has `parts` and takes latents (N, parts, D).
    x
        (N, H, W) the patches that were inverted, in preset units.
    found
        Of `invert`.
    steps
        Of Adam, on the latent vector and the differences together.
    weight
        Of the mean square of the differences against the error as a share of the patch's power: what keeps the parts
        together. With 0.25 they end about a third of the prior's spread apart.
    prior, learning_rate
        As in `invert`; the latent vector itself moves half as fast.

    Returns
    -------
    Inversions with `offsets`; where nothing was gained, as they were, with offsets of zero. `start_mse` stays.

    Raises
    ------
    SteeringError
        When the generator is told one latent vector only.
    """
    parts, target = parts_of(model), targets_of(x, model)
    if len(target) != len(found):
        raise ValueError(f"{len(found)} inversions for {len(target)} patches")
    out: Shown[Inversion] = Shown()
    generator = in_use(model).generator
    with frozen(generator) as device:
        for first in range(0, len(found), _PATCHES):
            some = found[first : first + _PATCHES]
            z = torch.from_numpy(np.stack([one.z for one in some])).to(device)
            part = target[first : first + _PATCHES].to(device)
            out += _refined(generator, part, z, some, parts, steps, weight, prior, learning_rate)
    warn_if_far(np.stack([one.z for one in out]), "the latent vector found")
    return out


def _refined(
    generator: nn.Module, target: Tensor, z: Tensor, found: Sequence[Inversion], parts: int, steps: int, weight: float,
    prior: float, rate: float,
) -> list[Inversion]:  # fmt: skip
    n, dim = z.shape
    power = target.square().mean((1, 2)).clamp(min=1e-6)
    offsets = torch.zeros(n, parts, dim, device=z.device, requires_grad=True)
    z = z.clone().requires_grad_(True)
    adam = torch.optim.Adam([{"params": [offsets], "lr": rate}, {"params": [z], "lr": 0.5 * rate}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=0.02 * rate)
    best_mse = torch.tensor([one.mse for one in found], device=z.device)
    best_z, best_offsets = z.detach().clone(), offsets.detach().clone()
    best_x = torch.from_numpy(np.stack([one.x for one in found]))
    with torch.enable_grad():
        for step in range(steps + 1):
            made = generator(z[:, None] + offsets)[:, 0]
            mse = (made - target).square().mean((1, 2))
            better = mse.detach() < best_mse
            best_mse = torch.where(better, mse.detach(), best_mse)
            best_z[better], best_offsets[better] = z.detach()[better], offsets.detach()[better]
            best_x[better.cpu()] = made.detach()[better].float().cpu()
            if step == steps:
                break
            apart = offsets.square().mean((1, 2))
            home = (z.norm(dim=1) / math.sqrt(dim) - 1.0).square()
            adam.zero_grad()
            (mse / power + weight * apart + prior * home).sum().backward()
            adam.step()
            schedule.step()
    out: Shown[Inversion] = Shown()
    for k, one in enumerate(found):
        latent = best_z[k].cpu().numpy()
        error = float(best_mse[k])
        out.append(
            replace(
                one, z=latent, mse=error, z_norm=float(np.linalg.norm(latent)), x=best_x[k].numpy(),
                unexplained=error / max(float(target[k].square().mean()), 1e-12),
                offsets=best_offsets[k].cpu().numpy(),
            )
        )  # fmt: skip
    return out
