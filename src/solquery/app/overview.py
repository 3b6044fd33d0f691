"""What the page tells of a model before anything is asked: its parameters with their reach, and its latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..cli_output import plain, quantity
from ..physics import get_parameter
from ..steering import Directions, best_axes, project

if TYPE_CHECKING:
    from .catalogue import Catalogue

__all__ = ["map_of", "parameters_of"]

_MAP_POINTS = 1_200


def parameters_of(fitted: Directions, catalogue: Catalogue | None) -> dict[str, Any]:
    """Every parameter with a direction: what it is, how far it reaches, what the archive holds of it."""
    out = {}
    for k, name in enumerate(fitted.names):
        about = get_parameter(name)
        low, high = fitted.quantile(name, 0), fitted.quantile(name, 100)
        seen = fitted.table.values[name]
        shown = (low, high)
        if catalogue is not None and not fitted.is_binary(name):
            archive = catalogue.grid(name)
            archive = archive[np.isfinite(archive)]
            if len(archive):
                shown = (min(low, float(np.quantile(archive, 0.01))), max(high, float(np.quantile(archive, 0.99))))
        edges = np.linspace(*shown, 41)
        out[name] = {
            "title": about.title,
            "symbol": about.symbol,
            "unit": fitted.unit(name),
            "native_unit": about.unit,
            "definition": about.definition,
            "source": about.source,
            "reach": [low, high],
            "shown": list(shown),
            "median": fitted.quantile(name, 50),
            "spread": fitted.quantile(name, 84) - fitted.quantile(name, 16),
            "binary": fitted.is_binary(name),
            "accuracy": float(fitted.accuracies[k]),
            "chance": float(fitted.chances[k]),
            "generated": np.histogram(seen[np.isfinite(seen)], edges)[0].tolist(),
            "archive": None if catalogue is None else catalogue.histogram(name, *shown),
        }
    return {"parameters": plain(out)}


def map_of(fitted: Directions, name: str) -> dict[str, Any]:
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
