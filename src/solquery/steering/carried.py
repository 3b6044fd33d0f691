"""A generator that carries the detail of one patch: what its layers are told beside the common latent vector."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..protocols import Generator
from .latents import SteeringError, in_use

if TYPE_CHECKING:
    from ..protocols import Model
    from .inversion import Inversion

__all__ = ["LayerwiseGenerator", "noise_of", "parts_of", "with_detail", "with_layerwise"]


_M = TypeVar("_M", bound="Model")


class LayerwiseGenerator(nn.Module):
    """A generator that adds fixed differences (parts, D) to the latents that its parts are told, and fixed noise."""

    def __init__(self, generator: nn.Module, offsets: Tensor, noise: Tensor | None = None) -> None:
        super().__init__()
        self.inner = generator
        self.latent_dim = int(generator.latent_dim)
        self.register_buffer("offsets", offsets)
        self.register_buffer("noise", noise)

    def forward(self, z: Tensor) -> Tensor:
        noise = None if self.noise is None else self.noise[None].expand(len(z), -1)
        return with_detail(self.inner, z, self.offsets, noise)


def with_detail(generator: nn.Module, z: Tensor, offsets: Tensor | None, noise: Tensor | None = None) -> Tensor:
    """(N, 1, H, W) of latents (N, D), differences (N or 1, parts, D) and local noise (N, L), where there are any."""
    told = z if offsets is None else z[:, None] + offsets
    return generator(told) if noise is None else generator(told, noise=noise)


def noise_of(generator: Generator) -> int:
    """Numbers of local noise that a generator can be told for each patch; 0 where it takes none."""
    return int(getattr(generator, "local_noise", 0))


def parts_of(model: Model) -> int:
    """How many latents the generator of a model can be told at once; SteeringError where it is one only."""
    parts = getattr(model.generator, "parts", 0)
    if not parts:
        raise SteeringError(
            f"the generator of model {model.name!r} tells all of its layers one latent vector, there is no "
            "detail to add; use a model of architecture pyramid, or leave detail out"
        )
    return int(parts)


def with_layerwise(model: _M, offsets: Inversion | np.ndarray, noise: np.ndarray | None = None) -> _M:
    """The model with a generator that carries the detail of one patch: edits and targets keep it.

    Parameters
    ----------
    model
        In which the patch was inverted; it is left as it is.
    offsets
        Of an `Inversion` with detail, which brings its noise, or (parts, D).
    noise
        (local_noise,) beside them, or None.

    Raises
    ------
    SteeringError
        When the inversion has no detail, or it does not fit the generator.
    """
    parts, dim = parts_of(model), int(model.generator.latent_dim)
    array: Any
    if hasattr(offsets, "offsets"):
        array, noise = offsets.offsets, offsets.noise  # type: ignore[union-attr]
    else:
        array = np.asarray(offsets)
    if array is None:
        raise SteeringError("this inversion has no detail; give it to refine_layerwise first")
    if array.shape != (parts, dim) or not np.isfinite(array).all():
        raise SteeringError(f"detail of this generator has shape ({parts}, {dim}), got {array.shape}")
    fixed = None
    if noise is not None:
        noise, wanted = np.array(noise, np.float32), (noise_of(model.generator),)
        if noise.shape != wanted or not np.isfinite(noise).all():
            raise SteeringError(f"local noise of this generator has shape {wanted}, got {noise.shape}")
        fixed = torch.from_numpy(noise)
    out: Any = copy.copy(model)
    out.generator = LayerwiseGenerator(
        in_use(model).generator, torch.from_numpy(np.array(array, np.float32)), fixed
    ).eval()
    # it is no longer what the hash stands for
    out.hash = None
    return cast("_M", out)
