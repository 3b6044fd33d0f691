"""Verbs that follow a training: choose one of its checkpoints, match the statistics of what it draws."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .inputs import started_from
from .options import Json, Seed, Where
from .output import Reporter, emit, table
from .training import trained
from .training_data import as_numbers, ready
from .training_options import Data, LeaveOutHarps

if TYPE_CHECKING:
    from ..aliases import Document
    from ..config import GeneratorConfig, Preset

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the verbs of this file."""
    group.command("choose")(choose)
    group.command("finetune")(finetune)
    group.command("whiten")(whiten)
    group.command("settle", hidden=True)(finetune)  # its name before


def choose(
    run: Annotated[Path, typer.Argument(help="Run folder of `train generator`.")],
    by: Annotated[
        str,
        typer.Option(
            help="quality: how like held-out regions it draws; search: how well a best match keeps the parameters of "
            "its query; paper: the discriminator's accuracy; paper-held-out: that on the patches of --held-out."
        ),
    ] = "quality",
    archive: Annotated[str | None, typer.Option(help="Archive of held-out regions.")] = None,
    where: Where = None,
    encoder: Annotated[
        str | None, typer.Option(help="Model whose encoder compares or searches; the shipped default without it.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=100, help="Patches of each kind, or queries, for each checkpoint.")] = 500,
    preset: Annotated[str | None, typer.Option(help="Of the run, where its folder does not say.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Choose which checkpoint of a run is used, and write down why."""
    from ..study.choice import RULES, choose_checkpoint

    if by not in RULES:
        raise typer.BadParameter(f"--by takes {', '.join(RULES[:-1])} or {RULES[-1]}, not {by!r}")
    if by in ("quality", "search") and archive is None:
        raise typer.BadParameter(f"choosing by {by} needs --archive DIR, of regions that the run has not seen")

    store, models = None, None
    if archive is not None:
        from ..archive.store import Archive
        from ..model import Model

        store, models = Archive.open(archive), Model.load(encoder)
    with Reporter("choosing") as report:
        document = choose_checkpoint(
            run, store, models, by, preset=preset, count=n, seed=seed, where=where, progress=report
        )
    if json:
        emit({"run": str(run), **document})
        return
    columns = list(document["table"][0])
    rows = [[f"{v:,}" if isinstance(v, int) else f"{v:.3f}" for v in row.values()] for row in document["table"]]
    table(columns, rows)
    typer.echo(f"{document['why']}; written to {run / 'choice.json'}")


def finetune(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Finished run of `train generator`, or a model.")],
    run: Annotated[Path, typer.Option("--run", help="New run folder; RUN is not changed.")],
    archive: Annotated[str | None, typer.Option("--archive", help="Archive whose statistics are matched.")] = None,
    where: Where = None,
    data: Data = None,
    preset: Annotated[str | None, typer.Option(help="Of the run, where its folder does not say.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Drawn in all.")] = 6400,
    near: Annotated[
        float, typer.Option(min=0.0, help="Weight of the distance from the images generated before.")
    ] = 3.0,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of the small steps.")] = 1e-5,
    footprint_mask: Annotated[
        bool,
        typer.Option(
            "--footprint-mask",
            "--window",
            help="Give the generator the footprints of the archive, one that has some by rank.",
        ),
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Put right how much there is of everything in what a trained generator draws, and leave its looks.

    Fluxes, R, separation, texture of many draws come to be distributed as the archive's.
    """
    from ..generator.finetune import FinetuneConfig
    from ..generator.finetune import finetune as finetuned

    began = time.monotonic()
    source = started_from(source) or source
    chosen, config, shape, story = _finished(source, preset)
    refit = footprint_mask and config.footprint_mask
    if footprint_mask:
        config = replace(config, footprint_mask=True)
    folder, rows = ready(chosen, archive, where, data, run)
    settings = FinetuneConfig(images, learning_rate, near, refit_footprint=refit)
    with Reporter("finetuning") as report:
        weights = finetuned(
            source, folder, config, rows.data, shape, settings, seed,
            progress=report.training, provenance={"preset": chosen.name, **_kept(story)},
        )  # fmt: skip
    trained(folder, {"weights": str(weights)}, time.monotonic() - began, json)


def whiten(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Finished run of `train generator`, or a model.")],
    run: Annotated[Path, typer.Option("--run", help="New run folder; RUN is not changed.")],
    archive: Annotated[str | None, typer.Option("--archive", help="Archive of the training.")] = None,
    where: Where = None,
    data: Data = None,
    leave_out_harps: LeaveOutHarps = None,
    preset: Annotated[str | None, typer.Option(help="Of the run, where its folder does not say.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make the latents of the archive standard normal, as draws are: no draw lies where no patch ever was.

    A linear change of coordinates, folded into the weights of generator and inference network (loss vae-gan).
    """
    from ..config import config_class
    from ..generator.whitening import whiten_run

    began = time.monotonic()
    source = started_from(source) or source
    chosen, config, shape, story = _finished(source, preset)
    if config_class(config.loss).__name__ != "VaeGanConfig":
        raise typer.BadParameter(f"{source} was trained with loss {config.loss!r}; only vae-gan infers latents")
    folder, rows = ready(chosen, archive, where, data, run, as_numbers(leave_out_harps))
    anchors = tuple(getattr(config, "anchors", ()))
    told = whiten_run(
        source, folder, config, rows.data, shape, anchors, seed, provenance={"preset": chosen.name, **_kept(story)}
    )
    if json:
        emit({"run": str(folder), **told, "seconds": time.monotonic() - began})
        return
    nats = told["departure"]
    typer.echo(f"{folder}: the latents are {nats['after']:.1f} nats from the prior, {nats['before']:.1f} before")


def _finished(source: Path, preset: str | None) -> tuple[Preset, GeneratorConfig, tuple[int, int], Document]:
    """Preset, settings, sides of the images and what is told of a run, or of the generator of a model."""
    from ..config import preset_of_run
    from ..generator.training import read_settings
    from ..model_files import is_model

    if is_model(source):
        from ..model import Model

        whole = Model.load(str(source))
        return whole.preset, whole.preset.generator, whole.preset.shape, whole.metadata["provenance"]["generator"]
    config, shape, story = read_settings(source)
    named = preset or story.get("provenance", {}).get("preset")
    if named is None:
        raise typer.BadParameter(f"{source} does not say which preset it was trained with; name it with --preset")
    return preset_of_run(named, shape), config, shape, story


def _kept(story: Document) -> Document:
    """What stays true of weights that are changed after a training: which encoder and which real patches it saw."""
    kept = ("encoder", "real", "left_out_harps")
    return {name: value for name, value in story.get("provenance", {}).items() if name in kept}
