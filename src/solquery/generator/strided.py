"""The strided convolutions of the paper's networks, in the way that a CPU computes fastest; the numbers stay the same.

A transposed convolution runs several times as fast when its bias is added afterwards (oneDNN has no fast kernel for
both together), and the bias is added ten times as fast to rows of pixels as to single pixels of few channels.

The last layer of the paper's generator (32 channels to 1, transposed) and the gradient of its discriminator's first
layer with respect to the patch are the same operation. The convolutions of a CPU library are made for many channels and
spend more time on this one than on layers of fifteen times its arithmetic. Here it is an ordinary convolution of
2 x 2 pixels to four channels, one for each phase (even and odd rows and columns of the fine map), which are then laid
beside each other. The numbers are those of `torch.nn.functional` up to the order of sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx

__all__ = ["double", "double_thin", "halve_thin"]


def _phase_kernel(weight: torch.Tensor) -> torch.Tensor:
    """(C, 1, 3, 3) to (4, C, 2, 2): what each phase (row, column) takes from the pixels before and at its place."""
    w = weight[:, 0]
    zero = torch.zeros_like(w[:, :, :1])
    # an even row takes from the coarse row before it (weight row 2) and at it (weight row 0), an odd one only at it
    even, odd = w[:, :, [2, 0]], torch.cat([zero, w[:, :, 1:2]], 2)
    kernels = []
    for rows in ((2, 0), (None, 1)):
        for columns in (even, odd):
            parts = [torch.zeros_like(columns[:, 0]) if row is None else columns[:, row] for row in rows]
            kernels.append(torch.stack(parts, 1))
    return torch.stack(kernels)


def _spread(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) and (C, 1, 3, 3) to (N, 1, 2H + 1, 2W + 1): transposed convolution of stride 2."""
    phases = F.conv2d(x, _phase_kernel(weight), padding=1)
    return F.pixel_shuffle(phases, 2)[:, :, :-1, :-1]


def _weight_gradient(fine: torch.Tensor, coarse: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Gradient of the weights of a convolution of stride 2 that takes `fine` to `coarse`."""
    return torch.ops.aten.convolution_backward(
        coarse, fine, weight, None, (2, 2), (0, 0), (1, 1), False, (0, 0), 1, (False, True, False)
    )[1]


class _ThinTranspose(torch.autograd.Function):
    """Transposed convolution to one channel; both gradients are the library's, and can be differentiated again."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _spread(x, weight)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = F.conv2d(gradient, weight, stride=2) if ctx.needs_input_grad[0] else None
        to_weight = _weight_gradient(gradient, x, weight) if ctx.needs_input_grad[1] else None
        return to_x, to_weight


class _Thin(torch.autograd.Function):
    """Convolution of one channel; the gradient of the patch is a transposed convolution to one channel."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, stride=2)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _ThinTranspose.apply(gradient, weight)
            # rows and columns at the end that no kernel has reached
            to_x = F.pad(to_x, (0, x.shape[3] - to_x.shape[3], 0, x.shape[2] - to_x.shape[2]))
        if ctx.needs_input_grad[1]:
            to_weight = _weight_gradient(x, gradient, weight)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3))
        return to_x, to_weight, to_bias


def _on_cpu(x: torch.Tensor) -> bool:
    """A GPU's library has its own ways."""
    return x.device.type == "cpu"


def _as_computed(x: torch.Tensor, *weights: torch.Tensor) -> list[torch.Tensor]:
    """Input and weights in the precision of autocast, which does not look into custom functions."""
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        return [part.to(kind) for part in (x, *weights)]
    return [x, *weights]


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W), channels last, as (N H, W C) without copying."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n * h, w * c)


class _Double(torch.autograd.Function):
    """Transposed convolution of stride 2, bias, leaky ReLU: the second and third in the memory of the first."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, slope: float
    ) -> torch.Tensor:
        y = F.conv_transpose2d(x, weight, None, stride=2).contiguous(memory_format=torch.channels_last)
        _rows(y).add_(bias.repeat(y.shape[3]))
        if slope != 1.0:
            F.leaky_relu_(y, slope)
        ctx.save_for_backward(x, weight, y)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        if ctx.slope != 1.0:
            # the sign of what came out is that of what went in
            gradient = torch.ops.aten.leaky_relu_backward(gradient, y, ctx.slope, True)
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, (2, 2), (0, 0), (1, 1), True, (0, 0), 1,
            (ctx.needs_input_grad[0], ctx.needs_input_grad[1], False),
        )  # fmt: skip
        to_bias = None
        if ctx.needs_input_grad[2]:
            to_bias = _rows(gradient).sum(0).view(-1, y.shape[1]).sum(0)
        return to_x, to_weight, to_bias, None


def double(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, slope: float = 1.0) -> torch.Tensor:
    """As ``leaky_relu(conv_transpose2d(x, weight, bias, stride=2), slope)``: sides n to 2n + 1."""
    if not _on_cpu(x):
        return F.leaky_relu(F.conv_transpose2d(x, weight, bias, stride=2), slope)
    return _Double.apply(*_as_computed(x, weight, bias), slope)


def double_thin(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As ``conv_transpose2d(x, weight, stride=2)`` of a weight (C, 1, 3, 3)."""
    if not _on_cpu(x):
        return F.conv_transpose2d(x, weight, None, stride=2)
    return _ThinTranspose.apply(*_as_computed(x, weight))


def halve_thin(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """As ``conv2d(x, weight, bias, stride=2)`` of a weight (C, 1, 3, 3)."""
    if not _on_cpu(x):
        return F.conv2d(x, weight, bias, stride=2)
    return _Thin.apply(*_as_computed(x, weight, bias))
