"""Longitude and latitude of places in an image, as its header has them.

The header of a SHARP, whose rows and columns run along the axes of a cylindrical equal-area map, is answered here; any
other by wcslib, which takes a third of a second to import.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..aliases import Array, Keywords
from .unreadable import UnreadableFits
from .wcs_header import sky_header

__all__ = ["Sky", "plain_sky", "sky_of", "wcslib_sky"]

#: all that the header of a plain map says of its coordinates
_PLAIN = {f"{key}{axis}" for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT") for axis in (1, 2)}
_PLAIN_TYPES = (("CRLN-CEA", "CRLT-CEA"), ("HGLN-CEA", "HGLT-CEA"))


class Sky(NamedTuple):
    """Celestial coordinates of an image: axes in the order of the header, pixels counted from 1, degrees."""

    #: (2, 2) world steps of a step along each axis, before the projection
    matrix: Array
    #: (2,) pixel and coordinates of the reference
    crpix: Array
    crval: Array
    #: whether parameters of the projection differ from those of equal pixels
    stretched: bool
    #: (N, 2) pixels to (N, 2) coordinates
    world: Callable[[Array], Array]


def sky_of(keywords: Keywords) -> Sky:
    """What a header says.

    Raises
    ------
    UnreadableFits
        With the reason.
    """
    return plain_sky(keywords) or wcslib_sky(keywords)


def plain_sky(keywords: Keywords) -> Sky | None:
    """Of a cylindrical equal-area map along its axes, longitude first; None for any other header."""
    found = sky_header(keywords)
    if (
        found.pop("CROTA2", 0.0) != 0.0
        or set(found) != _PLAIN
        or (found["CTYPE1"], found["CTYPE2"]) not in _PLAIN_TYPES
    ):
        return None
    if (found["CUNIT1"], found["CUNIT2"]) != ("deg", "deg") or abs(found["CRVAL2"]) > 89.0:
        return None
    steps, crpix, crval = (np.array([found[f"{key}{axis}"] for axis in (1, 2)]) for key in ("CDELT", "CRPIX", "CRVAL"))
    if not steps.all():
        return None
    return Sky(np.diag(steps), crpix, crval, False, partial(_equal_area, steps, crpix, crval))


def _equal_area(steps: Array, crpix: Array, crval: Array, pixels: Array) -> Array:
    """Coordinates (N, 2) of pixels of a map whose equator touches the sphere at the reference, which has north up.

    Calabretta & Greisen 2002, A&A 395, 1077, section 5.2.2 with lambda = 1, turned to the reference; NaN beyond a
    pole.
    """
    x, sine = np.radians((np.asarray(pixels, dtype=np.float64) - crpix) * steps).T
    with np.errstate(invalid="ignore"):
        cosine = np.sqrt(1.0 - sine**2)
    out, east = cosine * np.cos(x), cosine * np.sin(x)
    tilt = math.radians(crval[1])
    # the reference is at latitude `tilt` of a sphere whose axis stands in the plane of out and north
    north = out * math.sin(tilt) + sine * math.cos(tilt)
    ahead = out * math.cos(tilt) - sine * math.sin(tilt)
    longitude = crval[0] + np.degrees(np.arctan2(east, ahead))
    return np.stack([longitude % 360.0, np.degrees(np.arcsin(np.clip(north, -1.0, 1.0)))], axis=1)


def wcslib_sky(keywords: Keywords) -> Sky:
    """Of any header, without the rest that astropy makes of one.

    Raises
    ------
    UnreadableFits
        With the reason.
    """
    from astropy.wcs import Wcsprm

    cards = "".join(_card(key, value) for key, value in sky_header(keywords).items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = Wcsprm(header=cards.encode("ascii", "replace"), relax=True).sub(2)
            found.set()
        except Exception as error:  # wcslib raises many kinds for one bad header
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UnreadableFits(f"its world coordinates cannot be read ({reason}); mend the header") from None
    stretched = any(axis == 2 and which == 1 and abs(value - 1.0) > 1e-6 for axis, which, value in found.get_pv())
    matrix = np.asarray(np.diag(found.get_cdelt()) @ found.get_pc())
    return Sky(matrix, found.crpix, found.crval, stretched, lambda pixels: found.p2s(pixels, 1)["world"])


def _card(key: str, value: str | float) -> str:
    """A card of a FITS header, 80 characters."""
    if isinstance(value, str):
        quoted = value.replace("'", "''")[:66]
        return f"{key:8}= '{quoted:8}'".ljust(80)
    return f"{key:8}= {float(value)!r:>20}".upper().ljust(80)
