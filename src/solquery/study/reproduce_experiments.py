"""The experiments on training and steering, one function a stage.

Each writes its pictures into a folder and returns its numbers as JSON. It is called with the study, the stage's own
folder, and the folders of the stages before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..physics import measure
from ..serialise import finite
from ..steering import latent_traversal, measure_latents
from ..steering.projection import plane_axes, project
from .figures import figure_zoo
from .paper_experiments import epoch_choices
from .reproduce_figures import (
    figure_curves,
    figure_parameters,
    figure_plane,
    figure_strips,
    write_figure,
)

if TYPE_CHECKING:
    from ..steering import Directions
    from .reproduce import Study

Folders = Mapping[str, Path]

#: what changes, and what is held (paper, Fig. 5: its five rows)
STRIPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tuf", ()),
    ("tuf", ("r",)),
    ("psep", ()),
    ("psep", ("polarity",)),
    ("psep", ("polarity", "r")),
)
_WATCHED = ("tuf", "r", "psep")
_REACH, _STEPS = 3.0, 25
_CURVES = ("loss_g", "loss_d", "discriminator_accuracy", "held_out_discriminator_accuracy", "nats", "kl", "texture",
           "loss", "effective_rank", "embedding_std", "physics")  # fmt: skip


def _fitted(d: Directions, names: Iterable[str]) -> list[str]:
    """Those of the names that have a direction: a generator barely trained may not have all."""
    return [name for name in names if name in d.names]


def training(study: Study, folder: Path, before: Folders) -> Document:
    """Training curves of the given runs with the chosen checkpoint; what the model tells of its training."""
    runs = []
    for k, run in enumerate(study.runs):
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines() if line.strip()]
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
    _, x = study.drawn(study.plan.zoo, study.plan.seed)
    gauss = study.gauss(x)
    values = {k: v.numpy() for k, v in measure(gauss, study.model.preset.scale_mm, _WATCHED).items()}
    # the patch taken apart is one with much of everything, as in the paper
    rank = sum(np.nan_to_num(v).argsort().argsort() for v in values.values())
    shown = int(np.argmax(rank))
    return {
        "file": write_figure(figure_parameters(gauss, shown), folder / "parameters.png", 110, 96),
        "shown": shown,
        "values": {name: finite(v[shown]) for name, v in values.items()},
        "without_r": int((values["r"] == 0).sum()),
        "without_psep": int((~np.isfinite(values["psep"])).sum()),
        "patches": len(x),
    }


def directions(study: Study, folder: Path, before: Folders) -> Document:
    """Accuracy of every support vector machine, and how entangled the paper's three are."""
    d = study.model.directions
    assert d is not None
    rows = {
        name: {"accuracy": float(d.accuracies[k]), "chance": float(d.chances[k]), "left_out": int(d.dropped[k])}
        for k, name in enumerate(d.names)
    }
    cosines = d.cosines()
    names = _fitted(d, (*_WATCHED, "polarity"))
    table = {a: {b: float(cosines[d.index(a), d.index(b)]) for b in names} for a in names}
    return {"accuracies": rows, "cosines": table}


def figure4(study: Study, folder: Path, before: Folders) -> Document:
    """Latent plane of TUF and of the leading polarity."""
    d = study.model.directions
    assert d is not None
    z, x = study.drawn(study.plan.plane, study.plan.seed + 1)
    gauss = study.gauss(x)
    measured = {k: v.numpy() for k, v in measure(gauss, study.model.preset.scale_mm, ("tuf", "polarity")).items()}
    out: Document = {"latents": len(z), "planes": {}}
    for name in _fitted(d, ("tuf", "polarity")):
        k = d.index(name)
        axes = plane_axes(d.normals[k], study.model.preset.papers_method)
        flat = project(z, d.normals[k], float(d.intercepts[k]), axes)
        known = np.isfinite(measured[name])
        right = flat.side()[known] == (measured[name][known] > d.medians[k])
        file = write_figure(figure_plane(flat, gauss, d.position(z, name), name), folder / f"{name}.png", 105, 64)
        out["planes"][name] = {"file": file, "axes": list(flat.axes), "right_side": float(right.mean())}
    return out


def figure5(study: Study, folder: Path, before: Folders) -> Document:
    """Strips from one patch, and what each step does on the average over many."""
    d = study.model.directions
    assert d is not None
    z, _ = study.drawn(study.plan.effects, study.plan.seed + 2)
    physical = study.model.preset.physical
    names = [*_WATCHED, "polarity"]
    values = measure_latents(study.model.generator, study.model.preset, z, names)
    # begins in the middle of what the generator makes, so that both ends stay near the prior
    watched = _fitted(d, _WATCHED)
    ranks = np.stack([np.abs(d.percentile(name, values[name]) - 50.0) for name in watched])
    start = z[int(np.argmin(np.nan_to_num(ranks, nan=100.0).max(0)))]
    drawn, rows = [], []
    for name, hold in STRIPS:
        if len(_fitted(d, (name, *hold))) < 1 + len(hold):
            continue
        one = latent_traversal(study.model, start, name, hold, np.linspace(-_REACH, _REACH, _STEPS))
        percent = {other: np.asarray(d.percentile(other, one.values[other])) for other in watched}
        drawn.append((one, study.gauss(one.x[:, 0]), percent))
        curves = {other: [finite(v) for v in one.values[other]] for other in _fitted(d, names)}
        rows.append({"name": name, "hold": list(hold), "eps": one.eps.tolist(), "values": curves})
        rows[-1]["effect"] = _effect(study, z, name, hold)
    file = write_figure(figure_strips(drawn, physical=physical), folder / "strips.png", 110, 96)
    return {"file": file, "strips": rows, "latents": len(z)}


def _effect(study: Study, z: np.ndarray, name: str, hold: tuple[str, ...]) -> dict[str, float | None]:
    """Median change from -3 to +3, in spreads (`Directions.spread`) of the population; share of polarity flips."""
    d = study.model.directions
    assert d is not None
    normal = d.normal(name, hold)
    ends = np.concatenate([z - _REACH * normal, z + _REACH * normal])
    values = measure_latents(study.model.generator, study.model.preset, ends, [*_WATCHED, "polarity"])
    out: dict[str, float | None] = {}
    for other in _WATCHED:
        change = values[other][len(z) :] - values[other][: len(z)]
        change = change[np.isfinite(change)]
        spread = d.spread(other) if other in d.names else 0.0
        out[other] = finite(np.median(change) / spread) if len(change) and spread > 0 else None
    first, last = values["polarity"][: len(z)], values["polarity"][len(z) :]
    known = np.isfinite(first) & np.isfinite(last)
    out["flips"] = float((first != last)[known].mean()) if known.any() else None
    return out
