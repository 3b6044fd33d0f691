"""One way of turning a patch in gauss into network input, and the networks that go with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..aliases import Array
from .checks import _require
from .encoder import EncoderConfig
from .generator import GeneratorConfig, PaperGanConfig

__all__ = ["Preset"]


@dataclass(frozen=True)
class Preset:
    """One way of turning a patch in gauss into network input, and the networks that go with it.

    `paper` stretches every patch to `shape`, clips at `clip_gauss` and divides by `unit_gauss` (paper, section 2).
    With a `scale_mm` nothing is stretched: a grid of that scale is laid around the region (archive/prepare.py). With a
    `knee_gauss` nothing is clipped: fields beyond it are soft-clipped at `clip_gauss`, and `to_gauss` undoes it.
    """

    name: str
    shape: tuple[int, int] = (128, 128)
    #: the strongest field a network is shown
    clip_gauss: float = 1000.0
    unit_gauss: float = 1000.0
    #: Mm per pixel (y, x) of the grid; None: patches are stretched to it and lose their scale
    scale_mm: tuple[float, float] | None = None
    #: below it the field stays as it is; None: a hard clip
    knee_gauss: float | None = None
    generator: GeneratorConfig = field(default_factory=PaperGanConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        _require(self.unit_gauss > 0, f"unit_gauss must be positive, got {self.unit_gauss}")
        knee = self.knee_gauss
        _require(knee is None or 0 < knee < self.clip_gauss, f"knee_gauss must lie below clip_gauss, got {knee}")
        _require(self.scale_mm is None or min(self.scale_mm) > 0, f"scale_mm must be positive, got {self.scale_mm}")
        generator = replace(self.generator, unit_gauss=self.unit_gauss, limit=self.limit)
        object.__setattr__(self, "generator", generator)

    @property
    def physical(self) -> bool:
        """Whether a pixel of the grid has a size, so that fluxes are maxwell and lengths megametres."""
        return self.scale_mm is not None

    @property
    def papers_method(self) -> bool:
        """Whether grid and losses are the paper's: patches stretched, an adversarial generator, SimSiam untaught.

        Then studies do as the paper does where the package would do otherwise: the latent plane lies on z1 and z2, and
        inversion has no prior.
        """
        return (
            not self.physical
            and self.generator.loss == "bce"
            and (self.encoder.loss == "simsiam" and not self.encoder.physics)
        )

    @property
    def display_gauss(self) -> float:
        """Where the grey scale of a picture ends: a kilogauss shows spots and network alike."""
        return min(self.clip_gauss, 1000.0)

    @property
    def limit(self) -> float:
        """Largest network unit, e.g. 1 for `paper`."""
        return self.clip_gauss / self.unit_gauss

    def from_gauss(self, grid: Array) -> Array:
        """Grid field in G, numpy array or torch tensor, to network units within +-`limit`."""
        if self.knee_gauss is None:
            return grid.clip(-self.clip_gauss, self.clip_gauss) / self.unit_gauss
        core = grid.clip(-self.knee_gauss, self.knee_gauss)
        headroom = self.clip_gauss - self.knee_gauss
        # slope one at the knee, so that field and its gradient are continuous there
        return (core + headroom * _tanh((grid - core) / headroom)) / self.unit_gauss

    def to_gauss(self, x: Array) -> Array:
        """Network units back to G (what was clipped stays clipped)."""
        gauss = x * self.unit_gauss
        if self.knee_gauss is None:
            return gauss
        core = gauss.clip(-self.knee_gauss, self.knee_gauss)
        headroom = self.clip_gauss - self.knee_gauss
        # beyond 3.8 times `headroom` above the knee float32 cannot tell soft-clipped values apart
        return core + headroom * _atanh(((gauss - core) / headroom).clip(-0.999, 0.999))


def _tanh(x: Array) -> Array:
    return x.tanh() if hasattr(x, "tanh") else np.tanh(x)


def _atanh(x: Array) -> Array:
    return x.atanh() if hasattr(x, "atanh") else np.arctanh(x)
