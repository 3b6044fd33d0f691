"""Which image of a FITS file is the field, and which component of it.

A file may hold several images, and a SHARP comes as thirty files with the same header. What an image is follows, in
this order, from what the caller states, from keywords (SEGMENT, EXTNAME, CONTENT, BUNIT), and from the pixels: a mask
of a few whole numbers is no field. The name of the file is the last resort, and the patch says when it was used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..aliases import Header, Keywords
from .units import is_flux_density, unit_text
from .unreadable import UnreadableFits

__all__ = ["Found", "Image", "choose", "field_name", "quantity_of", "segment_of", "segment_of_name"]

#: components of a field that are patches, in lower case, and how they are called
FIELDS = {
    "br": "Br",
    "b_r": "Br",
    "bz": "Bz",
    "magnetogram": "magnetogram",
    "los": "los",
    "blos": "blos",
    "b_los": "blos",
    "m_720s": "magnetogram",
    "m_45s": "magnetogram",
}
_LINE_OF_SIGHT = ("magnetogram", "los", "blos")
#: images that come with SHARPs and are no field along the radius or the line of sight
OTHERS = re.compile(
    r"^(bitmap|conf_disambig|continuum|dopplergram|vlos_mag|inclination|azimuth|field|disambig|alpha_mag|chisq|damping"
    r"|dop_width|eta_0|src_continuum|src_grad|conv_flag|info_map|confid_map|b[tpxyh]|b_[tpxyh]|\w+_err|err|error|errors|uncert"
    r"|uncertainty|mask|dq|quality|weight|intensity|ic_720s|v_720s)$",
    re.IGNORECASE,
)
#: what CONTENT says of images that are no field
_OTHER_CONTENT = re.compile(
    r"bitmap|mask|continuum|intensity|doppler|velocity|inclination|azimuth|disambig", re.IGNORECASE
)
#: short names that are also words: only as a whole name, or behind a dot
_WORDS = {"field", "los", "mask", "error", "quality", "weight", "err", "intensity"}
_SUFFIX = re.compile(r"\.(fits|fts|fit)(\.gz|\.fz|\.z)?$", re.IGNORECASE)
#: a mask holds no more values than this, all of them whole and none negative
#: pixels from which the values of an image say something about it
_PIXELS_THAT_TELL = 400
_VALUES_OF_A_MASK, _LARGEST_OF_A_MASK = 64, 255


class Image(NamedTuple):
    """One two-dimensional image of a file: its array as stored, its keywords, and the name of its unit."""

    array: np.ndarray
    keywords: Header
    name: str


class Found(NamedTuple):
    """A component as JSOC calls it, and what said so: ``asked``, ``header``, ``name`` or ``nothing``."""

    segment: str
    by: str


def _other(name: str) -> bool:
    return bool(OTHERS.match(name))


def field_name(text: str) -> str:
    """A component of the field as JSOC calls it; empty for any other text."""
    return FIELDS.get(text.strip().lower(), "")


def quantity_of(segment: str) -> str:
    """``line-of-sight`` for magnetograms, else ``radial``."""
    low = segment.lower()
    return "line-of-sight" if low in _LINE_OF_SIGHT or "magnetogram" in low else "radial"


def segment_of_name(name: str) -> str:
    """The component or image that the name of a file ends with (``hmi…Br.fits``, ``Bp.fits``, ``377_bitmap.fits``)."""
    stem = _SUFFIX.sub("", name)
    last = stem.rpartition(".")[2]
    if field_name(last) or _other(last):
        return field_name(last) or last
    tail = re.split(r"[_\- ]", stem)
    for k in range(len(tail)):
        part = "_".join(tail[k:])
        if part.lower() not in _WORDS and (field_name(part) or _other(part)):
            return field_name(part) or part
    return ""


def _said(keywords: Keywords, extension: str) -> str:
    """The component or image that keywords name; empty where they name none."""
    for value in (keywords.get("SEGMENT"), extension, keywords.get("EXTNAME"), keywords.get("CONTENT")):
        text = value.strip() if isinstance(value, str) else ""
        if field_name(text) or _other(text):
            return field_name(text) or text
    content = keywords.get("CONTENT")
    content = content if isinstance(content, str) else ""
    if "magnetogram" in content.lower():
        return "magnetogram"
    found = _OTHER_CONTENT.search(content)
    return found[0].lower() if found else ""


def segment_of(image: Image, file_name: str, harp: bool, asked: str | None = None) -> Found:
    """Which component of the field an image is.

    Parameters
    ----------
    image
        See `choose`.
    file_name
        Without its folder.
    harp
        Whether the file is of a SHARP, whose images are taken for `Br` where nothing says more.
    asked
        What the caller states; it overrides header and name.

    Raises
    ------
    UnreadableFits
        When the image is no radial or line-of-sight field.
    """
    if asked is not None:
        if not field_name(asked):
            raise UnreadableFits(
                f"was asked for as {asked!r}, which is no component of a patch; choose "
                f"{', '.join(dict.fromkeys(FIELDS.values()))}"
            )
        _refuse_other_content(image)
        return Found(field_name(asked), "requested")
    said, named = _said(image.keywords, image.name), segment_of_name(file_name)
    if said:
        segment, by = said, "header"
    elif named:
        segment, by = named, "name"
    else:
        segment, by = ("Br" if harp else "magnetogram"), "nothing"
    if _other(segment) or (not field_name(segment) and by == "header"):
        what = " (its name says so)" if by == "name" else ""
        raise UnreadableFits(
            f"is a {segment} image{what}; only Br and line-of-sight magnetograms are patches. State --segment Br if it "
            "is one"
        )
    _refuse_other_content(image)
    return Found(segment, by)


def _refuse_other_content(image: Image) -> None:
    """Refuse an image whose pixels show that it is no field."""
    if is_flux_density(image.keywords.get("BUNIT")) is None and _is_mask(image.array):
        raise UnreadableFits("is a mask (bitmap), no field: it holds a few whole numbers, none of them negative")
    if _is_strength(image.array):
        raise UnreadableFits(
            "holds no negative value: a field strength, an intensity or an angle, and no field with its sign"
        )


def _finite(array: np.ndarray) -> np.ndarray:
    values = array[np.isfinite(array)] if array.dtype.kind == "f" else array.ravel()
    # values that stand for missing say nothing about the content
    return values[np.abs(values.astype(np.float64)) < 32767]


def _is_mask(array: np.ndarray) -> bool:
    values = _finite(array)
    if values.size < _PIXELS_THAT_TELL or values.min() < 0 or values.max() > _LARGEST_OF_A_MASK:
        return False
    found = np.unique(values)
    return 2 <= len(found) <= _VALUES_OF_A_MASK and bool((found == np.round(found)).all())


def _is_strength(array: np.ndarray) -> bool:
    """Whether an image of some size is positive all over, as no magnetogram with noise is."""
    # fmin passes over NaN
    if array.size and -32767 < np.fmin.reduce(array, axis=None) <= 0:
        return False
    values = _finite(array)
    return values.size >= _PIXELS_THAT_TELL and values.min() > 0 and float(np.ptp(values)) > 0


def choose(images: Sequence[Image], asked: str | None = None) -> Image:
    """The image of a file that is the field.

    Parameters
    ----------
    images
        Two-dimensional images of the file, in their order; at least one.
    asked
        A component, or the name of an extension, that the caller states.

    Raises
    ------
    UnreadableFits
        When several could be, or none.
    """
    if asked is not None:
        same = [
            image
            for image in images
            if asked.lower() == image.name.lower()
            or (field_name(asked) and _said(image.keywords, image.name) == field_name(asked))
        ]
        if len(same) == 1:
            return same[0]
    if len(images) == 1:
        return images[0]
    possible = [image for image in images if _possible(image)]
    named = [image for image in possible if field_name(_said(image.keywords, image.name))]
    with_unit = [image for image in possible if is_flux_density(image.keywords.get("BUNIT"))]
    for some in (named, with_unit, possible):
        if len(some) == 1:
            return some[0]
    listed = ", ".join(
        f"{image.name or 'unnamed'} ({unit_text(image.keywords.get('BUNIT')) or 'no BUNIT'})" for image in images
    )
    what = (
        f"holds {len(possible)} images that could be the field"
        if possible
        else "holds no image that could be the field"
    )
    raise UnreadableFits(f"{what}: {listed}; choose one with --segment, or take it out into a file of its own")


def _possible(image: Image) -> bool:
    if _other(_said(image.keywords, image.name)) or is_flux_density(image.keywords.get("BUNIT")) is False:
        return False
    return not (_is_mask(image.array) and is_flux_density(image.keywords.get("BUNIT")) is None)
