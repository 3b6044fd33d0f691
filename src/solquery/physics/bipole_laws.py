"""Joy's and Hale's laws: whether a bipole keeps them, once hemisphere and cycle are known."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ..errors import SolqueryError
from ..patch import MX_PER_G_MM2, Patch, observation_time
from .noise import ErrorEstimate, parameter_errors
from .region import own_field
from .registry import measure_arrays

__all__ = ["CYCLE_STARTS", "Laws", "Verdict", "hale", "joy", "laws", "polarity_fluxes", "solar_cycle"]

#: minima of the 13-month smoothed sunspot number (SILSO, Royal Observatory of Belgium): the first month of each cycle
CYCLE_STARTS = {
    22: datetime(1986, 9, 1, tzinfo=UTC),
    23: datetime(1996, 8, 1, tzinfo=UTC),
    24: datetime(2008, 12, 1, tzinfo=UTC),
    25: datetime(2019, 12, 1, tzinfo=UTC),
}
#: from here on no cycle is assigned: cycle 25 will have ended
_LAST = datetime(2031, 1, 1, tzinfo=UTC)


def solar_cycle(time: datetime | str) -> int | None:
    """Number of the solar cycle at a time; None before 1986 or after 2030.

    Regions of the old and of the new cycle overlap for a year or two about the minimum: a new cycle's lie beyond 20
    degrees of latitude, an old one's nearer to the equator. Here the date alone decides.
    """
    moment = observation_time(time) if isinstance(time, str) else time
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    begun = [cycle for cycle, start in CYCLE_STARTS.items() if start <= moment]
    return max(begun) if begun and moment < _LAST else None


def joy(tilt_deg: float, latitude_deg: float) -> bool | None:
    """Whether the leading polarity lies nearer to the equator than the following one (Hale et al. 1919).

    Parameters
    ----------
    tilt_deg
        Parameter ``tilt``: positive with the leading polarity further north.
    latitude_deg
        Heliographic latitude of the region.

    Returns
    -------
    True for Joy's tilt, False for the other, None where an angle is unknown, or where either is zero.
    """
    product = float(tilt_deg) * float(latitude_deg)
    return None if np.isnan(product) or product == 0 else product < 0


def hale(polarity: float, latitude_deg: float, time: datetime | str | int) -> bool | None:
    """Whether the leading polarity is the one that Hale's law has for hemisphere and cycle (Hale & Nicholson 1925).

    In even cycles (24) negative leads in the north and positive in the south, in odd ones (25) the other way round.

    Parameters
    ----------
    polarity
        Parameter ``polarity``, sign of the leading polarity.
    latitude_deg
        Heliographic latitude of the region.
    time
        Of the observation, or the number of the cycle.

    Returns
    -------
    True for Hale's order, False for anti-Hale, None where something is unknown.
    """
    cycle = time if isinstance(time, int) else solar_cycle(time)
    product = float(polarity) * float(latitude_deg)
    if cycle is None or np.isnan(product) or product == 0:
        return None
    return product < 0 if cycle % 2 == 0 else product > 0


class Verdict(NamedTuple):
    """Whether a law is kept.

    Attributes
    ----------
    state
        ``kept``, ``broken`` or ``undetermined``.
    significance
        By how many standard errors the angle that decides lies on its side; NaN where it was not worked out.
    reasons
        Why it is undetermined; empty where it is not.
    """

    state: str
    significance: float
    reasons: tuple[str, ...] = ()


class Laws(NamedTuple):
    """Verdicts of one region, the number of its cycle (None: unknown), and the tilt they were decided on.

    ``tilt_deg`` is the tilt less its bias, ``tilt_error_deg`` its standard error with that of the choice of pixels.
    """

    joy: Verdict
    hale: Verdict
    cycle: int | None
    tilt_deg: float = math.nan
    tilt_error_deg: float = math.nan


#: a verdict takes so many standard errors
SIGNIFICANT = 2.0
#: nearer to the limb the disambiguation decides, patch by patch, which sign the radial field has; every other number
#: of such a frame has the caveat ``limb`` too
LEAST_MU = 0.5
#: with more of the patch missing its centroids are not the region's
MOST_MISSING = 0.1
#: share of the region's own flux that the weaker polarity must have
LEAST_SHARE = 0.15
#: fields from which the centroids are taken; a bipole has the same tilt from each of them
_THRESHOLDS_GAUSS = (150.0, 300.0, 500.0)
#: a tilt is not known better, whatever the noise: regions turn by so much within hours
_TILT_FLOOR_DEG = 0.5


def laws(patch: Patch, tilt: ErrorEstimate | None = None) -> Laws:
    """Joy's and Hale's law for a patch, from its own latitude, time, tilt and leading polarity.

    Undetermined where the region has no two polarities (the weaker one has under 15 % of the region's own flux, or none
    beyond 300 G), lies at μ < 0.5, misses more than a tenth of its pixels, has no scale, latitude or cycle, and where
    the angle that decides is smaller than two standard errors: for Joy's law the tilt, for Hale's that between the axis
    and the meridian. The error is that of the noise together with the spread of the tilt over the choice of pixels
    (beyond 150, 300 and 500 G, and those of FLUX).

    Parameters
    ----------
    patch
        A patch with scale, latitude and time.
    tilt
        Bias and error of its tilt (`parameter_errors`); None estimates them from the patch's quiet pixels, and takes
        simulated and generated patches that have none for free of noise.
    """
    cycle = solar_cycle(patch.t_rec)
    reasons = _obstacles(patch)
    if reasons:
        return Laws(_undetermined(*reasons), _undetermined(*reasons), cycle)
    angles = _axes(np.asarray(patch.field, dtype=np.float32), patch.scale_mm)
    if tilt is None:
        tilt = _tilt_error(patch)
    noise = tilt.error if math.isfinite(tilt.error) else math.inf
    # the tilt's bias is the axis's
    axis = angles[0] - (tilt.bias if math.isfinite(tilt.bias) else 0.0)
    turned = np.array([(a - angles[0] + 180.0) % 360.0 - 180.0 for a in angles])
    error = math.sqrt(noise**2 + float(turned.std()) ** 2 + _TILT_FLOOR_DEG**2)
    x, y = math.cos(math.radians(axis)), math.sin(math.radians(axis))
    sign = math.copysign(1.0, x)
    slope = math.degrees(math.atan2(sign * y, abs(x)))
    decided = (
        _verdict(joy(slope, patch.latitude_deg), abs(slope) / error, "the tilt is within two standard errors of none"),
        _verdict(
            None if cycle is None else hale(sign, patch.latitude_deg, cycle),
            (90.0 - abs(slope)) / error,
            "no cycle is known for the time"
            if cycle is None
            else "the axis is within two standard errors of a meridian",
        ),
    )
    return Laws(*decided, cycle, slope, error)


def _undetermined(*reasons: str) -> Verdict:
    return Verdict("undetermined", math.nan, reasons)


def _verdict(kept: bool | None, significance: float, doubt: str) -> Verdict:
    if kept is None or not significance >= SIGNIFICANT:
        return Verdict("undetermined", significance, (doubt,))
    return Verdict("kept" if kept else "broken", significance)


def _obstacles(patch: Patch) -> list[str]:
    """What keeps a verdict from being sought at all."""
    out = []
    if patch.scale_mm is None:
        return ["the grid has no scale"]
    if not math.isfinite(patch.latitude_deg):
        out.append("the latitude is not known")
    if patch.mu < LEAST_MU:
        out.append(f"μ = {patch.mu:.2f}: near the limb")
    if patch.missing_fraction > MOST_MISSING:
        out.append(f"{patch.missing_fraction:.0%} of the pixels are missing")
    plus, minus = polarity_fluxes(patch.field, patch.scale_mm)
    share = min(plus, minus) / (plus + minus) if plus + minus > 0 else 0.0
    strong = [np.nanmax(sign * np.asarray(patch.field), initial=0.0) > _THRESHOLDS_GAUSS[1] for sign in (1, -1)]
    if share < LEAST_SHARE or not all(strong):
        out.append(f"the weaker polarity has {share:.0%} of the region's own flux")
    return out


def polarity_fluxes(field: np.ndarray, scale_mm: tuple[float, float]) -> tuple[float, float]:
    """Flux of each polarity over the pixels of FLUX, positive and negative, both as numbers from 0 on, Mx."""
    own = own_field(field, scale_mm) * MX_PER_G_MM2 * scale_mm[0] * scale_mm[1]
    return float(own[own > 0].sum(dtype=np.float64)), float(-own[own < 0].sum(dtype=np.float64))


def _axes(field: np.ndarray, scale_mm: tuple[float, float] | None) -> list[float]:
    """Direction of the bipole in degrees by each choice of pixels that has both polarities; that of TILT first."""
    assert scale_mm is not None
    values = np.nan_to_num(field, nan=0.0, posinf=0.0, neginf=0.0)
    fields = [np.where(np.abs(values) > limit, values, np.float32(0.0)) for limit in _THRESHOLDS_GAUSS]
    # weights make a field weaker than the threshold of the centroids: only their ratios matter
    own = own_field(values, scale_mm) * np.float32(1e4)
    found = measure_arrays(np.stack([*fields, own]), scale_mm, "axis_angle")["axis_angle"].tolist()
    return [angle for angle in found if math.isfinite(angle)]


def _tilt_error(patch: Patch) -> ErrorEstimate:
    try:
        return parameter_errors(patch.field, patch.scale_mm, None, ["axis_angle"], quantity=patch.quantity)[
            "axis_angle"
        ]
    except SolqueryError:
        if patch.source == "real":
            raise
        return ErrorEstimate(0.0, 0.0)
