"""Sides of the feature maps and images of networks that double from level to level, for grids of any two sides."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["image_shape", "levels_of", "resample_map", "seed_shape"]

#: a map is not halved to fewer rows or columns than this
_FEWEST = 3


def seed_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the coarsest feature map of images of `shape`: 4 x 4 for 128 x 128, 3 x 6 for 96 x 192.

    The finest map has half the sides of the image; it is halved while both sides stay whole and at least 3.

    Raises
    ------
    ValueError
        When there is no level at all, or the coarsest map would have six rows and columns or more.

    Examples
    --------
    >>> seed_shape((96, 192))
    (3, 6)
    """
    levels = levels_of(shape)
    return shape[0] >> (levels + 1), shape[1] >> (levels + 1)


def levels_of(shape: tuple[int, int]) -> int:
    """How often the coarsest feature map is doubled to half the sides of images of `shape`; errors as `seed_shape`."""
    height, width = shape
    halvings = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) // 2 >= _FEWEST:
        height, width, halvings = height // 2, width // 2, halvings + 1
    if halvings < 2 or min(height, width) >= 2 * _FEWEST:
        raise ValueError(
            f"both sides of an image must be halved at least twice to a map whose shorter side is 3, 4 or 5 (16, 24, "
            f"32, 64, 96 x 192, 128, …), which {shape[0]} x {shape[1]} cannot"
        )
    return halvings - 1


def image_shape(shape: tuple[int, int], level: int) -> tuple[int, int]:
    """Sides of the images of a level of growth, for the finest images of `shape`: (32, 64) for (96, 192), level 3 of 4
    is (48, 96)."""
    rows, columns = seed_shape(shape)
    return rows << (level + 1), columns << (level + 1)


def resample_map(values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Maps (..., h, w) of one grid at the cells of another of equal scale and centre: (..., H, W).

    Linear between cells; the last cell is repeated beyond them.

    >>> resample_map(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), (1, 3))
    tensor([[1.0000, 1.5000, 2.0000]])
    """
    for axis, wanted in ((-2, shape[0]), (-1, shape[1])):
        there = values.shape[axis]
        at = (torch.arange(wanted) - (wanted - 1) / 2 + (there - 1) / 2).clamp(0, there - 1)
        low = at.floor().long().clamp(max=max(there - 2, 0))
        share = (at - low).to(values.dtype)
        share = share[:, None] if axis == -2 else share
        values = torch.lerp(
            values.index_select(axis, low), values.index_select(axis, (low + 1).clamp(max=there - 1)), share
        )
    return values
