"""Learn faster per second: an encoder teaches the generator the layout, a discriminator teaches it the texture.

A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) whose decoder is the generator, joined by an
adversarial loss as in VAE-GAN (Larsen et al. 2016, arXiv:1512.09300). The reconstruction is compared on block means
only (8 to 32 blocks a side), of the field and of its logarithm, where the latent vector can know the answer; what lies
below, the grain of the network and the edges of spots, cannot be remembered in 100 numbers and is judged by the
discriminator alone, on real images, reconstructions, and draws from the prior. That a reconstruction has the texture
of its original is asked of the discriminator's features, averaged over blocks, as Larsen et al. do with the features.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..aliases import Document
from ..config import VaeGanConfig
from ..model_files import is_model
from ..protocols import Patches
from ..training.diversity import Diversity
from ..training.mixing import BatchRows, images_of
from ..training.process_group import ProcessGroup, process_group
from ..training.run_folder import TrainingError, begun_from, export_weights, write_then_rename
from .anchors import anchor_scores
from .discriminator_augment import apply_views, draw_views
from .embedding_critic import EmbeddingCritic
from .footprint import footprint_error, seen_sizes
from .inference import build_inference
from .levels import image_shape, seed_shape
from .monitor import GeneratorMonitor
from .pyramid import compress
from .registry import build_generator
from .run_folder import KEEP_STEPS, GeneratorRun
from .statistics_critic import StatisticsCritic
from .statistics_matching import StatisticsMatching
from .vaegan_batch import Batch, Made, Stage
from .vaegan_losses import (
    PatchDiscriminator,
    divergence,
    pairwise,
    read_latents,
    reconstruction,
    texture_distance,
    trained_parameters,
)
from .warm_start import begin_with
from .whitening import LatentMoments, aggregated_posterior, whiten

__all__ = ["ADAPTING", "PatchDiscriminator", "train_vaegan"]

R1_EVERY = 16
#: what a run that adapts to few real patches has of its own
ADAPTING = {"real_weight": 0.5, "discriminator_augment": 0.6, "frozen_discriminator_layers": 2, "learning_rate": 1e-4}
#: noise on an anchored coordinate, so that the generator stays smooth along it
ANCHOR_BLUR = 0.1
#: weight of the squared error of the logarithm of the sides of a reconstruction's footprint
FOOTPRINT_WEIGHT = 10.0
#: terms of the losses of a step by name; on a GPU they stay there until all are read together
_Values = dict[str, "torch.Tensor | float"]


def _parts(config: VaeGanConfig, shape: tuple[int, int], seed: int, device: torch.device) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    layout = torch.channels_last if config.precision == "bf16" else torch.contiguous_format
    generator = build_generator(config, shape)
    if not hasattr(generator, "levels"):
        raise TrainingError(f"loss 'vae-gan' needs an architecture with levels, such as 'pyramid', not {config.arch!r}")
    parts = {
        "generator": generator,
        "inference": build_inference(config, shape),
        "discriminator": PatchDiscriminator(shape, config.width, config.pooled_head, config.batch_spread),
    }
    return {name: part.to(device, memory_format=layout) for name, part in parts.items()}


def _learn(parameters: list[nn.Parameter], whether: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(whether)


def train_vaegan(
    config: VaeGanConfig,
    data: Patches,
    run: str | Path,
    shape: tuple[int, int],
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
) -> Path:
    """As `train_generator`, for `loss="vae-gan"`; `grow_images` are the images shown at the coarser levels.

    The discriminator joins at the finest level, over `fade_images` images. `start` is a model's folder or another run
    (its folder or a checkpoint) of the same networks, whose weights a new run begins with: what faint network and spots
    look like is learned once. A model has no discriminator: a new one learns alone for `discriminator_warmup_images`.
    `encoder` is the search's, needed where the configuration has an `embedding_critic` (`EmbeddingCritic`).
    """
    with (
        process_group(device) as processes,
        GeneratorRun(run, config, shape, seed, data, processes, provenance) as folder,
    ):
        if processes.size > 1 and config.batch % (2 * processes.size):
            raise TrainingError(f"half a batch of {config.batch} has no equal shares for {processes.size} devices")
        if config.frozen_discriminator_layers and (start is None or is_model(start)):
            raise TrainingError(
                "layers of a discriminator are frozen that has learned: start from a run, whose checkpoint has one "
                "(--start RUN)"
            )
        if bool(config.embedding_critic) != (encoder is not None):
            raise TrainingError("an encoder and its weight, embedding_critic, go together: give both or neither")
        trainer = _Autoencoder(config, data, shape, folder, processes, seed, encoder, real)
        return trainer.train(
            start, until_images, minutes=minutes, checkpoint_seconds=checkpoint_seconds, picture_steps=picture_steps,
            progress=progress,
        )  # fmt: skip


class _Autoencoder:
    """Generator, inference network and discriminator of a run with their optimisers, and the parts of a step."""

    def __init__(
        self, config: VaeGanConfig, data: Patches, shape: tuple[int, int], folder: GeneratorRun,
        processes: ProcessGroup, seed: int, encoder: nn.Module | None, real: np.ndarray | None,
    ) -> None:  # fmt: skip
        self.config, self.data, self.shape, self.seed = config, data, shape, seed
        self.folder, self.processes = folder, processes
        place = self.place = processes.device
        self.parts = _parts(config, shape, seed, place)
        self.generator, self.inference, self.discriminator = self.parts.values()
        self.average = folder.averaged(self.generator)
        self.window = getattr(self.generator, "window", None)
        self.both = [*self.generator.parameters(), *self.inference.parameters()]
        rate, adam = config.learning_rate, {"betas": tuple(config.betas), "eps": config.epsilon}
        # on a GPU one kernel in place of a dozen; on a CPU runs of before go on to the same bits
        adam["fused"] = place.type == "cuda"
        self.optimise_g = torch.optim.Adam(self.both, lr=rate, **adam)
        self.learned = trained_parameters(self.discriminator, config.frozen_discriminator_layers)
        self.optimise_d = torch.optim.Adam(self.learned, lr=config.discriminator_rate * rate, **adam)
        self.random = torch.Generator().manual_seed(seed + 1)
        self.held = {**self.parts, "average": self.average}
        self.held |= {"optimise_g": self.optimise_g, "optimise_d": self.optimise_d}
        self.statistics = self.statistics_critic = self.embedding_critic = None
        if config.statistics_matching:
            statistics = StatisticsMatching(
                data, config.unit_gauss, seed, real=real, weight=config.real_weight, device=place
            )
            self.statistics = self.held["amounts"] = statistics.to(place)  # names of checkpoints stay
            if config.statistics_critic:
                critic = StatisticsCritic(self.statistics.archive, seed).to(place)
                self.optimise_c = torch.optim.Adam(critic.critic.parameters(), lr=rate, **adam)
                self.statistics_critic = self.held["statistics_critic"] = critic
                self.held["optimise_c"] = self.optimise_c
        self.moments: LatentMoments | None = None
        if config.latent_moments:
            self.moments = self.held["latent_moments"] = LatentMoments(config.latent_dim).to(place)
        if encoder is not None:
            self.embedding_critic = self.held["seeker"] = EmbeddingCritic(encoder.to(place), data, seed).to(place)
            self.optimise_s = torch.optim.Adam(self.embedding_critic.critic.parameters(), lr=rate / 2, **adam)
            self.held["optimise_s"] = self.optimise_s
        self.anchors: torch.Tensor | None = None
        self.free = len(config.anchors)  # coordinates from here on are inferred
        self.rows = BatchRows(len(data), config.batch, seed, real, config.real_weight)
        self.planned = (config.images // config.batch) if config.images else config.epochs * self.rows.per_epoch
        bf16 = config.precision == "bf16"
        self.autocast = torch.autocast(place.type, torch.bfloat16) if bf16 else nullcontext()
        self.cells = seed_shape(shape)

    def begin(self, start: str | Path | None) -> int:
        """Go on from the last checkpoint, or begin with the weights of `start`; the step to take next."""
        step = int(self.folder.resume(self.held, self.random)["step"])
        if step == 0 and start is not None:
            changed = begin_with(start, {**self.parts, "average": self.average}, self.shape, self.data, self.seed)
            if self.moments is not None:
                names, unit = self.config.anchors, self.config.unit_gauss
                self.moments.begin(aggregated_posterior(self.inference, self.data, names, unit, self.seed))
            if self.processes.leads:
                begun = begun_from(start) | ({"of_another_grid": changed} if changed else {})
                write_then_rename(self.folder.path / "start.json", json.dumps(begun).encode())
        if self.config.anchors:
            self.anchors = torch.as_tensor(anchor_scores(self.data, self.config.anchors, self.config.unit_gauss))
        return step

    def train(self, start: str | Path | None, until_images: int | None, **monitored: Any) -> Path:
        """All steps of this call; the weights."""
        step, config, folder, batch = self.begin(start), self.config, self.folder, self.config.batch
        steps = self.planned if until_images is None else min(self.planned, math.ceil(until_images / batch))
        decay = 0.5 ** (batch / max(config.ema_halflife_images, 1)) if config.ema_halflife_images else 0.0
        diversity = Diversity(self.data, self.seed)
        monitor = GeneratorMonitor(folder, step, steps, self.rows.per_epoch, diversity, **monitored)
        level = None
        while monitor.goes_on:
            step = monitor.step
            stage = self._stage(step)
            level, finest = stage.level, stage.level == self.generator.levels
            self._decay(step)
            now = self._draw(step, level)
            values = self._step(now, stage, step)
            if not stage.alone:
                folder.update(self.average, self.generator, min(decay, (step + 1) / (step + 10)))
            monitor.after(values)
            keeps = finest and monitor.step % KEEP_STEPS == 0
            if keeps or monitor.line_due or monitor.picture_due:
                used = self._for_use()
                if monitor.line_due:
                    monitor.network_line(used["generator"], level, side=now.shown.shape[-2])
                if keeps:
                    folder.keep(monitor.step, **used)
                monitor.pictures(used["generator"], level)
            if monitor.save_due:
                folder.save(self.held, self.random, monitor.step)
        folder.save(self.held, self.random, monitor.step)
        used = self._for_use()
        if level == self.generator.levels:
            folder.keep(monitor.step, last=True, **used)
        folder.picture(used["generator"], monitor.step, None, self.place)
        if self.processes.leads:
            export_weights(used["inference"], folder.path / "checkpoints" / "inference.safetensors")
        return folder.export(used["generator"])

    def _for_use(self) -> dict[str, nn.Module]:
        """The averaged generator and the inference network, whitened where draws of the training are not normal."""
        networks = {"generator": self.average, "inference": self.inference}
        if self.moments is not None:
            networks = copy.deepcopy(networks)
            whiten(networks["generator"], networks["inference"], self.moments.posterior)
        return networks

    def _stage(self, step: int) -> Stage:
        """Where the run stands before a step."""
        config, finest = self.config, self.generator.levels
        images, level = step * config.batch, finest - len(config.grow_images)
        for spent in config.grow_images:
            if images < spent:
                return Stage(level, 0.0, False)
            images -= spent
            level += 1
        # while the discriminator learns alone it has a part to play, if no say
        adversarial = min(1.0, max(images, config.discriminator_warmup_images) / max(config.fade_images, 1))
        return Stage(level, adversarial, images < config.discriminator_warmup_images)

    def _decay(self, step: int) -> None:
        """Let the learning rates fall over the last images."""
        planned, batch, config = self.planned, self.config.batch, self.config
        if config.decay_images:
            share = min(1.0, (planned - step) * batch / config.decay_images)
            for optimiser, rate in ((self.optimise_g, 1.0), (self.optimise_d, config.discriminator_rate)):
                optimiser.param_groups[0]["lr"] = rate * config.learning_rate * max(0.1, share)

    def _draw(self, step: int, level: int) -> Batch:
        """This process's share of the batch of a step."""
        config, processes, place = self.config, self.processes, self.place
        rows = processes.share(self.rows(step))
        full = images_of(self.data, rows, place)
        coarser = 2 ** (self.generator.levels - level)
        noise, prior = (
            processes.share(torch.randn(count, config.latent_dim, generator=self.random)).to(place)
            for count in (config.batch, config.batch // 2)
        )
        views = None
        if config.discriminator_augment:
            size = image_shape(self.shape, level)
            views = processes.share(draw_views(config.batch, size, config.discriminator_augment, self.random))
        return Batch(rows, full, F.avg_pool2d(full, coarser) if coarser > 1 else full, noise, prior, views)

    def _step(self, now: Batch, stage: Stage, step: int) -> _Values:
        """Discriminator and critic, then generator and inference network; the terms of their losses."""
        values: _Values = dict.fromkeys(("nats", "kl", "loss_d", "loss_g", "texture", "statistics_matching"), 0.0)
        with self.autocast, torch.set_grad_enabled(not stage.alone):
            loss, made = self._reconstruct(now, stage, values)
        if made.judged is not None:
            loss = loss + stage.adversarial * self._adversarial(now, made, stage, step, values)
        critic = self.embedding_critic
        if critic is not None and stage.adversarial:
            with torch.no_grad():
                wanted = critic(now.shown)
            found = critic(made.all)
            values["embedding_critic"] = critic.learn(wanted, found, self.optimise_s, self.processes)
            adversarial, distance = critic.losses(wanted, found, len(made.rebuilt))
            loss = loss + self.config.embedding_critic * stage.adversarial * (adversarial + distance)
            values |= {"embedding_adversarial": adversarial.detach(), "embedding_distance": distance.detach()}
        if self.statistics is not None and stage.adversarial:
            loss = loss + self._of_statistics(now, made, values)
        if not stage.alone:
            self.optimise_g.zero_grad(set_to_none=True)
            loss.backward()
            self.processes.average_gradients(self.both)
            nn.utils.clip_grad_norm_(self.both, 5.0)
            self.optimise_g.step()
        _learn(self.learned, True)
        return values

    def _of_statistics(self, now: Batch, made: Made, values: _Values) -> torch.Tensor:
        """How far the statistics of what was made are from where they belong, and from what goes together."""
        statistics, critic, kept = self.statistics, self.statistics_critic, len(made.rebuilt)
        assert statistics is not None
        found = statistics(made.all)
        with torch.no_grad():
            wanted = statistics(now.shown[:kept])
        missed = statistics.match(found[:kept], wanted) + statistics.belong(found[kept:], self.processes)
        values["statistics_matching"] = missed.detach()
        if critic is None:
            return self.config.statistics_matching * missed
        values["statistics_critic"] = critic.learn(found, self.optimise_c, self.processes)
        return self.config.statistics_matching * missed + self.config.statistics_critic * critic.loss(found)

    def _reconstruct(self, now: Batch, stage: Stage, values: _Values) -> tuple[torch.Tensor, Made]:
        """Loss of the autoencoder, and its images: with a discriminator, half of them are draws from the prior."""
        inference, free, prior, adversarial = self.inference, self.free, now.prior, stage.adversarial
        mean, log_variance = inference(F.avg_pool2d(now.full, now.full.shape[-1] // inference.shape[-1]))
        z = mean + now.noise * (0.5 * log_variance).exp()
        anchors = None if self.anchors is None else self.anchors[torch.as_tensor(now.rows)].to(self.place)
        if anchors is not None:
            z = torch.cat([anchors + ANCHOR_BLUR * now.noise[:, :free], z[:, free:]], dim=1)
        if self.moments is not None:
            self.moments.update(z, log_variance.exp(), self.processes)
            prior = self.moments.draw(prior)
        kept = len(now.shown) - len(prior) if adversarial else len(now.shown)
        made = self.generator(torch.cat([z[:kept], prior]) if adversarial else z, level=stage.level)
        rebuilt, drawn = made[:kept], made[kept:]
        nats = reconstruction(rebuilt, now.shown[:kept], self.cells)
        kl = divergence(mean[:, free:], log_variance[:, free:])
        values |= {"nats": nats.detach(), "kl": kl.detach()}
        loss = (self.config.reconstruction_weight * nats + kl) / 100.0
        if anchors is not None:
            # the encoder learns to read the anchors off real patches, and holds the generator to them
            loss = loss + (mean[:, :free] - anchors).square().mean()
            if adversarial:
                read = read_latents(inference, F.avg_pool2d(drawn, drawn.shape[-1] // inference.shape[-1]))
                loss = loss + adversarial * (read[:, :free] - prior[:, :free]).square().mean()
        if self.window is not None:
            missed = footprint_error(self.window.sizes(z[:kept]), seen_sizes(now.full[:kept, 0]), self.shape)
            loss = loss + FOOTPRINT_WEIGHT * missed
            values["footprint"] = missed.detach()
        judged = compress(made) if adversarial else None
        if judged is not None and now.views is not None:
            judged = apply_views(judged, now.views)
        return loss, Made(made, rebuilt, drawn, judged)

    def _adversarial(self, now: Batch, made: Made, stage: Stage, step: int, values: _Values) -> torch.Tensor:
        """One step of the discriminator; then how far what was made is from real to it, and in texture."""
        discriminator, judged, kept = self.discriminator, made.judged, len(made.rebuilt)
        assert judged is not None
        versus = compress(now.shown)
        if now.views is not None:
            versus = apply_views(versus, now.views)
        with self.autocast:
            loss_d = pairwise(discriminator(versus), discriminator(judged.detach()))
        total = loss_d
        if self.config.r1 and step % R1_EVERY == 0:
            x = versus.detach().requires_grad_(True)
            logits = sum(part.flatten(1).mean(1).sum() for part in discriminator(x))
            (gradient,) = torch.autograd.grad(logits, x, create_graph=True)
            total = total + 0.5 * self.config.r1 * R1_EVERY * gradient.square().sum((1, 2, 3)).mean()
        self.optimise_d.zero_grad(set_to_none=True)
        total.backward()
        self.processes.average_gradients(self.learned)
        self.optimise_d.step()
        _learn(self.learned, False)
        with self.autocast, torch.set_grad_enabled(not stage.alone):
            with torch.no_grad():
                real_features = discriminator.features(versus)
                on_real = discriminator.score(real_features)
            features = discriminator.features(judged)
            loss_g = pairwise(discriminator.score(features), on_real)
        texture = texture_distance(features[-1][:kept], real_features[-1][:kept], self.cells, self.processes)
        values |= {"loss_d": loss_d.detach(), "loss_g": loss_g.detach(), "texture": texture.detach()}
        return loss_g + texture
