"""The group `model`: `build` puts trained networks together, `native` and `sampler` compare with an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from . import native_scale, sampler
from .options import Json, Seed
from .output import Reporter, emit, table
from .training_options import PresetName

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["register"]

model_app = typer.Typer(help="Models: a trained generator and encoder with directions.")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    model_app.command("build")(build)
    native_scale.register(model_app)
    sampler.register(model_app)
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
    eight_bits: Annotated[
        bool, typer.Option("--eight-bits", help="Round the encoder's weights to eight bits: half the file.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a trained generator and encoder, with directions fitted to them, into a model."""
    from ..model_build import build_model

    with Reporter("fitting directions") as report:
        model = build_model(
            name, generator, encoder, preset=preset, latents=n, seed=seed, directions=directions,
            eight_bits=eight_bits, progress=report,
        )  # fmt: skip
    shared = None if encoder is None or eight_bits else _shared(encoder, out)
    model.save(out, encoder_from=shared)
    _built(model, out, shared, json)


def _built(model: Model, out: Path, shared: str | None, json: bool) -> None:
    accuracy = model.metadata["metrics"].get("direction_accuracy", {})
    document: Document = {
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


def _shared(source: str, out: Path) -> str | None:
    """Name of the model whose encoder need not be written again; None where it must be."""
    from ..model import Model
    from ..model_files import is_model

    folder = Path(source)
    if not (source in Model.list() or is_model(folder)):
        return None
    beside = folder.parent.resolve() == out.parent.resolve() or source in Model.list()
    return folder.name if beside and _owns_encoder(source) else None


def _owns_encoder(source: str) -> bool:
    """Whether the weights lie in this model itself; of a model that borrows them nothing can be borrowed."""
    folder = Path(source)
    return not folder.is_dir() or (folder / "encoder.safetensors").exists()
