"""How a model is calibrated from its grid to native scale, on simulated and observed patches together.

Simulated patches are many and give the shape of the curve and of its band. Observed ones are few and belong to few
regions, but they are the Sun: they shift the curve where they lie, and set the width of the band, so that two thirds of
observed patches lie in it. Whether they do is counted on regions that the curve has not seen.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Document, Entries
from ..errors import SolqueryError
from ..physics import measure_on_grid, parameters, unit_of
from .native_scale import DOMAINS, NativeScale
from .vocabulary import DERIVED

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..config import Preset

__all__ = ["Pairs", "band_coverage", "fit_native", "fit_pairs", "grid_pairs"]

_KNOTS = 25
#: patches of a bin at least
_IN_BIN = 20
#: parts of the simulated regions, by a sum over their names, of which each is left out once
_PARTS = 5
#: fewer pairs than this make no curve, and fewer observed regions leave the simulated one as it is
_FEWEST, _FEWEST_REGIONS = 40, 6
#: the share of patches that a band is to hold
_SHARE = 2.0 / 3.0
#: observed patches shift the curve within so much of its range about them, against this weight of regions for no shift
_NEAR, _PRIOR = 1.0 / 6.0, 1.0
#: least slope of a curve: it is followed backwards as well
_STEEP = 0.05
#: least half-width of a band, transformed or as a share of the range
_NARROWEST = 0.005
#: patches measured at a time
_AT_A_TIME = 256


@dataclass(frozen=True)
class Pairs:
    """Parameters of patches on a grid and at native scale.

    Attributes
    ----------
    grid, native
        Parameter name to (N,).
    region, source
        (N,) names; ``simulated`` or ``real``.
    """

    grid: dict[str, np.ndarray]
    native: dict[str, np.ndarray]
    region: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class _Fit:
    """Knots, transformed: grid, native, and the half-widths of the band."""

    x: np.ndarray
    y: np.ndarray
    down: np.ndarray
    up: np.ndarray


def grid_pairs(
    archives: Sequence[Archive],
    preset: Preset,
    quantity: str = "radial",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pairs:
    """Measure the patches of archives on the grid of a preset, beside their parameters at native scale.

    Nothing is written; the patches need no embedding.

    Parameters
    ----------
    archives
        Their simulated and observed patches with a scale are taken, those of `quantity` only.
    preset
        With a scale.
    quantity
        ``radial`` or ``line-of-sight``: parameters of the two are not to be mixed.
    progress
        Called with patches done and in all.
    """
    names = [name for name in parameters() if all(name in archive.columns for archive in archives)]
    # noise-free twins of simulated patches are no observations
    where = f"quantity = '{quantity}' AND scale_x_mm IS NOT NULL AND id NOT LIKE '%-clean'"
    tables = [archive.table(columns=["id", "region", "source", *names], where=where) for archive in archives]
    total, done = sum(map(len, tables)), 0
    grid: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for archive, table in zip(archives, tables, strict=True):
        ids = table["id"].to_pylist()
        for start in range(0, len(ids), _AT_A_TIME):
            some = ids[start : start + _AT_A_TIME]
            found = dict(zip(*archive.prepared(preset, ids=some), strict=True))
            x = np.nan_to_num(np.stack([np.asarray(found[one], np.float32) for one in some]))
            for name, values in measure_on_grid(x, preset, names).items():
                grid[name].append(values.numpy())
            done += len(some)
            progress(done, total)

    def column(key: str) -> list[object]:
        return [value for table in tables for value in table[key].to_pylist()]

    native = {n: np.array([np.nan if v is None else v for v in column(n)], np.float64) for n in names}
    return Pairs(
        {n: np.concatenate(parts) if parts else np.empty(0) for n, parts in grid.items()},
        native,
        np.array(column("region"), dtype=str),
        np.array(column("source"), dtype=str),
    )


def _bend_of(name: str, *values: np.ndarray) -> Document:
    """How a parameter is compared: by ratios of sizes, or by differences, of signed fluxes beyond a usual size."""
    unit = unit_of(name, True) if name in parameters(on_demand=True) else "Mx"
    if unit in ("", "deg"):
        return {"kind": "linear"}
    if all(bool((v[np.isfinite(v)] >= 0).all()) for v in values):
        return {"kind": "log"}
    size = np.abs(np.concatenate(values))
    size = size[np.isfinite(size) & (size > 0)]
    return {"kind": "asinh", "softening": float(f"{np.median(size):.3g}")} if len(size) else {"kind": "linear"}


def _bent(name: str, bend: Entries, grid: np.ndarray, native: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Known pairs, transformed, and which they are; angles on the side of the grid's."""
    known = np.isfinite(grid) & np.isfinite(native)
    if bend["kind"] == "log":
        known &= (grid > 0) & (native > 0)
    x, y = (_bender(bend)(values[known]) for values in (grid, native))
    if DOMAINS.get(name) == (-90.0, 90.0):
        y = x + (y - x + 90.0) % 180.0 - 90.0
    return x, y, known


def _bender(bend: Entries, back: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    soft = bend.get("softening", 1.0)
    if bend["kind"] == "log":
        return np.exp if back else np.log
    if bend["kind"] == "asinh":
        return (lambda v: soft * np.sinh(v)) if back else (lambda v: np.arcsinh(v / soft))
    return lambda v: v


def _rising(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The nearest rising curve: an inverse is needed."""
    from sklearn.isotonic import IsotonicRegression

    risen = IsotonicRegression().fit_transform(x, y)
    return np.asarray(np.maximum.accumulate(risen - _STEEP * x) + _STEEP * x)


def _simulated(x: np.ndarray, y: np.ndarray) -> _Fit | None:
    """Median and band in bins of equal count."""
    if len(x) < _FEWEST:
        return None
    bins = np.array_split(np.argsort(x, kind="stable"), max(2, min(_KNOTS, len(x) // _IN_BIN)))
    at, middle = np.array([(x[k].mean(), np.median(y[k] - x[k])) for k in bins]).T
    # equal values on the grid can fill neighbouring bins
    keep = np.concatenate([[True], np.diff(at) > 1e-9 * max(1.0, float(np.abs(at).max()))])
    if keep.sum() < 2:
        return None
    rest = y - x - np.interp(x, at[keep], middle[keep])
    low, high = np.array([np.percentile(rest[k], (100 / 6, 500 / 6)) for k in bins]).T
    narrowest = _NARROWEST * min(1.0, float(np.ptp(at)))
    fit = _Fit(at[keep], _rising(at[keep], at[keep] + middle[keep]), -low[keep], high[keep])
    return replace(fit, down=np.maximum(fit.down, narrowest), up=np.maximum(fit.up, narrowest))


def _weights(region: np.ndarray) -> np.ndarray:
    """(N,) so that each region weighs one."""
    _, which, count = np.unique(region, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[which])


def _shift(fit: _Fit, at: np.ndarray, x: np.ndarray, rest: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """By how much observed patches lie above a curve at some places, less where they are few.

    The weighted median of those near each place: a patch whose box other regions share does not move it.
    """
    near = weight * np.exp(-0.5 * np.square((at[:, None] - x) / (_NEAR * max(float(np.ptp(fit.x)), 1e-12))))
    values = np.append(rest, 0.0)
    order = np.argsort(values)
    near = np.column_stack([near, np.full(len(at), _PRIOR)])[:, order]
    held = np.cumsum(near, axis=1) - 0.5 * near
    rows = zip(0.5 * near.sum(1), held, strict=True)
    return np.array([np.interp(half, row, values[order]) for half, row in rows])


def _rest(fit: _Fit, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y - x - np.interp(x, fit.x, fit.y - fit.x)


def _observed(fit: _Fit, x: np.ndarray, y: np.ndarray, region: np.ndarray) -> _Fit:
    """A curve shifted to observed patches, with a band that two thirds of them lie in, each region left out once."""
    if len(set(region.tolist())) < _FEWEST_REGIONS:
        return fit
    weight, rest = _weights(region), _rest(fit, x, y)
    left = np.empty(len(x))
    for one in np.unique(region):
        out = region == one
        left[out] = rest[out] - _shift(fit, x[out], x[~out], rest[~out], weight[~out])
    width = np.where(left > 0, np.interp(x, fit.x, fit.up), np.interp(x, fit.x, fit.down))
    # the quantile that holds for the next region: of so few, a little beyond the share
    share = min(_SHARE * (1.0 + 1.0 / len(set(region.tolist()))), 1.0)
    factor = min(_quantile(np.abs(left) / width, weight, share), 1.0)
    # what observed patches vary more than simulated ones adds to the band as independent errors do: multiplied, a band
    # would become widest where the simulated one is wide already
    more = max(_quantile(np.square(left) - np.square(width), weight, share), 0.0) if factor == 1.0 else 0.0
    moved = fit.y + _shift(fit, fit.x, x, rest, weight)
    narrowest = _NARROWEST * min(1.0, float(np.ptp(fit.x)))
    down, up = (np.maximum(np.sqrt(np.square(factor * side) + more), narrowest) for side in (fit.down, fit.up))
    return _Fit(fit.x, _rising(fit.x, moved), down, up)


def _quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Value below which a share of the weights (N,) lies."""
    order = np.argsort(values)
    held = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    return float(np.interp(share, held, values[order]))


def _curve(fit: _Fit, bend: Entries, grid: np.ndarray, native: np.ndarray) -> Document:
    """A fit as a model's metadata holds it."""
    log = bend["kind"] == "log"
    known = np.isfinite(grid) & np.isfinite(native) & ((grid > 0) if log else True)
    rows = {"grid": fit.x, "native": fit.y, "low": fit.y - fit.down, "high": fit.y + fit.up}
    told: Document = {**bend}
    told["range"] = [float(f"{v:.6g}") for v in (grid[known].min(), grid[known].max())]
    told |= {key: [float(f"{v:.8g}") for v in _bender(bend, back=True)(row)] for key, row in rows.items()}
    none = native[(grid == 0) & np.isfinite(native)]
    if log and len(none):
        told["zero_high"] = float(f"{np.percentile(none, 100 * _SHARE):.6g}")
    return told


def fit_pairs(grid: np.ndarray, native: np.ndarray, name: str = "") -> Document | None:
    """Curve from the values on the grid to the native ones, with the band that two thirds of the patches lie in.

    Parameters
    ----------
    grid, native
        (N,) each, of one kind of patches; pairs with NaN are left out, and pairs with a zero where ratios are taken.
    name
        The parameter, which says whether ratios are taken or differences; without it ratios where nothing is negative.

    Returns
    -------
    ``kind``, ``log``, ``asinh`` or ``linear``; ``range`` (2,) of the values on the grid; ``grid`` and ``native`` (K,),
    both rising; ``low``, ``high`` (K,), the ends of the band; ``zero_high``, the end of the band where the grid has
    none of it. None where fewer than forty pairs are left.
    """
    bend = _bend_of(name, grid, native)
    x, y, _ = _bent(name, bend, grid, native)
    fit = _simulated(x, y)
    return None if fit is None else _curve(fit, bend, grid, native)


def band_coverage(curve: Entries, grid: np.ndarray, native: np.ndarray, name: str = "") -> tuple[float, int]:
    """Share of patches whose native value lies in the band of a curve, and of how many with both values.

    Parameters
    ----------
    curve
        Of `fit_pairs`.
    grid, native
        (N,) each. Zeros count: a native value beside a grid that has none of it, or the other way round.
    """
    known = np.isfinite(grid) & np.isfinite(native)
    if not known.any():
        return float("nan"), 0
    low, high = NativeScale({"curves": {name: curve}}).bands(name, grid[known])
    inside = (native[known] >= low) & (native[known] <= high)
    if DOMAINS.get(name) == (-90.0, 90.0):
        middle = NativeScale({"curves": {name: curve}}).to_native(name, grid[known])
        turned = middle + (native[known] - middle + 90.0) % 180.0 - 90.0
        inside |= (turned >= low) & (turned <= high)
    return float(inside.mean()), int(known.sum())


def _fit_one(name: str, pairs: Pairs, rows: np.ndarray) -> Document | None:
    """Curve of a parameter on the given rows."""
    grid, native = pairs.grid[name], pairs.native[name]
    bend = _bend_of(name, grid, native)
    grid, native, source, region = grid[rows], native[rows], pairs.source[rows], pairs.region[rows]
    x, y, known = _bent(name, bend, grid, native)
    real = (source == "real")[known]
    # with few simulated patches the observed ones give the shape as well
    base = real if (~real).sum() < _FEWEST else ~real
    fit = _simulated(x[base], y[base])
    if fit is None:
        return None
    if real.any() and not base[real].any():
        fit = _observed(fit, x[real], y[real], region[known][real])
    return _curve(fit, bend, grid, native)


def _coverage(name: str, pairs: Pairs) -> dict[str, dict[str, float]]:
    """Share of each source's patches in the band, by curves that have not seen the region."""
    real = pairs.source == "real"
    part = np.array([zlib.crc32(one.encode()) % _PARTS for one in pairs.region])
    folds = [(real & (pairs.region == one), real) for one in np.unique(pairs.region[real])]
    folds += [(~real & (part == k), ~real) for k in range(_PARTS)]
    inside: dict[str, list[tuple[float, int, int]]] = {}
    for out, _ in folds:
        if not out.any():
            continue
        curve = _fit_one(name, pairs, ~out)
        if curve is None:
            continue
        share, number = band_coverage(curve, pairs.grid[name][out], pairs.native[name][out], name)
        if number:
            kind = str(pairs.source[out][0])
            inside.setdefault(kind, []).append((share * number, number, len(set(pairs.region[out].tolist()))))
    found = {}
    for kind, rows in sorted(inside.items()):
        hits, patches, regions = (sum(column) for column in zip(*rows, strict=True))
        found[kind] = {"share": float(f"{hits / patches:.3g}"), "patches": patches, "regions": regions}
    return found


def fit_native(pairs: Pairs, names: Iterable[str] | None = None) -> Document:
    """Curves from the grid to native scale, for a model's metadata.

    Parameters
    ----------
    pairs
        Of `grid_pairs`: simulated patches, observed ones, or both.
    names
        Parameters; None for all that are measured and take more than two values.

    Returns
    -------
    ``{"version", "patches", "regions", "fitted_on", "band", "curves": {name: …}}``, plain JSON. ``fitted_on`` counts
    patches and regions by source (simulated, real). Each curve, as of `fit_pairs`, has ``coverage``: source to the
    ``share`` of its ``patches`` of ``regions`` whose native value lies in the band, by curves that have not seen their
    region: observed regions are left out one by one, simulated ones in five parts.

    Raises
    ------
    SolqueryError
        Where there are fewer than forty patches.
    """
    if len(pairs.region) < _FEWEST:
        raise SolqueryError(
            f"a calibration takes at least {_FEWEST} radial patches with a scale, there are {len(pairs.region)}; "
            "simulate some (`solquery simulate`) or name another archive"
        )
    curves: Document = {}
    everything = np.ones(len(pairs.region), bool)
    for name in pairs.grid if names is None else names:
        values = pairs.grid[name]
        # what is made of others follows from their curves
        if name in DERIVED or len(np.unique(values[np.isfinite(values)])) <= 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            curve = _fit_one(name, pairs, everything)
            if curve is not None:
                curves[name] = {**curve, "coverage": _coverage(name, pairs)}
    return {
        "version": 2,
        "patches": len(pairs.region),
        "regions": len(set(pairs.region.tolist())),
        "band": _SHARE,
        "fitted_on": {
            str(kind): {
                "patches": int((pairs.source == kind).sum()),
                "regions": len(set(pairs.region[pairs.source == kind].tolist())),
            }
            for kind in np.unique(pairs.source)
        },
        "curves": curves,
    }
