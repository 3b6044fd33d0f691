"""The transformations an embedding must not notice: shift, zoom, rotation, vertical flip (paper, section 4).

Limits are pixels and degrees; where a pixel has a size on the Sun they are megametres and degrees there
(`AugmentConfig.physical`). One affine map per patch, applied by a single bilinear resampling of the whole batch; what
comes in from outside is 0 G, the quiet grey between regions. Mirroring east and west, or exchanging the polarities,
turns an active region into one that Hale's law puts in the other hemisphere or cycle, so neither is an invariance and
neither can be switched on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import AugmentConfig

__all__ = ["Views", "augment", "draw_views", "seeded_generator", "warp"]


@dataclass(frozen=True)
class Views:
    """What is done to each of N patches.

    Attributes
    ----------
    shift_px
        (N, 2), how far the content moves in y and x, in pixels.
    zoom
        (N,), above 1 magnifies.
    rotation_deg
        (N,), from +x towards +y, in degrees: counter-clockwise with row 0 in the south.
    flip
        (N,) bool, whether north and south are exchanged (before the rotation).
    pixel_aspect
        Height of a pixel on the Sun in units of its width; rotations are those on the Sun.
    """

    shift_px: Tensor
    zoom: Tensor
    rotation_deg: Tensor
    flip: Tensor
    pixel_aspect: float = 1.0


def seeded_generator(*key: int) -> torch.Generator:
    """A CPU generator that is a pure function of the given non-negative integers, e.g. (seed, stream, step)."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def draw_views(n: int, cfg: AugmentConfig, generator: torch.Generator) -> Views:
    """Draw the transformations of `n` patches, uniform within the limits of `cfg`.

    The same numbers are consumed whatever is switched off, so that a seed means the same with any settings.
    """
    unit = torch.rand(5, n, generator=generator)
    low, high = cfg.zoom
    reach = torch.tensor([[cfg.shift_px / cfg.pixel_aspect], [cfg.shift_px]])
    return Views(
        shift_px=((2 * unit[:2] - 1) * reach).T.contiguous(),
        zoom=low + (high - low) * unit[2],
        rotation_deg=(2 * unit[3] - 1) * cfg.rotation_deg,
        flip=(unit[4] < 0.5) & cfg.vertical_flip,
        pixel_aspect=cfg.pixel_aspect,
    )


def warp(x: Tensor, views: Views) -> Tensor:
    """Apply `views` to `x` (N, C, H, W) about the centre of the grid; zeros outside.

    The order is flip, rotation, zoom, shift: whatever lies at the centre of a patch moves by exactly `shift_px`.
    Lengths are those of the pixel grid, also where H and W differ; angles those on the Sun, where a pixel is
    `views.pixel_aspect` times as high as wide.
    """
    n, _, height, width = x.shape
    angle = torch.deg2rad(views.rotation_deg)
    cosine, sine = torch.cos(angle) / views.zoom, torch.sin(angle) / views.zoom
    mirror = 1.0 - 2.0 * views.flip.to(cosine.dtype)
    aspect = views.pixel_aspect
    # grid_sample asks, for every pixel of the result, where it comes from: the inverse map
    matrix = torch.stack(
        [torch.stack([cosine, sine * aspect], -1), torch.stack([-sine * mirror / aspect, cosine * mirror], -1)], dim=1
    )  # (N, 2, 2), rows and columns (x, y)
    shift_xy = views.shift_px.flip(-1).unsqueeze(-1)
    offset = -(matrix @ shift_xy)
    if x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad:
        # the same interpolation, without a grid of places in memory: about six times as fast
        out = torch.empty(x.shape)
        _resample(x.detach().contiguous().numpy(), matrix.numpy(), offset[:, :, 0].numpy(), out.numpy())
        return out
    half = torch.tensor([width / 2, height / 2], dtype=matrix.dtype)
    theta = torch.cat([matrix * half.view(1, 1, 2), offset], dim=2) / half.view(1, 2, 1)
    grid = F.affine_grid(theta.to(x.device, x.dtype), [n, 1, height, width], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@numba.njit(cache=True, error_model="numpy")
def _resample(x: np.ndarray, matrix: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    """out (N, C, H, W) at each pixel p from the centre: x at `matrix` (N, 2, 2) p + `offset` (N, 2), in (x, y)."""
    count, channels, height, width = x.shape
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    zero, one = np.float32(0), np.float32(1)
    for n in range(count):
        xx, xy, yx, yy = matrix[n, 0, 0], matrix[n, 0, 1], matrix[n, 1, 0], matrix[n, 1, 1]
        for i in range(height):
            down = np.float32(i) - middle_y
            start_x, start_y = xy * down + offset[n, 0] + middle_x, yy * down + offset[n, 1] + middle_y
            for j in range(width):
                right = np.float32(j) - middle_x
                at_x, at_y = xx * right + start_x, yx * right + start_y
                if at_x <= -one or at_y <= -one or at_x >= width or at_y >= height:
                    for c in range(channels):
                        out[n, c, i, j] = zero
                    continue
                column, row = math.floor(at_x), math.floor(at_y)
                u, v = at_x - np.float32(column), at_y - np.float32(row)
                inside = column >= 0 and row >= 0 and column + 1 < width and row + 1 < height
                for c in range(channels):
                    if inside:
                        above = (one - u) * x[n, c, row, column] + u * x[n, c, row, column + 1]
                        below = (one - u) * x[n, c, row + 1, column] + u * x[n, c, row + 1, column + 1]
                    else:
                        above, below = zero, zero
                        for k in range(2):
                            weight = u if k else one - u
                            if 0 <= column + k < width:
                                if row >= 0:
                                    above += weight * x[n, c, row, column + k]
                                if row + 1 < height:
                                    below += weight * x[n, c, row + 1, column + k]
                    out[n, c, i, j] = (one - v) * above + v * below


def augment(x: Tensor, cfg: AugmentConfig, generator: torch.Generator) -> Tensor:
    """One random view of each patch.

    Parameters
    ----------
    x
        (N, 1, H, W) patches in preset units, where 0 is 0 G.
    cfg
        The limits; what is switched off there (0 px, zoom (1, 1), 0 deg, no flip) stays as it is.
    generator
        A CPU generator; the result depends on nothing else, on any device.

    Returns
    -------
    Tensor
        The views, like `x`; `x` itself where everything is switched off.
    """
    views = draw_views(x.shape[0], cfg, generator)
    if cfg.shift_px == 0 and tuple(cfg.zoom) == (1, 1) and cfg.rotation_deg == 0:
        # only flips are left: exact, without resampling
        return torch.where(views.flip.to(x.device).view(-1, 1, 1, 1), x.flip(-2), x) if cfg.vertical_flip else x
    return warp(x, views)
