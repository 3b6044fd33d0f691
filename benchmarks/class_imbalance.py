"""A rare class on embeddings, in one run: do generated examples help a classifier more than oversampling does?

    python benchmarks/class_imbalance.py --archive heldout --model physical --out imbalance

The archive holds simulated regions that the model was not trained on (`solquery simulate --archive heldout
--regions 600 --frames 20 --keep 1 --seed 12`). The rare class are the strongest 5 % in R, and in the gradient along the
polarity inversion line. A logistic regression on the embeddings is trained with 5, 10 or all of the rare regions among
four fifths of all regions, and judged on the other fifth; every region is judged once in each repetition. Its training
set is

- plain: as it is; threshold: the same, told rare above the rate of the training set instead of above one half;
- oversampled: rare regions repeated until both classes are as large;
- generated rare: instead, generated patches of the rare class are added until both are as large;
- generated both: oversampled, and as many generated patches of either class are added.

Printed are the true skill statistic (TSS) and the area under the ROC curve, with 95 % intervals from resampling
regions, and the difference in TSS from oversampling on the same resampled regions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solquery import Archive, Model, SolqueryError, embed, prepare_many, render

METHODS = ("plain", "threshold", "oversampled", "generated rare", "generated both")
BASELINE = "oversampled"
#: smallest number of generated examples of the rare class that is worth a comparison
FEWEST = 20


def observations(archive: Archive, model: Model, labels: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Embeddings (N, D) of the first frame of each region, and its parameters in the numbers of the model."""
    table = archive.table(["id", "region", *labels]).to_pandas().sort_values("id").drop_duplicates("region")
    x = prepare_many(archive.patches(ids=list(table["id"])), model.preset)
    print(f"{len(x)} regions read", file=sys.stderr)
    # the model's table of generated patches has native numbers of what the model was calibrated for, else the grid's
    native = () if model.native_scale is None else model.native_scale.names
    lacking = [name for name in labels if name not in native]
    measured = model.measure(x, lacking) if lacking else {}
    values = {name: table[name].to_numpy(float) if name in native else measured[name] for name in labels}
    return embed(model.encoder, x), {name: np.nan_to_num(values[name]) for name in labels}


def generated(model: Model, label: str, threshold: float, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of generated patches on either side of a threshold, rare first: of latents the model has measured."""
    if model.directions is None:
        raise SolqueryError(f"model {model.name!r} has no table of measured latents; fit directions first")
    table, rng = model.directions.table, np.random.default_rng(seed)
    values = np.nan_to_num(table.values[label])
    parts = []
    for side in (values >= threshold, values < threshold):
        rows = rng.permutation(np.flatnonzero(side))[:most]
        if len(rows) < FEWEST:
            raise SolqueryError(
                f"model {model.name!r} generates {len(rows)} of the class by {label!r}; {FEWEST} needed"
            )
        x = render(model.generator, torch.from_numpy(table.z[rows].copy()), model.preset.shape)[:, 0]
        parts.append(embed(model.encoder, x))
    return parts[0], parts[1]


def folds_of(rare: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) number of the fold of each region; every fold has its share of the rare ones."""
    out = np.empty(len(rare), int)
    order = np.lexsort((rng.random(len(rare)), rare))
    out[order] = np.arange(len(rare)) % folds
    return out


def filled(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` rows, repeated in turn."""
    return rows[np.arange(max(count, 0)) % len(rows)]


def training_set(
    method: str, common: np.ndarray, rare: np.ndarray, made_rare: np.ndarray, made_common: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and labels that a method trains on."""
    lacking = len(common) - len(rare)
    if method == "oversampled":
        rare = filled(rare, len(common))
    elif method == "generated rare":
        rare = np.concatenate([rare, filled(made_rare, lacking)])
    elif method == "generated both":
        rare = np.concatenate([filled(rare, len(common)), filled(made_rare, lacking)])
        common = np.concatenate([common, filled(made_common, lacking)])
    return np.concatenate([common, rare]), np.repeat([0, 1], [len(common), len(rare)])


def left_out(
    x: np.ndarray, rare: np.ndarray, made: tuple[np.ndarray, np.ndarray], known: int | None, seed: int
) -> dict[str, np.ndarray]:
    """Method to (N,) decision values, above 0 for the rare class, by classifiers that have not seen the region."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    fold = folds_of(rare, 5, rng)
    out = {method: np.zeros(len(x)) for method in METHODS}
    for k in range(5):
        train = fold != k
        chosen = rng.permutation(np.flatnonzero(train & rare))[:known]
        common = x[train & ~rare]
        middle, spread = common.mean(0), common.std(0) + 1e-6
        sets = [(part - middle) / spread for part in (common, x[chosen], *made)]
        for method in METHODS:
            if method != "threshold":
                features, labels = training_set(method, *sets)
                fitted = LogisticRegression(C=0.01, max_iter=200).fit(features, labels)
            told = fitted.decision_function((x[~train] - middle) / spread)
            rate = len(chosen) / (len(chosen) + len(common))
            out[method][~train] = told - (np.log(rate / (1 - rate)) if method == "threshold" else 0.0)
    return out


def skill(said: np.ndarray, rare: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """TSS of decisions (R, N), each region counted `weight` (B, N) times: (B,), the mean over the repetitions."""
    hit, wrong = (said & rare).astype(float).mean(0), (said & ~rare).astype(float).mean(0)
    return weight @ hit / (weight @ rare) - weight @ wrong / (weight @ ~rare)


def ranked(values: np.ndarray, rare: np.ndarray) -> np.ndarray:
    """(N, N) mean over the repetitions of how often a rare region is above a common one, where that is asked."""
    above = np.zeros((rare.sum(), (~rare).sum()))
    for line in values:
        high, low = line[rare][:, None], line[~rare][None]
        above += (high > low) + 0.5 * (high == low)
    return above / len(values)


def resampled(rare: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(B, N) how often each region is in a sample of all regions with replacement; every sample has both classes."""
    rng, n = np.random.default_rng(seed), len(rare)
    weight = rng.multinomial(n, np.full(n, 1 / n), size=2 * count)
    return weight[((weight @ rare) > 0) & ((weight @ ~rare) > 0)][:count]


def interval(values: np.ndarray) -> list[float]:
    """2.5 and 97.5 %."""
    return [float(v) for v in np.percentile(values, (2.5, 97.5))]


def compared(x: np.ndarray, rare: np.ndarray, made: Any, known: int | None, repeats: int, seed: int) -> dict[str, Any]:
    """Method to its skill, with intervals."""
    runs = [left_out(x, rare, made, known, seed + k) for k in range(repeats)]
    weight, once = resampled(rare, 1000, seed), np.ones((1, len(rare)))
    values = {method: np.stack([run[method] for run in runs]) for method in METHODS}
    samples = {method: skill(values[method] > 0, rare, weight) for method in METHODS}
    out = {}
    for method in METHODS:
        above = ranked(values[method], rare)
        high, low = weight[:, rare], weight[:, ~rare]
        auc = np.einsum("bi,ij,bj->b", high, above, low, optimize=True) / (high.sum(1) * low.sum(1))
        tss, base = skill(values[method] > 0, rare, once), skill(values[BASELINE] > 0, rare, once)
        out[method] = {
            "tss": float(tss[0]), "tss_95": interval(samples[method]),
            "auc": float(above.mean()), "auc_95": interval(auc),
            "gain": float(tss[0] - base[0]), "gain_95": interval(samples[method] - samples[BASELINE]),
        }  # fmt: skip
    return out


def figure(document: dict[str, Any], path: Path) -> None:
    """TSS of every method with its interval, a panel for each class and number of rare regions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    classes = document["classes"]
    columns = list(next(iter(classes.values()))["known"])
    shape = (len(classes), len(columns))
    fig, axes = plt.subplots(*shape, figsize=(9.5, 2.3 * shape[0] + 0.6), sharex=True, sharey=True, squeeze=False)
    colours = ["#888888", "#555555", "#1b6ca8", "#d1495b", "#edae49"]
    for line, (label, about) in zip(axes, classes.items(), strict=True):
        for axis, known in zip(line, columns, strict=True):
            for k, method in enumerate(METHODS):
                found = about["known"][known][method]
                low, high = found["tss_95"]
                axis.plot([low, high], [-k, -k], color=colours[k], linewidth=2)
                axis.plot(found["tss"], -k, "o", color=colours[k])
            axis.set_yticks(-np.arange(len(METHODS)), METHODS)
            axis.set_title(f"{label}: {known} rare regions known", fontsize=9)
            axis.set_xlim(0, 1)
            axis.grid(axis="x", alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("TSS by region")
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def run(archive: Archive, model: Model, labels: list[str], share: float, most: int, repeats: int, seed: int) -> Any:
    """The document that is printed and written."""
    began = time.monotonic()
    x, values = observations(archive, model, labels)
    classes: dict[str, Any] = {}
    for label in labels:
        threshold = float(np.quantile(values[label], 1 - share))
        rare = values[label] >= threshold
        made = generated(model, label, threshold, most, seed)
        print(f"{label}: {rare.sum()} rare regions, {len(made[0])} generated", file=sys.stderr)
        known: dict[str, int | None] = {"5": 5, "10": 10, "all": None}
        classes[label] = {
            "threshold": threshold,
            "rare": int(rare.sum()),
            "generated": [len(part) for part in made],
            "known": {name: compared(x, rare, made, n, repeats, seed) for name, n in known.items()},
        }
    return {
        "model": model.name, "hash": model.hash, "encoder": model.encoder_hash, "archive": archive.uri,
        "regions": len(x), "share": share, "repeats": repeats, "seed": seed, "classes": classes,
        "seconds": time.monotonic() - began,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", required=True, help="Simulated regions that the model has not seen.")
    parser.add_argument("--model", help="Name or folder; the shipped default without it.")
    parser.add_argument("--labels", nargs="+", default=["r", "pil_gradient"], help="Parameters that define the class.")
    parser.add_argument("--share", type=float, default=0.05, help="Of the regions that are of the class.")
    parser.add_argument("--generated", type=int, default=300, help="Generated patches of each class at most.")
    parser.add_argument("--repeats", type=int, default=3, help="Divisions into fifths.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Folder for class-imbalance.json and .png.")
    args = parser.parse_args()
    store, model = Archive.open(args.archive), Model.load(args.model)
    document = run(store, model, args.labels, args.share, args.generated, args.repeats, args.seed)
    for label, about in document["classes"].items():
        print(f"{label}: {about['rare']} of {document['regions']} regions, {about['generated'][0]} generated")
        for known, methods in about["known"].items():
            for method, found in methods.items():
                (low, high), (less, more) = found["tss_95"], found["gain_95"]
                print(
                    f"  {known:>3} known  {method:15} TSS {found['tss']:.2f} [{low:.2f}, {high:.2f}]  "
                    f"against oversampling {found['gain']:+.2f} [{less:+.2f}, {more:+.2f}]  AUC {found['auc']:.3f}"
                )
    print(f"{document['seconds']:.0f} s")
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "class-imbalance.json").write_text(json.dumps(document, indent=1) + "\n")
        figure(document, args.out / "class-imbalance.png")


if __name__ == "__main__":
    main()
