"""A generator that learns faster per second: grown from coarse to fine, steered in every layer, in compressed field.

Each layer is a convolution of doubled features whose channels are normalised, then scaled and shifted by the latent
vector (adaptive normalisation, Huang & Belongie 2017, arXiv:1703.06868, as in StyleGAN, arXiv:1812.04948). Frozen
noise, mixed by the latent vector, is what fine grain is made of: one vector has one image, and another has other grain.
The last step is a hyperbolic sine: fields are faint nearly everywhere and strong in few places, and a network that
works in their logarithm sees both. Training starts at a coarse level (Karras et al. 2018, arXiv:1710.10196), whose
images cost almost nothing, and goes on at the finest.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..config import GeneratorConfig
from .footprint import FootprintMask
from .levels import levels_of, seed_shape
from .registry import register_own

__all__ = ["LatentMapping", "PyramidDiscriminator", "PyramidGenerator", "compress", "expand", "haar_split"]

#: field (preset units) below which `compress` is linear, above which it is logarithmic
KNEE = 0.05
_SPAN = math.asinh(1.0 / KNEE)
#: frozen noise maps of a layer, mixed by the latent vector
NOISE_MAPS = 8
_GROUPS = 8


class _Compress(torch.autograd.Function):
    """asinh(x / KNEE) / asinh(1 / KNEE) by log1p and square roots, which a CPU takes of many numbers at a time.

    `torch.asinh` takes them one by one there, three times as slowly, and a training step calls it nine times.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        size = x.abs() / KNEE
        square = size.square()
        return (size + square / (1.0 + (1.0 + square).sqrt())).log1p().copysign(x) / _SPAN

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.square() + KNEE**2).rsqrt() / _SPAN


def compress(x: torch.Tensor) -> torch.Tensor:
    """Field in preset units to its smooth signed logarithm; -1, 0 and 1 stay where they are."""
    return _Compress.apply(x)


def expand(u: torch.Tensor) -> torch.Tensor:
    """Inverse of `compress`."""
    return KNEE * torch.sinh(u * _SPAN)


def haar_split(x: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) to (N, 4, H/2, W/2): block mean, and half-differences along x, along y, and across."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    bands = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
    return torch.cat(bands, dim=1) * 0.25


def _widths(width: int, levels: int) -> list[int]:
    """Channels from the coarsest feature map to the finest, in eights: wide where maps are small."""
    factors = [3.0, 2.0, 1.5, 1.0, 0.5, 0.5]
    return [max(8, 8 * int(width * factors[min(k, 5)] / 8)) for k in range(levels)]


class _Layer(nn.Module):
    """Convolve, normalise, let the latent vector scale and shift each channel, add frozen noise, rectify.

    Everything keeps the layout of the convolutions (channels last): on a CPU, steps element by element in mixed layouts
    cost more than the convolutions themselves.
    """

    def __init__(self, inner: int, outer: int, shape: tuple[int, int], latent_dim: int, index: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, outer, affine=False)
        self.style = nn.Linear(latent_dim, 2 * outer)
        self.grain = nn.Conv2d(1, outer, 3, padding=1, bias=False)
        frozen = torch.Generator().manual_seed(1000 + index)
        self.register_buffer("noise", torch.randn(NOISE_MAPS, shape[0] * shape[1], generator=frozen))
        self.register_buffer("mixing", torch.randn(latent_dim, NOISE_MAPS, generator=frozen))
        self.shape = shape
        nn.init.zeros_(self.style.bias)
        nn.init.normal_(self.style.weight, std=0.3 / math.sqrt(latent_dim))
        nn.init.normal_(self.grain.weight, std=0.05)

    def forward(self, x: torch.Tensor, z: torch.Tensor, local: torch.Tensor | None = None) -> torch.Tensor:
        gain, shift = (
            part[:, :, None, None].contiguous(memory_format=torch.channels_last) for part in self.style(z).chunk(2, 1)
        )
        shares = F.normalize(z @ self.mixing, dim=1)  # (N, maps), so that the mixture keeps unit variance
        noise = shares @ self.noise
        noise = (noise if local is None else noise + local).view(-1, 1, *self.shape)
        x = self.norm(self.conv(x)) * (1.0 + gain) + shift
        return F.leaky_relu(x + self.grain(noise.contiguous(memory_format=torch.channels_last)), 0.2)


class PixelNoise(nn.Module):
    """What is added to the bands of the finest image: frozen noise of its own for each of their pixels.

    The noise of the layers has half the side of the image, so that four neighbours share one number, and what a head
    makes of it comes in stripes and blotches of two pixels; the photospheric noise of an observation is fresh in every
    one. How strong it is at a place is read off the features there. Starts as nothing: weights from before it draw
    what they drew.

    With `gained` the latent vector also says how much of each channel there is: each has a pattern of its own, and near
    the limb noise is stronger and longer along the rows than at disk centre.
    """

    def __init__(
        self, width: int, shape: tuple[int, int], latent_dim: int, channels: int = 8, gained: bool = False
    ) -> None:
        super().__init__()
        frozen = torch.Generator().manual_seed(999)
        self.register_buffer("noise", torch.randn(NOISE_MAPS, channels * shape[0] * shape[1], generator=frozen))
        self.register_buffer("mixing", torch.randn(latent_dim, NOISE_MAPS, generator=frozen))
        self.shape, self.channels = shape, channels
        self.strength = nn.Conv2d(width, channels, 1)
        self.spread = nn.Conv2d(channels, 4, 3, padding=1, bias=False)
        nn.init.zeros_(self.strength.weight)
        nn.init.ones_(self.strength.bias)
        nn.init.zeros_(self.spread.weight)
        self.gain: nn.Linear | None = None
        if gained:
            self.gain = nn.Linear(latent_dim, channels)
            nn.init.zeros_(self.gain.weight)
            nn.init.ones_(self.gain.bias)

    def forward(self, features: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Features (N, C, H/2, W/2) and latents (N, D) to bands (N, 4, H/2, W/2)."""
        shares = F.normalize(z @ self.mixing, dim=1)
        noise = (shares @ self.noise).view(-1, self.channels, *self.shape)
        if self.gain is not None:
            noise = noise * self.gain(z)[:, :, None, None]
        return self.spread(self.strength(features) * noise.contiguous(memory_format=torch.channels_last))


class LatentMapping(nn.Module):
    """Latents (..., D) to latents (..., D) that every layer is told: z and a correction by a network of two layers.

    Scale and shift of a layer are linear in what it is told, so that linear in z the strength of a texture is a normal
    number, and two of them go together in one way throughout. On the Sun noise grows many times over toward the limb,
    and only there. StyleGAN (arXiv:1812.04948) replaces z by a network of eight layers; here z goes through as well,
    and the correction starts as nothing: weights from before it draw what they drew, and directions in z stay.
    """

    def __init__(self, latent_dim: int, hidden: int = 256) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(latent_dim, hidden), nn.Linear(hidden, latent_dim)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + self.last(F.leaky_relu(self.first(z), 0.2))


class _Block(nn.Module):
    """Double the sides, to `shape`, then `depth` layers."""

    def __init__(self, inner: int, outer: int, shape: tuple[int, int], latent_dim: int, index: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Layer(inner if k == 0 else outer, outer, shape, latent_dim, 10 * index + k) for k in range(depth)
        )

    def forward(self, x: torch.Tensor, z: torch.Tensor, local: torch.Tensor | None = None) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        for layer in self.layers:
            x, local = layer(x, z, local), None  # the first layer alone is told the local noise
        return x


class PyramidGenerator(nn.Module):
    """z (N, D) to (N, 1, H, W) within +-`limit`; level of growth k gives `image_shape(shape, k)`, 8 * 2^k for squares.

    The features of a level have half the side of its image: a head makes four pixels of each. Latents (N, `parts`, D)
    tell the first map and every block something of their own; (N, D) tells all the same. `noise` (N, `local_noise`) is
    added to the frozen noise of the first layer of each block, coarse to fine, each row by row: where the flux of one
    observation lies, which no latent vector can say (as the projection of Karras et al. 2020, arXiv:1912.04958).
    """

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        try:
            self.levels = levels_of(shape)  # 4 for 128 x 128: images of 16, 32, 64, 128
        except ValueError as error:
            raise ValueError(f"architecture 'pyramid': {error}") from None
        self.latent_dim = config.latent_dim
        self.shape = (int(shape[0]), int(shape[1]))
        self.seed = seed_shape(self.shape)
        self.parts = self.levels + 1
        self.shrinkage = config.shrinkage
        #: the strongest field that can be made, compressed
        self.bound = math.asinh(config.limit / KNEE) / _SPAN
        widths = _widths(config.width, self.levels + 1)
        self.linear = nn.Linear(config.latent_dim, widths[0] * self.seed[0] * self.seed[1])
        self.first = widths[0]
        self.blocks = nn.ModuleList(
            _Block(widths[k], widths[k + 1], self._map(k + 1), config.latent_dim, k, depth=2 if k else 1)
            for k in range(self.levels)
        )
        self.heads = nn.ModuleList(nn.Conv2d(w, 4, 3, padding=1) for w in widths[1:])
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.01)  # early images are faint, as the Sun is
            nn.init.zeros_(head.bias)
        self.fine_grain = (
            PixelNoise(widths[-1], self._map(self.levels), config.latent_dim, gained=config.noise_gain)
            if config.pixel_noise
            else None
        )
        self.mapping = LatentMapping(config.latent_dim) if config.latent_mapping else None
        self.window = FootprintMask(config.latent_dim, self.shape) if config.footprint_mask else None
        self._noise_sizes = [rows * columns for rows, columns in map(self._map, range(1, self.levels + 1))]

    @property
    def local_noise(self) -> int:
        """How many numbers `noise` has for each patch."""
        return sum(self._noise_sizes)

    def _map(self, doublings: int) -> tuple[int, int]:
        """Rows and columns of the feature map that so many doublings make of the coarsest."""
        return self.seed[0] << doublings, self.seed[1] << doublings

    def forward(self, z: torch.Tensor, level: int | None = None, noise: torch.Tensor | None = None) -> torch.Tensor:
        level = self.levels if level is None else level
        local = [None] * self.levels if noise is None else noise.split(self._noise_sizes, 1)
        told = self.mapped(z)
        each = told.unbind(1) if z.ndim == 3 else (told,) * self.parts
        x = F.leaky_relu(self.linear(each[0]), 0.2).view(-1, self.first, *self.seed)
        x = x.contiguous(memory_format=torch.channels_last)
        for block, own, more in zip(self.blocks[:level], each[1:], local, strict=False):
            x = block(x, own, more)
        bands = self.heads[level - 1](x)
        if self.fine_grain is not None and level == self.levels:
            bands = bands + self.fine_grain(x, each[level])
        return self.finish(bands, z[:, 0] if z.ndim == 3 else z)

    def mapped(self, z: torch.Tensor) -> torch.Tensor:
        """What the layers are told of latents (..., D)."""
        return z if self.mapping is None else self.mapping(z)

    @torch.no_grad()
    def sensitivity(self) -> torch.Tensor:
        """(D, D) how much the layers are told of a step in each direction of the latent vector: 1 in the mean.

        The mean over layers of the products of the weights by which they are told it. Directions in which patches of
        the archive differ most count most.
        """
        weights = [layer.style.weight.double() for block in self.blocks for layer in block.layers]
        told = torch.stack([weight.T @ weight / len(weight) for weight in weights]).mean(0)
        return told / told.diagonal().mean()

    def finish(self, bands: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W) preset units of what a head made, (N, 4, H/2, W/2), within the footprint of z (N, D)."""
        u = F.pixel_shuffle(bands, 2)
        x = expand(self.bound * torch.tanh(u.float() / self.bound))
        if self.shrinkage:
            # a network cannot draw nothing: half a gauss everywhere would add up to the flux of a small region
            square = x * x
            x = x * square / (square + self.shrinkage**2)
        return x if self.window is None else x * self.window(z, (x.shape[-2], x.shape[-1]))


class PyramidDiscriminator(nn.Module):
    """(N, 1, H, W) to (N,) logits; looks at Haar bands, halves the sides in each block.

    Before the last layer it sees how much the batch varies (minibatch standard deviation), so that a generator that
    repeats itself is found out.
    """

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        self.levels, seed = levels_of(shape), seed_shape(shape)
        widths = [max(16, w) for w in _widths(config.width, self.levels + 1)]
        self.widths = widths
        #: entrance of an image of level k: its four bands at half the sides
        self.entrances = nn.ModuleList(nn.Conv2d(4, widths[k], 3, padding=1) for k in range(self.levels + 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[k + 1], widths[k], 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            )
            for k in range(self.levels)
        )  # fmt: skip
        self.last = nn.Sequential(
            nn.Conv2d(widths[0] + 1, widths[0], 3, padding=1), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(widths[0] * seed[0] * seed[1], 128), nn.LeakyReLU(0.2), nn.Linear(128, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, level: int | None = None, fade: float = 1.0) -> torch.Tensor:
        level = self.levels if level is None else level
        bands = haar_split(x * 4.0)  # patches are mostly faint: bring the bands to unit size
        h = F.leaky_relu(self.entrances[level](bands), 0.2)
        for k in range(level - 1, -1, -1):
            h = self.blocks[k](h)
            if k == level - 1 and fade < 1.0:
                older = F.leaky_relu(self.entrances[k](haar_split(bands[:, :1])), 0.2)
                h = fade * h + (1.0 - fade) * older
        spread = h.float().std(0, unbiased=False).mean().to(h.dtype).expand(len(h), 1, *h.shape[2:])
        return self.last(torch.cat([h, spread], dim=1)).squeeze(1).float()


register_own("pyramid", PyramidGenerator, PyramidDiscriminator)
