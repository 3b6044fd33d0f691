"""Inversion against the plain way, in one run: error and time for each image, and how many generated patches are found.

    python benchmarks/inversion.py --model paper --patches 100 --plain 2

The plain way is the paper's as far as it is told: SGD with momentum 0.9 and learning rate 0.01 on the mean squared
error, ten random starts of 1,000 steps, one image at a time, gradients cleared at each step. It is run on `--plain` of
the images and its time is counted for each image. The patches are of `--archive` (held out from training), or, without
one, of the simulator. Generated patches are given more starts and steps: there an exact answer exists.

With `--observed FOLDER` nothing of that: `first_guess` and `reconstruct`, picture and physics, are timed on those
frames, one at a time and in batches, and noise says how often the model wrongly claims to draw something:

    python benchmarks/inversion.py --model physical --observed MY_SHARPS
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from solquery import Archive, Model, invert, prepare_many, render, simulate

GENERATED_MSE = 1e-4


def plainly(model: Model, target: torch.Tensor, restarts: int, steps: int, seed: int) -> float:
    """Mean squared error of the best of `restarts` descents for one image (H, W)."""
    source, best = torch.Generator().manual_seed(seed), np.inf
    for _ in range(restarts):
        z = torch.randn(1, model.generator.latent_dim, generator=source).requires_grad_(True)
        descent = torch.optim.SGD([z], lr=0.01, momentum=0.9)
        for _ in range(steps):
            descent.zero_grad()
            loss = (model.generator(z)[0, 0] - target).square().mean()
            loss.backward()
            descent.step()
        best = min(best, float(loss.detach()))
    return best


def observed(model: Model, folder: str, alone: int) -> dict[str, object]:
    """Seconds of `first_guess` and `reconstruct` on observed frames, alone and in batches, and how they come out."""
    import warnings
    from pathlib import Path

    from solquery import read_sharp
    from solquery.sharp.fits import UnreadableFits
    from solquery.steering import SteeringWarning, first_guess, reconstruct
    from solquery.steering.reconstruction_loss import BLOCKS, parameter_errors

    patches, place = [], Path(folder)
    for path in sorted(place.rglob("*.fits")) if place.is_dir() else [place]:
        try:
            patches.append(read_sharp(path))
        except UnreadableFits:
            continue
    patches = [patch for patch in patches if patch.quantity == "radial"]
    x = np.nan_to_num(prepare_many(patches, model.preset))

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    rows = np.linspace(0, len(x) - 1, alone).round().astype(int)
    first_guess(model, x[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        guesses = [timed(partial(first_guess, model, x[k])) for k in rows]
        single = [timed(partial(reconstruct, model, x[k])) for k in rows]
        began, cpu = time.perf_counter(), time.process_time()
        found = reconstruct(model, x)
        batch, cpu = time.perf_counter() - began, time.process_time() - cpu
        power = np.sqrt(np.median(np.square(x).mean((1, 2))))
        noise = np.random.default_rng(0).normal(0, power, (8, *x.shape[1:])).astype(np.float32)
        drawn = [one.verdict for one in reconstruct(model, noise)].count("drawn")
    values = [{k: np.array([getattr(one, which)[k] for one in found]) for k in found[0].observed or {}} for which in
              ("observed", "reconstructed")]  # fmt: skip
    errors = {k: v.numpy() for k, v in parameter_errors(*values).items()}
    return {
        "model": model.name,
        "frames": len(x),
        "regions": len({patch.region for patch in patches}),
        "first_guess_seconds": float(np.median(guesses)),
        "alone_seconds": float(np.median(single)),
        "batch_seconds_a_patch": batch / len(x),
        "batch_cpu_seconds_a_patch": cpu / len(x),
        "unexplained_median": {b: float(np.median([1 - (one.explained or {})[b] for one in found])) for b in BLOCKS},
        "unexplained_most": max(one.unexplained for one in found),
        "within_tolerance": {k: float(np.mean(v[~np.isnan(v)] <= 1)) for k, v in errors.items()},
        "cannot_draw": [patch.id for patch, one in zip(patches, found, strict=True) if one.verdict != "drawn"],
        "noise_drawn": f"{drawn} of {len(noise)}",
    }


def told(out: dict[str, object]) -> None:
    """What is known so far, while the rest takes minutes."""
    print(json.dumps(out), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--archive", default=None)
    parser.add_argument("--patches", type=int, default=100)
    parser.add_argument("--plain", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--fast-starts", type=int, default=1, help="random starts beside the inference network's")
    parser.add_argument("--fast-steps", type=int, default=40)
    parser.add_argument("--generated", type=int, default=100, help="generated patches to be found again")
    parser.add_argument("--generated-starts", type=int, default=3)
    parser.add_argument("--generated-steps", type=int, default=200)
    parser.add_argument("--observed", default=None, help="file or folder of SHARP Br frames")
    parser.add_argument("--alone", type=int, default=4, help="observed frames that are timed one at a time")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = Model.load(asked.model)
    if asked.observed is not None:
        print(json.dumps(observed(model, asked.observed, asked.alone), indent=1))
        return
    for p in model.generator.parameters():
        p.requires_grad_(False)
    if asked.archive is None:
        patches = simulate(-(-asked.patches // 4), 4, 90_210, 1)
    else:
        store = Archive.open(asked.archive)
        ids = np.random.default_rng(1).permutation(sorted(store.ids()))[: asked.patches]
        patches = store.patches(ids=list(ids))
    x = prepare_many(patches, model.preset)[: asked.patches]
    began = time.perf_counter()
    fast = invert(model, x, starts=asked.fast_starts, steps=asked.fast_steps)
    fast_seconds = (time.perf_counter() - began) / len(x)
    errors = [found.mse for found in fast]
    out = {
        "model": model.name,
        "patches": len(x),
        "seconds_an_image": fast_seconds,
        "mse_mean": float(np.mean(errors)),
        "unexplained_median": float(np.median([found.unexplained for found in fast])),
        "z_norm_median": float(np.median([found.z_norm for found in fast])),
    }
    told(out)
    if asked.plain:
        rows = np.linspace(0, len(x) - 1, asked.plain).round().astype(int)
        began = time.perf_counter()
        plain = [plainly(model, torch.from_numpy(x[k]), asked.restarts, asked.steps, int(k)) for k in rows]
        plain_seconds = (time.perf_counter() - began) / len(rows)
        out |= {
            "plain_images": len(rows),
            "plain_seconds_an_image": plain_seconds,
            "plain_mse_mean": float(np.mean(plain)),
            "mse_mean_of_the_same": float(np.mean([errors[k] for k in rows])),
            "times_faster": plain_seconds / fast_seconds,
        }
        told(out)
    if asked.generated:
        source = torch.Generator().manual_seed(31)
        z = torch.randn(asked.generated, model.generator.latent_dim, generator=source)
        made = render(model.generator, z, model.preset.shape)[:, 0]
        began = time.perf_counter()
        found = invert(model, made.numpy(), starts=asked.generated_starts, steps=asked.generated_steps)
        out |= {
            "generated": asked.generated,
            "generated_found": int(sum(answer.mse < GENERATED_MSE for answer in found)),
            "generated_seconds_an_image": (time.perf_counter() - began) / len(found),
            "generated_mse_median": float(np.median([answer.mse for answer in found])),
        }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
