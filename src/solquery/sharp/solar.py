"""Where the Sun's central meridian is at a time, seen from the Earth: for headers that leave CRLN_OBS out."""

from __future__ import annotations

import math
from datetime import UTC, datetime

__all__ = ["carrington_longitude_of_earth"]

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


def carrington_longitude_of_earth(time: datetime) -> float:
    """Carrington longitude of the central meridian of the disk as the Earth sees it, degrees, within 0.1 degree.

    Meeus, Astronomical Algorithms (1998), chapter 29, with the light travel time of the mean distance left in, as the
    Carrington system has it.

    Parameters
    ----------
    time
        With its time zone.
    """
    days = (time - _J2000).total_seconds() / 86400.0 + 65.0 / 86400.0  # to dynamical time
    century = days / 36525.0
    julian = days + 2451545.0
    rotation = (julian - 2398220.0) * 360.0 / 25.38
    node = math.radians(73.6667 + 1.3958333 * (julian - 2396758.0) / 36525.0)
    tilt = math.radians(7.25)
    mean = 280.46646 + 36000.76983 * century + 0.0003032 * century**2
    anomaly = math.radians(357.52911 + 35999.05029 * century - 0.0001537 * century**2)
    centre = (
        (1.914602 - 0.004817 * century) * math.sin(anomaly)
        + (0.019993 - 0.000101 * century) * math.sin(2 * anomaly)
        + 0.000289 * math.sin(3 * anomaly)
    )
    apparent = math.radians(mean + centre - 0.00569)
    along = math.atan2(-math.sin(apparent - node) * math.cos(tilt), -math.cos(apparent - node))
    return (math.degrees(along) - rotation) % 360.0
