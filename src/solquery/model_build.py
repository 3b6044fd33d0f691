"""A model of trained networks: from run folders of a generator and an encoder, with directions fitted to them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .aliases import Document
from .config import PRESETS, EncoderConfig, Preset, preset_of_run, validated
from .errors import SolqueryError
from .model import Model
from .model_files import is_model
from .training.statistics import last_statistics

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model", "run_story"]


def build_model(
    name: str,
    generator: str | Path,
    encoder: str | Path | Model | None = None,
    *,
    preset: str | Preset = "paper",
    latents: int = 10_000,
    seed: int = 0,
    directions: bool = True,
    eight_bits: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Model:
    """Put a trained generator and encoder into a model, with directions fitted to them; `Model.save` keeps it.

    Parameters
    ----------
    name
        Short name of the model.
    generator
        Run folder of `train_generator`.
    encoder
        Run folder of `train_encoder`, or a model (its folder or name) that has one; None for a model that only
        generates.
    preset
        That both were trained with.
    latents, seed
        Of the look-up table that the directions are fitted to.
    directions
        Whether to fit them.
    eight_bits
        Whether to round the weights of the encoder to eight bits, which halves its file.
    progress
        Called with what is done.

    Raises
    ------
    SolqueryError
        When a folder is no run, or a network was trained with another preset.

    Examples
    --------
    ``build_model("mine", "runs/generator", "runs/encoder", preset="tiny").save("models/mine")``
    """
    from .eight_bits import round_weights
    from .generator.inference import load_inference
    from .generator.training import load_run

    generator = Path(generator)
    config, shape, network = load_run(generator)
    base = preset_of_run(preset, shape)
    if tuple(shape) != tuple(base.shape):
        raise SolqueryError(
            f"{generator} makes patches of {shape[0]} x {shape[1]}, preset {base.name!r} has {base.shape[0]} x "
            f"{base.shape[1]}; name the preset it was trained with"
        )
    provenance: Document = {"generator": run_story(generator)}
    trained_as = provenance["generator"].get("provenance", {}).get("preset", base.name)
    if trained_as not in PRESETS or preset_of_run(trained_as, shape) != base:
        raise SolqueryError(f"{generator} was trained with preset {trained_as!r}; build with --preset {trained_as}")
    encoder_config, encoder_network, known = base.encoder, None, None
    if encoder is not None:
        encoder_config, encoder_network, provenance["encoder"], known = _encoder(encoder)
        if eight_bits:
            encoder_network = copy.deepcopy(encoder_network)  # it may be that of another model
            round_weights(encoder_network)
            provenance["encoder"] = {**provenance["encoder"], "weights": "rounded to eight bits"}
    full = dataclasses.replace(base, generator=config, encoder=encoder_config)
    inference = load_inference(generator, config, (shape[0], shape[1]))
    model = Model(name, full, network, encoder_network, None, {"provenance": provenance}, inference)
    model._encoder_hash = known
    if directions:
        from .steering.directions import fit_directions, sample_latents

        progress(f"fitting directions to {latents:,} patches")
        model.directions = fit_directions(sample_latents(network, full, latents, seed), seed=seed)
        rows = zip(model.directions.names, model.directions.accuracies, strict=True)
        model.metadata["metrics"] = {"direction_accuracy": {name: float(a) for name, a in rows}}
    return model


def _encoder(
    source: str | Path | Model,
) -> tuple[EncoderConfig, nn.Module, Document, tuple[str, list[tuple[int, int]]] | None]:
    """Settings and encoder of a run or a model, where it comes from, and the hash that a model has of it."""
    from .encoder.training import load_encoder

    if isinstance(source, Model) or str(source) in Model.list() or is_model(Path(source)):
        other = source if isinstance(source, Model) else Model.load(source)
        if other.encoder is None:
            raise SolqueryError(f"model {other.name} has no encoder; name a run of `train encoder`")
        story = other.metadata["provenance"].get("encoder", {})
        return other.preset.encoder, other.encoder, story, other._encoder_hash
    folder = Path(source)
    story = run_story(folder)
    config = validated(EncoderConfig, json.loads((folder / "config.json").read_text())["encoder"])
    return config, load_encoder(folder), story, None


def run_story(run: Path) -> Document:
    """What a run folder tells about itself: settings, what it began with, and its last statistics."""
    try:
        resolved = json.loads((run / "config.json").read_text())
    except (OSError, ValueError):
        raise SolqueryError(
            f"{run} is no run folder: its config.json cannot be read; name the --run of a training"
        ) from None
    more = {key: resolved[key] for key in ("seed", "patches", "data", "provenance") if key in resolved}
    with contextlib.suppress(OSError, ValueError):
        more["start"] = json.loads((run / "start.json").read_text())
    return {"run": run.resolve().name, **more, "last": last_statistics(run)}
