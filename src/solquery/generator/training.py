"""Train a generator against a discriminator; one loop, resumable at any moment, on one device or several.

A run folder holds `config.json`, `stats.jsonl`, `checkpoints/` and `samples/`. The same call continues a run from its
last checkpoint with weights, optimisers, averages, random states and data order, and on a CPU arrives at the weights of
an uninterrupted run. Needs numpy, torch and safetensors; Pillow, if there, draws the sample pictures, and tensorboard,
if there, gets its events.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from ..aliases import Document
from ..config import GeneratorConfig, PaperGanConfig, VaeGanConfig, for_its_method, of_its_method
from ..protocols import Patches
from ..training.diversity import CollapseWarning, Diversity
from ..training.mixing import images_of
from ..training.process_group import ProcessGroup, process_group
from ..training.run_folder import TrainingError, batch_order
from .epoch_choice import EpochChoice, discriminator_accuracy
from .levels import image_shape
from .monitor import GeneratorMonitor
from .registry import build_discriminator, build_generator
from .run_folder import GeneratorRun
from .vaegan import train_vaegan

__all__ = ["CollapseWarning", "TrainingError", "discriminator_accuracy", "load_run", "read_settings", "train_generator"]

R1_EVERY = 16
#: patches that go through the networks at a time on a CPU: what few of them need fits its cache
MICRO_BATCH = 8


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


def _shrink(x: torch.Tensor, halvings: int) -> torch.Tensor:
    return F.avg_pool2d(x, 2**halvings) if halvings else x


def _losses(config: GeneratorConfig, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Discriminator loss from logits: equation 2 of the paper (with its sign), or the relativistic pairing."""
    if config.loss == "bce":
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    return F.softplus(fake - real).mean()


def _gradient_penalty(network: nn.Module, x: torch.Tensor, level: int | None, fade: float) -> torch.Tensor:
    """Mean squared gradient of the logit on real patches (R1, Mescheder et al. 2018, arXiv:1801.04406)."""
    x = x.detach().requires_grad_(True)
    logits = network(x) if level is None else network(x, level=level, fade=fade)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def train_generator(
    config: GeneratorConfig,
    data: Patches,
    run: str | Path,
    shape: tuple[int, int] = (128, 128),
    *,
    seed: int = 0,
    device: str = "cpu",
    until_images: int | None = None,
    minutes: float | None = None,
    checkpoint_seconds: float = 120.0,
    picture_steps: int = 500,
    progress: Callable[[Document], None] | None = None,
    provenance: Document | None = None,
    start: str | Path | None = None,
    encoder: nn.Module | None = None,
    real: np.ndarray | None = None,
    held_out: Patches | None = None,
) -> Path:
    """Train, or go on with a run, until the configured number of images, `until_images` or `minutes`.

    Started by `torchrun` in several processes, each takes its share of every batch.

    Parameters
    ----------
    data
        Array-like (N, H, W) in preset units, for example a memory map; read by index.
    run
        Run folder; a folder that holds another configuration is refused.
    shape
        (H, W) of the patches.
    checkpoint_seconds, picture_steps
        Between checkpoints; between pictures of the same 36 latents.
    progress
        Called with every line of statistics.
    provenance
        Written into `config.json` and held against it when the run goes on: the preset that prepared the data.
    start
        Run folder, or checkpoint, of another run of the same networks whose weights a new run begins with (loss
        `vae-gan` only).
    encoder
        Of the search, where the configuration has an `embedding_critic` (loss `vae-gan` only).
    real
        (N,) which patches are real observations, where the configuration has a `real_weight` (loss `vae-gan` only).
    held_out
        (N, H, W) patches in preset units of regions that are not in `data`: after each epoch the discriminator is
        asked about these too (loss `bce` only).

    Returns
    -------
    Path of the generator's weights in the run (`checkpoints/generator.safetensors`): for the loss of the paper those
    of the epoch chosen by discriminator accuracy, else the last ones (their moving average where configured).

    Raises
    ------
    TrainingError
        Too few patches, a loss that is no longer finite or a full disk (the last good checkpoint stays), or a foreign
        run folder.

    Warns
    -----
    CollapseWarning
        When generated patches have become alike.
    """
    if start is not None and config.loss != "vae-gan":
        raise TrainingError(
            f"loss {config.loss!r} starts from nothing; only 'vae-gan' takes the weights of another run"
        )
    if encoder is not None and config.loss != "vae-gan":
        raise TrainingError(
            f"loss {config.loss!r} knows no encoder; only 'vae-gan' is told how a search sees its draws"
        )
    if held_out is not None and config.loss != "bce":
        raise TrainingError(f"loss {config.loss!r} chooses no epoch by a discriminator; only 'bce' takes held_out")
    config = of_its_method(config)
    common: Document = {
        "seed": seed, "device": device, "until_images": until_images, "minutes": minutes,
        "checkpoint_seconds": checkpoint_seconds, "picture_steps": picture_steps, "progress": progress,
        "provenance": provenance,
    }  # fmt: skip
    if isinstance(config, VaeGanConfig):
        return train_vaegan(config, data, run, shape, start=start, encoder=encoder, real=real, **common)
    assert isinstance(config, PaperGanConfig)
    return _train_adversarial(config, data, run, shape, held_out=held_out, **common)


def _train_adversarial(
    config: PaperGanConfig, data: Patches, run: str | Path, shape: tuple[int, int], *, seed: int, device: str,
    provenance: Document | None, **monitored: Any,
) -> Path:  # fmt: skip
    with process_group(device) as group, GeneratorRun(run, config, shape, seed, data, group, provenance) as folder:
        if config.batch % group.size:
            raise TrainingError(f"a batch of {config.batch} has no equal shares for {group.size} devices: take fewer")
        return _Adversaries(config, data, shape, seed, group).train(folder, **monitored)


class _Adversaries:
    """Generator and discriminator of a run with their optimisers, and the two steps of an iteration."""

    def __init__(
        self, config: PaperGanConfig, data: Patches, shape: tuple[int, int], seed: int, processes: ProcessGroup
    ) -> None:
        self.config, self.data, self.shape, self.seed, self.processes = config, data, shape, seed, processes
        place = processes.device
        torch.manual_seed(seed)
        # the same numbers in another order in memory: convolutions run up to three times as fast on a CPU
        self.generator = build_generator(config, shape).to(place, memory_format=torch.channels_last)
        self.discriminator = build_discriminator(config, shape).to(place, memory_format=torch.channels_last)
        adam = {"lr": config.learning_rate, "betas": tuple(config.betas), "eps": config.epsilon, "fused": True}
        self.optimise_g = torch.optim.Adam(self.generator.parameters(), **adam)
        self.optimise_d = torch.optim.Adam(self.discriminator.parameters(), **adam)
        self.held = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "optimise_g": self.optimise_g,
            "optimise_d": self.optimise_d,
        }
        self.random = torch.Generator().manual_seed(seed + 1)
        self.schedule = _Schedule(config, getattr(self.generator, "levels", None))
        self.one_by_one = getattr(self.discriminator, "one_by_one", False)
        # in bf16 a whole batch is as fast or faster, its layers being half as large
        parts = self.one_by_one and place.type == "cpu" and config.precision == "fp32"
        self.micro = MICRO_BATCH if parts else config.batch
        self.autocast = (
            torch.autocast(place.type, torch.bfloat16) if config.precision == "bf16" else nullcontext()
        )  # fmt: skip

    def train(
        self, folder: GeneratorRun, *, until_images: int | None, minutes: float | None, checkpoint_seconds: float,
        picture_steps: int, progress: Callable[[Document], None] | None, held_out: Patches | None = None,
    ) -> Path:  # fmt: skip
        config, data, seed, processes, place = self.config, self.data, self.seed, self.processes, self.processes.device
        average = folder.averaged(self.generator) if config.ema_halflife_images else None
        held = self.held | ({"average": average} if average is not None else {})
        shipped = average if average is not None else self.generator
        noted = folder.resume(held, self.random)
        choice = EpochChoice(config, data, held_out, seed, folder.path / "checkpoints", noted)

        count, batch = len(data), config.batch
        per_epoch = count // batch
        steps = (config.images // batch) if config.images else config.epochs * per_epoch
        if until_images is not None:
            steps = min(steps, math.ceil(until_images / batch))
        decay = 0.5 ** (batch / config.ema_halflife_images) if config.ema_halflife_images else 0.0
        monitor = GeneratorMonitor(
            folder, noted["step"], steps, per_epoch, Diversity(data, seed), minutes=minutes,
            checkpoint_seconds=checkpoint_seconds, picture_steps=picture_steps, progress=progress,
        )  # fmt: skip

        order_epoch, order = -1, np.empty(0, int)
        while monitor.goes_on:
            step = monitor.step
            epoch, within = divmod(step, per_epoch)
            if epoch != order_epoch:
                order_epoch, order = epoch, batch_order(seed, epoch, count)
            level, fade = self.schedule.at(step * batch)
            rows = processes.share(np.sort(order[within * batch : (within + 1) * batch]))
            real = images_of(data, rows, place)
            if level is not None and self.schedule.levels is not None:
                real = _shrink(real, self.schedule.levels - level)
            penalty = config.r1 * R1_EVERY if config.r1 and step % R1_EVERY == 0 else 0.0
            loss_d, fakes = self._step_discriminator(real, self._draw(), level, fade, penalty)
            z = None if config.shared_batch else self._draw()
            loss_g = self._step_generator(real, fakes, z, level, fade)
            if average is not None:
                folder.update(average, self.generator, min(decay, (step + 1) / (step + 10)))
            monitor.after({"loss_g": loss_g, "loss_d": loss_d})

            full = level is None or level == self.schedule.levels
            more: Document = {} if level is None else {"side": image_shape(self.shape, level)[0]}
            judging = monitor.epoch_ended and full and config.loss == "bce" and processes.leads
            if judging:
                more |= choice.after(monitor.step // per_epoch, self.discriminator, self.generator)
            if monitor.line_due:
                monitor.network_line(shipped, level, **more)
            if full:
                folder.keep(monitor.step, generator=shipped)
            if monitor.save_due or judging:
                folder.save(held, self.random, monitor.step, **choice.best)
            monitor.pictures(shipped, level)

        folder.save(held, self.random, monitor.step, **choice.best)
        return self._finish(folder, shipped, monitor.step)

    def _finish(self, folder: GeneratorRun, shipped: nn.Module, step: int) -> Path:
        """The last picture, and the weights that the run ends with: of the paper's loss those of the epoch chosen."""
        level, _ = self.schedule.at(max(step * self.config.batch - 1, 0))
        if level is None or level == self.schedule.levels:
            folder.keep(step, last=True, generator=shipped)
        folder.picture(shipped, step, level, self.processes.device)
        chosen = folder.path / "checkpoints" / "chosen.safetensors"
        if self.config.loss == "bce" and chosen.exists():
            shipped = build_generator(self.config, self.shape)
            shipped.load_state_dict(load_file(chosen))
        return folder.export(shipped)

    def _draw(self) -> torch.Tensor:
        """This process's share of a batch of latents."""
        z = torch.randn(self.config.batch, self.config.latent_dim, generator=self.random)
        return self.processes.share(z).to(self.processes.device)

    def _step_discriminator(
        self, real: torch.Tensor, z: torch.Tensor, level: int | None, fade: float, penalty: float
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Loss, and what was generated, in parts; with its graph where the other step is to use it."""
        more = {} if level is None else {"fade": fade}
        self.optimise_d.zero_grad(set_to_none=True)
        total, fakes = torch.zeros((), dtype=torch.float64, device=real.device), []
        for x, part in zip(real.split(self.micro), z.split(self.micro), strict=True):
            with self.autocast:
                with torch.set_grad_enabled(self.config.shared_batch):
                    fakes.append(_call(self.generator, part, level))
                fake = fakes[-1].detach()
                if self.one_by_one:  # one pass of both is a little faster than two
                    on_real, on_fake = _call(self.discriminator, torch.cat([x, fake]), level, **more).float().chunk(2)
                else:
                    on_real = _call(self.discriminator, x, level, **more).float()
                    on_fake = _call(self.discriminator, fake, level, **more).float()
                loss = _losses(self.config, on_real, on_fake) * (len(x) / len(real))
            loss.backward()
            total += loss.detach()
        if penalty:
            (0.5 * penalty * _gradient_penalty(self.discriminator, real, level, fade)).backward()
        self.processes.average_gradients(self.discriminator.parameters())
        self.optimise_d.step()
        return total, fakes

    def _step_generator(
        self, real: torch.Tensor, fakes: list[torch.Tensor], z: torch.Tensor | None, level: int | None, fade: float
    ) -> torch.Tensor:
        """Loss; of what the other step has generated, or of fresh latents `z`."""
        more = {} if level is None else {"fade": fade}
        self.optimise_g.zero_grad(set_to_none=True)
        # the parameters of D are not updated when G is trained (paper, section 3)
        self.discriminator.requires_grad_(False)
        total = torch.zeros((), dtype=torch.float64, device=real.device)
        for k, x in enumerate(real.split(self.micro)):
            with self.autocast:
                fake = fakes[k] if z is None else _call(self.generator, z.split(self.micro)[k], level)
                on_fake = _call(self.discriminator, fake, level, **more).float()
                if self.config.loss == "bce":
                    loss = F.softplus(-on_fake).mean()
                else:
                    with torch.no_grad():
                        on_real = _call(self.discriminator, x, level, **more).float()
                    loss = F.softplus(on_real - on_fake).mean()
                loss = loss * (len(x) / len(real))
            loss.backward()
            total += loss.detach()
        self.discriminator.requires_grad_(True)
        self.processes.average_gradients(self.generator.parameters())
        self.optimise_g.step()
        return total


def read_settings(run: str | Path) -> tuple[GeneratorConfig, tuple[int, int], Document]:
    """Configuration, shape and the whole `config.json` of a run folder."""
    path = Path(run) / "config.json"
    try:
        resolved = json.loads(path.read_text())
        kind, values = for_its_method(resolved["generator"])
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        if kind is PaperGanConfig:  # before there was a choice, one batch served both steps
            values.setdefault("shared_batch", True)
        shape = tuple(resolved["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        raise TrainingError(
            f"{run} is no run folder of a generator: its config.json cannot be read; name the --run of a training"
        ) from None
    known = {one.name for one in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise TrainingError(
            f"{path} has settings that this version does not know: {', '.join(unknown)}; use the version that trained "
            "it, or take them out where they change nothing"
        )
    try:
        return kind(**values), shape, resolved
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{path}: {error}; mend the setting, or name another run") from None


def load_run(run: str | Path) -> tuple[GeneratorConfig, tuple[int, int], nn.Module]:
    """Configuration, shape and generator (evaluation mode) of a run folder."""
    weights = Path(run) / "checkpoints" / "generator.safetensors"
    if not weights.exists():
        raise TrainingError(f"{run} holds no finished generator: run `solquery train generator` on it first")
    config, shape, _ = read_settings(run)
    network = build_generator(config, shape)
    network.load_state_dict(load_file(weights))
    return config, shape, network.eval()
