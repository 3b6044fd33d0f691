"""Learn faster per second: an encoder teaches the generator the layout, a discriminator teaches it the texture.

A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) whose decoder is the generator, joined by an
adversarial loss as in VAE-GAN (Larsen et al. 2016, arXiv:1512.09300). The reconstruction is compared on block means
only (8 to 32 blocks a side), of the field and of its logarithm, where the latent vector can know the answer; what lies
below, the grain of the network and the edges of spots, cannot be remembered in 100 numbers and is judged by the
discriminator alone, on real images, reconstructions, and draws from the prior. That a reconstruction has the texture
of its original is asked of the discriminator's features, averaged over blocks, as Larsen et al. do with the features.
"""

from __future__ import annotations

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
from ..config import GeneratorConfig
from ..model_files import is_model
from ..protocols import Patches
from ..training.diversity import Diversity
from ..training.mixing import BatchRows
from ..training.monitor import TrainingMonitor
from ..training.process_group import ProcessGroup, process_group
from ..training.run_folder import RunFolder, TrainingError, begun_from, export_weights, write_then_rename
from .anchors import anchor_scores
from .discriminator_augment import apply_views, draw_views
from .embedding_critic import EmbeddingCritic
from .footprint import footprint_error, seen_sizes
from .inference import InferenceNetwork, build_inference
from .levels import image_shape, levels_of, seed_shape
from .pyramid import compress, expand, haar_split
from .registry import build_generator
from .statistics_matching import StatisticsMatching
from .warm_start import begin_with

__all__ = ["ADAPTING", "WARMUP_IMAGES", "PatchDiscriminator", "train_vaegan"]

#: block means at which reconstructions are compared, by blocks a side of each cell of the coarsest feature map (8 to 32
#: blocks a side of a square), and the standard deviation (preset units) allowed there
TOLERANCE = {2: 0.03, 4: 0.05, 8: 0.2}
#: the same for block means of the compressed field, where the network counts as much as the spots
TOLERANCE_COMPRESSED = {4: 0.16, 8: 0.5}
R1_EVERY = 16
#: images that a new discriminator learns from alone where the generator is a model's
WARMUP_IMAGES = 9_600
#: what a run that adapts to few real patches has of its own
ADAPTING = {"real_weight": 0.5, "discriminator_augment": 0.6, "frozen_discriminator_layers": 2, "learning_rate": 1e-4}
#: noise on an anchored coordinate, so that the generator stays smooth along it
ANCHOR_BLUR = 0.1
#: weight of the squared error of the logarithm of a reconstruction's window
WINDOW_WEIGHT = 10.0


class PatchDiscriminator(nn.Module):
    """Compressed images (N, 1, H, W) to logits: a map, one for each patch of the image, and one for the whole.

    It is given the compressed field, so that the gradient penalty bears on relative changes: in gauss it would forbid
    the discriminator to look at the faint parts at all.
    """

    def __init__(self, shape: tuple[int, int], width: int = 64) -> None:
        super().__init__()
        rows, columns = seed_shape(shape)
        w = [3 * width // 4, 3 * width // 2, 2 * width]
        self.fine = nn.Sequential(
            nn.Conv2d(8, w[0], 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(w[0], w[1], 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(w[1], w[2], 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.local = nn.Conv2d(w[2], 1, 3, padding=1)
        coarse: list[nn.Module] = []
        for _ in range(levels_of(shape) - 2):
            coarse += [nn.Conv2d(w[2], w[2], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.whole = nn.Sequential(*coarse, nn.Flatten(), nn.Linear(w[2] * rows * columns, 1))

    def forward(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.judge(self.features(u))

    def features(self, u: torch.Tensor) -> torch.Tensor:
        """(N, C, H / 8, W / 8): what is seen of the field, with its strong part compressed and as it is."""
        return self.fine(torch.cat([haar_split(4.0 * u), haar_split(4.0 * expand(u))], dim=1))

    def judge(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of features."""
        return self.local(features).float(), self.whole(features).float()


def _block_errors(made: torch.Tensor, real: torch.Tensor, cell: int, blocks: int) -> torch.Tensor | None:
    """(N,) summed squared differences of block means, `blocks` a side in each cell of `cell` pixels; None if finer."""
    if cell < blocks:
        return None
    step = cell // blocks
    return (F.avg_pool2d(made, step) - F.avg_pool2d(real, step)).square().sum((1, 2, 3))


def _reconstruction(made: torch.Tensor, real: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
    """Negative log-likelihood in nats (less constants) of block means, averaged over the batch.

    `cells` are the rows and columns of the coarsest feature map.
    """
    cell = made.shape[-1] // cells[1]
    total = made.new_zeros(())
    # strong regions may be missed by more: a tolerance in proportion, or they alone would be learned
    level = F.avg_pool2d(real, cell // 4).square().mean((1, 2, 3)).sqrt() if cell >= 4 else None
    strength = (level / 0.05).clamp(0.6, 5.0) if level is not None else torch.ones(len(real), device=real.device)
    for blocks, tolerance in TOLERANCE.items():
        error = _block_errors(made, real, cell, blocks)
        if error is not None:
            total = total + (error / strength**2).mean() / (2 * tolerance**2)
    made, real = compress(made), compress(real)
    for blocks, tolerance in TOLERANCE_COMPRESSED.items():
        error = _block_errors(made, real, cell, blocks)
        if error is not None:
            total = total + error.mean() / (2 * tolerance**2)
    return total


def _unlikeness(made: torch.Tensor, real: torch.Tensor, cells: tuple[int, int], team: ProcessGroup) -> torch.Tensor:
    """Squared difference of features averaged over the cells of the coarsest map, in units of the real ones' square."""
    a, b = (F.adaptive_avg_pool2d(x.float(), cells) for x in (made, real))
    return (a - b).square().mean() / team.mean(b.square().mean()).clamp_min(1e-8)


def _divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(q || N(0, 1)) in nats, averaged over the batch."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()


def _pairwise(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Relativistic pairing (Jolicoeur-Martineau 2019, arXiv:1807.00734): `one` should look more real than `other`."""
    return sum(F.softplus(b - a).mean() for a, b in zip(one, other, strict=True))


def _read(inference: InferenceNetwork, x: torch.Tensor) -> torch.Tensor:
    """Mean of q(z | x) with a gradient to `x` but none to the network, which is to judge and not to comply."""
    weights = {name: value.detach() for name, value in inference.named_parameters()}
    return torch.func.functional_call(inference, weights, (x,))[0]


def _parts(config: GeneratorConfig, shape: tuple[int, int], seed: int, device: torch.device) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    layout = torch.channels_last if config.precision == "bf16" else torch.contiguous_format
    generator = build_generator(config, shape)
    if not hasattr(generator, "levels"):
        raise TrainingError(f"loss 'vae-gan' needs an architecture with levels, such as 'pyramid', not {config.arch!r}")
    parts = {
        "generator": generator,
        "inference": build_inference(config, shape),
        "discriminator": PatchDiscriminator(shape, config.width),
    }
    return {name: part.to(device, memory_format=layout) for name, part in parts.items()}


def _learned(discriminator: nn.Module, frozen: int) -> list[nn.Parameter]:
    """Parameters that are trained: all but those of the first `frozen` convolutions, which stay as they began.

    Features of a discriminator that has seen much are kept where there is little to see (Mo et al. 2020,
    arXiv:2002.10964).
    """
    convolutions = [layer for layer in discriminator.fine if isinstance(layer, nn.Conv2d)]
    for layer in convolutions[:frozen]:
        layer.requires_grad_(False)
    return [parameter for parameter in discriminator.parameters() if parameter.requires_grad]


def _learn(parameters: list[nn.Parameter], whether: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(whether)


def train_vaegan(
    config: GeneratorConfig,
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
    `encoder` is the search's, needed where the configuration has a `seeker` (`EmbeddingCritic`).
    """
    with process_group(device) as team, RunFolder(run, config, shape, seed, data, team, provenance) as folder:
        if team.size > 1 and config.batch % (2 * team.size):
            raise TrainingError(f"half a batch of {config.batch} has no equal shares for {team.size} devices")
        if config.frozen_discriminator_layers and (start is None or is_model(start)):
            raise TrainingError(
                "layers of a discriminator are frozen that has learned: start from a run, whose checkpoint has one "
                "(--start RUN)"
            )
        if bool(config.embedding_critic) != (encoder is not None):
            raise TrainingError("an encoder and a weight for it, seeker, go together: give both or neither")
        return _train(
            config, data, shape, folder, team, seed=seed, until_images=until_images, minutes=minutes,
            checkpoint_seconds=checkpoint_seconds, picture_steps=picture_steps, progress=progress, start=start,
            encoder=encoder, real=real,
        )  # fmt: skip


def _train(
    config: GeneratorConfig, data: Patches, shape: tuple[int, int], folder: RunFolder, team: ProcessGroup, *, seed: int,
    until_images: int | None, start: str | Path | None, encoder: nn.Module | None, real: np.ndarray | None,
    **watched: Any,
) -> Path:  # fmt: skip
    place = team.device
    parts = _parts(config, shape, seed, place)
    generator, inference, discriminator = parts["generator"], parts["inference"], parts["discriminator"]
    average, window = folder.averaged(generator), getattr(generator, "window", None)
    both = [*generator.parameters(), *inference.parameters()]
    optimise_g = torch.optim.Adam(both, lr=config.learning_rate, betas=tuple(config.betas))
    learned = _learned(discriminator, config.frozen_discriminator_layers)
    optimise_d = torch.optim.Adam(learned, lr=config.learning_rate / 2, betas=tuple(config.betas))
    random = torch.Generator().manual_seed(seed + 1)
    held = {**parts, "average": average, "optimise_g": optimise_g, "optimise_d": optimise_d}
    amounts = None
    if config.statistics_matching:
        amounts = StatisticsMatching(data, config.unit_gauss, seed, real=real, weight=config.real_weight).to(place)
    if amounts is not None:
        held["amounts"] = amounts
    seeker = EmbeddingCritic(encoder, data, seed).to(place) if encoder is not None else None
    if seeker is not None:
        optimise_s = torch.optim.Adam(
            seeker.critic.parameters(), lr=config.learning_rate / 2, betas=tuple(config.betas)
        )
        held |= {"seeker": seeker, "optimise_s": optimise_s}
    step = folder.resume(held, random, place)["step"]
    if step == 0 and start is not None:
        changed = begin_with(start, {**parts, "average": average}, shape, data, seed)
        if team.leads:
            begun = begun_from(start) | ({"of_another_grid": changed} if changed else {})
            write_then_rename(folder.path / "start.json", json.dumps(begun).encode())
    anchors = torch.as_tensor(anchor_scores(data, config.anchors, config.unit_gauss)) if config.anchors else None
    free = len(config.anchors)  # coordinates from here on are inferred

    batch = config.batch
    rows = BatchRows(len(data), batch, seed, real, config.real_weight)
    per_epoch = rows.per_epoch
    planned = (config.images // batch) if config.images else config.epochs * per_epoch
    steps = planned if until_images is None else min(planned, math.ceil(until_images / batch))
    autocast = torch.autocast(place.type, torch.bfloat16) if config.precision == "bf16" else nullcontext()
    decay = 0.5 ** (batch / max(config.ema_halflife_images, 1)) if config.ema_halflife_images else 0.0
    first = generator.levels - len(config.grow_images)
    watch = TrainingMonitor(folder, step, steps, per_epoch, Diversity(data, seed), **watched)
    cells = seed_shape(shape)
    level: int | None = None
    views: torch.Tensor | None = None

    while watch.goes_on:
        step = watch.step
        chosen = team.share(rows(step))
        full = torch.as_tensor(np.asarray(data[chosen], np.float32))[:, None].to(place)
        images, level = step * batch, first
        for spent in config.grow_images:
            if images < spent:
                break
            images -= spent
            level += 1
        if config.decay_images:
            cooling = min(1.0, (planned - step) * batch / config.decay_images)
            for optimiser, rate in ((optimise_g, config.learning_rate), (optimise_d, config.learning_rate / 2)):
                optimiser.param_groups[0]["lr"] = rate * max(0.1, cooling)
        adversarial = 0.0
        if level == generator.levels:  # while the discriminator learns alone it has a part to play, if no say
            adversarial = min(1.0, max(images, config.discriminator_warmup_images) / max(config.fade_images, 1))
        alone = level == generator.levels and images < config.discriminator_warmup_images
        coarser = 2 ** (generator.levels - level)
        shown = F.avg_pool2d(full, coarser) if coarser > 1 else full
        seen = F.avg_pool2d(full, full.shape[-1] // inference.shape[-1])
        noise = team.share(torch.randn(batch, config.latent_dim, generator=random)).to(place)
        prior = team.share(torch.randn(batch // 2, config.latent_dim, generator=random)).to(place)
        if config.discriminator_augment:
            views = team.share(draw_views(batch, image_shape(shape, level), config.discriminator_augment, random))

        with autocast, torch.set_grad_enabled(not alone):
            mean, log_variance = inference(seen)
            z = mean + noise * (0.5 * log_variance).exp()
            if anchors is not None:
                known = anchors[torch.as_tensor(chosen)].to(place) + ANCHOR_BLUR * noise[:, :free]
                z = torch.cat([known, z[:, free:]], dim=1)
            # with a discriminator, half of what is made are reconstructions, half draws from the prior
            kept = len(shown) - len(prior) if adversarial else len(shown)
            made = generator(torch.cat([z[:kept], prior]) if adversarial else z, level=level)
            rebuilt, drawn = made[:kept], made[kept:]
            nats, divergence = (
                _reconstruction(rebuilt, shown[:kept], cells),
                _divergence(mean[:, free:], log_variance[:, free:]),
            )
            loss = (nats + divergence) / 100.0
            if anchors is not None:
                # the encoder learns to read the anchors off real patches, and holds the generator to them
                loss = loss + (mean[:, :free] - anchors[torch.as_tensor(chosen)].to(place)).square().mean()
                if adversarial:
                    read = _read(inference, F.avg_pool2d(drawn, drawn.shape[-1] // inference.shape[-1]))
                    loss = loss + adversarial * (read[:, :free] - prior[:, :free]).square().mean()
            if window is not None:
                told = footprint_error(window.sizes(z[:kept]), seen_sizes(full[:kept, 0]), shape)
                loss = loss + WINDOW_WEIGHT * told
            judged = compress(made) if adversarial else None
            if judged is not None and views is not None:
                judged = apply_views(judged, views)
        values = {
            "nats": float(nats.detach()),
            "kl": float(divergence.detach()),
            "loss_d": 0.0,
            "loss_g": 0.0,
            "texture": 0.0,
            "amounts": 0.0,
            **({"window": float(told.detach())} if window is not None else {}),
        }
        if judged is not None:
            versus = compress(shown)
            if views is not None:
                versus = apply_views(versus, views)
            with autocast:
                loss_d = _pairwise(discriminator(versus), discriminator(judged.detach()))
            total = loss_d
            if config.r1 and step % R1_EVERY == 0:
                x = versus.detach().requires_grad_(True)
                local, whole = discriminator(x)
                (slope,) = torch.autograd.grad(local.mean((1, 2, 3)).sum() + whole.sum(), x, create_graph=True)
                total = total + 0.5 * config.r1 * R1_EVERY * slope.square().sum((1, 2, 3)).mean()
            optimise_d.zero_grad(set_to_none=True)
            total.backward()
            team.average_gradients(learned)
            optimise_d.step()
            _learn(learned, False)
            with autocast, torch.set_grad_enabled(not alone):
                with torch.no_grad():
                    real_features = discriminator.features(versus)
                    on_real = discriminator.judge(real_features)
                features = discriminator.features(judged)
                loss_g = _pairwise(discriminator.judge(features), on_real)
            texture = _unlikeness(features[:kept], real_features[:kept], cells, team)
            loss = loss + adversarial * (loss_g + texture)
            values["texture"] = float(texture.detach())
            values |= {"loss_d": float(loss_d.detach()), "loss_g": float(loss_g.detach())}
        if seeker is not None and adversarial:
            with torch.no_grad():
                wanted = seeker(shown)
            found = seeker(made)
            values["seeker"] = seeker.learn(wanted, found, optimise_s, team)
            unlike, astray = seeker.missed(wanted, found, kept)
            loss = loss + config.embedding_critic * adversarial * (unlike + astray)
            values |= {"unlike": float(unlike.detach()), "astray": float(astray.detach())}
        if amounts is not None and adversarial:
            missed = amounts.match(rebuilt, shown[:kept]) + amounts.belong(drawn, team)
            loss = loss + config.statistics_matching * missed
            values["amounts"] = float(missed.detach())
        if not alone:
            optimise_g.zero_grad(set_to_none=True)
            loss.backward()
            team.average_gradients(both)
            nn.utils.clip_grad_norm_(both, 5.0)
            optimise_g.step()
            folder.update(average, generator, min(decay, (step + 1) / (step + 10)))
        _learn(learned, True)
        watch.after(values)
        if watch.line_due:
            watch.line(average, level, side=shown.shape[-2])
        if level == generator.levels:
            folder.keep(watch.step, generator=average, inference=inference)
        if watch.save_due:
            folder.save(held, random, watch.step)
        watch.pictures(average, level)

    folder.save(held, random, watch.step)
    if level == generator.levels:
        folder.keep(watch.step, last=True, generator=average, inference=inference)
    folder.picture(average, watch.step, None, place)
    if team.leads:
        export_weights(inference, folder.path / "checkpoints" / "inference.safetensors")
    return folder.export(average)
