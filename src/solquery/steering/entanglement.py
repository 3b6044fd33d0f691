"""Entanglement: what else changes when one parameter is moved, with and without holding.

A direction is stepped along from many latents, as far forth as back, and every parameter is measured at both ends. What
the parameters change by, in units of their spreads among generated patches, is set against the change of the one moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..aliases import Document
from .conditional import NothingLeft
from .directions import Directions
from .editing import directions_of, shift
from .exact_traversal import exact_traversals
from .latents import prior_latents
from .native_scale import measure_native_latents

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["EntanglementTable", "entanglement_table", "local_changes", "spreads"]

#: how far local directions lead a parameter forth and back, in its spreads
_LED = 0.75
#: standard errors by which a direction moves its own parameter, in the mean over the latents; with fewer, a change per
#: spread of it is a division by what may be nothing
_SURE = 3.0


@dataclass(frozen=True)
class EntanglementTable:
    """Changes of parameters in their spreads, per spread of the one moved.

    Attributes
    ----------
    names
        The P parameters.
    free
        (P, P): row the parameter moved, column the one measured; root mean square over the latents. NaN in the row of
        a direction whose own parameter does not surely move along.
    held
        (P, P): the same while the column's parameter is held; NaN on the diagonal, and where so little is left of the
        direction that its own parameter does not surely move.
    drift_free, drift_held
        (P, P) the mean change with its sign, in which what goes either way cancels.
    gain
        (P,) spreads that the moved parameter itself changes by per unit of latent space.
    latents, step
        How many, and how far forth and back.
    exact, drift_exact
        (P, P) as `held` and `drift_held` where the held parameter is held by local directions (`exact_traversals`);
        None where that was not measured.
    """

    names: tuple[str, ...]
    free: np.ndarray
    held: np.ndarray
    drift_free: np.ndarray
    drift_held: np.ndarray
    gain: np.ndarray
    latents: int
    step: float
    exact: np.ndarray | None = None
    drift_exact: np.ndarray | None = None

    def weak(self) -> list[tuple[str, str | None]]:
        """Parameters (moved, held or None) whose direction does not surely move them: no entanglement can be told."""
        names = self.names
        alone: list[tuple[str, str | None]] = [
            (a, None) for a, row in zip(names, self.free, strict=True) if np.isnan(row).all()
        ]
        pairs = [
            (a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j and np.isnan(self.held[i, j])
        ]
        return alone + [pair for pair in pairs if (pair[0], None) not in alone]

    def summary(self) -> Document:
        """JSON: a mapping of moved to measured parameter for each table, and what holding leaves of it."""

        def nested(table: np.ndarray) -> dict[str, dict[str, float | None]]:
            return {
                a: {b: None if np.isnan(table[i, j]) else float(table[i, j]) for j, b in enumerate(self.names)}
                for i, a in enumerate(self.names)
            }

        off = ~np.eye(len(self.names), dtype=bool) & np.isfinite(self.held) & np.isfinite(self.free)
        off_drift = off & (np.abs(self.drift_free) > 0.1) & np.isfinite(self.drift_held)
        exact: Document = {}
        if self.exact is not None and self.drift_exact is not None:
            known = off & np.isfinite(self.exact)
            exact = {
                "exact": nested(self.exact),
                "drift_exact": nested(self.drift_exact),
                "median_exact": float(np.median(self.exact[known])) if known.any() else None,
                # which changes come down to a third by a linear direction, and which need the local ones
                "third_by_direction": float((self.held[known] <= self.free[known] / 3).mean()) if known.any() else None,
                "third_by_local": float((self.exact[known] <= self.free[known] / 3).mean()) if known.any() else None,
            }
        return exact | {
            "free": nested(self.free),
            "held": nested(self.held),
            "drift_free": nested(self.drift_free),
            "drift_held": nested(self.drift_held),
            "gain": {name: float(value) for name, value in zip(self.names, self.gain, strict=True)},
            "weak": [list(pair) for pair in self.weak()],
            "latents": self.latents,
            "step": self.step,
            "median_free": float(np.median(self.free[off])) if off.any() else None,
            "median_held": float(np.median(self.held[off])) if off.any() else None,
            # of the drifts that matter without holding, what share is left with it
            "median_drift_left": float(np.median(np.abs(self.drift_held[off_drift] / self.drift_free[off_drift])))
            if off_drift.any()
            else None,
        }


def spreads(directions: Directions) -> np.ndarray:
    """(P,) spreads of the parameters (`Directions.spread`); 1 for two-valued ones."""
    half = [directions.spread(name) for name in directions.names]
    return np.array([value if value > 0 else 1.0 for value in half])


def _changes(model: Model, ends: torch.Tensor, names: tuple[str, ...]) -> np.ndarray:
    """(N, P) half the change of the parameters from the second to the first half of latents (2N, D)."""
    values = measure_native_latents(model, ends, names)
    first, last = np.split(np.stack([np.asarray(values[name], np.float64) for name in names], axis=1), 2)
    return np.asarray(0.5 * (first - last))


def _linear_changes(model: Model, z: np.ndarray, normal: np.ndarray, step: float, names: tuple[str, ...]) -> np.ndarray:
    """(N, P) changes of the parameters, per end, latents (N, D) moved forth and back along a normal."""
    return _changes(model, torch.from_numpy(np.concatenate([shift(z, normal, way * step) for way in (1, -1)])), names)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of each column over the latents where it is known; NaN where it never is."""
    known = np.isfinite(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def local_changes(
    model: Model, z: np.ndarray, name: str, hold: tuple[str, ...], spreads_moved: float, names: tuple[str, ...]
) -> np.ndarray:
    """(N, P) changes of the parameters, per end, `name` led forth and back by local directions, others held."""
    ends = [exact_traversals(model, z, name, hold, way * spreads_moved) for way in (1.0, -1.0)]
    return _changes(model, torch.cat(ends), names)


def entanglement_table(
    model: Model,
    names: tuple[str, ...] | None = None,
    latents: int = 32,
    step: float = 0.75,
    seed: int = 0,
    exact: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> EntanglementTable:
    """Measure what every direction changes in every parameter, free and held.

    Parameters
    ----------
    model
        With generator, preset and directions.
    names
        Parameters to look at; None for all that have a direction.
    latents, step, seed
        Latents drawn from the prior, how far each is moved forth and back, and the seed of the draw.
    exact
        Measure as well what is left when local directions hold (`exact_traversals`), by three quarters of a spread
        forth and back. Some hundred times the work.
    report
        Told how many of the pairs are done.

    Returns
    -------
    `EntanglementTable`. P² directions are each rendered at twice `latents` places.
    """
    directions = directions_of(model)
    names = tuple(directions.names) if names is None else tuple(names)
    scale = spreads(directions)[[directions.index(name) for name in names]]
    z = prior_latents(latents, directions.latent_dim, seed).numpy()
    p = len(names)
    free, held, drift_free, drift_held = (np.full((p, p), np.nan) for _ in range(4))
    gain = np.full(p, np.nan)

    def against(changes: np.ndarray, moved: int) -> tuple[np.ndarray, np.ndarray]:
        scaled = changes / scale
        own = _mean(scaled)[moved]
        there = scaled[np.isfinite(scaled[:, moved]), moved]
        sure = len(there) > 1 and own > max(_SURE * there.std(ddof=1) / np.sqrt(len(there)), 1e-6)
        safe = own if sure else np.nan
        return np.sqrt(_mean(scaled**2)) / safe, _mean(scaled) / safe

    for i, name in enumerate(names):
        changes = _linear_changes(model, z, directions.normal(name), step, names)
        free[i], drift_free[i] = against(changes, i)
        gain[i] = _mean(changes)[i] / scale[i] / step
        for j, other in enumerate(names):
            if i == j:
                continue
            try:
                normal = directions.normal(name, (other,))
            except NothingLeft:
                continue
            rms, drift = against(_linear_changes(model, z, normal, step, names), i)
            held[i, j], drift_held[i, j] = rms[j], drift[j]
    if not exact:
        return EntanglementTable(names, free, held, drift_free, drift_held, gain, latents, step)
    left, drift_left = np.full((p, p), np.nan), np.full((p, p), np.nan)
    pairs = [(i, j) for i in range(p) for j in range(p) if i != j and not directions.is_binary(names[i])]
    for done, (i, j) in enumerate(pairs):
        report(done, len(pairs))
        rms, drift = against(local_changes(model, z, names[i], (names[j],), _LED, names), i)
        left[i, j], drift_left[i, j] = rms[j], drift[j]
    return EntanglementTable(names, free, held, drift_free, drift_held, gain, latents, step, left, drift_left)
