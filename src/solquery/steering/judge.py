"""What a generator can give, and whether a patch is what was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import SolqueryError
from .directions import Directions
from .vocabulary import DERIVED, Target, unit_of_target, with_derived

__all__ = ["Judge", "OutOfReach", "check_conflicts", "check_reach", "nearest_reachable", "reach"]

#: a number is met within this share of it, or within so many percentile points
_SHARE = 0.10
_POINTS = 5.0
#: of the population's width: below it a quantity that is never negative is compared by difference, above it by ratio
_SMALL = 0.01
#: by this share of the sampled range the reachable one is taken to be wider: steps lead further than sampling does
_WIDER = 0.10
#: what a definition cannot give less or more than, where that is not zero
_DOMAIN = {"tilt": (-90.0, 90.0), "tilt_size": (0.0, 90.0), "imbalance": (0.0, 1.0)}


class OutOfReach(SolqueryError, ValueError):
    """A property that the generator cannot give; the message names what it can.

    `nearest` maps the parameter to the nearest value that it can.
    """

    def __init__(self, message: str, nearest: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.nearest = dict(nearest or {})


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
    wide = max(0.0, low - margin) if low >= 0 else low - margin, high + margin
    # an angle stays one: no tilt lies beyond what its definition gives
    least, most = _DOMAIN.get(name, (-np.inf, np.inf))
    return max(wide[0], least), min(wide[1], most)


def nearest_reachable(target: Target, directions: Directions) -> float | None:
    """The value of `reach` nearest to a target that lies beyond it; None where the target lies within."""
    low, high = reach(directions, target.name)
    beyond = {"=": target.value < low or target.value > high, "<=": target.value < low, ">=": target.value > high}
    return min(max(target.value, low), high) if beyond[target.relation] else None


def check_reach(targets: Mapping[str, Target], directions: Directions, model_name: str) -> None:
    """Raise `OutOfReach` for the first target that lies outside `reach`."""
    for name, target in targets.items():
        nearest = nearest_reachable(target, directions)
        if nearest is not None:
            low, high = reach(directions, name)
            unit = unit_of_target(name, directions.physical)
            unit = f" {unit}" if unit else ""
            raise OutOfReach(
                f"{name} {target.relation} {target.value:.4g}{unit} is out of reach of model {model_name!r}, which "
                f"gives {low:.4g} to {high:.4g}{unit}; ask within that range, take what comes nearest (--nearest, "
                "nearest=True), or train a generator on such regions",
                {name: nearest},
            )


#: (part, whole): of one patch, the size of the part is never more than the whole
_PARTS = (("net_flux", "tuf"), ("tpf", "tuf"), ("tnf", "tuf"), ("r", "tuf"))


def check_conflicts(targets: Mapping[str, Target]) -> None:
    """Refuse numbers that no patch whatever can have together.

    Raises
    ------
    OutOfReach
        Naming the two that contradict each other.
    """
    exact = {name: abs(t.value) for name, t in targets.items() if t.relation == "="}
    for part, whole in _PARTS:
        if part in exact and whole in exact and exact[part] > exact[whole]:
            raise OutOfReach(
                f"{part} = {targets[part].value:.4g} and {whole} = {exact[whole]:.4g} contradict each other: "
                f"{part} is a part of {whole}; change one of them"
            )
    if {"tpf", "tnf", "tuf"} <= set(exact) and exact["tpf"] + exact["tnf"] > exact["tuf"]:
        raise OutOfReach("tpf and tnf together are more than tuf, of which they are parts; change one of the three")
    tilt, size = targets.get("tilt"), targets.get("tilt_size")
    if tilt is not None and size is not None and tilt.relation == "=":
        inside = {"=": abs(tilt.value) == size.value, "<=": abs(tilt.value) <= size.value}
        if not inside.get(size.relation, abs(tilt.value) >= size.value):
            raise OutOfReach(
                f"tilt = {tilt.value:g} deg and tilt_size {size.relation} {size.value:g} deg contradict each "
                "other; leave one out"
            )


class Judge:
    """Turns measured values into errors in units of what is tolerated."""

    def __init__(self, targets: Mapping[str, Target], directions: Directions) -> None:
        self.directions = directions
        self.hard = {k: t for k, t in targets.items() if k in directions.names and directions.is_binary(k)}
        self.soft = {k: t for k, t in targets.items() if k not in self.hard}
        self.tolerance = np.array([self._tolerance(t) for t in self.soft.values()])
        #: what is added before ratios are taken; 0 where differences are
        self.small = np.array([self._small(t) for t in self.soft.values()])

    def _width(self, name: str) -> float:
        return self.directions.quantile(name, 95) - self.directions.quantile(name, 5)

    def _small(self, target: Target) -> float:
        """Offset for ratios: fluxes, lengths and areas rise by factors along a latent direction; signed ones do not."""
        if target.name in DERIVED or self.directions.quantile(target.name, 0) < 0 or target.value < 0:
            return 0.0
        return max(_SMALL * self._width(target.name), 1e-12)

    def _tolerance(self, target: Target) -> float:
        """Deviation, in the unit of the value, that counts as one.

        A tenth of the value; of what has a sign and may be near zero, five percentile points where they are more.
        """
        share = _SHARE * abs(target.value)
        if target.name in DERIVED:
            return max(share, 1e-12)
        points = 0.0
        if target.relation == "=" and self._inner(target) and self._small(target) == 0.0:
            at = float(self.directions.percentile(target.name, target.value))
            above = self.directions.quantile(target.name, at + _POINTS)
            points = 0.5 * (above - self.directions.quantile(target.name, at - _POINTS))
        return max(share, points, 1e-3 * self._width(target.name), 1e-12)

    def _inner(self, target: Target) -> bool:
        # in the tails five points may span a factor of ten: there only the 10 % count
        at = float(self.directions.percentile(target.name, target.value))
        return _POINTS <= at <= 100.0 - _POINTS

    def residual(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(K, M) deviations in units of the tolerance; 0 well within a limit, NaN where unknown."""
        out = np.zeros((len(next(iter(values.values()))), len(self.soft)))
        for m, (name, target) in enumerate(self.soft.items()):
            deviation = self._deviation(np.asarray(values[name], np.float64), target.value, self.small[m])
            deviation = deviation / self.tolerance[m]
            # limits are aimed at from half a tolerance inside; np.maximum and minimum keep NaN
            if target.relation == "<=":
                deviation = np.maximum(deviation + 0.5, 0.0)
            elif target.relation == ">=":
                deviation = np.minimum(deviation - 0.5, 0.0)
            out[:, m] = deviation
        return out

    @staticmethod
    def _deviation(value: np.ndarray, wanted: float, small: float) -> np.ndarray:
        """Difference, or its equal to first order by the ratio, in which a start far off looks less steep."""
        if small == 0.0:
            return value - wanted
        return (wanted + small) * np.log((np.maximum(value, 0.0) + small) / (wanted + small))

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
