"""Fit what is linear in neighbourhoods: ridge regression by the pixels of all pairs but those of a fold, in turn.

Squared errors are least where the strongest field comes out too weak. Strong pixels can be given more weight; how much
is chosen on the folds, so that strong field is done no worse than by what people do without a map (simple.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..aliases import Document
from .filters import features
from .kinds import Kind
from .scores import STRONG_GAUSS, Errors, Sample

__all__ = ["fit_filters"]

_RIDGE = (1e-6, 1e-4, 1e-3, 1e-2)
#: by how much strong pixels may count more than others, besides once
_EMPHASIS = (0.0, 1.0, 3.0, 10.0)
#: error of strong field, of that of the simple way, up to which a fit is taken
_AS_GOOD = 1.0

Group = dict[bool, "_Sums"]


@dataclass
class _Sums:
    """Normal equations of the pixels of one region."""

    gram: np.ndarray
    product: np.ndarray
    power: float = 0.0
    pixels: int = 0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        self.gram += x @ x.T
        self.product += x @ y
        self.power += float(y @ y)
        self.pixels += len(y)

    def error(self, weights: np.ndarray) -> float:
        return self.power - 2 * float(weights @ self.product) + float(weights @ self.gram @ weights)


def fit_filters(
    kind: Kind, samples: list[Sample], folds: dict[str, int], drawn: np.ndarray | None, strong_gauss: float
) -> tuple[dict[str, float], Document]:
    """Errors on regions left out, and the names and weights of all.

    Parameters
    ----------
    kind, samples, folds
        Pairs, and the fold of each region.
    drawn
        (N, H, W) G that a generator draws for each, a feature more; None without one.
    strong_gauss
        Error in strong pixels that is not to be surpassed. Where no fit keeps it, the one with the least error of all
        pixels is taken.
    """
    names, sums = _sums(kind, samples, folds, drawn)
    tried = []
    for ridge in _RIDGE:
        for emphasis in _EMPHASIS:
            weights = [_solved([g for f, g in sums.items() if f != fold], ridge, emphasis) for fold in sums]
            square, strong = (
                sum(sums[fold][which].error(w) for fold, w in zip(sums, weights, strict=True))
                for which in (False, True)
            )
            tried.append((square, strong, ridge, emphasis))
    pixels, strong_pixels = (sum(g[which].pixels for g in sums.values()) for which in (False, True))
    limit = _AS_GOOD * strong_gauss / 1000.0
    kept = [one for one in tried if one[1] <= limit**2 * max(strong_pixels, 1)] or tried
    square, strong, ridge, emphasis = min(kept)
    power = sum(g[False].power for g in sums.values())
    errors = Errors(square * 1e6, power * 1e6, pixels, strong * 1e6, strong_pixels)
    return errors.scores(), {"names": names, "weights": _solved(list(sums.values()), ridge, emphasis)}


def _sums(
    kind: Kind, samples: list[Sample], folds: dict[str, int], drawn: np.ndarray | None
) -> tuple[tuple[str, ...], dict[int, Group]]:
    """Names of the features, and the normal equations of each fold: of all pixels (False) and of strong ones (True)."""
    sums: dict[int, Group] = {}
    names: tuple[str, ...] = ()
    for k, sample in enumerate(samples):
        found = features(kind, sample.one, None if drawn is None else drawn[k])
        names = tuple(found)
        x = np.stack([f[sample.counts] for f in found.values()]).astype(np.float64)
        y = sample.wanted[sample.counts].astype(np.float64) / 1000.0
        group = sums.setdefault(
            folds[sample.region], {s: _Sums(np.zeros((len(x),) * 2), np.zeros(len(x))) for s in (False, True)}
        )
        group[False].add(x, y)
        strong = np.abs(y) > STRONG_GAUSS / 1000.0
        group[True].add(x[:, strong], y[strong])
    return names, sums


def _solved(groups: list[Group], ridge: float, emphasis: float) -> np.ndarray:
    """Weights of the ridge regression on the sum of normal equations, features scaled to the same power."""
    gram, product = (
        sum(getattr(g[False], what) + emphasis * getattr(g[True], what) for g in groups) for what in ("gram", "product")
    )
    size = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    scaled = gram / np.outer(size, size) + ridge * np.eye(len(size))
    return np.asarray(np.linalg.solve(scaled, product / size) / size)
