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
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from ..config import GeneratorConfig
from ..model_files import is_model
from ..training.diversity import Diversity
from ..training.monitor import TrainingMonitor
from ..training.process_group import ProcessGroup, process_group
from ..training.run_folder import RunFolder, TrainingError, batch_order, begun_from, export_weights, write_then_rename
from .anchors import anchor_scores
from .embedding_critic import EmbeddingCritic
from .footprint import fit_footprint, footprint_error, load_weights, seen_sizes
from .inference import InferenceNetwork, build_inference
from .pyramid import compress, expand, haar_split
from .registry import build_generator
from .statistics_matching import StatisticsMatching

__all__ = ["WARMUP_IMAGES", "PatchDiscriminator", "train_vaegan"]

#: blocks a side at which reconstructions are compared, and the standard deviation (preset units) allowed there
TOLERANCE = {8: 0.03, 16: 0.05, 32: 0.2}
#: the same for block means of the compressed field, where the network counts as much as the spots
TOLERANCE_COMPRESSED = {16: 0.16, 32: 0.5}
R1_EVERY = 16
#: images that a new discriminator learns from alone where the generator is a model's
WARMUP_IMAGES = 9_600
#: noise on an anchored coordinate, so that the generator stays smooth along it
ANCHOR_BLUR = 0.1
#: weight of the squared error of the logarithm of a reconstruction's window
WINDOW_WEIGHT = 10.0


class PatchDiscriminator(nn.Module):
    """Compressed images (N, 1, S, S) to logits: a map, one for each patch of the image, and one for the whole.

    It is given the compressed field, so that the gradient penalty bears on relative changes: in gauss it would forbid
    the discriminator to look at the faint parts at all.
    """

    def __init__(self, side: int, width: int = 64) -> None:
        super().__init__()
        w = [3 * width // 4, 3 * width // 2, 2 * width]
        self.fine = nn.Sequential(
            nn.Conv2d(8, w[0], 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(w[0], w[1], 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(w[1], w[2], 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.local = nn.Conv2d(w[2], 1, 3, padding=1)
        coarse: list[nn.Module] = []
        for _ in range(int(math.log2(side)) - 5):
            coarse += [nn.Conv2d(w[2], w[2], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.whole = nn.Sequential(*coarse, nn.Flatten(), nn.Linear(w[2] * 16, 1))

    def forward(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.judge(self.features(u))

    def features(self, u: torch.Tensor) -> torch.Tensor:
        """(N, C, S / 8, S / 8): what is seen of the field, with its strong part compressed and as it is."""
        return self.fine(torch.cat([haar_split(4.0 * u), haar_split(4.0 * expand(u))], dim=1))

    def judge(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of features."""
        return self.local(features).float(), self.whole(features).float()


def _reconstruction(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood in nats (less constants) of block means, averaged over the batch."""
    total = made.new_zeros(())
    # strong regions may be missed by more: a tolerance in proportion, or they alone would be learned
    level = F.avg_pool2d(real, real.shape[-1] // 16).square().mean((1, 2, 3)).sqrt() if real.shape[-1] >= 16 else None
    strength = (level / 0.05).clamp(0.6, 5.0) if level is not None else torch.ones(len(real), device=real.device)
    for blocks, tolerance in TOLERANCE.items():
        side = made.shape[-1]
        if side < blocks:
            break
        step = side // blocks
        error = F.avg_pool2d(made, step) - F.avg_pool2d(real, step)
        total = total + (error.square().sum((1, 2, 3)) / strength**2).mean() / (2 * tolerance**2)
    made, real = compress(made), compress(real)
    for blocks, tolerance in TOLERANCE_COMPRESSED.items():
        side = made.shape[-1]
        if side < blocks:
            break
        error = F.avg_pool2d(made, side // blocks) - F.avg_pool2d(real, side // blocks)
        total = total + error.square().sum((1, 2, 3)).mean() / (2 * tolerance**2)
    return total


def _unlikeness(made: torch.Tensor, real: torch.Tensor, team: ProcessGroup) -> torch.Tensor:
    """Squared difference of features averaged over 4 x 4 blocks of the image, relative to the real ones' square."""
    a, b = (F.adaptive_avg_pool2d(x.float(), 4) for x in (made, real))
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
        "discriminator": PatchDiscriminator(shape[0], config.width),
    }
    return {name: part.to(device, memory_format=layout) for name, part in parts.items()}


def _begin_with(start: str | Path, parts: dict[str, nn.Module], data: Any, seed: int) -> None:
    """Weights of a model, or of another run's checkpoint; its optimisers, random state and position stay behind.

    A generator that had no window is given the archive's (`fit_footprint`).
    """
    start = Path(start)
    new = False
    try:
        if is_model(start):
            stored = {name: load_file(start / f"{name}.safetensors") for name in ("generator", "inference")}
            stored["average"] = stored["generator"]
        else:
            start = start / "checkpoints" / "last.pt" if start.is_dir() else start
            stored = torch.load(start, weights_only=True, map_location="cpu")
        for name, part in parts.items():
            if name != "discriminator" or not is_model(start):
                new = load_weights(part, stored[name]) or new
    except (OSError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise TrainingError(
            f"cannot start from {start}: {first}; give a model or a checkpoint of the same networks"
        ) from None
    if new:
        fit_footprint(parts["average"], data, seed)
        parts["generator"].window.load_state_dict(parts["average"].window.state_dict())


def train_vaegan(
    config: GeneratorConfig,
    data: Any,
    run: str | Path,
    shape: tuple[int, int],
    *,
    seed: int = 0,
    device: str = "cpu",
    until_images: int | None = None,
    minutes: float | None = None,
    checkpoint_seconds: float = 120.0,
    picture_steps: int = 500,
    progress: Callable[[dict[str, Any]], None] | None = None,
    provenance: dict[str, Any] | None = None,
    start: str | Path | None = None,
    encoder: nn.Module | None = None,
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
        if bool(config.embedding_critic) != (encoder is not None):
            raise TrainingError("an encoder and a weight for it, seeker, go together: give both or neither")
        return _train(
            config, data, shape, folder, team, seed=seed, until_images=until_images, minutes=minutes,
            checkpoint_seconds=checkpoint_seconds, picture_steps=picture_steps, progress=progress, start=start,
            encoder=encoder,
        )  # fmt: skip


def _train(
    config: GeneratorConfig, data: Any, shape: tuple[int, int], folder: RunFolder, team: ProcessGroup, *, seed: int,
    until_images: int | None, start: str | Path | None, encoder: nn.Module | None, **watched: Any,
) -> Path:  # fmt: skip
    place = team.device
    parts = _parts(config, shape, seed, place)
    generator, inference, discriminator = parts["generator"], parts["inference"], parts["discriminator"]
    average, window = folder.averaged(generator), getattr(generator, "window", None)
    both = [*generator.parameters(), *inference.parameters()]
    optimise_g = torch.optim.Adam(both, lr=config.learning_rate, betas=tuple(config.betas))
    optimise_d = torch.optim.Adam(discriminator.parameters(), lr=config.learning_rate / 2, betas=tuple(config.betas))
    random = torch.Generator().manual_seed(seed + 1)
    held = {**parts, "average": average, "optimise_g": optimise_g, "optimise_d": optimise_d}
    amounts = StatisticsMatching(data, config.unit_gauss, seed).to(place) if config.statistics_matching else None
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
        _begin_with(start, {**parts, "average": average}, data, seed)
        if team.leads:
            write_then_rename(folder.path / "start.json", json.dumps(begun_from(start)).encode())
    anchors = torch.as_tensor(anchor_scores(data, config.anchors, config.unit_gauss)) if config.anchors else None
    free = len(config.anchors)  # coordinates from here on are inferred

    count, batch = len(data), config.batch
    per_epoch = count // batch
    planned = (config.images // batch) if config.images else config.epochs * per_epoch
    steps = planned if until_images is None else min(planned, math.ceil(until_images / batch))
    autocast = torch.autocast(place.type, torch.bfloat16) if config.precision == "bf16" else nullcontext()
    decay = 0.5 ** (batch / max(config.ema_halflife_images, 1)) if config.ema_halflife_images else 0.0
    first = generator.levels - len(config.grow_images)
    watch = TrainingMonitor(folder, step, steps, per_epoch, Diversity(data, seed), **watched)
    epoch_now, order, level = -1, np.empty(0, int), None

    while watch.goes_on:
        step = watch.step
        epoch, within = divmod(step, per_epoch)
        if epoch != epoch_now:
            epoch_now, order = epoch, batch_order(seed, epoch, count)
        chosen = team.share(np.sort(order[within * batch : (within + 1) * batch]))
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
        side = 8 * 2**level
        real = F.avg_pool2d(full, full.shape[-1] // side)
        seen = F.avg_pool2d(full, full.shape[-1] // inference.side)
        noise = team.share(torch.randn(batch, config.latent_dim, generator=random)).to(place)
        prior = team.share(torch.randn(batch // 2, config.latent_dim, generator=random)).to(place)

        with autocast, torch.set_grad_enabled(not alone):
            mean, log_variance = inference(seen)
            z = mean + noise * (0.5 * log_variance).exp()
            if anchors is not None:
                known = anchors[torch.as_tensor(chosen)].to(place) + ANCHOR_BLUR * noise[:, :free]
                z = torch.cat([known, z[:, free:]], dim=1)
            # with a discriminator, half of what is made are reconstructions, half draws from the prior
            kept = len(real) - len(prior) if adversarial else len(real)
            made = generator(torch.cat([z[:kept], prior]) if adversarial else z, level=level)
            rebuilt, drawn = made[:kept], made[kept:]
            nats, divergence = (
                _reconstruction(rebuilt, real[:kept]),
                _divergence(mean[:, free:], log_variance[:, free:]),
            )
            loss = (nats + divergence) / 100.0
            if anchors is not None:
                # the encoder learns to read the anchors off real patches, and holds the generator to them
                loss = loss + (mean[:, :free] - anchors[torch.as_tensor(chosen)].to(place)).square().mean()
                if adversarial:
                    read = _read(inference, F.avg_pool2d(drawn, side // inference.side))
                    loss = loss + adversarial * (read[:, :free] - prior[:, :free]).square().mean()
            if window is not None:
                told = footprint_error(window.sizes(z[:kept]), seen_sizes(full[:kept, 0]), full.shape[-1])
                loss = loss + WINDOW_WEIGHT * told
            judged = compress(made) if adversarial else None
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
            versus = compress(real)
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
            team.average_gradients(discriminator.parameters())
            optimise_d.step()
            discriminator.requires_grad_(False)
            with autocast, torch.set_grad_enabled(not alone):
                with torch.no_grad():
                    real_features = discriminator.features(versus)
                    on_real = discriminator.judge(real_features)
                features = discriminator.features(judged)
                loss_g = _pairwise(discriminator.judge(features), on_real)
            texture = _unlikeness(features[:kept], real_features[:kept], team)
            loss = loss + adversarial * (loss_g + texture)
            values["texture"] = float(texture.detach())
            values |= {"loss_d": float(loss_d.detach()), "loss_g": float(loss_g.detach())}
        if seeker is not None and adversarial:
            with torch.no_grad():
                wanted = seeker(real)
            found = seeker(made)
            values["seeker"] = seeker.learn(wanted, found, optimise_s, team)
            unlike, astray = seeker.missed(wanted, found, kept)
            loss = loss + config.embedding_critic * adversarial * (unlike + astray)
            values |= {"unlike": float(unlike.detach()), "astray": float(astray.detach())}
        if amounts is not None and adversarial:
            missed = amounts.match(rebuilt, real[:kept]) + amounts.belong(drawn, team)
            loss = loss + config.statistics_matching * missed
            values["amounts"] = float(missed.detach())
        if not alone:
            optimise_g.zero_grad(set_to_none=True)
            loss.backward()
            team.average_gradients(both)
            nn.utils.clip_grad_norm_(both, 5.0)
            optimise_g.step()
            folder.update(average, generator, min(decay, (step + 1) / (step + 10)))
        discriminator.requires_grad_(True)
        watch.after(values)
        if watch.line_due:
            watch.line(average, level, side=side)
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
