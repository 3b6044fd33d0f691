"""Pairs on the grid of a map, and how far a map is off on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .grid import Seen

__all__ = ["STRONG_GAUSS", "Errors", "Sample", "scores"]

#: wanted field beyond this is strong
STRONG_GAUSS = 200.0


@dataclass(frozen=True)
class Sample:
    """A pair on the grid: what the map is told, the wanted field (H, W) in G, and the pixels that count."""

    one: Seen
    wanted: np.ndarray
    counts: np.ndarray
    region: str


@dataclass
class Errors:
    """Sums of squared errors, over all pixels that count and over strong ones."""

    square: float = 0.0
    power: float = 0.0
    pixels: int = 0
    strong_square: float = 0.0
    strong_pixels: int = 0

    def add(self, sample: Sample, made: np.ndarray) -> None:
        wanted, off = sample.wanted[sample.counts], (made - sample.wanted)[sample.counts]
        strong = np.abs(wanted) > STRONG_GAUSS
        self.square += float(off @ off)
        self.power += float(wanted @ wanted)
        self.pixels += len(off)
        self.strong_square += float(off[strong] @ off[strong])
        self.strong_pixels += int(strong.sum())

    def scores(self) -> dict[str, float]:
        return {
            "rms_gauss": float(np.sqrt(max(self.square, 0.0) / max(self.pixels, 1))),
            "rms_strong_gauss": float(np.sqrt(max(self.strong_square, 0.0) / max(self.strong_pixels, 1))),
            "unexplained": max(self.square, 0.0) / max(self.power, 1e-9),
        }


def scores(samples: Iterable[Sample], made: Iterable[np.ndarray]) -> dict[str, float]:
    """``rms_gauss``, ``rms_strong_gauss`` and ``unexplained`` of fields (H, W) in G, over the pixels that count."""
    errors = Errors()
    for sample, values in zip(samples, made, strict=True):
        errors.add(sample, values)
    return errors.scores()
