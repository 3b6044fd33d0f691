"""Random patches of a model: draws of the prior, or those of them that its sampler accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..lazy import deferred
from ..physics import measure, parameters
from .latents import LatentTable, SteeringError, in_use, prior_latents, render, sample_latents

if TYPE_CHECKING:
    import torch

    from ..protocols import Model
    from .rejection import RejectionSampler
else:
    torch = deferred("torch")

__all__ = ["draw_patches", "measured_draws"]

#: candidates made at a time; so many, of which fewer than one in a hundred is accepted, end a draw
_BLOCK, _ENOUGH, _FEWEST = 25, 2_500, 0.01


def draw_patches(model: Model, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random patches of a model.

    Parameters
    ----------
    model
        With a generator. One that has a `sampler` draws until it has accepted n patches (`RejectionSampler`); of one
        that has none every draw of the prior is taken.
    n, seed
        How many, and the seed of the draw.

    Returns
    -------
    Latents (n, D) and the patches (n, H, W) in preset units that the generator makes of them.

    Raises
    ------
    SteeringError
        When hardly any draw is accepted.

    Examples
    --------
    >>> from solquery import Model
    >>> z, x = draw_patches(Model.load(), 2, seed=1)
    >>> z.shape, x.shape
    ((2, 100), (2, 96, 192))
    """
    blocks = [*_drawn(model, n, seed)]
    return np.concatenate([z for z, _ in blocks]), np.concatenate([x for _, x in blocks])


def measured_draws(model: Model, n: int = 10_000, seed: int = 0, names: Iterable[str] | None = None) -> LatentTable:
    """Latents of random patches of a model, and the parameters of the patches.

    As `sample_latents`, of what `draw_patches` draws: of a model with a sampler the values are distributed as those of
    its archive, so that its percentiles are those of the archive.

    Parameters
    ----------
    model
        With a generator.
    n, seed, names
        As for `sample_latents`.

    Raises
    ------
    UnknownParameter, SteeringError
        For a name nobody registered; when hardly any draw is accepted.
    """
    if getattr(model, "sampler", None) is None:
        return sample_latents(model.generator, model.preset, n, seed, names)
    wanted = list(parameters()) if names is None else list(names)
    latents, parts = [], []
    for z, x in _drawn(model, n, seed):
        latents.append(z)
        parts.append(measure(model.preset.to_gauss(torch.from_numpy(x)), model.preset.scale_mm, wanted))
    values = {name: np.concatenate([part[name].numpy() for part in parts]) for name in wanted}
    return LatentTable(np.concatenate(latents), values, seed, model.preset.physical)


def _drawn(model: Model, n: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Latents and patches of n draws, some at a time; those of a smaller n are the first of a larger one."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    sampler: RejectionSampler | None = getattr(model, "sampler", None)
    if sampler is None:
        prior = prior_latents(n, model.generator.latent_dim, seed)
        yield prior.numpy(), render(model.generator, prior, model.preset.shape)[:, 0].numpy()
        return
    generator = in_use(model).generator  # twice as fast, the same to rounding
    random = torch.Generator().manual_seed(seed)
    tried = found = 0
    while found < n:
        z = torch.randn(_BLOCK, int(model.generator.latent_dim), generator=random)
        chance = torch.rand(_BLOCK, generator=random).numpy()
        x = render(generator, z, model.preset.shape)[:, 0].numpy()
        rows = np.flatnonzero(chance < sampler.acceptance(x))[: n - found]
        tried, found = tried + _BLOCK, found + len(rows)
        if len(rows):
            yield z.numpy()[rows], x[rows]
        if tried >= _ENOUGH and found < _FEWEST * tried:
            raise SteeringError(
                f"of {tried:,} draws {found} were accepted: the sampler of model {model.name!r} is that of another "
                "generator; fit it again with `solquery model sampler`"
            )
