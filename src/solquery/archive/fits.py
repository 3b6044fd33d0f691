"""FITS in and out: SHARP images in whatever state their headers are, and patches as files that sunpy reads.

The image decides whether a file can be used, keywords never do: SHARP headers hold the text ``nan`` where a number
belongs, blank cards, the unit ``Mx/cm^2``; what cannot be read is left out. What makes an image useless is refused by
name: a file that is empty, cut short or no FITS, an image that is not two-dimensional, holds infinities or nothing at
all, and, unless asked otherwise, one whose QUALITY says that it was taken while the instrument was not itself.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from ..errors import SolqueryError
from ..patch import Patch
from . import header as hd
from .sums import data_fault, sums_fault

__all__ = [
    "UnreadableFits",
    "load_checked",
    "load_image",
    "map_of",
    "patch_of_image",
    "quality_fault",
    "read_sharp",
    "write_fits",
]

#: no field on the Sun comes near this; beyond it the file is damaged or not in gauss
_LARGEST_GAUSS = 65504.0
_BAD_QUALITY = 0xFFFF0000
_ECLIPSE = 0x200
#: images that come with SHARPs and are no field along the radius or the line of sight
_OTHER_SEGMENTS = re.compile(
    r"^(bitmap|conf_disambig|continuum|dopplergram|vlos_mag|inclination|azimuth|field|disambig|alpha_mag|chisq|damping"
    r"|dop_width|eta_0|src_continuum|src_grad|conv_flag|info_map|confid_map|bt|bp|\w+_err|\w+_\w+_err)$",
    re.IGNORECASE,
)


class UnreadableFits(SolqueryError, ValueError):
    """A file that holds no usable magnetogram; the message names the file and the reason."""


def quality_fault(quality: int) -> str | None:
    """Why a frame of this QUALITY is not to be used, or None.

    QUALITY is signed, 32 bits. A bit among the upper sixteen means missing or doubtful data, 0x200 an eclipse.
    """
    if quality & _BAD_QUALITY:
        return f"QUALITY 0x{quality & 0xFFFFFFFF:08X} marks it as bad"
    if quality & _ECLIPSE:
        return f"QUALITY 0x{quality & 0xFFFFFFFF:08X} marks an eclipse"
    return None


def read_sharp(path: str | Path, *, strict_quality: bool = True) -> Patch:
    """Read a SHARP `Br` or `magnetogram` file, one that `write_fits` wrote, or another FITS image of the field.

    Parameters
    ----------
    path
        The file.
    strict_quality
        Refuse frames by `quality_fault`; False reads them all the same, and the patch says what their QUALITY is.

    Returns
    -------
    Patch
        Field in G (NaN where missing); scale from CDELT (radius of the Sun 696 Mm), for a SHARP without it 0.03
        degree = 0.364425 Mm, else None; region ``HARP n``, or the file's name where there is no HARP number.

    Raises
    ------
    UnreadableFits
        Naming the file and why it is refused.
    """
    path = Path(path)
    try:
        image, keywords = load_checked(path)
        return patch_of_image(path, image, keywords, strict_quality)
    except UnreadableFits as error:
        raise UnreadableFits(f"{path}: {error}") from error.__cause__


def load_checked(path: Path, header: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
    """`load_image` of a file whose image agrees with the sum in its header, and its `header` too, if asked."""
    image, keywords = load_image(path)
    fault = sums_fault(path) if header else data_fault(path)
    if fault:
        raise UnreadableFits(fault)
    return image, keywords


def load_image(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """First two-dimensional image of any FITS file as it stands there, and all keywords that can be read."""
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
                found, shapes = None, []
                for unit in units:
                    shape = unit.shape if unit.is_image else ()
                    if len(shape) == 2 and found is None:
                        found = unit.data, hd.readable(unit)
                    elif shape:
                        shapes.append(shape)
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
    if found is None:
        axes = f", only one of shape {shapes[0]}" if shapes else ""
        raise UnreadableFits(f"holds no two-dimensional image{axes}")
    return found


def _cut_short(said: list[warnings.WarningMessage]) -> bool:
    signs = ("truncated", "not multiple of 2880", "missing END", "Error validating header")
    return any(sign in str(warning.message) for warning in said for sign in signs)


def patch_of_image(path: Path, image: np.ndarray, keywords: dict[str, Any], strict_quality: bool) -> Patch:
    own = keywords.get("CREATOR") == "solquery" and bool(keywords.get("PATCHID"))
    name = hd.from_name(path.name)
    harp = hd.whole(keywords.get("HARPNUM")) or name.harp
    segment = hd.segment_of(keywords, name, own, harp)
    if not own and _OTHER_SEGMENTS.match(segment):
        raise UnreadableFits(f"is a {segment} image; only Br and line-of-sight magnetograms are patches")
    ny, nx = image.shape
    if min(ny, nx) < 2:
        raise UnreadableFits(f"is an image of {ny} x {nx} pixels, too small for a patch")
    field = image.astype(np.float32) * np.float32(hd.unit_factor(keywords.get("BUNIT")))
    # fmax passes over NaN, unless there is nothing else
    largest = float(np.fmax.reduce(np.abs(field), axis=None))
    if math.isinf(largest):
        raise UnreadableFits("holds infinite values")
    if math.isnan(largest):
        raise UnreadableFits("every pixel is missing (NaN)")
    if largest > _LARGEST_GAUSS:
        raise UnreadableFits(f"holds values up to {largest:.3g}, which is no field in gauss")
    quality = hd.whole(keywords.get("QUALITY")) or 0
    fault = quality_fault(quality) if strict_quality else None
    if fault:
        raise UnreadableFits(f"{fault}; read it with strict_quality=False if you want it all the same")
    if hd.is_full_disk(keywords, (ny, nx)):
        raise UnreadableFits("is a full disk; cut its regions out and reproject them to cylindrical equal area first")

    t_rec = hd.text(keywords.get("T_REC")) or name.t_rec or ("" if own else hd.text(keywords.get("DATE-OBS")))
    stamp = re.sub(r"[^0-9]", "", t_rec.split(".000")[0])[:14].ljust(14, "0")
    if own:
        patch_id, region = str(keywords["PATCHID"]), hd.text(keywords.get("REGION")) or path.stem
    elif harp:
        patch_id, region = f"sharp-{harp}-{stamp[:8]}T{stamp[8:]}-{segment}", f"HARP {harp}"
    else:
        # equal names in different folders are different images
        patch_id, region = f"file-{path.stem}-{zlib.crc32(np.ascontiguousarray(field).tobytes()):08x}", path.stem
    place = hd.place_of(keywords, (ny, nx))
    return Patch(
        field=field,
        scale_mm=hd.scale_of(keywords, bool(harp) and not own),
        id=patch_id,
        region=region,
        source=hd.text(keywords.get("SOURCE")) if own else "real",
        quantity=hd.text(keywords.get("QUANTITY")) if own else hd.quantity_of(segment),
        segment=segment,
        t_rec=t_rec,
        harpnum=harp,
        noaa=hd.noaa_of(keywords),
        latitude_deg=place["latitude_deg"],
        longitude_deg=place["longitude_deg"],
        carrington_deg=place["carrington_deg"],
        b0_deg=place["b0_deg"],
        mu=place["mu"],
        quality=quality,
        keywords=hd.kept(keywords),
        truth=_truth(keywords) if own else {},
        credit=hd.text(keywords.get("CREDIT")) if own else hd.credit_of(keywords),
        file=str(path),
    )


def _truth(keywords: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(keywords.get("TRUTH") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _header(patch: Patch) -> fits.Header:
    """Header of a patch: its coordinates where they are known, what it is, what limits it, and its own keywords."""
    from .caveats import caveats

    header = fits.Header()
    with warnings.catch_warnings():
        # comments that do not fit behind a long text are dropped
        warnings.simplefilter("ignore", VerifyWarning)
        for key, value in patch.keywords.items():
            number = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
            if (
                (number or isinstance(value, str))
                and re.fullmatch(r"[A-Z0-9_-]{1,8}", key)
                and not hd.STRUCTURE.match(key)
            ):
                header[key] = _ascii(value)
        for key, value, comment in hd.coordinates(patch) + hd.identity(patch):
            header[key] = (_ascii(value), comment)
        limits = caveats(patch)
        if limits:
            header["CAVEATS"] = (" ".join(c.name for c in limits), "what limits the numbers")
            for limit in limits:
                header.add_comment("caution: " + limit.text.replace("μ", "mu").encode("ascii", "replace").decode())
    return header


def _ascii(value: Any) -> Any:
    """Text as FITS can hold it; other values as they are."""
    return value.encode("ascii", "replace").decode() if isinstance(value, str) else value


def write_fits(patch: Patch, path: str | Path, *, quantum_gauss: float | None = None) -> Path:
    """Write a patch as FITS: gauss, CEA coordinates, and what kind of patch it is.

    `read_sharp` gives the patch back, ``sunpy.map.Map`` reads it too. The header's SOURCE says whether the image is
    real, simulated or generated, QUANTITY whether it is radial or along the line of sight, NOMINAL what of place,
    time and scale the patch does not have, and is there only because a map needs it. CAVEATS names what limits its
    numbers (`solquery.archive.caveats`); it is not there where nothing does.

    Parameters
    ----------
    patch
        What to write; NaN pixels stay NaN.
    path
        Replaced at once when complete; its folder is made when needed.
    quantum_gauss
        None writes float32; a number writes a Rice-compressed image in steps of that many gauss.

    Returns
    -------
    The path.
    """
    path = Path(path)
    data, header = np.asarray(patch.field, dtype=np.float32), _header(patch)
    if quantum_gauss is None:
        units = fits.HDUList([fits.PrimaryHDU(data, header)])
    else:
        if not quantum_gauss > 0:
            raise ValueError(f"quantum_gauss must be positive, got {quantum_gauss}")
        # astropy takes a negative level as an absolute step
        image = fits.CompImageHDU(
            data, header, compression_type="RICE_1", quantize_level=-float(quantum_gauss), quantize_method=-1
        )
        units = fits.HDUList([fits.PrimaryHDU(), image])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(partial, "wb") as file, warnings.catch_warnings():
            # comments that do not fit behind a long text are dropped
            warnings.simplefilter("ignore", VerifyWarning)
            units.writeto(file, output_verify="silentfix")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def map_of(patch: Patch) -> Any:
    """The patch as a ``sunpy.map.GenericMap``; see `Patch.to_map`."""
    try:
        from sunpy.map import Map
    except ImportError as error:
        raise ImportError('maps need sunpy: pip install "solquery[sun]"') from error
    return Map(np.asarray(patch.field, dtype=np.float32), _header(patch))
