"""SHARP header keywords recomputed from their images, to check the reading of real data.

USFLUX and CMASK are sums over the pixels of the active region whose azimuth is trusted (Bobra et al. 2014, Solar
Physics 289, 3549, table 3); `tuf` sums over the whole patch and is larger.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["CEA_PIXEL_CM2", "CEA_PIXEL_MM", "UsfluxCmask", "usflux_cmask"]

#: side of a SHARP CEA pixel: 0.03 degree of arc, in Mm
CEA_PIXEL_MM = 0.364425
#: its area in cm2; 1 G over it is as many Mx
CEA_PIXEL_CM2 = 1.328054e15

#: bitmap values from here on lie inside the active region and confidences from here on are trusted (Bobra et al.)
_BITMAP_FROM = 30
_CONFIDENCE_FROM = 70


class UsfluxCmask(NamedTuple):
    """USFLUX in Mx, and CMASK, the number of pixels that entered it."""

    usflux_mx: float
    cmask: int


def usflux_cmask(
    br: np.ndarray, bitmap: np.ndarray, conf_disambig: np.ndarray, pixel_area_cm2: float = CEA_PIXEL_CM2
) -> UsfluxCmask:
    """Total unsigned flux and pixel count as the SHARP header has them.

    Parameters
    ----------
    br
        (ny, nx) radial field, G; NaN pixels count as 0 G.
    bitmap, conf_disambig
        (ny, nx) segments of those names.
    pixel_area_cm2
        Area of a pixel.

    Raises
    ------
    ValueError
        When the three shapes differ.
    """
    br, bitmap, conf_disambig = np.asarray(br), np.asarray(bitmap), np.asarray(conf_disambig)
    if not br.shape == bitmap.shape == conf_disambig.shape:
        raise ValueError(
            f"br, bitmap and conf_disambig must have one shape, got {br.shape}, {bitmap.shape}, {conf_disambig.shape}"
        )
    mask = (bitmap >= _BITMAP_FROM) & (conf_disambig >= _CONFIDENCE_FROM)
    total = float(np.nansum(np.abs(br[mask].astype(np.float64))))
    return UsfluxCmask(total * pixel_area_cm2, int(mask.sum()))
