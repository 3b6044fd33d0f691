"""The group `model`: `model build` puts trained networks together, `model native` compares with the observations."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SolqueryError
from . import native_scale
from .output import Reporter, emit, table
from .training import PresetName, Seed, last_line

if TYPE_CHECKING:
    from torch import nn

    from ..config import EncoderConfig
    from ..model import Model

__all__ = ["register"]

model_app = typer.Typer(help="Models: a trained generator and encoder with directions.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    model_app.command("build")(build)
    native_scale.register(model_app)
    app.add_typer(model_app, name="model", no_args_is_help=True)
    app.add_typer(model_app, name="bundle", hidden=True, no_args_is_help=True)


def build(
    name: Annotated[str, typer.Option(help="Short name of the model.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must be new, empty or a model.")],
    generator: Annotated[Path, typer.Option(help="Run folder of `train generator`.")],
    encoder: Annotated[str | None, typer.Option(help="Run folder of `train encoder`, or a model that has one.")] = None,
    preset: PresetName = "paper",
    n: Annotated[int, typer.Option("-n", min=100, help="Latents for the directions.")] = 10_000,
    seed: Seed = 0,
    directions: Annotated[bool, typer.Option(help="Fit directions as well.")] = True,
    json: Json = False,
) -> None:
    """Put a trained generator and encoder, with directions fitted to them, into a model."""
    from ..config import get_preset
    from ..generator.inference import load_inference
    from ..generator.training import load_run
    from ..model import Model
    from ..steering.directions import fit_directions, sample_latents

    base = get_preset(preset)
    config, shape, network = load_run(generator)
    if tuple(shape) != tuple(base.shape):
        raise SolqueryError(
            f"{generator} makes patches of {shape[0]} x {shape[1]}, preset {base.name!r} has {base.shape[0]} x "
            f"{base.shape[1]}; name the preset it was trained with"
        )
    provenance: dict[str, Any] = {"generator": _story(generator)}
    trained_as = provenance["generator"].get("provenance", {}).get("preset", base.name)
    if trained_as != base.name:
        raise SolqueryError(f"{generator} was trained with preset {trained_as!r}; build with --preset {trained_as}")
    encoder_config, encoder_network, shared = base.encoder, None, None
    if encoder is not None:
        encoder_config, encoder_network, shared, provenance["encoder"] = _encoder(encoder, out)
    full = dataclasses.replace(base, generator=config, encoder=encoder_config)
    inference = load_inference(generator, config, (shape[0], shape[1]))
    model = Model(name, full, network, encoder_network, None, {"provenance": provenance}, inference)
    if directions:
        with Reporter("fitting directions") as report:
            report(f"{n:,} patches")
            model.directions = fit_directions(sample_latents(network, full, n, seed), seed=seed)
        rows = zip(model.directions.names, model.directions.accuracies, strict=True)
        model.metadata["metrics"] = {"direction_accuracy": {name: float(a) for name, a in rows}}
    model.save(out, encoder_from=shared)
    _built(model, out, shared, json)


def _built(model: Model, out: Path, shared: str | None, json: bool) -> None:
    accuracy = model.metadata["metrics"].get("direction_accuracy", {})
    document: dict[str, Any] = {
        "model": str(out),
        "name": model.name,
        "preset": model.preset.name,
        "hash": model.hash,
        "encoder": None if model.encoder is None else {"hash": model.encoder_hash, "from": shared},
        "directions": {
            name: {"accuracy": value, "dropped": 0 if model.directions is None else int(model.directions.dropped[k])}
            for k, (name, value) in enumerate(accuracy.items())
        },
        "bytes": sum(file.stat().st_size for file in out.iterdir()),
    }
    if json:
        emit(document)
    else:
        rows = [(k, f"{v['accuracy']:.3f}", f"{v['dropped']:,}") for k, v in document["directions"].items()]
        table(["direction", "accuracy", "patches left out"], rows)
        typer.echo(f"{out}: model {model.name!r}, {document['bytes'] / 1e6:.1f} MB")


def _story(run: Path) -> dict[str, Any]:
    """What a run folder tells about itself: settings and last statistics."""
    try:
        resolved = json_.loads((run / "config.json").read_text())
    except (OSError, ValueError):
        raise SolqueryError(
            f"{run} is no run folder: its config.json cannot be read; name the --run of a training"
        ) from None
    more = {key: resolved[key] for key in ("seed", "patches", "data", "provenance") if key in resolved}
    with contextlib.suppress(OSError, ValueError):
        more["start"] = json_.loads((run / "start.json").read_text())
    return {"run": run.resolve().name, **more, "last": last_line(run)}


def _encoder(source: str, out: Path) -> tuple[EncoderConfig, nn.Module, str | None, dict[str, Any]]:
    """Settings and encoder of a run or a model; the model's name if its file can be shared; where it comes from."""
    from ..config import EncoderConfig, validated
    from ..encoder.training import load_encoder
    from ..model import Model
    from ..model_files import is_model

    folder = Path(source)
    if source in Model.list() or is_model(folder):
        other = Model.load(source)
        if other.encoder is None:
            raise SolqueryError(f"model {source} has no encoder; name a run of `train encoder`")
        beside = folder.parent.resolve() == out.parent.resolve() or source in Model.list()
        shared = folder.name if beside and _owns_encoder(source) else None
        return other.preset.encoder, other.encoder, shared, other.metadata["provenance"].get("encoder", {})
    story = _story(folder)
    config = validated(EncoderConfig, json_.loads((folder / "config.json").read_text())["encoder"])
    return config, load_encoder(folder), None, story


def _owns_encoder(source: str) -> bool:
    """Whether the weights lie in this model itself; of a model that borrows them nothing can be borrowed."""
    folder = Path(source)
    return not folder.is_dir() or (folder / "encoder.safetensors").exists()
