"""A small U-Net on the pairs of a translation, trained until regions left out of the fit are done no better.

The fitting regions are divided once more: a sixth of them are not trained on. The rate of learning is a third after
each four checks in a row without a better error on these; at the third time training ends, and the weights with the
least error are kept. The regions that ways are compared on have no part in it.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from solquery.translation import Kind
from solquery.translation.fitting import Sample
from solquery.translation.maps import smoothly_filled

Maker = Callable[[Sample], np.ndarray]

#: pixels to the side of a crop, crops of a step, steps between two checks
CROP, BATCH, CHECK = 48, 8, 250
RATE, LOWER, PATIENCE, TIMES = 3e-3, 1 / 3, 4, 3
#: share of the fitting regions that are not trained on, and their pairs at most that a check looks at
SHARE, MOST = 1 / 6, 48


class UNet(nn.Module):
    """Two levels down and up again, 12 to 36 channels; gives what is to be added to the field."""

    def __init__(self, channels: int, width: int = 12) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU())

        self.first, self.second = block(channels, width), block(width, 2 * width)
        self.third = block(2 * width, 2 * width)
        self.up_second, self.up_first = block(4 * width, width), block(2 * width, width)
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.first(x)
        b = self.second(F.avg_pool2d(a, 2))
        c = self.third(F.avg_pool2d(b, 2))
        b = self.up_second(torch.cat([b, F.interpolate(c, scale_factor=2.0)], 1))
        a = self.up_first(torch.cat([a, F.interpolate(b, scale_factor=2.0)], 1))
        return self.last(a)


def channels(kind: Kind, sample: Sample) -> np.ndarray:
    """(6, H, W): field in kG, 1 / mu - 1, both components of the direction to the limb, missing, saturated."""
    one = sample.one
    start = smoothly_filled(one) if kind.where == "missing" else one.field
    return np.stack([start / 1000, 1.0 / one.mu - 1.0, *one.toward, one.missing, one.saturated]).astype(np.float32)


def padded(x: np.ndarray) -> torch.Tensor:
    """(1, C, H, W) with sides that are multiples of four, and of a crop at least."""
    ny, nx = x.shape[-2:]
    add = [max(-(-n // 4) * 4, CROP) - n for n in (ny, nx)]
    return torch.from_numpy(np.pad(x, ((0, 0), (0, add[0]), (0, add[1]))))[None]


def crop(data: list[torch.Tensor], rng: np.random.Generator) -> torch.Tensor:
    """(8, 48, 48): a random part in which a pixel counts, mirrored and turned in sign at random."""
    while True:
        whole = data[rng.integers(len(data))]
        y, x = (int(rng.integers(0, n - CROP + 1)) for n in whole.shape[-2:])
        part = whole[:, y : y + CROP, x : x + CROP].clone()
        if part[-1].any() or rng.random() < 0.05:
            break
    for axis, toward in ((1, 2), (2, 3)):
        if rng.random() < 0.5:
            part = part.flip(axis)
            part[toward] *= -1
    if rng.random() < 0.5:
        part[[0, 6]] *= -1
    return part


def loss_of(network: UNet, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of squared errors in kG² over the pixels that count, and how many these are."""
    counts = batch[:, 7:]
    made = batch[:, :1] + network(batch[:, :6])
    return ((made - batch[:, 6:7]) * counts).square().sum(), counts.sum()


def error_of(network: UNet, data: list[torch.Tensor]) -> float:
    """Root mean square error in gauss."""
    with torch.no_grad():
        parts = [loss_of(network, one[None]) for one in data]
    return 1000 * float(torch.stack([a for a, _ in parts]).sum() / torch.stack([b for _, b in parts]).sum()) ** 0.5


def divided(samples: Sequence[Sample], rng: np.random.Generator) -> tuple[set[str], list[str]]:
    """Regions that are not trained on, and all."""
    regions = rng.permutation(sorted({s.region for s in samples})).tolist()
    return set(regions[: max(1, round(SHARE * len(regions)))]), regions


def trained(kind: Kind, samples: Sequence[Sample], most: int, seed: int) -> tuple[Maker, dict[str, Any]]:
    """A network as a way from a sample to a field in gauss, and what is to be told of its training.

    `most` steps at most; `ended` says whether training ended by itself before.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, best = UNet(6), (np.inf, 0)
    kept = copy.deepcopy(network.state_dict())
    apart, regions = divided(samples, rng)
    data: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for s in samples:
        more = np.stack([s.wanted / 1000, s.counts]).astype(np.float32)
        data[s.region in apart].append(padded(np.concatenate([channels(kind, s), more]))[0])
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    since = lowered = step = 0
    began = time.process_time()
    while step < most and lowered < TIMES:
        step += 1
        total, count = loss_of(network, torch.stack([crop(data[False], rng) for _ in range(BATCH)]))
        optimiser.zero_grad()
        (total / count.clamp(min=1)).backward()
        optimiser.step()
        if step % CHECK:
            continue
        error = error_of(network, data[True][:MOST])
        since = 0 if error < best[0] else since + 1
        if not since:
            best, kept = (error, step), copy.deepcopy(network.state_dict())
        if since >= PATIENCE:
            since, lowered = 0, lowered + 1
            network.load_state_dict(kept)
            optimiser.param_groups[0]["lr"] *= LOWER
        seconds = time.process_time() - began
        print(f"U-Net, {kind.name}: step {step}, {error:.1f} G, best {best[0]:.1f}, {seconds:.0f} s", file=sys.stderr)
    network.load_state_dict(kept)
    network.eval()

    def make(sample: Sample) -> np.ndarray:
        x = channels(kind, sample)
        with torch.no_grad():
            added = network(padded(x))[0, 0].numpy()[: x.shape[1], : x.shape[2]]
        return 1000 * (x[0] + added)

    told = {
        "steps": step, "best_step": best[1], "validation_gauss": best[0], "ended": lowered >= TIMES,
        "cpu_minutes": (time.process_time() - began) / 60, "parameters": sum(p.numel() for p in network.parameters()),
        "fitted_regions": len(regions) - len(apart),
    }  # fmt: skip
    return make, told
