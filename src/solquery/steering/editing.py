"""Changing a patch along a direction: shifted latents, and latent traversals with what is measured on the way."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .directions import Directions
from .latents import SteeringError, SteeringWarning, as_latents, prior_norm_range, render

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Traversal", "directions_of", "latent_traversal", "shift", "warn_if_far"]


@dataclass(frozen=True)
class Traversal:
    """Patches along one direction (paper, Fig. 5).

    Attributes
    ----------
    name, hold
        The parameter that changes and those held.
    eps
        (K,) steps, in standard deviations of the prior.
    z
        (K, D) float32 latents.
    x
        (K, 1, H, W) float32 patches in preset units.
    values
        Parameter name to (K,) as measured on the patches; at native scale, of a calibrated model.
    requested
        (K,) values that were asked for, where frames were solved for (`exact_traversal`); None for plain steps.
    grid
        Parameter name to (K,) on the model's grid.
    """

    name: str
    hold: tuple[str, ...]
    eps: np.ndarray
    z: np.ndarray
    x: np.ndarray
    values: dict[str, np.ndarray]
    requested: np.ndarray | None = None
    grid: dict[str, np.ndarray] = field(default_factory=dict, repr=False)


def directions_of(model: Model) -> Directions:
    """The model's directions.

    Raises
    ------
    SteeringError
        When it has none, saying how to make them.
    """
    if model.directions is None:
        raise SteeringError(
            f"model {model.name!r} has no directions; fit them with `solquery directions` or `fit_directions`"
        )
    return model.directions


def warn_if_far(z: np.ndarray, what: str = "the latent vector") -> None:
    """Warn when the norm of any latent of (N, D) is one that the prior practically never gives."""
    low, high = prior_norm_range(z.shape[1])
    norms = np.linalg.norm(z, axis=1)
    if bool(((norms < low) | (norms > high)).any()):
        worst = norms[np.argmax(np.abs(norms - np.sqrt(z.shape[1])))]
        warnings.warn(
            f"{what} is far from the prior: |z| = {worst:.1f}, the generator was trained on {low:.1f} to {high:.1f}; "
            "do not trust the patch, take smaller steps",
            SteeringWarning,
            stacklevel=3,
        )


def shift(z: ArrayLike, direction: ArrayLike, eps: ArrayLike) -> np.ndarray:
    """Latents moved by `eps` along `direction`: z + eps n (paper, section 4).

    Parameters
    ----------
    z
        (D,) or (N, D).
    direction
        (D,), as it is: unit vectors make `eps` a length.
    eps
        A number, or (K,) for (D,) latents.

    Returns
    -------
    float32, of the shape of `z` for one number, (K, D) for (K,) steps of one latent.
    """
    direction = np.asarray(direction, dtype=np.float64)
    if direction.ndim != 1:
        raise ValueError(f"direction must have shape (D,), got {direction.shape}")
    start = as_latents(z, len(direction)).astype(np.float64)
    steps = np.asarray(eps, dtype=np.float64)
    if not np.isfinite(steps).all():
        raise SteeringError(f"steps must be finite, got {eps!s}")
    if steps.ndim == 0:
        return (start + steps * direction).astype(np.float32).reshape(np.shape(z))
    if steps.ndim != 1 or len(start) != 1:
        raise ValueError("several steps (K,) go with one latent (D,)")
    return (start + steps[:, None] * direction).astype(np.float32)


def latent_traversal(
    model: Model,
    z: ArrayLike,
    name: str,
    hold: Sequence[str] | str = (),
    eps_values: ArrayLike | None = None,
) -> Traversal:
    """Move a latent along the direction of `name`, holding others, and measure every patch on the way.

    Parameters
    ----------
    model
        With generator, preset and directions.
    z
        (D,), or (1, D).
    name, hold
        The parameter to change, and any number to hold: the step is orthogonal to their normals.
    eps_values
        (K,) steps; None for -3, -2, ... 3.

    Warns
    -----
    SteeringWarning
        When a step leads far from the prior.
    """
    from .native_scale import measure_both

    directions = directions_of(model)
    held = (hold,) if isinstance(hold, str) else tuple(hold)
    eps = np.linspace(-3.0, 3.0, 7) if eps_values is None else np.atleast_1d(np.asarray(eps_values, dtype=np.float64))
    moved = shift(np.reshape(as_latents(z, directions.latent_dim), -1), directions.normal(name, held), eps)
    warn_if_far(moved, f"a step of {np.abs(eps).max():.3g} along {name}")
    x = render(model.generator, moved, model.preset.shape)
    grid, values = measure_both(model, x[:, 0], directions.names)
    return Traversal(name, held, eps, moved, x.numpy(), values, None, grid)
