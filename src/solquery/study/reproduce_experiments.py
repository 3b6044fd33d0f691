"""The experiments on training and steering, one function a stage.

Each writes its pictures into a folder and returns its numbers as JSON. It is called with the study, the stage's own
folder, and the folders of the stages before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..steering.editing import directions_of
from ..training.statistics import read_statistics
from .figures import figure_zoo
from .paper_experiments import changes_between, epoch_choices
from .reproduce_figures import figure_curves, write_figure
from .reproduce_stages import Folders
from .steering_figures import WATCHED, middle_latent, parameters_figure, plane_figure, traversals_figure

if TYPE_CHECKING:
    from ..steering import Directions
    from .reproduce import Study

#: what changes, and what is held (paper, Fig. 5: its five rows)
STRIPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tuf", ()),
    ("tuf", ("r",)),
    ("psep", ()),
    ("psep", ("polarity",)),
    ("psep", ("polarity", "r")),
)
_REACH = 3.0
_CURVES = ("loss_g", "loss_d", "discriminator_accuracy", "held_out_discriminator_accuracy", "nats", "kl", "texture",
           "loss", "effective_rank", "embedding_std", "physics")  # fmt: skip


def _fitted(d: Directions, names: Iterable[str]) -> list[str]:
    """Those of the names that have a direction: a generator barely trained may not have all."""
    return [name for name in names if name in d.names]


def training(study: Study, folder: Path, before: Folders) -> Document:
    """Training curves of the given runs with the chosen checkpoint; what the model tells of its training."""
    runs = []
    for k, run in enumerate(study.runs):
        lines = read_statistics(run)
        curves = {
            name: [(float(e["images"]), float(e[name])) for e in lines if _known(e.get(name)) and _known(e["images"])]
            for name in _CURVES
        }
        curves = {name: points for name, points in curves.items() if len(points) > 1 and np.ptp(points, axis=0)[1] > 0}
        chosen, why = _chosen(run, lines)
        last = float(lines[-1]["images"]) if lines else 0.0
        file = None
        if curves:
            drawn = figure_curves(curves, f"run “{run.name}”", last if chosen is None else chosen)
            file = write_figure(drawn, folder / f"run-{k}.png", 100, 32)
        told = {"run": run.name, "file": file, "images": last, "chosen_images": chosen, "chosen_by": why}
        runs.append({**told, "epochs": epoch_choices(lines)})
    return {"runs": runs, "provenance": study.model.metadata.get("provenance", {})}


def _known(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _chosen(run: Path, lines: list[Document]) -> tuple[float | None, str]:
    """Images at the checkpoint in use, and by what it was chosen."""
    if (run / "choice.json").is_file():
        choice = json.loads((run / "choice.json").read_text())
        images = (choice.get("chosen") or {}).get("images")
        if isinstance(images, int | float) and math.isfinite(images):
            return float(images), str(choice.get("why", choice.get("by", "")))
    epochs = [e for e in lines if _known(e.get("chosen_epoch"))]
    if epochs:
        wanted = epochs[-1]["chosen_epoch"]
        at = [e["images"] for e in lines if e.get("epoch") == wanted and "discriminator_accuracy" in e]
        if at:
            return float(at[0]), f"epoch {wanted}, where the discriminator is least accurate (the paper's rule)"
    return None, "the last checkpoint"


def figure2(study: Study, folder: Path, before: Folders) -> Document:
    """Random patches."""
    _, x = study.drawn(study.plan.zoo, study.plan.seed)
    title = f"{len(x)} random patches, one latent vector each"
    drawn = figure_zoo(study.gauss(x), ["generated"] * len(x), title, columns=10, width=7.8)
    return {"file": write_figure(drawn, folder / "zoo.png", 150, 64), "patches": len(x)}


def figure3(study: Study, folder: Path, before: Folders) -> Document:
    """Centroids, thresholds and the mask of R on the patches of Figure 2."""
    drawn, numbers = parameters_figure(study.model, study.plan.zoo, study.plan.seed)
    return {"file": write_figure(drawn, folder / "parameters.png", 110, 96), **numbers}


def directions(study: Study, folder: Path, before: Folders) -> Document:
    """Accuracy of every support vector machine, and how entangled the paper's three are."""
    d = directions_of(study.model)
    rows = {
        name: {"accuracy": float(d.accuracies[k]), "chance": float(d.chances[k]), "left_out": int(d.dropped[k])}
        for k, name in enumerate(d.names)
    }
    cosines = d.cosines()
    names = _fitted(d, (*WATCHED, "polarity"))
    table = {a: {b: float(cosines[d.index(a), d.index(b)]) for b in names} for a in names}
    return {"accuracies": rows, "cosines": table}


def figure4(study: Study, folder: Path, before: Folders) -> Document:
    """Latent plane of TUF and of the leading polarity."""
    z, x = study.drawn(study.plan.plane, study.plan.seed + 1)
    planes: Document = {}
    for name in _fitted(directions_of(study.model), ("tuf", "polarity")):
        drawn, numbers = plane_figure(study.model, name, drawn=(z, x))
        planes[name] = {"file": write_figure(drawn, folder / f"{name}.png", 105, 64), **numbers}
    return {"latents": len(z), "planes": planes}


def figure5(study: Study, folder: Path, before: Folders) -> Document:
    """Traversals from one patch, and what each does on the average over many."""
    d = directions_of(study.model)
    z, _ = study.drawn(study.plan.effects, study.plan.seed + 2)
    watched = _fitted(d, WATCHED)
    cases = [(name, hold) for name, hold in STRIPS if {name, *hold} <= set(d.names)]
    drawn, rows = traversals_figure(study.model, middle_latent(study.model, z, watched), cases, watched)
    for row, (name, hold) in zip(rows, cases, strict=True):
        normal = d.normal(name, hold)
        row["effect"] = changes_between(study, np.concatenate([z - _REACH * normal, z + _REACH * normal]))
    return {"file": write_figure(drawn, folder / "strips.png", 110, 96), "strips": rows, "latents": len(z)}
