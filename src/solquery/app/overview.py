"""What the page tells of a model before anything is asked: its parameters with their reach, and its latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document
from ..physics import get_parameter
from ..serialise import plain, quantity
from ..steering import Directions, best_axes, project
from ..steering.judge import reach

if TYPE_CHECKING:
    from ..steering.native_scale import NativeScale
    from .catalogue import Catalogue

__all__ = ["bend_of", "edges_of", "map_of", "parameters_of"]

_MAP_POINTS = 1_200
_BINS = 40
#: how far from the middle a median may lie before the scale is bent
_LOPSIDED = 0.3


def bend_of(low: float, median: float, high: float) -> float | None:
    """By how much a slider from `low` to `high` is bent, so that the usual values do not crowd at its left end.

    Fluxes have long tails: on an even scale the median of unsigned flux lies at a twelfth of the way. Positions are
    log(1 + (value - low) / bend), the bend such that the median comes to a third; None where the scale is even.
    """
    share = (median - low) / (high - low)
    if not 0.0 < share < _LOPSIDED:
        return None
    # log(1 + share u) / log(1 + u) falls from 1 to 0 as 1 / u goes from 0 up: halve towards a third
    least, most = 1e-6, 1e3
    for _ in range(60):
        bend = float(np.sqrt(least * most))
        at = np.log1p(share / bend) / np.log1p(1.0 / bend)
        least, most = (bend, most) if at > 1.0 / 3.0 else (least, bend)
    return bend * (high - low)


def edges_of(low: float, high: float, bend: float | None) -> np.ndarray:
    """(41,) edges of bins of even width on the slider."""
    even = np.linspace(0.0, 1.0, _BINS + 1)
    edges = low + (high - low) * even if bend is None else low + bend * np.expm1(even * np.log1p((high - low) / bend))
    edges[-1] = high
    return edges


def band_of(scale: NativeScale, name: str) -> Document | None:
    """What the band of a parameter was fitted on, and its coverage there; None without a band."""
    if name not in scale:
        return None
    return {
        "fitted_on": scale.record.get("fitted_on") or {},
        "coverage": scale.record["curves"][name].get("coverage", {}),
    }


def reachable(fitted: Directions, name: str) -> tuple[float, float]:
    """From where to where a slider goes: what was generated, as far as a request for it is taken."""
    least, most = reach(fitted, name)
    return max(fitted.quantile(name, 0), least), min(fitted.quantile(name, 100), most)


def parameters_of(fitted: Directions, catalogue: Catalogue | None, scale: NativeScale | None = None) -> Document:
    """Every parameter with a direction: what it is, how far it reaches, what the archive holds of it."""
    out = {}
    for k, name in enumerate(fitted.names):
        about = get_parameter(name)
        low, high = reachable(fitted, name)
        seen = fitted.table.values[name]
        shown = (low, high)
        if catalogue is not None and not fitted.is_binary(name):
            archive = catalogue.values(name)
            archive = archive[np.isfinite(archive)]
            if len(archive):
                shown = (min(low, float(np.quantile(archive, 0.01))), max(high, float(np.quantile(archive, 0.99))))
        bend = None if fitted.is_binary(name) else bend_of(shown[0], fitted.quantile(name, 50), shown[1])
        edges = edges_of(*shown, bend)
        out[name] = {
            "title": about.title,
            "symbol": about.symbol,
            "unit": fitted.unit(name),
            "native_unit": about.unit,
            "native": scale is not None and name in scale,
            "band": None if scale is None else band_of(scale, name),
            "definition": about.definition,
            "source": about.source,
            "reach": [low, high],
            "shown": list(shown),
            "bend": bend,
            "median": fitted.quantile(name, 50),
            "spread": fitted.spread(name),
            "binary": fitted.is_binary(name),
            "accuracy": float(fitted.accuracies[k]),
            "chance": float(fitted.chances[k]),
            "generated": np.histogram(seen[np.isfinite(seen)], edges)[0].tolist(),
            "archive": None if catalogue is None else catalogue.histogram(name, edges),
        }
    return {"parameters": plain(out)}


def map_of(fitted: Directions, name: str) -> Document:
    """The latent space seen so that the boundary of a parameter is a line."""
    k = fitted.index(name)
    normal, table = fitted.normals[k], fitted.table
    rows = np.random.default_rng(0).permutation(len(table))[:_MAP_POINTS]
    view = project(table.z[rows], normal, float(fitted.intercepts[k]), best_axes(normal))
    values = table.values[name][rows]
    known = np.isfinite(values)
    return {
        "parameter": name,
        "points": plain(np.round(view.points[known], 4)),
        "above": plain(values[known] > fitted.medians[k]),
        "slope": float(view.slope),
        "offset": float(view.offset),
        "axes": list(view.axes),
        "normal": plain(normal.astype(np.float64)),
        "intercept": float(fitted.intercepts[k]),
        "threshold": quantity(fitted.medians[k], fitted.unit(name)),
    }
