"""What a generator can give, and whether a patch is what was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import SolqueryError
from .directions import Directions
from .vocabulary import DERIVED, Target, unit_of_target, with_derived

__all__ = ["Judge", "OutOfReach", "check_reach", "reach"]

#: a number is met within this share of it, or within so many percentile points
_SHARE = 0.10
_POINTS = 5.0
#: by this share of the sampled range the reachable one is taken to be wider: steps lead further than sampling does
_WIDER = 0.10


class OutOfReach(SolqueryError, ValueError):
    """A property that the generator cannot give; the message names what it can."""


def reach(directions: Directions, name: str) -> tuple[float, float]:
    """Lowest and highest value of generated patches, a little wider than sampled; never below 0 where none was."""
    if name in DERIVED:
        values = with_derived(directions.table.values, [name])[name]
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    else:
        low, high = directions.quantile(name, 0), directions.quantile(name, 100)
    if name in directions.names and directions.is_binary(name):
        return low, high
    margin = _WIDER * (high - low)
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def check_reach(targets: Mapping[str, Target], directions: Directions, bundle_name: str) -> None:
    """Raise `OutOfReach` for the first target that lies outside `reach`."""
    for name, target in targets.items():
        low, high = reach(directions, name)
        beyond = {"=": target.value < low or target.value > high, "<=": target.value < low, ">=": target.value > high}
        if beyond[target.relation]:
            unit = unit_of_target(name, directions.physical)
            unit = f" {unit}" if unit else ""
            raise OutOfReach(
                f"{name} {target.relation} {target.value:.4g}{unit} is out of reach of bundle {bundle_name!r}, which "
                f"gives {low:.4g} to {high:.4g}{unit}; ask within that range, or train a generator on such regions"
            )


class Judge:
    """Turns measured values into errors in units of what is tolerated."""

    def __init__(self, targets: Mapping[str, Target], directions: Directions) -> None:
        self.directions = directions
        self.hard = {k: t for k, t in targets.items() if k in directions.names and directions.is_binary(k)}
        self.soft = {k: t for k, t in targets.items() if k not in self.hard}
        self.tolerance = np.array([self._tolerance(t) for t in self.soft.values()])
        self.wanted = np.array([t.value for t in self.soft.values()])

    def _tolerance(self, target: Target) -> float:
        """Allowed deviation, in the unit of the value; the larger of the two allowances."""
        share = _SHARE * abs(target.value)
        if target.name in DERIVED:
            return max(share, 1e-12)
        points = 0.0
        if target.relation == "=" and self._inner(target):
            at = float(self.directions.percentile(target.name, target.value))
            above = self.directions.quantile(target.name, at + _POINTS)
            points = 0.5 * (above - self.directions.quantile(target.name, at - _POINTS))
        least = 1e-3 * (self.directions.quantile(target.name, 95) - self.directions.quantile(target.name, 5))
        return max(share, points, least, 1e-12)

    def _inner(self, target: Target) -> bool:
        # in the tails five points may span a factor of ten: there only the 10 % count
        at = float(self.directions.percentile(target.name, target.value))
        return _POINTS <= at <= 100.0 - _POINTS

    def residual(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(K, M) deviations in units of the tolerance; 0 well within a limit, NaN where unknown."""
        out = np.zeros((len(next(iter(values.values()))), len(self.soft)))
        for m, (name, target) in enumerate(self.soft.items()):
            deviation = (values[name] - target.value) / self.tolerance[m]
            # limits are aimed at from half a tolerance inside; np.maximum and minimum keep NaN
            if target.relation == "<=":
                deviation = np.maximum(deviation + 0.5, 0.0)
            elif target.relation == ">=":
                deviation = np.minimum(deviation - 0.5, 0.0)
            out[:, m] = deviation
        return out

    def allowed(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(K,) whether what cannot be compromised on (which polarity leads) is right."""
        out = np.ones(len(next(iter(values.values()))), dtype=bool)
        for name, target in self.hard.items():
            out &= values[name] == target.value
        return out

    def met(self, got: Mapping[str, float]) -> bool:
        """The verdict on one patch, by the rule that `Answer` states."""
        for name, target in self.soft.items():
            value, asked = got[name], target.value
            if np.isnan(value):
                return False
            if target.relation == "<=":
                good = value <= asked
            elif target.relation == ">=":
                good = value >= asked
            else:
                good = abs(value - asked) <= _SHARE * abs(asked)
                if not good and self._inner(target):
                    points = self.directions.percentile(name, value) - self.directions.percentile(name, asked)
                    good = bool(abs(points) <= _POINTS)
            if not good:
                return False
        return all(got[name] == target.value for name, target in self.hard.items())
