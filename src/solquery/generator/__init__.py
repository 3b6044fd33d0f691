"""Generators: networks, losses and training (paper, sections 3 and 4)."""

from .networks import architectures, build_discriminator, build_generator, register
from .training import CollapseWarning, TrainingError, discriminator_accuracy, load_run, train_generator

__all__ = [
    "CollapseWarning",
    "TrainingError",
    "architectures",
    "build_discriminator",
    "build_generator",
    "discriminator_accuracy",
    "load_run",
    "register",
    "train_generator",
]
