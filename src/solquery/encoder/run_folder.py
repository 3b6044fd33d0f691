"""The run folder of an encoder: its settings, and its weights at the last checkpoint."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor

from ..aliases import Document
from ..config import AugmentConfig, EncoderConfig, with_current_names
from ..model_files import fill, is_model, read_files, read_manifest
from ..protocols import Patches
from ..training.run_folder import RunFolder, TrainingError, fingerprint
from .networks import Encoder, build_encoder

__all__ = [
    "EncoderRun",
    "EncoderRunError",
    "export_encoder",
    "load_encoder",
    "read_checkpoint",
    "read_encoder_settings",
]


class EncoderRunError(TrainingError, ValueError):
    """A run folder that cannot be used as asked."""


class EncoderRun(RunFolder):
    """The run of an encoder with its settings, on patches (N, H, W)."""

    error = EncoderRunError

    def __init__(
        self, run: str | Path, config: EncoderConfig, seed: int, data: Patches, provenance: Document | None = None
    ) -> None:
        self.fills_a_batch(data, config.batch)
        settings = {
            "kind": "encoder",
            "encoder": dataclasses.asdict(config),
            "seed": seed,
            "data": {"shape": list(data.shape), "fingerprint": fingerprint(data)},
            "provenance": provenance or {},
        }
        super().__init__(run, settings, batch=config.batch, learning_rate=config.learning_rate)

    def brought_up(self, there: Document) -> Document:
        defaults = json.loads(json.dumps(dataclasses.asdict(EncoderConfig())))
        encoder = with_current_names(there["encoder"])
        views = defaults["augment"] | encoder.get("augment", {})
        return there | {"encoder": defaults | encoder | {"augment": views}}


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


def read_encoder_settings(run: str | Path) -> EncoderConfig:
    """Settings of a run folder, those from before a setting existed or was renamed included."""
    return _as_settings(read_config(Path(run))["encoder"])


def _as_settings(stored: Document) -> EncoderConfig:
    values = with_current_names(stored)
    views = dict(values.pop("augment"))
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
    """The encoder of a run folder as of its last checkpoint, or of a model's folder, in evaluation mode.

    A model whose encoder is a plug-in's, or another model's, is for `solquery.Model.load`.
    """
    run = Path(run)
    if is_model(run):
        return _of_model(run)
    encoder = build_encoder(read_encoder_settings(run))
    encoder.load_state_dict(export_encoder(run))
    return encoder.eval()


def _of_model(folder: Path) -> Encoder:
    document = read_manifest(folder)
    record = document.get("encoder") or {}
    if "config" not in record or "from" in record or "registered" in record:
        raise EncoderRunError(f"{folder} holds no encoder of its own; name another model, or a run of `train encoder`")
    encoder = build_encoder(_as_settings(record["config"]))
    path = folder / "encoder.safetensors"
    fill(encoder, read_files(folder, document).get(path.name), path)
    return encoder.eval()
