"""Images a second of training the paper's networks, as ratios to a plain loop of the paper's two-step training.

python benchmarks/training.py --threads 1 --seconds 10

All in one process, taking turns, so that a busy machine slows all of them: `plain` is the loop as one would write it
(torch.nn layers, Adam, batch 32, each step generates its own batch), `equal` is solquery's, which does the same
arithmetic in another order (channels last, biases of transposed convolutions apart, one-channel layers as products of
matrices, eight patches at a time, fused Adam), `shared` lets one generated batch serve both steps. Also prints how far
the gradients of `equal` are from those of `plain` in double precision. With --device cuda: images a second on a GPU and
the minutes of the paper's 200 epochs over 49,552 patches.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from solquery.config import PaperGanConfig
from solquery.generator import networks
from solquery.generator.strided import double
from solquery.generator.training import _Adversaries
from solquery.training.process_group import ProcessGroup

BATCH = 32
#: patches of the paper, epochs of its training
PAPER_IMAGES = 200 * 49_552
SHAPE = (128, 128)


class PlainGenerator(nn.Module):
    """The paper's, from torch.nn layers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(100, 64 * 15 * 15)
        self.up1 = nn.ConvTranspose2d(64, 64, 3, stride=2)
        self.up2 = nn.ConvTranspose2d(64, 32, 3, stride=2)
        self.up3 = nn.ConvTranspose2d(32, 1, 3, stride=2)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.linear(z), 0.2).view(-1, 64, 15, 15)
        x = F.leaky_relu(self.up1(x), 0.2)
        x = F.pad(F.leaky_relu(self.up2(x), 0.2), (1, 1, 1, 1))
        return torch.tanh(self.up3(x))[:, :, :128, :128]


def plain_discriminator() -> nn.Sequential:
    """The paper's, up to its sigmoid, which the loss takes in."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 3, stride=2), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 64, 3, stride=2), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(14_400, 100), nn.LeakyReLU(0.2),
        nn.Linear(100, 1), nn.Flatten(0),
    )  # fmt: skip


class Plain:
    """The paper's two steps as one would write them."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = PlainGenerator().to(device), plain_discriminator().to(device)
        self.optimise_g = torch.optim.Adam(self.generator.parameters(), lr=5e-4)
        self.optimise_d = torch.optim.Adam(self.discriminator.parameters(), lr=5e-4)
        self.device = device

    def step(self, real: torch.Tensor) -> None:
        one, nought = torch.ones(len(real), device=self.device), torch.zeros(len(real), device=self.device)
        loss = F.binary_cross_entropy_with_logits
        fake = self.generator(torch.randn(len(real), 100, device=self.device)).detach()
        loss_d = 0.5 * (loss(self.discriminator(real), one) + loss(self.discriminator(fake), nought))
        self.optimise_d.zero_grad()
        loss_d.backward()
        self.optimise_d.step()
        fake = self.generator(torch.randn(len(real), 100, device=self.device))
        loss_g = loss(self.discriminator(fake), one)
        self.optimise_g.zero_grad()
        loss_g.backward()
        self.optimise_g.step()


class Ours:
    """The two steps of `solquery train generator --preset paper`."""

    def __init__(self, device: torch.device, shared: bool, precision: str = "fp32") -> None:
        config = PaperGanConfig(shared_batch=shared, precision=precision)
        self.state = _Adversaries(config, np.empty((0, *SHAPE), np.float32), SHAPE, 0, ProcessGroup(device=device))

    def step(self, real: torch.Tensor) -> None:
        state = self.state
        _, fakes = state._step_discriminator(real, state._draw(), None, 1.0, 0.0)
        state._step_generator(real, fakes, None if state.config.shared_batch else state._draw(), None, 1.0)


def _plain_gradients(
    ours: _Adversaries, real: torch.Tensor, z: torch.Tensor, kind: torch.dtype
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradients of discriminator and generator, of the plain networks in `kind`, with the weights of `ours`."""
    generator, discriminator = PlainGenerator().to(kind), plain_discriminator().to(kind)
    generator.load_state_dict(ours.generator.state_dict())
    discriminator.load_state_dict({k.replace("features.", ""): v for k, v in ours.discriminator.state_dict().items()})
    loss = F.binary_cross_entropy_with_logits
    one, nought = torch.ones(BATCH, dtype=kind), torch.zeros(BATCH, dtype=kind)
    fake = generator(z[0].to(kind)).detach()
    (0.5 * (loss(discriminator(real.to(kind)), one) + loss(discriminator(fake), nought))).backward()
    found = [p.grad.clone() for p in discriminator.parameters()]
    loss(discriminator(generator(z[1].to(kind))), one).backward()
    return found, [p.grad for p in generator.parameters()]


def _smooth(x: torch.Tensor, slope: float = 0.01, inplace: bool = False) -> torch.Tensor:
    """LeakyReLU without its kink."""
    return slope * x + (1 - slope) * F.softplus(4 * x) / 4


def _smoothly_doubled(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, slope: float = 1.0) -> torch.Tensor:
    return _smooth(double(x, weight, bias), slope)


def gradient_errors(kind: torch.dtype = torch.float32) -> dict[str, tuple[float, float]]:
    """Of `equal` and of the plain networks, computed in `kind`, for discriminator and generator: the largest difference
    of a gradient from that of the plain networks in float64, by the largest gradient of the network.

    In float32 with the kink of LeakyReLU rounded: there, a number that another precision puts on the other side of zero
    changes gradients by 1e-4 and more, in the plain networks as in any other.
    """
    kinked = F.leaky_relu
    if kind != torch.float64:
        F.leaky_relu = _smooth
        networks.double = _smoothly_doubled
    try:
        return _gradient_errors(kind)
    finally:
        F.leaky_relu, networks.double = kinked, double


def _gradient_errors(kind: torch.dtype) -> dict[str, tuple[float, float]]:
    torch.manual_seed(0)
    ours = _Adversaries(PaperGanConfig(), np.empty((0, *SHAPE), np.float32), SHAPE, 0, ProcessGroup())
    # spots, and not noise: between noise and the faint output of fresh weights a gradient is a small difference of
    # large numbers in any precision
    real = F.interpolate(torch.randn(BATCH, 1, 8, 8), size=SHAPE, mode="bicubic").clamp(-1, 1)
    z = torch.randn(2, BATCH, 100)
    wanted, plain = _plain_gradients(ours, real, z, torch.float64), _plain_gradients(ours, real, z, kind)
    ours.generator.to(kind), ours.discriminator.to(kind)
    for optimiser in (ours.optimise_g, ours.optimise_d):
        optimiser.step = lambda: None  # only the gradients are wanted, of the weights as they are
    real, z = real.to(kind), z.to(kind)
    _, fakes = ours._step_discriminator(real, z[0], None, 1.0, 0.0)
    # `float()` in the steps makes logits of them in float32; what was lost there is not the order of sums
    equal_d = [p.grad.clone() for p in ours.discriminator.parameters()]
    ours._step_generator(real, fakes, z[1], None, 1.0)
    equal = (equal_d, [p.grad for p in ours.generator.parameters()])

    def error(got: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
        largest = max(float(b.abs().max()) for b in wanted)
        return max(float((a.double() - b).abs().max()) / largest for a, b in zip(got, wanted, strict=True))

    return {
        name: (error(equal[k], wanted[k]), error(plain[k], wanted[k]))
        for k, name in enumerate(("discriminator", "generator"))
    }


def rates(trainers: dict[str, Plain | Ours], seconds: float, device: torch.device) -> dict[str, float]:
    """Images a second of each, taking turns of a few steps."""
    real = (0.1 * torch.randn(BATCH, 1, *SHAPE)).to(device)
    turn, spent = 3 if device.type == "cpu" else 50, dict.fromkeys(trainers, 0.0)
    best = dict.fromkeys(trainers, np.inf)
    alone = device.type == "cpu" and torch.get_num_threads() == 1

    def wait() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        # on one thread its own time counts, and not that of what else runs on the machine
        return time.process_time() if alone else time.perf_counter()

    for trainer in trainers.values():
        for _ in range(2):
            trainer.step(real)
    while sum(spent.values()) < seconds:
        for name, trainer in trainers.items():
            began = wait()
            for _ in range(turn):
                trainer.step(real)
            took = wait() - began
            spent[name] += took
            best[name] = min(best[name], took / (turn * BATCH))
    # the best turn of each: what else runs on the machine can only slow it
    return {name: 1 / value for name, value in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="for all of them together")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    trainers: dict[str, Plain | Ours] = {
        "plain": Plain(device), "equal": Ours(device, False), "shared": Ours(device, True)
    }  # fmt: skip
    if device.type == "cuda":
        trainers["equal, bf16"] = Ours(device, False, "bf16")
    found = rates(trainers, options.seconds, device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{options.threads} thread(s)"
    for name, rate in found.items():
        minutes = PAPER_IMAGES / rate / 60
        print(
            f"{name:12} {rate:8.1f} images/s on {where}, {rate / found['plain']:.2f} times plain; "
            f"the paper's 200 epochs in {minutes:,.0f} minutes"
        )
    for name, (equal, plain) in gradient_errors().items():
        print(f"{name}: gradients of equal are within {equal:.1e} of float64's, those of plain within {plain:.1e}")


if __name__ == "__main__":
    main()
