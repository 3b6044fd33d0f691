"""How fast patches are embedded, beside the plain encoder, and how far int8 finds the same patches.

python benchmarks/embedding.py [--data prepared.npy] [--threads 1] [--patches 2048]

The plain encoder is the module as trained, in evaluation mode, eager, float32, channels first. Each way takes its turn
on the same patches, in one process; the ratios are of the processor time, best turn of each. Top-1 agreement: queries
are views (shifted, zoomed, turned) of a tenth of the patches, embedded in fp32; is the nearest of all patches the same
in the archive embedded in int8 as in that in fp32? `mixed`: in an archive of which every other patch is embedded in
int8. Without --data (.npy, (N, H, W) in preset units) the patches are made by the model's generator.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from typing import cast

import numpy as np
import torch

from solquery import Model
from solquery.encoder import augment
from solquery.encoder.augment import seeded_generator
from solquery.encoder.folded import Folded
from solquery.encoder.int8 import Int8Encoder, agreement, calibrate, calibration_patches
from solquery.encoder.networks import Encoder
from solquery.steering import render


def patches(options: argparse.Namespace, model: Model) -> torch.Tensor:
    """(N, 1, H, W) float32."""
    if options.data is None:
        z = torch.randn(options.patches, model.generator.latent_dim, generator=seeded_generator(5))
        return render(model.generator, z, model.preset.shape)
    data = np.load(options.data, mmap_mode="r")
    rows = np.unique(np.linspace(0, len(data) - 1, options.patches).astype(int))
    return torch.from_numpy(np.asarray(data[rows], dtype=np.float32)).unsqueeze(1)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--patches", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = Model.load(options.model)
    x = patches(options, model)
    plain = copy.deepcopy(cast(Encoder, model.encoder)).to(memory_format=torch.contiguous_format).eval()
    folded = Folded(plain)
    int8 = Int8Encoder(plain, calibrate(plain, calibration_patches(model)))
    ways = {"plain": plain, "folded": folded, "int8": int8}
    for way in ways.values():
        way(x[: options.batch])
    spent: dict[str, list[float]] = {name: [] for name in ways}
    made: dict[str, list[torch.Tensor]] = {name: [] for name in ways}
    turn = 4 * options.batch
    for part in x.split(turn):
        for name, way in ways.items():
            began = time.process_time()
            made[name] += [way(few) for few in part.split(options.batch)]
            spent[name].append((time.process_time() - began) / len(part))
    best = {name: min(times) for name, times in spent.items()}
    z = {name: torch.cat(parts).numpy() for name, parts in made.items()}
    views = augment(x[::10], model.preset.encoder.augment, seeded_generator(6))
    queries = torch.cat([plain(few) for few in views.split(options.batch)]).numpy()
    mixed = z["plain"].copy()
    mixed[::2] = z["int8"][::2]
    print(
        json.dumps(
            {
                "patches": len(x),
                "threads": options.threads,
                "ms": {name: round(1e3 * seconds, 3) for name, seconds in best.items()},
                "folded_times_as_fast": round(best["plain"] / best["folded"], 2),
                "int8_times_as_fast": round(best["plain"] / best["int8"], 2),
                "folded_largest_difference": float(np.abs(z["folded"] - z["plain"]).max()),
                "int8_rms_difference": float(np.sqrt(np.mean((z["int8"] - z["plain"]) ** 2))),
                "folded_agreement": agreement(queries, z["plain"], z["folded"]),
                "int8_agreement": agreement(queries, z["plain"], z["int8"]),
                "mixed_agreement": agreement(queries, z["plain"], mixed),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
