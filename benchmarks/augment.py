"""A batch of augmented views in one interpolation, beside one image at a time.

python benchmarks/augment.py [--threads 1] [--batch 128] [--seconds 10]

Both make the same views of the same patches, from the same draw, in turns of one process. One image at a time is a loop
that asks the same functions for one patch: draw, matrix, one bilinear interpolation. `chained` shifts, zooms, turns and
flips each image by itself, one interpolation after the other (torchvision's functions, where that is installed), as a
list of transformations in a data loader does.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor

from solquery.config import get_preset
from solquery.encoder.augment import Views, draw_views, seeded_generator, warp


def single(x: Tensor, drawn: Views) -> Tensor:
    """One interpolation for each image."""
    parts = []
    for i in range(len(x)):
        own = slice(i, i + 1)
        views = Views(drawn.shift_px[own], drawn.zoom[own], drawn.rotation_deg[own], drawn.flip[own])
        parts.append(warp(x[own], views))
    return torch.cat(parts)


def chained(x: Tensor, drawn: Views) -> Tensor:
    """Flip, turn, zoom and shift of each image, each by an interpolation of its own."""
    parts = []
    for i in range(len(x)):
        one, own = x[i : i + 1], slice(i, i + 1)
        if bool(drawn.flip[i]):
            one = one.flip(-2)
        still = {"shift_px": torch.zeros(1, 2), "zoom": torch.ones(1), "rotation_deg": torch.zeros(1)}
        for name in ("rotation_deg", "zoom", "shift_px"):
            step = {**still, name: getattr(drawn, name)[own]}
            one = warp(
                one, Views(step["shift_px"], step["zoom"], step["rotation_deg"], torch.zeros(1, dtype=torch.bool))
            )
        parts.append(one)
    return torch.cat(parts)


def batched(x: Tensor, drawn: Views) -> Tensor:
    """As the training does."""
    return warp(x, drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    preset = get_preset("physical")
    x = torch.randn(options.batch, 1, *preset.shape, generator=seeded_generator(1))
    ways: dict[str, Callable[[Tensor, Views], Tensor]] = {"batched": batched, "single": single, "chained": chained}
    best = dict.fromkeys(ways, float("inf"))
    apart, turn, limit = 0.0, 0, time.monotonic() + options.seconds
    while time.monotonic() < limit or turn < 2:
        drawn = draw_views(len(x), preset.encoder.augment, seeded_generator(2, turn))
        made = {}
        for name, way in ways.items():
            began = time.process_time()
            made[name] = way(x, drawn)
            best[name] = min(best[name], (time.process_time() - began) / len(x))
        apart = max(apart, float((made["batched"] - made["single"]).abs().max()))
        turn += 1
    print(
        json.dumps(
            {
                "batch": len(x),
                "threads": options.threads,
                "turns": turn,
                "ms": {name: round(1e3 * seconds, 4) for name, seconds in best.items()},
                "times_as_fast_as_single": round(best["single"] / best["batched"], 2),
                "times_as_fast_as_chained": round(best["chained"] / best["batched"], 2),
                "largest_difference_from_single": apart,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
