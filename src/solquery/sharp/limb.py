"""How much of a patch lies behind the limb, from where its centre is.

SHARPs are cylindrical equal area about their own centre (Sun 2013, arXiv:1309.2392): along x the angle from the
centre's meridian, along y the sine of the angle from the great circle through the centre.
"""

from __future__ import annotations

import numpy as np

from .header import RSUN_MM

__all__ = ["mu_of_pixels", "offlimb_fraction"]

#: points along an axis at which the fraction is counted: a hundredth is close enough
_POINTS = 160


def mu_of_pixels(
    x_rad: np.ndarray, y_rad: np.ndarray, latitude_deg: float, longitude_deg: float, b0_deg: float
) -> np.ndarray:
    """Cosine of the heliocentric angle, as for an observer at infinity; NaN where there is no point of the Sun.

    Parameters
    ----------
    x_rad, y_rad
        Distances from the centre of the patch in radians of the projection, of any shapes that broadcast.
    latitude_deg, longitude_deg
        Stonyhurst position of the centre.
    b0_deg
        Latitude of the observer.
    """
    # shapes meet at the end only: a row and a column take a hundredth of the sines that a grid takes
    sine = np.where(np.abs(y_rad) <= 1, y_rad, np.nan)
    cosine = np.sqrt(1 - sine**2)
    lat, lon, tip = np.radians([latitude_deg, longitude_deg, b0_deg])
    # the direction to the observer, turned into the frame whose x axis points at the centre of the patch
    ox, oy, oz = np.cos(tip) * np.cos(lon), -np.cos(tip) * np.sin(lon), np.sin(tip)
    ox, oz = np.cos(lat) * ox + np.sin(lat) * oz, np.cos(lat) * oz - np.sin(lat) * ox
    mu = cosine * np.cos(x_rad) * ox + cosine * np.sin(x_rad) * oy + sine * oz
    return np.where(np.abs(x_rad) <= np.pi, mu, np.nan)


def offlimb_fraction(
    shape: tuple[int, int],
    scale_mm: tuple[float, float] | None,
    latitude_deg: float,
    longitude_deg: float,
    b0_deg: float,
) -> float:
    """Share of a patch that lies behind the limb; NaN where scale or place is not known.

    HMI's maps end at 0.998 of the disk's radius, some 4 degrees before the limb: what is missing at the limb is more.

    Parameters
    ----------
    shape
        (ny, nx) pixels.
    scale_mm
        (y, x) Mm per pixel.
    """
    if scale_mm is None or not np.isfinite([latitude_deg, longitude_deg, b0_deg]).all():
        return float("nan")
    axes = []
    for n, step in zip(shape, scale_mm, strict=True):
        points = min(n, _POINTS)
        axes.append(((np.arange(points) + 0.5) / points - 0.5) * n * step / RSUN_MM)
    mu = mu_of_pixels(axes[1][None], axes[0][:, None], latitude_deg, longitude_deg, b0_deg)
    # a comparison with NaN is false: what is nowhere on the Sun is not seen either
    return 1.0 - np.count_nonzero(mu > 0) / mu.size
