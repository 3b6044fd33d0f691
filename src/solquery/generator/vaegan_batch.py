"""What one step of a VAE-GAN is made of; see `vaegan`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

__all__ = ["Batch", "Made", "Stage"]


@dataclass(frozen=True)
class Stage:
    """Where a run stands: the level that is drawn, the say of the discriminator, and whether it learns alone."""

    level: int
    adversarial: float
    alone: bool


class Batch(NamedTuple):
    """What one step is made of: rows of the data, their patches in full and at the level, random numbers."""

    rows: np.ndarray
    full: torch.Tensor
    shown: torch.Tensor
    noise: torch.Tensor
    prior: torch.Tensor
    views: torch.Tensor | None


class Made(NamedTuple):
    """What the generator made: reconstructions and, behind them, draws from the prior; as the discriminator sees it."""

    all: torch.Tensor
    rebuilt: torch.Tensor
    drawn: torch.Tensor
    judged: torch.Tensor | None
