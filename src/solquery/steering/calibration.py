"""What a step along a direction is worth: the expected value of a parameter at a position along its normal.

The paper names this as the next step (section 5: calibrate the change to the value in physical units).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["KNOTS", "calibrate", "invert_calibration", "percentile_of", "quantile_grid"]

#: knots of the curve; bins of equal count, about 300 patches each for 10,000 samples
KNOTS = 33


def quantile_grid(values: np.ndarray) -> np.ndarray:
    """The 0th, 1st, ... 100th percentile (101,) of the values (N,) that are not NaN."""
    known = values[np.isfinite(values)]
    # between two values there is none of a parameter that takes two: which polarity leads
    method: Literal["lower", "linear"] = "lower" if len(np.unique(known)) <= 2 else "linear"
    return np.percentile(known, np.arange(101.0), method=method)


def calibrate(position: np.ndarray, values: np.ndarray, knots: int = KNOTS) -> tuple[np.ndarray, np.ndarray]:
    """Expected value as a rising function of the signed position along the unit normal.

    Medians in bins of equal count, made monotone by isotonic regression: robust against the long tails of flux.

    Parameters
    ----------
    position, values
        (N,) each; NaN values are left out.
    knots
        Number of bins; fewer if there are fewer than four patches for each.

    Returns
    -------
    positions, expected
        (knots,) each, positions rising and expected never falling.
    """
    from sklearn.isotonic import IsotonicRegression

    known = np.isfinite(values)
    position, values = position[known], values[known]
    order = np.argsort(position, kind="stable")
    bins = np.array_split(order, max(1, min(knots, len(order) // 4)))
    centres = np.array([position[rows].mean() for rows in bins])
    medians = np.array([np.median(values[rows]) for rows in bins])
    risen = IsotonicRegression(increasing=True).fit_transform(centres, medians)
    # the arrays of all parameters share one shape on disk
    grid = np.linspace(0, len(bins) - 1, knots)
    index = np.arange(len(bins))
    return np.interp(grid, index, centres), np.interp(grid, index, risen)


def invert_calibration(positions: np.ndarray, expected: np.ndarray, value: ArrayLike) -> np.ndarray:
    """Position at which `value` is expected; the middle of a level stretch, the end knots beyond the ends."""
    value = np.asarray(value, dtype=np.float64)
    left = np.interp(value, expected, positions)
    right = -np.interp(-value, -expected[::-1], -positions[::-1])
    return 0.5 * (left + right)


def percentile_of(grid: np.ndarray, value: ArrayLike) -> np.ndarray:
    """Percentile (0 to 100) of `value` in a population given by its `quantile_grid`; the middle rank among equals."""
    value = np.asarray(value, dtype=np.float64)
    low = np.searchsorted(grid, value, "left")
    high = np.searchsorted(grid, value, "right")
    # between two grid points: linear; on one or several equal ones: their mean
    inner = np.clip(low, 1, len(grid) - 1)
    step = grid[inner] - grid[inner - 1]
    between = inner - 1 + np.clip((value - grid[inner - 1]) / np.where(step > 0, step, 1.0), 0.0, 1.0)
    rank = np.where(high > low, 0.5 * (low + high - 1), between)
    rank = np.where(value < grid[0], 0.0, np.where(value > grid[-1], len(grid) - 1.0, rank))
    return np.where(np.isnan(value), np.nan, rank * 100.0 / (len(grid) - 1))
