"""FITS in and out: SHARP images in whatever state their headers are, and patches as files that sunpy reads.

What a file says of itself is honoured or refused with the reason: its coordinates (`wcs`), its unit (`units`), what
kind of image it is (`content`), which observation it is (`identity`). A keyword that says nothing is as good as
absent: SHARP headers hold the text ``nan`` where a number belongs, and blank cards. What makes an image useless is
refused by name: a file that is empty, cut short or no FITS, an image that is not two-dimensional, holds infinities or
nothing at all, and, unless asked otherwise, one whose QUALITY says that it was taken while the instrument was not
itself.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..aliases import Header, Keywords
from ..lazy import deferred
from ..patch import Patch
from . import header as hd
from .checksums import data_fault, sums_fault
from .content import Image, choose, quantity_of, segment_of
from .header import DEFAULT_DEG
from .identity import Identity, id_of_file, identify
from .quality import quality_fault
from .quick_reading import Unit, quick_units
from .units import fill_mask, gauss_per_unit, largest_of, unit_text
from .unreadable import UnreadableFits
from .wcs import Coordinates, Place, coordinates_of, with_scale

if TYPE_CHECKING:
    from astropy.io import fits
else:  # a plain file is read without astropy
    fits = deferred("astropy.io.fits")

__all__ = [
    "ReadOptions", "UnreadableFits", "images_of_array", "load_checked", "load_image", "pair", "patch_of_image",
    "quality_fault", "read_sharp", "read_unsigned",
]  # fmt: skip

#: quantity of a map of unsigned field
UNSIGNED = "unsigned"
#: no field on the Sun comes near this; beyond it the file is damaged or not in gauss
_LARGEST_GAUSS = 65504.0
#: QUALITY of a frame without data, which JSOC also writes as MISSING
_NOT_TAKEN = -(2**31)


def read_sharp(
    path: str | Path,
    *,
    strict_quality: bool = True,
    segment: str | None = None,
    unit: str | None = None,
    scale_mm: float | tuple[float, float] | None = None,
    reproject: bool = False,
) -> Patch:
    """Read a SHARP `Br` or `magnetogram` file, one that `write_fits` wrote, or another FITS image of the field.

    What the header says is honoured or refused with the reason: units are converted, mirrored images and those turned
    by quarters are brought upright, fill values become NaN. What was done, and what the name of the file or the
    series had to say in place of the header, stands in ``keywords["NOTES"]``.

    Parameters
    ----------
    path
        The file.
    strict_quality
        Refuse frames by `quality_fault`; False reads them all the same, and the patch says what their QUALITY is.
    segment
        ``Br`` or ``magnetogram``, where the header does not say; or the name of the extension to take.
    unit
        Unit of the image in place of BUNIT, e.g. ``"mT"``.
    scale_mm
        Mm per pixel, or (y, x), in place of what the header says.
    reproject
        Bring what is not upright or not equal-area to cylindrical equal area; needs sunpy and reproject.

    Returns
    -------
    Patch
        Field in G (NaN where missing), north up, west to the right; scale from the world coordinates, for a file of a
        SHARP series without them 0.03 degree = 0.364425 Mm, else None; region ``HARP n`` or ``TARP n``, or the file's
        name where there is no number.

    Raises
    ------
    UnreadableFits
        Naming the file and why it is refused.
    """
    path = Path(path)
    options = ReadOptions(strict_quality, segment, unit, pair(scale_mm), reproject)
    try:
        return patch_of_image(path, load_checked(path, segment=segment), options)
    except UnreadableFits as error:
        raise UnreadableFits(f"{path}: {error}".replace(" FILE ", f" {path} ")) from error.__cause__


def read_unsigned(
    path: str | Path, *, unit: str | None = None, scale_mm: float | tuple[float, float] | None = None
) -> Patch:
    """Read a map of unsigned field, which `read_sharp` refuses since it is no field with its sign.

    Parameters, errors and what is done to the image as of `read_sharp`; the patch is of source ``map``, which no
    archive takes, and quantity ``unsigned``.
    """
    path = Path(path)
    options = ReadOptions(strict_quality=False, unit=unit, scale_mm=pair(scale_mm), unsigned=True)
    try:
        return replace(patch_of_image(path, load_checked(path), options), source="map", quantity=UNSIGNED)
    except UnreadableFits as error:
        raise UnreadableFits(f"{path}: {error}".replace(" FILE ", f" {path} ")) from error.__cause__


def pair(scale_mm: float | tuple[float, float] | None) -> tuple[float, float] | None:
    """A scale that is stated, as (y, x) Mm per pixel; ValueError where it is no length."""
    if scale_mm is None:
        return None
    pair = (float(scale_mm),) * 2 if isinstance(scale_mm, int | float) else (float(scale_mm[0]), float(scale_mm[1]))
    if not all(math.isfinite(step) and step > 0 for step in pair):
        raise ValueError(f"a scale is a positive number of Mm per pixel, got {scale_mm}")
    return pair


class ReadOptions(NamedTuple):
    """What a caller states about a file; see `read_sharp`."""

    strict_quality: bool = True
    segment: str | None = None
    unit: str | None = None
    scale_mm: tuple[float, float] | None = None
    reproject: bool = False
    unsigned: bool = False


def load_checked(path: Path, header: bool = False, segment: str | None = None) -> Image:
    """`load_image` of a file whose image agrees with the sum in its header, and its `header` too, if asked."""
    if not header and (quick := _quick_image(path, segment)) is not None:
        return quick
    image = load_image(path, segment)
    fault = sums_fault(path) if header else data_fault(path)
    if fault:
        raise UnreadableFits(fault)
    return image


def _quick_image(path: Path, segment: str | None) -> Image | None:
    """The image of a plain file (`quick_units`); None where astropy has to read it."""
    units = quick_units(path)
    found = [] if units is None else _images(units)[0]
    return choose(found, segment) if found else None


def load_image(path: Path, segment: str | None = None) -> Image:
    """The image of the field of any FITS file as it stands there, and all keywords that can be read (`choose`)."""
    if not path.exists():
        raise UnreadableFits("there is no such file")
    if path.is_dir():
        raise UnreadableFits("is a directory, not a file")
    if path.stat().st_size == 0:
        raise UnreadableFits("is empty; download it again")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            # astropy leaves a file open that it refuses, so it is opened here
            with open(path, "rb") as stream, fits.open(stream, memmap=False) as units:
                found, shapes = _images(_units(units))
        except PermissionError:
            raise UnreadableFits("may not be read; check its permissions") from None
        except Exception as error:  # astropy and the decompressors raise many kinds for one damaged file
            if _cut_short(said):
                raise UnreadableFits("is cut short; download it again") from error
            if "SIMPLE" in str(error) or "Empty or corrupt" in str(error):
                raise UnreadableFits("is not a FITS file") from error
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnreadableFits(f"cannot be decoded ({reason}); download it again") from error
    if _cut_short(said):
        raise UnreadableFits("is cut short; download it again")
    if not found:
        axes = f", only one of shape {shapes[0]}" if shapes else ""
        raise UnreadableFits(f"holds no two-dimensional image{axes}")
    return choose(found, segment)


def _units(units: fits.HDUList) -> Iterator[Unit]:
    """The units of a file as astropy reads them."""
    for unit in units:
        shape = tuple(unit.shape or ()) if unit.is_image else ()
        scaling = {key: unit.header.get(key) for key in ("BSCALE", "BZERO", "BITPIX")} if shape else {}
        array = unit.data if shape else None
        yield Unit(shape, array, hd.readable(unit), scaling)


def images_of_array(array: np.ndarray, header: fits.Header) -> Image:
    """An array (ny, nx) with a header that goes with it, as the image of a file."""
    found, shapes = _images(_units(fits.HDUList([fits.PrimaryHDU(array, header)])))
    if not found:
        raise UnreadableFits(f"holds no two-dimensional image{f', only one of shape {shapes[0]}' if shapes else ''}")
    return choose(found)


def _images(units: Iterable[Unit]) -> tuple[list[Image], list[tuple[int, ...]]]:
    """The two-dimensional images of a file, with the keywords that go with each, and the shapes of the others.

    A header without an image speaks for all that follow. One with an image of its own lends the others what is neither
    about its array nor about its coordinates, unless they say INHERIT.
    """
    found: list[Image] = []
    shapes: list[tuple[int, ...]] = []
    common: Header = {}
    for k, (shape, array, keywords, raw) in enumerate(units):
        if k == 0:
            whole = not shape or 0 in shape
            common = {key: v for key, v in keywords.items() if not hd.is_of_array(key)}
            lent = common if whole else {key: v for key, v in common.items() if not hd.is_structure(key)}
        else:
            lent = common if keywords.get("INHERIT") is True else lent
        flat = [n for n in shape if n != 1] if len(shape) > 2 else list(shape)
        if array is None or len(flat) != 2 or 0 in shape:
            shapes += [shape] if shape and 0 not in shape else []
            continue
        own = keywords if k == 0 else {**lent, **keywords}
        fills = _raw_fills(raw)
        own = {"FILLVAL": fills, **own} if fills else own
        found.append(Image(array.reshape(flat), own, hd.text(keywords.get("EXTNAME"))))
    return found, shapes


def _raw_fills(raw: Keywords) -> float | None:
    """What the lowest whole number of a scaled array, which stands for missing by custom, is once it is scaled."""
    scale, zero, bits = hd.number(raw.get("BSCALE")), hd.number(raw.get("BZERO")), hd.whole(raw.get("BITPIX"))
    scale, zero = (1.0 if math.isnan(scale) else scale), (0.0 if math.isnan(zero) else zero)
    if bits not in (16, 32) or scale == 1.0:
        return None
    return -(2.0 ** (bits - 1)) * scale + zero


def _cut_short(said: list[warnings.WarningMessage]) -> bool:
    signs = ("truncated", "not multiple of 2880", "missing END", "Error validating header")
    return any(sign in str(warning.message) for warning in said for sign in signs)


def patch_of_image(path: Path, image: Image, options: ReadOptions = ReadOptions()) -> Patch:  # noqa: B008 - a tuple
    """The patch in an image; `path` gives its name only.

    Raises
    ------
    UnreadableFits
        With the reason, without the path.
    """
    keywords = image.keywords
    own = keywords.get("CREATOR") == "solquery" and bool(keywords.get("PATCHID"))
    if min(image.array.shape) < 2:
        ny, nx = image.array.shape
        raise UnreadableFits(f"is an image of {ny} x {nx} pixels, too small for a patch")
    name = hd.from_name(path.name)
    who = identify(keywords, path.name, name.number)
    notes: list[str] = []
    if options.unsigned:
        segment = UNSIGNED
    elif own and hd.text(keywords.get("SEGMENT")):
        segment = hd.text(keywords["SEGMENT"])
    else:
        found = segment_of(image, path.name, bool(who.number), options.segment)
        segment = found.segment
        notes += [f"segment {segment} {_BY[found.by]}"] if found.by in _BY else []
    if who.prefix.startswith("smarp") and segment == "Br":
        segment = "magnetogram"
    field = _field(image, options.unit, bool(who.number) or own, notes)
    quality = _quality(keywords, options.strict_quality)
    field, where = _placed(field, keywords, who, own, options, notes)

    t_rec = hd.text(keywords.get("T_REC")) or name.t_rec or ("" if own else hd.time_of(keywords))
    if own:
        patch_id, region = str(keywords["PATCHID"]), hd.text(keywords.get("REGION")) or path.stem
    elif who.number:
        patch_id, region = who.patch_id(t_rec, segment), who.region
    else:
        patch_id, region = id_of_file(hd.stem(path.name), field), hd.stem(path.name)
    kept = hd.kept(keywords)
    if not own:
        kept |= {"SERIES": who.series} if who.series else {}
        kept |= {"NOTES": "; ".join(notes)} if notes else {}
    return Patch(
        field=field,
        scale_mm=where.scale_mm,
        id=patch_id,
        region=region,
        source=hd.text(keywords.get("SOURCE")) if own else "real",
        quantity=hd.text(keywords.get("QUANTITY")) if own else quantity_of(segment),
        segment=segment,
        t_rec=t_rec,
        harpnum=hd.whole(keywords.get("HARPNUM")) if own else who.harp,
        noaa=hd.noaa_of(keywords),
        **where.place._asdict(),
        quality=quality,
        keywords=kept,
        truth=_truth(keywords) if own else {},
        credit=hd.text(keywords.get("CREDIT")) if own else hd.credit_of(keywords),
        file=str(path),
    )


_BY = {"name": "taken from the name of the file", "nothing": "assumed, since neither header nor name says"}


def _field(image: Image, unit: str | None, by_series: bool, notes: list[str]) -> np.ndarray:
    """(ny, nx) float32 in G of an image as stored; NaN where it is missing.

    Raises
    ------
    UnreadableFits
        For a unit that is no flux density, and values that are no field.
    """
    missing = fill_mask(image.array, image.keywords)
    values = np.where(missing, np.nan, image.array) if missing.any() else image.array
    largest = largest_of(values)
    if math.isinf(largest):
        raise UnreadableFits("holds infinite values")
    if math.isnan(largest):
        raise UnreadableFits("every pixel is missing (NaN)")
    said = unit_text(unit if unit is not None else image.keywords.get("BUNIT"))
    if not said and largest > _LARGEST_GAUSS:
        raise UnreadableFits(f"holds values up to {largest:.3g}, which is no field in gauss")
    factor = gauss_per_unit(said, by_series)
    if unit is not None:
        notes.append(f"unit {unit} as stated")
    elif not said:
        notes.append("no BUNIT; G by its series")
    if missing.any():
        notes.append(f"{int(missing.sum())} pixels hold a fill value and are missing")
    with np.errstate(over="ignore", invalid="ignore"):
        field = values.astype(np.float32) if factor == 1.0 else (values.astype(np.float64) * factor).astype(np.float32)
    if factor != 1.0:
        notes.append(f"converted from {said} to G")
    if largest * factor > _LARGEST_GAUSS:
        raise UnreadableFits(f"holds values up to {largest * factor:.3g}, which is no field in gauss")
    return field


def _quality(keywords: Keywords, strict: bool) -> int:
    said = keywords.get("QUALITY")
    missing = isinstance(said, str) and said.strip().upper() == "MISSING"
    quality = _NOT_TAKEN if missing else hd.whole(said) or 0
    fault = ("QUALITY is MISSING" if missing else quality_fault(quality)) if strict else None
    if fault:
        raise UnreadableFits(f"{fault}; read it with strict_quality=False if you want it all the same")
    return quality


def _is_sharp_cea(keywords: Keywords, who: Identity) -> bool:
    """Whether an image is of the equal-area SHARP series, all of whose pixels are 0.03 degree."""
    types = [hd.text(keywords.get(f"CTYPE{axis}")).upper() for axis in (1, 2)]
    return who.prefix in ("sharp", "sharp-nrt") and ("_cea" in who.series or any(t.endswith("CEA") for t in types))


def _placed(
    field: np.ndarray, keywords: Header, who: Identity, own: bool, options: ReadOptions, notes: list[str]
) -> tuple[np.ndarray, Coordinates]:
    """The field upright, and where it is."""
    nominal = hd.nominal_of(keywords) if own else []
    told = {key: value for key, value in keywords.items() if not ("b0" in nominal and key in ("CRLT_OBS", "HGLT_OBS"))}
    if options.scale_mm is not None:
        told = with_scale(told, options.scale_mm)
        notes.append("scale as stated")
    known = DEFAULT_DEG if _is_sharp_cea(keywords, who) and not own else None
    try:
        where = coordinates_of(told, (field.shape[0], field.shape[1]), known, trusted=own)
    except UnreadableFits as error:
        if not options.reproject or "--reproject" not in str(error):
            raise
        from .reproject import reprojected

        field, told = reprojected(field, told)
        notes.append("reprojected to cylindrical equal area")
        where = coordinates_of(told, (field.shape[0], field.shape[1]))
    if where.upright.words:
        notes.append(f"image {where.upright.words}")
    if own and "place" in nominal:
        where = replace(where, place=Place(b0_deg=where.place.b0_deg))
    if own and "scale" in nominal:
        where = replace(where, scale_mm=None)
    if options.scale_mm is not None:
        where = replace(where, scale_mm=options.scale_mm)
    if where.scale_mm is None and not own:
        notes.append("no scale")
    return np.ascontiguousarray(where.upright.apply(field)), where


def _truth(keywords: Keywords) -> Header:
    try:
        found = json.loads(keywords.get("TRUTH") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
