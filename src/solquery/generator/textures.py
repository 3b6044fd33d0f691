"""How rough at which scale: the part of the statistics that a discriminator is slow to see.

Weak regions are nearly all noise and network, whose power hardly falls from the finest scale to the coarsest; a
generator makes its images from coarse to fine, and leaves too much of the coarse in them. Next to the noise of every
pixel that excess is faint, though added up over a patch it is certain. So it is measured: the field within the
observation, compressed as the networks see it, is taken apart by the Haar transform, and what varies from one block to
the next is added up for every scale and direction; how unevenly, for the two finest, where isolated elements of the
network differ from noise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .pyramid import compress, haar_split

__all__ = ["TEXTURES", "measure_textures"]

_SCALES = 4
_WAYS = ("x", "y", "xy")
#: names of the textures: differences at 1, 2, 4, 8 pixels along x, along y and across; peakedness at 1 and 2
TEXTURES = (*(f"detail_{2**k}_{way}" for k in range(_SCALES) for way in _WAYS), "peaked_1", "peaked_2")
#: share of a block that must be observed
_MOSTLY = 0.75
#: square of a difference, compressed, that counts as none: some tenths of a gauss
_FAINT = 1e-6


def measure_textures(gauss: Tensor, observed: Tensor, unit_gauss: float = 1000.0) -> Tensor:
    """Textures of fields (N, H, W) in G where `observed` (N, H, W) is 1: (N, T), logarithms, NaN where nothing is.

    The logarithm of the root mean square difference at each scale and direction, then half the logarithm of the
    kurtosis of the differences at the two finest scales.
    """
    coarse, there = compress(gauss[:, None] / unit_gauss), observed[:, None].to(gauss.dtype)
    details, peaks = [], []
    for scale in range(_SCALES):
        bands = haar_split(coarse)
        there = F.avg_pool2d(there, 2)
        inside = (there >= _MOSTLY).to(gauss.dtype)
        count = inside.sum((1, 2, 3))
        coarse, square = bands[:, :1], bands[:, 1:].square() * inside
        power = square.sum((2, 3)) / count.clamp_min(1.0)[:, None]
        none = (count < 1)[:, None]
        details.append((0.5 * torch.log(power + _FAINT)).masked_fill(none, torch.nan))
        if scale < 2:
            fourth = square.square().sum((2, 3)) / count.clamp_min(1.0)[:, None]
            uneven = torch.log((fourth + 3 * _FAINT**2) / (power + _FAINT).square()).mean(1, keepdim=True)
            peaks.append((0.5 * uneven).masked_fill(none, torch.nan))
    return torch.cat([*details, *peaks], 1)
