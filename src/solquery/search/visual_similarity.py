"""Visual similarity of two patches, free of parameters and networks: a judge for what a search brings back.

The largest normalised cross-correlation over the transformations the embedding is meant to ignore (paper,
section 4): shift, zoom, rotation, vertical flip. 1 for a transformed copy, 0 for unrelated patches, negative where
only the polarity-reversed patch would fit.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from ..config import AugmentConfig
from ..encoder.augment import Views, warp

__all__ = ["align", "visual_similarity"]

_CHUNK = 64
_ZOOMS, _ROTATIONS = 5, 9  # of the coarse search; two rounds of halved steps refine it


def _correlation(a: Tensor, covered: Tensor, b: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Largest normalised correlation (N,) over shifts up to `shift` pixels in each axis, and that shift (N, 2).

    Norms are taken over the overlap alone, so that what a shift pushes out of the frame does not count.
    `a` and the share `covered` of its pixels that lie inside, and `b`: (N, H, W).
    """
    from scipy.fft import next_fast_len

    _, height, width = a.shape
    size = [next_fast_len(height + shift, real=True), next_fast_len(width + shift, real=True)]
    ones = torch.fft.rfft2(torch.ones_like(b[:1]), s=size)
    forward = torch.fft.rfft2(torch.stack([a * covered, a * a * covered, covered]), s=size).conj()
    fields = torch.fft.rfft2(torch.stack([b, b * b]), s=size)
    spectra = torch.stack([forward[0] * fields[0], forward[1] * ones, forward[2] * fields[1]])
    maps = torch.fft.irfft2(spectra, s=size)
    near = [torch.arange(-shift, shift + 1) % n for n in size]
    cross, norm_a, norm_b = maps[:, :, near[0]][:, :, :, near[1]].flatten(2)
    # an overlap with next to none of the signal says nothing
    floor_a, floor_b = (0.05 * (v * v).sum((1, 2)).unsqueeze(1) + 1e-12 for v in (a, b))
    value = cross / torch.sqrt(norm_a.clamp_min(1e-12) * norm_b.clamp_min(1e-12))
    value = torch.where((norm_a > floor_a) & (norm_b > floor_b), value, torch.full_like(value, -1.0))
    empty = ((a * a).sum((1, 2)) < 1e-10) | ((b * b).sum((1, 2)) < 1e-10)
    largest, at = value.max(1)
    steps = torch.arange(-shift, shift + 1)
    moved = torch.stack([steps[at // len(steps)], steps[at % len(steps)]], dim=1)
    return torch.where(empty, torch.zeros_like(largest), largest.clamp(-1, 1)), moved


def _score(a: Tensor, b: Tensor, zoom: Tensor, rotation: Tensor, flip: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    views = Views(torch.zeros(len(a), 2), zoom, rotation, flip)
    both = warp(torch.stack([a, torch.ones_like(a)], dim=1), views)
    return _correlation(both[:, 0], both[:, 1], b, shift)


def _similarity(a: Tensor, b: Tensor, cfg: AugmentConfig, shift: int) -> tuple[Tensor, Views]:
    n = len(a)
    zooms = torch.linspace(*cfg.zoom, _ZOOMS) if cfg.zoom[1] > cfg.zoom[0] else torch.ones(1)
    turns = torch.linspace(-1, 1, _ROTATIONS) * cfg.rotation_deg if cfg.rotation_deg > 0 else torch.zeros(1)
    best = torch.full((n,), -2.0)
    zoom, rotation, flip = torch.ones(n), torch.zeros(n), torch.zeros(n, dtype=torch.bool)
    moved = torch.zeros(n, 2, dtype=torch.long)

    def consider(new_zoom: Tensor, new_rotation: Tensor, new_flip: Tensor) -> None:
        nonlocal best, zoom, rotation, flip, moved
        value, shifted = _score(a, b, new_zoom, new_rotation, new_flip, shift)
        better = value > best
        best = torch.where(better, value, best)
        zoom, rotation = torch.where(better, new_zoom, zoom), torch.where(better, new_rotation, rotation)
        flip = torch.where(better, new_flip, flip)
        moved = torch.where(better[:, None], shifted, moved)

    for flipped in (False, True) if cfg.vertical_flip else (False,):
        for z in zooms:
            for r in turns:
                consider(z.expand(n), r.expand(n), torch.full((n,), flipped))
    step_zoom = (cfg.zoom[1] - cfg.zoom[0]) / (_ZOOMS - 1)
    step_turn = 2 * cfg.rotation_deg / (_ROTATIONS - 1)
    for fraction in (0.5, 0.25):
        z0, r0, f0 = zoom, rotation, flip
        for dz in (-1, 0, 1) if step_zoom > 0 else (0,):
            for dr in (-1, 0, 1) if step_turn > 0 else (0,):
                if dz or dr:
                    new_zoom = (z0 + dz * fraction * step_zoom).clamp(*cfg.zoom)
                    new_turn = (r0 + dr * fraction * step_turn).clamp(-cfg.rotation_deg, cfg.rotation_deg)
                    consider(new_zoom, new_turn, f0)
    return best, Views(moved.float(), zoom, rotation, flip)


@torch.no_grad()
def visual_similarity(a: ArrayLike, b: ArrayLike, cfg: AugmentConfig | None = None, pool: int = 2) -> np.ndarray:
    """How alike two patches are whatever their place, size within limits, tilt within limits and hemisphere.

    Parameters
    ----------
    a, b
        (N, H, W) or (H, W) in preset units or gauss, numpy or tensor, pair by pair; one patch is compared with
        all of the other side. NaN counts as 0 G.
    cfg
        The transformations allowed; None: those of the paper. `a` is the one transformed.
    pool
        Pixels are averaged over squares of this side first: the eye, too, does not ask for every pixel, and the
        cost falls with its square. Pixels that do not fill a square at the north and east are left out.

    Returns
    -------
    numpy.ndarray
        (N,) float32 within [-1, 1]; 0 where one of the two is empty.

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    return align(a, b, cfg, pool)[0]


@torch.no_grad()
def align(a: ArrayLike, b: ArrayLike, cfg: AugmentConfig | None = None, pool: int = 2) -> tuple[np.ndarray, Views]:
    """`visual_similarity`, and the views of `a` that reach it: what had to be done to it to look like `b`.

    Arguments and errors as `visual_similarity`. The views are found in steps: a shift in those of `pool` pixels, zoom
    and rotation in quarters of a step of the search (with the paper's limits 0.025 and 1.25 degrees).
    """
    cfg = cfg or AugmentConfig()
    sides = []
    for x in (a, b):
        t = x.detach().cpu() if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float32))
        t = torch.nan_to_num(t.to(torch.float32), nan=0.0)
        sides.append(t[None] if t.ndim == 2 else t)
    one, two = sides
    if one.ndim != 3 or two.ndim != 3 or one.shape[1:] != two.shape[1:]:
        raise ValueError(f"patches to compare must have the same (H, W), got {tuple(one.shape)} and {tuple(two.shape)}")
    n = max(len(one), len(two))
    if {len(one), len(two)} - {1, n}:
        raise ValueError(f"cannot pair {len(one)} patches with {len(two)}")
    # correlation has no unit: the same scale for both keeps float32 far from its limits
    one, two = (F.avg_pool2d(t.unsqueeze(1), pool).squeeze(1) for t in (one, two))
    one, two = (t / t.abs().amax((1, 2), keepdim=True).clamp_min(1e-12) for t in (one, two))
    one, two = one.expand(n, -1, -1), two.expand(n, -1, -1)
    shift = round(cfg.shift_px / pool)
    parts = [_similarity(one[s : s + _CHUNK], two[s : s + _CHUNK], cfg, shift) for s in range(0, n, _CHUNK)]
    if not parts:
        return np.zeros(0, np.float32), Views(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0), torch.zeros(0) > 0)
    views = [view for _, view in parts]
    joined = Views(
        torch.cat([v.shift_px for v in views]) * pool,
        torch.cat([v.zoom for v in views]),
        torch.cat([v.rotation_deg for v in views]),
        torch.cat([v.flip for v in views]),
    )
    return torch.cat([value for value, _ in parts]).numpy(), joined
