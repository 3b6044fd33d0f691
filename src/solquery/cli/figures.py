"""``solquery study parameters``, ``plane`` and ``traversals``: Figures 3, 4 and 5 of the paper, for any model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Document
from .options import Hold, Json, ModelName, Seed
from .output import Reporter, emit, write_file, write_json
from .plugins import load_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["register"]

Out = Annotated[Path, typer.Option(help="Folder for the picture and its numbers.")]


def register(group: typer.Typer) -> None:
    """Add the verbs of this file."""
    group.command("parameters")(parameters)
    group.command("plane")(plane)
    group.command("traversals")(traversals)
    group.command("strips", hidden=True)(traversals)  # its name before


def parameters(
    model: ModelName = None,
    n: Annotated[int, typer.Option("-n", min=1, max=400, help="Patches.")] = 60,
    seed: Seed = 0,
    out: Out = Path("figures"),
    json: Json = False,
) -> None:
    """How TUF, PSEP and R come from a patch, and the centroids of many (paper, Fig. 3)."""
    from ..study.steering_figures import parameters_figure

    figure, numbers = parameters_figure(load_models(model), n, seed)
    _written(figure, numbers, out / "parameters", json)


def plane(
    param: Annotated[str, typer.Option(help="Parameter whose boundary is drawn as a line.")] = "tuf",
    model: ModelName = None,
    n: Annotated[int, typer.Option("-n", min=50, help="Latents to draw from the prior.")] = 1000,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Two latent numbers, from 1: 1,2 as in the paper; best: the two that weigh most in the normal. "
            "By default 1,2 for the paper's networks, else best."
        ),
    ] = None,
    seed: Seed = 0,
    out: Out = Path("figures"),
    json: Json = False,
) -> None:
    """Generated patches on the plane that shows the boundary of a parameter as a line (paper, Fig. 4)."""
    from ..study.steering_figures import plane_figure

    models = load_models(model)
    with Reporter("drawing"):
        figure, numbers = plane_figure(models, param, n, seed, _axes(axes))
    _written(figure, numbers, out / f"plane-{param}", json)


def _axes(text: str | None) -> tuple[int, int] | str | None:
    """Two latent numbers counted from 0, "best", or None."""
    if text is None or text == "best":
        return text
    try:
        first, second = (int(part) - 1 for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--axes takes two latent numbers, such as 1,2, or best, not {text!r}") from None
    if first == second or min(first, second) < 0:
        raise typer.BadParameter(f"--axes takes two different latent numbers from 1 on, not {text!r}")
    return first, second


def traversals(
    param: Annotated[str, typer.Option(help="Parameter to change.")] = "tuf",
    hold: Hold = None,
    model: ModelName = None,
    seed: Seed = 0,
    out: Out = Path("figures"),
    json: Json = False,
) -> None:
    """One patch along a direction, alone and with others held, measured values as curves under it (paper, Fig. 5)."""
    from ..study.steering_figures import strips_figure

    models, held = load_models(model), tuple(hold or ())
    with Reporter("drawing"):
        figure, numbers = strips_figure(models, param, held, seed)
    _written(figure, numbers, out / "-".join([f"traversals-{param}", *(f"hold-{name}" for name in held)]), json)


def _written(figure: Figure, numbers: Document, stem: Path, json: bool) -> None:
    from ..study.figures import png

    picture = write_file(stem.with_name(f"{stem.name}.png"), png(figure))
    document = {**numbers, "picture": str(picture)}
    write_json(stem.with_name(f"{stem.name}.json"), document)
    if json:
        emit(document)
    else:
        typer.echo(str(picture))
