"""Look again, pixel by pixel, at the first answers of a search.

An embedding forgets on purpose where in the frame a region lies, how large and how tilted it is, and a little of the
rest with it: frames of one region, hours apart, come as near as a copy of the query itself. The few first answers can
be compared as the eye would: lay the query over each by shift, zoom, rotation and vertical flip, and see how much
agrees. `align` finds the place roughly, a few damped Gauss-Newton steps on the whole grid find it to a tenth of a
pixel, where two frames of a region can be told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import AugmentConfig
from .augment import Views, warp
from .likeness import align

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle
    from .index import Match

__all__ = ["overlay", "verified"]

#: pixels averaged for the rough place, and for the two rounds that refine it
_ROUGH, _ROUNDS = 4, (2, 1)
_STEPS = 6
#: differences for derivatives: pixels, a share of the size, degrees; each moves the rim of 128 pixels about a quarter
_SMALL = (0.25, 0.25, 0.004, 0.25)


def _views(numbers: Tensor, flip: Tensor, aspect: float) -> Views:
    """Views from (N, 4): rows and columns of shift, zoom, degrees."""
    return Views(numbers[:, :2], numbers[:, 2], numbers[:, 3], flip, aspect)


def _overlap(query: Tensor, b: Tensor, numbers: Tensor, flip: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """The difference (N, H W) of the two normalised to what both cover, and their correlation (N,)."""
    both = warp(torch.stack([query, torch.ones_like(query)], dim=1), _views(numbers, flip, aspect))
    covered = both[:, 1]
    one, two = (both[:, 0] * covered).flatten(1), (b * covered).flatten(1)
    one, two = (t / t.norm(dim=1, keepdim=True).clamp_min(1e-12) for t in (one, two))
    return one - two, (one * two).sum(1)


def _refined(query: Tensor, b: Tensor, numbers: Tensor, flip: Tensor, cfg: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Damped Gauss-Newton (Levenberg 1944) on the four numbers; the best correlation (N,) and its numbers (N, 4)."""
    small = torch.tensor(_SMALL)
    aspect, rows = cfg.pixel_aspect, cfg.shift_px / cfg.pixel_aspect
    low = torch.tensor([-rows, -cfg.shift_px, cfg.zoom[0], -cfg.rotation_deg])
    high = torch.tensor([rows, cfg.shift_px, cfg.zoom[1], cfg.rotation_deg])
    free = high > low
    apart, value = _overlap(query, b, numbers, flip, aspect)
    damping = torch.full((len(b), 1), 1e-2)
    for _ in range(_STEPS):
        # in units of the small differences, so that the four numbers weigh alike
        slopes = torch.stack(
            [
                (
                    _overlap(query, b, numbers + small * axis, flip, aspect)[0]
                    - _overlap(query, b, numbers - small * axis, flip, aspect)[0]
                )
                / 2
                for axis in torch.eye(4) * free
            ],
            dim=1,
        )  # (N, 4, H W)
        normal = slopes @ slopes.mT
        size = torch.diagonal(normal, dim1=1, dim2=2)
        lift = damping * size + 1e-9 * size.amax(1, keepdim=True) + 1e-12
        step = torch.linalg.solve(normal + torch.diag_embed(lift), -(slopes @ apart.unsqueeze(2))).squeeze(2)
        tried = (numbers + step.clamp(-8, 8) * small).clamp(low, high)
        new_apart, new_value = _overlap(query, b, tried, flip, aspect)
        better = new_value > value
        numbers = torch.where(better[:, None], tried, numbers)
        apart = torch.where(better[:, None], new_apart, apart)
        value = torch.where(better, new_value, value)
        damping = torch.where(better[:, None], damping / 10, damping * 10)
    return value, numbers


@torch.no_grad()
def overlay(query: Any, candidates: Any, cfg: AugmentConfig | None = None) -> tuple[np.ndarray, Views]:
    """How well a patch can be laid over others, on the whole grid.

    Parameters
    ----------
    query, candidates
        (H, W) and (N, H, W) in preset units; NaN counts as 0.
    cfg
        What may be done to the query; None: as in the paper.

    Returns
    -------
    values
        (N,) float32 within [-1, 1], the normalised cross-correlation over what both cover; 1 for a transformed copy.
    views
        What was done to the query.

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    cfg = cfg or AugmentConfig()
    x = torch.nan_to_num(torch.as_tensor(np.asarray(query, dtype=np.float32)))
    b = torch.nan_to_num(torch.as_tensor(np.asarray(candidates, dtype=np.float32)))
    if len(b) == 0:
        return np.zeros(0, np.float32), _views(torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool), cfg.pixel_aspect)
    values, views = align(x, b, cfg, pool=_ROUGH)
    x, b = (t / t.abs().amax((-2, -1), keepdim=True).clamp_min(1e-12) for t in (x, b))
    a = x.expand(len(b), -1, -1)
    numbers = torch.stack([*views.shift_px.T, views.zoom, views.rotation_deg], dim=1).to(torch.float32)
    best = torch.as_tensor(values)
    for pool in _ROUNDS:
        coarse = torch.tensor([1 / pool, 1 / pool, 1.0, 1.0])
        scaled = replace(cfg, shift_px=cfg.shift_px / pool)
        one, two = (F.avg_pool2d(t.unsqueeze(1), pool).squeeze(1) for t in (a, b))
        best, numbers = _refined(one, two, numbers * coarse, views.flip, scaled)
        numbers = numbers / coarse
    return best.numpy(), _views(numbers, views.flip, cfg.pixel_aspect)


def verified(
    archive: Archive,
    bundle: Bundle,
    query: np.ndarray,
    find: Callable[[int, str], list[Match]],
    k: int = 10,
    group: str = "region",
    first: int = 10,
) -> list[Match]:
    """The answers of a search, its `first` patches in the order in which the query can be laid over them.

    Parameters
    ----------
    archive, bundle
        As for the search.
    query
        (H, W) in preset units.
    find
        The search: from a number of answers and a `group` to that many matches.
    k, group
        As in `solquery.retrieval.search`.
    first
        How many patches, whatever their regions, are looked at again; the others follow in the order they had.

    Returns
    -------
    list of Match
        Those that were looked at have `overlay`, the correlation; distances are those of the search.
    """
    near = find(first, "none")
    ids = [match.id for match in near]
    if not ids:
        return []
    names, pictures = archive.prepared(bundle.preset, ids=ids)
    x = np.stack([np.nan_to_num(np.asarray(picture, np.float32)) for picture in pictures])
    values, _ = overlay(query, x, bundle.preset.encoder.augment)
    found = {name: float(value) for name, value in zip(names, values, strict=True)}
    # a stable sort: the search decides between equals
    ordered = [replace(m, overlay=found[m.id]) for m in sorted(near, key=lambda m: -found[m.id])]
    chosen, seen = [], set()
    for match in [*ordered, *find(k + first if group == "none" else k, group)]:
        key = match.region if group == "region" else match.id
        if key not in seen:
            seen.add(key)
            chosen.append(match)
    return [replace(match, rank=rank) for rank, match in enumerate(chosen[:k], start=1)]
