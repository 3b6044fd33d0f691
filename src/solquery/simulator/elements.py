"""Flux elements: many small models of one polarity, and what happens to them in a step of time.

An element has a position (Mm), a signed flux (Mx), the goal toward which it moves after its emergence, and an age (h).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .constants import MX_PER_G_MM2

__all__ = ["Elements", "cancel", "clear_moats", "density", "deposit", "push"]

#: elements weaker than this are dropped, Mx; what they carried is counted in `Elements.dropped_mx`
_LEAST_MX = 1.2e17


class Elements:
    """The flux elements of a simulation.

    Attributes
    ----------
    y, x, flux_mx, age_h
        (N,) position in Mm, signed flux in Mx, hours since emergence.
    goal
        (N,) number of the clump or spot to which the element migrates, -1 for none. It is kept for life, and tells of
        which polarity an element is.
    aim_y, aim_x
        (N,) where the element comes to rest beside its goal, Mm.
    cancelled_mx, dropped_mx, left_mx
        Unsigned flux that has cancelled, and signed fluxes that were dropped as too weak or left by the border: with
        them the net flux is conserved to rounding.
    """

    def __init__(self) -> None:
        self.y, self.x, self.flux_mx, self.age_h, self.aim_y, self.aim_x = (np.zeros(0) for _ in range(6))
        self.goal = np.zeros(0, np.int64)
        self.cancelled_mx = self.dropped_mx = self.left_mx = 0.0

    def __len__(self) -> int:
        return len(self.y)

    def add(
        self,
        y: np.ndarray,
        x: np.ndarray,
        flux_mx: np.ndarray,
        goal: np.ndarray | int = -1,
        aim: np.ndarray | None = None,
        age_h: float = 0.0,
    ) -> None:
        """Add elements (M,); `aim` is (M, 2) in Mm."""
        self.y, self.x = np.concatenate([self.y, y]), np.concatenate([self.x, x])
        self.flux_mx = np.concatenate([self.flux_mx, flux_mx])
        self.age_h = np.concatenate([self.age_h, np.full(len(y), age_h)])
        beside = np.zeros((len(y), 2)) if aim is None else aim
        self.aim_y, self.aim_x = np.concatenate([self.aim_y, beside[:, 0]]), np.concatenate([self.aim_x, beside[:, 1]])
        self.goal = np.concatenate([self.goal, np.broadcast_to(np.asarray(goal, np.int64), len(y))])

    def keep(self, which: np.ndarray) -> None:
        """Forget all others; `which` is (N,) of truth values."""
        self.y, self.x, self.flux_mx = self.y[which], self.x[which], self.flux_mx[which]
        self.age_h, self.goal = self.age_h[which], self.goal[which]
        self.aim_y, self.aim_x = self.aim_y[which], self.aim_x[which]

    def tidy(self, height_mm: float, width_mm: float, margin_mm: float = 3.0) -> None:
        """Drop what is too weak and what has left the rectangle, and count it."""
        weak = np.abs(self.flux_mx) < _LEAST_MX
        inside = (
            (self.y > -margin_mm) & (self.y < height_mm + margin_mm)
            & (self.x > -margin_mm) & (self.x < width_mm + margin_mm)
        )  # fmt: skip
        self.dropped_mx += float(self.flux_mx[weak].sum())
        self.left_mx += float(self.flux_mx[~weak & ~inside].sum())
        if weak.any() or not inside.all():
            self.keep(~weak & inside)


@njit(cache=True, fastmath=True, nogil=True)
def deposit(y, x, flux, rows, columns, pixel_mm, y0, x0):
    """Flux (N,) shared out over the four nearest pixels of a grid (rows, columns) whose corner is (y0, x0)."""
    out = np.zeros((rows, columns), np.float32)
    for k in range(len(y)):
        r = (y[k] - y0) / pixel_mm - 0.5
        c = (x[k] - x0) / pixel_mm - 0.5
        i = math.floor(r)
        j = math.floor(c)
        fr = r - i
        fc = c - j
        for di in range(2):
            if not 0 <= i + di < rows:
                continue
            wr = fr if di else 1.0 - fr
            for dj in range(2):
                if 0 <= j + dj < columns:
                    out[i + di, j + dj] += flux[k] * wr * (fc if dj else 1.0 - fc)
    return out


@njit(cache=True, fastmath=True, nogil=True)
def _binomial(a):
    """Smoothing by (1, 2, 1)/4 along both axes; the border repeats."""
    rows, columns = a.shape
    b = np.empty_like(a)
    for i in range(rows):
        u, d = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            b[i, j] = 0.25 * a[u, j] + 0.5 * a[i, j] + 0.25 * a[d, j]
    c = np.empty_like(a)
    for i in range(rows):
        for j in range(columns):
            c[i, j] = 0.25 * b[i, max(j - 1, 0)] + 0.5 * b[i, j] + 0.25 * b[i, min(j + 1, columns - 1)]
    return c


def density(elements: Elements, height_mm: float, width_mm: float, grid_mm: float = 1.0) -> np.ndarray:
    """Mean field on a coarse grid, G: what resists the flow. Signs mix within 1.4 pixels, strength within two."""
    rows, columns = int(height_mm / grid_mm) + 1, int(width_mm / grid_mm) + 1
    flux = deposit(elements.y, elements.x, elements.flux_mx, rows, columns, grid_mm, 0.0, 0.0)
    signed = _binomial(flux / np.float32(MX_PER_G_MM2 * grid_mm**2))
    return _binomial(_binomial(np.abs(_binomial(signed))))


@njit(cache=True, fastmath=True, nogil=True)
def push(y, x, age, goal, aim_y, aim_x, field, grid_mm, quench_super, quench_meso, goal_y, goal_x, goal_h, speed, hours,
         sup_vy, sup_vx, mes_vy, mes_vx, walk_y, walk_x, walk_mm):  # fmt: skip
    """Move all elements by one step of `hours`: two flows, migration to the goal, random walk.

    Flows and walk are slowed by the mean field `field`. An element pursues its goal for `goal_h` hours at most, slower
    as it comes near.
    """
    rows, columns = field.shape
    for k in range(len(y)):
        i = min(max(int(y[k] / grid_mm), 0), rows - 1)
        j = min(max(int(x[k] / grid_mm), 0), columns - 1)
        b = field[i, j]
        q = 1.0 / (1.0 + (b / quench_super) ** 2)
        m = 1.0 / (1.0 + (b / quench_meso) ** 2)
        dy = hours * (sup_vy[k] * q + mes_vy[k] * m) + walk_y[k] * walk_mm * math.sqrt(m)
        dx = hours * (sup_vx[k] * q + mes_vx[k] * m) + walk_x[k] * walk_mm * math.sqrt(m)
        g = goal[k]
        if g >= 0 and age[k] < goal_h:
            ty = goal_y[g] + aim_y[k] - y[k]
            tx = goal_x[g] + aim_x[k] - x[k]
            d = math.sqrt(ty * ty + tx * tx) + 1e-6
            s = min(speed * hours, 0.6 * d) / d
            dy += s * ty
            dx += s * tx
        y[k] += dy
        x[k] += dx
        age[k] += hours


@njit(cache=True, fastmath=True, nogil=True)
def clear_moats(y, x, flux, goal, age, goal_h, spot_y, spot_x, radius, sign, spot_goal, speed, hours, gain):
    """Spots take in what reaches them and keep their moat clear.

    Elements that migrate to a spot, and elements of the other sign that touch its umbra, are taken in: their flux is
    added to `gain` (one for each spot) and set to zero. The rest is carried outward, to twice the radius.
    Returns the unsigned flux that cancelled in the spots.
    """
    gone = 0.0
    for k in range(len(y)):
        for s in range(len(spot_y)):
            dy = y[k] - spot_y[s]
            dx = x[k] - spot_x[s]
            r = radius[s]
            d = math.sqrt(dy * dy + dx * dx) + 1e-6
            if d > 2.0 * r + 1.0:
                continue
            if goal[k] == spot_goal[s] and age[k] < goal_h:
                if d < 0.8 * r + 0.8:
                    gain[s] += flux[k]
                    flux[k] = 0.0
                    break
            elif flux[k] * sign[s] < 0 and d < 0.8 * r:
                gain[s] += flux[k]
                gone += 2.0 * abs(flux[k])
                flux[k] = 0.0
                break
            elif r > 2.5 and not (goal[k] >= 0 and age[k] < 0.6 * goal_h):
                v = speed * hours * max(1.0 - d / (2.0 * r), 0.0) * 2.0
                if d < 1.1 * r:
                    v = max(v, 0.7 * (1.1 * r - d))
                y[k] += v * dy / d
                x[k] += v * dx / d
    return gone


@njit(cache=True, fastmath=True, nogil=True)
def cancel(y, x, flux, age, young_h, young, cell_mm, share, height_mm, width_mm, shift_y, shift_x):
    """Opposite fluxes in one cell of a grid cancel: `share` of what can. Returns the unsigned flux that is gone.

    Elements younger than `young_h` take part with the share `young` of their flux. The grid is shifted by
    (shift_y, shift_x), up to one cell, another way in each step, so that it leaves no trace.
    """
    rows = int((height_mm + 8.0) / cell_mm) + 2
    columns = int((width_mm + 8.0) / cell_mm) + 2
    plus = np.zeros((rows, columns))
    minus = np.zeros((rows, columns))
    for k in range(len(y)):
        i = min(max(int((y[k] + 4.0 + shift_y) / cell_mm), 0), rows - 1)
        j = min(max(int((x[k] + 4.0 + shift_x) / cell_mm), 0), columns - 1)
        ready = flux[k] * (young if age[k] < young_h else 1.0)
        if ready > 0:
            plus[i, j] += ready
        else:
            minus[i, j] -= ready
    gone = 0.0
    for k in range(len(y)):
        i = min(max(int((y[k] + 4.0 + shift_y) / cell_mm), 0), rows - 1)
        j = min(max(int((x[k] + 4.0 + shift_x) / cell_mm), 0), columns - 1)
        p = plus[i, j]
        m = minus[i, j]
        if p > 0.0 and m > 0.0:
            lost = share * min(p, m) / (p if flux[k] > 0 else m) * (young if age[k] < young_h else 1.0)
            gone += abs(flux[k]) * lost
            flux[k] *= 1.0 - lost
    return gone
