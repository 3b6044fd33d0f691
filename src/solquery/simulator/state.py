"""What there is of a region at one moment: spots, elements, and the truth about its bipoles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..aliases import Document
from .population import SpotPlan
from .spots import spot_peak_gauss, spot_width_mm

__all__ = ["Snapshot", "SpotState"]


@dataclass
class SpotState:
    """A spot at one moment: position in Mm, unsigned flux in Mx, and its plan."""

    y: float
    x: float
    flux_mx: float
    sign: int
    plan: SpotPlan
    goal: int
    side: int
    life_h: float
    fed_until_h: float

    @property
    def width_mm(self) -> float:
        """Radius at which the field has fallen to 1/e of the umbra's, Mm."""
        return spot_width_mm(self.flux_mx, self.plan.steepness)

    @property
    def peak_gauss(self) -> float:
        """Largest field of the umbra, G."""
        return spot_peak_gauss(self.flux_mx)


@dataclass
class Snapshot:
    """What there is at one moment: elements (N,), spots, and the true state of each bipole."""

    y: np.ndarray
    x: np.ndarray
    flux_mx: np.ndarray
    own: np.ndarray  # (N,) whether the element is of the region itself
    spots: list[SpotState]
    states: list[Document]
    shear: float
