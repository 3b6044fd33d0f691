"""The encoder of the paper: a one-channel ResNet-18, a projection head, and the prediction head of SimSiam.

He et al. 2016 (ResNet-18, arXiv:1512.03385); Chen & He 2020 (SimSiam, arXiv:2011.10566), in plain torch.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import EncoderConfig
from ..generator.pyramid import compress, haar_split

__all__ = ["Encoder", "Predictor", "ResNet18", "build_encoder", "build_predictor"]


class _Halve(nn.Conv2d):
    """Convolution 1 x 1 that takes every other pixel, of stride 2 in name and weights.

    On processors without AVX-512 oneDNN writes beyond its buffer in the gradient of the weights of such a convolution
    of fewer than eight channels (torch 2.13, channels last); of stride 1 on the chosen pixels it computes the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        step = self.stride[0]
        if step == 1 or self.in_channels >= 8:
            return super().forward(x)
        return F.conv2d(x[..., ::step, ::step], self.weight, self.bias)


class _Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                _Halve(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNet18(nn.Module):
    """ResNet-18 up to the global average: (N, channels, H, W) -> (N, 8 * width).

    With one channel and `width` 64 it is the network of the paper: 11,170,240 parameters, 512 features.
    """

    def __init__(self, width: int = 64, channels: int = 1, kernel: int = 7) -> None:
        super().__init__()
        self.features = 8 * width
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, kernel, 2, kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks, narrower = [], width
        for stage in range(4):
            wider = width * 2**stage
            blocks += [_Block(narrower, wider, 1 if stage == 0 else 2), _Block(wider, wider, 1)]
            narrower = wider
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block):
                # each block starts as its shortcut, as in the training of SimSiam by its authors
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)).mean(dim=(2, 3))


@lru_cache(maxsize=8)
def _shares(side: int, ratio: float) -> Tensor:
    """(n, side): what share of each of n equal blocks, about `ratio` pixels long, each pixel has."""
    count = max(1, round(side / ratio))
    edges = torch.arange(count + 1, dtype=torch.float64) * (side / count)
    pixels = torch.arange(side, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (covered.clamp_min(0.0) * (count / side)).to(torch.float32)


def area_means(x: Tensor, ratio: float) -> Tensor:
    """Means of images (N, C, H, W) over blocks of `ratio` pixels a side, which may end within a pixel.

    >>> area_means(torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 6, 6), 1.5)[0, 0, 0]
    tensor([0.3333, 1.6667, 3.3333, 4.6667])
    """
    if ratio == 1:
        return x
    if ratio == int(ratio):
        return F.avg_pool2d(x, int(ratio))
    rows, columns = (_shares(int(side), float(ratio)).to(x.device, x.dtype) for side in x.shape[-2:])
    return (rows @ x @ columns.T).contiguous(memory_format=torch.channels_last)


class Encoder(nn.Module):
    """(N, 1, H, W) patches in preset units -> (N, embedding_dim) embeddings, compared by Euclidean distance.

    The embedding is the output of the projection head, as in the paper. The head ends in a batch normalisation
    without affine part (Chen & He 2020, section 3), so that over patches like those of the training each of its
    numbers has mean 0 and variance 1: no number dominates the distance.
    """

    def __init__(self, cfg: EncoderConfig) -> None:
        super().__init__()
        self.embedding_dim = cfg.embedding_dim
        self.downsample = cfg.downsample
        self.bands = cfg.bands
        self.backbone = ResNet18(cfg.width, 3) if cfg.bands else ResNet18(cfg.width)
        self.projection = nn.Sequential(
            nn.Linear(self.backbone.features, cfg.projection_hidden, bias=False),
            nn.BatchNorm1d(cfg.projection_hidden),
            nn.ReLU(inplace=True),
            nn.Linear(cfg.projection_hidden, cfg.embedding_dim, bias=False),
            nn.BatchNorm1d(cfg.embedding_dim, affine=False),
        )

    def shown(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) patches as the convolutions are shown them: bands, block means, or every pixel."""
        if self.bands:
            # layout and strength from block means of the field and of its logarithm; of the texture below a block only
            # its amount, which stays the same when the patch is shifted by half a block
            mean, *detail = haar_split(4.0 * compress(x)).split(1, dim=1)
            amount = torch.stack(detail).square().sum(0).add(1e-6).sqrt()
            x = torch.cat([F.avg_pool2d(4.0 * x, 2), mean, amount], dim=1)
            x = x.contiguous(memory_format=torch.channels_last)
        return area_means(x, self.downsample)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.backbone(self.shown(x)))


class Predictor(nn.Module):
    """The prediction head, embedding_dim -> prediction_hidden -> embedding_dim; needed in training only."""

    def __init__(self, cfg: EncoderConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(cfg.embedding_dim, cfg.prediction_hidden, bias=False),
            nn.BatchNorm1d(cfg.prediction_hidden),
            nn.ReLU(inplace=True),
            nn.Linear(cfg.prediction_hidden, cfg.embedding_dim),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def _seeded(kind: type[nn.Module], cfg: EncoderConfig, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(cfg)


def build_encoder(cfg: EncoderConfig, seed: int = 0) -> Encoder:
    """A fresh encoder whose weights depend on `cfg` and `seed` alone.

    Raises
    ------
    ValueError
        When `cfg.arch` is no architecture of this package.
    """
    if cfg.arch != "resnet18":
        raise ValueError(f"no encoder architecture named {cfg.arch!r}; there is: resnet18")
    return _seeded(Encoder, cfg, seed)


def build_predictor(cfg: EncoderConfig, seed: int = 0) -> Predictor:
    """A fresh prediction head whose weights depend on `cfg` and `seed` alone."""
    return _seeded(Predictor, cfg, seed + 1)
