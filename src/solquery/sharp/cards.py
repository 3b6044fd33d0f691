"""The FITS header of a patch, and the patch as a sunpy Map, which is made of one."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from ..protocols import PatchLike
from . import header as hd

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["header_of", "map_of"]


def header_of(patch: PatchLike, limits: Sequence[tuple[str, str]] = ()) -> fits.Header:
    """Header of a patch: its coordinates where they are known, what it is, and the keywords it came with.

    Parameters
    ----------
    patch
        What to describe.
    limits
        Names and texts of what limits its numbers (`solquery.sharp.caveats`), for CAVEATS and comments.
    """
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
        if limits:
            header["CAVEATS"] = (" ".join(name for name, _ in limits), "what limits the numbers")
            for _, text in limits:
                header.add_comment(f"caution: {_ascii(text.replace('μ', 'mu'))}")
    return header


def _ascii(value: object) -> object:
    """Text as FITS can hold it; other values as they are."""
    return value.encode("ascii", "replace").decode() if isinstance(value, str) else value


def map_of(patch: PatchLike) -> GenericMap:
    """The patch as a ``sunpy.map.GenericMap``; see `Patch.to_map`."""
    try:
        from sunpy.map import Map
    except ImportError as error:
        raise ImportError('maps need sunpy: pip install "solquery[sun]"') from error
    limits = [limit for find in hd.LIMITS for limit in find(patch)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        return Map(np.asarray(patch.field, dtype=np.float32), header_of(patch, limits))
