"""A class direction from few labels: does it tell regions left out, and do patches made by it have the label?

    python benchmarks/class_direction.py --archive heldout --model physical
    python benchmarks/class_direction.py --archive heldout --by measured,guess,picture,closest --regions 64

The archive holds simulated regions that the model was not trained on (`solquery simulate --archive heldout
--regions 600 --frames 20 --keep 1 --seed 12`), one frame of each. The label is 1 where the gradient along the polarity
inversion line, or R, is above the archive's median (`--above 75`: its third quartile). Of all regions read, 60 at a
time are labelled, and the direction is fitted as `solquery directions labels` does: along the directions of the model's
parameters ("model"), along those that are about neither lines nor R ("others"), and from the latent numbers alone
("none"). Printed, as mean and standard deviation over the draws:

- AUC: as the command tells it, by cross-validation over the 60 regions;
- rest: the same on all regions that were not labelled, where there are thirty or more;
- made: share of generated examples of the class whose own label is 1, measured on the grid, and below it that of
  patches drawn without asking.

For comparison: the AUC of the total unsigned flux, since strong regions have long lines.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from solquery import Archive, Model, prepare_many, sample_latents
from solquery.steering import SteeringWarning
from solquery.steering.class_direction import class_examples, class_latents, fit_class_direction

#: parameters that say much about either label
OWN = ("pil_gradient", "pil_length", "r", "grad")
#: patches made for each direction
MADE = 100


def draws(
    model: Model, z: np.ndarray, label: np.ndarray, along: Any, labelled: int, number: int, seed: int
) -> tuple[list[Any], list[float], list[float]]:
    """Directions of draws of labelled regions, their AUC, and that on the rest."""
    found, told, rest = [], [], []
    rng = np.random.default_rng(seed)
    for _ in range(number):
        order = rng.permutation(len(z))
        chosen, others = order[:labelled], order[labelled:]
        one = fit_class_direction(z[chosen], label[chosen].tolist(), [str(k) for k in chosen], along=along, shuffles=10)
        found.append(one)
        told.append(one.auc)
        if len(others) >= 30:
            rest.append(float(roc_auc_score(label[others], z[others] @ one.normal)))
    return found, told, rest


def said(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else "–"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--model", default="physical")
    parser.add_argument(
        "--by", default="measured,guess", help="ways from a patch to its latent vector, comma-separated"
    )
    parser.add_argument("--regions", type=int, help="read so many [all]")
    parser.add_argument("--labelled", type=int, default=60)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--above", type=float, default=50.0, help="percentile above which the label is 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the numbers (JSON)")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore", SteeringWarning)
    model, archive = Model.load(options.model), Archive.open(options.archive)
    assert model.directions is not None, "fit the model's directions first"
    names = ("pil_gradient", "r")
    table = archive.table(["id", "region", "tuf", *names]).to_pandas().sort_values("id").drop_duplicates("region")
    edges = {name: float(np.percentile(np.nan_to_num(table[name]), options.above)) for name in names}
    if options.regions:
        table = table.sample(options.regions, random_state=options.seed)
    x = prepare_many(archive.patches(ids=list(table["id"])), model.preset)
    ordered = {p.id: k for k, p in enumerate(archive.patches(ids=list(table["id"])))}
    table = table.assign(order=[ordered[name] for name in table["id"]]).sort_values("order")
    on_grid = model.measure(x, list(names))
    free = sample_latents(model.generator, model.preset, n=1_000, seed=options.seed, names=list(names))
    normals = model.directions.normals
    others = [k for k, name in enumerate(model.directions.names) if name not in OWN]
    report: dict[str, Any] = {}
    for by in options.by.split(","):
        began = time.process_time()
        z = np.concatenate([class_latents(model, some, by) for some in np.array_split(x, -(-len(x) // 32))])
        seconds = (time.process_time() - began) / len(x)
        print(f"{by}: {len(z)} regions, {seconds:.3f} s each", file=sys.stderr, flush=True)
        for name in names:
            values = np.nan_to_num(table[name].to_numpy(float))
            label = (values > edges[name]).astype(int)
            # what is made is measured on the grid: the same share of the regions lies above this number there
            edge = float(np.quantile(np.nan_to_num(on_grid[name]), 1 - label.mean()))
            size = roc_auc_score(label, table["tuf"])
            print(f"{by}, {name} above {edges[name]:.3g}, {label.sum()} of {len(label)}; AUC of TUF alone {size:.2f}")
            for kind, along in (("model", normals), ("others", normals[others]), ("none", None)):
                found, told, rest = draws(model, z, label, along, options.labelled, options.draws, options.seed)
                made = [
                    float(np.mean([answer.grid[name] > edge for answer in class_examples(model, one, MADE, seed=k)]))
                    for k, one in enumerate(found[:2])
                ]
                prior = float(np.mean(np.nan_to_num(free.values[name]) > edge))
                print(
                    f"  {kind:7s} AUC {said(told)}, rest {said(rest)}, made {np.mean(made):.0%} ({prior:.0%})",
                    flush=True,
                )
                report[f"{by} {name} {kind}"] = {
                    "auc": told, "rest": rest, "made": made, "prior": prior, "auc_tuf": float(size), "seconds": seconds,
                }  # fmt: skip
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
