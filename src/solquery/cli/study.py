"""``solquery study``: the paper's experiments, one verb each."""

from __future__ import annotations

import typer

from . import farside, figures, inversion_study, limb_study, retrieval_study

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group; a file of a verb has a `register` that takes it."""
    group = typer.Typer(no_args_is_help=True, help="The paper's experiments on any archive and model.")
    farside.register_study(group)
    figures.register(group)
    inversion_study.register(group)
    limb_study.register(group)
    retrieval_study.register(group)
    app.add_typer(group, name="study")
