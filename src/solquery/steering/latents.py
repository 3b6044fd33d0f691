"""Latent vectors and what the generator makes of them: sampling the prior, rendering, measuring.

Every measurement of steering is made on the preset's grid: in maxwell and megametres where it has a fixed scale, in
gauss and pixels where it stretches.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from ..config import Preset
from ..errors import SolqueryError
from ..lazy import deferred
from ..physics import measure, parameters
from ..protocols import Generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..protocols import Model
else:
    torch = deferred("torch")

_M = TypeVar("_M", bound="Model")

__all__ = [
    "LatentTable", "SteeringError", "SteeringWarning", "as_latents", "clamp_norm", "evaluating",
    "frozen", "in_use", "measure_latents", "prior_latents", "prior_norm_range", "render", "sample_latents",
]  # fmt: skip

#: latents per pass: small batches stay in the cache
_BATCH = 25


class SteeringError(SolqueryError, ValueError):
    """Steering cannot do what was asked; the message says why and what can be done."""


class SteeringWarning(UserWarning):
    """A number of steering that should not be trusted without a look."""


@dataclass(frozen=True)
class LatentTable:
    """Latent vectors beside the parameters of the patches made from them (the paper's look-up table, section 4).

    Attributes
    ----------
    z
        (n, D) float32.
    values
        Parameter name to (n,) float64, in the units of the grid; NaN where a parameter is unknown.
    seed
        Of the sample; None where the rows were chosen otherwise.
    physical
        Whether the values are in maxwell and megametres.
    """

    z: np.ndarray
    values: dict[str, np.ndarray] = field(default_factory=dict)
    seed: int | None = None
    physical: bool = False

    def __post_init__(self) -> None:
        if self.z.ndim != 2:
            raise ValueError(f"z must have shape (n, D), got {self.z.shape}")
        for name, values in self.values.items():
            if values.shape != (len(self.z),):
                raise ValueError(f"{name} has shape {values.shape} for {len(self.z)} latents")

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: np.ndarray) -> LatentTable:
        """Table of the given rows (integer index or boolean mask)."""
        return LatentTable(
            self.z[rows], {name: values[rows] for name, values in self.values.items()}, physical=self.physical
        )


@lru_cache(maxsize=16)
def prior_norm_range(latent_dim: int) -> tuple[float, float]:
    """Norms between which all but one in ten thousand standard normal vectors of `latent_dim` numbers lie."""
    # quantiles of the chi distribution, by halving: scipy.special takes longer to load than a patch to draw
    low, high = (math.sqrt(2.0 * _gamma_quantile(latent_dim / 2.0, share)) for share in (5e-5, 1 - 5e-5))
    return low, high


def _gamma_quantile(shape: float, share: float) -> float:
    """The number below which a share of a gamma distribution of scale 1 lies."""
    low, high = 0.0, 2.0 * shape + 100.0
    while (middle := 0.5 * (low + high)) not in (low, high):
        below = torch.special.gammainc(*torch.tensor([shape, middle], dtype=torch.float64)) < share
        low, high = (middle, high) if below else (low, middle)
    return middle


def clamp_norm(z: Tensor, low: float, high: float) -> Tensor:
    """Latents (N, D) scaled, where need be, to a norm within [low, high]."""
    norm = z.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return z * (norm.clamp(low, high) / norm)


def as_latents(z: ArrayLike, latent_dim: int) -> np.ndarray:
    """Latents as (N, D) float32, from (D,) or (N, D), numpy or torch.

    Raises
    ------
    SteeringError
        When the length is not the generator's, or a number is not finite.
    """
    array = z.detach().cpu().numpy() if isinstance(z, torch.Tensor) else np.asarray(z)
    array = np.atleast_2d(array.astype(np.float32))
    if array.ndim != 2 or array.shape[1] != latent_dim:
        raise SteeringError(f"a latent vector of this generator has {latent_dim} numbers, got shape {np.shape(z)}")
    if not np.isfinite(array).all():
        raise SteeringError("the latent vector holds numbers that are not finite")
    return array


def _device(generator: Callable[[Tensor], Tensor]) -> torch.device:
    first = next(generator.parameters(), None) if isinstance(generator, torch.nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def in_use(model: _M) -> _M:
    """The model with its generator made ready for many patches and gradients, where there is such a form of it."""
    from ..generator.optimized import optimize_for_inference  # which loads torch

    out: Any = copy.copy(model)
    out.generator = optimize_for_inference(model.generator)
    return cast("_M", out)


@contextlib.contextmanager
def evaluating(generator: Callable[[Tensor], Tensor]) -> Iterator[torch.device]:
    """Put a network into evaluation mode for a while; yields its device."""
    training = generator if isinstance(generator, torch.nn.Module) and generator.training else None
    if training is not None:
        training.eval()
    try:
        yield _device(generator)
    finally:
        if training is not None:
            training.train()


@contextlib.contextmanager
def frozen(generator: Callable[[Tensor], Tensor]) -> Iterator[torch.device]:
    """Put a network into evaluation mode, its weights without gradients, for a while; yields its device."""
    with evaluating(generator) as device:
        held = [p for p in generator.parameters() if p.requires_grad] if isinstance(generator, torch.nn.Module) else []
        for p in held:
            p.requires_grad_(False)
        try:
            yield device
        finally:
            for p in held:
                p.requires_grad_(True)


def prior_latents(n: int, latent_dim: int, seed: int) -> Tensor:
    """Latents (n, D) float32 of the prior, a standard normal distribution; the same on every machine."""
    return torch.randn(n, int(latent_dim), generator=torch.Generator().manual_seed(seed))


def render(generator: Callable[[Tensor], Tensor], z: ArrayLike, shape: tuple[int, int], batch: int = _BATCH) -> Tensor:
    """Patches (N, 1, H, W) float32 in preset units, on the CPU, from latents (N, D).

    Raises
    ------
    SteeringError
        When the generator does not make patches of `shape`, or makes some that are not finite.
    """
    parts = []
    with evaluating(generator) as device, torch.no_grad():
        for part in torch.as_tensor(z, dtype=torch.float32).split(batch):
            x = generator(part.to(device)).float().cpu()
            if tuple(x.shape) != (len(part), 1, *shape):
                raise SteeringError(
                    f"the generator makes patches of shape {tuple(x.shape[1:])}, the preset wants (1, {shape[0]}, "
                    f"{shape[1]}); load the model with its own preset"
                )
            parts.append(x)
    x = torch.cat(parts)
    if not bool(torch.isfinite(x).all()):
        raise SteeringError("the generator makes patches that are not finite; train it again or use another checkpoint")
    return x


def measure_latents(
    generator: Callable[[Tensor], Tensor],
    preset: Preset,
    z: ArrayLike,
    names: Iterable[str] | None = None,
    batch: int = _BATCH,
) -> dict[str, np.ndarray]:
    """Parameters of the patches made from latents (N, D): name to (N,) float64 in the units of the grid.

    Patches are measured batch by batch and not kept.
    """
    wanted = list(parameters()) if names is None else list(names)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for part in torch.as_tensor(z, dtype=torch.float32).split(batch):
        fields = preset.to_gauss(render(generator, part, preset.shape, batch)[:, 0])
        for name, values in measure(fields, preset.scale_mm, wanted).items():
            parts[name].append(values.numpy())
    return {name: np.concatenate(values) if values else np.empty(0) for name, values in parts.items()}


def sample_latents(
    generator: Generator,
    preset: Preset,
    n: int = 10_000,
    seed: int = 0,
    names: Iterable[str] | None = None,
    batch: int = _BATCH,
) -> LatentTable:
    """Draw latents from the prior and measure what the generator makes of them (paper, section 4).

    Parameters
    ----------
    generator
        Anything with `latent_dim` and ``(N, D) -> (N, 1, H, W)``.
    preset
        Gives the grid and the unit of its output.
    n, seed
        How many, and the seed of the draw; the same seed gives the same latents on every machine.
    names
        Which parameters; None for all registered ones.
    batch
        Patches made and measured at a time.

    Raises
    ------
    UnknownParameter, SteeringError
        For a name nobody registered; for a generator that does not fit the preset.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if isinstance(generator, torch.nn.Module) and not generator.training:
        # the same numbers in another order: convolutions run about three times as fast on a CPU
        generator.to(memory_format=torch.channels_last)
    z = prior_latents(n, generator.latent_dim, seed)
    return LatentTable(z.numpy(), measure_latents(generator, preset, z, names, batch), seed, preset.physical)
