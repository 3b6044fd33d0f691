"""One patch laid over many: the shift, zoom, rotation and flip at which it agrees best with each of them.

First on a coarse grid: every allowed change of the query is made once, and one matrix product correlates them all with
all the others. From the best few of each a damped Gauss-Newton climb (Levenberg 1944; Lucas & Kanade 1981) goes on,
from coarse pixels to fine ones, to a tenth of a pixel.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numba
import numpy as np
import torch
import torch.nn.functional as F

from ..config import AugmentConfig
from ..encoder.augment import Views, warp

__all__ = ["Aligner"]

#: pixels along the longer side, at most, where the rough place is found, and the fewest that are averaged for it
_ROUGH, _POOL = 32, 4
#: steps of the rough grid over the limits of the zoom and of the rotation
_ZOOMS, _TURNS = 5, 9
#: rough places to climb from, and steps of each climb
_STARTS, _STEPS, _LATER_STEPS = 3, 8, 6
#: of the signal of either patch, so much must lie where both are seen
_SEEN = 0.05
#: rough views correlated at a time
_CHUNK = 4096


def either_way(cfg: AugmentConfig) -> AugmentConfig:
    """Limits within which lies what undoes any change within `cfg`: either of two patches may be the changed one."""
    low, high = min(cfg.zoom[0], 1 / cfg.zoom[1]), max(cfg.zoom[1], 1 / cfg.zoom[0])
    turn = math.radians(min(cfg.rotation_deg, 45.0))
    # what undoes a shift comes after the turn back and after the zoom back
    shift = cfg.shift_px * (math.cos(turn) + math.sin(turn)) * high
    return replace(cfg, zoom=(low, high), shift_px=shift)


class Aligner:
    """A patch that is to be laid over others.

    Parameters
    ----------
    query
        (H, W) in preset units; NaN counts as 0.
    cfg
        What may be done to it, or to the others.
    """

    def __init__(self, query: np.ndarray, cfg: AugmentConfig) -> None:
        self._cfg = cfg = either_way(cfg)
        query = np.nan_to_num(np.asarray(query, np.float32))
        # a correlation has no unit: numbers around 1 keep its sums far from the limits of single precision
        query = query / max(float(np.abs(query).max(initial=0.0)), 1e-12)
        pool = _POOL
        while max(query.shape) > _ROUGH * pool:
            pool *= 2
        self._pools = [pool >> k for k in range(pool.bit_length())]
        self._levels = [_pooled(query[None], pool)[0] for pool in self._pools]
        self._rough()

    def _rough(self) -> None:
        """The query in all views of the coarse grid (V, h w), what they cover, and the views: y, x, zoom, degrees."""
        cfg, pool = self._cfg, self._pools[0]
        height, width = self._levels[0].shape
        zooms = np.linspace(*cfg.zoom, _ZOOMS) if cfg.zoom[1] > cfg.zoom[0] else np.ones(1)
        turns = np.linspace(-1, 1, _TURNS) * cfg.rotation_deg if cfg.rotation_deg > 0 else np.zeros(1)
        reach = [round(limit / pool) for limit in (cfg.shift_px / cfg.pixel_aspect, cfg.shift_px)]
        flips = (False, True) if cfg.vertical_flip else (False,)
        changes = np.array(list(itertools.product(flips, zooms, turns)), np.float32)
        n = len(changes)
        views = Views(
            torch.zeros(n, 2), torch.from_numpy(changes[:, 1]), torch.from_numpy(changes[:, 2]),
            torch.from_numpy(changes[:, 0] > 0), cfg.pixel_aspect,
        )  # fmt: skip
        both = np.stack([self._levels[0], np.ones((height, width), np.float32)])
        made = warp(torch.from_numpy(both).expand(n, -1, -1, -1), views).numpy()
        room = np.zeros((n, 2, height + 2 * reach[0], width + 2 * reach[1]), np.float32)
        room[:, :, reach[0] : reach[0] + height, reach[1] : reach[1] + width] = made
        pictures, places = [], []
        for y, x in itertools.product(range(-reach[0], reach[0] + 1), range(-reach[1], reach[1] + 1)):
            top, left = reach[0] - y, reach[1] - x
            pictures.append(room[:, :, top : top + height, left : left + width].reshape(n, 2, -1))
            places.append(np.concatenate([np.broadcast_to((y * pool, x * pool), (n, 2)), changes[:, 1:]], 1))
        found = np.concatenate(pictures)
        self._covered = np.ascontiguousarray(found[:, 1])
        self._shifted = found[:, 0] * self._covered
        self._places = np.concatenate(places)
        self._flips = np.tile(changes[:, 0] > 0, len(places))
        self._norms = np.einsum("vp,vp->v", self._shifted, self._shifted)

    def _starts(self, b: np.ndarray) -> np.ndarray:
        """(N, starts) rough views, best first, for patches (N, h, w)."""
        b = b.reshape(len(b), -1)
        whole = np.einsum("np,np->n", b, b)
        own = float((self._levels[0] ** 2).sum())
        value = np.empty((len(self._places), len(b)), np.float32)
        for start in range(0, len(value), _CHUNK):
            piece = slice(start, start + _CHUNK)
            seen = self._covered[piece] @ (b * b).T
            norms = self._norms[piece][:, None]
            value[piece] = self._shifted[piece] @ b.T
            value[piece] /= np.sqrt(np.maximum(norms * seen, 1e-12))
            value[piece][(seen < _SEEN * whole) | (norms < _SEEN * own)] = -1.0
        starts = min(_STARTS, len(value))
        best = np.argpartition(-value, starts - 1, axis=0)[:starts]
        return best[np.argsort(-np.take_along_axis(value, best, 0), axis=0), np.arange(len(b))].T

    def over(self, candidates: np.ndarray, finest: int = 1) -> tuple[np.ndarray, Views]:
        """How well the query can be laid over patches.

        Parameters
        ----------
        candidates
            (N, H, W); NaN counts as 0.
        finest
            Pixels averaged in the last climb: a power of 2; 1 for all that can be told.

        Returns
        -------
        The correlations (N,) over what both cover, and what was done to the query.
        """
        b = np.nan_to_num(np.asarray(candidates, np.float32))
        b = b / np.maximum(np.abs(b).max((1, 2), keepdims=True, initial=0.0), 1e-12)
        limits = np.array(
            [self._cfg.shift_px / self._cfg.pixel_aspect, self._cfg.shift_px, *self._cfg.zoom, self._cfg.rotation_deg]
        )
        values, flips = np.full(len(b), -1.0), np.zeros(len(b), bool)
        views = np.tile((0.0, 0.0, 1.0, 0.0), (len(b), 1))
        for level, pool in enumerate(self._pools):
            if (level and pool < finest) or not len(b):
                break
            fields = _pooled(b, pool)
            scale = np.array([pool, pool, 1.0, 1.0])
            if level == 0:
                for starts in self._starts(fields).T:
                    tried, flipped = self._places[starts].astype(np.float64) / scale, self._flips[starts]
                    got = climb(self._levels[0], fields, tried, flipped, limits / (pool, pool, 1, 1, 1),
                                self._cfg.pixel_aspect, _STEPS)  # fmt: skip
                    better = got > values
                    values, flips = np.where(better, got, values), np.where(better, flipped, flips)
                    views = np.where(better[:, None], tried * scale, views)
            else:
                tried = views / scale
                values = climb(self._levels[level], fields, tried, flips, limits / (pool, pool, 1, 1, 1),
                               self._cfg.pixel_aspect, _LATER_STEPS)  # fmt: skip
                views = tried * scale
        told = torch.from_numpy(views.astype(np.float32))
        return values.astype(np.float32), Views(
            told[:, :2], told[:, 2], told[:, 3], torch.from_numpy(flips), self._cfg.pixel_aspect
        )


def _pooled(x: np.ndarray, pool: int) -> np.ndarray:
    return F.avg_pool2d(torch.from_numpy(np.ascontiguousarray(x))[:, None], pool)[:, 0].numpy()


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _sums(a, b, view, flip, aspect, sums):
    """Sums over what both cover: a a, b b, a b; gradients of a times a (4), times b (4) and times each other (10)."""
    height, width = a.shape
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    angle, zoom = math.radians(view[3]), view[2]
    cosine, sine, mirror = math.cos(angle) / zoom, math.sin(angle) / zoom, -1.0 if flip else 1.0
    # where a pixel of the result comes from, in (x, y) from the middle, and how that changes with the angle
    xx, xy, yx, yy = cosine, sine * aspect, -sine * mirror / aspect, cosine * mirror
    turn_xx, turn_xy, turn_yx, turn_yy = -sine, cosine * aspect, -cosine * mirror / aspect, -sine * mirror
    degree = math.pi / 180
    sums[:] = 0.0
    for i in range(height):
        down = i - middle_y - view[0]
        for j in range(width):
            right = j - middle_x - view[1]
            from_x, from_y = xx * right + xy * down, yx * right + yy * down
            at_x, at_y = from_x + middle_x, from_y + middle_y
            if at_x < 0 or at_y < 0 or at_x > width - 1 or at_y > height - 1:
                continue
            column, row = min(int(at_x), width - 2), min(int(at_y), height - 2)
            u, v = at_x - column, at_y - row
            p, q = np.float64(a[row, column]), np.float64(a[row, column + 1])
            r, s = np.float64(a[row + 1, column]), np.float64(a[row + 1, column + 1])
            above, below = p + u * (q - p), r + u * (s - r)
            value, other = above + v * (below - above), np.float64(b[i, j])
            slope_x, slope_y = (1 - v) * (q - p) + v * (s - r), below - above
            down_y = -(slope_x * xy + slope_y * yy)
            down_x = -(slope_x * xx + slope_y * yx)
            larger = -(slope_x * from_x + slope_y * from_y) / zoom
            turned = degree * (
                slope_x * (turn_xx * right + turn_xy * down) + slope_y * (turn_yx * right + turn_yy * down)
            )
            sums[0] += value * value
            sums[1] += other * other
            sums[2] += value * other
            sums[3] += down_y * value
            sums[4] += down_x * value
            sums[5] += larger * value
            sums[6] += turned * value
            sums[7] += down_y * other
            sums[8] += down_x * other
            sums[9] += larger * other
            sums[10] += turned * other
            sums[11] += down_y * down_y
            sums[12] += down_y * down_x
            sums[13] += down_y * larger
            sums[14] += down_y * turned
            sums[15] += down_x * down_x
            sums[16] += down_x * larger
            sums[17] += down_x * turned
            sums[18] += larger * larger
            sums[19] += larger * turned
            sums[20] += turned * turned


@numba.njit(cache=True, nogil=True)
def _correlation(sums, least_a, least_b):
    if sums[0] < least_a or sums[1] < least_b:
        return -1.0
    return sums[2] / math.sqrt(max(sums[0] * sums[1], 1e-24))


@numba.njit(cache=True, nogil=True)
def climb(a, others, views, flips, limits, aspect, steps):
    """Correlations (N,) of a (h, w) with others (N, h, w), and the views (N, 4) that are changed to reach them."""
    best = np.empty(len(others))
    sums, new = np.empty(21), np.empty(21)
    low = np.array([-limits[0], -limits[1], limits[2], -limits[4]])
    high = np.array([limits[0], limits[1], limits[3], limits[4]])
    least_a = _SEEN * np.sum(a * a) + 1e-12
    normal, pull = np.empty((4, 4)), np.empty(4)
    for n in range(len(others)):
        b, view = others[n], views[n]
        for i in range(4):
            view[i] = min(max(view[i], low[i]), high[i])
        least_b = _SEEN * np.sum(b * b) + 1e-12
        _sums(a, b, view, flips[n], aspect, sums)
        value, damping = _correlation(sums, least_a, least_b), 1e-2
        for _ in range(steps):
            if value <= -1.0:
                break
            # residual a/|a| - b/|b|; |a| moves with the view as well
            long_a, long_b = math.sqrt(sums[0]), math.sqrt(sums[1])
            at, largest = 11, 0.0
            for i in range(4):
                pull[i] = sums[7 + i] / long_b - value * sums[3 + i] / long_a
                for j in range(i, 4):
                    normal[i, j] = normal[j, i] = (sums[at] - sums[3 + i] * sums[3 + j] / sums[0]) / long_a
                    at += 1
            for i in range(4):
                if low[i] == high[i]:
                    normal[i, :], normal[:, i], pull[i] = 0.0, 0.0, 0.0
                largest = max(largest, normal[i, i])
            for i in range(4):
                normal[i, i] += damping * normal[i, i] + 1e-9 * largest + 1e-12
            tried = view + np.linalg.solve(normal, pull)
            for i in range(4):
                tried[i] = min(max(tried[i], low[i]), high[i])
            _sums(a, b, tried, flips[n], aspect, new)
            got = _correlation(new, least_a, least_b)
            if got > value:
                gained = got - value
                view[:], sums[:], value = tried, new, got
                damping /= 10
                if gained < 1e-6:
                    break
            else:
                damping *= 10
        best[n] = value
    return best
