"""The pyramid generator made ready for use, one image or a few at a time: the same to rounding, in less of a core.

On a CPU half the time of a forward pass of one latent is spent around the convolutions, more on the way back, and more
than a third of the convolutions' own on pixels that nearest-neighbour doubling has just repeated. So here

- a convolution of doubled features is one convolution of 2 x 2 of the features before doubling, with the weights that
  fall on the same pixel added up: 16 products for each where there were 36; so are its gradients;
- normalisation, scale, shift, grain and activation are one compiled pass, and two on the way back; without numba they
  are a few operations of torch, and gradients are the generator's own;
- the latent vector goes through all layers' styles in one product.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

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


def _conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, padding: int = 1) -> torch.Tensor:
    # by itself torch takes a slower convolution for one small image
    return torch.mkldnn_convolution(x, weight, bias, (padding, padding), (1, 1), (1, 1), 1)


@cache
def _compiled() -> tuple[Callable[..., None], Callable[..., None]] | None:
    """The compiled passes after a convolution, there and back, or None without numba or where it is switched off."""
    if os.environ.get("SOLQUERY_NUMBA", "1") == "0":
        return None
    try:
        from .kernels import finish_layer, finish_layer_back
    except ImportError:
        return None
    return finish_layer, finish_layer_back


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "solquery-layers")


def _each(kernel: Callable[..., None], tensors: Sequence[torch.Tensor], *rest: object) -> None:
    """Call a kernel with arrays of N patches (they are filled in place), in as many parts as torch may use threads."""
    arrays = [one.numpy() for one in tensors]
    n, parts = len(arrays[0]), min(len(arrays[0]), torch.get_num_threads())
    ends = [(k * n // parts, (k + 1) * n // parts) for k in range(parts)]

    def part(start: int, end: int) -> None:
        kernel(*(one[start:end] for one in arrays), *rest)

    others = [_workers().submit(part, *end) for end in ends[1:]]
    part(*ends[0])
    for other in others:
        other.result()


class _LayerFunction(torch.autograd.Function):
    """A layer with its gradients: features (N, C, h, w), channels last, gain, shift (N, O), noise (N, h + 2, w + 2)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor, noise: torch.Tensor, step: _Step
    ) -> torch.Tensor:
        kernels = _compiled()
        assert kernels is not None
        made = _conv(x, step.weight).permute(0, 2, 3, 1).contiguous()  # where it doubles (N, h + 1, w + 1, 4 O)
        out = made.new_empty(len(x), *step.shape, step.outer)
        moments = made.new_empty(2, len(x), step.groups, dtype=torch.float64)
        gain = gain.contiguous()
        told = (made, gain, shift.contiguous(), noise.contiguous(), out, *moments)
        _each(kernels[0], told, step.doubles, step.eps, step.grain.numpy())
        ctx.save_for_backward(out, made, gain, *moments)
        ctx.step = step
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        kernels, step = _compiled(), ctx.step
        assert kernels is not None
        out, made, gain, *moments = ctx.saved_tensors
        behind = gradients[0].permute(0, 2, 3, 1).contiguous()
        before, to_made, to_gain, to_shift = map(torch.empty_like, (out, made, gain, gain))
        told = (behind, out, made, gain, *moments, before, to_made, to_gain, to_shift)
        _each(kernels[1], told, step.doubles)
        to_noise = None
        if ctx.needs_input_grad[3]:
            around = (before.flatten(1, 2) @ step.grain.T).transpose(1, 2)
            rows, columns = step.shape
            to_noise = F.fold(around, (rows + 2, columns + 2), 3)[:, 0]
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = _conv(to_made.permute(0, 3, 1, 2), step.back, padding=0 if step.doubles else 1)
        return to_x, to_gain, to_shift, to_noise, None


class _Step(nn.Module):
    """What one layer needs, laid out."""

    def __init__(self, layer: _Layer, doubles: bool) -> None:
        super().__init__()
        weight = layer.conv.weight.detach()
        weight = _doubling(weight) if doubles else weight.contiguous(memory_format=torch.channels_last)
        self.doubles, self.shape, self.outer = doubles, layer.shape, layer.conv.out_channels
        self.groups, self.eps = layer.norm.num_groups, layer.norm.eps
        self.register_buffer("weight", weight)
        #: the convolution that leads gradients back
        self.register_buffer("back", weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last))
        # each map with a border of zeros, and each a row
        maps = F.pad(layer.noise.view(NOISE_MAPS, *layer.shape), (1, 1, 1, 1))
        self.register_buffer("noise", maps.flatten(1))
        self.register_buffer("grain", layer.grain.weight.detach().reshape(self.outer, 9).T.contiguous())

    def forward(
        self,
        x: torch.Tensor,
        gain: torch.Tensor,
        shift: torch.Tensor,
        shares: torch.Tensor,
        local: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """x (N, C, h, w), channels last; gain, shift (N, O); shares (N, maps); local noise (N, h * w)."""
        rows, columns = self.shape
        noise = (shares @ self.noise).view(-1, rows + 2, columns + 2)
        if local is not None:
            noise = noise + F.pad(local.view(-1, rows, columns), (1, 1, 1, 1))
        if _compiled() is None:
            return self._finished(_conv(x, self.weight).permute(0, 2, 3, 1), gain, shift, noise)
        return _LayerFunction.apply(x, gain, shift, noise, self)

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
        together, ones = (n, self.groups, outer // self.groups), y.new_full((n, 1, rows * columns), 1 / rows / columns)
        middle = torch.bmm(ones, y).view(together).mean(2, keepdim=True)
        spread = torch.bmm(ones, y * y).view(together).mean(2, keepdim=True) - middle.square()
        scale = (1.0 + gain) * torch.rsqrt(spread + self.eps).expand(together).reshape(n, outer)
        offset = shift - middle.expand(together).reshape(n, outer) * scale
        around = F.unfold(noise[:, None], 3).transpose(1, 2)
        z = torch.baddbmm(offset[:, None], around, self.grain.expand(n, -1, -1))
        z = torch.addcmul(z, y, scale[:, None])
        return F.leaky_relu_(z, 0.2).view(n, rows, columns, outer).permute(0, 3, 1, 2)


class _Head(nn.Module):
    """Features of the finest map to bands, with the pixel noise where there is some: its strength is read off the same
    features, so that one convolution makes both.
    """

    def __init__(self, generator: PyramidGenerator) -> None:
        super().__init__()
        head, grain = generator.heads[-1], generator.fine_grain
        self.grained = grain is not None
        self.gain = None if grain is None else grain.gain
        weights, biases = [head.weight.detach()], [head.bias.detach()]
        if grain is not None:
            weights.append(F.pad(grain.strength.weight.detach(), (1, 1, 1, 1)))
            biases.append(grain.strength.bias.detach())
            maps = grain.noise.view(NOISE_MAPS, grain.channels, *grain.shape).permute(0, 2, 3, 1)
            self.shape = (*grain.shape, grain.channels)
            self.register_buffer("noise", maps.flatten(1).contiguous())
            self.register_buffer("mixing", grain.mixing)
            spread = grain.spread.weight.detach().contiguous(memory_format=torch.channels_last)
            self.register_buffer("spread", spread)
        self.bands = len(head.bias)
        self.register_buffer("weight", torch.cat(weights).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", torch.cat(biases))

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """x (N, C, h, w), channels last, and latents (N, D) to (N, 4, h, w)."""
        made = _conv(x, self.weight, self.bias)
        if not self.grained:
            return made
        noise = (F.normalize(z @ self.mixing, dim=1) @ self.noise).view(-1, *self.shape)
        if self.gain is not None:
            noise = noise * self.gain(z)[:, None, None]
        strength = made[:, self.bands :] * noise.permute(0, 3, 1, 2)
        return made[:, : self.bands] + _conv(strength, self.spread)


class OptimizedPyramid(nn.Module):
    """A trained `PyramidGenerator` for use: called as it is, for images of the finest level.

    Holds the weights as they are now. Slopes of latents and local noise are its own where the weights want none
    (`steering.latents.frozen`); where they do the generator itself answers, and its parameters are found here.
    """

    def __init__(self, generator: PyramidGenerator) -> None:
        super().__init__()
        self.generator = generator
        self.latent_dim, self.shape, self.parts = generator.latent_dim, generator.shape, generator.parts
        self.local_noise = generator.local_noise
        #: which part of the generator each layer belongs to: what it is told of latents (N, parts, D)
        self.told = [k + 1 for k, block in enumerate(generator.blocks) for _ in block.layers]
        layers = [(layer, k == 0) for block in generator.blocks for k, layer in enumerate(block.layers)]
        with torch.no_grad():
            self.steps = nn.ModuleList(_Step(layer, doubles) for layer, doubles in layers)
            self.head = _Head(generator)
            self.register_buffer("styles", torch.cat([layer.style.weight for layer, _ in layers]))
            self.register_buffer("style_bias", torch.cat([layer.style.bias for layer, _ in layers]))
            self.register_buffer("mixing", torch.cat([layer.mixing for layer, _ in layers], 1))
        self.eval()

    @property
    def window(self) -> nn.Module | None:
        """The footprint mask of the generator."""
        return self.generator.window

    def forward(self, z: torch.Tensor, level: int | None = None, noise: torch.Tensor | None = None) -> torch.Tensor:
        made_of = self.generator
        learns = torch.is_grad_enabled() and (_compiled() is None or any(p.requires_grad for p in self.parameters()))
        if learns or level not in (None, made_of.levels):
            return made_of(z, level, noise)
        alone, z = z[:, 0] if z.ndim == 3 else z, made_of.mapped(z)
        first, last = (z[:, 0], z[:, -1]) if z.ndim == 3 else (z, z)
        styles, shares = self._styles(z)
        local = [None] * len(self.steps) if noise is None else self._local(noise)
        x = F.leaky_relu(made_of.linear(first), 0.2).view(-1, made_of.first, *made_of.seed)
        x = x.contiguous(memory_format=torch.channels_last)
        for k, step in enumerate(self.steps):
            x = step(x, *styles[k].chunk(2, 1), shares[:, k], local[k])
        return made_of.finish(self.head(x, last), alone)

    def _local(self, noise: torch.Tensor) -> list[torch.Tensor | None]:
        """What each layer is told of local noise (N, L): the first of each block its part, the others nothing."""
        parts = iter(noise.split([step.shape[0] * step.shape[1] for step in self.steps if step.doubles], 1))
        return [next(parts) if step.doubles else None for step in self.steps]

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
    """The generator made ready for use, its weights as they are now, or itself where there is no such form of it."""
    if type(generator) is not PyramidGenerator or not torch.backends.mkldnn.is_available():
        return generator
    first = next(generator.parameters())
    return OptimizedPyramid(generator) if first.device.type == "cpu" and first.dtype == torch.float32 else generator
