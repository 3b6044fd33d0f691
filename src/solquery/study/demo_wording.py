"""How the demo's report words and pictures what was found: shared by its sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..physics import get_parameter
from ..steering.vocabulary import unit_of_target
from .report import Picture, parameter_text, quantity

if TYPE_CHECKING:
    from ..search import Match
    from .demo import Findings

__all__ = ["RELATIONS", "SHOWN", "gauss", "heading", "kind_of", "on_grid", "picture_of", "symbol", "text_of"]

RELATIONS = {"=": "", "<=": "at most ", ">=": "at least "}
#: measured under every frame
SHOWN = ("tuf", "r", "psep", "polarity")


def symbol(name: str) -> str:
    """Symbol of a parameter, or a derived quantity in words."""
    return {"imbalance": "|net| / TUF", "tilt_size": "|TILT|"}.get(name) or get_parameter(name).symbol


def heading(name: str) -> str:
    return "leading" if name == "polarity" else symbol(name)


def text_of(name: str, value: float | None, physical: bool = False) -> str:
    if name in ("imbalance", "tilt_size"):
        return quantity(value, unit_of_target(name), digits=2)
    return parameter_text(name, value, physical)


def on_grid(match: Match) -> dict[str, float]:
    """Parameters of a match on the grid of the preset; NaN where unknown."""
    return {
        key.removeprefix("grid_"): float("nan") if value is None else float(value)
        for key, value in match.row.items()
        if key.startswith("grid_") and key != "grid_preset"
    }


def kind_of(match: Match) -> str:
    return str(match.row.get("source", "simulated"))


def picture_of(f: Findings, match: Match) -> Picture:
    quantity_text = "line of sight" if match.row.get("quantity") == "line-of-sight" else "radial field"
    lines = (f"distance {match.distance:.3g}", quantity_text)
    return Picture(
        f.gauss(match.id), kind_of(match), f"{match.rank}. {match.region}", on_grid(match), lines, f.physical
    )


def gauss(f: Findings, x: np.ndarray) -> np.ndarray:
    return np.asarray(f.model.preset.to_gauss(np.asarray(x)))
