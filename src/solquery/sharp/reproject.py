"""From any image of the Sun with coordinates to cylindrical equal area about its centre, by sunpy and reproject.

For images that `wcs` refuses: cut-outs of the disk as it is seen, other projections, rotated maps. The values are
interpolated and not changed otherwise: a field along the line of sight stays one.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Header, Keywords
from . import header as hd
from .unreadable import UnreadableFits
from .wcs import number, sky_header

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["reprojected"]

#: pixels of the result; more would be a mistake in the scale
_MOST_PIXELS = 2**24
#: points along each edge of an image that say how far it reaches
_EDGE = 65
_OBSERVER = ("CRLN_OBS", "CRLT_OBS", "HGLN_OBS", "HGLT_OBS", "DSUN_OBS", "RSUN_REF", "RSUN_OBS")


def reprojected(field: np.ndarray, keywords: Keywords) -> tuple[np.ndarray, Header]:
    """A field in cylindrical equal area about its centre, and its keywords with the coordinates of that.

    Pixels are as wide as those of the image at its centre along the finer of its axes. What lies beyond the image, or
    beyond the limb, is NaN.

    Parameters
    ----------
    field
        (ny, nx) as stored, of any unit.
    keywords
        With complete world coordinates, a time, and, for an image of the disk, an observer (else the Earth).

    Raises
    ------
    UnreadableFits
        When sunpy or reproject is missing, the coordinates are not complete, or the centre is off the disk.
    """
    try:
        from astropy.io import fits
        from astropy.wcs import WCS
        from reproject import reproject_interp
        from sunpy.map import Map
    except ImportError:
        raise UnreadableFits('reprojecting needs sunpy and reproject: pip install "solquery[sun]"') from None
    with warnings.catch_warnings():
        # sunpy fills in an observer on the Earth, and says so
        warnings.simplefilter("ignore")
        try:
            source = Map(np.asarray(field, dtype=np.float64), _source_header(keywords))
            centre, steps, reach = _seen(source)
        except UnreadableFits:
            raise
        except Exception as error:  # sunpy and astropy raise many kinds for incomplete coordinates
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnreadableFits(f"cannot be reprojected: its coordinates are not complete ({reason})") from None
        step = max(min(steps), 0.01)
        shape = (2 * math.ceil(reach[0] / step) + 1, 2 * math.ceil(reach[1] / step) + 1)
        if shape[0] * shape[1] > _MOST_PIXELS:
            raise UnreadableFits(f"would be {shape[0]} x {shape[1]} pixels in equal area; cut its regions out first")
        target = _target_header(source, centre, step, shape)
        header = fits.Header()
        for key, value in target.items():
            header[key] = value
        made, seen = reproject_interp((source.data, source.wcs), WCS(header), shape_out=shape, order="bilinear")
    made = np.where(seen > 0, made, np.nan).astype(np.float32)
    if not np.isfinite(made).any():
        raise UnreadableFits("cannot be reprojected: nothing of it lies on the disk")
    rest = {key: value for key, value in keywords.items() if not hd.STRUCTURE.match(key) and key not in _OBSERVER}
    return made, rest | {key: value for key, value in target.items() if key != "DATE-OBS" or "DATE-OBS" not in rest}


def _source_header(keywords: Keywords) -> Header:
    """A header that sunpy reads: coordinates, time and observer."""
    header = sky_header(keywords)
    if header["CTYPE1"][:4] == "HPLN" and not any(hd.text(keywords.get(f"CUNIT{axis}")) for axis in (1, 2)):
        header |= {"CUNIT1": "arcsec", "CUNIT2": "arcsec"}
    for axis in (1, 2):
        if f"CRPIX{axis}" not in header or f"CRVAL{axis}" not in header:
            raise UnreadableFits(f"cannot be reprojected: its header lacks CRPIX{axis} or CRVAL{axis}")
        if header[f"CTYPE{axis}"][:4] in ("HPLN", "HPLT") and "-" not in header[f"CTYPE{axis}"]:
            header[f"CTYPE{axis}"] += "-TAN"
    header |= {key: number(keywords[key]) for key in _OBSERVER if not math.isnan(number(keywords.get(key)))}
    when = hd.text(keywords.get("DATE-OBS"))
    header["DATE-OBS"] = when or _iso(hd.text(keywords.get("T_REC")) or hd.text(keywords.get("T_OBS")))
    if not header["DATE-OBS"]:
        raise UnreadableFits("cannot be reprojected: its header has no time (DATE-OBS)")
    return header


def _iso(t_rec: str) -> str:
    from ..patch import observation_time

    time = observation_time(t_rec)
    return "" if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:23]


def _seen(source: GenericMap) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Centre (Carrington), degrees per pixel (y, x) there, and degrees from the centre to the edges (y, x)."""
    import astropy.units as u
    from sunpy.coordinates import HeliographicCarrington

    ny, nx = source.data.shape
    frame = HeliographicCarrington(observer=source.observer_coordinate, obstime=source.date, rsun=source.rsun_meters)

    def sky(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        found = source.pixel_to_world(np.asarray(x) * u.pix, np.asarray(y) * u.pix).transform_to(frame)
        return np.atleast_1d(found.lon.to_value(u.deg)), np.atleast_1d(found.lat.to_value(u.deg))

    cx, cy = (nx - 1) / 2, (ny - 1) / 2
    lon, lat = sky([cx, cx + 0.5, cx - 0.5, cx, cx], [cy, cy, cy, cy + 0.5, cy - 0.5])
    if not np.isfinite([*lon, *lat]).all():
        raise UnreadableFits("cannot be reprojected: its centre is off the disk")
    steps = tuple(_apart(lon[k], lat[k], lon[k + 1], lat[k + 1]) for k in (3, 1))
    along = np.linspace(0.0, 1.0, _EDGE)
    xs = np.concatenate([along * (nx - 1), along * (nx - 1), np.zeros(_EDGE), np.full(_EDGE, nx - 1.0)])
    ys = np.concatenate([np.zeros(_EDGE), np.full(_EDGE, ny - 1.0), along * (ny - 1), along * (ny - 1)])
    edge_lon, edge_lat = sky(xs, ys)
    on = np.isfinite(edge_lon) & np.isfinite(edge_lat)
    if not on.any():
        raise UnreadableFits("is a full disk; cut its regions out first")
    x, y = _on_cylinder(edge_lon[on], edge_lat[on], lon[0], lat[0])
    return (float(lon[0]), float(lat[0])), (steps[0], steps[1]), (float(np.abs(y).max()), float(np.abs(x).max()))


def _apart(lon_a: float, lat_a: float, lon_b: float, lat_b: float) -> float:
    """Degrees between two points."""
    a, b, half = math.radians(lat_a), math.radians(lat_b), math.radians(lon_b - lon_a) / 2
    return math.degrees(
        2 * math.asin(math.sqrt(math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(half) ** 2))
    )


def _on_cylinder(lon: np.ndarray, lat: np.ndarray, lon0: float, lat0: float) -> tuple[np.ndarray, np.ndarray]:
    """Degrees (x, y) of points on the equal-area cylinder that touches along the great circle through a place."""
    a, b, b0 = np.radians(lon - lon0), np.radians(lat), math.radians(lat0)
    east = np.cos(b) * np.sin(a)
    north = np.sin(b) * math.cos(b0) - np.cos(b) * np.cos(a) * math.sin(b0)
    ahead = np.sin(b) * math.sin(b0) + np.cos(b) * np.cos(a) * math.cos(b0)
    return np.degrees(np.arctan2(east, ahead)), np.degrees(north)


def _target_header(source: GenericMap, centre: tuple[float, float], step: float, shape: tuple[int, int]) -> Header:
    """Coordinates of the result, with the observer of the image."""
    import astropy.units as u
    from sunpy.coordinates import HeliographicCarrington, HeliographicStonyhurst

    observer = source.observer_coordinate
    seen = observer.transform_to(HeliographicStonyhurst(obstime=source.date))
    turned = observer.transform_to(HeliographicCarrington(obstime=source.date, observer="self"))
    return {
        "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRPIX1": (shape[1] + 1) / 2, "CRPIX2": (shape[0] + 1) / 2, "CRVAL1": centre[0], "CRVAL2": centre[1],
        "CDELT1": step, "CDELT2": step, "RSUN_REF": float(source.rsun_meters.to_value(u.m)),
        "DATE-OBS": source.date.utc.isot,
        "CRLN_OBS": float(turned.lon.to_value(u.deg)) % 360.0, "CRLT_OBS": float(seen.lat.to_value(u.deg)),
        "HGLN_OBS": float(seen.lon.to_value(u.deg)), "DSUN_OBS": float(seen.radius.to_value(u.m)),
    }  # fmt: skip
