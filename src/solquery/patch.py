"""A patch: a magnetic field in gauss with its scale, place and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["MX_PER_G_MM2", "Patch"]

#: one gauss over one square megametre, in maxwell (1 Mm = 1e8 cm)
MX_PER_G_MM2 = 1e16


@dataclass(frozen=True)
class Patch:
    """One observation, simulation or generated image of a region.

    Attributes
    ----------
    field
        (ny, nx) float32, gauss. Row 0 is the southernmost, column 0 the easternmost. NaN: missing or off the limb.
    scale_mm
        (y, x) megametres per pixel, or None for a grid without physical scale (preset `paper` stretches).
    id
        Unique in an archive, e.g. ``sharp-377-20110215T020000-Br`` or ``sim-7-00012-003``.
    region
        What frames of one region share, e.g. ``HARP 377``, ``NOAA 11158``, ``SIM 7-12``. Split and group by this.
    source
        ``real``, ``simulated`` or ``generated``.
    quantity
        ``radial`` (Br) or ``line-of-sight``.
    t_rec
        Time as JSOC writes it, e.g. ``2011.02.15_02:00:00_TAI``; empty where unknown.
    latitude_deg, longitude_deg
        Stonyhurst position of the centre; NaN where unknown.
    mu
        Cosine of the heliocentric angle of the centre; NaN where unknown.
    truth
        Simulated patches: the ingredients they were made from.
    """

    field: np.ndarray
    scale_mm: tuple[float, float] | None
    id: str
    region: str
    source: str
    quantity: str = "radial"
    segment: str = "Br"
    t_rec: str = ""
    harpnum: int | None = None
    noaa: tuple[int, ...] = ()
    latitude_deg: float = float("nan")
    longitude_deg: float = float("nan")
    carrington_deg: float = float("nan")
    b0_deg: float = float("nan")
    mu: float = float("nan")
    quality: int = 0
    keywords: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    credit: str = ""
    file: str = ""
