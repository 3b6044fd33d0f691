"""Verbs that train: `train generator`, `train encoder`; what follows a training is in `finish`."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ..aliases import Document
from ..errors import SolqueryError
from . import training_options as opt
from .inputs import begun_with, fitting_precision, seen_by, started_from, with_draws_of
from .options import Json
from .output import Reporter, emit, note
from .training_data import as_numbers, held_out_patches, ready

if TYPE_CHECKING:
    from ..config import AugmentConfig, EncoderConfig, GeneratorConfig, Preset

__all__ = ["register", "trained"]

_Config = TypeVar("_Config", "GeneratorConfig", "EncoderConfig")

train_app = typer.Typer(help="Train a generator or an encoder in a run folder; the same command resumes.")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file; those that follow a training join them from `finish`."""
    train_app.command("generator")(train_generator)
    train_app.command("encoder")(train_encoder)
    app.add_typer(train_app, name="train", no_args_is_help=True)


def train_generator(
    preset: opt.PresetName = "paper",
    archive: opt.ArchiveOption = None,
    where: opt.Where = None,
    data: opt.Data = None,
    run: opt.Run = None,
    images: opt.Images = None,
    epochs: opt.Epochs = None,
    minutes: opt.Minutes = None,
    until_images: opt.Until = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    devices: opt.Devices = 1,
    precision: opt.Precision = None,
    learning_rate: opt.Rate = None,
    beta1: opt.Beta1 = None,
    epsilon: opt.Epsilon = None,
    shared_batch: opt.Shared = None,
    discriminator_linear_layers: opt.LinearLayers = None,
    settings: opt.Settings = None,
    start: opt.Start = None,
    warmup: opt.WarmupImages = None,
    decay_images: opt.DecayImages = None,
    encoder: opt.Seen = None,
    real_weight: opt.RealWeight = None,
    leave_out_harps: opt.LeaveOutHarps = None,
    adapt: opt.Adapt = False,
    held_out: opt.HeldOut = None,
    held_out_where: opt.HeldOutWhere = None,
    picture_every: opt.PictureEvery = 500,
    dry_run: opt.Dry = False,
    json: Json = False,
) -> None:
    """Train a generator on the patches of an archive."""
    from ..config import get_preset

    start = started_from(start)
    changes = _adapting(start) if adapt else {}
    given: Document = {"precision": precision, "learning_rate": learning_rate, "shared_batch": shared_batch}
    given |= {"epsilon": epsilon, "betas": None if beta1 is None else (beta1, get_preset(preset).generator.betas[1])}
    given |= {"real_weight": real_weight, "discriminator_linear_layers": discriminator_linear_layers}
    changes |= {name: value for name, value in given.items() if value is not None}
    chosen = get_preset(preset)
    changes |= opt.as_settings(settings, chosen.generator)
    changes["decay_images"] = decay_images
    if chosen.generator.loss == "vae-gan":  # the training of another loss says that it takes no encoder
        changes["embedding_critic"] = None if encoder is None else 1.0
    changes |= begun_with(start, chosen.generator.loss, warmup)
    config = _planned(chosen.generator, images, epochs, changes)
    place = _device(device, devices)
    if precision is None:
        config = fitting_precision(config, "generator", place, run)
    if dry_run:
        emit(_resolved("generator", chosen, config, run, archive, data, seed, device, minutes, until_images))
        return
    with _one_voice() as leads:
        folder, rows = ready(chosen, archive, where, data, run, as_numbers(leave_out_harps))
        if devices > 1 and "WORLD_SIZE" not in os.environ:
            from ..training.process_group import launch

            raise typer.Exit(launch(devices, sys.argv[1:]))
        from ..archive.prepare import preset_key
        from ..generator.training import train_generator as train

        told = {"preset": chosen.name, "prepared": preset_key(chosen), **rows.provenance()}
        seen = seen_by(encoder, chosen, told)
        others = held_out_patches(chosen, archive, held_out, held_out_where)
        began = time.monotonic()
        with _resumable("training the generator", folder) as report:
            weights = train(
                config, rows.data, folder, chosen.shape,
                seed=seed, device=place, until_images=until_images, minutes=minutes, picture_steps=picture_every,
                progress=report.training, provenance=told, start=start, encoder=seen,
                real=rows.real, held_out=others,
            )  # fmt: skip
    if leads:
        _tell_start(folder)
        trained(folder, {"weights": str(weights)}, time.monotonic() - began, json)


def _adapting(start: Path | None) -> Document:
    """Settings that adapt a trained generator to few real patches."""
    from ..generator.vaegan import ADAPTING
    from ..model_files import is_model

    if start is None or is_model(start):
        raise typer.BadParameter(
            "--adapt goes on from a run whose discriminator has learned: give it with --start RUN; a model has none"
        )
    return dict(ADAPTING)


def _tell_start(folder: Path) -> None:
    """Which layers of a training that began with weights of another grid are not as they were there."""
    with contextlib.suppress(OSError, ValueError):
        changed = json_.loads((folder / "start.json").read_text()).get("of_another_grid", {})
        for part, names in changed.items():
            note(f"carried from another grid, {part}: all but {', '.join(names)}")


@contextlib.contextmanager
def _one_voice() -> Iterator[bool]:
    """Whether this process speaks for all that `torchrun` started; an error of all of them is told once."""
    leads = os.environ.get("RANK", "0") == "0"
    try:
        yield leads
    except Exception:
        from ..training.process_group import fail

        fail()
        if not leads:
            time.sleep(20.0)  # by then torchrun has ended this process, if it was the first one's error too
        raise


def train_encoder(
    preset: opt.PresetName = "paper",
    archive: opt.ArchiveOption = None,
    where: opt.Where = None,
    data: opt.Data = None,
    run: opt.Run = None,
    images: opt.Images = None,
    epochs: opt.Epochs = None,
    minutes: opt.Minutes = None,
    until_images: opt.Until = None,
    drawn: Annotated[
        int,
        typer.Option(min=0, help="Train on this many patches generated by --generator as well, as queries will be."),
    ] = 0,
    generator: Annotated[Path | None, typer.Option(help="Run folder of `train generator` that generates them.")] = None,
    start: opt.Start = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    loss: opt.Loss = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Patches of a step, instead of the preset's.")] = None,
    precision: opt.Precision = None,
    learning_rate: opt.Rate = None,
    prediction_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the prediction head, in units of the encoder's.")
    ] = None,
    downsample: Annotated[
        float | None,
        typer.Option(min=1.0, help="Look at means over blocks of this many pixels a side, as 2 or 1.6: faster."),
    ] = None,
    without: opt.Without = None,
    settings: opt.Settings = None,
    self_supervised: Annotated[
        bool, typer.Option("--self-supervised", help="Teach it no parameter, where the preset would.")
    ] = False,
    real_weight: opt.RealWeight = None,
    leave_out_harps: opt.LeaveOutHarps = None,
    stop_on_collapse: Annotated[
        bool, typer.Option("--stop-on-collapse", help="End with an error when all embeddings become the same.")
    ] = False,
    dry_run: opt.Dry = False,
    json: Json = False,
) -> None:
    """Train the self-supervised encoder on the patches of an archive."""
    from ..config import get_preset

    if bool(drawn) != (generator is not None):
        raise typer.BadParameter("--drawn N and --generator RUN go together")
    start = started_from(start)
    changes: Document = {"loss": loss, "batch": batch, "learning_rate": learning_rate}
    changes |= {"precision": precision, "real_weight": real_weight}
    if downsample is not None and downsample.is_integer():
        downsample = int(downsample)  # as presets write it
    changes |= {"prediction_rate": prediction_rate, "downsample": downsample}
    changes["physics"] = {} if self_supervised else None
    chosen = get_preset(preset)
    views, others = opt.apart(settings, "augment.")
    changes |= opt.as_settings(others, chosen.encoder)
    changes["augment"] = _views(chosen.encoder.augment, views, [kind.value for kind in without or []])
    config = _planned(chosen.encoder, images, epochs, changes)
    place = _device(device)
    if precision is None:
        config = fitting_precision(config, "encoder", place, run)
    if dry_run:
        emit(_resolved("encoder", chosen, config, run, archive, data, seed, device, minutes, until_images))
        return
    folder, rows = ready(chosen, archive, where, data, run, as_numbers(leave_out_harps))
    import numpy as np

    from ..encoder.training import train_encoder as train

    provenance: Document = {"preset": chosen.name, **rows.provenance()}
    patches, real = rows.data, rows.real
    if generator is not None:
        patches = with_draws_of(patches, generator, drawn, folder, seed)
        real = np.append(real, np.zeros(drawn, bool))
        provenance |= {"drawn": drawn, "generator": generator.resolve().name}
    began = time.monotonic()
    planned = config.images or config.epochs * len(patches)
    with _resumable("training the encoder", folder) as report:
        done = train(
            config, patches, folder, seed=seed, device=place, until_images=until_images, minutes=minutes,
            stop_on_collapse=stop_on_collapse, provenance=provenance, start=start, real=real,
            progress=lambda entry: report.training({"planned": planned, **entry}),
        )  # fmt: skip
    more = {"images": done.images, "planned": done.planned, "finished": done.finished}
    trained(folder, more, time.monotonic() - began, json)


def _views(augment: AugmentConfig, settings: list[str], without: list[str]) -> AugmentConfig:
    """Augmentations of a preset with what the command line changes."""
    try:
        return dataclasses.replace(augment, **opt.as_settings(settings, augment)).without(*without)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _planned(config: _Config, images: int | None, epochs: int | None, changes: Document) -> _Config:
    """The settings of a preset for one trainer, with what the command line changes (None: nothing)."""
    from ..config import changed

    if images is not None and epochs is not None:
        raise typer.BadParameter("--images and --epochs exclude each other")
    if epochs is not None:
        config = dataclasses.replace(config, epochs=epochs, images=None)
    if images is not None:
        config = dataclasses.replace(config, images=images)
    changes = {key: value for key, value in changes.items() if value is not None}
    try:
        return changed(config, **changes)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _resolved(
    kind: str, preset: Preset, config: GeneratorConfig | EncoderConfig, run: Path | None, archive: str | None,
    data: Path | None, seed: int, device: str, minutes: float | None, until_images: int | None,
) -> Document:  # fmt: skip
    return {
        "kind": kind,
        "preset": preset.name,
        "shape": preset.shape,
        "clip_gauss": preset.clip_gauss,
        "unit_gauss": preset.unit_gauss,
        kind: dataclasses.asdict(config),
        "archive": archive,
        "data": None if data is None else str(data),
        "run": None if run is None else str(run),
        "seed": seed,
        "device": _device(device),
        "minutes": minutes,
        "until_images": until_images,
    }


def _device(name: str, count: int = 1) -> str:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise SolqueryError(f"no device named {name!r}; use auto, cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise SolqueryError(f"device {name!r} cannot be had: torch sees no GPU here; use --device cpu")
    if kind == "cuda" and count > torch.cuda.device_count():
        raise SolqueryError(f"there are {torch.cuda.device_count()} GPUs here, not {count}; lower --devices")
    return name


@contextlib.contextmanager
def _resumable(title: str, folder: Path) -> Iterator[Reporter]:
    """Progress; and when the user stops it, how it goes on."""
    try:
        with Reporter(title) as report:
            yield report
    except KeyboardInterrupt:
        raise SolqueryError(f"stopped; the same command goes on from the last checkpoint in {folder}") from None


def trained(folder: Path, more: Document, seconds: float, json: bool) -> None:
    from ..training.statistics import last_statistics

    document = {"run": str(folder), **more, "stats": last_statistics(folder), "seconds": seconds}
    if json:
        emit(document)
    else:
        shown = ", ".join(f"{key} {value}" for key, value in document["stats"].items())
        typer.echo(f"{folder}: {shown or 'nothing left to do'}")
