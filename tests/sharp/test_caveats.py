"""What limits the numbers of a patch, on frames that have it, and in the header of what is written."""

import dataclasses

import numpy as np
import pytest
from noisy_regions import SCALE_MM, region
from shared_data import frame, frames

from solquery.patch import Patch
from solquery.sharp import read_sharp, write_fits
from solquery.sharp.caveats import caveats


def patch(**more):
    about = {"latitude_deg": 10.0, "longitude_deg": 5.0, "b0_deg": 0.0, "mu": 0.97, "t_rec": "2013.05.01_00:00:00_TAI"}
    return Patch(region(1), SCALE_MM, "p", "P", "real", **(about | more))


def names(of):
    return [c.name for c in caveats(of)]


def test_a_region_near_disc_centre_has_none():
    assert names(patch()) == []


def test_each_limit_is_named():
    assert names(patch(mu=0.3)) == ["limb"]
    assert names(patch(longitude_deg=89.0, mu=0.02)) == ["limb", "offlimb"]
    assert names(patch(quality=0x10400)) == ["quality"]
    holes = patch()
    holes.field[:20] = np.nan
    assert names(holes) == ["missing"]
    cut = dataclasses.replace(patch(), field=patch().field[:, 109:])
    assert names(cut) == ["cut"]
    assert names(dataclasses.replace(cut, scale_mm=None)) == []
    assert all(c.text for c in caveats(cut))


def test_the_header_says_them_and_reading_takes_them_for_no_keyword(tmp_path):
    from astropy.io import fits

    write_fits(patch(mu=0.3), tmp_path / "limb.fits")
    header = fits.getheader(tmp_path / "limb.fits")
    assert header["CAVEATS"] == "limb"
    assert "mu = 0.30" in str(header["COMMENT"])
    assert "CAVEATS" not in read_sharp(tmp_path / "limb.fits").keywords
    write_fits(patch(), tmp_path / "fine.fits")
    assert "CAVEATS" not in fits.getheader(tmp_path / "fine.fits")


def test_a_map_says_them_too():
    pytest.importorskip("sunpy.map")
    seen = patch(mu=0.3, quality=0x10400).to_map()
    assert seen.meta["caveats"] == "limb quality" and "mu = 0.30" in str(seen.meta["comment"])
    assert "caveats" not in patch().to_map().meta


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("1422.*Br", ["limb", "offlimb", "missing"]),
        ("1425.*Br", ["limb"]),
        ("1447.20120307_0824*Br", ["quality"]),
        ("377.*Br", []),
    ],
)
def test_real_frames(pattern, wanted):
    assert names(frame(pattern)) == wanted


def test_both_frames_of_weak_plage_are_cut():
    assert [names(p) for p in frames("1445.*Br")] == [["cut"], ["cut"]]
