"""Write docs/results.md and the README's picture from a finished demo.

solquery demo --out demo
python scripts/make_docs.py --demo demo --out docs
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from solquery import Archive, Model
from solquery.archive.prepare import prepare
from solquery.physics import measure, unit_of
from solquery.search import search_hybrid
from solquery.steering import generate, latent_traversal
from solquery.study.figures import METHOD_LABELS
from solquery.study.magnetogram import show_field
from solquery.study.report import quantity
from solquery.study.retrieval import METHODS

COLOURS = {"generated": "#6b3fb8", "simulated": "#b86514", "real": "#14807a"}


def results(summary: dict) -> str:
    """Markdown: the correlations of the demo beside the paper's, and how it was measured."""
    retrieval, archive = summary["retrieval"], summary["archive"]
    lines = [
        "# What was measured",
        "",
        "Printed by `solquery demo` with the shipped model and written here by `scripts/make_docs.py`. The archive is",
        f"simulated but for {archive['real']} real samples: {archive['patches']:,} patches of {archive['regions']} "
        "regions, none of them seen in training except the real samples.",
        "",
        f"Correlation (Pearson / Spearman) between {retrieval['queries']:,} random generated queries and their best "
        f"match, measured on the grid of model `{summary['model']['name']}`. Euclidean and Mahalanobis search by "
        "(TUF, R, PSEP) itself, so those",
        "three rows favour them; hybrid ranks by the embedding, the eight parameters and which polarity leads.",
        "The paper's column is for 49,552 observed patches, another archive.",
        "",
        "| | " + " | ".join(METHOD_LABELS[method] for method in METHODS) + " | paper, self-supervised |",
        "|---|---|---|---|---|---|",
    ]
    for name, paper in retrieval["paper"].items():
        cells = [retrieval["correlations"][method][name] for method in METHODS] + [paper]
        cells = [f"{c['pearson']:.2f} / {c['spearman']:.2f}" for c in cells]
        lines.append(f"| {name.upper()} | " + " | ".join(cells) + " |")
    similar = retrieval["visual_similarity"]
    similarity = ", ".join(f"{METHOD_LABELS.get(name, name)} {value:.2f}" for name, value in similar.items())
    lines += [
        "",
        "Visual similarity of query and match (largest normalised cross-correlation over shift, zoom, rotation and "
        f"vertical flip; mean over {retrieval['visual_similarity_queries']} queries): {similarity}.",
        "",
        f"The whole demo took {summary['seconds']:.0f} s on the machine that made this page. Steps (s): "
        + ", ".join(f"{step} {seconds:.0f}" for step, seconds in summary["timings"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def picture(archive: Archive, model: Model, words: str, path: Path) -> None:
    """The description's answer, a strip along flux with R held, and six matches of six regions by look and physics."""
    answer = generate(model, words, n=1, seed=1)[0]
    x = np.asarray(answer.x)
    row = latent_traversal(model, answer.z, "tuf", hold=("r",), eps_values=np.linspace(-1.5, 1.5, 7))
    matches = search_hybrid(archive, model, x, k=6)
    high = 1.9 * model.preset.shape[0] / model.preset.shape[1] + 0.45
    figure, axes = plt.subplots(2, 7, figsize=(15, 2 * high), layout="constrained")

    def show(axis: plt.Axes, grid: np.ndarray, source: str, title: str) -> None:
        show_field(axis, model.preset.to_gauss(np.asarray(grid, dtype=np.float32)), interpolation="antialiased")
        axis.set_title(title, fontsize=9, color=COLOURS[source])
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set(color=COLOURS[source], linewidth=2)

    frames = np.asarray(row.x).reshape(7, *model.preset.shape)
    flux = measure(model.preset.to_gauss(frames), model.preset.scale_mm, ["tuf"])["tuf"].numpy()
    for axis, frame, value in zip(axes[0], frames, flux, strict=True):
        show(axis, frame, "generated", "TUF " + quantity(float(value), unit_of("tuf", model.preset.physical)))
    beside = {"fontsize": 9, "rotation": 0, "ha": "right", "va": "center"}
    axes[0, 0].set_ylabel("generated:\nflux along\nits direction,\nR held", **beside)
    show(axes[1, 0], x, "generated", "the query")
    axes[1, 0].set_ylabel("\n".join(textwrap.wrap(words, 16)), **beside)
    for axis, match in zip(axes[1, 1:], matches, strict=True):
        patch = archive.get(match.id)
        show(axis, prepare(patch, model.preset), patch.source, f"{patch.source}: {match.region}")
    figure.savefig(path, dpi=75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    summary = json.loads((options.demo / "summary.json").read_text())
    (options.out / "pictures").mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(results(summary))
    archive = Archive.open(options.demo / "archive")
    picture(archive, Model.load(), summary["query"]["description"], options.out / "pictures" / "demo.png")


if __name__ == "__main__":
    main()
