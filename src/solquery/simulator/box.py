"""The box of a region: drawn once around all that shows in its life, as a HARP is (Hoeksema et al. 2014)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from .constants import MX_PER_G_MM2
from .elements import deposit
from .optics import smooth
from .state import Snapshot

__all__ = ["bounding_box"]

_GRID_MM = 2.0


def activity(snapshot: Snapshot, size_mm: np.ndarray) -> np.ndarray:
    """Mean unsigned field on a coarse grid, G, elements and spots together."""
    rows, columns = (int(length / _GRID_MM) + 1 for length in size_mm)
    y, x, flux = snapshot.y, snapshot.x, snapshot.flux_mx
    for spot in snapshot.spots:
        turn, reach = np.meshgrid(np.arange(12) * np.pi / 6, np.array([0.3, 0.7, 1.1]) * spot.width_mm)
        y = np.concatenate([y, (spot.y + reach * np.sin(turn)).ravel().astype(np.float32)])
        x = np.concatenate([x, (spot.x + reach * np.cos(turn)).ravel().astype(np.float32)])
        flux = np.concatenate([flux, np.full(36, spot.sign * spot.flux_mx / 36, np.float32)])
    signed = deposit(y, x, flux, rows, columns, _GRID_MM, 0.0, 0.0) / np.float32(MX_PER_G_MM2 * _GRID_MM**2)
    return smooth(np.abs(signed), 1.6, 1.6)


def bounding_box(
    snapshots: list[Snapshot], size_mm: np.ndarray, middle_mm: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """(y0, x0, y1, x1) in Mm of the box.

    The active pixels of all snapshots are joined; of their connected groups, those that belong to the region (near its
    flux) count. Each side gets a margin, and small regions a least size.
    """
    threshold = float(rng.uniform(48.0, 90.0))
    active = np.zeros(tuple(int(length / _GRID_MM) + 1 for length in size_mm), bool)
    own = np.zeros_like(active)
    for snapshot in snapshots:
        active |= activity(snapshot, size_mm) > threshold
        mine = deposit(
            snapshot.y[snapshot.own], snapshot.x[snapshot.own], np.abs(snapshot.flux_mx[snapshot.own]), own.shape[0],
            own.shape[1], _GRID_MM, 0.0, 0.0,
        )  # fmt: skip
        own |= smooth(mine / np.float32(MX_PER_G_MM2 * _GRID_MM**2), 1.6, 1.6) > threshold
    groups, _ = label(active, np.ones((3, 3)))
    wanted = np.unique(groups[own & active])
    chosen = np.isin(groups, wanted[wanted > 0])
    if not chosen.any():
        low, high = middle_mm - np.array([12.0, 20.0]), middle_mm + np.array([12.0, 20.0])
    else:
        rows, columns = np.nonzero(chosen)
        low = np.array([rows.min(), columns.min()]) * _GRID_MM
        high = np.array([rows.max() + 1, columns.max() + 1]) * _GRID_MM
    size = high - low
    margin = np.maximum(size * rng.uniform(0.02, 0.16, (2, 2)), rng.uniform(2.0, 9.0, (2, 2)))
    low, high = low - margin[0], high + margin[1]
    least = np.array([22.0, 34.0]) * rng.uniform(0.8, 1.7, 2)
    grow = np.maximum(least - (high - low), 0) / 2
    low, high = low - grow, high + grow
    wide = max((high[0] - low[0]) * rng.uniform(1.15, 1.8) - (high[1] - low[1]), 0.0)
    low[1], high[1] = low[1] - wide / 2, high[1] + wide / 2
    low, high = np.maximum(low, 1.0), np.minimum(high, np.asarray(size_mm) - 1.0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
