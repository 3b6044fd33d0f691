"""The recipe of docs/how-to/rogue-regions.md, as it is told: files, coordinates, table against what the pixels say."""

import csv
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from started import Started

import solquery

SCRIPT = Path(__file__).parents[2] / "scripts" / "rogue_regions.py"
RSUN_MM = 696.0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("rogue")
    words = ["--model", "physical", "--number", "2", "--hale", "anti", "--joy", "anti", "--hemisphere", "south"]
    words += ["--cycle", "25", "--balance", "180x360", "--seed", "4", "--out", out]
    done = Started(*words, script=SCRIPT)
    _, err = done.communicate(300)
    assert done.returncode == 0, err
    with (out / "bipoles.csv").open(newline="") as file:
        return out, list(csv.DictReader(file))


def test_every_region_breaks_both_laws(made):
    """Cycle 25, south: Hale wants the leading polarity negative, Joy a positive tilt."""
    _, rows = made
    assert len(rows) == 2
    for row in rows:
        assert int(row["leading_polarity"]) == 1
        assert float(row["tilt_deg"]) <= -5
        assert float(row["latitude_deg"]) < 0


def test_files_are_maps_that_say_they_are_synthetic(made):
    sunpy_map = pytest.importorskip("sunpy.map")
    out, rows = made
    for row in rows:
        header = fits.getheader(out / row["file"])
        assert header["SYNTHETIC"] is True and header["SOURCE"] == "generated"
        region = sunpy_map.Map(out / row["file"])
        assert region.meta["ctype1"] == "CRLN-CEA" and str(region.unit) == "G"
        middle = (np.array([header["NAXIS1"], header["NAXIS2"]]) - 1) / 2
        centre = region.pixel_to_world(*middle * region.dimensions[0].unit)
        longitude = float(centre.lon.deg) % 360
        apart = (longitude - float(row["carrington_longitude_deg"]) + 180) % 360 - 180
        assert abs(apart) < 8 and abs(float(centre.lat.deg) - float(row["latitude_deg"])) < 8


def test_fluxes_of_the_table_are_those_of_the_pixels(made):
    out, rows = made
    scale = solquery.Model.load("physical").preset.scale_mm
    for row in rows:
        flux = np.abs(fits.getdata(out / row["file"]).astype(float)).sum() * scale[0] * scale[1] * 1e16
        assert float(row["flux_mx"]) == pytest.approx(flux, rel=2e-3)
        assert 0 < float(row["positive_mx"]) + float(row["negative_mx"]) < flux
        assert float(row["separation_deg"]) == pytest.approx(
            np.degrees(float(row["separation_mm"]) / RSUN_MM), rel=1e-3
        )


def test_a_balanced_sun_has_no_monopole_and_keeps_the_flux(made):
    out, rows = made
    for row in rows:
        sun = fits.getdata(out / row["file"].replace(".fits", "-sun.fits")).astype(float)
        assert sun.shape == (180, 360)
        assert abs(sun.sum()) < 1e-5 * np.abs(sun).sum()
        cell = 4 * np.pi * RSUN_MM**2 / sun.size * 1e16
        field = fits.getdata(out / row["file"]).astype(float)
        whole = np.abs(field).sum() * 1e16 * np.prod(solquery.Model.load("physical").preset.scale_mm)
        # cells of 22 Mm mix polarities, and none is made
        assert 0.3 * whole < np.abs(sun).sum() * cell <= 1.01 * whole
