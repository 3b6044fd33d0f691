"""Reading SHARPs in any state, refusing what is no magnetogram, writing files that sunpy reads."""

import gzip
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from solquery.errors import SolqueryError
from solquery.patch import Patch, observation_time
from solquery.sharp.fits import UnreadableFits, quality_fault, read_sharp
from solquery.sharp.fits_writing import write_fits

DATA = Path(__file__).parents[3] / "shared" / "data"
NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"


def image(shape=(20, 30), seed=0):
    return np.random.default_rng(seed).normal(0, 200, shape).astype(np.float32)


def sharp_header(**changes):
    header = fits.Header()
    cards = {
        "T_REC": "2011.02.15_02:00:00_TAI",
        "CTYPE1": "CRLN-CEA",
        "CTYPE2": "CRLT-CEA",
        "CRPIX1": 15.5,
        "CRPIX2": 10.5,
        "CRVAL1": 34.879105,
        "CRVAL2": -21.0769,
        "CDELT1": 0.03,
        "CDELT2": 0.03,
        "CUNIT1": "degree",
        "CUNIT2": "degree",
        "CRLN_OBS": 21.725103,
        "CRLT_OBS": -6.8279,
        "DSUN_OBS": 147746220503.41,
        "TELESCOP": "SDO/HMI",
        "QUALITY": 0,
        "BUNIT": "Mx/cm^2",
        "HARPNUM": 377,
        "NOAA_ARS": "11158,11160",
        "USFLUX": 2.71476e22,
        "R_VALUE": "nan",
    } | changes
    for key, value in cards.items():
        if value is not None:
            header[key] = value
    return header


def write(path, data, **changes):
    fits.PrimaryHDU(data, sharp_header(**changes)).writeto(path)
    return path


def test_a_sharp_comes_with_its_place_and_scale(tmp_path):
    data = image()
    data[0, 0] = np.nan
    patch = read_sharp(write(tmp_path / NAME, data))
    np.testing.assert_array_equal(patch.field, data)
    assert patch.field.dtype.isnative
    assert patch.id == "sharp-377-20110215T020000-Br"
    assert (patch.region, patch.source, patch.quantity) == ("HARP 377", "real", "radial")
    assert patch.scale_mm == pytest.approx((0.364425, 0.364425), abs=1e-6)
    assert patch.noaa == (11158, 11160)
    assert patch.longitude_deg == pytest.approx(13.154, abs=1e-3)
    assert patch.mu == pytest.approx(0.945, abs=1e-3)
    assert patch.credit == "Courtesy of NASA/SDO and the HMI science team"
    assert patch.keywords["USFLUX"] == 2.71476e22
    assert "R_VALUE" not in patch.keywords
    assert patch.missing_fraction == pytest.approx(1 / 600)


def test_magnetograms_are_line_of_sight(tmp_path):
    patch = read_sharp(write(tmp_path / NAME.replace("Br", "magnetogram"), image()))
    assert (patch.quantity, patch.segment) == ("line-of-sight", "magnetogram")
    assert patch.id.endswith("-magnetogram")


def test_longitude_wraps(tmp_path):
    patch = read_sharp(write(tmp_path / NAME, image(), CRVAL1=5.0, CRLN_OBS=355.0))
    assert patch.longitude_deg == pytest.approx(10.0)


def test_the_name_speaks_where_the_header_is_silent(tmp_path):
    path = tmp_path / NAME
    fits.PrimaryHDU(image()).writeto(path)
    patch = read_sharp(path)
    assert patch.id == "sharp-377-20110215T020000-Br"
    assert patch.t_rec == "2011.02.15_02:00:00_TAI"
    assert patch.scale_mm == pytest.approx((0.364425, 0.364425), abs=1e-6)
    assert np.isnan(patch.mu) and patch.noaa == ()


def test_an_image_that_is_no_sharp_is_named_after_its_file(tmp_path):
    gauss = fits.Header({"BUNIT": "Gauss"})
    fits.PrimaryHDU(image(), gauss).writeto(tmp_path / "mine.fits")
    (tmp_path / "other").mkdir()
    fits.PrimaryHDU(image(seed=1), gauss).writeto(tmp_path / "other" / "mine.fits")
    first, second = read_sharp(tmp_path / "mine.fits"), read_sharp(tmp_path / "other" / "mine.fits")
    assert first.region == "mine" and first.scale_mm is None and first.harpnum is None
    assert first.id != second.id


@pytest.mark.parametrize("junk", ["'nan     '", "", "1.2.3", "'never closed", "= =", "\x7f\x01", "NaN", "1e999"])
def test_a_keyword_that_cannot_be_read_is_absent_or_refused_by_name(tmp_path, junk):
    # text that can be read says something, and is no unit, type or coordinate
    speaks = junk in ("1.2.3", "'never closed", "= =")
    data = image()
    source = write(tmp_path / "good.fits", data).read_bytes()
    header, rest = source[: len(source) - 2880], source[len(source) - 2880 :]
    assert len(rest) == 2880 and header.rstrip().endswith(b"END")
    structure = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "END")
    for at in range(0, len(header), 80):
        key = header[at : at + 8].decode().strip()
        if not key or key.startswith(structure):
            continue
        card = f"{key:8}= {junk}"[:80].ljust(80).encode("latin-1")
        path = tmp_path / NAME
        path.write_bytes(header[:at] + card + header[at + 80 :] + rest)
        if speaks and key.startswith(("CTYPE", "CUNIT", "BUNIT")):
            with pytest.raises(UnreadableFits, match=rf"{NAME}: .*({key}|coordinates)"):
                read_sharp(path)
            continue
        patch = read_sharp(path)
        np.testing.assert_array_equal(patch.field, data, err_msg=key)
        assert patch.region == "HARP 377"


def test_tesla_becomes_gauss_and_the_unreadable_unit_stays(tmp_path):
    data = image()
    np.testing.assert_allclose(read_sharp(write(tmp_path / "a.fits", data / 1e4, BUNIT="T")).field, data, rtol=1e-5)
    np.testing.assert_array_equal(read_sharp(write(tmp_path / "b.fits", data, BUNIT="nan")).field, data)


@pytest.mark.parametrize("quality", [0x10000, 0x10400, -(2**31), 0x200, "0x00010000"])
def test_bad_quality_is_refused_unless_wanted(tmp_path, quality):
    path = write(tmp_path / NAME, image(), QUALITY=quality)
    with pytest.raises(UnreadableFits, match=rf"{NAME}.*QUALITY 0x"):
        read_sharp(path)
    assert read_sharp(path, strict_quality=False).quality != 0


@pytest.mark.parametrize("quality", [0, 0x400, 0x8000, "nan", None])
def test_harmless_or_unknown_quality_passes(tmp_path, quality):
    assert read_sharp(write(tmp_path / NAME, image(), QUALITY=quality)).region == "HARP 377"


def test_the_eclipse_has_its_own_words():
    assert "eclipse" in quality_fault(0x200)
    assert quality_fault(0) is None


def broken(kind, path):
    data = image()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "not a FITS file":
        path.write_text("<html>404 not found</html>" * 500)
    elif kind == "every pixel is missing":
        write(path, np.full_like(data, np.nan))
    elif kind == "infinite":
        data[3, 3] = np.inf
        write(path, data)
    elif kind == "no two-dimensional image":
        write(path, np.zeros((2, 20, 30), np.float32))
    elif kind == "no field in gauss":
        write(path, data * 1e5)
    elif kind == "too small":
        write(path, data[:1])
    elif kind == "bitmap":
        path = path.with_name(path.name.replace("Br", "bitmap"))
        write(path, data)
    elif kind == "full disk":
        write(path, image((400, 400)), CTYPE1="HPLN-TAN", CDELT1=5.0, CUNIT1="arcsec")
    elif kind == "directory":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "not a FITS file",
        "every pixel is missing",
        "infinite",
        "no two-dimensional image",
        "no field in gauss",
        "too small",
        "bitmap",
        "full disk",
        "directory",
        "no such file",
    ],
)
def test_what_is_no_magnetogram_is_refused_by_name(tmp_path, kind):
    path = broken(kind, tmp_path / NAME)
    with pytest.raises(UnreadableFits) as caught:
        read_sharp(path)
    message = str(caught.value)
    assert str(path) in message and kind in message and "\n" not in message
    assert isinstance(caught.value, SolqueryError)


@pytest.mark.parametrize("compress", [False, True])
def test_every_cut_of_a_file_is_refused(tmp_path, compress):
    whole = tmp_path / "whole.fits"
    unit = fits.CompImageHDU(image((60, 80)), sharp_header()) if compress else None
    fits.HDUList([fits.PrimaryHDU(), unit] if compress else [fits.PrimaryHDU(image((60, 80)), sharp_header())]).writeto(
        whole
    )
    data = whole.read_bytes()
    for cut in (1, 79, 2000, 2880, 4000, 5760, len(data) // 2, len(data) - 3000, len(data) - 1):
        path = tmp_path / NAME
        path.write_bytes(data[:cut])
        with pytest.raises(UnreadableFits, match=NAME):
            read_sharp(path)


def test_a_gzipped_file_cut_short_is_refused(tmp_path):
    data = gzip.compress(write(tmp_path / "a.fits", image((60, 80))).read_bytes())
    path = tmp_path / (NAME + ".gz")
    path.write_bytes(data)
    assert read_sharp(path).region == "HARP 377"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableFits, match="gz"):
        read_sharp(path)


def test_written_patches_come_back_the_same(tmp_path):
    patch = read_sharp(write(tmp_path / NAME, image()))
    again = read_sharp(write_fits(patch, tmp_path / "out" / "again.fits"))
    for entry in fields(Patch):
        if entry.name in ("field", "file", "keywords"):
            continue
        assert getattr(again, entry.name) == pytest.approx(getattr(patch, entry.name)), entry.name
    np.testing.assert_array_equal(again.field, patch.field)
    assert again.keywords["USFLUX"] == patch.keywords["USFLUX"]
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["again.fits"]


def generated(**changes):
    patch = Patch(image(), (1.0, 2.0), "gen-1", "GEN 1", "generated", truth={"seed": 3, "requested": {"tuf": 1e22}})
    return replace(patch, **changes)


@pytest.mark.parametrize("scale", [(1.0, 2.0), None])
def test_generated_patches_say_so_and_invent_nothing(tmp_path, scale):
    path = write_fits(generated(scale_mm=scale), tmp_path / "a.fits")
    header = fits.getheader(path)
    assert header["SOURCE"] == "generated" and header["BUNIT"] == "Gauss" and header["QUANTITY"] == "radial"
    assert header["NOMINAL"] == "place,b0,time" + ("" if scale else ",scale")
    again = read_sharp(path)
    assert again.source == "generated" and again.id == "gen-1" and again.t_rec == ""
    assert again.scale_mm == (None if scale is None else pytest.approx(scale))
    assert np.isnan([again.latitude_deg, again.longitude_deg, again.mu, again.b0_deg]).all()
    assert again.truth == {"seed": 3, "requested": {"tuf": 1e22}}
    assert set(again.keywords) <= {"QUALITY"}


def test_missing_pixels_and_long_texts_survive(tmp_path):
    field = image()
    field[:3] = np.nan
    patch = generated(field=field, truth={"text": "é" * 500}, credit="x" * 300)
    again = read_sharp(write_fits(patch, tmp_path / "a.fits"))
    np.testing.assert_array_equal(again.field, field)
    assert again.truth == patch.truth and again.credit == patch.credit


def test_compressed_files_are_within_half_a_quantum(tmp_path):
    patch = generated(field=image((200, 300)))
    path = write_fits(patch, tmp_path / "a.fits", quantum_gauss=0.5)
    assert np.abs(read_sharp(path).field - patch.field).max() <= 0.2501
    assert path.stat().st_size < 200 * 300 * 2
    with pytest.raises(ValueError, match="positive"):
        write_fits(patch, path, quantum_gauss=0)


def test_maps_have_the_patch_in_its_place(tmp_path):
    sunpy_map = pytest.importorskip("sunpy.map")
    patch = read_sharp(write(tmp_path / NAME, image()))
    for found in (patch.to_map(), sunpy_map.Map(write_fits(patch, tmp_path / "b.fits"))):
        assert found.unit == "G"
        assert found.center.lat.deg == pytest.approx(-21.0769)
        assert found.center.lon.deg == pytest.approx(34.879105)
        assert found.scale.axis1.value == pytest.approx(0.03)
        np.testing.assert_array_equal(found.data, patch.field)


@pytest.mark.parametrize("scale", [(1.0, 2.0), None])
def test_maps_of_generated_patches(tmp_path, scale):
    sunpy_map = pytest.importorskip("sunpy.map")
    patch = generated(scale_mm=scale)
    for found in (patch.to_map(), sunpy_map.Map(write_fits(patch, tmp_path / "b.fits"))):
        assert found.unit == "G" and found.meta["source"] == "generated" and "place" in found.meta["nominal"]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2011.02.15_02:00:00_TAI", "2011-02-15T01:59:26+00:00"),
        ("2017.01.01_00:00:37_TAI", "2017-01-01T00:00:00+00:00"),
        ("2016.07.07_01:00:00.000_TAI", "2016-07-07T00:59:24+00:00"),
        ("2011-02-15T02:00:00Z", "2011-02-15T02:00:00+00:00"),
    ],
)
def test_times_are_read_as_utc(text, utc):
    assert observation_time(text).isoformat() == utc


@pytest.mark.parametrize("text", ["", "nan", "2011.13.45_00:00:00_TAI", "-4712.01.01_11:59:28_TAI"])
def test_what_is_no_time_is_none(text):
    assert observation_time(text) is None


@pytest.mark.skipif(not DATA.is_dir(), reason="real data are not here")
def test_real_sharps_are_read_and_broken_downloads_refused():
    patch = read_sharp(DATA / "harp377" / NAME)
    assert patch.field.shape == (377, 744) and patch.mu == pytest.approx(0.945, abs=1e-3)
    good, refused = [], 0
    for path in sorted((DATA / "sharps").glob("*.fits")):
        try:
            good.append(read_sharp(path).region)
        except UnreadableFits as error:
            assert "QUALITY" in str(error)
            refused += 1
    assert len(good) == 39 and refused == 5 and len(set(good)) == 16
    for path in (DATA / "broken").iterdir():
        with pytest.raises(UnreadableFits, match=path.name):
            read_sharp(path)
