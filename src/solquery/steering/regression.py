"""Prediction of parameters from latents by multivariate regression, the paper's alternative to its SVMs (section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .latents import LatentTable, SteeringError, as_latents

if TYPE_CHECKING:
    from .directions import Directions

__all__ = ["Regression", "compare_with_svm", "fit_regression"]

_FEWEST = 50


@dataclass(frozen=True)
class Regression:
    """A ridge regression of several parameters on latents at once.

    Attributes
    ----------
    names
        Parameters, in order.
    coefficients
        (P, D): change of the transformed parameter with each number of the latent vector.
    intercepts
        (P,).
    logarithmic
        (P,) bool: where the decimal logarithm is predicted (never negative, and spread over a decade or more).
    r2
        (P,): share of the variance of the transformed parameter that is predicted on latents held out.
    scatter
        (P,): standard deviation of what is left on them, in the transformed unit.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    intercepts: np.ndarray
    logarithmic: np.ndarray
    r2: np.ndarray
    scatter: np.ndarray

    def predict(self, z: ArrayLike) -> dict[str, np.ndarray]:
        """Parameters (N,) of latents (N, D), in the units of the table that it was fitted on."""
        got = as_latents(z, self.coefficients.shape[1]).astype(np.float64) @ self.coefficients.T + self.intercepts
        return {n: 10.0 ** got[:, k] if self.logarithmic[k] else got[:, k] for k, n in enumerate(self.names)}

    def normal(self, name: str) -> np.ndarray:
        """Unit vector (D,) along which the prediction of a parameter rises fastest."""
        if name not in self.names:
            raise SteeringError(f"the regression does not predict {name!r}; it predicts: {', '.join(self.names)}")
        row = self.coefficients[self.names.index(name)]
        return np.asarray(row / max(float(np.linalg.norm(row)), 1e-12))


def _logarithmic(values: np.ndarray) -> bool:
    """Whether the logarithm is predicted: of what is positive and spreads over a decade between 5 and 95 %."""
    low, high = np.percentile(values, (5, 95))
    return bool((values >= 0).all() and low > 0 and high > 10 * low)


def _split(n: int, n_train: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows held out: those of `fit_directions` with the same numbers."""
    order = np.random.default_rng(seed).permutation(n)
    cut = min(n_train, round(0.7 * n))
    return order[:cut], order[cut:]


def fit_regression(
    table: LatentTable, names: Iterable[str] | None = None, n_train: int = 7_000, seed: int = 0, strength: float = 1.0
) -> Regression:
    """Predict parameters from latents, each from all numbers of the vector.

    Parameters that are positive and spread over a decade are predicted by their decimal logarithm, those that become
    unknown for some latents from the others.

    Parameters
    ----------
    table
        Latents and what was measured on their patches (`sample_latents`).
    names
        Which; None for all of the table that vary.
    n_train, seed
        Latents to fit on, at most 0.7 of the table, and the seed of their choice; the rest tells R².
    strength
        Of the ridge.

    Raises
    ------
    SteeringError
        For a parameter that is not in the table, and where fewer than fifty latents have a value.
    """
    from sklearn.linear_model import Ridge

    wanted = list(table.values) if names is None else list(names)
    rows: list[tuple[np.ndarray, float, bool, float, float]] = []
    kept = []
    for name in wanted:
        if name not in table.values:
            raise SteeringError(f"the table has no parameter {name!r}; it has: {', '.join(table.values)}")
        known = np.isfinite(table.values[name])
        z, values = table.z[known].astype(np.float64), table.values[name][known]
        if len(values) < _FEWEST or not values.std() > 0:
            if names is None:
                continue
            raise SteeringError(
                f"{name!r} has {len(values)} known values of {len(table)}, or does not vary; sample more latents"
            )
        log = _logarithmic(values)
        if log:
            # the few that are 0 count as the least that is not
            values = np.log10(np.maximum(values, values[values > 0].min()))
        train, test = _split(len(z), n_train, seed)
        fitted = Ridge(alpha=strength).fit(z[train], values[train])
        rest = values[test] - fitted.predict(z[test])
        spread = float(np.var(values[test]))
        r2 = 1.0 - float(np.mean(rest**2)) / spread if spread > 0 else float("nan")
        rows.append((fitted.coef_, float(fitted.intercept_), log, r2, float(rest.std())))
        kept.append(name)
    if not rows:
        raise SteeringError("no parameter of the table varies; sample more latents")
    coefficients, intercepts, logs, r2s, scatters = (np.array(column) for column in zip(*rows, strict=True))
    return Regression(tuple(kept), coefficients, intercepts, logs.astype(bool), r2s, scatters)


def compare_with_svm(
    table: LatentTable, directions: Directions, regression: Regression, n_train: int = 7_000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """The regression beside the SVM of each parameter, on latents that neither was fitted on.

    Parameters
    ----------
    table, n_train, seed
        Those that both were fitted with.
    directions, regression
        What `fit_directions` and `fit_regression` returned.

    Returns
    -------
    Parameter to ``r2`` of the regression and ``svm_r2``, that of the calibrated position along the SVM's normal (both
    of the logarithm where the regression predicts it); ``accuracy`` and ``svm_accuracy``, the share of latents that
    each puts on the right side of the SVM's threshold; and ``cosine`` of the two directions.
    """
    # the table and what was predicted from it are on the grid
    directions = directions.on_grid or directions
    predicted = regression.predict(table.z)
    out = {}
    for k, name in enumerate(regression.names):
        if name not in directions.names:
            continue
        known = np.isfinite(table.values[name])
        values, log = table.values[name][known], regression.logarithmic[k]
        z = table.z[known]
        _, test = _split(len(values), n_train, seed)
        values, guess = values[test], predicted[name][known][test]
        position = directions.position(z[test], name)
        expected = directions.expected_value(name, position)
        median = directions.medians[directions.index(name)]
        above = values > median
        out[name] = {
            "r2": _r2(values, guess, log),
            "svm_r2": _r2(values, expected, log),
            "accuracy": float(np.mean((guess > median) == above)),
            "svm_accuracy": float(np.mean((np.asarray(position) > 0) == above)),
            "cosine": float(regression.normal(name) @ directions.normals[directions.index(name)].astype(np.float64)),
        }
    return out


def _r2(values: np.ndarray, guess: np.ndarray, logarithmic: bool) -> float:
    """Share of the variance of values (N,) that a guess explains; of logarithms, where both are positive."""
    values, guess = np.asarray(values, dtype=np.float64), np.asarray(guess, dtype=np.float64)
    if logarithmic:
        both = (values > 0) & (guess > 0)
        values, guess = np.log10(values[both]), np.log10(guess[both])
    spread = float(np.var(values)) if len(values) else 0.0
    return 1.0 - float(np.mean((values - guess) ** 2)) / spread if spread > 0 else float("nan")
