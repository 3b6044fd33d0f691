"""A generator that carries the differences of one patch: what its parts are told beside the common latent vector."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .latents import SteeringError

if TYPE_CHECKING:
    from ..protocols import Model
    from .inversion import Inversion

__all__ = ["LayerwiseGenerator", "parts_of", "with_layerwise"]


class LayerwiseGenerator(nn.Module):
    """A generator that adds fixed differences (parts, D) to the latent vector that each of its parts is told."""

    def __init__(self, generator: nn.Module, offsets: Tensor) -> None:
        super().__init__()
        self.inner = generator
        self.latent_dim = int(generator.latent_dim)
        self.register_buffer("offsets", offsets)

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z[:, None] + self.offsets)


def parts_of(model: Model) -> int:
    """How many latents the generator of a model can be told at once; SteeringError where it is one only."""
    parts = getattr(model.generator, "parts", 0)
    if not parts:
        raise SteeringError(
            f"the generator of model {model.name!r} tells all of its layers one latent vector, there is no "
            "detail to add; use a model of architecture pyramid, or leave detail out"
        )
    return int(parts)


def with_layerwise(model: Any, offsets: Inversion | np.ndarray) -> Any:
    """The model with a generator that carries the differences of one patch: edits and targets keep its detail.

    Parameters
    ----------
    model
        In which the patch was inverted; it is left as it is.
    offsets
        Of an `Inversion` with detail, or (parts, D).

    Raises
    ------
    SteeringError
        When the inversion has no detail, or it does not fit the generator.
    """
    parts, dim = parts_of(model), int(model.generator.latent_dim)
    array = offsets.offsets if hasattr(offsets, "offsets") else np.asarray(offsets)
    if array is None:
        raise SteeringError("this inversion has no detail; give it to refine_layerwise first")
    if array.shape != (parts, dim) or not np.isfinite(array).all():
        raise SteeringError(f"detail of this generator has shape ({parts}, {dim}), got {array.shape}")
    out = copy.copy(model)
    out.generator = LayerwiseGenerator(model.generator, torch.from_numpy(np.array(array, np.float32))).eval()
    # it is no longer what the hash stands for
    out.hash = None
    return out
