"""World coordinates of a FITS image: which way is up, how large a pixel is, where on the Sun its centre lies.

The header is interpreted by `sky` (CDELT, CD, PC, CROTA, CUNIT, LONPOLE). What can be brought upright by turning and
mirroring whole pixels is; everything else about the image that would make lengths, areas or tilts wrong is refused with
the reason: another rotation, skew, a projection that is not equal-area, an absurd pixel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..aliases import Header, Keywords
from .sky import Sky, sky_of
from .unreadable import UnreadableFits
from .wcs_header import (
    ANGLES,
    LENGTHS_MM,
    PAIRS,
    PARTNERS,
    RSUN_MM,
    SKY_KEYWORDS,
    axis_types,
    axis_unit,
    has_steps,
    number,
    sky_header,
    text,
)
from .wcs_place import Place, place_of, place_without_scale

__all__ = ["Coordinates", "Place", "Upright", "coordinates_of", "number", "sky_header", "with_scale"]

#: a rotation up to this many degrees from a quarter turn is taken for one
_TURN_DEG = 0.1
#: Mm per pixel that an image of a region can have: the finest telescopes reach 0.02, the coarsest useful map 20
_FINEST_MM, _COARSEST_MM = 0.01, 20.0
#: degrees from the line of no distortion up to which a pixel's shape is corrected; and the widest patch
_DISTORTED_DEG, _WIDEST_DEG = 50.0, 120.0
_ARCSEC = {"deg": 3600.0, "arcmin": 60.0, "arcsec": 1.0, "mas": 1e-3, "rad": math.degrees(3600.0)}
_REPROJECT = "reproject it: solquery ingest FILE --archive DIR --reproject"


class Upright(NamedTuple):
    """How a stored array becomes one with north up and west to the right: transpose, then flip rows, then columns."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The image upright; a view."""
        out = image.T if self.transpose else image
        return out[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    @property
    def words(self) -> str:
        """What was done, for a person; empty where nothing was."""
        done = [
            *(["transposed"] if self.transpose else []),
            *(["mirrored north-south"] if self.flip_rows else []),
            *(["mirrored east-west"] if self.flip_columns else []),
        ]
        if done == ["mirrored north-south", "mirrored east-west"]:
            return "turned by 180 degrees"
        return " and ".join(done)


_AS_STORED, _NOWHERE = Upright(), Place()


@dataclass(frozen=True)
class Coordinates:
    """What a header says of an image: the way to turn it, its scale (y, x) in Mm per pixel once turned, its place."""

    upright: Upright = _AS_STORED
    scale_mm: tuple[float, float] | None = None
    place: Place = _NOWHERE


def with_scale(keywords: Keywords, scale_mm: tuple[float, float]) -> Header:
    """Keywords whose coordinates have the directions they had, and pixels of `scale_mm` (y, x) Mm."""
    steps = has_steps(keywords)
    matrix = _linear(keywords if steps else {**keywords, "CDELT1": 1.0, "CDELT2": 1.0})
    matrix = matrix / np.maximum(np.hypot(matrix[:, :1], matrix[:, 1:]), 1e-300)
    kinds = axis_types(keywords)
    lon = 1 if kinds[0][:4] in PAIRS.values() else 0
    sky = any(kind[:4] in PARTNERS for kind in kinds)
    size = np.array([scale_mm[1 - lon], scale_mm[lon]]) if lon == 0 else np.array([scale_mm[0], scale_mm[1]])
    matrix = matrix * (size / (math.radians(1.0) * _radius_mm(keywords) if sky else 1.0))[:, None]
    out = {
        key: value
        for key, value in keywords.items()
        if not re.match(r"^(CDELT|CROTA|CUNIT)[12]$|^(CD|PC)[12]_[12]$", key)
    }
    out |= {f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in (0, 1) for j in (0, 1)}
    return out | dict.fromkeys(("CUNIT1", "CUNIT2"), "deg" if sky else "Mm")


def coordinates_of(
    keywords: Keywords, shape: tuple[int, int], known_deg: float | None = None, trusted: bool = False
) -> Coordinates:
    """What the world coordinates of a header say.

    Parameters
    ----------
    keywords
        As `header.readable` gives them.
    shape
        (ny, nx) of the array as it is stored.
    known_deg
        Degrees per pixel of a series that is known to be in equal-area coordinates, for headers without them.
    trusted
        Of a file of this package, which may be of no telescope: any size of a pixel is right.

    Raises
    ------
    UnreadableFits
        For coordinates that would make lengths, areas or directions wrong.
    """
    kinds = axis_types(keywords)
    if any(kind[:4] in PARTNERS for kind in kinds) or any(re.match(r"^[A-Z]{2,4}-+[A-Z]{3}$", kind) for kind in kinds):
        if not has_steps(keywords):
            if known_deg is None:
                return Coordinates(place=place_without_scale(keywords))
            keywords = {**keywords, "CDELT1": known_deg, "CDELT2": known_deg}
        return _on_the_sky(keywords, kinds, shape, trusted, known_deg is not None)
    return _without_sky(keywords, kinds, shape, known_deg)


def _radius_mm(keywords: Keywords) -> float:
    """RSUN_REF in Mm where it is a radius of the Sun, else 696 Mm."""
    said = number(keywords.get("RSUN_REF"))
    return said / 1e6 if 6.9e8 <= said <= 7.02e8 else RSUN_MM


def _without_sky(
    keywords: Keywords, kinds: tuple[str, str], shape: tuple[int, int], known_deg: float | None
) -> Coordinates:
    """Coordinates of a header without a type of the sky: of a known series, lengths, or none."""
    units = [axis_unit(keywords, axis) for axis in (1, 2)]
    if known_deg is not None:
        step = number(keywords.get("CDELT1")) if has_steps(keywords) else known_deg
        other = number(keywords.get("CDELT2")) if has_steps(keywords) else known_deg
        upright, steps = _turned(_linear({**keywords, "CDELT1": step, "CDELT2": other}), keywords)
        radius = math.radians(1.0) * _radius_mm(keywords)
        return Coordinates(upright, _sane((steps[0] * radius, steps[1] * radius), keywords))
    if not has_steps(keywords):
        return Coordinates(_turned(_linear({**keywords, "CDELT1": 1.0, "CDELT2": 1.0}), keywords)[0])
    if any(unit in ANGLES.values() for unit in units):
        what = f"CTYPE {kinds[0]!r}" if kinds[0] else "no CTYPE"
        raise UnreadableFits(
            f"has pixels in {next(unit for unit in units if unit)} and {what}: nothing says whether that is on the "
            "disk or on the Sun; write CTYPE1 and CTYPE2 (CRLN-CEA, CRLT-CEA or HPLN-TAN, HPLT-TAN) into the header"
        )
    upright, steps = _turned(_linear(keywords), keywords)
    if all(unit in LENGTHS_MM for unit in units):
        factors = [LENGTHS_MM[unit] or 1.0 for unit in units]
        if upright.transpose:
            factors.reverse()
        return Coordinates(upright, _sane((steps[0] * factors[1], steps[1] * factors[0]), keywords))
    # CDELT in pixels, or in nothing at all, is no scale
    return Coordinates(upright)


def _linear(keywords: Keywords) -> np.ndarray:
    """(2, 2) world steps (x, y) of a step along FITS axes 1 and 2, of a linear header; CD, PC, CROTA2, CDELT."""
    values = {key: number(value) for key, value in keywords.items() if SKY_KEYWORDS.match(key)}
    cd = [values.get(f"CD{i}_{j}", math.nan) for i in (1, 2) for j in (1, 2)]
    if not all(math.isnan(value) for value in cd):
        return np.nan_to_num(np.array(cd).reshape(2, 2))
    step = np.array([values.get("CDELT1", 1.0), values.get("CDELT2", 1.0)])
    pc = [values.get(f"PC{i}_{j}", math.nan) for i in (1, 2) for j in (1, 2)]
    if not all(math.isnan(value) for value in pc):
        unit = [1.0, 0.0, 0.0, 1.0]
        turn = np.array([u if math.isnan(v) else v for v, u in zip(pc, unit, strict=True)]).reshape(2, 2)
    else:
        angle = values.get("CROTA2", math.nan)
        angle = values.get("CROTA1", 0.0) if math.isnan(angle) else angle
        c, s = math.cos(math.radians(angle or 0.0)), math.sin(math.radians(angle or 0.0))
        ratio = step[1] / step[0]
        turn = np.array([[c, -s * ratio], [s / ratio, c]])
    return step[:, None] * turn


def _turned(matrix: np.ndarray, keywords: Keywords) -> tuple[Upright, tuple[float, float]]:
    """How an image with steps `matrix` (rows: east to west, south to north) becomes upright, and its steps (y, x).

    Raises
    ------
    UnreadableFits
        When no turn by whole quarters and no mirroring makes it upright.
    """
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) == 0.0:
        raise UnreadableFits("its world coordinates map the image onto a line; mend CDELT, CD or PC in the header")
    transpose = abs(matrix[0, 1]) > abs(matrix[0, 0])
    straight = matrix[:, ::-1] if transpose else matrix
    x, y = straight[0, 0], straight[1, 1]
    # a pixel's step aside, in parts of its step ahead; both axes, each in its own measure
    aside = max(abs(straight[1, 0]) / abs(x) if x else math.inf, abs(straight[0, 1]) / abs(y) if y else math.inf)
    if not aside <= math.tan(math.radians(_TURN_DEG)):
        angle = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        raise UnreadableFits(
            f"is rotated or skewed (its rows run {angle:.1f} degrees from west), and only quarter turns are exact; "
            f"{_REPROJECT}"
        )
    return Upright(bool(transpose), bool(y < 0), bool(x < 0)), (abs(float(y)), abs(float(x)))


def _sane(scale_mm: tuple[float, float], keywords: Keywords) -> tuple[float, float]:
    """The scale, if a telescope could have it."""
    for axis, step in zip((2, 1), scale_mm, strict=True):
        if not _FINEST_MM <= step <= _COARSEST_MM:
            unit = text(keywords.get(f"CUNIT{axis}"))
            said = f"in {unit}" if unit else "without CUNIT, so in degrees"
            raise UnreadableFits(
                f"its coordinates ({said}) give {step:.3g} Mm per pixel, and no image of a region has that; "
                "mend CDELT and CUNIT in the header, or state the scale with --scale"
            )
    return scale_mm


def _on_the_sky(
    keywords: Keywords, kinds: tuple[str, str], shape: tuple[int, int], trusted: bool, about_centre: bool
) -> Coordinates:
    lon = 0 if kinds[0][:4] in PAIRS else 1
    frame = kinds[lon][:4]
    if any(kind[:4] in ("HPLN", "HPLT") for kind in kinds):
        if _is_full_disk(keywords, shape):
            raise UnreadableFits(
                "is a full disk; cut its regions out and reproject them to cylindrical equal area first"
            )
        raise UnreadableFits(
            f"is in {kinds[lon]}: an image of the disk as it is seen, whose pixels are not of equal area on the Sun; "
            f"{_REPROJECT}"
        )
    if frame not in PAIRS or PAIRS[frame] != kinds[1 - lon][:4]:
        raise UnreadableFits(
            f"is in {kinds[0]}, {kinds[1]}, which are no coordinates of the Sun; write the CTYPE of its projection "
            "into the header (CRLN-CEA and CRLT-CEA, for example)"
        )
    if any(kind[4:].strip("-") != "CEA" for kind in kinds):
        raise UnreadableFits(
            f"is in {kinds[lon]}; only cylindrical equal-area maps (CEA) are patches, and this is another projection; "
            f"{_REPROJECT}"
        )
    for unit in (axis_unit(keywords, 1), axis_unit(keywords, 2)):
        if unit and unit not in ANGLES.values():
            raise UnreadableFits(f"its coordinates are in {unit}, and {kinds[0]} is an angle; mend CUNIT in the header")
    sky = sky_of(keywords)
    if sky.stretched:
        raise UnreadableFits(f"is in CEA stretched by PV2_1 (lambda is not 1); {_REPROJECT}")
    matrix = sky.matrix[::-1] if lon == 1 else sky.matrix
    upright, (y, x) = _turned(_north(sky, lon) @ matrix, keywords)
    ny, nx = shape
    centre = np.array([[(nx + 1) / 2, (ny + 1) / 2]])
    aside = _native_latitude(
        matrix, np.array([number(keywords.get("CRPIX1")), number(keywords.get("CRPIX2"))]), centre[0]
    )
    width, height = (ny, nx) if upright.transpose else (nx, ny)
    if max(width * x, height * y) > _WIDEST_DEG and not trusted:
        raise UnreadableFits(
            f"spans {width * x:.0f} x {height * y:.0f} degrees: a map of the whole Sun, or CDELT is not in the unit of "
            "CUNIT; cut its regions out first"
        )
    if not abs(aside) <= _DISTORTED_DEG:
        raise UnreadableFits(
            f"lies {abs(aside):.0f} degrees from where its projection keeps shapes (CRVAL2, CRPIX2); {_REPROJECT}"
        )
    # off the line of no distortion a pixel is narrower and higher on the Sun than it says; its area is the same
    c = math.cos(math.radians(aside))
    radius = math.radians(1.0) * _radius_mm(keywords)
    scale = (y / c * radius, x * c * radius)
    return Coordinates(
        upright,
        scale if trusted else _sane(scale, keywords),
        place_of(keywords, frame, _world(sky, centre, lon, keywords, about_centre)),
    )


def _is_full_disk(keywords: Keywords, shape: tuple[int, int]) -> bool:
    """Whether a helioprojective image spans more than a solar radius and a half; SolarSoft leaves arcseconds out."""
    radius = number(keywords.get("RSUN_OBS"))
    unit = next(filter(None, (axis_unit(keywords, axis) for axis in (1, 2))), "arcsec")
    steps = np.abs(_linear(keywords)) * _ARCSEC.get(unit, 1.0)
    return float((steps @ np.array([shape[1], shape[0]])).max()) > 1.5 * (960.0 if math.isnan(radius) else radius)


def _north(sky: Sky, lon: int) -> np.ndarray:
    """(2, 2) rotation from the native axes of a projection to west and north at its reference point (LONPOLE)."""
    here = np.array([sky.crval[lon], sky.crval[1 - lon]])
    if not np.isfinite(here).all() or abs(here[1]) > 89.0:
        return np.eye(2)
    matrix = sky.matrix[::-1] if lon == 1 else sky.matrix
    step = np.linalg.solve(matrix, np.array([0.0, 1e-3]))
    moved = sky.world(np.array([sky.crpix + step]))[0]
    east = ((moved[lon] - here[0] + 180.0) % 360.0 - 180.0) * math.cos(math.radians(here[1]))
    north = moved[1 - lon] - here[1]
    size = math.hypot(east, north)
    if not size > 0:
        return np.eye(2)
    c, s = north / size, east / size
    return np.array([[c, s], [-s, c]])


def _native_latitude(matrix: np.ndarray, reference: np.ndarray, centre: np.ndarray) -> float:
    """Degrees of the centre from the great circle that the cylinder touches; 0 where CRPIX is absent."""
    if not np.isfinite(reference).all():
        return 0.0
    sine = math.radians(float((matrix @ (centre - reference))[1]))
    return math.degrees(math.asin(sine)) if abs(sine) <= 1 else math.inf


def _world(sky: Sky, centre: np.ndarray, lon: int, keywords: Keywords, about_centre: bool) -> tuple[float, float]:
    """Longitude and latitude of the centre in the image's own frame; NaN where the header does not say.

    Without CRPIX the reference is the centre where it is known to be (`about_centre`).
    """
    said = [number(keywords.get(f"CRVAL{axis}")) for axis in (1, 2)]
    if any(map(math.isnan, said)):
        return math.nan, math.nan
    if any(math.isnan(number(keywords.get(f"CRPIX{axis}"))) for axis in (1, 2)):
        return (float(sky.crval[lon]), float(sky.crval[1 - lon])) if about_centre else (math.nan, math.nan)
    found = sky.world(centre)[0]
    return float(found[lon]), float(found[1 - lon])
