"""The encoder of a model that is the user's own: how it is used, stored by its name, and found again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .aliases import Document
from .lazy import deferred
from .model_files import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .config import Preset
else:
    torch = deferred("torch")

__all__ = ["in_use", "load_registered", "name_to_store", "plugged"]


def plugged(encoder: object) -> bool:
    """Whether an encoder is the user's own."""
    from .encoder.plugged import PluggedEncoder

    return isinstance(encoder, PluggedEncoder)


def in_use(encoder: nn.Module) -> nn.Module:
    """In evaluation mode; one of this package in the layout that makes it quick, one of the user's as it is."""
    encoder.eval()
    return encoder if plugged(encoder) else encoder.to(memory_format=torch.channels_last)


def name_to_store(model: str, encoder: nn.Module, encoder_from: str | None) -> str:
    """Name by which a loaded model finds its encoder in a plug-in again."""
    if not encoder.registered:
        raise ModelError(
            f"model {model!r} embeds with {encoder.name!r}, which no name finds again; register it "
            "(solquery.register_encoder) and take it by that name"
        )
    if encoder_from is not None:
        raise ModelError(f"the encoder of {model!r} is a plug-in's and in no other model; save without encoder_from")
    return str(encoder.name)


def load_registered(folder: Path, record: Document, preset: Preset) -> nn.Module:
    """The encoder that a model names; ModelError where no plug-in registers it, or another one by its name."""
    from .encoder.plugged import EncoderError
    from .encoder.registry import registered_encoder

    name = record["registered"]
    try:
        encoder = registered_encoder(name, preset)
    except EncoderError as error:
        raise ModelError(f"{folder} embeds with a plug-in: {error}") from None
    if encoder.identity() != record.get("weights"):
        raise ModelError(
            f"{folder} was saved with another encoder {name!r} than the one registered now (its code or weights "
            "changed); restore the plug-in, or save the model again with `with_encoder`"
        )
    return encoder
