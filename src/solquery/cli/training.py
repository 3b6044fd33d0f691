"""Verbs that train: `train generator`, `train encoder`; what follows a training is in `finish`."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json as json_
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aliases import Document
from ..errors import SolqueryError
from .inputs import begun_with, fitting_precision, seen_by, started_from, with_draws_of
from .output import Reporter, emit, note
from .training_data import as_numbers, held_out_patches, provenance_of, ready

if TYPE_CHECKING:
    from torch import nn

    from ..config import EncoderConfig, GeneratorConfig, Preset

__all__ = ["Data", "Json", "PresetName", "Seed", "Where", "last_line", "preset_info", "register", "trained"]


class Invariance(enum.StrEnum):
    """What the two views of a patch may differ in."""

    shift = "shift"
    zoom = "zoom"
    rotation = "rotation"
    flip = "flip"


train_app = typer.Typer(help="Train a generator or an encoder in a run folder; the same command resumes.")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file; those that follow a training join them from `finish`."""
    train_app.command("generator")(train_generator)
    train_app.command("encoder")(train_encoder)
    app.add_typer(train_app, name="train", no_args_is_help=True)


PresetName = Annotated[str, typer.Option(help="Named settings: physical, paper, quick or tiny.")]
ArchiveOption = Annotated[str | None, typer.Option("--archive", help="Archive to train on.")]
Where = Annotated[str | None, typer.Option(help="SQL condition: which patches of the archive.")]
Data = Annotated[Path | None, typer.Option(help="Prepared patches instead: .npy (N, H, W) in preset units.")]
Run = Annotated[Path | None, typer.Option(help="Run folder; one that holds this run is gone on with.")]
Images = Annotated[int | None, typer.Option(min=1, help="Images shown in all, instead of the preset's plan.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of the preset's plan.")]
Minutes = Annotated[float | None, typer.Option(min=0.0, help="Stop this call after so long; the plan stays.")]
Until = Annotated[int | None, typer.Option(min=1, help="Stop this call at so many images; the plan stays.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same run on a CPU.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")]
Devices = Annotated[int, typer.Option(min=1, help="Processes that share every batch, one for each GPU (or CPU core).")]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16, instead of the preset's.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Instead of the preset's.")]
Shared = Annotated[
    bool | None,
    typer.Option("--shared-batch/--own-batches", help="One generated batch for both steps of an iteration: faster."),
]
Loss = Annotated[
    str | None, typer.Option(help="simsiam (the paper's), contrastive, vicreg or barlow; else the preset's.")
]
Without = Annotated[
    list[Invariance] | None,
    typer.Option("--without", help="An invariance to leave out, for matches exact in it; may be repeated."),
]
Start = Annotated[Path | None, typer.Option(help="Model, or run of the same networks: the weights to begin with.")]
WarmupImages = Annotated[
    int | None,
    typer.Option(
        "--discriminator-warmup",
        "--judge-first",
        min=0,
        help="First images, from which the new discriminator beside a model learns alone.",
    ),
]
DecayImages = Annotated[
    int | None,
    typer.Option("--decay-images", "--cool", min=0, help="Last images: the learning rate falls to a tenth (vae-gan)."),
]
Seen = Annotated[
    str | None, typer.Option("--encoder", help="Model, or run of an encoder, that is shown what is drawn (vae-gan).")
]
RealWeight = Annotated[
    float | None,
    typer.Option(min=0.0, max=0.99, help="Share of each batch that is real, where the archive has simulated ones too."),
]
LeaveOutHarps = Annotated[
    list[str] | None,
    typer.Option("--leave-out-harps", help="HARP numbers, as 377,1449, whose real patches the training must not see."),
]
Adapt = Annotated[
    bool,
    typer.Option(
        "--adapt",
        help="Adapt --start RUN to few real patches: half of each batch real, discriminator augmented and its first "
        "layers frozen, small steps (vae-gan).",
    ),
]
LinearLayers = Annotated[
    int | None,
    typer.Option(
        min=1, max=2, help="Linear layers of the paper's discriminator: 2 as in its code, or 1 as in its text."
    ),
]
HeldOut = Annotated[
    str | None,
    typer.Option(help="Archive of other regions: the discriminator is asked about these too after each epoch (bce)."),
]
HeldOutWhere = Annotated[
    str | None, typer.Option(help="SQL condition: which patches of --held-out, or of --archive without it.")
]
PictureEvery = Annotated[int, typer.Option(min=1, help="Steps between pictures of the same 36 latents.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def train_generator(
    preset: PresetName = "paper",
    archive: ArchiveOption = None,
    where: Where = None,
    data: Data = None,
    run: Run = None,
    images: Images = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    until_images: Until = None,
    seed: Seed = 0,
    device: Device = "auto",
    devices: Devices = 1,
    precision: Precision = None,
    learning_rate: Rate = None,
    shared_batch: Shared = None,
    discriminator_linear_layers: LinearLayers = None,
    start: Start = None,
    warmup: WarmupImages = None,
    decay_images: DecayImages = None,
    encoder: Seen = None,
    real_weight: RealWeight = None,
    leave_out_harps: LeaveOutHarps = None,
    adapt: Adapt = False,
    held_out: HeldOut = None,
    held_out_where: HeldOutWhere = None,
    picture_every: PictureEvery = 500,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Train a generator on the patches of an archive."""
    start = started_from(start)
    changes = _adapting(start) if adapt else {}
    given = {"precision": precision, "learning_rate": learning_rate, "shared_batch": shared_batch}
    given |= {"real_weight": real_weight, "discriminator_linear_layers": discriminator_linear_layers}
    changes |= {name: value for name, value in given.items() if value is not None}
    changes |= {"decay_images": decay_images, "embedding_critic": encoder and 1.0, **begun_with(start, warmup)}
    chosen, config = _plan(preset, "generator", images, epochs, changes)
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
        from ..archive.cache import preset_key
        from ..generator.training import train_generator as train

        told = {"preset": chosen.name, "prepared": preset_key(chosen), **provenance_of(rows)}
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
    preset: PresetName = "paper",
    archive: ArchiveOption = None,
    where: Where = None,
    data: Data = None,
    run: Run = None,
    images: Images = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    until_images: Until = None,
    drawn: Annotated[
        int, typer.Option(min=0, help="Train on so many patches drawn from --generator as well: queries will be such.")
    ] = 0,
    generator: Annotated[Path | None, typer.Option(help="Run folder of `train generator` that draws.")] = None,
    start: Start = None,
    seed: Seed = 0,
    device: Device = "auto",
    loss: Loss = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Patches of a step, instead of the preset's.")] = None,
    precision: Precision = None,
    learning_rate: Rate = None,
    without: Without = None,
    self_supervised: Annotated[
        bool, typer.Option("--self-supervised", help="Teach it no parameter, where the preset would.")
    ] = False,
    real_weight: RealWeight = None,
    leave_out_harps: LeaveOutHarps = None,
    stop_on_collapse: Annotated[
        bool, typer.Option("--stop-on-collapse", help="End with an error when all embeddings become the same.")
    ] = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Train the self-supervised encoder on the patches of an archive."""
    if bool(drawn) != (generator is not None):
        raise typer.BadParameter("--drawn N and --generator RUN go together")
    start = started_from(start)
    changes: Document = {"loss": loss, "batch": batch, "learning_rate": learning_rate}
    changes |= {"precision": precision, "real_weight": real_weight}
    changes["physics"] = () if self_supervised else None
    chosen, config = _plan(preset, "encoder", images, epochs, changes)
    place = _device(device)
    config = dataclasses.replace(config, augment=config.augment.without(*(kind.value for kind in without or [])))
    if precision is None:
        config = fitting_precision(config, "encoder", place, run)
    if dry_run:
        emit(_resolved("encoder", chosen, config, run, archive, data, seed, device, minutes, until_images))
        return
    folder, rows = ready(chosen, archive, where, data, run, as_numbers(leave_out_harps))
    import numpy as np

    from ..encoder.training import train_encoder as train

    provenance: Document = {"preset": chosen.name, **provenance_of(rows)}
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


def _plan(
    name: str, kind: str, images: int | None, epochs: int | None, changes: Document | None = None
) -> tuple[Preset, Any]:
    """The preset and its settings for one trainer, with what the command line changes (None: nothing)."""
    from ..config import get_preset

    if images is not None and epochs is not None:
        raise typer.BadParameter("--images and --epochs exclude each other")
    preset = get_preset(name)
    config: GeneratorConfig | EncoderConfig = getattr(preset, kind)
    if epochs is not None:
        config = dataclasses.replace(config, epochs=epochs, images=None)
    if images is not None:
        config = dataclasses.replace(config, images=images)
    changed = {key: value for key, value in (changes or {}).items() if value is not None}
    try:
        return preset, dataclasses.replace(config, **changed)
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


def last_line(folder: Path) -> Document:
    """The last statistics of a run folder; empty where there are none."""
    lines = (folder / "stats.jsonl").read_text().splitlines() if (folder / "stats.jsonl").exists() else []
    return json_.loads(lines[-1]) if lines else {}


def trained(folder: Path, more: Document, seconds: float, json: bool) -> None:
    document = {"run": str(folder), **more, "stats": last_line(folder), "seconds": seconds}
    if json:
        emit(document)
    else:
        shown = ", ".join(f"{key} {value}" for key, value in document["stats"].items())
        typer.echo(f"{folder}: {shown or 'nothing left to do'}")


def preset_info(name: str) -> Document:
    """The settings of a preset and the sizes of its networks."""
    import torch

    from ..config import get_preset
    from ..encoder.networks import Predictor, build_encoder
    from ..generator.registry import build_discriminator, build_generator

    preset = get_preset(name)
    document = dataclasses.asdict(preset)
    with torch.random.fork_rng(devices=[]):
        document["generator"]["parameters"] = _size(build_generator(preset.generator, preset.shape))
        document["discriminator"] = {"parameters": _size(build_discriminator(preset.generator, preset.shape))}
        document["encoder"]["parameters"] = _size(build_encoder(preset.encoder))
        document["predictor"] = {"parameters": _size(Predictor(preset.encoder))}
    return document


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
