"""Directions in latent space along which a physical parameter changes: normals of linear SVMs (paper, section 4)."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Document
from ..physics import get_parameter, unit_of
from .calibration import KNOTS, calibrate, invert_calibration, percentile_of, quantile_grid
from .conditional import NEARLY, conditional_normal, left_of, nearly_dependent
from .latents import LatentTable, SteeringError, SteeringWarning, sample_latents

if TYPE_CHECKING:
    from .native_scale import NativeScale

__all__ = ["Directions", "LatentTable", "NoDirection", "SteeringWarning", "fit_directions", "sample_latents"]

#: rows of the look-up table that go with the directions
_TABLE_ROWS = 2_000
#: of them, per parameter, those with the lowest and with the highest values
_TABLE_EXTREMES = 25


class NoDirection(SteeringError):
    """A parameter for which this set of directions has none."""


@dataclass(frozen=True)
class Directions:
    """Unit normals of the decision boundaries, one per parameter, with what is needed to steer by them.

    Attributes
    ----------
    names
        P parameter names.
    normals
        (P, D) float32 unit vectors, pointing to higher values.
    intercepts
        (P,): ``z . n + b > 0`` on the side above the threshold.
    accuracies, chances
        (P,): share of the validation patches on the right side, and the share of the larger class.
    medians
        (P,): thresholds of the labels, in the units of the grid; of a calibrated model (`at_native_scale`), native
        estimates, as in all that follows.
    quantiles
        (P, 101): percentiles of the generated population.
    positions, expected
        (P, 33): expected value at signed positions along the normal.
    dropped
        (P,) patches left out because the parameter is unknown there.
    table
        A compact look-up table: part of the sample, with the extremes of every parameter.
    physical
        Whether all of this is in maxwell and megametres, or in gauss and pixels of a grid without scale.
    """

    names: tuple[str, ...]
    normals: np.ndarray
    intercepts: np.ndarray
    accuracies: np.ndarray
    chances: np.ndarray
    medians: np.ndarray
    quantiles: np.ndarray
    positions: np.ndarray
    expected: np.ndarray
    dropped: np.ndarray
    table: LatentTable = field(repr=False)
    physical: bool = False
    #: the same in the units of the grid, of directions at native scale
    on_grid: Directions | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        p = len(self.names)
        if self.normals.ndim != 2 or len(self.normals) != p:
            raise ValueError(f"normals have shape {self.normals.shape} for {p} parameters")
        shapes: dict[str, tuple[int, ...]] = {
            name: (p,) for name in ("intercepts", "accuracies", "chances", "medians", "dropped")
        }
        shapes |= {"quantiles": (p, 101), "positions": (p, KNOTS), "expected": (p, KNOTS)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if self.table.z.shape[1] != self.latent_dim or set(self.table.values) != set(self.names):
            raise ValueError("the latent table does not fit the directions")

    @property
    def latent_dim(self) -> int:
        """Numbers of a latent vector."""
        return self.normals.shape[1]

    def index(self, name: str) -> int:
        """Row of a parameter.

        Raises
        ------
        UnknownParameter, NoDirection
            When nobody registered it; when it is registered but has no direction here.
        """
        if name in self.names:
            return self.names.index(name)
        get_parameter(name)
        close = difflib.get_close_matches(name, self.names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise NoDirection(
            f"there is no direction for {name!r}{hint}; there are: {', '.join(self.names)}; "
            "`solquery directions` fits them again with every registered parameter"
        )

    def normal(self, name: str, hold: Sequence[str] | str = ()) -> np.ndarray:
        """Unit vector (D,) float32 along which `name` rises, orthogonal to the normals of the held parameters.

        Raises
        ------
        NothingLeft
            When holding leaves nothing of the direction, as when a parameter is asked to change and to hold.

        Warns
        -----
        SteeringWarning
            When held normals are nearly dependent, or holding leaves next to nothing of the direction; it says which.
        """
        held = [hold] if isinstance(hold, str) else list(hold)
        own = self.normals[self.index(name)]
        if not held:
            return own.copy()
        if name in held:
            raise SteeringError(f"{name!r} cannot change and be held at once; take it out of one of the two")
        columns = np.stack([self.normals[self.index(other)] for other in held], axis=1)
        found = conditional_normal(own, columns).astype(np.float32)
        for line in self.entangled(name, held):
            warnings.warn(line, SteeringWarning, stacklevel=2)
        return found

    def entangled(self, name: str, hold: Sequence[str]) -> list[str]:
        """What to say of holding: which held normals are nearly dependent, and what is left of the direction."""
        lines, columns = [], np.stack([self.normals[self.index(other)] for other in hold], axis=1)
        if same := nearly_dependent(columns):
            which = ", ".join(hold[k] for k in same)
            lines.append(
                f"of {which}, all held, each says hardly more than the others: their normals are nearly dependent, and "
                "small errors of them are felt; hold one of them"
            )
        left = left_of(self.normals[self.index(name)], columns)
        if left < NEARLY:
            lines.append(
                f"holding {', '.join(hold)} leaves {left:.1%} of the direction of {name}: it takes long steps "
                "to change it, and they leave the prior; hold less, or follow local directions (--exact)"
            )
        return lines

    def position(self, z: ArrayLike, name: str) -> np.ndarray:
        """Signed distance from the boundary of `name`: (N,) for z (N, D), a number for (D,); positive above it."""
        k = self.index(name)
        return np.asarray(z, dtype=np.float64) @ self.normals[k].astype(np.float64) + float(self.intercepts[k])

    def cosines(self) -> np.ndarray:
        """(P, P) cosine between every two normals: how entangled the parameters are."""
        normals = self.normals.astype(np.float64)
        return normals @ normals.T

    def expected_value(self, name: str, position: ArrayLike) -> np.ndarray:
        """Expected value of `name` at signed position(s) along its normal, in the unit of the grid."""
        k = self.index(name)
        return np.interp(np.asarray(position, float), self.positions[k], self.expected[k])

    def position_for(self, name: str, value: ArrayLike) -> np.ndarray:
        """Signed position(s) along the normal at which `value` is expected; the ends where it lies beyond."""
        k = self.index(name)
        return invert_calibration(self.positions[k], self.expected[k], value)

    def quantile(self, name: str, percent: float) -> float:
        """Value at a percentile (0 to 100) of the generated population."""
        return float(np.interp(percent, np.arange(101.0), self.quantiles[self.index(name)]))

    def spread(self, name: str) -> float:
        """Spread of a parameter among generated patches: half of the 84th minus the 16th percentile.

        One standard deviation, were the population normal. It is the only measure of a spread in steering, reports
        and page.
        """
        return 0.5 * (self.quantile(name, 84) - self.quantile(name, 16))

    def percentile(self, name: str, value: ArrayLike) -> np.ndarray:
        """Percentile (0 to 100) of value(s) in the generated population."""
        return percentile_of(self.quantiles[self.index(name)], value)

    def is_binary(self, name: str) -> bool:
        """Whether a parameter takes two values only, as the leading polarity does."""
        return len(np.unique(self.quantiles[self.index(name)])) <= 2

    def unit(self, name: str) -> str:
        """Unit of a parameter: with a scale, or of a grid without one."""
        return unit_of(name, self.physical)

    def at_native_scale(self, scale: NativeScale) -> Directions:
        """The same directions with every value at native scale: the curves rise, so that order and ranks stay.

        A quantity made of others has no curve; its values go to those of the same rank in the table.
        """
        values, made = scale.of_all(self.table.values), scale.made_of_others(self.names)

        def at_native(name: str, row: np.ndarray) -> np.ndarray:
            if name not in made:
                return scale.to_native(name, row)
            grid, native = (np.sort(v[np.isfinite(v)]) for v in (self.table.values[name], values[name]))
            return np.interp(row, grid, native) if len(grid) == len(native) > 0 else row

        def rows(numbers: np.ndarray) -> np.ndarray:
            return np.stack([at_native(name, row) for name, row in zip(self.names, numbers, strict=True)])

        return replace(
            self,
            medians=rows(self.medians),
            quantiles=rows(self.quantiles),
            expected=rows(self.expected),
            table=replace(self.table, values=values),
            on_grid=self,
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays for a safetensors file, in the units of the grid; `from_tensors` is the way back."""
        if self.on_grid is not None:
            return self.on_grid.tensors()
        kept = ("normals", "intercepts", "accuracies", "chances", "medians", "quantiles", "positions", "expected")
        out = {name: np.ascontiguousarray(getattr(self, name), dtype=np.float32) for name in kept}
        out["dropped"] = self.dropped.astype(np.int64)
        out["table_z"] = self.table.z.astype(np.float16)
        out["table_values"] = np.stack([self.table.values[name] for name in self.names], axis=1).astype(np.float32)
        return out

    @classmethod
    def from_tensors(cls, names: Sequence[str], tensors: dict[str, np.ndarray], physical: bool = False) -> Directions:
        """Directions from the arrays that `tensors` gave; `physical` tells their units.

        Raises
        ------
        ValueError
            When an array is missing or does not fit.
        """
        arrays = {key: np.asarray(value) for key, value in tensors.items()}
        try:
            z, values = arrays.pop("table_z").astype(np.float32), arrays.pop("table_values").astype(np.float64)
            if values.shape != (len(z), len(names)):
                raise ValueError(f"table_values has shape {values.shape} for {len(z)} latents, {len(names)} parameters")
            table = LatentTable(z, {name: values[:, k] for k, name in enumerate(names)}, physical=physical)
            floats: Document = {
                key: value.astype(np.float64) for key, value in arrays.items() if key not in ("normals", "dropped")
            }
            return cls(
                tuple(names), arrays["normals"], dropped=arrays["dropped"], table=table, physical=physical, **floats
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the arrays are not those of a set of directions: {error}") from None


def _threshold(values: np.ndarray) -> float:
    """Median, or the middle between them where there are just two values (a sign)."""
    distinct = np.unique(values[:1000])
    if len(distinct) == 2 and len(np.unique(values)) == 2:
        return float(distinct.mean())
    return float(np.median(values))


def _compact(table: LatentTable, names: Sequence[str]) -> LatentTable:
    """First rows of the table, and every parameter's extremes: where starts for rare patches are found."""
    z = table.z.astype(np.float16).astype(np.float32)
    chosen: list[np.ndarray] = []
    for name in names:
        order = np.argsort(table.values[name], kind="stable")
        order = order[: int(np.isfinite(table.values[name]).sum())]
        chosen += [order[:_TABLE_EXTREMES], order[-_TABLE_EXTREMES:]]
    extremes = np.unique(np.concatenate(chosen))
    common = np.setdiff1d(np.arange(len(table)), extremes)[: max(0, _TABLE_ROWS - len(extremes))]
    rows = np.sort(np.concatenate([common, extremes]))
    return LatentTable(z, {name: table.values[name] for name in names}, physical=table.physical).take(rows)


def _fit_one(
    name: str, z: np.ndarray, values: np.ndarray, C: float, n_train: int, seed: int
) -> tuple[np.ndarray, Document] | str:
    """Unit normal and the numbers that go with it, or why there is none."""
    from sklearn.svm import LinearSVC

    known = np.isfinite(values)
    if int(known.sum()) < 20:
        return f"it is known in {int(known.sum())} of {len(known)} generated patches only"
    threshold = _threshold(values[known])
    label = values[known] > threshold
    points = z[known]
    order = np.random.default_rng(seed).permutation(len(points))
    cut = min(n_train, round(0.7 * len(points)))
    train, test = order[:cut], order[cut:]
    if len(np.unique(label[train])) < 2:
        return f"it is {threshold:.4g} in nearly every generated patch"
    svm = LinearSVC(C=C, dual="auto", random_state=seed).fit(points[train], label[train])
    size = float(np.linalg.norm(svm.coef_[0]))
    if not size > 0:
        return "the support vector machine found no direction"
    normal = (svm.coef_[0] / size).astype(np.float32)
    intercept = float(svm.intercept_[0]) / size
    accuracy = float(np.mean((points[test] @ svm.coef_[0] + svm.intercept_[0] > 0) == label[test]))
    share = float(label[test].mean())
    chance = max(share, 1.0 - share)
    margin = 2.0 * np.sqrt(max(chance * (1.0 - chance), 1e-12) / len(test))
    if accuracy <= chance + margin:
        warnings.warn(
            f"the direction of {name!r} is no better than chance: {accuracy:.3f} of {len(test)} validation patches "
            f"on the right side, {chance:.3f} by guessing; do not steer by it",
            SteeringWarning,
            stacklevel=3,
        )
    positions, expected = calibrate(points @ normal.astype(np.float64) + intercept, values[known])
    return normal, {
        "intercepts": intercept,
        "accuracies": accuracy,
        "chances": chance,
        "medians": threshold,
        "quantiles": quantile_grid(values),
        "positions": positions,
        "expected": expected,
        "dropped": int((~known).sum()),
    }


def fit_directions(
    table: LatentTable,
    names: Iterable[str] | None = None,
    C: float = 1.0,
    n_train: int = 7_000,
    seed: int = 0,
) -> Directions:
    """Train one linear support vector machine per parameter on latents labelled above or below the median.

    Paper, section 4: 10,000 samples, labels by the median, 7,000 to train and 3,000 to validate, C = 1. A parameter
    of two values (which polarity leads) is labelled by them. Latents for which a parameter is unknown are left out
    and counted.

    Parameters
    ----------
    table
        From `sample_latents`.
    names
        Which of its parameters; None for all that can be learned, those that cannot being named in a warning.
    C
        Regularisation strength of the paper.
    n_train
        Latents to train on, at most 70 % of those at hand; the rest validates.
    seed
        Of the split and the solver.

    Warns
    -----
    SteeringWarning
        When a direction is no better than chance on the validation set, or cannot be fitted.

    Raises
    ------
    SteeringError
        When a parameter that was named cannot be fitted, or none can.
    """
    wanted = list(table.values) if names is None else list(names)
    missing = [name for name in wanted if name not in table.values]
    if missing:
        get_parameter(missing[0])
        raise SteeringError(f"the latent table has no {missing[0]!r}; it has: {', '.join(table.values)}")
    z = table.z.astype(np.float64)
    normals: list[np.ndarray] = []
    numbers: list[Document] = []
    fitted: list[str] = []
    for name in wanted:
        result = _fit_one(name, z, table.values[name], C, n_train, seed)
        if isinstance(result, str):
            if names is not None:
                raise SteeringError(f"no direction can be fitted for {name!r}: {result}; train the generator further")
            warnings.warn(f"no direction for {name!r}: {result}", SteeringWarning, stacklevel=2)
            continue
        fitted.append(name)
        normals.append(result[0])
        numbers.append(result[1])
    if not fitted:
        raise SteeringError(
            "no direction can be fitted: the generated patches do not differ; train the generator further"
        )
    stacked: Document = {key: np.array([row[key] for row in numbers]) for key in numbers[0]}
    return Directions(
        tuple(fitted), np.stack(normals), table=_compact(table, fitted), physical=table.physical, **stacked
    )
