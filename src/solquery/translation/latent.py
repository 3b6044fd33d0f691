"""The part of a map that goes through a generator: what it draws for a patch, and edits in its latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..steering.latents import frozen, render
from ..steering.refinement import candidates
from .filters import interpolated
from .grid import Seen
from .kinds import TranslationError

if TYPE_CHECKING:
    from torch import Tensor

    from ..protocols import Model

__all__ = ["drawn_for", "guess", "render_gauss"]

#: how often a missing block is filled with what is drawn, and looked at again
_ROUNDS = 3


def guess(model: Model, fields: np.ndarray) -> np.ndarray:
    """(N, D) latents that the model's inference network, or else its look-up table, gives fields (N, H, W) in gauss."""
    if tuple(fields.shape[1:]) != tuple(model.preset.shape):
        raise TranslationError(f"model {model.name!r} takes patches of {model.preset.shape}, not {fields.shape[1:]}")
    x = torch.from_numpy(np.ascontiguousarray(model.preset.from_gauss(fields), np.float32))
    with frozen(model.generator), torch.no_grad():
        return np.asarray(candidates(model, x, 1, 0, None)[:, 0].cpu().numpy(), np.float32)


def render_gauss(model: Model, z: np.ndarray) -> np.ndarray:
    """(N, H, W) G that the generator draws for latents (N, D)."""
    made: Tensor = render(model.generator, torch.from_numpy(np.asarray(z, np.float32)), model.preset.shape)
    return np.asarray(model.preset.to_gauss(made[:, 0].numpy()), np.float32)


def drawn_for(model: Model, some: list[Seen]) -> tuple[np.ndarray, np.ndarray]:
    """Latents (N, D) for patches, and what is drawn for them (N, H, W) in gauss.

    Missing pixels are interpolated first, then filled with what is drawn, and looked at again.
    """
    fields = np.stack([interpolated(one) if (one.missing[one.valid] > 0.5).any() else one.field for one in some])
    holes = np.stack([(one.missing > 0.5) & one.valid for one in some])
    for _ in range(_ROUNDS if holes.any() else 1):
        z = guess(model, fields)
        drawn = render_gauss(model, z)
        fields = np.where(holes, drawn, fields)
    return z, drawn
