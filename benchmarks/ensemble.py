"""Ensembles for low-resolution sketches of held-out regions: are they calibrated, and what do they know.

    solquery simulate --archive held-out --regions 60 --frames 20 --keep 1 --seed 31
    python benchmarks/ensemble.py --archive held-out --model physical --regions 24

Of each region a sketch of 20 Mm resolution with noise is made, and flux, separation and tilt with errors (20 %, 5 Mm,
8 degrees, shaken by as much). The place of the truth among the members is counted in five bins for every parameter: a
flat histogram is that of a calibrated ensemble, one that rises at both ends that of members too much alike. Beside it
stand the share of truths within the middle 68 and 90 % of the members, and the median error of the ensemble's median,
as a share of that of the median of all regions (1: the sketch says nothing).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solquery import Archive, Model, Patch, prepare
from solquery.steering.ensemble import NAMES, Ensemble, draw_ensemble, low_resolution, rank_of, uniformity

#: relative or absolute standard errors of the constraints
ERRORS = {"tuf": 0.2, "psep": 5.0, "tilt": 8.0}
ASKED = (*NAMES, "grad")


def constraints_of(truth: dict[str, float], rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Values off by their errors, and those errors."""
    out = {}
    for name, size in ERRORS.items():
        off = size * truth[name] if name == "tuf" else size
        value = truth[name] + off * rng.standard_normal()
        if np.isfinite(value) and (name == "tilt" or value > off / 4):
            out[name] = (value, off)
    return out


def usable(model: Model, patches: Any, most: int) -> list[tuple[Patch, dict[str, float]]]:
    """Regions with both polarities strong enough for a separation, and their parameters on the grid."""
    out = []
    for patch in patches:
        truth = {name: float(v[0]) for name, v in model.measure(prepare(patch, model.preset), list(ASKED)).items()}
        if np.isfinite([truth[name] for name in ERRORS]).all() and truth["area"] > 200:
            out.append((patch, truth))
        if len(out) == most:
            break
    return out


def share_within(found: list[Ensemble], truths: list[dict[str, float]], name: str, share: float) -> float:
    """Share of the truths within the middle `share` of the members."""
    known = [(e.interval(name, share), t[name]) for e, t in zip(found, truths, strict=True) if np.isfinite(t[name])]
    return float(np.mean([low <= value <= high for (low, high), value in known]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", required=True, help="regions that the model was not trained on")
    parser.add_argument("--model", default="physical")
    parser.add_argument("--regions", type=int, default=24)
    parser.add_argument("--members", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--noise", type=float, default=10.0, help="of the sketch, G")
    parser.add_argument("--without", action="store_true", help="leave the constraints out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="PNG of the rank histograms and of two ensembles")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Model.load(options.model)
    rng = np.random.default_rng(options.seed)
    store = Archive.open(options.archive)
    began = time.perf_counter()
    regions = usable(model, islice(store, 20 * options.regions), options.regions)
    found, truths = [], []
    for number, (patch, truth) in enumerate(regions):
        sketch = low_resolution(patch, model.preset, noise_gauss=options.noise, seed=number)
        given = {} if options.without else constraints_of(truth, rng)
        found.append(
            draw_ensemble(
                model, sketch, constraints=given, noise_gauss=options.noise, members=options.members,
                rounds=options.rounds, seed=number, names=ASKED,
            )
        )  # fmt: skip
        truths.append(truth)
        print(f"{number + 1} of {len(regions)}: {found[-1]}", file=sys.stderr, flush=True)
    document = {"regions": len(found), "members": options.members, "seconds": time.perf_counter() - began}
    document["misfit"] = float(np.median([e.misfit for e in found]))
    document["parameters"] = {name: row_of(found, truths, name, rng) for name in ASKED if name != "polarity"}
    if options.picture:
        draw(options.picture, model, regions, found, document)
    if options.json:
        json.dump(document, sys.stdout, indent=1)
        return
    print(f"{len(found)} regions, {options.members} members each, median misfit {document['misfit']:.2f}")
    print(f"{'':10} {'rank histogram':>20} {'p':>6} {'68 %':>6} {'90 %':>6} {'error / climate':>16}")
    for name, row in document["parameters"].items():
        counts = " ".join(f"{c:3d}" for c in row["counts"])
        print(f"{name:10} {counts:>20} {row['p']:6.3f} {row['68']:6.0%} {row['90']:6.0%} {row['error']:16.2f}")


def row_of(
    found: list[Ensemble], truths: list[dict[str, float]], name: str, rng: np.random.Generator
) -> dict[str, Any]:
    """Calibration and skill of one parameter."""
    places = np.array([rank_of(t[name], e.values[name], rng) for e, t in zip(found, truths, strict=True)])
    counts, p = uniformity(places)
    true = np.array([t[name] for t in truths])
    middle = np.array([np.nanmedian(e.values[name]) for e in found])
    error = np.nanmedian(np.abs(middle - true)) / max(float(np.nanmedian(np.abs(true - np.nanmedian(true)))), 1e-12)
    within = {str(s): share_within(found, truths, name, s / 100) for s in (68, 90)}
    return {"counts": counts.tolist(), "p": p, **within, "error": float(error), "places": places.round(3).tolist()}


def draw(path: Path, model: Model, regions: Any, found: list[Ensemble], document: dict[str, Any]) -> None:
    """Two regions: sketch, truth and four members; below, the rank histograms."""
    from matplotlib.colors import AsinhNorm
    from matplotlib.figure import Figure

    from solquery.grey import LIMIT_GAUSS, SOFT_GAUSS

    order = np.argsort([truth["tuf"] for _, truth in regions])
    chosen = [order[len(order) // 2], order[-2]]
    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    axes = figure.subplots(3, 6)
    for line, k in zip(axes, chosen, strict=False):
        fields = [found[k].sketch.field, model.preset.to_gauss(prepare(regions[k][0], model.preset))]
        fields += [model.preset.to_gauss(m.x) for m in found[k].members[:4]]
        titles = ["sketch, 20 Mm", "truth (simulated)", *(f"member {m} (generated)" for m in range(1, 5))]
        for axis, values, title in zip(line, fields, titles, strict=True):
            norm = AsinhNorm(SOFT_GAUSS, -LIMIT_GAUSS, LIMIT_GAUSS)
            axis.imshow(values, origin="lower", cmap="gray", norm=norm, interpolation="nearest")
            axis.set_axis_off()
            axis.set_title(title, fontsize=7)
    shown = [name for name in ("tuf", "psep", "tilt", "r", "area", "grad") if name in document["parameters"]]
    for axis, name in zip(axes[2], shown, strict=True):
        counts = np.array(document["parameters"][name]["counts"])
        axis.bar(np.arange(5), counts, width=0.9, color="#6b46c1")
        axis.axhline(counts.sum() / 5, color="black", linewidth=0.8, linestyle="--")
        axis.set_title(name.upper(), fontsize=8)
        axis.set_xticks([-0.5, 2, 4.5], ["0", "rank", "1"], fontsize=7)
        axis.tick_params(labelsize=7)
    figure.savefig(path, dpi=110, facecolor="white")


if __name__ == "__main__":
    main()
