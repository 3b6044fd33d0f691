"""Keywords of a FITS header: what can be read of them, and the cards of the files that are written.

Keywords arrive as a plain dict (`readable`), in which what could not be read or says ``nan`` is simply not there. Their
coordinates are read in `wcs`, their units in `units`, and what kind of image it is in `content`.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..aliases import Header, Keywords
from ..protocols import PatchLike
from .identity import instrument_of
from .wcs_header import RSUN_MM, number, text

if TYPE_CHECKING:
    from astropy.io.fits import ImageHDU

__all__ = [
    "ARRAY", "LIMITS", "RSUN_MM", "STRUCTURE", "FromName", "coordinates", "credit_of", "from_name", "identity",
    "is_of_array", "is_structure", "is_told", "kept", "noaa_of", "nominal_of", "number", "readable", "says_something",
    "stem", "text", "time_of", "whole",
]  # fmt: skip

#: functions that give names and texts of what limits a patch; the package puts `solquery.sharp.caveats` here, which
#: measures and so stands above what writes headers
LIMITS: list[Callable[[Any], Sequence[tuple[str, str]]]] = []
DEFAULT_DEG = 0.03
HMI_CREDIT = "Courtesy of NASA/SDO and the HMI science team"
_CREDITS = {
    "SDO/HMI": HMI_CREDIT,
    "SOHO/MDI": "Courtesy of the SOHO/MDI consortium; SOHO is a project of ESA and NASA",
}
EPOCH = "2000-01-01T12:00:00.000"
AU_M = 149597870700.0

#: keywords that belong to the array and its coordinates; `write_fits` writes its own
STRUCTURE = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|TFIELDS|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|END|EXT(NAME|VER|LEVEL)"
    r"|INHERIT|COMMENT|HISTORY|CONTINUE|LONGSTRN|BUNIT|FILLVAL|FILL_VAL|MISSVAL|NODATA|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d)"
    r"|(IM)?(CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA|CRDER|CSYSER)\d[A-Z]?|(CD|PC)\d_\d[A-Z]?|(CD|PC)\d{6}|P[VS]\d_\d+[A-Z]?"
    r"|WCS(NAME|AXES)[A-Z]?|L(ON|AT)POLE[A-Z]?|XCEN|YCEN|CENTER_[XY]|X0|Y0|R_SUN|CRSIZE\d|CRMODE|SOLAR_[PB]0?|ROLL_ANG|CROTA"
    r"|SAT_ROT|INST_ROT|HGLT_OBS|PATCHID|REGION|SOURCE|QUANTITY|SEGMENT|CREDIT|CREATOR|TRUTH|NOMINAL|CONTENT|CAVEATS)$"
)
#: of those, the ones that belong to one array alone and are never lent to another
ARRAY = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|TFIELDS|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|EXTNAME|EXTVER)$"
)
#: how a file was made, of no use in a search: kept out of the archive
_PROVENANCE = re.compile(r"^(INV|AMB|CODEVER|DOPPBIAS|ARM_|BLD_VERS|TREC[ESU]|HFLID|HCFTID|CALVER|DATE_)")
#: keyword, value and comment
Card = tuple[str, str | float, str]
#: what `coordinates` writes whether it is known or not
_FILLED = ("HGLN_OBS", "DATE-OBS", "DSUN_OBS", "RSUN_REF", "CRLN_OBS", "CRLT_OBS")
_NAME = re.compile(
    r"(?:\.|^)(?P<harp>\d+)\.(?P<day>\d{8})_(?P<clock>\d{6})_TAI\.(?P<segment>\w+)\.f(?:its|ts|it)", re.I
)


def readable(unit: ImageHDU) -> Header:
    """Keywords of a header-data unit whose cards can be read and whose values are not ``nan``."""
    with contextlib.suppress(Exception):  # what cannot be fixed is left out below, card by card
        unit.verify("silentfix")
    found: Header = {}
    for card in list(unit.header.cards):
        try:
            key, value = card.keyword, card.value
        except Exception:  # one bad card must not cost the image
            continue
        if key not in ("", "COMMENT", "HISTORY") and is_told(key, value):
            found.setdefault(key, value)
    return found


def is_told(key: str, value: object) -> bool:
    """Whether a card says something; that it is missing is a fact where it is the quality."""
    return says_something(value) or (key == "QUALITY" and isinstance(value, str) and value.strip().upper() == "MISSING")


def says_something(value: object) -> bool:
    """Whether a card's value is a text, a truth value or a number, and does not say that it is missing."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.strip().lower() not in ("", "nan", "-nan", "inf", "-inf", "missing")
    return isinstance(value, bool | int)


def whole(value: object) -> int | None:
    """A whole number, also from text in decimal or hexadecimal; None for everything else."""
    if isinstance(value, str):
        try:
            return int(value.strip(), 0)
        except ValueError:
            pass
    found = number(value)
    return int(found) if not math.isnan(found) and found == int(found) else None


class FromName(NamedTuple):
    """What the name of a SHARP file says where its header is silent."""

    number: int | None
    t_rec: str


def from_name(name: str) -> FromName:
    """Read ``hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits`` and its like."""
    found = _NAME.search(name)
    if not found:
        return FromName(None, "")
    day, clock = found["day"], found["clock"]
    t_rec = f"{day[:4]}.{day[4:6]}.{day[6:]}_{clock[:2]}:{clock[2:4]}:{clock[4:]}_TAI"
    return FromName(int(found["harp"]) or None, t_rec)


def time_of(keywords: Keywords) -> str:
    """DATE-OBS with its time scale as `observation_time` reads it: UTC unless TIMESYS says another."""
    said = text(keywords.get("DATE-OBS")) or text(keywords.get("DATE_OBS"))
    scale = text(keywords.get("TIMESYS")).upper()
    if not said or scale in ("", "UTC", "UT") or said.upper().endswith(("Z", "_TAI", "_UTC")):
        return said
    return f"{said}_{scale}"


def stem(name: str) -> str:
    """The name of a FITS file without what says that it is one."""
    return re.sub(r"\.(fits|fts|fit)(\.gz|\.fz)?$", "", name, flags=re.IGNORECASE)


def nominal_of(keywords: Keywords) -> list[str]:
    """What the header of a file of ours only pretends to know; see `coordinates`."""
    return text(keywords.get("NOMINAL")).split(",")


def noaa_of(keywords: Keywords) -> tuple[int, ...]:
    """NOAA numbers from NOAA_ARS, else NOAA_AR; empty where there are none."""
    listed = text(keywords.get("NOAA_ARS")) or str(keywords.get("NOAA_ARS", ""))
    found = [int(n) for n in re.findall(r"\d+", listed)]
    if not any(found):
        found = [whole(keywords.get("NOAA_AR")) or 0]
    return tuple(dict.fromkeys(n for n in found if 0 < n < 100000))


def credit_of(keywords: Keywords) -> str:
    """Whom to thank for the data: the credit line of HMI or MDI, else the telescope as the header names it."""
    telescope, instrument = text(keywords.get("TELESCOP")), text(keywords.get("INSTRUME"))
    found = instrument_of(keywords)
    if found in _CREDITS:
        return _CREDITS[found]
    return " ".join(dict.fromkeys(part for part in (telescope, instrument) if part))


def kept(keywords: Keywords) -> Header:
    """The keywords an archive keeps: neither the array's structure nor the record of the pipeline."""
    filled = _FILLED if keywords.get("NOMINAL") else ()
    return {k: v for k, v in keywords.items() if _is_kept(k) and k not in filled}


@lru_cache(maxsize=4096)
def _is_kept(key: str) -> bool:
    return not STRUCTURE.match(key) and not _PROVENANCE.match(key)


@lru_cache(maxsize=4096)
def is_structure(key: str) -> bool:
    """Whether a keyword belongs to an array and its coordinates (`STRUCTURE`)."""
    return STRUCTURE.match(key) is not None


@lru_cache(maxsize=4096)
def is_of_array(key: str) -> bool:
    """Whether a keyword belongs to one array alone (`ARRAY`)."""
    return ARRAY.match(key) is not None


def _known(value: float) -> bool:
    return not math.isnan(value)


def coordinates(patch: PatchLike) -> list[Card]:
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
    aside = number(patch.keywords.get("HGLN_OBS"))
    aside = aside if placed and _known(aside) else 0.0
    observer = (patch.carrington_deg - longitude + aside) % 360.0 if carrington else aside
    cards: list[Card] = [
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


def identity(patch: PatchLike) -> list[Card]:
    """Cards (keyword, value, comment) that say what the image is, so that reading gives the same patch."""
    cards: list[Card] = [
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
    "translated": "estimated from another image, not observed",
}
