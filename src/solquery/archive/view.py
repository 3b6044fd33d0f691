"""How much of a region the grid of a preset does not show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Entries
from ..config import Preset
from ..patch import Patch
from ..sharp.caveats import Caveat, caveats, known_caveats
from .prepare import CENTRE_GAUSS, field_centre, view_starts

if TYPE_CHECKING:
    from .store import Archive

__all__ = [
    "COLUMNS_TOLD", "MARKED_SHARE", "caveats_of_row", "caveats_on_grid", "flux_outside_view", "shares_outside_view",
    "view_caveat",
]  # fmt: skip

#: what is told of a row as it is
COLUMNS_TOLD = (
    "quantity", "t_rec", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu", "quality", "credit", "file",
    "flux_outside_view",
)  # fmt: skip

#: share of a region's flux outside the view from which numbers on the grid are those of a part of it
MARKED_SHARE = 0.03


def flux_outside_view(field: np.ndarray, scale_mm: tuple[float, float] | None, preset: Preset) -> float:
    """Share of the unsigned flux over 100 G of a field that lies outside the grid of `preset`.

    Parameters
    ----------
    field
        (ny, nx) gauss; pixels that are not finite count as zero.
    scale_mm
        (y, x) Mm per pixel.
    preset
        Whose grid is laid around the region as `place_on_grid` does.

    Returns
    -------
    0 to 1; 0 where the field has no pixel over 100 G, or the preset stretches whole patches; NaN without a scale where
    the preset needs one.

    Examples
    --------
    >>> from solquery.config import get_preset
    >>> flux_outside_view(np.full((100, 1000), 500.0), (0.7, 0.7), get_preset("physical"))  # 700 Mm in a view of 350
    0.5002...
    """
    if preset.scale_mm is None:
        return 0.0
    if scale_mm is None:
        return math.nan
    strong = np.abs(np.nan_to_num(np.asarray(field, np.float32), posinf=0.0, neginf=0.0))
    strong[strong <= CENTRE_GAUSS] = 0.0
    total = float(strong.sum(dtype=np.float64))
    if total == 0.0:
        return 0.0
    shown = []
    for n, (start, view) in zip(
        strong.shape, view_starts(strong.shape, scale_mm, preset, field_centre(field)), strict=True
    ):
        edges = np.arange(n)
        shown.append(np.clip(np.minimum(edges + 1.0, start + view) - np.maximum(edges, start), 0.0, None))
    inside = float(shown[0] @ strong.astype(np.float64) @ shown[1])
    return min(max(1.0 - inside / total, 0.0), 1.0)


def shares_outside_view(archive: Archive, ids: Sequence[str], preset: Preset) -> np.ndarray:
    """(N,) `flux_outside_view` of patches of an archive; the field of one that fits the view is not read."""
    out = np.full(len(ids), math.nan)
    if preset.scale_mm is None:
        return np.zeros(len(ids))
    about = {row["id"]: row for row in archive.sizes(ids)}
    larger = []
    for k, patch_id in enumerate(ids):
        row = about[patch_id]
        if row["scale_y_mm"] is None:
            continue
        sides = (row["ny"] * row["scale_y_mm"], row["nx"] * row["scale_x_mm"])
        out[k] = 0.0
        if any(side > n * step for side, n, step in zip(sides, preset.shape, preset.scale_mm, strict=True)):
            larger.append(k)
    for k, patch in zip(larger, archive.patches(ids=[ids[k] for k in larger]), strict=True):
        out[k] = flux_outside_view(patch.field, patch.scale_mm, preset)
    return out


def caveats_on_grid(patch: Patch, preset: Preset) -> list[Caveat]:
    """`caveats` of a patch, and ``view`` where the grid of `preset` shows less than 97 % of its flux over 100 G."""
    lost = flux_outside_view(patch.field, patch.scale_mm, preset)
    return [*caveats(patch), *view_caveat(lost, preset.name)]


def caveats_of_row(row: Entries) -> list[Caveat]:
    """What limits the numbers and pictures of a row of an archive, as far as its columns tell.

    All that `caveats_on_grid` names but ``cut``: whether the region is cut by its box is seen in the pixels alone.

    Parameters
    ----------
    row
        Columns ``mu``, ``quality``, ``missing_fraction``, ``offlimb_fraction``, ``flux_outside_view`` and
        ``grid_preset``; what is missing or None is not known.
    """

    def number(name: str) -> float:
        value = row.get(name)
        return math.nan if value is None else float(value)

    known = known_caveats(
        mu=number("mu"), quality=int(row.get("quality") or 0), missing_fraction=number("missing_fraction"),
        offlimb_fraction=number("offlimb_fraction"),
    )  # fmt: skip
    return known + view_caveat(number("flux_outside_view"), str(row.get("grid_preset")))


def view_caveat(lost: float, preset_name: str) -> list[Caveat]:
    """The limit ``view`` for a share of flux outside the grid (`flux_outside_view`); none where it is small."""
    if not lost > MARKED_SHARE:
        return []
    text = f"cut by the grid of preset {preset_name}: {lost:.0%} of the flux over 100 G lies outside its view"
    return [Caveat("view", text)]
