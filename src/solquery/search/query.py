"""The query of a search, and what is computed of it."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..archive.prepare import prepare
from ..encoder.embedding import embed
from ..physics import measure
from ..physics.noise import uncertainty
from .alignment import Aligner

if TYPE_CHECKING:
    from ..patch import Patch
    from ..protocols import Model

__all__ = ["NOISE_GAUSS", "Query"]

#: standard deviation of a pixel of the grid: between HMI's line-of-sight and radial noise, averaged onto 1.8 Mm
NOISE_GAUSS = 10.0
_NOISE_DRAWS = 8
#: the map that estimates the radial field of a line-of-sight query
_AS_RADIAL = "los-to-radial"


class Query:
    """The query of a search; what is computed of it is computed when it is first needed, and kept.

    Attributes
    ----------
    x
        (H, W) float32 in preset units.
    drawn
        Whether a generator drew it, so that no archive of observations can have it.
    patch
        What it was made from, at its native scale; None where there is no such patch.
    """

    def __init__(self, x: np.ndarray, model: Model, drawn: bool = False, patch: Patch | None = None) -> None:
        self.x, self._model, self.drawn, self.patch = x, model, drawn, patch

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

    @cached_property
    def as_radial(self) -> np.ndarray | None:
        """(H, W) in preset units, an estimate of the radial field of a line-of-sight patch; None for any other query.

        Warns
        -----
        UserWarning
            When it cannot be estimated, since the patch lacks its scale or its place on the disk.
        """
        if self.patch is None or self.patch.quantity != "line-of-sight":
            return None
        from ..translation import TranslationError, translate

        try:
            estimate = translate(self.patch, _AS_RADIAL)
        except TranslationError as error:
            told = f"the line-of-sight query is compared with radial patches as it is: {error}"
            warnings.warn(told, UserWarning, stacklevel=2)
            return None
        return np.asarray(np.nan_to_num(prepare(estimate, self._model.preset)), np.float32)
