"""The verb `reproduce`: every experiment of the paper, from a model or from nothing."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..aliases import Row
from .inputs import fitting_precision
from .options import Json
from .output import Reporter, emit, note, table
from .plugins import load_models

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..config import Preset
    from ..model import Model

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(reproduce)


def reproduce(
    out: Annotated[Path, typer.Option(help="Folder for report.html, results.json and what is kept between runs.")],
    archive: Annotated[str | None, typer.Option(help="Archive to search; simulated in the folder without it.")] = None,
    preset: Annotated[str | None, typer.Option(help="Shipped model of this preset: paper, physical, quick.")] = None,
    model: Annotated[str | None, typer.Option("--model", "--bundle", help="Name or folder of a model.")] = None,
    run: Annotated[
        list[Path] | None, typer.Option(help="Run folder whose training curves are drawn; may be repeated.")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train the preset's networks from nothing, in the folder; resumes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer of everything: is all in order?")] = False,
    again: Annotated[bool, typer.Option("--again", help="Do finished stages again.")] = False,
    json: Json = False,
) -> None:
    """Run the paper's experiments on an archive and write a report with one table: the paper's numbers and ours."""
    from ..study.reproduce import FULL, QUICK
    from ..study.reproduce import reproduce as work

    if preset is not None and model is not None:
        raise typer.BadParameter("--preset and --model exclude each other")
    if train and model is not None:
        raise typer.BadParameter("--train makes a model of its own; give --preset, not --model")
    began = time.monotonic()
    plan = QUICK if quick else FULL
    runs = list(run or ())
    with Reporter("reproducing") as report:
        models, trained = _models(preset, model, train, quick, out, report)
        runs += trained
        store = _archive(archive, out, quick, report)
        results = work(store, models, out, plan, runs, report, again)
    skipped, _ = results.pop("skipped"), results.pop("seconds")
    if skipped:
        note(f"done before and unchanged: {', '.join(skipped)}")
    if json:
        emit({"report": str(out / "report.html"), "skipped": skipped, "seconds": time.monotonic() - began, **results})
        return
    table(["", "correlation", "paper", "here", "95 %"], [_row(row) for row in results["table"]])
    typer.echo(f"report:  {out / 'report.html'}\nresults: {out / 'results.json'}")


def _models(
    preset: str | None, model: str | None, train: bool, quick: bool, out: Path, report: Reporter
) -> tuple[Model, list[Path]]:
    """The model asked for; where none of the preset ships, or on demand, one trained here, with its runs."""
    from ..config import get_preset
    from ..model import DEFAULT, Model

    if not train and (model is not None or preset is None or preset in Model.list()):
        return load_models(model or preset), []
    chosen = get_preset(preset or DEFAULT)
    if not train:
        note(f"no model of preset {chosen.name!r} ships with this version: training one; stop and resume as you like")
    from ..study.reproduce_training import FULL_TRAINING, QUICK_TRAINING, trained_model, training_folder

    plan = QUICK_TRAINING if quick else FULL_TRAINING
    return trained_model(out, _fitting(chosen, training_folder(out, chosen, plan)), plan, report)


def _fitting(preset: Preset, folder: Path) -> Preset:
    """The preset with both trainers in a precision that this machine computes."""
    import torch

    place = "cuda" if torch.cuda.is_available() else "cpu"
    fitted = {
        kind: fitting_precision(getattr(preset, kind), kind, place, folder / kind) for kind in ("generator", "encoder")
    }
    return dataclasses.replace(preset, **fitted)


def _row(row: Row) -> tuple[str, ...]:
    def text(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    interval = f"{text(row['low'])} to {text(row['high'])}"
    return row["parameter"].upper(), row["statistic"], text(row["paper"]), text(row["ours"]), interval


def _archive(archive: str | None, out: Path, quick: bool, report: Reporter) -> Archive:
    from ..archive.store import Archive

    if archive is not None:
        return Archive.open(archive)
    from ..study.reproduce_training import simulated_archive

    regions, frames = (24, 4) if quick else (110, 20)
    return simulated_archive(out / f"archive-{regions}x{frames}", regions, frames, report)
