"""Verbs that train: `train generator`, `train encoder`; what follows a training is in `finish`."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json as json_
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SolqueryError
from .inputs import begun_with, fitting_precision, read_npy, seen_by, started_from, with_draws_of
from .output import Reporter, emit, note

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from ..archive.store import Archive
    from ..config import EncoderConfig, GeneratorConfig, Preset

__all__ = ["Data", "Json", "PresetName", "Seed", "Where", "last_line", "preset_info", "ready", "register", "trained"]

#: regions below which training is refused, and below which it is doubtful
FEWEST_REGIONS, ENOUGH_REGIONS = 2, 50


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
    held_out: HeldOut = None,
    held_out_where: HeldOutWhere = None,
    picture_every: PictureEvery = 500,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Train a generator on the patches of an archive."""
    changes = {"precision": precision, "learning_rate": learning_rate, "shared_batch": shared_batch}
    changes["discriminator_linear_layers"] = discriminator_linear_layers
    start = started_from(start)
    changes |= {"decay_images": decay_images, "embedding_critic": encoder and 1.0, **begun_with(start, warmup)}
    chosen, config = _plan(preset, "generator", images, epochs, changes)
    place = _device(device, devices)
    if precision is None:
        config = fitting_precision(config, "generator", place, run)
    if dry_run:
        emit(_resolved("generator", chosen, config, run, archive, data, seed, device, minutes, until_images))
        return
    with _one_voice() as leads:
        folder, patches = ready(chosen, archive, where, data, run)
        if devices > 1 and "WORLD_SIZE" not in os.environ:
            from ..training.process_group import launch

            raise typer.Exit(launch(devices, sys.argv[1:]))
        from ..archive.cache import preset_key
        from ..generator.training import train_generator as train

        told = {"preset": chosen.name, "prepared": preset_key(chosen)}
        seen = seen_by(encoder, chosen, told)
        others = _held_out(chosen, archive, held_out, held_out_where)
        began = time.monotonic()
        with _resumable("training the generator", folder) as report:
            weights = train(
                config, patches, folder, chosen.shape,
                seed=seed, device=place, until_images=until_images, minutes=minutes, picture_steps=picture_every,
                progress=report.training, provenance=told, start=start, encoder=seen,
                held_out=others,
            )  # fmt: skip
    if leads:
        trained(folder, {"weights": str(weights)}, time.monotonic() - began, json)


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
    changes = {"loss": loss, "batch": batch, "precision": precision, "learning_rate": learning_rate}
    chosen, config = _plan(preset, "encoder", images, epochs, changes)
    place = _device(device)
    config = dataclasses.replace(config, augment=config.augment.without(*(kind.value for kind in without or [])))
    if precision is None:
        config = fitting_precision(config, "encoder", place, run)
    if dry_run:
        emit(_resolved("encoder", chosen, config, run, archive, data, seed, device, minutes, until_images))
        return
    folder, patches = ready(chosen, archive, where, data, run)
    from ..encoder.training import train_encoder as train

    provenance: dict[str, Any] = {"preset": chosen.name}
    if generator is not None:
        patches = with_draws_of(patches, generator, drawn, folder, seed)
        provenance |= {"drawn": drawn, "generator": generator.resolve().name}
    began = time.monotonic()
    planned = config.images or config.epochs * len(patches)
    with _resumable("training the encoder", folder) as report:
        done = train(
            config, patches, folder, seed=seed, device=place, until_images=until_images, minutes=minutes,
            stop_on_collapse=stop_on_collapse, provenance=provenance, start=start,
            progress=lambda entry: report.training({"planned": planned, **entry}),
        )  # fmt: skip
    more = {"images": done.images, "planned": done.planned, "finished": done.finished}
    trained(folder, more, time.monotonic() - began, json)


def _plan(
    name: str, kind: str, images: int | None, epochs: int | None, changes: dict[str, Any] | None = None
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
    kind: str, preset: Preset, config: Any, run: Any, archive: Any, data: Any, seed: int, device: str,
    minutes: float | None, until_images: int | None,
) -> dict[str, Any]:  # fmt: skip
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


def ready(
    preset: Preset, archive: str | None, where: str | None, data: Path | None, run: Path | None
) -> tuple[Path, np.ndarray]:
    """Run folder and patches (N, H, W) in preset units."""
    if run is None:
        raise typer.BadParameter("give a run folder with --run DIR")
    if (archive is None) == (data is None):
        raise typer.BadParameter("give the patches with either --archive DIR or --data FILE.npy")
    if data is not None:
        if where is not None:
            raise typer.BadParameter("--where goes with --archive")
        array = read_npy(data, mmap=True)
        if array.ndim != 3 or tuple(array.shape[1:]) != tuple(preset.shape):
            raise SolqueryError(
                f"{data} has shape {array.shape}, preset {preset.name!r} wants (N, {preset.shape[0]}, "
                f"{preset.shape[1]}); prepare the patches with this preset"
            )
        if len(array) and not abs(array[:64]).max() <= 1.001 * preset.limit:
            raise SolqueryError(
                f"{data} is not in preset units, which end at {preset.limit:g}; prepare the patches with this preset"
            )
        _check_prepared(data, preset)
        return run, array
    from ..archive.store import Archive

    assert archive is not None  # one of the two was given
    store = Archive.open(archive)
    _check_regions(store, where)
    note(f"preparing the patches of {store.uri}")
    if where is None and store.path is not None:
        return run, store.prepared_memmap(preset)[1]
    return run, store.prepared(preset, where)[1]


def _held_out(preset: Preset, archive: str | None, held_out: str | None, where: str | None) -> np.ndarray | None:
    """Patches (N, H, W) in preset units that the training does not see, a few for each of many regions."""
    held_out = held_out or (archive if where is not None else None)
    if held_out is None:
        if where is not None:
            raise typer.BadParameter("--held-out-where goes with --held-out or --archive")
        return None
    from ..archive.store import Archive
    from ..generator.epoch_choice import ACCURACY_PATCHES
    from ..training.run_folder import batch_order

    store = Archive.open(held_out)
    ids = sorted(store.table(["id"], where)["id"].to_pylist())
    if not ids:
        raise SolqueryError(f"no patch of {store.uri} is held out; take another archive or condition")
    return store.prepared(preset, ids=[ids[k] for k in batch_order(0, 0, len(ids))[:ACCURACY_PATCHES]])[1]


def _check_prepared(data: Path, preset: Preset) -> None:
    """A file that an archive has prepared carries its preset in its name."""
    from ..archive.cache import is_prepared_file, preset_key

    if is_prepared_file(data) and not data.name.startswith(f"{preset_key(preset)}-"):
        raise SolqueryError(
            f"{data} was prepared with another preset, or another definition of {preset.name!r}; name that one with "
            "--preset, or give the archive with --archive"
        )


def _check_regions(store: Archive, where: str | None) -> None:
    """Frames of one region are near copies of each other: what counts is the number of regions."""
    regions = len(set(store.table(["region"], where)["region"].to_pylist()))
    if regions < FEWEST_REGIONS:
        raise SolqueryError(
            f"{store.uri} has patches of {regions} region{'s' * (regions != 1)} to train on, of which a generator can "
            f"only learn copies; add regions, or a `where` that keeps {FEWEST_REGIONS} or more"
        )
    if regions < ENOUGH_REGIONS:
        warnings.warn(
            f"{store.uri} has patches of {regions} regions to train on: with fewer than {ENOUGH_REGIONS} a generator "
            "is likely to learn them by heart; `solquery quality --train` tells",
            stacklevel=2,
        )


@contextlib.contextmanager
def _resumable(title: str, folder: Path) -> Iterator[Reporter]:
    """Progress; and when the user stops it, how it goes on."""
    try:
        with Reporter(title) as report:
            yield report
    except KeyboardInterrupt:
        raise SolqueryError(f"stopped; the same command goes on from the last checkpoint in {folder}") from None


def last_line(folder: Path) -> dict[str, Any]:
    """The last statistics of a run folder; empty where there are none."""
    lines = (folder / "stats.jsonl").read_text().splitlines() if (folder / "stats.jsonl").exists() else []
    return json_.loads(lines[-1]) if lines else {}


def trained(folder: Path, more: dict[str, Any], seconds: float, json: bool) -> None:
    document = {"run": str(folder), **more, "stats": last_line(folder), "seconds": seconds}
    if json:
        emit(document)
    else:
        shown = ", ".join(f"{key} {value}" for key, value in document["stats"].items())
        typer.echo(f"{folder}: {shown or 'nothing left to do'}")


def preset_info(name: str) -> dict[str, Any]:
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
