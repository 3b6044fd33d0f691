"""What a parameter of a line-of-sight field would be of the radial one, with its band."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import SolqueryError
from ..patch import Patch
from .observed import measure_within, region_window
from .registry import get_parameter

__all__ = ["LEAST", "NAMES", "RadialEstimate", "features", "radial_estimates"]

#: parameters that can be estimated
NAMES = ("flux", "tuf", "tpf", "tnf", "area")
#: Mx or Mm2 below which no region was at hand
LEAST = {"flux": 3e19, "tuf": 3e20, "tpf": 1e20, "tnf": 1e20, "area": 50.0}
#: strength at which the second feature is 0, Mx or Mm2
_UNIT = {"flux": 1e22, "tuf": 1e22, "tpf": 1e22, "tnf": 1e22, "area": 1e3}
#: log(radial / seen) = a + b (1 / mu^2 - 1) + c log10(seen / unit), and its scatter; scripts/calibrate_line_of_sight.py
_LAWS = {
    "flux": (0.251, 0.238, -0.213, 0.160),
    "tuf": (0.402, 0.310, -0.166, 0.231),
    "tpf": (0.156, 0.320, -0.112, 0.183),
    "tnf": (0.156, 0.320, -0.112, 0.183),
    "area": (0.104, 0.389, -0.117, 0.136),
}
#: how they were fitted, for a reader
_BASIS = "19 pairs of SHARP frames of 9 regions, March 2012 and HARP 377, μ > 0.5"


class RadialEstimate(NamedTuple):
    """An estimate of the value that the radial field would give; two thirds of the pairs lie within low and high."""

    value: float
    low: float
    high: float
    basis: str


def features(name: str, mu: ArrayLike, seen: ArrayLike) -> np.ndarray:
    """(N, 3): one, 1 / mu^2 - 1, and the decimal logarithm of the value `seen` in the unit of the law."""
    mu, seen = np.atleast_1d(np.asarray(mu, dtype=np.float64)), np.atleast_1d(np.asarray(seen, dtype=np.float64))
    return np.stack([np.ones_like(mu), 1.0 / mu**2 - 1.0, np.log10(seen / _UNIT[name])], 1)


def radial_estimates(patch: Patch, names: Iterable[str] = NAMES) -> dict[str, RadialEstimate]:
    """Estimates of the radial parameters of a line-of-sight patch.

    The field is divided by μ, as if it were radial everywhere, and measured; the ratio to what the radial field of the
    same instant gives was fitted against μ and strength. It stands for field that is not radial (penumbrae, filaments
    away from disc centre) and for the noise of the transverse field: the band is wide.

    Parameters
    ----------
    patch
        Of quantity ``line-of-sight``, with scale and μ.
    names
        Of `NAMES`.

    Returns
    -------
    Name to estimate in Mx or Mm2; what lies below the weakest region of the fit is left out.

    Raises
    ------
    SolqueryError
        For a patch that is not along the line of sight, has no scale or lies at μ < 0.5, and for another parameter.
    """
    wanted = [get_parameter(name).name for name in names]
    other = [name for name in wanted if name not in NAMES]
    if other:
        raise SolqueryError(f"{other[0]!r} cannot be estimated from the line of sight; there are: {', '.join(NAMES)}")
    if patch.quantity != "line-of-sight":
        raise SolqueryError(f"{patch.id} is a {patch.quantity} field: measure it as it is")
    if patch.scale_mm is None or not patch.mu >= 0.5:
        lack = "no scale" if patch.scale_mm is None else f"μ = {patch.mu:.2f}"
        raise SolqueryError(
            f"{patch.id} has {lack}: radial values can be estimated where the scale is known and μ is 0.5 or more"
        )
    seen = measure_within(np.asarray(patch.field) / patch.mu, patch.scale_mm, wanted, region_window(patch))
    out = {}
    for name in wanted:
        value = float(seen[name][0])
        if value <= LEAST[name]:
            continue
        *law, scatter = _LAWS[name]
        value *= math.exp(float(features(name, patch.mu, value)[0] @ np.array(law)))
        out[name] = RadialEstimate(value, value * math.exp(-scatter), value * math.exp(scatter), _BASIS)
    return out
