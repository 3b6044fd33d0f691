"""The pyramid generator made ready for one image at a time: the same images, to rounding, in less of a core.

On a CPU half the time of a forward pass of one latent is spent around the convolutions, and more than a third of the
convolutions' own on pixels that nearest-neighbour doubling has just repeated. So here

- a convolution of doubled features is one convolution of 2 x 2 of the features before doubling, with the weights that
  fall on the same pixel added up: 16 products for each where there were 36;
- normalisation, scale, shift, grain and activation are one compiled pass with the frozen noise, whose neighbourhoods
  are laid out once; without numba they are a few operations of torch;
- the latent vector goes through all layers' styles in one product.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from .pyramid import NOISE_MAPS, PyramidGenerator, _Layer

__all__ = ["OptimizedPyramid", "optimize_for_inference"]


def _doubling(weight: torch.Tensor) -> torch.Tensor:
    """(4 O, I, 2, 2) weights that give, on features padded by one, what (O, I, 3, 3) give on the doubled.

    Output channels by phase: (row, column) of the four pixels into which one is doubled, then O. An even row sees
    the feature above (one tap) and its own (two); an odd one its own (two) and the one below (one).
    """
    even = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    odd = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    phases = [
        torch.einsum("ar,bc,oirc->oiab", rows, columns, weight) for rows in (even, odd) for columns in (even, odd)
    ]
    return torch.cat(phases).contiguous(memory_format=torch.channels_last)


def _conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    # by itself torch takes a slower convolution for one small image
    return torch.mkldnn_convolution(x, weight, bias, (1, 1), (1, 1), (1, 1), 1)


@cache
def _compiled() -> Callable[..., None] | None:
    """The compiled pass that follows a convolution, or None without numba or where it is switched off."""
    if os.environ.get("SOLQUERY_NUMBA", "1") == "0":
        return None
    try:
        from .kernels import finish_layer
    except ImportError:
        return None
    return finish_layer


class _Step(nn.Module):
    """What one layer needs, laid out."""

    def __init__(self, layer: _Layer, doubles: bool) -> None:
        super().__init__()
        weight = layer.conv.weight.detach()
        self.doubles, self.shape, self.outer = doubles, layer.shape, weight.shape[0]
        pixels = layer.shape[0] * layer.shape[1]
        self.groups, self.eps = layer.norm.num_groups, layer.norm.eps
        self.register_buffer(
            "weight", _doubling(weight) if doubles else weight.contiguous(memory_format=torch.channels_last)
        )
        self.register_buffer("ones", torch.full((1, 1, pixels), 1.0 / pixels))
        maps = layer.noise.view(NOISE_MAPS, 1, *layer.shape)
        # (maps, h * w * 9): the neighbourhood of each pixel
        self.register_buffer("around", F.unfold(maps, 3, padding=1).transpose(1, 2).reshape(NOISE_MAPS, -1))
        self.register_buffer("grain", layer.grain.weight.detach().reshape(self.outer, 9).T.contiguous())

    def forward(self, x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """x (N, C, h, w), channels last; gain, shift (N, O); shares (N, maps)."""
        made = _conv(x, self.weight).permute(0, 2, 3, 1)  # where it doubles (N, h + 1, w + 1, 4 O)
        noise = (shares @ self.around).view(len(x), *self.shape, 9)
        finish = _compiled()
        if finish is None:
            return self._finished(made, gain, shift, noise)
        y = x.new_empty(len(x), *self.shape, self.outer)
        arrays = [part.contiguous().numpy() for part in (gain, shift, noise, self.grain, y)]
        finish(made.contiguous().numpy(), self.doubles, self.groups, self.eps, *arrays)
        return y.permute(0, 3, 1, 2)

    def _finished(
        self, made: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """What `kernels.finish_layer` does, by operations of torch."""
        n, (rows, columns), outer = len(made), self.shape, self.outer
        y = made
        if self.doubles:
            high, wide = rows // 2, columns // 2
            y = made.new_empty(n, high, 2, wide, 2, outer)
            for row in (0, 1):
                for column in (0, 1):
                    at = (2 * row + column) * outer
                    y[:, :, row, :, column] = made[:, row : row + high, column : column + wide, at : at + outer]
        y = y.reshape(n, rows * columns, outer)
        # mean and variance of groups of channels: as products with ones, since sums over rows are slow here
        together, ones = (n, self.groups, outer // self.groups), self.ones.expand(n, -1, -1)
        middle = torch.bmm(ones, y).view(together).mean(2, keepdim=True)
        spread = torch.bmm(ones, y * y).view(together).mean(2, keepdim=True) - middle.square()
        scale = (1.0 + gain) * torch.rsqrt(spread + self.eps).expand(together).reshape(n, outer)
        offset = shift - middle.expand(together).reshape(n, outer) * scale
        z = torch.baddbmm(offset[:, None], noise.view(n, rows * columns, 9), self.grain.expand(n, -1, -1))
        z = torch.addcmul(z, y, scale[:, None])
        return F.leaky_relu_(z, 0.2).view(n, rows, columns, outer).permute(0, 3, 1, 2)


class OptimizedPyramid(nn.Module):
    """A trained `PyramidGenerator` for use: called as it is, for images of the finest level.

    Holds the weights as they are now. Where gradients are wanted the generator itself answers, and its parameters are
    found here.
    """

    def __init__(self, generator: PyramidGenerator) -> None:
        super().__init__()
        self.generator = generator
        self.latent_dim, self.shape, self.parts = generator.latent_dim, generator.shape, generator.parts
        #: which part of the generator each layer belongs to: what it is told of latents (N, parts, D)
        self.told = [k + 1 for k, block in enumerate(generator.blocks) for _ in block.layers]
        layers = [(layer, k == 0) for block in generator.blocks for k, layer in enumerate(block.layers)]
        with torch.no_grad():
            self.steps = nn.ModuleList(_Step(layer, doubles) for layer, doubles in layers)
            self.register_buffer("styles", torch.cat([layer.style.weight for layer, _ in layers]))
            self.register_buffer("style_bias", torch.cat([layer.style.bias for layer, _ in layers]))
            self.register_buffer("mixing", torch.cat([layer.mixing for layer, _ in layers], 1))
        self.eval()

    def forward(self, z: torch.Tensor, level: int | None = None) -> torch.Tensor:
        made_of = self.generator
        if torch.is_grad_enabled() or level not in (None, made_of.levels):
            return made_of(z, level)
        first, last = (z[:, 0], z[:, -1]) if z.ndim == 3 else (z, z)
        styles, shares = self._styles(z)
        x = F.leaky_relu(made_of.linear(first), 0.2).view(-1, made_of.first, *made_of.seed)
        x = x.contiguous(memory_format=torch.channels_last)
        for k, step in enumerate(self.steps):
            x = step(x, *styles[k].chunk(2, 1), shares[:, k])
        bands = _conv(x, made_of.heads[-1].weight, made_of.heads[-1].bias)
        if made_of.fine_grain is not None:
            bands = bands + made_of.fine_grain(x, last)
        return made_of.finish(bands, first)

    def _styles(self, z: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Gain and shift of each layer (N, 2 O), and the shares of its noise maps (N, layers, maps)."""
        sizes = [2 * step.outer for step in self.steps]
        if z.ndim == 2:
            styles = F.linear(z, self.styles, self.style_bias).split(sizes, 1)
            mixed = (z @ self.mixing).view(len(z), len(self.steps), NOISE_MAPS)
        else:
            own = [z[:, part] for part in self.told]
            weights = zip(own, self.styles.split(sizes), self.style_bias.split(sizes), strict=True)
            styles = tuple(F.linear(*one) for one in weights)
            mixing = zip(own, self.mixing.split(NOISE_MAPS, 1), strict=True)
            mixed = torch.stack([one @ mix for one, mix in mixing], 1)
        return styles, F.normalize(mixed, dim=2)


def optimize_for_inference(generator: nn.Module) -> nn.Module:
    """The generator made ready for one image at a time, or itself where there is no such form of it."""
    first = next(generator.parameters(), None)
    ready = first is not None and first.device.type == "cpu" and first.dtype == torch.float32
    if type(generator) is PyramidGenerator and ready and torch.backends.mkldnn.is_available():
        return OptimizedPyramid(generator)
    return generator
