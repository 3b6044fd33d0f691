"""What the header of a SHARP says of the quantities that are measured here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["MM2_PER_MICROHEMISPHERE", "MM_PER_DEGREE", "HeaderValue", "header_values", "number_or_nan"]

#: a degree of arc on the Sun, by the scale of SHARP CEA maps (0.03 degrees are 0.364425 Mm)
MM_PER_DEGREE = 0.364425 / 0.03
#: a millionth of the visible hemisphere: 2 pi R^2 / 1e6
MM2_PER_MICROHEMISPHERE = 2.0 * math.pi * (MM_PER_DEGREE * 180.0 / math.pi) ** 2 * 1e-6


class HeaderValue(NamedTuple):
    """A value of a header, in the unit of our parameter, and the keywords it comes from."""

    value: float
    unit: str
    keyword: str


def number_or_nan(value: Any) -> float:
    """A keyword as a number; NaN for text, blanks and what is not there."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def header_values(keywords: Mapping[str, Any]) -> dict[str, HeaderValue]:
    """Parameters of which a SHARP header has a value of its own: name to that value; what it lacks is left out.

    USFLUX for TUF (over the pixels of the region whose azimuth is trusted, where TUF takes them all), AREA_ACR for
    the area (active pixels, whatever their field), R_VALUE, and separation and direction of the flux-weighted centres
    of the polarities, LATFWTPO, LONFWTPO, LATFWTNE and LONFWTNE.
    """
    got = {
        "tuf": HeaderValue(number_or_nan(keywords.get("USFLUX")), "Mx", "USFLUX"),
        "area": HeaderValue(number_or_nan(keywords.get("AREA_ACR")) * MM2_PER_MICROHEMISPHERE, "Mm2", "AREA_ACR"),
        "r_value": HeaderValue(number_or_nan(keywords.get("R_VALUE")), "", "R_VALUE"),
    }
    plus, minus = (
        [number_or_nan(keywords.get(f"{axis}FWT{sign}")) for axis in ("LAT", "LON")] for sign in ("PO", "NE")
    )
    north = plus[0] - minus[0]
    west = (plus[1] - minus[1]) * math.cos(math.radians(0.5 * (plus[0] + minus[0])))
    source = "LATFWTPO, LONFWTPO, LATFWTNE, LONFWTNE"
    got["psep"] = HeaderValue(math.hypot(north, west) * MM_PER_DEGREE, "Mm", source)
    got["axis_angle"] = HeaderValue(math.degrees(math.atan2(north, west)), "deg", source)
    if west != 0:
        lead = math.copysign(1.0, west) if not math.isnan(west) else math.nan
        got["tilt"] = HeaderValue(math.degrees(math.atan2(lead * north, lead * west)), "deg", source)
        got["polarity"] = HeaderValue(lead, "", source)
    return {name: entry for name, entry in got.items() if math.isfinite(entry.value)}
