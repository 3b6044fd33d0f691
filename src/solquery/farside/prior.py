"""What regions there are before the map is looked at: draws of a generator, their parameters and their maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..physics import measure_on_grid
from ..steering.latents import render
from .maps import coarse, map_scale
from .strength import StrengthLaw, shipped_strength

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["PARAMETERS", "Prior", "draw_prior"]

#: what an ensemble tells of its regions
PARAMETERS = ("tuf", "tpf", "tnf", "area", "psep", "tilt", "polarity", "r")
_BATCH = 64


@dataclass(frozen=True)
class Prior:
    """Draws of a generator, as far as a comparison with maps needs them.

    Attributes
    ----------
    model
        Whose generator draws.
    z
        (N, D) latent vectors.
    maps
        (N, h, w) float32, gauss: the mean unsigned field of each at the resolution, without noise.
    parameters
        Name to (N,), in the units of the model's grid.
    resolution_mm
        Of the maps.
    strength
        The law by which members are as strong as regions of their flux; None leaves that to the generator.
        ``dataclasses.replace(prior, strength=...)`` takes another.
    """

    model: Model
    z: np.ndarray
    maps: np.ndarray
    parameters: dict[str, np.ndarray]
    resolution_mm: float
    strength: StrengthLaw | None = None

    def __len__(self) -> int:
        return len(self.z)


def draw_prior(
    model: Model,
    n: int = 6_000,
    seed: int = 0,
    *,
    resolution_mm: float = 20.0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Prior:
    """Draw `n` regions; one prior serves all maps of that resolution.

    Parameters
    ----------
    model
        With a generator whose grid has a scale.
    n, seed
        How many, and the seed of their latents.
    resolution_mm
        Full width at half maximum of the maps that it will be compared with.
    report
        Called with how many of how many are drawn.

    Raises
    ------
    FarsideError
        For a grid without scale.
    """
    map_scale(model.preset)
    z = np.random.default_rng(seed).standard_normal((n, int(model.generator.latent_dim))).astype(np.float32)
    maps, parameters = [], []
    for first in range(0, n, _BATCH):
        report(first, n)
        x = render(model.generator, z[first : first + _BATCH], model.preset.shape)[:, 0].numpy()
        maps.append(coarse(np.asarray(model.preset.to_gauss(x)), model.preset, resolution_mm).astype(np.float32))
        found = measure_on_grid(x, model.preset, PARAMETERS)
        parameters.append({name: np.asarray(values) for name, values in found.items()})
    joined = {name: np.concatenate([part[name] for part in parameters]) for name in PARAMETERS}
    return Prior(model, z, np.concatenate(maps), joined, resolution_mm, shipped_strength(model.preset))
