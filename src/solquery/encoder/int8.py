"""The encoder in whole numbers of eight bits, for archives so large that embedding them takes hours.

Static quantisation (Jacob et al. 2018, arXiv:1712.05877): weights as signed bytes with a scale for each channel,
activations, which a rectification has left positive, as unsigned bytes, sums in 32 bits by oneDNN. What the network is
shown, its first layers, the sums with the shortcuts and the head stay float32: the field reaches from a gauss to
kilogauss, which 256 steps cannot hold. The scales come from patches that the model's own generator makes of fixed
latents, so that they depend on the model alone, and on no archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SolqueryError
from .folded import Folded, layers_of
from .networks import Encoder

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = [
    "LEAST_AGREEMENT",
    "Calibration",
    "Int8Encoder",
    "PrecisionError",
    "agreement",
    "calibrate",
    "calibration_patches",
]

#: share of the patches that the steps come from whose nearest of the others int8 must leave as it is; these are patches
#: that have no copy among the others, so that near ties are many
LEAST_AGREEMENT = 0.9
#: patches made at a time
_AT_A_TIME = 25
_PATCHES, _SEED = 256, 20240601


class PrecisionError(SolqueryError, ValueError):
    """A precision that an encoder or a machine does not have."""


class _Convolution:
    """A convolution of unsigned bytes by signed bytes.

    `steps` (C,) says what a byte of each channel it is given is worth, `made` the same of what it makes; None: float32.
    Both go into the weights, so that every channel has its own scale although oneDNN knows one for all of them.
    """

    def __init__(self, layer: nn.Module, steps: Tensor, made: Tensor | None = None) -> None:
        weight, bias = layer.weight.detach() * steps.view(1, -1, 1, 1), layer.bias.detach()
        if made is not None:
            weight, bias = weight / made.view(-1, 1, 1, 1), bias / made
        scale = (weight.abs().amax(dim=(1, 2, 3)) / 127).clamp_min(1e-12)
        whole = (weight / scale.view(-1, 1, 1, 1)).round().to(torch.int8)
        self.scale, self.bias = scale, bias
        self.zero = torch.zeros(len(scale), dtype=torch.int32)
        self.rest = [list(layer.stride), list(layer.padding), list(layer.dilation), 1]
        self.packed = torch.ops.onednn.qconv_prepack(whole, scale, 1.0, 0, *self.rest, None)
        self.makes = (torch.float32, "none") if made is None else (torch.uint8, "relu")

    def __call__(self, x: Tensor) -> Tensor:
        kind, kink = self.makes
        return torch.ops.onednn.qconv2d_pointwise(
            x, 1.0, 0, self.packed, self.scale, self.zero, self.bias, *self.rest, 1.0, 0, kind, kink, [], ""
        )


class _Block:
    """float32 in and out, bytes between; what it is given is overwritten where the shortcut is the identity."""

    def __init__(self, layers: tuple[nn.Module, nn.Module, nn.Module | None], outer: Tensor, inner: Tensor) -> None:
        conv1, conv2, shortcut = layers
        self.per_step = (1.0 / outer).view(1, -1, 1, 1)
        self.conv1, self.conv2 = _Convolution(conv1, outer, inner), _Convolution(conv2, inner)
        self.shortcut = None if shortcut is None else _Convolution(shortcut, outer)

    def before_kink(self, x: Tensor) -> Tensor:
        """What is rectified at the end."""
        whole = (x * self.per_step).add_(0.5).clamp_max_(255.0).to(torch.uint8)
        y = self.conv2(self.conv1(whole))
        return y.add_(x if self.shortcut is None else self.shortcut(whole))

    def __call__(self, x: Tensor) -> Tensor:
        return self.before_kink(x).relu_()


@dataclass(frozen=True)
class Calibration:
    """What int8 needs beside the weights, for each block but the first.

    Attributes
    ----------
    outer, inner
        (C,) what a byte is worth in each channel of the block's input, and of what its first convolution makes.
    shift
        (C,) what the rounding takes from the mean of the block's output, added again.
    """

    outer: tuple[Tensor, ...]
    inner: tuple[Tensor, ...]
    shift: tuple[Tensor, ...]


class Int8Encoder(Folded):
    """(N, 1, H, W) float32 patches on the CPU -> (N, embedding_dim) float32, nearly as `encoder` gives them.

    Parameters
    ----------
    encoder
        In evaluation mode.
    calibration
        From `calibrate`, with this encoder.

    Raises
    ------
    PrecisionError
        Where this build of torch has no convolutions of bytes.
    """

    def __init__(self, encoder: Encoder, calibration: Calibration) -> None:
        super().__init__(encoder)
        _check_build()
        _, layers, _ = layers_of(encoder)
        known = zip(layers[1:], calibration.outer, calibration.inner, strict=True)
        self.blocks = [self.blocks[0], *(_Block(*one) for one in known)]
        for block, shift in zip(self.blocks[1:], calibration.shift, strict=True):
            block.conv2.bias = block.conv2.bias + shift


def _check_build() -> None:
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qconv2d_pointwise")):
        raise PrecisionError("this build of torch has no oneDNN, so no int8; embed with --precision fp32")


def calibration_patches(model: Model) -> Tensor:
    """(256, 1, H, W) patches of the model's generator, always the same."""
    z = torch.randn(_PATCHES, model.generator.latent_dim, generator=torch.Generator().manual_seed(_SEED))
    with torch.no_grad():
        # on the device of the generator, a few at a time
        place = next((p.device for p in model.generator.parameters()), torch.device("cpu"))
        return torch.cat([model.generator(part.to(place)).float().cpu() for part in z.split(_AT_A_TIME)])


@torch.no_grad()
def calibrate(encoder: Encoder, x: Tensor) -> Calibration:
    """Steps and shifts from patches (N, 1, H, W).

    The rounding of the quiet field is the same in every pixel of every patch, so it does not average out: the mean
    error of each channel is measured and taken back (Nagel et al. 2019, arXiv:1906.04721, section 4.2).

    Raises
    ------
    PrecisionError
        When int8 finds other patches than fp32 among `x`: on processors without instructions for dot products of bytes
        sums can overflow.
    """
    _check_build()
    exact = Folded(encoder)
    _, layers, _ = layers_of(encoder)
    y = torch.cat([exact.blocks[0](exact.features(part)) for part in x.split(64)])
    coarse, parts = y.clone(), []
    for conv1, conv2, shortcut in layers[1:]:
        inner = conv1(y).relu_()
        outer_steps, inner_steps = _steps(y), _steps(inner)
        y = conv2(inner) + (y if shortcut is None else shortcut(y))
        block = _Block((conv1, conv2, shortcut), outer_steps, inner_steps)
        coarse = block.before_kink(coarse)
        shift = (y - coarse).mean(dim=(0, 2, 3))
        coarse = coarse.add_(shift.view(1, -1, 1, 1)).relu_()
        y = y.relu_()
        parts.append((outer_steps, inner_steps, shift))
    a, b = exact.project(y).numpy(), exact.project(coarse).numpy()
    found = agreement(a[::2], a[1::2], b[1::2])
    if found < LEAST_AGREEMENT:
        raise PrecisionError(
            f"int8 agrees with fp32 in only {found:.0%} of the nearest patches; this encoder or this processor does "
            "not bear it, embed with --precision fp32"
        )
    return Calibration(*zip(*parts, strict=True))


def _steps(made: Tensor) -> Tensor:
    """Steps (C,) for activations (N, C, H, W): between one for all channels and one for each.

    Small steps in a quiet channel mean small weights from it, which then are rounded more coarsely beside those from a
    loud one; the geometric mean shares the loss (Xiao et al. 2023, arXiv:2211.10438).
    """
    largest = made.amax(dim=(0, 2, 3))
    top = largest.max().clamp_min(1e-6)
    return top / 255 * (largest / top).clamp_min(1e-4).sqrt()


def agreement(queries: np.ndarray, archive: np.ndarray, other: np.ndarray) -> float:
    """Share of `queries` (Q, D) whose nearest row is the same in `archive` and in `other` (both (N, D))."""
    nearest = []
    for rows in (archive, other):
        squares = np.einsum("nd,nd->n", rows, rows)
        nearest.append((squares - 2.0 * queries @ rows.T).argmin(axis=1))
    return float((nearest[0] == nearest[1]).mean())
