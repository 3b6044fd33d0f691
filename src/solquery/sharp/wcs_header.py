"""The keywords of world coordinates in the spelling of FITS; what SolarSoft and others write is translated."""

from __future__ import annotations

import math
import re
from typing import Any

from ..aliases import Header, Keywords
from .unreadable import UnreadableFits

__all__ = [
    "ANGLES", "LENGTHS_MM", "PAIRS", "PARTNERS", "RSUN_MM", "SKY_KEYWORDS", "axis_types", "axis_unit", "has_steps",
    "number", "sky_header", "text",
]  # fmt: skip

RSUN_MM = 696.0
PAIRS = {"CRLN": "CRLT", "HGLN": "HGLT", "HPLN": "HPLT"}
PARTNERS = {**PAIRS, **{lat: lon for lon, lat in PAIRS.items()}}
_SOLARSOFT = {"SOLAR_X": "HPLN-TAN", "SOLAR_Y": "HPLT-TAN", "SOLAR-X": "HPLN-TAN", "SOLAR-Y": "HPLT-TAN"}
ANGLES = {
    **dict.fromkeys(("deg", "degs", "degree", "degrees"), "deg"),
    **dict.fromkeys(("arcsec", "arcsecs", "arcsecond", "arcseconds", '"', "asec"), "arcsec"),
    **dict.fromkeys(("arcmin", "arcmins", "arcminute", "arcminutes", "'"), "arcmin"),
    **dict.fromkeys(("rad", "rads", "radian", "radians"), "rad"),
    **dict.fromkeys(("mas", "milliarcsec"), "mas"),
}
LENGTHS_MM = {"mm": None, "Mm": 1.0, "megameter": 1.0, "megametre": 1.0, "km": 1e-3, "m": 1e-6, "cm": 1e-8}
SKY_KEYWORDS = re.compile(r"^(CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA)[12]$|^(CD|PC)[12]_[12]$|^PV[12]_\d$|^L(ON|AT)POLE$")


def number(value: Any) -> float:
    """A finite number, also from text; NaN for everything else."""
    if isinstance(value, bool) or value is None:
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def text(value: object) -> str:
    """Text without blanks around it; empty for what is no text."""
    return value.strip() if isinstance(value, str) else ""


def axis_types(keywords: Keywords) -> tuple[str, str]:
    """CTYPE1 and CTYPE2 in capitals, those of SolarSoft as FITS writes them; one that is absent follows the other."""
    found = [text(keywords.get(f"CTYPE{axis}")).upper() for axis in (1, 2)]
    found = [_SOLARSOFT.get(name, name) for name in found]
    for here, other in ((0, 1), (1, 0)):
        if not found[here] and found[other][:4] in PARTNERS:
            found[here] = PARTNERS[found[other][:4]] + found[other][4:]
    return found[0], found[1]


def axis_unit(keywords: Keywords, axis: int) -> str:
    """CUNIT as FITS writes it: an angle, a length, ``pixel``, or empty.

    Raises
    ------
    UnreadableFits
        For anything else.
    """
    said = text(keywords.get(f"CUNIT{axis}"))
    low = said.lower()
    if not said or low in ("nan", "none"):
        return ""
    if low in ANGLES:
        return ANGLES[low]
    if low in ("pix", "pixel", "pixels"):
        return "pixel"
    length = {name.lower(): name for name in LENGTHS_MM}.get(low)
    # mm and Mm differ by nine orders of magnitude, and nobody maps the Sun in millimetres
    if length is not None:
        return "Mm" if low == "mm" else length
    raise UnreadableFits(
        f"CUNIT{axis} {said!r} is no unit of angle or length; write deg, arcsec or rad into the header, or state the "
        "scale with --scale"
    )


def has_steps(keywords: Keywords) -> bool:
    """Whether the header says how large a pixel is."""
    if any(not math.isnan(number(keywords.get(f"CD{i}_{j}"))) for i in (1, 2) for j in (1, 2)):
        return True
    steps = [number(keywords.get(f"CDELT{axis}")) for axis in (1, 2)]
    return all(step != 0 and not math.isnan(step) for step in steps)


def sky_header(keywords: Keywords) -> Header:
    """The keywords of the celestial coordinates of axes 1 and 2 as astropy reads them, in FITS's own spelling.

    Raises
    ------
    UnreadableFits
        For a CUNIT that is no unit.
    """
    out: Header = {}
    for key, value in keywords.items():
        if SKY_KEYWORDS.match(key) and key[:5] not in ("CTYPE", "CUNIT") and not math.isnan(number(value)):
            out[key] = number(value)
    out["CTYPE1"], out["CTYPE2"] = axis_types(keywords)
    units = [axis_unit(keywords, axis) for axis in (1, 2)]
    for axis, unit in enumerate(units, start=1):
        # an absent unit follows the other axis, and is degrees for the sky (FITS standard 4.0, 8.2)
        out[f"CUNIT{axis}"] = unit or units[2 - axis] or "deg"
    if "CROTA2" not in out and "CROTA1" in out:
        out["CROTA2"] = out.pop("CROTA1")
    if any(key.startswith("CD") and "_" in key for key in out):
        for key in [k for k in out if k.startswith(("CDELT", "CROTA", "PC"))]:
            del out[key]
    elif any(key.startswith("PC") for key in out):
        out.pop("CROTA1", None), out.pop("CROTA2", None)
    return out
