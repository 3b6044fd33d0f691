"""The encoder as it is used after training, faster: normalisations folded in, kinks and sums done by the convolutions.

In evaluation mode a batch normalisation is a constant scale and shift of each channel, so it can be multiplied into the
weights once (Jacob et al. 2018, arXiv:1712.05877, section 3.2). On a CPU the convolutions are those of oneDNN, laid out
channels last, with weights packed once and with the rectification and the sum with the shortcut done as their results
are written; the bands that the network looks at are made in one pass. The numbers are those of the encoder but for
rounding.
"""

from __future__ import annotations

from typing import Any, cast

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generator.pyramid import compress
from .encoder import Encoder

__all__ = ["Folded", "FoldedBlock", "fold", "layers_of"]

#: patches whose bands are made at a time: they stay in the cache
_NEAR = 8


def fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Any:
    """A layer of the kind of `layer`, with bias, that does what `layer` and then `norm` do in evaluation mode."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    # in float64: the scale is used on thousands of weights
    scale = (variance.double() + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.double())
    shift = (0.0 if norm.bias is None else norm.bias.double()) - mean.double() * scale
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    if layer.bias is not None:
        shift = shift + layer.bias.double() * scale
    made: Any
    if isinstance(layer, nn.Linear):
        made = nn.utils.skip_init(nn.Linear, layer.in_features, layer.out_features)
    else:
        made = nn.utils.skip_init(
            nn.Conv2d, layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
        )
    made.weight.data, made.bias.data = weight.to(layer.weight.dtype), shift.to(layer.weight.dtype)
    return made.to(layer.weight.device).requires_grad_(False)


def layers_of(encoder: Encoder) -> tuple[Any, list[tuple[Any, Any, Any]], list[Any]]:
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
        self.rest = [list(cast(Any, part)) for part in (layer.padding, layer.stride, layer.dilation)]
        if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(layer.weight, *self.rest, 1, None)

    def __call__(self, x: Tensor, rectified: bool) -> Tensor:
        if self.packed is None:
            y = self.layer(x)
            return y.relu_() if rectified else y
        kink = "relu" if rectified else "none"
        return torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.layer.bias, *self.rest, 1, kink, [], "")

    def onto(self, other: Tensor, x: Tensor) -> Tensor:
        """relu(other + convolution of x); `other` is overwritten."""
        if self.packed is None:
            return other.add_(self.layer(x)).relu_()
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            other, x, self.packed, self.layer.bias, *self.rest, 1, "add", 1.0, "relu", [], ""
        )


class FoldedBlock:
    """Two convolutions around a shortcut; what it is given is overwritten where the shortcut is the identity."""

    def __init__(self, conv1: Any, conv2: Any, shortcut: Any) -> None:
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
    for start in range(0, n, _NEAR):
        part = x[start : start + _NEAR, 0].contiguous()
        _bands(part.numpy(), compress(part).numpy(), out[start : start + _NEAR].numpy())
    return out.permute(0, 3, 1, 2)


@numba.njit(cache=True)
def _bands(x: np.ndarray, u: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover (compiled)
    quarter, four = np.float32(0.25), np.float32(4.0)
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[n, i, j, 0] = (x[n, 2 * i, 2 * j] + x[n, 2 * i, 2 * j + 1]) + (
                    x[n, 2 * i + 1, 2 * j] + x[n, 2 * i + 1, 2 * j + 1]
                )
                a, b = four * u[n, 2 * i, 2 * j], four * u[n, 2 * i, 2 * j + 1]
                c, d = four * u[n, 2 * i + 1, 2 * j], four * u[n, 2 * i + 1, 2 * j + 1]
                east, south = quarter * ((a - b) + (c - d)), quarter * ((a + b) - (c + d))
                across = quarter * ((a - b) - (c - d))
                out[n, i, j, 1] = quarter * ((a + b) + (c + d))
                out[n, i, j, 2] = np.sqrt(east * east + south * south + across * across + np.float32(1e-6))
