"""The encoder as it is used after training, faster: normalisations folded in, kinks and sums done by the convolutions.

In evaluation mode a batch normalisation is a constant scale and shift of each channel, so it can be multiplied into the
weights once (Jacob et al. 2018, arXiv:1712.05877, section 3.2). On a CPU the convolutions are those of oneDNN, laid out
channels last, with weights packed once and with the rectification and the sum with the shortcut done as their results
are written; the bands that the network looks at are made in one pass. The numbers are those of the encoder but for
rounding.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generator.pyramid import KNEE
from .networks import Encoder

__all__ = ["Folded", "FoldedBlock", "fold", "layers_of"]

#: patches whose bands are made at a time: they stay in the cache
_NEAR = 8


def fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """A layer of the kind of `layer`, with bias, that does what `layer` and then `norm` do in evaluation mode."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    # in float64: the scale is used on thousands of weights
    scale = (variance.double() + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.double())
    shift = (0.0 if norm.bias is None else norm.bias.double()) - mean.double() * scale
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    if layer.bias is not None:
        shift = shift + layer.bias.double() * scale
    made: nn.Conv2d | nn.Linear
    if isinstance(layer, nn.Linear):
        made = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features)
    else:
        made = nn.utils.skip_init(
            nn.Conv2d, layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
        )
    made.weight.data, made.bias.data = weight.to(layer.weight.dtype), shift.to(layer.weight.dtype)
    return made.to(layer.weight.device).requires_grad_(False)


#: both convolutions of a block, and that of its shortcut or None
_BlockLayers = tuple[nn.Module, nn.Module, nn.Module | None]


def layers_of(encoder: Encoder) -> tuple[nn.Module, list[_BlockLayers], list[nn.Module]]:
    """Folded layers of `encoder`: the stem; (conv1, conv2, shortcut or None) of every block; the two of the head."""
    stem, head = encoder.backbone.stem, encoder.projection
    blocks = []
    for block in cast(Any, encoder.backbone.blocks):
        shortcut = None if isinstance(block.shortcut, nn.Identity) else fold(*block.shortcut)
        blocks.append((fold(block.conv1, block.bn1), fold(block.conv2, block.bn2), shortcut))
    ends = [fold(cast(nn.Linear, head[k]), cast(nn.BatchNorm1d, head[k + 1])) for k in (0, 3)]
    return fold(cast(nn.Conv2d, stem[0]), cast(nn.BatchNorm2d, stem[1])), blocks, ends


class _Convolution:
    """A folded convolution, its kink and its sum with another tensor."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer
        self.packed: Tensor | None = None
        self.matrix: Tensor | None = None
        self.rest = [list(cast(Any, part)) for part in (layer.padding, layer.stride, layer.dilation)]
        if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(layer.weight, *self.rest, 1, None)

    def _plain(self, x: Tensor) -> Tensor | None:
        """Without kink, where oneDNN's convolution is not the best or not there; else None."""
        layer = self.layer
        if x.shape[2:] == (2, 2) and layer.kernel_size == (3, 3) and layer.stride == (1, 1):
            # of the 36 products of kernel and map only 16 are with what lies inside
            if self.matrix is None:
                self.matrix = _matrix(layer.weight)
            rows = x.permute(0, 2, 3, 1).reshape(len(x), -1)
            y = torch.addmm(cast(Tensor, layer.bias).repeat(4), rows, self.matrix)
            return y.view(len(x), 2, 2, -1).permute(0, 3, 1, 2)
        return layer(x) if self.packed is None else None

    def __call__(self, x: Tensor, rectified: bool) -> Tensor:
        y = self._plain(x)
        if y is not None:
            return y.relu_() if rectified else y
        kink = "relu" if rectified else "none"
        return torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.layer.bias, *self.rest, 1, kink, [], "")

    def onto(self, other: Tensor, x: Tensor) -> Tensor:
        """relu(other + convolution of x); `other` is overwritten."""
        y = self._plain(x)
        if y is not None:
            return other.add_(y).relu_()
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            other, x, self.packed, self.layer.bias, *self.rest, 1, "add", 1.0, "relu", [], ""
        )


def _matrix(weight: Tensor) -> Tensor:
    """A 3 x 3 convolution as a matrix (4 C_in, 4 C_out) on maps of 2 x 2, laid out pixel by pixel."""
    out, into = weight.shape[:2]
    made = weight.new_empty(2, 2, into, 2, 2, out)
    for y, x, v, u in itertools.product(range(2), repeat=4):
        made[y, x, :, v, u] = weight[:, :, 1 + y - v, 1 + x - u].T
    return made.view(4 * into, 4 * out)


class FoldedBlock:
    """Two convolutions around a shortcut; what it is given is overwritten where the shortcut is the identity."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module, shortcut: nn.Module | None) -> None:
        self.conv1, self.conv2 = _Convolution(conv1), _Convolution(conv2)
        self.shortcut = None if shortcut is None else _Convolution(shortcut)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.conv1(x, True)
        return self.conv2.onto(x if self.shortcut is None else self.shortcut(x, False), y)


class Folded:
    """(N, 1, H, W) float32 patches on the CPU -> (N, embedding_dim), as `encoder` gives them, but faster.

    A copy: later changes of the encoder's weights do not reach it. For inference only.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.embedding_dim = encoder.embedding_dim
        self._shown = encoder.shown
        self._bands = encoder.bands
        stem, blocks, self.head = layers_of(encoder)
        self.stem = _Convolution(stem)
        self.blocks: list[Any] = [FoldedBlock(*block) for block in blocks]

    def features(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, width, H', W'), what the blocks are given."""
        shown = bands(x) if self._bands else self._shown(x)
        shown = shown.contiguous(memory_format=torch.channels_last)
        return F.max_pool2d(self.stem(shown, True), 3, 2, 1)

    def project(self, x: Tensor) -> Tensor:
        """What the blocks made to embeddings (N, embedding_dim)."""
        return self.head[1](self.head[0](x.mean(dim=(2, 3))).relu_())

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = self.features(x)
        for block in self.blocks:
            x = block(x)
        return self.project(x)


def bands(x: Tensor) -> Tensor:
    """What `Encoder.shown` makes of (N, 1, H, W), as (N, 3, H/2, W/2) laid out channels last."""
    n, _, height, width = x.shape
    out = torch.empty((n, height // 2, width // 2, 3), dtype=torch.float32)
    square, gain = torch.tensor(KNEE**2), 4.0 / math.asinh(1.0 / KNEE)
    for start in range(0, n, _NEAR):
        part = x[start : start + _NEAR, 0].contiguous()
        # asinh |x / KNEE| = ln(sqrt(x^2 + KNEE^2) + |x|) - ln KNEE: what is lost near 0 is far below 1e-6
        logarithm = torch.addcmul(square, part, part).sqrt_().add_(part.abs()).log_()
        _bands(
            part.numpy(),
            logarithm.numpy(),
            np.float32(math.log(KNEE)),
            np.float32(gain),
            out[start : start + _NEAR].numpy(),
        )
    return out.permute(0, 3, 1, 2)


@numba.njit(cache=True, inline="always")
def _compressed(x: np.float32, logarithm: np.float32, least: np.float32, gain: np.float32) -> np.float32:
    return np.float32(math.copysign(gain * (logarithm - least), x))


@numba.njit(cache=True)
def _bands(x: np.ndarray, u: np.ndarray, least: np.float32, gain: np.float32, out: np.ndarray) -> None:
    """Bands `out` (N, H/2, W/2, 3) of fields x (N, H, W) whose magnitudes have the logarithms u."""
    quarter, floor = np.float32(0.25), np.float32(1e-6)
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            top, bottom, u_top, u_bottom = x[n, 2 * i], x[n, 2 * i + 1], u[n, 2 * i], u[n, 2 * i + 1]
            for j in range(out.shape[2]):
                k = 2 * j
                out[n, i, j, 0] = (top[k] + top[k + 1]) + (bottom[k] + bottom[k + 1])
                a = _compressed(top[k], u_top[k], least, gain)
                b = _compressed(top[k + 1], u_top[k + 1], least, gain)
                c = _compressed(bottom[k], u_bottom[k], least, gain)
                d = _compressed(bottom[k + 1], u_bottom[k + 1], least, gain)
                east, south = quarter * ((a - b) + (c - d)), quarter * ((a + b) - (c + d))
                across = quarter * ((a - b) - (c - d))
                out[n, i, j, 1] = quarter * ((a + b) + (c + d))
                out[n, i, j, 2] = math.sqrt(east * east + south * south + across * across + floor)
