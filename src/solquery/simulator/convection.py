"""Convection cells that evolve, and the flow that they drive.

Cells sit on a hexagonal lattice, each displaced from its site at random. A cell lives for a random time; then another
takes its place with a new displacement, strength and size of its outflow. The nearest cell of a point is found among
the 15 sites around it, so that the flow at a point costs the same however many cells there are.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["Cells", "outflow", "sweep"]

#: displacement of a cell from its site, in spacings (standard deviation); 0 is a honeycomb
_JITTER = 0.27
_ROW = math.sqrt(3.0) / 2.0


class Cells:
    """Convection cells over a rectangle.

    Parameters
    ----------
    height_mm, width_mm
        Size of the rectangle, Mm; its corner is the origin. Cells cover a margin around it as well.
    spacing_mm
        Mean distance of neighbouring centres, Mm.
    life_h
        Mean lifetime, hours; lifetimes are exponential.
    speed
        Outflow at its fastest in a cell of mean strength, Mm/h.
    rng
        Generator of all that is random.

    Attributes
    ----------
    y, x, strength
        (rows, columns) centres in Mm, and factors on `speed`, log-normal with a scatter of a quarter.
    """

    def __init__(
        self,
        height_mm: float,
        width_mm: float,
        spacing_mm: float,
        life_h: float,
        speed: float,
        rng: np.random.Generator,
    ) -> None:
        self.spacing_mm, self.life_h, self.speed = spacing_mm, life_h, speed
        rows = int(height_mm / (spacing_mm * _ROW)) + 7
        columns = int(width_mm / spacing_mm) + 7
        offset = rng.uniform(0, 1, 2) * spacing_mm
        self.y0, self.x0 = -3 * spacing_mm * _ROW - offset[0] * _ROW, -3 * spacing_mm - offset[1]
        row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        self._site_y = self.y0 + row * spacing_mm * _ROW
        self._site_x = self.x0 + (column + 0.5 * (row % 2)) * spacing_mm
        self.y, self.x = self._site_y.copy(), self._site_x.copy()
        self.strength = np.ones(row.shape)
        self._age = np.zeros(row.shape)
        self._renew(np.ones(row.shape, bool), rng)

    def _renew(self, which: np.ndarray, rng: np.random.Generator) -> None:
        count = int(which.sum())
        self.y[which] = self._site_y[which] + self._jitter(count, rng)
        self.x[which] = self._site_x[which] + self._jitter(count, rng)
        self.strength[which] = rng.lognormal(0.0, 0.25, count)
        self._age[which] = rng.exponential(self.life_h, count)

    def _jitter(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return self.spacing_mm * np.clip(rng.normal(0, _JITTER, count), -2 * _JITTER, 2 * _JITTER)

    def advance(self, hours: float, rng: np.random.Generator) -> None:
        """Let time pass: cells whose life is over are replaced."""
        self._age -= hours
        dead = self._age < 0
        if dead.any():
            self._renew(dead, rng)

    def velocity(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flow at points (N,), Mm/h, along y and x."""
        vy, vx = np.zeros(len(y)), np.zeros(len(y))
        outflow(y, x, self.y, self.x, self.strength, self.y0, self.x0, self.spacing_mm, self.speed, vy, vx)
        return vy, vx


@njit(cache=True, fastmath=True, nogil=True)
def outflow(y, x, cell_y, cell_x, strength, y0, x0, spacing, speed, vy, vx):
    """Add to (vy, vx) the flow of the nearest cell, Mm/h.

    The speed rises linearly from the centre to 0.3 spacings and falls slowly outward, as measured in supergranules
    (Duvall & Birch 2010). Where two cells meet their flows oppose each other: flux collects on the border and runs
    along it to the vertices.
    """
    rows, columns = cell_y.shape
    step = spacing * _ROW
    for k in range(len(y)):
        row = int((y[k] - y0) / step + 0.5)
        column = int((x[k] - x0) / spacing + 0.5)
        best = 1e30
        by = bx = 0.0
        bs = 1.0
        for j in range(max(row - 1, 0), min(row + 2, rows)):
            for i in range(max(column - 2, 0), min(column + 3, columns)):
                dy = y[k] - cell_y[j, i]
                dx = x[k] - cell_x[j, i]
                d = dy * dy + dx * dx
                if d < best:
                    best = d
                    by = dy
                    bx = dx
                    bs = strength[j, i]
        distance = math.sqrt(best) + 1e-6
        r = distance / (0.3 * spacing)
        s = speed * bs * (r if r < 1.0 else max(1.0 - 0.35 * (r - 1.0), 0.3)) / distance
        vy[k] += s * by
        vx[k] += s * bx


@njit(cache=True, fastmath=True, nogil=True)
def sweep(y, x, cell_y, cell_x, y0, x0, spacing, strength):
    """Points (N,) moved toward the border of the cell that they lie in: 0 leaves them, 1 puts them on it.

    Granules live for minutes, so that flux lies in their lanes at any moment however long a step of the transport is.
    """
    rows, columns = cell_y.shape
    step = spacing * _ROW
    out_y = np.empty(len(y), np.float32)
    out_x = np.empty(len(y), np.float32)
    for k in range(len(y)):
        row = int((y[k] - y0) / step + 0.5)
        column = int((x[k] - x0) / spacing + 0.5)
        d1 = d2 = 1e30
        y1 = x1 = y2 = x2 = 0.0
        for j in range(max(row - 1, 0), min(row + 2, rows)):
            for i in range(max(column - 2, 0), min(column + 3, columns)):
                d = (y[k] - cell_y[j, i]) ** 2 + (x[k] - cell_x[j, i]) ** 2
                if d < d1:
                    d2, y2, x2 = d1, y1, x1
                    d1, y1, x1 = d, cell_y[j, i], cell_x[j, i]
                elif d < d2:
                    d2, y2, x2 = d, cell_y[j, i], cell_x[j, i]
        out_y[k] = y[k]
        out_x[k] = x[k]
        if d2 < 1e29:
            length2 = (y2 - y1) ** 2 + (x2 - x1) ** 2 + 1e-6
            share = strength * 0.5 * (d2 - d1) / length2
            out_y[k] += share * (y2 - y1)
            out_x[k] += share * (x2 - x1)
    return out_y, out_x
