"""Pictures of the inversion study: originals over reconstructions, and inverted observations edited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ..physics import get_parameter, unit_of
from .figures import KIND_COLOURS
from .inversion import BLOCKS, Edit, InversionStudy

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["figure_edits", "figure_inversions", "figure_scales"]

_LIMIT = 800.0


def _tile(model: Model) -> tuple[float, float]:
    """Width and height of a patch on a page, inches: of equal area for all grids."""
    rows, columns = model.preset.shape
    return 1.5 * math.sqrt(columns / rows), 1.5 * math.sqrt(rows / columns)


def _every_region_first(study: InversionStudy, kind: str) -> list[int]:
    """Patches of a kind: one of each region, then the others."""
    seen: dict[str, int] = {}
    rows = [int(k) for k in study.rows(kind)]
    again = []
    for k in rows:
        again.append(seen.setdefault(study.regions[k], 0))
        seen[study.regions[k]] += 1
    return [k for _, k in sorted(zip(again, rows, strict=True))]


def figure_inversions(model: Model, study: InversionStudy, most: int = 16) -> Figure:
    """Originals, with the reconstruction under each; observed ones first, framed in the colour of their kind."""
    rows = [k for kind in ("real", "simulated") for k in _every_region_first(study, kind)[:most]]
    wide, high = _tile(model)
    columns = max(1, min(len(rows), round(9.3 / wide)))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(wide * columns, 2.0 * (high + 0.25) * lines + 0.3), layout="constrained")
    axes = figure.subplots(2 * lines, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.set_visible(False)
    for place, k in enumerate(rows):
        line, column = divmod(place, columns)
        four = study.unexplained[k, BLOCKS.index(4)]
        for below, field, title in (
            (0, study.x[k], f"{study.kinds[k]}: {study.regions[k]}"),
            (1, study.y[k], f"left {study.unexplained[k, 0]:.0%}, of 4 × 4 means {four:.0%}"),
        ):
            axis = axes[2 * line + below, column]
            axis.set_visible(True)
            gauss = model.preset.to_gauss(field)
            axis.imshow(gauss, cmap="gray", vmin=-_LIMIT, vmax=_LIMIT, origin="lower", interpolation="nearest")
            axis.set_title(title, fontsize=6.5)
            for spine in axis.spines.values():
                spine.set(color=KIND_COLOURS[study.kinds[k]], linewidth=1.6)
    figure.suptitle(f"original above, reconstruction below; −{_LIMIT:.0f} to {_LIMIT:.0f} G", fontsize=9)
    return figure


def figure_scales(study: InversionStudy, scale_mm: float | None) -> Figure:
    """Unexplained share of the power against the size of the blocks averaged over, with the band of half of them."""
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    size = np.array(BLOCKS) * (scale_mm or 1.0)
    for kind in sorted(set(study.kinds)):
        values = study.unexplained[study.rows(kind)]
        low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
        axes.fill_between(size, low, high, color=KIND_COLOURS[kind], alpha=0.18, linewidth=0)
        axes.plot(size, middle, "-o", color=KIND_COLOURS[kind], markersize=4, label=f"{kind}, {len(values)}")
    axes.set(xscale="log", ylim=(0, 1.05))
    axes.set_xticks(size, [f"{s:.3g}" for s in size])
    axes.minorticks_off()
    axes.set_xlabel("averaged over blocks of (Mm)" if scale_mm else "averaged over blocks of (pixels)", size=9)
    axes.set_ylabel("unexplained share of the power", size=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="0.9")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _told(name: str, value: float, physical: bool) -> str:
    return f"{get_parameter(name).symbol} {value:.3g} {unit_of(name, physical)}".rstrip()


def figure_edits(model: Model, study: InversionStudy, edits: Sequence[Edit]) -> Figure:
    """A line for each patch: the original, its reconstruction, and the reconstruction with each parameter led up."""
    names = list(dict.fromkeys(edit.name for edit in edits))
    ids = list(dict.fromkeys(edit.id for edit in edits))
    wide, high = _tile(model)
    figure = Figure(figsize=(1.2 * wide * (2 + len(names)), (1.2 * high + 0.4) * len(ids) + 0.2), layout="constrained")
    axes = figure.subplots(len(ids), 2 + len(names), squeeze=False)
    physical = model.preset.physical
    for line, patch_id in enumerate(ids):
        mine = {edit.name: edit for edit in edits if edit.id == patch_id}
        k = study.ids.index(patch_id)
        start = "\n".join(_told(name, edit.before, physical) for name, edit in mine.items())
        tiles: list[tuple[np.ndarray, str] | None] = [
            (study.x[k], f"{study.kinds[k]}: {study.regions[k]}\n"),
            (study.y[k], f"reconstruction\n{start}"),
        ]
        for name in names:
            if name not in mine:  # not defined here, or out of reach
                tiles.append(None)
            else:
                edit = mine[name]
                held = f"{get_parameter(edit.hold).symbol} held, moved {edit.held_change:+.3f} spreads"
                tiles.append((edit.x[1], f"{_told(name, edit.after, physical)}\n{held.replace('-', '−')}"))
        for axis, tile in zip(axes[line], tiles, strict=True):
            axis.set(xticks=[], yticks=[])
            if tile is None:
                axis.set_visible(False)
                continue
            field, title = tile
            gauss = model.preset.to_gauss(field)
            axis.imshow(gauss, cmap="gray", vmin=-_LIMIT, vmax=_LIMIT, origin="lower", interpolation="nearest")
            axis.set_title(title, fontsize=6.5)
    return figure
