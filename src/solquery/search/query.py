"""The query of a search, and what is computed of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..encoder.embedding import embed
from ..physics import measure
from ..physics.noise import uncertainty
from .alignment import Aligner

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["NOISE_GAUSS", "Query"]

#: standard deviation of a pixel of the grid: between HMI's line-of-sight and radial noise, averaged onto 1.8 Mm
NOISE_GAUSS = 10.0
_NOISE_DRAWS = 8


class Query:
    """The query of a search; what is computed of it is computed when it is first needed, and kept.

    Attributes
    ----------
    x
        (H, W) float32 in preset units.
    drawn
        Whether a generator drew it, so that no archive of observations can have it.
    """

    def __init__(self, x: np.ndarray, model: Model, drawn: bool = False) -> None:
        self.x, self._model, self.drawn = x, model, drawn

    @cached_property
    def vector(self) -> np.ndarray:
        """(1, D) embedding."""
        return embed(self._model.encoder, self.x)

    @cached_property
    def aligner(self) -> Aligner:
        """Finds the shift, zoom, rotation and flip at which it agrees best with other patches."""
        return Aligner(self.x, self._model.preset.encoder.augment)

    @cached_property
    def values(self) -> dict[str, float]:
        """Its parameters on the grid."""
        preset = self._model.preset
        return {name: float(v[0]) for name, v in measure(preset.to_gauss(self.x), preset.scale_mm).items()}

    @cached_property
    def noise(self) -> dict[str, float]:
        """Standard errors of its parameters at `NOISE_GAUSS` a pixel of the grid."""
        preset = self._model.preset
        gauss = np.asarray(preset.to_gauss(self.x))
        found = uncertainty(gauss, preset.scale_mm, NOISE_GAUSS, samples=_NOISE_DRAWS)
        return {name: float(value[0]) for name, value in found.items()}
