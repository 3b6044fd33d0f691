"""A step of SimSiam beside a plain eager one: the same networks, views, loss and optimiser.

python benchmarks/simsiam.py [--threads 2] [--steps 6] [--batch 32] [--downsample 1]

`plain` is the step as one would write it: the paper's ResNet-18 and heads from torch.nn in torch's own layout, the two
views of each patch made for one image after the other with one interpolation each. `ours` is the step of `solquery
train encoder --preset paper`. Both begin with the same weights, see the same patches in the same views, in turns of one
process; printed is also how far their weights are apart after the first step, by the largest change.

The convolutions and matrix products of a step have a number of operations that equal arithmetic cannot lower. What
share they are of what one large matrix product reaches in the same time says how much faster a step could be at most.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from augment import single
from torch.utils.flop_counter import FlopCounterMode

from solquery.config import EncoderConfig, get_preset
from solquery.encoder.augment import draw_views, seeded_generator
from solquery.encoder.losses import LOSSES
from solquery.encoder.networks import build_encoder, build_predictor
from solquery.encoder.run_folder import EncoderRun
from solquery.encoder.training import _VIEWS, _rates, _Trainer

SHAPE = (128, 128)


class Plain:
    """The step as one would write it, on the patches of `ours` in the order of `ours`."""

    def __init__(self, cfg: EncoderConfig, ours: _Trainer) -> None:
        self.cfg, self.ours = cfg, ours
        self.encoder, self.predictor = build_encoder(cfg, 0).train(), build_predictor(cfg, 0).train()
        groups = [{"params": list(part.parameters())} for part in (self.encoder, self.predictor)]
        self.optimizer = torch.optim.SGD(groups, lr=cfg.learning_rate, momentum=cfg.momentum)

    def step(self, number: int) -> None:
        x = self.ours.batches(number)
        generator = seeded_generator(0, _VIEWS, number)
        one, two = (single(x, draw_views(len(x), self.cfg.augment, generator)) for _ in range(2))
        for group, rate in zip(self.optimizer.param_groups, _rates(self.cfg, number, self.ours.steps), strict=True):
            group["lr"] = rate
        loss = LOSSES["simsiam"](self.encoder(one), self.encoder(two), self.predictor, self.cfg.temperature)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def apart(plain: Plain, ours: _Trainer, before: dict[str, torch.Tensor]) -> float:
    """Largest difference of a weight after a step, by the largest change of a weight."""
    one, other = plain.encoder.state_dict(), ours.encoder.state_dict()
    learned = [name for name, _ in plain.encoder.named_parameters()]
    change = max(float((one[name] - before[name]).abs().max()) for name in learned)
    return max(float((one[name] - other[name]).abs().max()) for name in learned) / change


def rate_of_a_product(size: int = 2048, times: int = 5) -> float:
    """Operations a second of a large matrix product in float32: what the threads can reach."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    best = min(_seconds(lambda: one @ other) for _ in range(times))
    return 2 * size**3 / best


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="of each, after the first")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--downsample", type=int, default=1, help="2: on means of 2 x 2 pixels, as model `paper`")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cfg = replace(
        get_preset("paper").encoder, batch=options.batch, downsample=options.downsample, precision="fp32", images=10**6
    )
    data = (0.1 * np.random.default_rng(0).standard_normal((4 * options.batch, *SHAPE))).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:
        ours = _Trainer(cfg, data, EncoderRun(folder, cfg, 0, data), 0, torch.device("cpu"), None)
        plain = Plain(cfg, ours)
        before = {name: value.clone() for name, value in plain.encoder.state_dict().items()}
        with FlopCounterMode(display=False) as counted:
            plain.step(0)
        operations = counted.get_total_flops()
        ours._advance()
        difference = apart(plain, ours, before)
        spent: dict[str, list[float]] = {"plain": [], "ours": []}
        for number in range(1, options.steps + 1):
            for name, step in (("plain", lambda n=number: plain.step(n)), ("ours", ours._advance)):
                spent[name].append(_seconds(step))
    best = {name: options.batch / min(times) for name, times in spent.items()}
    for name, rate in best.items():
        print(f"{name:6} {rate:6.1f} images/s on {options.threads} thread(s), {rate / best['plain']:.2f} times plain")
    reached = rate_of_a_product()
    share = operations / min(spent["ours"]) / reached
    print(f"{operations / options.batch / 1e9:.2f} billion operations an image, {share:.0%} of a matrix product's rate")
    print(f"weights after the first step: {difference:.1e} of the largest change apart")


if __name__ == "__main__":
    main()
