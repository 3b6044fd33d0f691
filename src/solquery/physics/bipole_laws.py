"""Joy's and Hale's laws: whether a bipole keeps them, once hemisphere and cycle are known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ..patch import Patch, observation_time
from .registry import measure

__all__ = ["CYCLE_STARTS", "Laws", "hale", "joy", "laws", "solar_cycle"]

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


class Laws(NamedTuple):
    """Flags of one region; None: unknown."""

    joy: bool | None
    hale: bool | None
    cycle: int | None


def laws(patch: Patch) -> Laws:
    """Joy's and Hale's law for a patch, from its own latitude, time, tilt and leading polarity.

    Unknown on a patch without scale, whose angles are not those on the Sun.
    """
    cycle = solar_cycle(patch.t_rec)
    if patch.scale_mm is None:
        return Laws(None, None, cycle)
    got = measure(patch.field, patch.scale_mm, ("tilt", "polarity"))
    tilt, sign = float(got["tilt"][0]), float(got["polarity"][0])
    order = None if cycle is None else hale(sign, patch.latitude_deg, cycle)
    return Laws(joy(tilt, patch.latitude_deg), order, cycle)
