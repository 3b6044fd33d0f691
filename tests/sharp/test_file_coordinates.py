"""What a header says of orientation, scale and place is honoured or refused, whatever way it says it."""

import math
import subprocess
import sys
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from known_patch import SHAPE, STEP, field, header, physics, write

from solquery import measure
from solquery.sharp.fits import UnreadableFits, read_sharp
from solquery.sharp.fits_writing import write_fits
from solquery.sharp.sky import plain_sky, wcslib_sky
from solquery.sharp.solar import carrington_longitude_of_earth
from solquery.sharp.wcs import coordinates_of

ONE_PIXEL_MM = math.radians(STEP) * 696.0


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return physics(read_sharp(write(tmp_path_factory.mktemp("known") / "b.fits", field())))


def swapped(head):
    """The header of the transposed array: axes 1 and 2 exchanged."""
    head["CRPIX1"], head["CRPIX2"] = head["CRPIX2"], head["CRPIX1"]
    return head


def rotated(**changes):
    head = header(**changes)
    del head["CROTA2"]
    return head


TURNED = {
    "CROTA2 180": (lambda d: d[::-1, ::-1], header(CROTA2=180.0)),
    "CROTA2 -180": (lambda d: d[::-1, ::-1], header(CROTA2=-180.0)),
    "CROTA1 180": (lambda d: d[::-1, ::-1], header(CROTA2=None, CROTA1=180.0)),
    "CROTA2 90": (lambda d: np.rot90(d, 1), swapped(header(CROTA2=90.0))),
    "CROTA2 270": (lambda d: np.rot90(d, -1), swapped(header(CROTA2=270.0))),
    "mirrored east-west": (lambda d: d[:, ::-1], header(CDELT1=-STEP)),
    "mirrored north-south": (lambda d: d[::-1], header(CDELT2=-STEP)),
    "PC of half a turn": (lambda d: d[::-1, ::-1], rotated(PC1_1=-1.0, PC2_2=-1.0, PC1_2=0.0, PC2_1=0.0)),
    "PC that exchanges": (lambda d: d.T, swapped(rotated(PC1_1=0.0, PC1_2=1.0, PC2_1=1.0, PC2_2=0.0))),
    "CD without CDELT": (lambda d: d, rotated(CDELT1=None, CDELT2=None, CD1_1=STEP, CD1_2=0.0, CD2_1=0.0, CD2_2=STEP)),
    "CD mirrored": (lambda d: d[:, ::-1], rotated(CDELT1=None, CDELT2=None, CD1_1=-STEP, CD2_2=STEP)),
    "axes of latitude and longitude": (
        lambda d: d.T,
        swapped(header(CTYPE1="CRLT-CEA", CTYPE2="CRLN-CEA", CRVAL1=-21.0769, CRVAL2=34.879105)),
    ),
}


@pytest.mark.parametrize("kind", TURNED)
def test_turned_and_mirrored_images_are_brought_upright(tmp_path, known, kind):
    turn, head = TURNED[kind]
    patch = read_sharp(write(tmp_path / "a.fits", turn(field()), head))
    np.testing.assert_array_equal(patch.field, field())
    assert physics(patch) == pytest.approx(known)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CROTA2": 17.0}, r"rotated or skewed.*--reproject"),
        ({"CROTA2": 45.0}, r"rotated or skewed.*--reproject"),
        ({"CROTA2": None, "PC1_1": 1.0, "PC1_2": 0.3, "PC2_2": 1.0}, "skewed"),
        ({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec"}, r"HPLN.*--reproject"),
        ({"CTYPE1": "solar_x", "CTYPE2": "solar_y", "CUNIT1": "arcsecs", "CUNIT2": "arcsecs"}, r"HPLN.*--reproject"),
        ({"CTYPE1": "CRLN-CAR", "CTYPE2": "CRLT-CAR"}, r"CRLN-CAR.*--reproject"),
        ({"CTYPE1": "HGLN-TAN", "CTYPE2": "HGLT-TAN"}, r"HGLN-TAN.*--reproject"),
        ({"CTYPE1": "CRLN-SFL", "CTYPE2": "CRLT-SFL"}, r"CRLN-SFL.*--reproject"),
        ({"CTYPE1": "CRLN", "CTYPE2": "CRLT"}, "CEA"),
        ({"PV2_1": 0.5}, "PV2_1"),
        ({"LONPOLE": 150.0}, "rotated"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, "no coordinates of the Sun"),
        ({"CTYPE1": "CRLN-CEA", "CTYPE2": "HGLT-CEA"}, "no coordinates of the Sun"),
        ({"CUNIT1": "furlong"}, "no unit of angle or length"),
        ({"CUNIT1": "Mm", "CUNIT2": "Mm"}, "is an angle"),
        ({"CDELT1": 1e-7, "CDELT2": 1e-7}, "no image of a region"),
        ({"CDELT1": STEP * 3600, "CDELT2": STEP * 3600, "CUNIT1": None, "CUNIT2": None}, "whole Sun"),
        ({"CDELT1": math.radians(STEP), "CDELT2": math.radians(STEP), "CUNIT1": None, "CUNIT2": None}, "without CUNIT"),
        ({"CTYPE1": None, "CTYPE2": None, "HARPNUM": None, "TELESCOP": None, "INSTRUME": None}, "no CTYPE"),
    ],
)  # fmt: skip
def test_what_would_make_lengths_or_directions_wrong_is_refused(tmp_path, changes, said):
    path = write(tmp_path / "a.fits", field(), header(**changes))
    with pytest.raises(UnreadableFits, match=said) as caught:
        read_sharp(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("deg", 1),
        ("degrees", 1),
        ("arcsec", 3600),
        ("arcseconds", 3600),
        ("arcmin", 60),
        ("rad", math.pi / 180),
        ("", 1),
    ],
)
def test_any_unit_of_angle_is_read(tmp_path, known, unit, factor):
    at = {"CRVAL1": 34.879105 * factor, "CRVAL2": -21.0769 * factor}
    head = header(CDELT1=STEP * factor, CDELT2=STEP * factor, CUNIT1=unit, CUNIT2=unit, **at)
    assert physics(read_sharp(write(tmp_path / "a.fits", field(), head))) == pytest.approx(known)


def test_pixels_of_two_sizes_keep_both(tmp_path):
    patch = read_sharp(write(tmp_path / "a.fits", field(), header(CDELT1=2 * STEP)))
    assert patch.scale_mm == pytest.approx((ONE_PIXEL_MM, 2 * ONE_PIXEL_MM))


def test_a_cut_of_a_map_of_the_whole_sun_has_the_shape_of_its_pixels_corrected(tmp_path):
    # CRVAL2 is the equator: the region lies 21 degrees from where the projection keeps shapes
    sine = math.degrees(math.sin(math.radians(-21.0769)))
    head = header(CRVAL2=0.0, CRPIX2=(SHAPE[0] + 1) / 2 - sine / STEP)
    patch = read_sharp(write(tmp_path / "a.fits", field(), head))
    c = math.cos(math.radians(21.0769))
    assert patch.scale_mm == pytest.approx((ONE_PIXEL_MM / c, ONE_PIXEL_MM * c))
    assert patch.latitude_deg == pytest.approx(-21.0769, abs=1e-6)


def test_lengths_without_a_place_are_a_scale(tmp_path):
    head = fits.Header({"BUNIT": "G", "CUNIT1": "km", "CUNIT2": "km", "CDELT1": 500.0, "CDELT2": -250.0})
    patch = read_sharp(write(tmp_path / "a.fits", field()[::-1], head))
    assert patch.scale_mm == pytest.approx((0.25, 0.5))
    np.testing.assert_array_equal(patch.field, field())


@pytest.mark.parametrize("changes", [{}, {"CDELT1": 1.0, "CDELT2": 1.0}, {"CUNIT1": "pixel", "CUNIT2": "pixel"}])
def test_an_image_that_says_nothing_of_its_size_has_no_scale(tmp_path, changes):
    patch = read_sharp(write(tmp_path / "a.fits", field(), fits.Header({"BUNIT": "G", **changes})))
    assert patch.scale_mm is None and "no scale" in patch.keywords["NOTES"]


def test_the_scale_of_a_sharp_is_known_by_its_series_and_by_nothing_less(tmp_path):
    bare = {key: None for key in ("CDELT1", "CDELT2", "CUNIT1", "CUNIT2")}
    assert read_sharp(write(tmp_path / "a.fits", field(), header(**bare))).scale_mm == pytest.approx(
        (ONE_PIXEL_MM,) * 2
    )
    bare |= {key: None for key in ("CTYPE1", "CTYPE2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CROTA2")}
    path = tmp_path / "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"
    assert read_sharp(write(path, field(), header(**bare))).scale_mm == pytest.approx((ONE_PIXEL_MM,) * 2)
    assert read_sharp(write(tmp_path / "b.fits", field(), header(**bare))).scale_mm is None


def test_a_stated_scale_stands_in_for_a_wrong_one(tmp_path):
    path = write(tmp_path / "a.fits", field()[:, ::-1], header(CDELT1=-1e-7, CDELT2=1e-7))
    patch = read_sharp(path, scale_mm=(0.5, 0.25))
    assert patch.scale_mm == (0.5, 0.25)
    np.testing.assert_array_equal(patch.field, field())


@pytest.mark.parametrize("kind", TURNED)
def test_what_is_written_has_one_set_of_coordinates(tmp_path, kind):
    turn, head = TURNED[kind]
    patch = read_sharp(write(tmp_path / "a.fits", turn(field()), head))
    out = write_fits(patch, tmp_path / "out.fits")
    keys = set(fits.getheader(out))
    assert not {key for key in keys if key.startswith(("PC", "CD1_", "CD2_", "CROTA", "LONPOLE", "PV"))}
    assert fits.getheader(out)["CDELT1"] > 0 and fits.getheader(out)["CTYPE1"] == "CRLN-CEA"
    again = read_sharp(out)
    assert physics(again) == pytest.approx(physics(patch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        at = WCS(fits.getheader(out)).wcs_pix2world([[(SHAPE[1] + 1) / 2, (SHAPE[0] + 1) / 2]], 1)[0]
    assert at == pytest.approx([34.879105, -21.0769])


# ------------------------------------------------------------------ observers


def test_an_observer_away_from_the_earth_sees_the_region_elsewhere(tmp_path):
    frame = {"CTYPE1": "HGLN-CEA", "CTYPE2": "HGLT-CEA", "CRVAL1": 40.0, "CRLN_OBS": None, "CRLT_OBS": None}
    head = header(**frame, HGLN_OBS=30.0, HGLT_OBS=5.0)
    patch = read_sharp(write(tmp_path / "a.fits", field(), head))
    b, b0, ahead = math.radians(-21.0769), math.radians(5.0), math.radians(10.0)
    mu = math.sin(b0) * math.sin(b) + math.cos(b0) * math.cos(b) * math.cos(ahead)
    assert patch.mu == pytest.approx(mu) and patch.longitude_deg == pytest.approx(40.0)
    again = read_sharp(write_fits(patch, tmp_path / "out.fits"))
    assert again.mu == pytest.approx(mu) and again.longitude_deg == pytest.approx(40.0)


def test_the_meridian_follows_from_time_and_observer_where_it_is_not_said(tmp_path):
    said = read_sharp(write(tmp_path / "a.fits", field()))
    head = header(CRLN_OBS=None, CRLT_OBS=None, HGLN_OBS=0.0, HGLT_OBS=-6.8279)
    silent = read_sharp(write(tmp_path / "b.fits", field(), head))
    assert silent.mu == pytest.approx(said.mu, abs=1e-3)
    assert silent.longitude_deg == pytest.approx(said.longitude_deg, abs=0.1)
    unknown = read_sharp(write(tmp_path / "c.fits", field(), header(CRLN_OBS=None)))
    assert math.isnan(unknown.mu) and math.isnan(unknown.longitude_deg)


@pytest.mark.parametrize(("moment", "expected"), [("2011-02-15T01:59:20", 21.7251), ("2012-03-06T14:23:22", 333.9510)])
def test_the_central_meridian_is_that_of_hmi(moment, expected):
    found = carrington_longitude_of_earth(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert found == pytest.approx(expected, abs=0.1)


# ----------------------------------------------------------------- reprojected


def seen_otherwise(tmp_path, projection, angle_deg, shape, step, unit):
    """The known region in other coordinates, made by reproject."""
    from astropy.wcs import WCS
    from reproject import reproject_interp

    patch = read_sharp(write(tmp_path / "source.fits", np.kron(field(), np.ones((2, 2), np.float32)), header(
        CDELT1=STEP, CDELT2=STEP, CRPIX1=SHAPE[1] + 0.5, CRPIX2=SHAPE[0] + 0.5)))  # fmt: skip
    source = patch.to_map()
    import astropy.units as u
    from sunpy.coordinates import Helioprojective
    from sunpy.map.header_helper import make_fitswcs_header

    centre = source.center
    if unit == "arcsec":
        centre = centre.transform_to(Helioprojective(observer=source.observer_coordinate, obstime=source.date))
    made = make_fitswcs_header(
        shape, centre, scale=[step, step] * u.Unit(unit) / u.pix, rotation_angle=angle_deg * u.deg,
        projection_code=projection,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, _ = reproject_interp((source.data.astype(float), source.wcs), WCS(made), shape_out=shape)
    head = header(**{key: None for key in ("CDELT1", "CDELT2", "CROTA2")})
    for key, value in made.items():
        if key.upper() not in ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "WCSAXES"):
            head[key.upper()] = value
    return patch, write(tmp_path / "other.fits", values.astype(np.float32), head)


@pytest.mark.parametrize(
    ("projection", "angle", "shape", "step", "unit"),
    [
        ("TAN", 0.0, (160, 240), 0.5, "arcsec"),
        ("TAN", 25.0, (260, 280), 0.5, "arcsec"),
        ("CEA", 17.0, (190, 220), STEP, "deg"),
        ("SIN", 0.0, (130, 190), STEP, "deg"),
    ],
)
def test_reprojecting_keeps_the_physics(tmp_path, projection, angle, shape, step, unit):
    pytest.importorskip("reproject")
    original, path = seen_otherwise(tmp_path, projection, angle, shape, step, unit)
    with pytest.raises(UnreadableFits, match="--reproject"):
        read_sharp(path)
    patch = read_sharp(path, reproject=True)
    before, after = physics(original), physics(patch)
    assert after["tuf"] == pytest.approx(before["tuf"], rel=0.03)
    assert after["psep"] == pytest.approx(before["psep"], rel=0.01)
    assert after["tilt"] == pytest.approx(before["tilt"], abs=0.5)
    assert (after["polarity"], after["joy"], after["hale"]) == (before["polarity"], before["joy"], before["hale"])
    assert after["mu"] == pytest.approx(before["mu"], abs=0.002)


def test_what_cannot_be_reprojected_says_why(tmp_path):
    pytest.importorskip("reproject")
    frame = {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec"}
    off = header(**frame, CDELT1=0.5, CDELT2=0.5, CRVAL1=1400.0, CRVAL2=0.0)
    with pytest.raises(UnreadableFits, match="off the disk"):
        read_sharp(write(tmp_path / "a.fits", field(), off), reproject=True)
    lacking = header(**frame, CDELT1=0.5, CDELT2=0.5, CRPIX1=None)
    with pytest.raises(UnreadableFits, match="lacks CRPIX1"):
        read_sharp(write(tmp_path / "b.fits", field(), lacking), reproject=True)


# ------------------------------------------------------------------------ fuzz

UNITS = {"Mx/cm^2": 1.0, "Gauss": 1.0, "kG": 1e-3, "mT": 0.1, "milliTesla": 0.1, "T": 1e-4, "DN/s": None, "m/s": None}
ANGLES = {"deg": 1.0, "arcsec": 3600.0, "arcmin": 60.0, "rad": math.pi / 180, None: 1.0, "parsec": None}


@settings(max_examples=60, deadline=None)
@given(
    quarter=st.integers(0, 3),
    flip=st.sampled_from(["", "x", "y", "xy"]),
    way=st.sampled_from(["CROTA2", "PC", "CD"]),
    unit=st.sampled_from(sorted(UNITS)),
    angle=st.sampled_from(list(ANGLES)),
    off=st.sampled_from([0.0, 0.0, 0.0, 11.0]),
)
def test_the_same_physics_comes_out_or_a_refusal(tmp_path_factory, known, quarter, flip, way, unit, angle, off):
    # the matrix that takes a step along the axes of the stored array to west and north
    turn = math.radians(90.0 * quarter + off)
    matrix = STEP * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    signs = np.array([-1.0 if "x" in flip else 1.0, -1.0 if "y" in flip else 1.0])
    if way == "CROTA2":
        signs = np.ones(2)
    matrix = matrix @ np.diag(signs)
    data = field()
    if round(math.degrees(turn) / 90.0) % 2:
        data = data.T
    west = matrix[0, 1] if round(math.degrees(turn) / 90.0) % 2 else matrix[0, 0]
    north = matrix[1, 0] if round(math.degrees(turn) / 90.0) % 2 else matrix[1, 1]
    axes = (0, 1) if round(math.degrees(turn) / 90.0) % 2 else (1, 0)
    data = np.flip(data, axes[0]) if west < 0 else data
    data = np.flip(data, axes[1]) if north < 0 else data
    stretch, factor = ANGLES[angle] or 1.0, UNITS[unit] or 1.0
    cards = {"CUNIT1": angle, "CUNIT2": angle, "CROTA2": None, "BUNIT": unit, "CDELT1": None, "CDELT2": None}
    cards |= {"CRVAL1": 34.879105 * stretch, "CRVAL2": -21.0769 * stretch}
    cards |= {"CRPIX1": (data.shape[1] + 1) / 2, "CRPIX2": (data.shape[0] + 1) / 2}
    scaled = matrix * stretch
    if way == "CROTA2":
        cards |= {"CDELT1": STEP * stretch, "CDELT2": STEP * stretch, "CROTA2": math.degrees(turn)}
    elif way == "PC":
        cards |= {"CDELT1": STEP * stretch, "CDELT2": STEP * stretch}
        cards |= {f"PC{i + 1}_{j + 1}": matrix[i, j] / STEP for i in (0, 1) for j in (0, 1)}
    else:
        cards |= {f"CD{i + 1}_{j + 1}": scaled[i, j] for i in (0, 1) for j in (0, 1)}
    path = write(tmp_path_factory.mktemp("fuzz") / "a.fits", (data * factor).astype(np.float32), header(**cards))
    if off or UNITS[unit] is None or ANGLES[angle] is None:
        with pytest.raises(UnreadableFits) as caught:
            read_sharp(path)
        assert "\n" not in str(caught.value)
        return
    found = physics(read_sharp(path))
    for name, value in known.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_coordinates_agree_with_astropy_at_the_centre():
    head = dict(header(CRPIX1=-30.0, CRPIX2=70.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = WCS(fits.Header(head)).wcs_pix2world([[(SHAPE[1] + 1) / 2, (SHAPE[0] + 1) / 2]], 1)[0]
    place = coordinates_of(head, SHAPE).place
    assert (place.carrington_deg, place.latitude_deg) == pytest.approx((expected[0] % 360.0, expected[1]))


# ------------------------------------------------------- without wcslib


@pytest.mark.parametrize("latitude", [-88.0, -21.0769, 0.0, 1e-9, 17.3, 60.0])
@pytest.mark.parametrize("frame", ["CR", "HG"])
def test_a_plain_map_lies_where_wcslib_has_it(latitude, frame):
    """Every pixel of maps near and far from the equator, off the reference, and mirrored ones."""
    rng = np.random.default_rng(7)
    for steps in ((0.03, 0.03), (-0.03, 0.03), (0.5, -0.1)):
        keywords = header(
            CTYPE1=f"{frame}LN-CEA", CTYPE2=f"{frame}LT-CEA", CDELT1=steps[0], CDELT2=steps[1], CRVAL2=latitude,
            CRVAL1=float(rng.uniform(-180, 360)), CRPIX1=float(rng.uniform(-50, 99)),
            CRPIX2=float(rng.uniform(-50, 99)),
        )  # fmt: skip
        ours, theirs = plain_sky(dict(keywords)), wcslib_sky(dict(keywords))
        assert ours is not None
        pixels = rng.uniform(-100, 200, (50, 2))
        here, there = ours.world(pixels), theirs.world(pixels)
        apart = (here - there + 180.0) % 360.0 - 180.0
        # the direction of a pole says nothing
        apart[:, 0] *= np.cos(np.radians(there[:, 1]))
        assert np.abs(apart).max() < 1e-10
        for name in ("matrix", "crpix", "crval", "stretched"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize(
    "change",
    [
        {"CROTA2": 0.01}, {"PC1_2": 0.0}, {"CD1_1": 0.03}, {"PV2_1": 1.0}, {"LONPOLE": 180.0}, {"CTYPE1": "CRLN-CAR"},
        {"CUNIT1": "rad", "CUNIT2": "rad"}, {"CRVAL2": 89.5}, {"CRPIX1": None}, {"CDELT1": 0.0},
        {"CTYPE1": "CRLT-CEA", "CTYPE2": "CRLN-CEA"},
    ],
    ids=str,
)  # fmt: skip
def test_any_other_header_goes_to_wcslib(change):
    assert plain_sky(dict(header())) is not None
    assert plain_sky(dict(header(**change))) is None


def test_a_plain_shipped_map_needs_no_astropy(tmp_path):
    """In a process of its own: the file, its place and its unit are read, and the field is measured."""
    values = np.rint(field() * 100).astype(np.int32)
    units = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values, header())])
    units[1].header["BSCALE"], units[1].header["BZERO"] = 0.01, 0.0
    path = tmp_path / "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"
    units.writeto(path, checksum=True)
    code = (
        "import sys, solquery; p = solquery.read_sharp(sys.argv[1]); "
        "print(float(solquery.measure(p, names='tuf')['tuf'][0]), p.mu, 'astropy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=300, check=True)
    flux, mu, loaded = done.stdout.split()
    patch = read_sharp(path)
    assert loaded == "False"
    assert float(flux) == pytest.approx(float(measure(patch, names="tuf")["tuf"][0])) and float(mu) == patch.mu
