"""Generators: networks, losses and training (paper, sections 3 and 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from ..training.diversity import CollapseWarning, diversity
    from . import networks, pyramid
    from .registry import architectures, build_discriminator, build_generator, register_generator
    from .training import TrainingError, discriminator_accuracy, load_run, train_generator

__all__ = [
    "CollapseWarning", "TrainingError", "architectures", "build_discriminator", "build_generator",
    "discriminator_accuracy", "diversity", "load_run", "networks", "pyramid", "register_generator", "train_generator",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "registry": "architectures build_discriminator build_generator register_generator",
        "training": "TrainingError discriminator_accuracy load_run train_generator",
        ".training.diversity": "CollapseWarning diversity",
    },
)
