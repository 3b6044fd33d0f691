"""A FITS file of a region in which nothing is: every pixel is 0 G."""

from __future__ import annotations

import io

import numpy as np


def empty_file():
    """Its bytes; 80 x 160 pixels of 0.03 degrees."""
    from astropy.io import fits

    out = io.BytesIO()
    header = fits.Header({"CDELT1": 0.03, "CDELT2": 0.03, "CUNIT1": "deg", "CUNIT2": "deg"})
    header.update({"CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "BUNIT": "Gauss"})
    fits.PrimaryHDU(np.zeros((80, 160), np.float32), header).writeto(out)
    return out.getvalue()
