"""From a model's grid to the scale of the observations, and back.

A coarse pixel averages: opposite polarities within it cancel, thin lines widen, noise is lost, and what lies beyond the
view is not there. So a flux on the grid is lower than that of the same region in HMI's own pixels. A model that was
calibrated (`solquery.steering.native_fit`) holds, for each parameter, a rising curve from the one to the other with the
band that two thirds of the patches lie in. Steering, targets and answers of such a model speak of the native scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Array, Document, Entries
from ..physics import measure_on_grid
from ..serialise import quantity
from .latents import SteeringWarning, measure_latents
from .vocabulary import DERIVED, unit_of_target, with_derived

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = [
    "DOMAINS", "NATIVE_KEY", "NativeEstimate", "NativeScale", "measure_both", "measure_native",
    "measure_native_latents", "native_quantities", "native_scale_of",
]  # fmt: skip

#: where a model's metadata holds the curves
NATIVE_KEY = "native_scale"
#: what a definition cannot exceed
DOMAINS = {"tilt": (-90.0, 90.0)}
#: a curve is used beyond the values that it was measured on by so much without a warning
_BEYOND = 0.1


@dataclass(frozen=True)
class NativeEstimate:
    """What a value on the grid is worth at native scale.

    Attributes
    ----------
    value, low, high
        The estimate, and the band that two thirds of the patches lie in.
    coverage
        Source (``simulated``, ``real``) to the share of its patches that were found in the band, by curves that had not
        seen their region; empty where that was not measured.
    """

    value: float
    low: float
    high: float
    coverage: Mapping[str, float]


class _Curve:
    """One parameter: knots on the grid and at native scale, transformed so that offsets are alike everywhere.

    By kind: ``log`` of sizes, ``asinh`` of what has a sign and spans orders of magnitude, ``linear`` of the rest.
    """

    def __init__(self, name: str, record: Entries) -> None:
        self.kind, self.soft = record.get("kind", "log"), float(record.get("softening", 1.0))
        self.log = self.kind == "log"
        grid = np.asarray(record["grid"], np.float64)
        if "native" in record:
            native, low, high = (np.asarray(record[key], np.float64) for key in ("native", "low", "high"))
        else:  # ratios, as they were kept before; their product with the grid's value need not rise
            ratios = {key: np.asarray(record[key], np.float64) for key in ("middle", "low", "high")}
            native = np.maximum.accumulate(grid * ratios["middle"]) * (1.0 + 1e-6 * np.arange(len(grid)))
            low, high = grid * ratios["low"], grid * ratios["high"]
        self.x, self.y = self.transform(grid), self.transform(native)
        # offsets of the band keep it about the value beyond the knots as well
        self.down, self.up = self.y - self.transform(low), self.transform(high) - self.y
        self.range = (float(record["range"][0]), float(record["range"][1]))
        self.zero_high = float(record.get("zero_high", 0.0))
        self.coverage = {kind: float(found["share"]) for kind, found in record.get("coverage", {}).items()}
        self.domain = DOMAINS.get(name)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale on which offsets are alike everywhere."""
        if self.log:
            return np.log(np.where(values > 0, values, 1.0))
        return np.arcsinh(values / self.soft) if self.kind == "asinh" else values

    def inverse(self, transformed: np.ndarray) -> np.ndarray:
        """The inverse of `transform`."""
        if self.log:
            return np.exp(transformed)
        return self.soft * np.sinh(transformed) if self.kind == "asinh" else transformed

    def _within(self, values: np.ndarray) -> np.ndarray:
        return values if self.domain is None else np.clip(values, *self.domain)

    @staticmethod
    def _read(values: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Curve from `start` to `end` knots; beyond them by the offset of the last one."""
        return values + np.interp(values, start, end - start)

    def apply(self, values: np.ndarray, back: bool = False) -> np.ndarray:
        """Native values of grid values, or the way back; zero stays zero where ratios are taken."""
        start, end = (self.y, self.x) if back else (self.x, self.y)
        out = self._within(self.inverse(self._read(self.transform(values), start, end)))
        return np.where(values > 0, out, values) if self.log else out

    def slope(self, native: np.ndarray) -> np.ndarray:
        """Derivative of the native value by the grid's, where the native value is given."""
        grid = self.apply(native, back=True)
        at = self.transform(grid)
        k = np.clip(np.searchsorted(self.x, at) - 1, 0, len(self.x) - 2)
        steep = np.diff(self.y)[k] / np.diff(self.x)[k]
        steep = np.where((at < self.x[0]) | (at > self.x[-1]), 1.0, steep)
        if self.log:
            return np.where(grid > 0, steep * native / np.where(grid > 0, grid, 1.0), np.exp(self.y[0] - self.x[0]))
        if self.kind == "asinh":
            return np.asarray(steep * np.hypot(self.soft, native) / np.hypot(self.soft, grid))
        return np.asarray(steep)

    def band(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the bands of values on the grid, (N,) each."""
        at = self.transform(values)
        middle = self._read(at, self.x, self.y)
        ends = middle - np.interp(at, self.x, self.down), middle + np.interp(at, self.x, self.up)
        low, high = (self._within(self.inverse(end)) for end in ends)
        if not self.log:
            return low, high
        return np.where(values > 0, low, 0.0), np.where(values > 0, high, self.zero_high)


class NativeScale:
    """The calibration of a model from its grid to native scale.

    Parameters
    ----------
    record
        Of `solquery.steering.native_fit.fit_native`, as a model's metadata holds it.

    Examples
    --------
    >>> curve = {"kind": "log", "range": [1, 4], "grid": [1, 4], "native": [2, 8], "low": [1, 4], "high": [4, 16]}
    >>> scale = NativeScale({"curves": {"tuf": curve}})
    >>> float(scale.to_native("tuf", 2.0)), float(scale.to_grid("tuf", 4.0))
    (4.0, 2.0)
    """

    def __init__(self, record: Entries) -> None:
        self.record = record
        self._curves = {name: _Curve(name, curve) for name, curve in record.get("curves", {}).items()}

    def __contains__(self, name: object) -> bool:
        return name in self._curves

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters that have a curve; others are the same on the grid, or are given there."""
        return tuple(self._curves)

    def to_native(self, name: str, values: ArrayLike) -> np.ndarray:
        """Native estimates of values on the grid; of a parameter without a curve the values as they are."""
        values = np.asarray(values, np.float64)
        return self._curves[name].apply(values) if name in self._curves else values

    def of_all(self, on_grid: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Native estimates of parameters on the grid: name to (N,).

        A quantity made of others is made of the native estimates of its parts, where all of them are given.
        """
        native = {name: self.to_native(name, values) for name, values in on_grid.items()}
        made = [name for name in self.made_of_others(on_grid) if set(DERIVED[name].needs) <= set(native)]
        return {**native, **with_derived(native, made)}

    def made_of_others(self, names: Iterable[str]) -> tuple[str, ...]:
        """Of some names, those that have no curve because they are made of other parameters (`DERIVED`)."""
        return tuple(name for name in names if name in DERIVED and name not in self)

    def to_grid(self, name: str, values: ArrayLike) -> np.ndarray:
        """Values on the grid whose native estimates are given: the inverse of `to_native`."""
        values = np.asarray(values, np.float64)
        return self._curves[name].apply(values, back=True) if name in self._curves else values

    def slope(self, name: str, native: ArrayLike) -> np.ndarray:
        """Derivative of the native value of a parameter by that on the grid, at native values."""
        native = np.asarray(native, np.float64)
        return self._curves[name].slope(native) if name in self._curves else np.ones_like(native)

    def estimate(self, name: str, value: float) -> NativeEstimate | None:
        """What one value on the grid is worth, with its band; None without a curve or for an unknown value."""
        curve = self._curves.get(name)
        if curve is None or not np.isfinite(value) or (curve.log and value < 0):
            return None
        low, high = (float(end) for end in curve.band(np.asarray(float(value))))
        return NativeEstimate(float(curve.apply(np.asarray(float(value)))), low, high, curve.coverage)

    def bands(self, name: str, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (N,) of the bands of values (N,) on the grid; KeyError without a curve."""
        return self._curves[name].band(np.asarray(values, np.float64))

    def warn_beyond(self, values: Mapping[str, float]) -> None:
        """Warn of values on the grid outside of what their curve was measured on."""
        for name, value in values.items():
            curve = self._curves.get(name)
            if curve is None or not np.isfinite(value) or (curve.log and value <= 0):
                continue
            lowest, highest = curve.range
            margin = (_BEYOND * lowest, _BEYOND * highest) if curve.log else (_BEYOND * (highest - lowest),) * 2
            if not lowest - margin[0] <= value <= highest + margin[1]:
                warnings.warn(
                    f"{name} = {value:.3g} lies outside what its native-scale curve was measured on "
                    f"({lowest:.3g} to {highest:.3g})",
                    SteeringWarning,
                    stacklevel=3,
                )


def native_scale_of(model: Model) -> NativeScale | None:
    """The calibration of a model; None where it was not calibrated, or works on a grid without scale."""
    return getattr(model, "native_scale", None)


def measure_native(model: Model, x: Array, names: Iterable[str] | str | None = None) -> dict[str, np.ndarray]:
    """Parameters of patches (H, W) or (N, H, W) in preset units: native estimates, or the grid's without a calibration.

    Returns
    -------
    Name to (N,) float64, in the units of `Directions.unit`.
    """
    return measure_both(model, x, names)[1]


def measure_both(
    model: Model, x: Array, names: Iterable[str] | str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters of patches on a model's grid, and as `measure_native` gives them."""
    needed = None if names is None else _needed(model, [names] if isinstance(names, str) else list(names))
    found = {name: values.numpy() for name, values in measure_on_grid(x, model.preset, needed).items()}
    native = _native(model, found)
    wanted = list(found) if names is None else [names] if isinstance(names, str) else list(names)
    return {name: found[name] for name in wanted}, {name: native[name] for name in wanted}


def measure_native_latents(model: Model, z: ArrayLike, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Parameters of the patches of latents (N, D), as `measure_native` gives them."""
    wanted = list(names)
    native = _native(model, measure_latents(model.generator, model.preset, z, _needed(model, wanted)))
    return {name: native[name] for name in wanted}


def _needed(model: Model, names: list[str]) -> list[str]:
    """Names, and what those of them are made of that have no curve of their own."""
    scale = native_scale_of(model)
    made = () if scale is None else scale.made_of_others(names)
    return list(dict.fromkeys([*names, *(need for name in made for need in DERIVED[name].needs)]))


def _native(model: Model, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    scale = native_scale_of(model)
    return dict(found) if scale is None else scale.of_all(found)


def native_quantities(model: Model, on_grid: Mapping[str, float]) -> dict[str, Document]:
    """Values on a model's grid as JSON tells them: the native estimate with its band, and the grid's value beside it.

    Returns
    -------
    Parameter to ``value``, ``unit``, ``low``, ``high``, ``coverage`` and ``grid`` (``value``, ``unit``). A quantity
    made of others (`DERIVED`) has no band; a parameter without a curve has ``value`` and ``unit`` alone, those of the
    grid.
    """
    scale, physical = native_scale_of(model), model.preset.physical
    out = {}
    for name, value in on_grid.items():
        grid = quantity(value, unit_of_target(name, physical))
        found = None if scale is None or grid["value"] is None else scale.estimate(name, float(value))
        if found is not None:
            more = {"coverage": dict(found.coverage)} if found.coverage else {}
            out[name] = quantity(found.value, grid["unit"], low=found.low, high=found.high, **more, grid=grid)
        elif scale is not None and name in DERIVED and set(DERIVED[name].needs) <= set(on_grid):
            out[name] = quantity(scale.of_all(on_grid)[name], grid["unit"], grid=grid)
        else:
            out[name] = grid
    return out
