"""The strided convolutions of the paper's networks, in the way that a CPU computes fastest; the numbers stay the same.

A transposed convolution runs twice as fast when its bias is added afterwards (oneDNN has no fast kernel for both
together). The last layer of the paper's generator (32 channels to 1, transposed) and the gradient of its
discriminator's first layer with respect to the patch are the same operation. The convolutions of a CPU library are made
for many channels and spend more time on this one than on layers of fifteen times its arithmetic. Here the nine numbers
that each pixel of the coarse map contributes are one matrix product, and its four phases (even and odd rows and columns
of the fine map) are summed from them. The numbers are those of `torch.nn.functional` up to the order of sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

__all__ = ["double", "double_thin", "halve_thin"]


def _spread(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) and (C, 1, 3, 3) to (N, 1, 2H + 1, 2W + 1): transposed convolution of stride 2."""
    n, c, h, w = x.shape
    # channels last makes the pixels rows of a matrix without copying
    pixels = x.permute(0, 2, 3, 1).reshape(n * h * w, c)
    k = (weight.view(c, 9).t() @ pixels.t()).view(3, 3, n, h, w)
    out = x.new_zeros(n, 2 * h + 1, 2 * w + 1)
    odd_rows, odd_columns = slice(1, 2 * h, 2), slice(1, 2 * w, 2)
    out[:, odd_rows, odd_columns] = k[1, 1]
    # an even row takes from the coarse row below it (weight row 0) and the one above (weight row 2)
    for row, rows in ((0, slice(0, 2 * h, 2)), (2, slice(2, 2 * h + 1, 2))):
        out[:, rows, odd_columns] += k[row, 1]
        for column, columns in ((0, slice(0, 2 * w, 2)), (2, slice(2, 2 * w + 1, 2))):
            out[:, rows, columns] += k[row, column]
    for column, columns in ((0, slice(0, 2 * w, 2)), (2, slice(2, 2 * w + 1, 2))):
        out[:, odd_rows, columns] += k[1, column]
    return out[:, None]


def _weight_gradient(fine: torch.Tensor, coarse: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Gradient of the weights of a convolution of stride 2 that takes `fine` to `coarse`."""
    return torch.ops.aten.convolution_backward(
        coarse, fine, weight, None, (2, 2), (0, 0), (1, 1), False, (0, 0), 1, (False, True, False)
    )[1]


class _ThinTranspose(torch.autograd.Function):
    """Transposed convolution to one channel; both gradients are the library's, and can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _spread(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = F.conv2d(gradient, weight, stride=2) if ctx.needs_input_grad[0] else None
        to_weight = _weight_gradient(gradient, x, weight) if ctx.needs_input_grad[1] else None
        return to_x, to_weight


class _Thin(torch.autograd.Function):
    """Convolution of one channel; the gradient of the patch is a transposed convolution to one channel."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, stride=2)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
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


def _gains(x: torch.Tensor) -> bool:
    """A GPU's library has its own ways, and lower precisions their own kernels."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def double(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """As ``conv_transpose2d(x, weight, bias, stride=2)``: sides n to 2n + 1."""
    if not _gains(x):
        return F.conv_transpose2d(x, weight, bias, stride=2)
    return F.conv_transpose2d(x, weight, None, stride=2).add_(bias[:, None, None])


def double_thin(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """As `double`, for a weight (C, 1, 3, 3)."""
    if not _gains(x):
        return F.conv_transpose2d(x, weight, bias, stride=2)
    return _ThinTranspose.apply(x, weight) + bias


def halve_thin(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """As ``conv2d(x, weight, bias, stride=2)`` of a weight (C, 1, 3, 3)."""
    if not _gains(x):
        return F.conv2d(x, weight, bias, stride=2)
    return _Thin.apply(x, weight, bias)
