"""Where on the Sun the centre of an image lies, by its coordinates and the observer that its header names."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..aliases import Keywords
from ..patch import observation_time
from .solar import carrington_longitude_of_earth
from .wcs_header import PAIRS, axis_types, number, text

__all__ = ["Place", "place_of", "place_without_scale"]


class Place(NamedTuple):
    """Where the centre of an image is; NaN where unknown. Degrees, and mu, the cosine of the heliocentric angle."""

    latitude_deg: float = math.nan
    longitude_deg: float = math.nan
    carrington_deg: float = math.nan
    b0_deg: float = math.nan
    mu: float = math.nan


def place_without_scale(keywords: Keywords) -> Place:
    """Place of an image that says where it is and not how large: that of its reference pixel."""
    kinds = axis_types(keywords)
    lon = 0 if kinds[0][:4] in PAIRS else 1
    if kinds[lon][:4] not in ("CRLN", "HGLN"):
        return Place()
    return place_of(
        keywords, kinds[lon][:4], (number(keywords.get(f"CRVAL{lon + 1}")), number(keywords.get(f"CRVAL{2 - lon}")))
    )


def place_of(keywords: Keywords, frame: str, centre: tuple[float, float]) -> Place:
    """Place of a centre (longitude, latitude) in a frame, with the observer that the header names.

    mu = sin B0 sin(latitude) + cos B0 cos(latitude) cos(longitude from the observer's meridian).
    """
    longitude, latitude = centre
    if not abs(latitude) <= 90.0:
        latitude = math.nan
    b0 = number(keywords.get("CRLT_OBS"))
    b0 = number(keywords.get("HGLT_OBS")) if math.isnan(b0) else b0
    aside = number(keywords.get("HGLN_OBS"))
    meridian = number(keywords.get("CRLN_OBS"))
    if math.isnan(meridian) and not math.isnan(aside):
        time = observation_time(
            text(keywords.get("T_OBS")) or text(keywords.get("DATE-OBS")) or text(keywords.get("T_REC"))
        )
        if time is not None:
            meridian = (carrington_longitude_of_earth(time) + aside) % 360.0
    # an observer who says nothing of it is on the line from the Sun to the Earth
    aside = 0.0 if math.isnan(aside) else aside
    if frame == "CRLN":
        carrington, from_meridian = longitude % 360.0, longitude - meridian
    else:
        carrington, from_meridian = (longitude - aside + meridian) % 360.0, longitude - aside
    stonyhurst = (from_meridian + aside + 180.0) % 360.0 - 180.0
    tip, lat, lon = math.radians(b0), math.radians(latitude), math.radians(from_meridian)
    mu = math.sin(tip) * math.sin(lat) + math.cos(tip) * math.cos(lat) * math.cos(lon)
    return Place(latitude, stonyhurst, carrington, b0, mu)
