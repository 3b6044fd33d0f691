"""The networks and the directions of a model, made from its files; see `solquery.Model.load`."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .aliases import Document
from .config import Preset
from .io import first_line
from .lazy import deferred
from .model_files import (
    MANIFEST,
    ModelError,
    ModelWarning,
    fill,
    is_model,
    read_files,
    read_manifest,
    state_hash,
    stored_state,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .protocols import Model
    from .steering.directions import Directions
    from .steering.rejection import RejectionSampler
else:
    torch = deferred("torch")

__all__ = [
    "NAME", "SHIPPED", "built", "encoder_record", "find_model", "in_use", "load_directions", "load_encoder",
    "load_sampler", "plugged", "shipped_models", "store_sampler",
]  # fmt: skip

SHIPPED = Path(__file__).parent / "models"
#: what the name of a model is made of
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def shipped_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{MANIFEST}"))


def find_model(where: str | Path | None, default: str) -> Path:
    """Folder of a model, by its path or the name of one that ships; None for that named `default`."""
    if where is None or (isinstance(where, str) and where in shipped_models()):
        folder = SHIPPED / (default if where is None else where)
    else:
        folder = Path(where)
    if folder.is_dir():
        return folder
    shipped = ", ".join(shipped_models()) or "none in this installation"
    raise ModelError(f"no model at {folder}; name a folder, or one that ships with the package: {shipped}")


def plugged(encoder: object) -> bool:
    """Whether an encoder is the user's own."""
    from .encoder.plugged import PluggedEncoder

    return isinstance(encoder, PluggedEncoder)


def in_use(encoder: nn.Module) -> nn.Module:
    """In evaluation mode; one of this package in the layout that makes it quick, one of the user's as it is."""
    encoder.eval()
    return encoder if plugged(encoder) else encoder.to(memory_format=torch.channels_last)


def _name_to_store(model: str, encoder: nn.Module, encoder_from: str | None) -> str:
    """Name by which a loaded model finds its encoder in a plug-in again."""
    if not encoder.registered:
        raise ModelError(
            f"model {model!r} embeds with {encoder.name!r}, which no name finds again; register it "
            "(solquery.register_encoder) and take it by that name"
        )
    if encoder_from is not None:
        raise ModelError(f"the encoder of {model!r} is a plug-in's and in no other model; save without encoder_from")
    return str(encoder.name)


def _load_registered(folder: Path, record: Document, preset: Preset) -> nn.Module:
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


def _sibling(folder: Path, name: str) -> Path:
    """Folder of the model `name` that lies beside `folder`, or that ships with the package."""
    if isinstance(name, str) and NAME.fullmatch(name):
        for place in (folder.parent / name, SHIPPED / name):
            if is_model(place) and place.absolute() != folder.absolute():
                return place
    raise ModelError(f"{folder} shares the encoder of model {name!r}, which is neither beside it nor shipped; add it")


def built(build: Callable[..., nn.Module], *arguments: object, where: Path) -> nn.Module:
    """A network that gets its weights afterwards; the global random state stays as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            return build(*arguments)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{where}: its network cannot be built: {first_line(error)}") from None


def encoder_record(model: Model, folder: Path, encoder_from: str | None) -> Document | None:
    """What the document of a model in `folder` says of the encoder, and where it is, if in no file of its own."""
    if model.encoder is None:
        if encoder_from is not None:
            raise ModelError(f"model {model.name!r} has no encoder that could come from {encoder_from!r}")
        return None
    record = {"config": dataclasses.asdict(model.preset.encoder), "weights": model.encoder_hash}
    if plugged(model.encoder):
        return {**record, "registered": _name_to_store(model.name, model.encoder, encoder_from)}
    _check_settings(model)
    if encoder_from is None:
        return record
    other = _sibling(folder, encoder_from)
    theirs = read_manifest(other).get("encoder") or {}
    if theirs.get("weights") != model.encoder_hash or {"from", "registered"} & set(theirs):
        raise ModelError(f"{other} does not hold the encoder of {model.name!r}; save without encoder_from")
    return {**record, "from": encoder_from}


def _check_settings(model: Model) -> None:
    """Refuse an encoder that would be built otherwise when it is loaded: its weights do not show these settings."""
    settings = model.preset.encoder
    for name in ("downsample", "bands"):
        own = getattr(model.encoder, name, None)
        if own is not None and own != getattr(settings, name):
            raise ModelError(
                f"the encoder of model {model.name!r} was built with {name}={own}, its preset says "
                f"{getattr(settings, name)}, and it would be loaded with that: make the model with a preset that has "
                "the encoder's settings, dataclasses.replace(preset, encoder=settings)"
            )


def load_encoder(folder: Path, record: Document | None, preset: Preset, files: dict[str, bytes]) -> nn.Module | None:
    if not record:
        return None
    if "registered" in record:
        return _load_registered(folder, record, preset)
    data, source = files.get("encoder.safetensors"), folder
    if "from" in record:
        source = _sibling(folder, record["from"])
        theirs = read_manifest(source)
        if (theirs.get("encoder") or {}).get("weights") != record.get("weights"):
            raise ModelError(f"{folder} needs another encoder than the one {source} holds; restore or train both again")
        data = read_files(source, theirs).get("encoder.safetensors")

    from .encoder.networks import build_encoder

    encoder = built(build_encoder, preset.encoder, where=folder)
    fill(encoder, data, source / "encoder.safetensors")
    return encoder


def load_directions(
    folder: Path, record: Document | None, files: dict[str, bytes], latent_dim: int, physical: bool
) -> Directions | None:
    if not record:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpack

    from .steering.directions import Directions

    path = folder / "directions.safetensors"
    try:
        arrays: dict[str, np.ndarray] = unpack(files[path.name])
        directions = Directions.from_tensors(record["names"], arrays, physical)
    except (KeyError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path} does not hold directions: {first_line(error)}; fit them again") from None
    if directions.latent_dim != latent_dim:
        raise ModelError(
            f"{path} has {directions.latent_dim} latent numbers, the generator {latent_dim}; fit them again"
        )
    return directions


def store_sampler(model: Model, sampler: RejectionSampler | None, contents: dict[str, bytes]) -> Document:
    """What a model's document says of its sampler, whose weights join the files `contents`; nothing without one.

    A sampler reads embeddings of the encoder that it was fitted with: a model with another one leaves it out.
    """
    from safetensors.torch import save as pack

    if sampler is None:
        return {}
    if model.encoder is None or sampler.record.get("encoder") != model.encoder_hash:
        warnings.warn(
            f"model {model.name!r} is saved without its sampler, which reads embeddings of another encoder; the saved "
            "model takes every draw until `solquery model sampler` fits it one",
            ModelWarning,
            stacklevel=3,
        )
        return {}
    contents["sampler.safetensors"] = pack(stored_state(sampler))
    return {
        "sampler": {
            **sampler.record,
            "features": len(sampler.centre),
            "hidden": len(sampler.network[0].weight),
            "weights": state_hash(sampler),
        }
    }


def load_sampler(
    folder: Path, record: Document | None, files: dict[str, bytes], encoder: nn.Module | None
) -> RejectionSampler | None:
    if not record:
        return None
    from .steering.rejection import HIDDEN, RejectionSampler

    features, hidden = record.get("features"), record.get("hidden", HIDDEN)
    if not (isinstance(features, int) and isinstance(hidden, int) and features > 0 and hidden > 0):
        raise ModelError(f"{folder} does not say how many features its sampler reads; fit it again")
    sampler = built(RejectionSampler, features, encoder, hidden, where=folder)
    fill(sampler, files.get("sampler.safetensors"), folder / "sampler.safetensors")
    sampler.record = {key: value for key, value in record.items() if key not in ("features", "hidden", "weights")}
    return sampler
