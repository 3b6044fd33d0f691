"""What the header of a SHARP says of the quantities that are measured here."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..aliases import Keywords

__all__ = ["MM2_PER_MICROHEMISPHERE", "MM_PER_DEGREE", "HeaderValue", "header_values", "number_or_nan"]

#: a degree of arc on the Sun, by the scale of SHARP CEA maps (0.03 degrees are 0.364425 Mm)
MM_PER_DEGREE = 0.364425 / 0.03
#: a millionth of the visible hemisphere: 2 pi R^2 / 1e6
MM2_PER_MICROHEMISPHERE = 2.0 * math.pi * (MM_PER_DEGREE * 180.0 / math.pi) ** 2 * 1e-6


class HeaderValue(NamedTuple):
    """A value of a header, in the unit of our parameter, the keywords it comes from, and why the two differ."""

    value: float
    unit: str
    keyword: str
    reason: str = ""


def number_or_nan(value: Any) -> float:
    """A keyword as a number; NaN for text, blanks and what is not there."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


#: why a value of the header differs from the parameter, for radial fields and for those along the line of sight
_REASONS = {
    "flux": "USFLUX counts pixels of the region's bitmap whose azimuth is trusted; flux finds the region in the field",
    "tuf": "USFLUX leaves out what lies outside of the region or is not trusted; tuf sums the noise of the box too",
    "area": "AREA_ACR counts active pixels of the line-of-sight field in the region; area all pixels beyond 150 G",
    "flux_area": "AREA_ACR counts active pixels of the line-of-sight field, fewer towards the limb",
    "r_value": "R_VALUE is made of the line-of-sight field; from a radial one this is not the keyword's definition",
    "psep": "the header's centres are those of the line-of-sight field over the active pixels of the bitmap",
}
for _name in ("axis_angle", "tilt", "polarity"):
    _REASONS[_name] = _REASONS["psep"]
#: of these the line-of-sight field changes the reason
_LINE_OF_SIGHT = {
    "flux": "USFLUX is the flux of the radial field; this is the line-of-sight one, smaller away from disc centre",
    "tuf": "USFLUX is the flux of the region's radial field; this is the box's line-of-sight one, noise included",
    "r_value": "the same definition; rounding",
}


def header_values(keywords: Keywords, quantity: str = "radial") -> dict[str, HeaderValue]:
    """Parameters of which a SHARP header has a value of its own: name to that value; what it lacks is left out.

    USFLUX for FLUX and TUF, AREA_ACR for the areas, R_VALUE, and separation and direction of the flux-weighted centres
    of the polarities, LATFWTPO, LONFWTPO, LATFWTNE and LONFWTNE. Each comes with the reason why it differs from what is
    measured on a field of that `quantity` (``radial`` or ``line-of-sight``).
    """
    flux = HeaderValue(number_or_nan(keywords.get("USFLUX")), "Mx", "USFLUX")
    area = HeaderValue(number_or_nan(keywords.get("AREA_ACR")) * MM2_PER_MICROHEMISPHERE, "Mm2", "AREA_ACR")
    got = {
        "flux": flux,
        "tuf": flux,
        "area": area,
        "flux_area": area,
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
    reasons = _REASONS | _LINE_OF_SIGHT if quantity == "line-of-sight" else _REASONS
    return {n: entry._replace(reason=reasons[n]) for n, entry in got.items() if math.isfinite(entry.value)}
