"""Edits that hold exactly: a parameter is led to asked values while what is measured of the held ones stays put.

A direction found over the whole latent space is right on average. At a given latent the gradients of the parameters
differ from it, so that a step orthogonal to a held normal still moves the held parameter a little. Here each frame is
solved for: from the frame before, by Gauss-Newton steps whose gradients are measured at the spot (steering/solving.py),
with the held parameters among the residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from .editing import Traversal, directions_of, warn_if_far
from .judge import reach
from .latents import SteeringError, as_latents, in_use, render
from .native_scale import measure_both
from .solving import Search
from .vocabulary import as_target

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["exact_traversal", "exact_traversals"]

#: longest stretch solved for at once, in spreads of the parameter that is led
_STRETCH = 0.5


def _chain(
    model: Model,
    start: torch.Tensor,
    held: np.ndarray,
    name: str,
    hold: Sequence[str],
    values: Sequence[float] | np.ndarray,
) -> list[torch.Tensor]:
    """Latents for one value after the other, each solved for from the one before."""
    directions, model = directions_of(model), in_use(model)
    z, found = start, []
    for value in values:
        search = Search(model, {name: as_target(name, float(value), directions)}, hold)
        z, _, _ = search.refine(z.clone(), 1, held)
        found.append(z)
    return found


def exact_traversals(model: Model, z: ArrayLike, name: str, hold: Sequence[str], spreads: float) -> torch.Tensor:
    """Lead one parameter of many latents at once by so many spreads, others held as they are measured on each.

    In stretches of half a spread, each solved for from the one before with gradients computed there: the step is the
    shortest that changes the one and leaves the others, the gradient projected on the complement of the held ones.

    Parameters
    ----------
    model
        With generator, preset and directions.
    z
        (N, D).
    name, hold
        The parameter to lead, and those to hold; what is undefined on a patch leaves that latent where it is.
    spreads
        How far, with its sign; what the generator does not reach is cut back to what it does.

    Returns
    -------
    (N, D) latents.
    """
    directions = directions_of(model)
    now = torch.from_numpy(as_latents(z, directions.latent_dim).copy())
    search = Search(model, {}, (name, *hold))
    held = search.held_values(search.values(now))
    first = held[:, 0].copy()
    spread = directions.spread(name)
    low, high = reach(directions, name)
    stretches = max(1, int(np.ceil(abs(spreads) / _STRETCH - 1e-9)))
    for k in range(1, stretches + 1):
        held[:, 0] = np.clip(first + spreads * spread * k / stretches, low, high)
        now, _, _ = search.refine(now, len(now), held)
    return now


def exact_traversal(
    model: Model,
    z: ArrayLike,
    name: str,
    hold: Sequence[str] | str = (),
    spreads: ArrayLike | None = None,
) -> Traversal:
    """Lead one parameter to values spread about its present one, others held at what is measured of them.

    Parameters
    ----------
    model
        With generator, preset and directions.
    z
        (D,), or (1, D).
    name, hold
        The parameter to change, and any number to hold.
    spreads
        (K,) how far from the present value, in spreads (half the distance between the 16th and the 84th percentile of
        generated patches); None for -1.5, -1, ... 1.5. What the generator does not reach is cut back to what it does.

    Returns
    -------
    `Traversal`, with the values asked for in `requested`; `eps` are the spreads.

    Raises
    ------
    SteeringError
        When the parameter is undefined on the patch to start from, has only two values, or is held too.

    Warns
    -----
    SteeringWarning
        When a frame is far from the prior.
    """
    directions = directions_of(model)
    held_names = (hold,) if isinstance(hold, str) else tuple(hold)
    if name in held_names:
        raise SteeringError(f"{name!r} is both moved and held; leave one out")
    if directions.is_binary(name):
        raise SteeringError(
            f"{name!r} has two values only; ask for one of them with `generate`, or use `latent_traversal`"
        )
    steps = np.linspace(-1.5, 1.5, 7) if spreads is None else np.atleast_1d(np.asarray(spreads, dtype=np.float64))
    start = torch.from_numpy(as_latents(z, directions.latent_dim)[:1].copy())
    search = Search(model, {}, (name, *held_names))
    now = search.values(start)
    for known in (name, *held_names):
        if not np.isfinite(now[known][0]):
            raise SteeringError(f"{known!r} is undefined on this patch; start from another")
    held = np.stack([now[k] for k in held_names], axis=1) if held_names else np.zeros((1, 0))
    spread = directions.spread(name)
    low, high = reach(directions, name)
    asked = np.clip(float(now[name][0]) + steps * spread, low, high)

    latents = torch.empty(len(steps), directions.latent_dim)
    for rows in (np.flatnonzero(steps >= 0), np.flatnonzero(steps < 0)):
        outward = rows[np.argsort(np.abs(steps[rows]), kind="stable")]
        chain = _chain(model, start, held, name, held_names, asked[outward])
        for row, one in zip(outward, chain, strict=True):
            latents[row] = one[0]
    moved = latents.numpy()
    warn_if_far(moved, f"leading {name} by {np.abs(steps).max():.3g} spreads")
    x = render(model.generator, moved, model.preset.shape)
    grid, measured = measure_both(model, x[:, 0], directions.names)
    return Traversal(name, held_names, steps, moved, x.numpy(), measured, asked, grid)
