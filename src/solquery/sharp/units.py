"""What the numbers of an image mean: BUNIT as a unit of magnetic flux density, and values that stand for "missing".

Units are parsed by astropy. A unit that is no flux density, or that nobody can read, is refused: taking it for gauss
would make every flux wrong without a word.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..aliases import Keywords
from .unreadable import UnreadableFits

if TYPE_CHECKING:
    from astropy.units import UnitBase

__all__ = ["FILL_KEYWORDS", "fill_mask", "gauss_per_unit", "is_flux_density", "largest_of", "unit_text"]

#: values that data systems write where a pixel is missing, and that no field has by chance
FILL_VALUES = (-32768.0, -32767.0, 32767.0, -2147483648.0, -2147483647.0, 2147483647.0, -9999.0, -99999.0, -999999.0)
#: beyond this a number is a fill value (1e20, 9.97e36, -3.4e38) in any unit of flux density
FILL_FROM = 1e15
#: keywords that state the value of a missing pixel, for arrays of any type
FILL_KEYWORDS = ("BLANK", "FILLVAL", "FILL_VAL", "MISSVAL", "NODATA")
#: names of units that are words: read without regard to case; symbols are not, since mT and MT differ
_WORD = re.compile(
    r"\b(nano|micro|milli|centi|deci|kilo|mega|[kmun])?[ -]?(gauss|tesla|maxwell)(?:es|s)?\b", re.IGNORECASE
)
_SYMBOL = {"gauss": "G", "tesla": "T", "maxwell": "Mx"}
_PREFIX = {"nano": "n", "micro": "u", "milli": "m", "centi": "c", "deci": "d", "kilo": "k", "mega": "M"}
#: how HMI's and MDI's headers write gauss, which are known before astropy is asked
_GAUSS = ("G", "Gauss", "gauss", "Mx/cm^2")
_SAYS_NOTHING = ("", "nan", "-nan", "none", "missing", "unknown", "n/a", "null", "undef", "undefined")


def unit_text(bunit: object) -> str:
    """BUNIT as text; empty where it says nothing (absent, blank, ``nan``, no text at all)."""
    text = bunit.strip() if isinstance(bunit, str) else ""
    return "" if text.lower() in _SAYS_NOTHING else text


def _symbols(text: str) -> str:
    """A unit with its words as symbols: ``milliTesla`` as ``mT``, ``kiloGauss`` as ``kG``."""

    def symbol(found: re.Match[str]) -> str:
        prefix = (found[1] or "").lower()
        return _PREFIX.get(prefix, prefix) + _SYMBOL[found[2].lower()]

    words = re.sub(r"\bper\b", "/", text)
    words = re.sub(r"\bCM(?=[\^*\d-])", "cm", words)
    words = re.sub(r"\bMX\b", "Mx", words)
    return _WORD.sub(symbol, words)


@lru_cache(maxsize=256)
def _unit(text: str) -> UnitBase | None:
    """`text` as an astropy unit, or None."""
    from astropy import units

    for tried in (text, _symbols(text)):
        try:
            return units.Unit(tried)
        except (ValueError, TypeError):
            continue
    return None


@lru_cache(maxsize=256)
def _gauss(text: str) -> float:
    """Gauss in one unit; NaN where `text` is no unit of flux density."""
    if text in _GAUSS:
        return 1.0
    from astropy import units

    found = _unit(text)
    if found is None or not found.is_equivalent(units.T):
        return math.nan
    return round(float(found.to(units.T)) * 1e4, 15)


def is_flux_density(bunit: object) -> bool | None:
    """Whether BUNIT is a unit of flux density; None where it says nothing."""
    text = unit_text(bunit)
    return None if not text else not math.isnan(_gauss(text))


def gauss_per_unit(bunit: object, by_series: bool) -> float:
    """Gauss in one unit of an image.

    Parameters
    ----------
    bunit
        The keyword; Mx/cm^2 is gauss.
    by_series
        Whether the image is of a series whose fields are known to be in gauss (SHARP, SMARP), which stands in for a
        BUNIT that says nothing.

    Raises
    ------
    UnreadableFits
        For a unit that is no magnetic flux density, and for none where the series does not tell.
    """
    text = unit_text(bunit)
    if not text:
        if by_series:
            return 1.0
        raise UnreadableFits(
            "has no BUNIT, and its series is not known to be in gauss; state the unit with --unit G "
            "(unit='G' in Python), or write BUNIT into the header"
        )
    factor = _gauss(text)
    if math.isnan(factor):
        what = "cannot be read as a unit" if _unit(text) is None else "is no unit of magnetic flux density"
        raise UnreadableFits(
            f"BUNIT {text!r} {what}; if the header is wrong, state the unit with --unit, e.g. --unit G"
        )
    return factor


def fill_mask(image: np.ndarray, keywords: Keywords) -> np.ndarray:
    """(ny, nx) true where a pixel holds a fill value instead of a field.

    Fill values are those that the header states (`FILL_KEYWORDS`), those in use for whole numbers (-32768 and its
    like), and numbers that no field reaches in any unit (from 1e15 on).

    Parameters
    ----------
    image
        (ny, nx) in the unit of the file, before any conversion; infinities are no fill values.
    keywords
        Of the header.
    """
    known = [float(keywords[key]) for key in FILL_KEYWORDS if _number(keywords.get(key))]
    values = [*FILL_VALUES, *known]
    with np.errstate(invalid="ignore", over="ignore"):
        # the largest value says whether there is anything to look for
        if not _may_hold(image, values):
            return np.zeros(image.shape, bool)
        # a stated value is compared as the array holds it: 3276.8 is another number in single precision
        same = np.asarray(values).astype(image.dtype) if image.dtype.kind == "f" else np.asarray(values)
        return np.isin(image, same) | ((np.abs(image) >= FILL_FROM) & np.isfinite(image))


def _number(value: object) -> bool:
    # a stated value of 0 would take the quiet Sun away
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value != 0


def _may_hold(image: np.ndarray, values: list[float]) -> bool:
    return largest_of(image) >= min(abs(value) for value in values)


def largest_of(image: np.ndarray) -> float:
    """The largest number of an image, unsigned; NaN where there is none."""
    # fmax and fmin pass over NaN, unless there is nothing else
    return max(float(np.fmax.reduce(image, axis=None)), -float(np.fmin.reduce(image, axis=None)))
