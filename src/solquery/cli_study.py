"""``solquery study``: the paper's experiments, one verb each."""

from __future__ import annotations

import typer

from . import cli_figures, cli_inversion, cli_limb, cli_retrieval

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group; a file of a verb has a `register` that takes it."""
    group = typer.Typer(no_args_is_help=True, help="The paper's experiments on any archive and bundle.")
    cli_figures.register(group)
    cli_inversion.register(group)
    cli_limb.register(group)
    cli_retrieval.register(group)
    app.add_typer(group, name="study")
