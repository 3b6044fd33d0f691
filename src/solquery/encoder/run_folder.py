"""The folder of an encoder's run: settings, statistics, checkpoint; each file appears by write-then-rename."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..aliases import Document
from ..config import AugmentConfig, EncoderConfig, with_current_names
from ..errors import SolqueryError
from ..io import replacing, write_atomically
from ..protocols import Patches
from .networks import Encoder, build_encoder

__all__ = [
    "EncoderRunError",
    "export_encoder",
    "fingerprint",
    "load_encoder",
    "open_run",
    "read_checkpoint",
    "save_checkpoint",
    "trim_stats",
    "write_file",
]


class EncoderRunError(SolqueryError, ValueError):
    """A run folder that cannot be used as asked."""


def write_file(path: Path, content: bytes) -> None:
    write_atomically(path, content, sync=True)


def fingerprint(data: Patches) -> str:
    """Of shape and 16 patches spread over the data: enough to notice that a run goes on with other data."""
    digest = hashlib.sha256(repr(tuple(data.shape)).encode())
    for i in np.linspace(0, len(data) - 1, 16).astype(int):
        digest.update(np.asarray(data[i], dtype=np.float16).tobytes())
    return digest.hexdigest()[:16]


def open_run(run: Path, settings: Document) -> None:
    """Make the run folder, or check that the one there is of the same settings."""
    for folder in ("checkpoints", "samples"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    path = run / "config.json"
    if not path.exists():
        write_file(path, (json.dumps(settings, indent=2) + "\n").encode())
        return
    there = read_config(run)
    # a setting added since that run began has its default there
    defaults = json.loads(json.dumps(dataclasses.asdict(EncoderConfig())))
    encoder = with_current_names(there.get("encoder", {}))
    views = defaults["augment"] | encoder.get("augment", {})
    there["encoder"] = defaults | encoder | {"augment": views}
    settings = json.loads(json.dumps(settings))
    different = sorted(key for key in {*there, *settings} if there.get(key) != settings.get(key))
    if different:
        raise EncoderRunError(
            f"{run} holds a run with another {', '.join(different)}; repeat its settings (config.json), "
            "or take a new folder"
        )


def read_config(run: Path) -> Document:
    try:
        return json.loads((run / "config.json").read_text())
    except FileNotFoundError:
        raise EncoderRunError(f"{run} is no run folder: it has no config.json") from None
    except json.JSONDecodeError as error:
        raise EncoderRunError(f"{run / 'config.json'} is damaged ({error}); start again in a new folder") from None


def read_checkpoint(run: Path) -> Document | None:
    path = run / "checkpoints" / "last.pt"
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise EncoderRunError(f"{path} cannot be read ({type(error).__name__}); remove it to start again") from error


def save_checkpoint(run: Path, state: Document) -> None:
    """Write ``checkpoints/last.pt``; until it is whole, the one before stays."""
    with replacing(run / "checkpoints" / "last.pt", sync=True) as part:
        torch.save(state, part)


def trim_stats(path: Path, images: int) -> dict[str, float]:
    """Drop the lines written after the checkpoint that the run goes on from; the last one kept."""
    if not path.exists():
        return {}
    kept: list[str] = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # a line cut short by a kill
            if json.loads(line)["images"] <= images:
                kept.append(line)
    write_file(path, "".join(line + "\n" for line in kept).encode())
    return json.loads(kept[-1]) if kept else {}


def _config(run: Path) -> EncoderConfig:
    values = with_current_names(read_config(run)["encoder"])
    views = dict(values.pop("augment"))
    values["physics"] = tuple(values.get("physics", ()))
    return EncoderConfig(**values, augment=AugmentConfig(**(views | {"zoom": tuple(views["zoom"])})))


def export_encoder(run: str | Path) -> dict[str, Tensor]:
    """The state dict of the encoder at the last checkpoint of `run`, float32 on the CPU, without training state.

    Raises
    ------
    EncoderRunError
        When `run` is no run folder, or has no checkpoint yet.
    """
    run = Path(run)
    read_config(run)
    checkpoint = read_checkpoint(run)
    if checkpoint is None:
        raise EncoderRunError(f"{run} has no checkpoint yet; let `train encoder` run for some minutes")
    return {name: value.detach().contiguous() for name, value in checkpoint["encoder"].items()}


def load_encoder(run: str | Path) -> Encoder:
    """The encoder of `run` as of its last checkpoint, in evaluation mode."""
    encoder = build_encoder(_config(Path(run)))
    encoder.load_state_dict(export_encoder(run))
    return encoder.eval()
