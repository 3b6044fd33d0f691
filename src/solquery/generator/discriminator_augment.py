"""Differentiable augmentation: what a discriminator is shown of few real images is changed, and changed alike for both.

With some dozens of real patches a discriminator learns them by heart within minutes. Shown shifted, mirrored, turned
and zoomed ones, real and generated alike, it cannot, and what it tells the generator stays about the Sun (Zhao et al.
2020, arXiv:2006.10738; Karras et al. 2020, arXiv:2006.06676). The changes are those that the encoder's views have
(encoder/augment.py): north and south may be exchanged; east and west, or the polarities, may not, for Hale's law tells
those apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["apply_views", "draw_views"]

#: largest shift, as a share of each side; turn; zoom
SHIFT, ROTATION_DEG, ZOOM = 0.125, 10.0, 1.15
#: turns and zooms interpolate, which takes the finest grain away: shown half as often as shifts and mirrors, which do
#: not
_SELDOM = 0.5


def draw_views(count: int, shape: tuple[int, int], probability: float, generator: torch.Generator) -> Tensor:
    """Affine maps (N, 2, 3), from places in a view to places in the image, as `torch.nn.functional.affine_grid` takes.

    Parameters
    ----------
    count, shape
        Images; their rows and columns, of pixels as high as wide.
    probability
        With which an image is shifted, by whole pixels; mirrored half as often, and half as often turned and zoomed.
    generator
        On the CPU; nothing else decides.
    """
    unit = torch.rand(7, count, generator=generator)
    rows, columns = shape
    shifted = (unit[0] < probability).float()
    down = ((2 * unit[1] - 1) * SHIFT * rows).round() * shifted * (2.0 / rows)
    right = ((2 * unit[2] - 1) * SHIFT * columns).round() * shifted * (2.0 / columns)
    mirror = 1.0 - 2.0 * (unit[3] < 0.5 * probability).float()
    turned = (unit[4] < _SELDOM * probability).float()
    angle = (2 * unit[5] - 1) * math.radians(ROTATION_DEG) * turned
    zoom = ZOOM ** ((2 * unit[6] - 1) * turned)
    cosine, sine, aspect = torch.cos(angle) / zoom, torch.sin(angle) / zoom, rows / columns
    x = torch.stack([cosine, sine * aspect, right], 1)
    y = torch.stack([-sine * mirror / aspect, cosine * mirror, down], 1)
    return torch.stack([x, y], 1)


def apply_views(images: Tensor, views: Tensor) -> Tensor:
    """Images (N, C, H, W) seen through `views` (N, 2, 3); zeros where a view reaches beyond. Gradients pass."""
    grid = F.affine_grid(views.to(images.device, images.dtype), [*images.shape], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
