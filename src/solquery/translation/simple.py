"""What needs no map: a factor, the cosine of the heliocentric angle, interpolation over what is missing.

The best of these is fitted with each map, so that a map that is no better is not taken, or says so.
"""

from __future__ import annotations

import numpy as np

from ..aliases import Document
from .filters import harmonic, interpolated
from .grid import Seen
from .kinds import Kind
from .scores import Errors, Sample

__all__ = ["fit_simple", "simple_features"]


def simple_features(kind: Kind, seen: Seen) -> dict[str, np.ndarray]:
    """Name to field (H, W) in kG, of which a factor makes a simple map."""
    if kind.where == "missing":
        return {"interpolated": interpolated(seen) / 1000.0, "harmonic": harmonic(seen) / 1000.0}
    u = seen.field / 1000.0
    return {"field": u, "field / mu": u / seen.mu, "field mu": u * seen.mu} if kind.angle else {"field": u}


def fit_simple(kind: Kind, samples: list[Sample], folds: dict[str, int]) -> tuple[dict[str, float], Document]:
    """Errors on regions left out of the best simple way, and its name and factor.

    A factor of one is tried as well, and nothing else where pixels are missing: what is interpolated needs none.
    """
    names = list(simple_features(kind, samples[0].one))
    # of each fold and name: products of the simple field with the wanted one, and with itself
    sums = np.zeros((max(folds.values()) + 1, len(names), 2))
    for sample in samples:
        wanted = sample.wanted[sample.counts].astype(np.float64) / 1000.0
        for k, field in enumerate(simple_features(kind, sample.one).values()):
            given = field[sample.counts].astype(np.float64)
            sums[folds[sample.region], k] += [given @ wanted, given @ given]

    def factor(rows: np.ndarray) -> np.ndarray:
        top, end = rows.sum(0).T
        return np.asarray(top / np.maximum(end, 1e-12))

    without = [factor(np.delete(sums, fold, axis=0)) for fold in range(len(sums))]
    errors = {(name, fitted): Errors() for name in names for fitted in (False, True)[: 1 + (kind.where != "missing")]}
    for sample in samples:
        for k, (name, field) in enumerate(simple_features(kind, sample.one).items()):
            errors[name, False].add(sample, 1000.0 * field)
            if (name, True) in errors:
                errors[name, True].add(sample, 1000.0 * without[folds[sample.region]][k] * field)
    name, fitted = min(errors, key=lambda one: errors[one].square)
    weight = factor(sums)[names.index(name)] if fitted else 1.0
    return errors[name, fitted].scores(), {"names": (name,), "weights": np.array([weight])}
