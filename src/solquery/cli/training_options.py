"""Options of the verbs that train."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..aliases import Document


class Invariance(enum.StrEnum):
    """What the two views of a patch may differ in."""

    shift = "shift"
    zoom = "zoom"
    rotation = "rotation"
    flip = "flip"


PresetName = Annotated[str, typer.Option(help="Named settings: physical, paper, quick or tiny.")]
ArchiveOption = Annotated[str | None, typer.Option("--archive", help="Archive to train on.")]
Where = Annotated[str | None, typer.Option(help="SQL condition that selects patches of the archive.")]
Data = Annotated[Path | None, typer.Option(help="Prepared patches instead: .npy (N, H, W) in preset units.")]
Run = Annotated[Path | None, typer.Option(help="Run folder; a run that it already holds is resumed.")]
Images = Annotated[int | None, typer.Option(min=1, help="Images shown in all, instead of the preset's plan.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of the preset's plan.")]
Minutes = Annotated[
    float | None, typer.Option(min=0.0, help="Stop this call after this many minutes; the same command resumes.")
]
Until = Annotated[
    int | None, typer.Option(min=1, help="Stop this call at this number of images; the same command resumes.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same run on a CPU.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")]
Devices = Annotated[int, typer.Option(min=1, help="Processes that share every batch, one for each GPU (or CPU core).")]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16, instead of the preset's.")]
Beta1 = Annotated[float | None, typer.Option("--beta1", help="Decay of Adam's first moment, instead of the preset's.")]
Epsilon = Annotated[
    float | None,
    typer.Option("--epsilon", help="Epsilon of Adam, instead of the preset's."),
]
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
    str | None,
    typer.Option(
        "--encoder", help="Model, or run of an encoder, whose embeddings of generated images are matched (vae-gan)."
    ),
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
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting that --dry-run prints, as r1=0.1 or augment.plain_share=0.5; may be repeated.",
    ),
]
HeldOut = Annotated[
    str | None,
    typer.Option(help="Archive of other regions: the discriminator is asked about these too after each epoch (bce)."),
]
HeldOutWhere = Annotated[
    str | None, typer.Option(help="SQL condition that selects patches of --held-out, or of --archive without it.")
]
PictureEvery = Annotated[int, typer.Option(min=1, help="Steps between pictures of the same 36 latents.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")]


def apart(given: list[str] | None, prefix: str) -> tuple[list[str], list[str]]:
    """Settings whose name begins with `prefix`, without it, and the others."""
    within = [text.strip().removeprefix(prefix) for text in given or [] if text.strip().startswith(prefix)]
    return within, [text for text in given or [] if not text.strip().startswith(prefix)]


def as_settings(given: list[str] | None, config: object) -> Document:
    """Settings given as NAME=VALUE, each of the type that `config` has there.

    Numbers, ``true``, ``false`` and lists are written as in JSON; what is none of them is text.
    """
    out: Document = {}
    for text in given or []:
        name, sign, written = (part.strip() for part in text.partition("="))
        if not sign or not hasattr(config, name):
            raise typer.BadParameter(f"--set {text}: give NAME=VALUE with a NAME that --dry-run prints")
        value: Any
        try:
            value = json.loads(written)
        except ValueError:
            value = written
        now = getattr(config, name)
        if isinstance(value, list):
            value = tuple(value)
        kinds = (int, float) if isinstance(now, float) else (type(now), int) if now is None else (type(now),)
        if type(value) not in kinds:
            raise typer.BadParameter(f"--set {name}: {written!r} is no {kinds[0].__name__}, as {now!r} is")
        out[name] = float(value) if isinstance(now, float) else value
    return out
