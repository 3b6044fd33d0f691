"""The group `train`: the verbs that train, and those that follow a training."""

from __future__ import annotations

import typer

from . import finish, training, translate

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group."""
    training.register(app)
    finish.register(training.train_app)
    translate.register_training(training.train_app)
