"""The discriminator of a VAE-GAN and the terms of its losses; see `vaegan`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..training.process_group import ProcessGroup
from .inference import InferenceNetwork
from .levels import levels_of, seed_shape
from .pyramid import compress, expand, haar_split

__all__ = [
    "PatchDiscriminator",
    "divergence",
    "pairwise",
    "read_latents",
    "reconstruction",
    "texture_distance",
    "trained_parameters",
]

#: block means at which reconstructions are compared, by blocks a side of each cell of the coarsest feature map (8 to 32
#: blocks a side of a square), and the standard deviation (preset units) allowed there
TOLERANCE = {2: 0.03, 4: 0.05, 8: 0.2}
#: the same for block means of the compressed field, where the network counts as much as the spots
TOLERANCE_COMPRESSED = {4: 0.16, 8: 0.5}
#: patches whose variety the discriminator judges together
GROUP = 8


class PatchDiscriminator(nn.Module):
    """Compressed images (N, 1, H, W) to logits: a map, one for each patch of the image, and one for the whole.

    It is given the compressed field, so that the gradient penalty bears on relative changes: in gauss it would forbid
    the discriminator to look at the faint parts at all.

    Parameters
    ----------
    shape, width
        (H, W); half the channels of the last map.
    pooled
        A third logit, of mean and root mean square over the image of each feature of each map. That edges are a tenth
        too soft or patches a quarter too small shows in no one place, and in the sum over all of them beyond doubt.
    spread
        A fourth logit, of these numbers and of their standard deviation within a group of eight patches of the batch
        (minibatch standard deviation, Karras et al. 2018, arXiv:1710.10196). That all of them are equally round, or
        equally noisy, shows in no single patch.
    """

    def __init__(self, shape: tuple[int, int], width: int = 64, pooled: bool = False, spread: bool = False) -> None:
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
        self.pooled: nn.Module | None = None
        self.spread: nn.Module | None = None
        if pooled:
            self.pooled = nn.Sequential(nn.Linear(2 * sum(w), w[2]), nn.LeakyReLU(0.2), nn.Linear(w[2], 1))
        if spread:
            self.spread = nn.Sequential(nn.Linear(4 * sum(w), w[2]), nn.LeakyReLU(0.2), nn.Linear(w[2], 1))

    def forward(self, u: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.score(self.features(u))

    def features(self, u: torch.Tensor) -> list[torch.Tensor]:
        """What is seen of the field, with its strong part compressed and as it is: a map after each convolution.

        (N, C, H / 2, W / 2), (N, C, H / 4, W / 4) and (N, C, H / 8, W / 8).
        """
        x = torch.cat([haar_split(4.0 * u), haar_split(4.0 * expand(u))], dim=1)
        maps = []
        for convolution, activation in zip(self.fine[::2], self.fine[1::2], strict=True):
            x = activation(convolution(x))
            maps.append(x)
        return maps

    def score(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Logits of features: (N, 1, H / 8, W / 8), (N, 1), and (N, 1) of what is pooled and of how it varies."""
        logits = self.local(features[-1]).float(), self.whole(features[-1]).float()
        if self.pooled is None:
            return logits
        pooled = []
        for values in features:
            mean, square = _Moments.apply(values)
            pooled += [mean, (square + 1e-4).sqrt()]
        values = torch.cat(pooled, 1)
        alone = self.pooled(values).float()
        if self.spread is None:
            return *logits, alone
        return *logits, alone, self.spread(torch.cat([values, _spread(values)], 1)).float()


def trained_parameters(discriminator: nn.Module, frozen: int) -> list[nn.Parameter]:
    """Parameters that are trained: all but those of the first `frozen` convolutions, which stay as they began.

    Features of a discriminator that has seen much are kept where there is little to see (Mo et al. 2020,
    arXiv:2002.10964).
    """
    convolutions = [layer for layer in discriminator.fine if isinstance(layer, nn.Conv2d)]
    for layer in convolutions[:frozen]:
        layer.requires_grad_(False)
    return [parameter for parameter in discriminator.parameters() if parameter.requires_grad]


def _spread(values: torch.Tensor) -> torch.Tensor:
    """Standard deviation (N, K) of values (N, K) in the group of patches that each belongs to.

    A group lies within one half of the batch, since the halves of what is generated are of two kinds, reconstructions
    and draws.
    """
    size = math.gcd(len(values), 2 * GROUP) // 2 or 1
    groups = values.view(-1, size, values.shape[1])
    return (groups.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt().expand_as(groups).reshape(values.shape)


class _Moments(torch.autograd.Function):
    """Mean and mean square (N, C) of features (N, C, h, w) over their places.

    As products of matrices, whatever is thrown away of them: on a CPU sums over the places of a map that is laid out
    channels last take twenty times as long, and as much as all convolutions of a step together.
    """

    @staticmethod
    def forward(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = features.permute(0, 2, 3, 1).flatten(1, 2)
        ones = rows.new_ones(1, 1, rows.shape[1]).expand(len(rows), -1, -1)
        square = (rows.transpose(1, 2) @ rows).diagonal(dim1=1, dim2=2)
        return (ones @ rows)[:, 0].float() / rows.shape[1], square.float() / rows.shape[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: tuple[torch.Tensor, torch.Tensor]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, to_mean: torch.Tensor, to_square: torch.Tensor) -> torch.Tensor:
        (features,) = ctx.saved_tensors
        even, steep = (
            (part / features[0, 0].numel())
            .to(features.dtype)[:, :, None, None]
            .contiguous(memory_format=torch.channels_last)
            for part in (to_mean, 2.0 * to_square)
        )
        return torch.addcmul(even, features, steep)


def _block_errors(made: torch.Tensor, real: torch.Tensor, cell: int, blocks: int) -> torch.Tensor | None:
    """(N,) summed squared differences of block means, `blocks` a side in each cell of `cell` pixels; None if finer."""
    if cell < blocks:
        return None
    step = cell // blocks
    return (F.avg_pool2d(made, step) - F.avg_pool2d(real, step)).square().sum((1, 2, 3))


def reconstruction(made: torch.Tensor, real: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
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


def texture_distance(
    made: torch.Tensor, real: torch.Tensor, cells: tuple[int, int], processes: ProcessGroup
) -> torch.Tensor:
    """Squared difference of features averaged over the cells of the coarsest map, in units of the real ones' square."""
    a, b = (F.adaptive_avg_pool2d(x.float(), cells) for x in (made, real))
    return (a - b).square().mean() / processes.mean(b.square().mean()).clamp_min(1e-8)


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(q || N(0, 1)) in nats, averaged over the batch."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()


def pairwise(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Relativistic pairing (Jolicoeur-Martineau 2019, arXiv:1807.00734): `one` should look more real than `other`."""
    return sum(F.softplus(b - a).mean() for a, b in zip(one, other, strict=True))


def read_latents(inference: InferenceNetwork, x: torch.Tensor) -> torch.Tensor:
    """Mean of q(z | x) with a gradient to `x` but none to the network, which is to judge and not to comply."""
    weights = {name: value.detach() for name, value in inference.named_parameters()}
    return torch.func.functional_call(inference, weights, (x,))[0]
