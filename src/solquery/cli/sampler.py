"""``solquery model sampler``: fit what random draws of a model go through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Seed, Where
from .output import Reporter, emit

__all__ = ["register"]


def register(model_app: typer.Typer) -> None:
    """Add the verb of this file."""
    model_app.command("sampler")(sampler)


def sampler(
    model: Annotated[Path, typer.Argument(help="Folder of the model; it is written again.")],
    archive: Annotated[str, typer.Option(help="Archive that the generator was trained with.")] = "archive",
    where: Where = None,
    n: Annotated[int, typer.Option("-n", min=100, help="Draws that are compared with its patches.")] = 20_000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Write the model to this folder and leave the first one.")] = None,
    json: Json = False,
) -> None:
    """Have random draws accepted as often as an archive holds patches like them (rejection sampling)."""
    from ..archive.store import Archive
    from ..model import Model
    from ..steering.rejection import sampler_for
    from .directions import encoder_home

    models, store = Model.load(model), Archive.open(archive)
    with Reporter("sampler") as report:
        models.sampler = sampler_for(models, store, draws=n, seed=seed, where=where, progress=report)
    home = model if out is None else out
    models.save(home, encoder_from=encoder_home(home))
    record = models.sampler.record
    if json:
        emit({"model": str(home), "hash": models.hash, **record})
        return
    typer.echo(
        f"{home}: of {record['draws']:,} draws {record['accepted']:.0%} are accepted; compared with "
        f"{record['patches']:,} patches of {record['regions']:,} regions, from which a draw is told in "
        f"{record['told_apart']:.0%} of pairs"
    )
