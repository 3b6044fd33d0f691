"""A generator that learns faster per second: a wavelet pyramid grown from coarse to fine.

The image is built as a Haar pyramid. The coarsest level carries the net field; each finer level adds only detail bands,
whose mean over a 2 x 2 block is zero, so that flux is settled at the coarse levels, where a step costs almost nothing,
and detail is learned on top of it. Training starts at a coarse level and adds levels one after the other, as in
progressive growing (Karras et al. 2018, arXiv:1710.10196); wavelet bands as outputs follow the idea of SWAGAN (Gal et
al. 2021, arXiv:2102.06108). Fixed noise maps give the network something to make fine texture from (StyleGAN's noise
inputs, but frozen: a latent vector has one image).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..config import GeneratorConfig
from .networks import register

__all__ = ["PyramidDiscriminator", "PyramidGenerator", "haar_merge", "haar_split", "magnify"]


#: patches are mostly faint: outputs of order one mean about 100 G, so that early steps stay small
OUTPUT_SCALE = 0.1


def haar_split(x: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) to (N, 4, H/2, W/2): block mean, and half-differences along x, along y, and across."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    bands = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
    return torch.cat(bands, dim=1) * 0.25


def haar_merge(bands: torch.Tensor) -> torch.Tensor:
    """Inverse of `haar_split`: (N, 4, H, W) to (N, 1, 2H, 2W)."""
    mean, dx, dy, dd = bands.unbind(1)
    quads = torch.stack((mean + dx + dy + dd, mean - dx + dy - dd, mean + dx - dy - dd, mean - dx - dy + dd), dim=1)
    return F.pixel_shuffle(quads, 2)


def magnify(image: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) to (N, 1, 2H, 2W): bilinear, corrected so that every 2 x 2 block keeps the mean of its parent."""
    smooth = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    return smooth + F.interpolate(image - F.avg_pool2d(smooth, 2), scale_factor=2, mode="nearest")


def _widths(width: int, levels: int) -> list[int]:
    """Channels from the coarsest feature map (4 x 4) to the finest: wide where maps are small."""
    factors = [3.0, 2.0, 1.5, 0.75, 0.375, 0.375]
    return [max(8, int(width * factors[min(k, 5)])) for k in range(levels)]


class _Block(nn.Module):
    """Upsample, convolve, scale each channel by the latent vector, add frozen noise."""

    def __init__(self, inner: int, outer: int, side: int, latent_dim: int, index: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, padding=1)
        self.gain = nn.Linear(latent_dim, outer)
        self.strength = nn.Parameter(torch.full((1, outer, 1, 1), 0.1))
        frozen = torch.Generator().manual_seed(1000 + index)
        self.register_buffer("noise", torch.randn(1, 1, side, side, generator=frozen))
        nn.init.zeros_(self.gain.bias)
        nn.init.normal_(self.gain.weight, std=0.5 / math.sqrt(latent_dim))

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        x = x * (1.0 + self.gain(z))[:, :, None, None] + self.strength * self.noise
        x = F.leaky_relu(x, 0.2)
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)


class PyramidGenerator(nn.Module):
    """z (N, D) to (N, 1, S, S) in [-1, 1]; `level` of growth k gives side 8 * 2^k.

    Each level of features at side s makes the three detail bands that take the image from s to 2 s.
    """

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        side = shape[0]
        if shape[0] != shape[1] or side < 16 or side & (side - 1):
            raise ValueError(f"architecture 'pyramid' makes square images of 16, 32, 64, … pixels, not {shape}")
        self.latent_dim = config.latent_dim
        self.shape = tuple(shape)
        self.levels = int(math.log2(side)) - 3  # 4 for 128: images of 8 (base), 16, 32, 64, 128
        widths = _widths(config.width, self.levels + 1)
        self.linear = nn.Linear(config.latent_dim, widths[0] * 16)
        self.first = widths[0]
        self.base = nn.Conv2d(widths[0], 4, 3, padding=1)
        sides = [8 * 2**k for k in range(self.levels)]
        self.blocks = nn.ModuleList(
            _Block(widths[k], widths[k + 1], sides[k], config.latent_dim, k) for k in range(self.levels)
        )
        self.heads = nn.ModuleList(nn.Conv2d(w, 3, 3, padding=1) for w in widths[1:])
        for head in self.heads:
            nn.init.zeros_(head.weight)  # a new level begins as its parent, magnified
            nn.init.zeros_(head.bias)
        self.grown = self.levels

    def forward(self, z: torch.Tensor, level: int | None = None) -> torch.Tensor:
        level = self.levels if level is None else level
        x = F.leaky_relu(self.linear(z), 0.2).view(-1, self.first, 4, 4)
        image = haar_merge(OUTPUT_SCALE * self.base(x))  # 8 x 8
        for block, head in zip(self.blocks[:level], self.heads[:level], strict=True):
            x = block(x, z)
            detail = OUTPUT_SCALE * head(x)
            image = magnify(image) + haar_merge(torch.cat([torch.zeros_like(image), detail], dim=1))
        return torch.tanh(image.float())


class PyramidDiscriminator(nn.Module):
    """(N, 1, S, S) to (N,) logits; looks at Haar bands, halves the side in each block.

    Before the last layer it sees how much the batch varies (minibatch standard deviation), so that a generator that
    repeats itself is found out.
    """

    def __init__(self, config: GeneratorConfig, shape: tuple[int, int]) -> None:
        super().__init__()
        self.levels = int(math.log2(shape[0])) - 3
        widths = [max(16, w) for w in _widths(config.width, self.levels + 1)]
        self.widths = widths
        #: entrance of an image of side 8 * 2^k: its four bands at half the side
        self.entrances = nn.ModuleList(nn.Conv2d(4, widths[k], 3, padding=1) for k in range(self.levels + 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[k + 1], widths[k], 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            )
            for k in range(self.levels)
        )  # fmt: skip
        self.last = nn.Sequential(
            nn.Conv2d(widths[0] + 1, widths[0], 3, padding=1), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(widths[0] * 16, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1),
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


register("pyramid", PyramidGenerator, PyramidDiscriminator)
