"""Where the latents of an archive lie, beside the standard normal numbers that draws come from.

    python benchmarks/latents.py --model physical --archive train

Prints how far the latents of its patches are from the prior in nats, the variances along their axes, how much of each
anchor the other numbers tell (a linear fit), and how surely trees tell latents from normal numbers (area under the
curve), as they are and whitened. Anchors are measured, the rest is inferred (`solquery.generator.whitening`).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from solquery import Archive, Model
from solquery.generator.anchors import anchor_scores
from solquery.generator.inference import InferenceNetwork
from solquery.generator.whitening import aggregated_posterior


def latents_of(
    inference: InferenceNetwork, x: np.ndarray, anchors: tuple[str, ...], unit_gauss: float, seed: int
) -> np.ndarray:
    """(N, D) latents of patches (N, H, W), one sample of each."""
    fields = torch.from_numpy(x)[:, None]
    small = torch.nn.functional.avg_pool2d(fields, x.shape[-1] // inference.shape[-1])
    with torch.no_grad():
        parts = [inference(part) for part in small.split(128)]
    mean, log_variance = (torch.cat(one).numpy() for one in zip(*parts, strict=True))
    z = mean + np.random.default_rng(seed).standard_normal(mean.shape) * np.exp(0.5 * log_variance)
    z[:, : len(anchors)] = anchor_scores(x, anchors, unit_gauss)
    return z


def told_apart(z: np.ndarray, seed: int) -> float:
    """Area under the curve of trees that tell rows (N, D) from as many of normal numbers."""
    both = np.concatenate([z, np.random.default_rng(seed + 1).standard_normal(z.shape)])
    which = np.repeat([0, 1], len(z))
    trees = HistGradientBoostingClassifier(max_iter=100, random_state=seed)
    return float(roc_auc_score(which, cross_val_predict(trees, both, which, cv=4, method="predict_proba")[:, 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="physical")
    parser.add_argument("--archive", required=True)
    parser.add_argument("-n", type=int, default=2000, help="patches")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model, archive = Model.load(given.model), Archive.open(given.archive)
    ids = archive.table(["id"])["id"].to_pylist()
    rows = np.sort(np.random.default_rng(given.seed).choice(len(ids), min(given.n, len(ids)), replace=False))
    x = np.asarray(archive.prepared(model.preset, ids=[ids[row] for row in rows])[1], np.float32)
    inference, unit = model.inference, model.preset.unit_gauss
    if not isinstance(inference, InferenceNetwork):
        raise SystemExit(f"model {given.model} has no inference network: it has no latents of patches")
    anchors = tuple(getattr(model.preset.generator, "anchors", ()))
    posterior = aggregated_posterior(inference, x, anchors, unit, given.seed)
    z = latents_of(inference, x, anchors, unit, given.seed)
    variances = np.linalg.eigvalsh(np.cov(z.T))
    print(f"{len(x)} patches, {posterior.departure:.1f} nats from the prior")
    print(f"variances along the axes: {variances[0]:.2f} to {variances[-1]:.2f}")
    free = z[:, len(anchors) :]
    for k, name in enumerate(anchors):
        inverse = np.linalg.inv(np.corrcoef(np.column_stack([z[:, k], free]).T))
        print(f"{name}: {1 - 1 / inverse[0, 0]:.0%} of the anchor's variance is told by the other numbers")
    axes = np.linalg.cholesky(np.cov(z.T))
    white = np.linalg.solve(axes, (z - z.mean(0)).T).T
    print(f"told from normal numbers: {told_apart(z, given.seed):.2f}, whitened {told_apart(white, given.seed):.2f}")


if __name__ == "__main__":
    main()
