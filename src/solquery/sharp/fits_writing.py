"""Patches as FITS files and sunpy Maps: gauss, one set of equal-area coordinates, and what kind of patch it is."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from ..io import replacing
from ..patch import Patch
from . import header as hd

__all__ = ["map_of", "write_fits"]


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
    numbers (`solquery.sharp.caveats`); it is not there where nothing does.

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
    with replacing(path) as part, open(part, "wb") as file, warnings.catch_warnings():
        # comments that do not fit behind a long text are dropped
        warnings.simplefilter("ignore", VerifyWarning)
        units.writeto(file, output_verify="silentfix")
    return path


def map_of(patch: Patch) -> Any:
    """The patch as a ``sunpy.map.GenericMap``; see `Patch.to_map`."""
    try:
        from sunpy.map import Map
    except ImportError as error:
        raise ImportError('maps need sunpy: pip install "solquery[sun]"') from error
    return Map(np.asarray(patch.field, dtype=np.float32), _header(patch))
