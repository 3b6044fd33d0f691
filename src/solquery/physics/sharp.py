"""SHARP header keywords recomputed from their images, to check the reading of real data.

USFLUX and CMASK are sums over the pixels of the active region whose azimuth is trusted (Bobra et al. 2014, Solar
Physics 289, 3549, table 3); `tuf` sums over the whole patch and is larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .registry import measure

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ACTIVE", "CEA_PIXEL_CM2", "CEA_PIXEL_MM", "UsfluxCmask", "measure_active", "measure_region", "usflux_cmask"]

#: side of a SHARP CEA pixel: 0.03 degree of arc, in Mm
CEA_PIXEL_MM = 0.364425
#: its area in cm2; 1 G over it is as many Mx
CEA_PIXEL_CM2 = 1.328054e15

#: bitmap values from here on lie inside the active region and confidences from here on are trusted (Bobra et al.)
_BITMAP_FROM = 30
_CONFIDENCE_FROM = 70
#: bitmap value of the active pixels of the region
ACTIVE = 34


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


def _over(
    field: ArrayLike, inside: np.ndarray, scale_mm: ArrayLike | None, names: Iterable[str] | None
) -> dict[str, Tensor]:
    values = np.asarray(field)
    if values.shape != inside.shape:
        raise ValueError(f"field and bitmap must have one shape, got {values.shape} and {inside.shape}")
    return measure(np.where(inside, values, np.where(np.isfinite(values), 0.0, np.nan)), scale_mm, names)


def measure_active(
    field: ArrayLike, bitmap: ArrayLike, scale_mm: ArrayLike | None = None, names: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """`measure` over the active pixels of the SHARP's bitmap alone (value 34), 0 G elsewhere.

    The flux-weighted centres of a header are those of the line-of-sight field over these pixels: PSEP, TILT and POL
    come out as there. Active pixels are found in the line-of-sight field, some hundred gauss and more.

    Parameters
    ----------
    field
        (H, W) G, radial or along the line of sight.
    bitmap
        (H, W), the segment of that name.
    scale_mm, names
        As `measure` takes them.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    return _over(field, np.asarray(bitmap) == ACTIVE, scale_mm, names)


def measure_region(
    field: ArrayLike, bitmap: ArrayLike, scale_mm: ArrayLike | None = None, names: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """`measure` over the region of the SHARP's bitmap (values from 30), 0 G elsewhere; arguments as `measure_active`.

    Other regions in the box do not count. USFLUX leaves out further pixels, whose azimuth is not trusted.
    """
    return _over(field, np.asarray(bitmap) >= _BITMAP_FROM, scale_mm, names)
