"""Train a generator against a discriminator; one loop, resumable at any moment.

A run folder holds `config.json`, `stats.jsonl`, `checkpoints/` and `samples/`. The same call continues a run from its
last checkpoint with weights, optimisers, averages, random states and data order, and on a CPU arrives at the weights of
an uninterrupted run. Needs numpy, torch and safetensors; Pillow, if there, draws the sample pictures.
"""

from __future__ import annotations

import copy
import json
import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from ..config import GeneratorConfig
from .networks import build_discriminator, build_generator
from .runs import RunFolder, TrainingError, batch_order, draw_picture, export_weights, trim_stats, write_then_rename
from .vaegan import train_vaegan

__all__ = ["CollapseWarning", "TrainingError", "discriminator_accuracy", "load_run", "train_generator"]

R1_EVERY = 16
ACCURACY_PATCHES = 512
#: a generator younger than this has not had the time to vary
COLLAPSE_STEPS = 500


class CollapseWarning(UserWarning):
    """Generated patches hardly differ from each other."""


class _Schedule:
    """Which level of the pyramid is trained after how many images, and how far the newest one is faded in."""

    def __init__(self, config: GeneratorConfig, levels: int | None) -> None:
        self.levels = levels
        self.grow = config.grow_images if levels is not None else ()
        self.fade_images = max(config.fade_images, 1)
        if levels is not None and len(self.grow) > levels:
            raise TrainingError(f"grow_images names {len(self.grow)} coarser levels, but this size has only {levels}")

    def at(self, images: int) -> tuple[int | None, float]:
        """(level, fade) after `images`; level None: the architecture does not grow."""
        if self.levels is None:
            return None, 1.0
        level, since = self.levels - len(self.grow), images
        for spent in self.grow:
            if since < spent:
                break
            since -= spent
            level += 1
        first = level == self.levels - len(self.grow)
        return level, 1.0 if first else min(1.0, since / self.fade_images)


def _call(network: nn.Module, x: torch.Tensor, level: int | None, **more: float) -> torch.Tensor:
    return network(x) if level is None else network(x, level=level, **more)


def _shrink(x: torch.Tensor, side: int) -> torch.Tensor:
    return x if x.shape[-1] == side else F.avg_pool2d(x, x.shape[-1] // side)


class _State:
    """All that a run needs to go on: networks, optimisers, averages, counters and random states."""

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int], seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        # convolutions in bfloat16 run up to twice as fast on a CPU with channels last
        layout = torch.channels_last if config.precision == "bf16" else torch.contiguous_format
        self.generator = build_generator(config, shape).to(device, memory_format=layout)
        self.discriminator = build_discriminator(config, shape).to(device, memory_format=layout)
        adam = {"lr": config.learning_rate, "betas": tuple(config.betas)}
        self.optimise_g = torch.optim.Adam(self.generator.parameters(), **adam)
        self.optimise_d = torch.optim.Adam(self.discriminator.parameters(), **adam)
        self.average = copy.deepcopy(self.generator).eval() if config.ema_halflife_images else None
        self.random = torch.Generator().manual_seed(seed + 1)
        self.step = 0
        self.best_accuracy = math.inf
        self.best_epoch = -1

    def pack(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimise_g": self.optimise_g.state_dict(),
            "optimise_d": self.optimise_d.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "random": self.random.get_state(),
            "step": self.step,
            "best_accuracy": self.best_accuracy,
            "best_epoch": self.best_epoch,
        }

    def unpack(self, packed: dict[str, Any]) -> None:
        self.generator.load_state_dict(packed["generator"])
        self.discriminator.load_state_dict(packed["discriminator"])
        self.optimise_g.load_state_dict(packed["optimise_g"])
        self.optimise_d.load_state_dict(packed["optimise_d"])
        if self.average is not None:
            self.average.load_state_dict(packed["average"])
        self.random.set_state(packed["random"])
        self.step = packed["step"]
        self.best_accuracy, self.best_epoch = packed["best_accuracy"], packed["best_epoch"]

    @property
    def shipped(self) -> nn.Module:
        """The network that is used: the average where one is kept."""
        return self.average if self.average is not None else self.generator


def _losses(config: GeneratorConfig, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Discriminator loss from logits: equation 2 of the paper (with its sign), or the relativistic pairing."""
    if config.loss == "bce":
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    return F.softplus(fake - real).mean()


def _gradient_penalty(network: nn.Module, x: torch.Tensor, level: int | None, fade: float) -> torch.Tensor:
    """Mean squared gradient of the logit on real patches (R1, Mescheder et al. 2018, arXiv:1801.04406)."""
    x = x.detach().requires_grad_(True)
    logits = network(x) if level is None else network(x, level=level, fade=fade)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


@torch.no_grad()
def discriminator_accuracy(discriminator: nn.Module, generator: nn.Module, real: torch.Tensor, seed: int) -> float:
    """Share of real and generated patches that the discriminator tells apart rightly (paper, section 4)."""
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(len(real), generator.latent_dim, generator=draw).to(real.device)
    right = 0
    for start in range(0, len(real), 64):
        part = slice(start, start + 64)
        right += int((discriminator(real[part]) > 0).sum()) + int((discriminator(generator(z[part])) <= 0).sum())
    return right / (2 * len(real))


def train_generator(
    config: GeneratorConfig,
    data: Any,
    run: str | Path,
    shape: tuple[int, int] = (128, 128),
    *,
    seed: int = 0,
    device: str = "cpu",
    until_images: int | None = None,
    minutes: float | None = None,
    checkpoint_seconds: float = 120.0,
    sample_seconds: float = 300.0,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train, or go on with a run, until the configured number of images, `until_images` or `minutes`.

    Parameters
    ----------
    data
        Array-like (N, H, W) in preset units, for example a memory map; read by index.
    run
        Run folder; a folder that holds another configuration is refused.
    shape
        (H, W) of the patches.

    Returns
    -------
    Path of the generator's weights in the run (`checkpoints/generator.safetensors`): for the loss of the paper those
    of the epoch chosen by discriminator accuracy, else the last ones (their moving average where configured).

    Raises
    ------
    TrainingError
        Too few patches, a loss that is no longer finite (the last good checkpoint stays), or a foreign run folder.
    """
    if config.loss == "vae-gan":
        return train_vaegan(
            config, data, run, shape, seed=seed, device=device, until_images=until_images, minutes=minutes,
            checkpoint_seconds=checkpoint_seconds, sample_seconds=sample_seconds, progress=progress,
        )  # fmt: skip
    run, place = Path(run), torch.device(device)
    RunFolder(run, config, shape, seed, data)
    count = len(data)
    state = _State(config, shape, seed, place)
    checkpoint, stats = run / "checkpoints" / "last.pt", run / "stats.jsonl"
    if checkpoint.exists():
        state.unpack(torch.load(checkpoint, weights_only=True, map_location=place))
    trim_stats(stats, state.step * config.batch)

    schedule = _Schedule(config, getattr(state.generator, "levels", None))
    per_epoch = count // config.batch
    steps = (config.images // config.batch) if config.images else config.epochs * per_epoch
    if until_images is not None:
        steps = min(steps, math.ceil(until_images / config.batch))
    half = place.type != "cpu" or config.precision == "bf16"
    autocast = torch.autocast(place.type, torch.bfloat16) if half and config.precision == "bf16" else nullcontext()
    decay = 0.5 ** (config.batch / config.ema_halflife_images) if config.ema_halflife_images else 0.0
    held = torch.as_tensor(np.asarray(data[batch_order(seed, -1 % 2**31, count)[:ACCURACY_PATCHES]], np.float32))[
        :, None
    ]

    began = last_save = last_sample = time.monotonic()
    step0, sums, summed = state.step, {"loss_g": 0.0, "loss_d": 0.0}, 0

    def save() -> None:
        write_then_rename(checkpoint, lambda part: torch.save(state.pack(), part))

    def line(**more: Any) -> None:
        nonlocal sums, summed
        images = state.step * config.batch
        rate = (state.step - step0) * config.batch / max(time.monotonic() - began, 1e-9)
        entry = {"images": images, "epoch": images / (per_epoch * config.batch), "images_per_s": round(rate, 2)}
        entry |= {key: round(value / max(summed, 1), 5) for key, value in sums.items()} | more
        sums, summed = {"loss_g": 0.0, "loss_d": 0.0}, 0
        with stats.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if progress is not None:
            progress(entry | {"of_images": steps * config.batch})

    order_epoch, order = -1, np.empty(0, int)
    while state.step < steps:
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            break
        epoch, within = divmod(state.step, per_epoch)
        if epoch != order_epoch:
            order_epoch, order = epoch, batch_order(seed, epoch, count)
        level, fade = schedule.at(state.step * config.batch)
        chosen = np.sort(order[within * config.batch : (within + 1) * config.batch])
        real = torch.as_tensor(np.asarray(data[chosen], np.float32))[:, None].to(place)
        if level is not None:
            real = _shrink(real, 8 * 2**level)
        more = {} if level is None else {"fade": fade}
        z = torch.randn(config.batch, config.latent_dim, generator=state.random).to(place)

        with autocast:
            fake = _call(state.generator, z, level)
            on_real = _call(state.discriminator, real, level, **more).float()
            on_fake = _call(state.discriminator, fake.detach(), level, **more).float()
            loss_d = _losses(config, on_real, on_fake)
        total = loss_d
        if config.r1 and state.step % R1_EVERY == 0:
            penalty = _gradient_penalty(state.discriminator, real, level, fade)
            total = loss_d + 0.5 * config.r1 * R1_EVERY * penalty
        state.optimise_d.zero_grad(set_to_none=True)
        total.backward()
        state.optimise_d.step()

        # the parameters of D are not updated when G is trained (paper, section 3)
        state.discriminator.requires_grad_(False)
        with autocast:
            on_fake = _call(state.discriminator, fake, level, **more).float()
            if config.loss == "bce":
                loss_g = F.softplus(-on_fake).mean()
            else:
                with torch.no_grad():
                    on_real = _call(state.discriminator, real, level, **more).float()
                loss_g = F.softplus(on_real - on_fake).mean()
        state.optimise_g.zero_grad(set_to_none=True)
        loss_g.backward()
        state.optimise_g.step()
        state.discriminator.requires_grad_(True)

        if state.average is not None:
            with torch.no_grad():
                keep = min(decay, (state.step + 1) / (state.step + 10))
                for kept, new in zip(state.average.parameters(), state.generator.parameters(), strict=True):
                    kept.lerp_(new, 1 - keep)
        state.step += 1
        value_g, value_d = float(loss_g.detach()), float(loss_d.detach())
        if not (math.isfinite(value_g) and math.isfinite(value_d)):
            raise TrainingError(
                f"the loss is no longer finite after {state.step * config.batch} images; {checkpoint} holds the last "
                "good state: lower learning_rate or raise r1, in a new run folder"
            )
        sums["loss_g"] += value_g
        sums["loss_d"] += value_d
        summed += 1

        ended = state.step % per_epoch == 0
        full = level is None or level == schedule.levels
        if ended and full and config.loss == "bce":
            accuracy = discriminator_accuracy(state.discriminator, state.generator, held.to(place), seed)
            done = state.step // per_epoch
            if done <= config.choose_within_epochs and accuracy < state.best_accuracy:
                state.best_accuracy, state.best_epoch = accuracy, done
                export_weights(state.generator, run / "checkpoints" / "chosen.safetensors")
            line(discriminator_accuracy=round(accuracy, 4), chosen_epoch=state.best_epoch)
            save()
        elif ended or state.step % 100 == 0:
            line(**({} if level is None else {"side": 8 * 2**level}))
        now = time.monotonic()
        if now - last_save > checkpoint_seconds:
            save()
            last_save = now
        if now - last_sample > sample_seconds:
            draw_picture(state.shipped, run / "samples" / f"{state.step * config.batch:09d}.png", level, place)
            last_sample = now

    save()
    level, _ = schedule.at(max(state.step * config.batch - 1, 0))
    draw_picture(state.shipped, run / "samples" / f"{state.step * config.batch:09d}.png", level, place)
    final = run / "checkpoints" / "generator.safetensors"
    chosen_file = run / "checkpoints" / "chosen.safetensors"
    if config.loss == "bce" and chosen_file.exists():
        network = build_generator(config, shape)
        network.load_state_dict(load_file(chosen_file))
        export_weights(network, final)
    else:
        export_weights(state.shipped, final)
    if state.step >= COLLAPSE_STEPS:
        _warn_if_collapsed(state.shipped, held, place)
    return final


@torch.no_grad()
def _warn_if_collapsed(network: nn.Module, real: torch.Tensor, device: torch.device) -> None:
    """Generated patches that all look alike are no generator: compare their spread with that of real patches."""
    z = torch.randn(64, network.latent_dim, generator=torch.Generator().manual_seed(64)).to(device)
    made = network(z)[:, 0].float().cpu()
    ratio = float(made.std(0).mean() / real[:64, 0].std(0).mean().clamp_min(1e-9))
    if ratio < 0.1:
        warnings.warn(
            f"generated patches vary {ratio:.2f} times as much as real ones: it collapsed",
            CollapseWarning,
            stacklevel=3,
        )


def load_run(run: str | Path) -> tuple[GeneratorConfig, tuple[int, int], nn.Module]:
    """Configuration, shape and generator (evaluation mode) of a run folder."""
    run = Path(run)
    weights = run / "checkpoints" / "generator.safetensors"
    if not weights.exists():
        raise TrainingError(f"{run} holds no finished generator: run `solquery train generator` on it first")
    resolved = json.loads((run / "config.json").read_text())
    values = dict(resolved["generator"])
    for name in ("betas", "grow_images", "anchors"):
        values[name] = tuple(values[name])
    config, shape = GeneratorConfig(**values), tuple(resolved["shape"])
    network = build_generator(config, shape)
    network.load_state_dict(load_file(weights))
    return config, shape, network.eval()
