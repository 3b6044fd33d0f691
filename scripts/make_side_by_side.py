"""Observed, simulated and generated patches side by side, unlabelled, with the key below.

    python scripts/make_side_by_side.py --real SHARPS --archive HELD_OUT --out docs/pictures/side-by-side.png

Eight of each kind on the model's grid, drawn blindly by --seed: observed regions nearer to disk centre than mu 0.4, one
frame a region, simulated ones that no training has seen, and draws of the generator; all with at least as much flux
over 100 G as the weakest of the observed ones.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from solquery import Archive, Model, prepare
from solquery.generator.pyramid import compress
from solquery.steering.latents import render
from solquery.study.figures import png
from solquery.study.real_frames import read_frames
from solquery.study.realism import usable_frames

EACH, COLUMNS = 8, 4


def flux(x: np.ndarray) -> np.ndarray:
    """(N,) sums over the pixels above 0.1 preset units (100 G)."""
    return np.where(np.abs(x) > 0.1, np.abs(x), 0.0).sum((1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="folder of SHARP Br files")
    parser.add_argument("--archive", required=True, help="of simulated patches that no training has seen")
    parser.add_argument("--model", default="physical")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    model, rng = Model.load(asked.model), np.random.default_rng(asked.seed)
    frames, _ = usable_frames(read_frames(sorted(asked.real.rglob("*.fits")))[0])
    one_a_region = list({patch.region: patch for patch in rng.permutation(np.array(frames, object))}.values())
    real = np.nan_to_num(np.stack([prepare(patch, model.preset) for patch in one_a_region]))
    _, held_out = Archive.open(asked.archive).prepared(model.preset)
    held_out = np.nan_to_num(np.asarray(held_out, np.float32))
    z = torch.randn(200, int(model.generator.latent_dim), generator=torch.Generator().manual_seed(asked.seed))
    drawn = render(model.generator, z, model.preset.shape)[:, 0].numpy()
    least = flux(real).min()
    tiles = []
    for kind, x in (("observed", real), ("simulated", held_out), ("generated", drawn)):
        strong = np.flatnonzero(flux(x) >= least)
        tiles += [(kind, x[k]) for k in rng.choice(strong, EACH, replace=False)]
    order = rng.permutation(len(tiles))
    lines = -(-len(tiles) // COLUMNS)
    figure = Figure(figsize=(2.7 * COLUMNS, 1.52 * lines + 0.75), layout="constrained")
    axes = figure.subplots(lines, COLUMNS).ravel()
    key: dict[str, list[str]] = {"observed": [], "simulated": [], "generated": []}
    for number, (axis, k) in enumerate(zip(axes, order, strict=True), 1):
        kind, x = tiles[k]
        key[kind].append(str(number))
        axis.imshow(compress(torch.as_tensor(x)).numpy(), cmap="gray", vmin=-0.9, vmax=0.9, origin="lower")
        axis.set(xticks=[], yticks=[])
        axis.text(0.02, 0.95, str(number), transform=axis.transAxes, va="top", fontsize=8, color="w")
    told = "    ".join(f"{kind}: {', '.join(numbers)}" for kind, numbers in key.items())
    figure.supxlabel(told, fontsize=7.5)
    # 64 greys are enough, and a third of the size
    picture = Image.open(io.BytesIO(png(figure))).convert("L")
    picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).quantize(64).save(asked.out, optimize=True)
    print(told)


if __name__ == "__main__":
    main()
