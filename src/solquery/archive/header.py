"""What FITS keywords say about a patch: scale, place, unit, segment; each answer survives any keyword that does not.

Keywords arrive as a plain dict (`readable`), in which what could not be read or says ``nan`` is simply not there.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..patch import Patch

__all__ = [
    "RSUN_MM",
    "STRUCTURE",
    "FromName",
    "coordinates",
    "credit_of",
    "from_name",
    "identity",
    "is_full_disk",
    "kept",
    "noaa_of",
    "nominal_of",
    "number",
    "place_of",
    "quantity_of",
    "readable",
    "says_something",
    "scale_of",
    "segment_of",
    "text",
    "unit_factor",
    "whole",
]

RSUN_MM = 696.0
DEFAULT_DEG = 0.03
HMI_CREDIT = "Courtesy of NASA/SDO and the HMI science team"
EPOCH = "2000-01-01T12:00:00.000"
AU_M = 149597870700.0

#: keywords that belong to the array and its coordinates; `write_fits` writes its own
STRUCTURE = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|TFIELDS|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|END|EXTNAME|COMMENT"
    r"|HISTORY|CONTINUE|LONGSTRN|BUNIT|(IM)?(CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA|CRDER|CSYSER)\d|WCSNAME|L(ON|AT)POLE"
    r"|HGL[NT]_OBS|PATCHID|REGION|SOURCE|QUANTITY|SEGMENT|CREDIT|CREATOR|TRUTH|NOMINAL|CONTENT|CAVEATS)$"
)
#: how a file was made, of no use in a search: kept out of the archive
_PROVENANCE = re.compile(r"^(INV|AMB|CODEVER|DOPPBIAS|ARM_|BLD_VERS|TREC[ESU]|HFLID|HCFTID|CALVER|DATE_)")
#: what `coordinates` writes whether it is known or not
_FILLED = ("DATE-OBS", "DSUN_OBS", "RSUN_REF", "CRLN_OBS", "CRLT_OBS")
_UNITS = {"kg": 1e3, "kgauss": 1e3, "t": 1e4, "tesla": 1e4, "mt": 10.0}
_NAME = re.compile(r"(?:\.|^)(?P<harp>\d+)\.(?P<day>\d{8})_(?P<clock>\d{6})_TAI\.(?P<segment>\w+)\.fits", re.I)
_SEGMENT = re.compile(r"\.(Br|Bt|Bp|magnetogram|bitmap|conf_disambig|continuum|Dopplergram)\.fits(?:\.gz)?$", re.I)
_LINE_OF_SIGHT = ("magnetogram", "los", "blos", "m_720s", "m_45s")


def readable(unit: Any) -> dict[str, Any]:
    """Keywords of a header-data unit whose cards can be read and whose values are not ``nan``."""
    with contextlib.suppress(Exception):  # what cannot be fixed is left out below, card by card
        unit.verify("silentfix")
    found: dict[str, Any] = {}
    for card in list(unit.header.cards):
        try:
            key, value = card.keyword, card.value
        except Exception:  # one bad card must not cost the image
            continue
        if key not in ("", "COMMENT", "HISTORY") and says_something(value):
            found.setdefault(key, value)
    return found


def says_something(value: Any) -> bool:
    """Whether a card's value is a text, a truth value or a number, and does not say that it is missing."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.strip().lower() not in ("", "nan", "-nan", "inf", "-inf", "missing")
    return isinstance(value, bool | int)


def number(value: Any) -> float:
    """A finite number, also from text; NaN for everything else."""
    if isinstance(value, bool) or value is None:
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def whole(value: Any) -> int | None:
    """A whole number, also from text in decimal or hexadecimal; None for everything else."""
    if isinstance(value, str):
        try:
            return int(value.strip(), 0)
        except ValueError:
            pass
    found = number(value)
    return int(found) if not math.isnan(found) and found == int(found) else None


def text(value: Any) -> str:
    """Text without blanks around it; empty for what is no text."""
    return value.strip() if isinstance(value, str) else ""


class FromName(NamedTuple):
    """What the name of a SHARP file says where its header is silent."""

    harp: int | None
    t_rec: str
    segment: str


def from_name(name: str) -> FromName:
    """Read ``hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits`` and its like."""
    found = _NAME.search(name)
    if not found:
        last = _SEGMENT.search(name)
        return FromName(None, "", last[1] if last else "")
    day, clock = found["day"], found["clock"]
    t_rec = f"{day[:4]}.{day[4:6]}.{day[6:]}_{clock[:2]}:{clock[2:4]}:{clock[4:]}_TAI"
    return FromName(int(found["harp"]) or None, t_rec, found["segment"])


def segment_of(keywords: Mapping[str, Any], name: FromName, own: bool, harp: int | None) -> str:
    """Segment as JSOC calls it; without a hint `Br` for a SHARP, `magnetogram` for another file."""
    if own and text(keywords.get("SEGMENT")):
        return text(keywords["SEGMENT"])
    if name.segment:
        return name.segment
    content = text(keywords.get("CONTENT")).lower()
    if "magnetogram" in content:
        return "magnetogram"
    return "Br" if harp else "magnetogram"


def quantity_of(segment: str) -> str:
    """``line-of-sight`` for magnetograms, else ``radial``."""
    low = segment.lower()
    return "line-of-sight" if low in _LINE_OF_SIGHT or "magnetogram" in low else "radial"


def unit_factor(bunit: Any) -> float:
    """Gauss in one unit of the image. Mx/cm^2 is gauss; so is, for want of anything better, what cannot be read."""
    return _UNITS.get(text(bunit).lower(), 1.0)


def _degrees(keywords: Mapping[str, Any], axis: int) -> float:
    """Pixel size along a FITS axis in heliographic degrees; NaN where unknown."""
    delta = abs(number(keywords.get(f"CDELT{axis}")))
    kind = text(keywords.get(f"CTYPE{axis}")).upper()
    unit = text(keywords.get(f"CUNIT{axis}")).lower()
    if kind and not kind.startswith(("CRLN", "CRLT", "HGLN", "HGLT")):
        return math.nan
    return delta if delta > 0 and unit in ("", "deg", "degree", "degrees") else math.nan


def scale_of(keywords: Mapping[str, Any], sharp: bool) -> tuple[float, float] | None:
    """(y, x) in Mm per pixel; without a usable CDELT 0.03 degree for a SHARP, else None."""
    if "scale" in nominal_of(keywords):
        return None
    y, x = _degrees(keywords, 2), _degrees(keywords, 1)
    if math.isnan(y) or math.isnan(x):
        if not sharp:
            return None
        y = x = DEFAULT_DEG
    return math.radians(y) * RSUN_MM, math.radians(x) * RSUN_MM


def nominal_of(keywords: Mapping[str, Any]) -> list[str]:
    """What the header of a file of ours only pretends to know; see `coordinates`."""
    return text(keywords.get("NOMINAL")).split(",")


def is_full_disk(keywords: Mapping[str, Any], shape: tuple[int, int]) -> bool:
    """Whether a helioprojective image spans more than a solar radius and a half."""
    if not text(keywords.get("CTYPE1")).upper().startswith("HPLN"):
        return False
    radius = number(keywords.get("RSUN_OBS"))
    span = shape[1] * abs(number(keywords.get("CDELT1")))
    return span > 1.5 * (960.0 if math.isnan(radius) else radius)


def place_of(keywords: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, float]:
    """Place of the centre: Stonyhurst latitude and longitude, Carrington longitude, B0, and mu; NaN where unknown.

    Heliocentric mu = sin B0 sin(latitude) + cos B0 cos(latitude) cos(longitude). The reference pixel of a SHARP is
    its centre; from another one the centre is reached by the oblique cylindrical equal-area projection about it.
    """
    nominal = nominal_of(keywords)
    kind = "" if "place" in nominal else text(keywords.get("CTYPE1")).upper()
    b0, observer = number(keywords.get("CRLT_OBS")), number(keywords.get("CRLN_OBS"))
    if math.isnan(b0):
        b0 = number(keywords.get("HGLT_OBS"))
    if "b0" in nominal:
        b0 = math.nan
    values, offs = [], []
    for axis, n in ((1, shape[1]), (2, shape[0])):
        pixel = number(keywords.get(f"CRPIX{axis}"))
        off = 0.0 if math.isnan(pixel) else ((n + 1) / 2 - pixel) * _degrees(keywords, axis)
        values.append(number(keywords.get(f"CRVAL{axis}")))
        offs.append(0.0 if math.isnan(off) else off)
    here_longitude, here_latitude = _moved(values[0], values[1], offs[0], offs[1])
    carrington = longitude = latitude = math.nan
    if kind.startswith("CRLN"):
        carrington, latitude = here_longitude, here_latitude
        longitude = (carrington - observer + 180.0) % 360.0 - 180.0
    elif kind.startswith("HGLN"):
        longitude, latitude = (here_longitude + 180.0) % 360.0 - 180.0, here_latitude
        carrington = longitude + observer
    if not abs(latitude) <= 90:
        latitude = math.nan
    tip, lat, lon = math.radians(b0), math.radians(latitude), math.radians(longitude)
    mu = math.sin(tip) * math.sin(lat) + math.cos(tip) * math.cos(lat) * math.cos(lon)
    return {
        "latitude_deg": latitude,
        "longitude_deg": longitude,
        "carrington_deg": carrington % 360.0,
        "b0_deg": b0,
        "mu": mu,
    }


def _moved(longitude: float, latitude: float, x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of the point at (x, y), in degrees, of the equal-area cylinder about a place.

    The cylinder touches along the great circle through the place that runs east (Calabretta & Greisen 2002, CEA with
    its native reference point there): x is the native longitude, y the sine of the native latitude.
    """
    if x == 0.0 and y == 0.0:
        return longitude, latitude
    if math.isnan(latitude):
        return longitude + x, latitude
    a, s, at = math.radians(x), math.radians(y), math.radians(latitude)
    if not (math.isfinite(a) and math.isfinite(at) and abs(s) <= 1.0):
        return math.nan, math.nan
    c = math.sqrt(1.0 - s * s)
    sine = s * math.cos(at) + c * math.cos(a) * math.sin(at)
    east, north = c * math.sin(a), c * math.cos(a) * math.cos(at) - s * math.sin(at)
    return longitude + math.degrees(math.atan2(east, north)), math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def noaa_of(keywords: Mapping[str, Any]) -> tuple[int, ...]:
    """NOAA numbers from NOAA_ARS, else NOAA_AR; empty where there are none."""
    listed = text(keywords.get("NOAA_ARS")) or str(keywords.get("NOAA_ARS", ""))
    found = [int(n) for n in re.findall(r"\d+", listed)]
    if not any(found):
        found = [whole(keywords.get("NOAA_AR")) or 0]
    return tuple(dict.fromkeys(n for n in found if 0 < n < 100000))


def credit_of(keywords: Mapping[str, Any]) -> str:
    """Whom to thank for the data: HMI's credit line, else the telescope as the header names it."""
    telescope, instrument = text(keywords.get("TELESCOP")), text(keywords.get("INSTRUME"))
    if "HMI" in telescope.upper() + instrument.upper() or "HARPNUM" in keywords:
        return HMI_CREDIT
    return " ".join(dict.fromkeys(part for part in (telescope, instrument) if part))


def kept(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords an archive keeps: neither the array's structure nor the record of the pipeline."""
    filled = _FILLED if keywords.get("NOMINAL") else ()
    return {
        k: v for k, v in keywords.items() if not STRUCTURE.match(k) and not _PROVENANCE.match(k) and k not in filled
    }


def _known(value: float) -> bool:
    return not math.isnan(value)


def coordinates(patch: Patch) -> list[tuple[str, Any, str]]:
    """World coordinate cards (keyword, value, comment) of a patch.

    A map needs a place, a time and a scale. What a patch lacks of them (a generated one may lack all) is filled in
    with the centre of the disk, the epoch 2000.0 and 0.03 degree, and listed in the card NOMINAL, so that nobody
    takes it for knowledge; `read_sharp` leaves it out again.
    """
    ny, nx = patch.field.shape
    placed = _known(patch.latitude_deg) and _known(patch.longitude_deg)
    latitude, longitude = (patch.latitude_deg, patch.longitude_deg) if placed else (0.0, 0.0)
    carrington = placed and _known(patch.carrington_deg)
    b0 = patch.b0_deg if _known(patch.b0_deg) else 0.0
    time = patch.time
    when = text(patch.keywords.get("DATE-OBS")) or (time.isoformat(timespec="milliseconds")[:23] if time else EPOCH)
    distance = number(patch.keywords.get("DSUN_OBS"))
    scale_y, scale_x = patch.scale_mm or (math.radians(DEFAULT_DEG) * RSUN_MM,) * 2
    known = {"place": placed, "b0": _known(patch.b0_deg), "time": bool(time), "scale": bool(patch.scale_mm)}
    nominal = [name for name, there in known.items() if not there]
    # longitudes of the two kinds differ by the observer's; only one kind may be in the header
    kind, at = ("CR", patch.carrington_deg) if carrington else ("HG", longitude)
    observer = (patch.carrington_deg - longitude) % 360.0 if carrington else 0.0
    cards: list[tuple[str, Any, str]] = [
        ("WCSNAME", "Carrington Heliographic" if carrington else "Stonyhurst Heliographic", ""),
        ("CTYPE1", f"{kind}LN-CEA", "equal area about the centre"),
        ("CTYPE2", f"{kind}LT-CEA", ""),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRPIX1", (nx + 1) / 2, "the centre"),
        ("CRPIX2", (ny + 1) / 2, ""),
        ("CRVAL1", at, "deg"),
        ("CRVAL2", latitude, "deg"),
        ("CDELT1", math.degrees(scale_x / RSUN_MM), "deg" if patch.scale_mm else "nominal, has no scale"),
        ("CDELT2", math.degrees(scale_y / RSUN_MM), "deg" if patch.scale_mm else "nominal, has no scale"),
        ("RSUN_REF", RSUN_MM * 1e6, "m"),
        ("DATE-OBS", when, "UTC" if time else "nominal"),
        ("DSUN_OBS", distance if _known(distance) else AU_M, "m"),
        (f"{kind}LN_OBS", observer, "deg"),
        (f"{kind}LT_OBS", b0, "deg"),
    ]
    return cards + ([("NOMINAL", ",".join(nominal), "filled in, not known")] if nominal else [])


def identity(patch: Patch) -> list[tuple[str, Any, str]]:
    """Cards (keyword, value, comment) that say what the image is, so that reading gives the same patch."""
    cards: list[tuple[str, Any, str]] = [
        ("BUNIT", "Gauss", "Mx/cm2"),
        ("CREATOR", "solquery", ""),
        ("PATCHID", patch.id, ""),
        ("REGION", patch.region, "what images of one region share"),
        ("SOURCE", patch.source, _SOURCE_COMMENT.get(patch.source, "")),
        ("QUANTITY", patch.quantity, "radial or line-of-sight field"),
        ("SEGMENT", patch.segment, ""),
        ("CONTENT", f"{patch.source} magnetogram", ""),
        ("QUALITY", int(patch.quality), ""),
    ]
    if patch.t_rec:
        cards.append(("T_REC", patch.t_rec, ""))
    if patch.harpnum:
        cards.append(("HARPNUM", int(patch.harpnum), ""))
    if patch.noaa:
        cards.append(("NOAA_ARS", ",".join(str(n) for n in patch.noaa), ""))
    if patch.credit:
        cards.append(("CREDIT", patch.credit, ""))
    if patch.truth:
        cards.append(("TRUTH", json.dumps(patch.truth, default=str), ""))
    return cards


_SOURCE_COMMENT = {
    "real": "an observation of the Sun",
    "simulated": "made by a simulation, not observed",
    "generated": "made by a neural network, not observed",
}
