"""A region whose physics is known, and files that say the same of it in other ways."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

from solquery.physics import hale, joy, measure

NAMES = ["tuf", "psep", "tilt", "polarity"]
SHAPE = (60, 90)
#: degrees per pixel of the header of `header`
STEP = 0.03


def field(shape: tuple[int, int] = SHAPE, seed: int = 3) -> np.ndarray:
    """(ny, nx) G: a tilted bipole off the centre, in weak noise: no turn and no mirroring leaves it as it is."""
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    out = np.random.default_rng(seed).normal(0, 8, shape)
    for sign, cy, cx, width in ((1, 0.35, 0.65, 5.0), (-1, 0.55, 0.3, 7.0)):
        out += sign * 1500 * np.exp(-((y - cy * ny) ** 2 + (x - cx * nx) ** 2) / (2 * width**2))
    return out.astype(np.float32)


def header(**changes: object) -> fits.Header:
    """The header of a SHARP south of the equator; None leaves a keyword out."""
    ny, nx = SHAPE
    cards = {
        "HARPNUM": 377, "T_REC": "2011.02.15_02:00:00_TAI", "DATE-OBS": "2011-02-15T01:58:12.30", "BUNIT": "Mx/cm^2",
        "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "degree", "CUNIT2": "degree",
        "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CRVAL1": 34.879105, "CRVAL2": -21.0769,
        "CDELT1": STEP, "CDELT2": STEP, "CROTA2": 0.0, "CRLN_OBS": 21.725103, "CRLT_OBS": -6.8279,
        "DSUN_OBS": 147746220503.41, "RSUN_REF": 696000000, "TELESCOP": "SDO/HMI", "INSTRUME": "HMI_SIDE1",
        "QUALITY": 0, "NOAA_ARS": "11158",
    } | changes  # fmt: skip
    out = fits.Header()
    for key, value in cards.items():
        if value is not None:
            out[key] = value
    return out


def write(path: Path, data: np.ndarray, head: fits.Header | None = None) -> Path:
    """A FITS file of one image, whatever its header says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.PrimaryHDU(data, header() if head is None else head).writeto(path, overwrite=True)
    return path


def physics(patch: object) -> dict[str, float]:
    """What must be the same however a file says it."""
    found = {name: float(value[0]) for name, value in measure(patch.field, patch.scale_mm, NAMES).items()}
    tilted, ordered = joy(found["tilt"], patch.latitude_deg), hale(found["polarity"], patch.latitude_deg, patch.t_rec)
    return found | {"joy": tilted, "hale": ordered, "mu": patch.mu, "latitude": patch.latitude_deg}
