"""Latents of the archive made standard normal: what the prior draws is then what the archive holds.

A variational autoencoder is trained on the latents of patches, and draws from the prior N(0, 1). Together the latents
of all patches, the aggregated posterior, should be that prior, and are not: the divergence of each patch's posterior
holds single numbers near standard normal and says little of how they go together, nothing of how they go with numbers
that are given (`anchors`; Hoffman & Johnson 2016, "ELBO surgery", approximateinference.org/accepted). Half of the draws
then lie where no patch ever was. Drawing from the distribution that latents do have mends that after training (Ghosh
et al. 2020, arXiv:1903.12436). Theirs is very nearly normal, so that a mean and a covariance say all of it, and a
linear change of coordinates can be folded into the weights: u with z = mean + L u is standard normal, and a network
that is given u draws what it drew for z. L is lower triangular with anchors first, which therefore stay anchors.

`LatentMoments` does the same during training: what the discriminator is shown as draws are then the draws of later.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..aliases import Document
from ..model_files import is_model
from ..protocols import Patches
from ..training.mixing import images_of, representative_rows
from ..training.process_group import ProcessGroup
from ..training.run_folder import TrainingError, export_weights
from .anchors import anchor_scores
from .footprint import load_weights
from .inference import InferenceNetwork, build_inference
from .pyramid import PyramidGenerator
from .registry import build_generator
from .run_folder import GeneratorRun

if TYPE_CHECKING:
    from ..config import GeneratorConfig

__all__ = ["LatentMoments", "Posterior", "aggregated_posterior", "whiten", "whiten_run"]

#: patches of the archive whose latents are taken
MEASURED = 8192
#: images over which moments of latents are averaged in training
REMEMBERED = 20_000
#: added to each variance
LEAST_VARIANCE = 1e-4


class Posterior(NamedTuple):
    """Mean (D,) and Cholesky factor (D, D) of the covariance of the latents of an archive.

    `variance` (D,) is the mean of what the inference network leaves open of each number of one patch.
    """

    mean: Tensor
    factor: Tensor
    variance: Tensor

    @property
    def departure(self) -> float:
        """Divergence from the prior in nats: of the normal distribution with these moments from N(0, 1)."""
        squares = self.factor.square().sum() + self.mean.square().sum() - len(self.mean)
        return float(0.5 * squares - self.factor.diagonal().log().sum())


@torch.no_grad()
def aggregated_posterior(
    inference: InferenceNetwork,
    data: Patches,
    anchors: tuple[str, ...],
    unit_gauss: float,
    seed: int = 0,
    batch: int = 128,
) -> Posterior:
    """Moments of the latents of an archive, as the training takes them: anchors measured, the rest inferred.

    Parameters
    ----------
    inference
        Of the run.
    data
        Array-like (N, H, W) in network units of `unit_gauss` gauss.
    anchors
        Parameters that the first latent coordinates carry.
    seed
        Of the patches that are taken where there are many.
    batch
        Patches at a time.

    Raises
    ------
    TrainingError
        When there are too few patches for a covariance of so many numbers.
    """
    dim, free = inference.latent_dim, len(anchors)
    rows = representative_rows(len(data), MEASURED, np.random.default_rng([seed, 91]))
    if len(rows) < 4 * dim:
        raise TrainingError(
            f"{len(rows)} patches are too few for the covariance of {dim} latent numbers; give at least {4 * dim}"
        )
    means, variances = [], []
    for start in range(0, len(rows), batch):
        x = images_of(data, rows[start : start + batch], torch.device("cpu"))
        mean, log_variance = inference(F.avg_pool2d(x, x.shape[-1] // inference.shape[-1]))
        means.append(mean)
        variances.append(log_variance.exp())
    z, unknown = torch.cat(means).double(), torch.cat(variances).double().mean(0)
    variance = unknown.clone()
    if free:
        # places among all patches, as in the training
        z[:, :free] = torch.from_numpy(anchor_scores(data, anchors, unit_gauss)[rows]).double()
        variance[:free] = 0.0
    covariance = torch.cov(z.T) + torch.diag(variance)
    return Posterior(z.mean(0), _factor(covariance), unknown)


def _factor(covariance: Tensor) -> Tensor:
    """Cholesky factor of a covariance, in which a number that never varies (an anchor of no patch) varies a little."""
    little = LEAST_VARIANCE * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky_ex(covariance + little)[0]  # which does not wait for a GPU


@torch.no_grad()
def whiten(generator: PyramidGenerator, inference: InferenceNetwork, posterior: Posterior) -> None:
    """Fold the change of coordinates into the weights of both networks, in place.

    For u (N, D) the generator then makes what it made for ``mean + u @ factor.T``, to rounding and but for the grain:
    which mixture of frozen noise belongs to which latent is arbitrary, and has no place for the mean. The inference
    network tells u; its variances are those of each number on its own.

    Raises
    ------
    TrainingError
        When the generator is of another architecture.
    """
    if type(generator) is not PyramidGenerator:
        raise TrainingError(f"only architecture 'pyramid' can be whitened, not {type(generator).__name__}")
    mean, factor, variance = posterior
    mapped = [generator.linear]
    for block in generator.blocks:
        for layer in block.layers:
            mapped.append(layer.style)
            layer.mixing.copy_(_product(factor.T, layer.mixing))
    if generator.fine_grain is not None:
        generator.fine_grain.mixing.copy_(_product(factor.T, generator.fine_grain.mixing))
        if generator.fine_grain.gain is not None:
            mapped.append(generator.fine_grain.gain)
    if generator.window is not None:
        mapped.append(generator.window.net[0])
    if generator.mapping is not None:
        mapped.append(generator.mapping.first)
        last = generator.mapping.last  # its correction is added to u, and carried by the factor with it
        last.weight.copy_(_solved(factor, last.weight))
        last.bias.copy_(_solved(factor, last.bias[:, None])[:, 0])
    for linear in mapped:
        linear.bias.copy_(linear.bias.double() + linear.weight.double() @ mean)
        linear.weight.copy_(_product(linear.weight, factor))
    told, dim = inference.layers[-1], inference.latent_dim
    told.weight[:dim] = _solved(factor, told.weight[:dim])
    told.bias[:dim] = _solved(factor, (told.bias[:dim] - mean)[:, None])[:, 0]
    inverse = torch.linalg.solve_triangular(
        factor, torch.eye(dim, dtype=factor.dtype, device=factor.device), upper=False
    )
    told.bias[dim:] += ((inverse.square() @ variance) / variance).log().to(told.bias.dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double()).to(torch.float32)


def _solved(factor: Tensor, values: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(factor, values.double(), upper=False).to(torch.float32)


def whiten_run(
    run: str | Path,
    out: str | Path,
    config: GeneratorConfig,
    data: Patches,
    shape: tuple[int, int],
    anchors: tuple[str, ...],
    seed: int = 0,
    provenance: Document | None = None,
) -> Document:
    """Whiten the latents of a finished training.

    Parameters
    ----------
    run
        Folder of the training (loss ``vae-gan``), or of a model; it is not changed.
    out
        A new run folder: weights, config and a picture, from which a model can be built.
    config, shape
        Of the generator.
    data
        Array-like (N, H, W) in network units: the archive that the latents are taken of, the training's.
    anchors
        As in `aggregated_posterior`.
    seed
        Of the patches that are taken.
    provenance
        Kept in the new run's ``config.json``.

    Returns
    -------
    `departure`: divergence of the latents from the prior, in nats, `before` and `after`; `patches` they were taken of.

    Raises
    ------
    TrainingError
        When `run` has no finished weights, or none of an inference network, or `out` holds another run.
    """
    if Path(out).resolve() == Path(run).resolve():
        raise TrainingError(f"{out} is the run to whiten itself: name a new folder, the old weights stay")
    folder_of = Path(run) if is_model(run) else Path(run) / "checkpoints"
    networks: list[nn.Module] = [build_generator(config, shape), build_inference(config, shape)]
    for name, network in zip(("generator", "inference"), networks, strict=True):
        weights = folder_of / f"{name}.safetensors"
        if not weights.exists():
            raise TrainingError(f"{run} has no {weights.name}: whitening needs a finished training of loss 'vae-gan'")
        load_weights(network, load_file(weights))
    generator, inference = networks
    before = aggregated_posterior(inference, data, anchors, config.unit_gauss, seed)
    whiten(generator, inference, before)
    after = aggregated_posterior(inference, data, anchors, config.unit_gauss, seed)
    told: Document = {
        "departure": {"before": round(before.departure, 3), "after": round(after.departure, 3)},
        "patches": min(len(data), MEASURED),
    }
    story = {**(provenance or {}), "whitened": {"from": Path(run).name, **told}}
    with GeneratorRun(out, config, shape, seed, data, provenance=story) as folder:
        for told_of in ("stats.jsonl", "start.json"):  # of the training, which is still that of these weights
            if (Path(run) / told_of).is_file():
                shutil.copyfile(Path(run) / told_of, folder.path / told_of)
        folder.picture(generator, 0, None, torch.device("cpu"))
        export_weights(inference, folder.path / "checkpoints" / "inference.safetensors")
        return {"weights": str(folder.export(generator)), **told}


class LatentMoments(nn.Module):
    """Mean and second moments of the latents of the last images: where draws of a training come from."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("square", torch.eye(latent_dim))
        self.register_buffer("variance", torch.ones(latent_dim))

    def begin(self, posterior: Posterior) -> None:
        """Take the moments of an archive: networks that a training begins with have some already."""
        mean, factor, variance = (part.to(self.mean) for part in posterior)
        self.mean.copy_(mean)
        self.square.copy_(factor @ factor.T + mean[:, None] * mean)
        self.variance.copy_(variance)

    @torch.no_grad()
    def update(self, z: Tensor, variance: Tensor, processes: ProcessGroup) -> None:
        """Latents (N, D) of the patches of a batch, and the variances (N, D) that the inference network tells."""
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            now = z.mean(0), z.T @ z / len(z), variance.float().mean(0)
        share = min(1.0, len(z) * processes.size / REMEMBERED)
        for kept, value in zip((self.mean, self.square, self.variance), now, strict=True):
            # what is not finite ends the training with its next line, which says so
            value = processes.mean(value)
            kept.lerp_(torch.where(torch.isfinite(value), value, kept), share)

    @property
    def posterior(self) -> Posterior:
        """The normal distribution with these moments."""
        mean, square = self.mean.double(), self.square.double()
        return Posterior(mean, _factor(square - mean[:, None] * mean), self.variance.double())

    @torch.no_grad()
    def draw(self, noise: Tensor) -> Tensor:
        """Latents (N, D) distributed as those of patches, of normal numbers (N, D)."""
        mean, factor, _ = self.posterior
        return (mean + noise.double() @ factor.T).to(noise.dtype)
