"""Patches as FITS files: gauss, one set of equal-area coordinates, and what kind of patch it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from ..io import replacing
from ..patch import Patch
from .as_patch import HasPatch, as_patch
from .cards import header_of
from .caveats import Caveat, caveats

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["write_fits"]


def write_fits(
    patch: Patch | HasPatch | GenericMap,
    path: str | Path,
    *,
    quantum_gauss: float | None = None,
    limits: Sequence[Caveat] | None = None,
) -> Path:
    """Write a patch as FITS: gauss, CEA coordinates, and what kind of patch it is.

    `read_sharp` gives the patch back, ``sunpy.map.Map`` reads it too. The header's SOURCE says whether the image is
    real, simulated or generated, QUANTITY whether it is radial or along the line of sight, NOMINAL what of place,
    time and scale the patch does not have, and is there only because a map needs it. CAVEATS names what limits its
    numbers (`solquery.sharp.caveats`); it is not there where nothing does.

    Parameters
    ----------
    patch
        What to write: a `Patch`, or what stands for one (`solquery.sharp.as_patch`), such as an `Answer` or a Map. NaN
        pixels stay NaN.
    path
        Replaced at once when complete; its folder is made when needed.
    quantum_gauss
        None writes float32; a number writes a Rice-compressed image in steps of that many gauss.
    limits
        What CAVEATS names, where more is known than `caveats` of the patch, such as that a grid cuts it
        (`solquery.archive.view.caveats_on_grid`); None: those.

    Returns
    -------
    The path.
    """
    patch, path = as_patch(patch), Path(path)
    found = caveats(patch) if limits is None else list(limits)
    data, header = np.asarray(patch.field, dtype=np.float32), header_of(patch, found)
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
