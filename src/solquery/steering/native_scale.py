"""From the grid to the observation: what a number measured on a preset's grid is worth at the native scale.

A coarse pixel averages: opposite polarities within it cancel, thin lines widen, noise is lost, and what lies beyond the
view is not there. So a flux on the grid is lower than the flux of the same region in HMI's own pixels. An archive knows
both numbers for each of its patches; the curve between them, with its scatter, turns one into the other.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..archive.grid_names import where_on_grid
from ..config import get_preset
from ..errors import SolqueryError
from .latents import SteeringWarning

if TYPE_CHECKING:
    from ..archive.store import Archive

__all__ = ["NATIVE_KEY", "band_coverage", "fit_native", "fit_pairs", "native_estimates"]

#: where a model's metadata holds the curves
NATIVE_KEY = "native_scale"
#: parameters that change with the pixel and are never negative
PARAMETERS = ("flux", "tuf", "tpf", "tnf", "area", "r", "psep", "grad")
_KNOTS = 25
#: parts of the regions, by a sum over their names, of which each is left out once
_PARTS = 5
#: fewer pairs than this make no curve
_FEWEST = 40


def fit_pairs(grid: np.ndarray, native: np.ndarray) -> dict[str, list[float]] | None:
    """Curve of the native value over the value on the grid, with the band that two thirds of the patches lie in.

    Parameters
    ----------
    grid, native
        (N,) each; pairs with NaN or without a positive value on both sides are left out.

    Returns
    -------
    ``range`` (2,) of the values on the grid; ``grid`` (K,) rising; ``middle``, ``low``, ``high`` (K,): median, 16th and
    84th percentile of native / grid in bins of equal count. None where fewer than forty pairs are left.
    """
    known = np.isfinite(grid) & np.isfinite(native) & (grid > 0) & (native > 0)
    if known.sum() < _FEWEST:
        return None
    grid, ratio = grid[known], native[known] / grid[known]
    bins = np.array_split(np.argsort(grid, kind="stable"), min(_KNOTS, known.sum() // 20))
    rows = [(np.exp(np.log(grid[k]).mean()), *np.percentile(ratio[k], (50, 16, 84))) for k in bins]
    at, middle, low, high = np.array(rows).T
    # equal values on the grid can fill neighbouring bins
    keep = np.concatenate([[True], np.diff(at) > 0])
    names = ("grid", "middle", "low", "high")
    curve = {
        name: [float(f"{v:.6g}") for v in values[keep]]
        for name, values in zip(names, (at, middle, low, high), strict=True)
    }
    return {"range": [float(f"{v:.6g}") for v in (grid.min(), grid.max())], **curve}


def band_coverage(curve: Mapping[str, list[float]], grid: np.ndarray, native: np.ndarray) -> tuple[float, int]:
    """Share of patches whose native value lies in the band of a curve, and of how many; the band is one of two thirds.

    Parameters
    ----------
    curve
        Of `fit_pairs`.
    grid, native
        (N,) each; pairs without a positive value on both sides are left out.
    """
    known = np.isfinite(grid) & np.isfinite(native) & (grid > 0) & (native > 0)
    if not known.any():
        return float("nan"), 0
    grid, ratio = grid[known], native[known] / grid[known]
    low, high = (np.interp(np.log(grid), np.log(curve["grid"]), curve[key]) for key in ("low", "high"))
    return float(np.mean((ratio >= low) & (ratio <= high))), int(known.sum())


def _measured_coverage(
    grid: np.ndarray, native: np.ndarray, regions: np.ndarray, source: np.ndarray
) -> dict[str, dict[str, float]]:
    """Coverage per source by curves that have not seen the region: five parts of the regions, each left out once."""
    part = np.array([zlib.crc32(str(region).encode()) % _PARTS for region in regions])
    curves = {k: fit_pairs(grid[part != k], native[part != k]) for k in range(_PARTS)}
    out = {}
    for kind in sorted(set(source.tolist())):
        inside = total = 0.0
        for k, curve in curves.items():
            mine = (part == k) & (source == kind)
            share, number = (float("nan"), 0) if curve is None else band_coverage(curve, grid[mine], native[mine])
            if number:
                inside, total = inside + share * number, total + number
        if total:
            out[str(kind)] = {"share": float(f"{inside / total:.3g}"), "patches": int(total)}
    return out


def fit_native(archive: Archive, preset_name: str, names: Iterable[str] = PARAMETERS) -> dict[str, Any]:
    """Curves for the parameters of an archive that was embedded with a model of the preset.

    Parameters
    ----------
    archive
        Its columns ``grid_<name>`` and ``<name>`` are compared, row by row.
    preset_name
        Rows measured on the grid of another preset are left out.

    Returns
    -------
    ``{"patches", "regions", "fitted_on", "curves": {name: …}}``, plain JSON, for a model's metadata. ``fitted_on``
    counts patches and regions by source (simulated, real). Each curve has ``coverage``: source to the ``share`` of its
    ``patches`` whose native value lies in the band, by curves that have not seen their region.

    Raises
    ------
    SolqueryError
        When no row has both values.
    """
    names = [name for name in names if {name, f"grid_{name}"} <= set(archive.columns)]
    advice = "embed it first: a search with a model of that preset does"
    if not names or "grid_preset" not in archive.columns:
        raise SolqueryError(f"{archive.uri} was not measured on the grid of preset {preset_name!r}; {advice}")
    columns = ["region", "source", *names, *(f"grid_{name}" for name in names)]
    table = archive.table(columns=columns, where=where_on_grid(archive.columns, get_preset(preset_name)))
    if len(table) < _FEWEST:
        raise SolqueryError(
            f"{archive.uri} has {len(table)} patches on the grid of preset {preset_name!r}, {_FEWEST} are needed; "
            + advice
        )

    def column(name: str) -> np.ndarray:
        return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)

    region, source = (np.array(table.column(key).to_pylist(), dtype=str) for key in ("region", "source"))
    curves: dict[str, Any] = {}
    for name in names:
        grid, native = column(f"grid_{name}"), column(name)
        curve = fit_pairs(grid, native)
        if curve is not None:
            curves[name] = {**curve, "coverage": _measured_coverage(grid, native, region, source)}
    return {
        "patches": len(table),
        "regions": len(set(region.tolist())),
        "fitted_on": {
            kind: {"patches": int((source == kind).sum()), "regions": len(set(region[source == kind].tolist()))}
            for kind in sorted(set(source.tolist()))
        },
        "curves": curves,
    }


def native_estimates(record: Mapping[str, Any] | None, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What values on the grid are worth at native scale.

    Parameters
    ----------
    record
        Of `fit_native`; None or empty gives nothing.
    values
        Parameter to number on the grid, in Mx, Mm and what follows from them.

    Returns
    -------
    Parameter to ``value``, ``low`` and ``high`` (two thirds of the archive's patches lie between), same unit; and
    ``coverage_real``, the share of observed patches that were found in the band, where it was measured.

    Warns
    -----
    SteeringWarning
        For a value outside the range that the curve was measured on by more than a tenth; the end's ratio is used.
    """
    out = {}
    for name, curve in (record or {}).get("curves", {}).items():
        value = values.get(name)
        if value is None or not np.isfinite(value) or value <= 0:
            continue
        at = np.log(curve["grid"])
        lowest, highest = curve["range"]
        if not 0.9 * lowest <= value <= 1.1 * highest:
            warnings.warn(
                f"{name} = {value:.3g} lies outside what its native-scale curve was measured on "
                f"({lowest:.3g} to {highest:.3g})",
                SteeringWarning,
                stacklevel=2,
            )
        out[name] = {
            key: float(value * np.interp(np.log(value), at, curve[source]))
            for key, source in (("value", "middle"), ("low", "low"), ("high", "high"))
        }
        real = curve.get("coverage", {}).get("real")
        if real is not None:
            out[name]["coverage_real"] = float(real["share"])
    return out
