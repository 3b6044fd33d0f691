"""Units, fill values, kinds of images and names of observations: what a file says is honoured or refused."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from command_line import call, document
from known_patch import field, header, physics, write

from solquery.archive import Archive
from solquery.search.explanation import links
from solquery.sharp.content import segment_of_name
from solquery.sharp.fits import UnreadableFits, read_sharp
from solquery.sharp.fits_writing import write_fits
from solquery.sharp.units import gauss_per_unit

NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI.{}.fits"


# ------------------------------------------------------------------------ units


@pytest.mark.parametrize(
    ("unit", "gauss"),
    [
        ("Gauss", 1), ("GAUSS", 1), ("G", 1), ("Mx/cm^2", 1), ("Mx cm-2", 1), ("Maxwell/cm2", 1), ("kG", 1e3),
        ("kGauss", 1e3), ("milliTesla", 10), ("mT", 10), ("millitesla", 10), ("T", 1e4), ("Tesla", 1e4), ("uT", 0.01),
        ("nT", 1e-5), ("1e-4 T", 1), ("10**-4 T", 1), ("Wb/m2", 1e4),
    ],
)  # fmt: skip
def test_units_of_flux_density_are_converted(tmp_path, unit, gauss):
    assert gauss_per_unit(unit, False) == pytest.approx(gauss)
    patch = read_sharp(write(tmp_path / "a.fits", (field() / gauss).astype(np.float32), header(BUNIT=unit)))
    np.testing.assert_allclose(patch.field, field(), rtol=1e-5)
    assert (f"converted from {unit}" in patch.keywords["NOTES"]) == (gauss != 1)


@pytest.mark.parametrize("unit", ["DN/s", "cm/s", "degree", "Mx", "counts", "G/pix", "furlong", "T m", "1.2.3"])
def test_what_is_no_flux_density_is_refused_with_its_name(tmp_path, unit):
    with pytest.raises(UnreadableFits, match="BUNIT") as caught:
        read_sharp(write(tmp_path / "a.fits", field(), header(BUNIT=unit)))
    assert repr(unit) in str(caught.value)


def test_no_unit_is_gauss_only_where_the_series_says_so(tmp_path):
    np.testing.assert_array_equal(read_sharp(write(tmp_path / "a.fits", field(), header(BUNIT=None))).field, field())
    other = write(tmp_path / "b.fits", field(), header(BUNIT=None, HARPNUM=None))
    with pytest.raises(UnreadableFits, match=r"no BUNIT.*--unit"):
        read_sharp(other)
    np.testing.assert_allclose(read_sharp(other, unit="mT").field, 10 * field(), rtol=1e-6)


@pytest.mark.parametrize("fill", [-32768.0, 1e20, -1e30, 9.96921e36, -2147483648.0, -9999.0])
def test_fill_values_are_missing(tmp_path, fill):
    data = field()
    data[3, 4] = data[10, 11] = fill
    patch = read_sharp(write(tmp_path / "a.fits", data))
    assert np.isnan(patch.field[3, 4]) and np.isnan(patch.field[10, 11]) and np.isnan(patch.field).sum() == 2
    assert "2 pixels" in patch.keywords["NOTES"]


@pytest.mark.parametrize("unit", ["G", "mT"])
def test_stated_fill_values_are_missing_before_anything_is_converted(tmp_path, unit):
    data = np.round(field()).astype(np.int16)
    data[0] = 77
    data[3, 4] = -32768
    blank = read_sharp(write(tmp_path / "a.fits", data, header(BLANK=-32768, FILLVAL=77, BUNIT=unit)))
    assert np.isnan(blank.field[0]).all() and np.isnan(blank.field[3, 4])
    assert np.nanmax(np.abs(blank.field)) < 1600 * gauss_per_unit(unit, False)


def test_the_lowest_number_of_a_scaled_array_is_missing(tmp_path):
    path = tmp_path / "a.fits"
    data = np.round(field() * 10).astype(np.int16)
    data[2, 3] = -32768
    write(path, data)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as units:
        units[0].header["BSCALE"], units[0].header["BZERO"] = 0.1, 0.0
    patch = read_sharp(path)
    assert np.isnan(patch.field[2, 3]) and np.isnan(patch.field).sum() == 1
    np.testing.assert_allclose(np.nan_to_num(patch.field[0]), field()[0], atol=0.06)


# -------------------------------------------------------------- kinds of images


def bitmap():
    return np.where(np.abs(field()) > 100, 34, 1).astype(np.int16)


def confidence():
    return np.where(np.abs(field()) > 100, 90.0, 50.0).astype(np.float32)


@pytest.mark.parametrize("name", ["bitmap.fits", "Br.fits", "x.fits", NAME.format("Br")])
@pytest.mark.parametrize("mask", [bitmap, confidence])
def test_a_mask_is_no_field_whatever_it_is_called(tmp_path, name, mask):
    with pytest.raises(UnreadableFits, match=r"mask|bitmap"):
        read_sharp(write(tmp_path / name, mask(), header(BUNIT=None)))


@pytest.mark.parametrize(
    "name", ["Bp.fits", "Bt.fits", "Dopplergram.fits", "continuum.fits", "377_Bp.fits", "field.fits", NAME.format("Bp"),
             "Br_err.fits", NAME.format("inclination"), "conf_disambig.fits.gz"],
)  # fmt: skip
def test_the_name_refuses_other_images_where_nothing_else_tells(tmp_path, name):
    path = write(tmp_path / name, field())
    with pytest.raises(UnreadableFits, match=r"name says so.*--segment"):
        read_sharp(path)
    assert read_sharp(path, segment="Br").segment == "Br"


@pytest.mark.parametrize("name", ["bitmap_free.fits", "my_field.fits", "Bright.fits", "br_377.fits", "lost.fits"])
def test_a_name_that_only_sounds_like_one_is_no_hint(tmp_path, name):
    assert segment_of_name(name) in ("", "Br")
    assert read_sharp(write(tmp_path / name, field())).quantity == "radial"


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"BUNIT": "DN/s"}, "DN/s"),
        ({"BUNIT": "cm/s"}, "cm/s"),
        ({"CONTENT": "CONTINUUM INTENSITY"}, "continuum"),
        ({"EXTNAME": "Bp"}, "Bp"),
        ({"SEGMENT": "azimuth"}, "azimuth"),
    ],
)
def test_keywords_speak_before_the_name(tmp_path, cards, said):
    with pytest.raises(UnreadableFits, match=said):
        read_sharp(write(tmp_path / NAME.format("Br"), field(), header(**cards)))
    seen = read_sharp(write(tmp_path / "Br.fits", field(), header(CONTENT="MAGNETOGRAM")))
    assert (seen.segment, seen.quantity) == ("magnetogram", "line-of-sight")


def test_a_field_without_sign_is_a_strength(tmp_path):
    with pytest.raises(UnreadableFits, match="no negative value"):
        read_sharp(write(tmp_path / "a.fits", np.abs(field()) + 1))


def test_the_name_as_a_last_resort_is_said(tmp_path):
    assert "name of the file" in read_sharp(write(tmp_path / "Br.fits", field())).keywords["NOTES"]
    assert "assumed" in read_sharp(write(tmp_path / "x.fits", field())).keywords["NOTES"]
    _, err = call("ingest", tmp_path, "--archive", tmp_path / "a")
    assert "segment Br taken from the name" in err


def several(path, *units, head=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList([fits.PrimaryHDU(None, head), *units]).writeto(path)
    return path


def test_header_in_the_primary_and_data_in_an_extension_belong_together(tmp_path):
    plain = read_sharp(write(tmp_path / "a.fits", field()))
    parts = read_sharp(several(tmp_path / "b.fits", fits.ImageHDU(field()), head=header()))
    assert parts.id == plain.id and physics(parts) == pytest.approx(physics(plain))
    unit = fits.ImageHDU(field() / 10, fits.Header({"BUNIT": "mT"}))
    np.testing.assert_allclose(read_sharp(several(tmp_path / "c.fits", unit, head=header())).field, field(), rtol=1e-5)


def test_the_right_image_of_several_is_found_by_name_and_content(tmp_path):
    head = header(BUNIT=None)
    mask = fits.ImageHDU(bitmap(), name="BITMAP")
    light = fits.ImageHDU(np.abs(field()) + 5e4, fits.Header({"BUNIT": "DN/s"}), name="CONTINUUM")
    error = fits.ImageHDU(np.abs(field()), fits.Header({"BUNIT": "G"}), name="ERR")
    found = fits.ImageHDU(field(), fits.Header({"BUNIT": "G"}), name="DATA")
    path = several(tmp_path / "a.fits", mask, light, error, found, head=head)
    np.testing.assert_array_equal(read_sharp(path).field, field())
    other = fits.ImageHDU(2 * field(), fits.Header({"BUNIT": "G"}), name="Br")
    path = several(tmp_path / "b.fits", found, other, head=head)
    np.testing.assert_array_equal(read_sharp(path).field, 2 * field())
    twice = several(
        tmp_path / "c.fits", found, fits.ImageHDU(field(), fits.Header({"BUNIT": "G"}), name="MORE"), head=head
    )
    with pytest.raises(UnreadableFits, match=r"2 images.*DATA.*MORE.*--segment"):
        read_sharp(twice)


def test_an_axis_of_length_one_is_no_third_dimension(tmp_path):
    np.testing.assert_array_equal(read_sharp(write(tmp_path / "a.fits", field()[None])).field, field())


# -------------------------------------------------------------------- identity


def test_one_frame_of_several_series_is_several_patches(tmp_path):
    names = {
        "sharp-377-": ("hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits", {}),
        "sharp-nrt-377-": ("hmi.sharp_cea_720s_nrt.377.20110215_020000_TAI.Br.fits", {}),
        "smarp-377-": ("mdi.smarp_cea_96m.377.20110215_020000_TAI.magnetogram.fits", {}),
    }
    for prefix, (name, cards) in names.items():
        assert read_sharp(write(tmp_path / name, field(), header(**cards))).id.startswith(prefix)
    quick = read_sharp(write(tmp_path / "a.fits", field(), header(QLOOK=1)))
    assert quick.id.startswith("sharp-nrt-377-")


def test_a_smarp_is_its_own_region_and_instrument(tmp_path):
    cards = {"HARPNUM": None, "TARPNUM": 377, "TELESCOP": "SOHO", "INSTRUME": "MDI", "BUNIT": "Gauss"}
    patch = read_sharp(write(tmp_path / "a.fits", field(), header(**cards)))
    assert patch.region == "TARP 377" and patch.harpnum is None and patch.quantity == "line-of-sight"
    assert "MDI" in patch.credit and patch.id.startswith("smarp-377-")
    archive = Archive.create(tmp_path / "archive")
    archive.add([patch, read_sharp(write(tmp_path / "b.fits", field()))])
    rows = {row["region"]: row for row in archive.table().to_pylist()}
    assert rows["TARP 377"]["instrument"] == "SOHO/MDI" and rows["HARP 377"]["instrument"] == "SDO/HMI"
    assert "mdi.smarp_cea_96m%5B377%5D" in links(rows["TARP 377"])["jsoc"]
    assert "hmi.sharp_cea_720s%5B377%5D" in links(rows["HARP 377"])["jsoc"]


def test_definitive_replaces_near_real_time_with_a_word(tmp_path):
    quick = write(tmp_path / "hmi.sharp_cea_720s_nrt.377.20110215_020000_TAI.Br.fits", field(seed=5))
    final = write(tmp_path / "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits", field())
    assert document("ingest", quick, "--archive", tmp_path / "a")["added"] == 1
    out, err = call("ingest", final, "--archive", tmp_path / "a")
    assert "replace near-real-time" in err and "1 added" in out
    archive = Archive.open(tmp_path / "a")
    assert archive.ids() == ["sharp-377-20110215T020000-Br"]
    _, err = call("ingest", quick, "--archive", tmp_path / "a", code=1)
    assert "definitive frame" in err and len(archive) == 1


def test_other_pixels_under_one_id_are_refused_and_not_called_there_already(tmp_path):
    first = write(tmp_path / "a.fits", field())
    again, other = write(tmp_path / "b.fits", field()), write(tmp_path / "c.fits", field(seed=9))
    done = document("ingest", first, again, other, "--archive", tmp_path / "x")
    assert (done["added"], done["duplicates"], len(done["refused"])) == (1, 1, 1)
    assert "other pixels" in done["refused"][0]["reason"] and done["refused"][0]["file"] == str(other)


def test_the_real_field_goes_in_after_its_companions_were_refused(tmp_path):
    for name in ("bitmap.fits", "Bp.fits", "Dopplergram.fits"):
        write(tmp_path / name, bitmap() if name == "bitmap.fits" else field(seed=7), header(BUNIT=None))
    write(tmp_path / "Br.fits", field())
    done = document("ingest", tmp_path, "--archive", tmp_path / "a")
    assert done["added"] == 1 and len(done["refused"]) == 3
    np.testing.assert_allclose(next(Archive.open(tmp_path / "a").patches()).field, field(), rtol=1e-3)


def test_ids_of_one_file_name_and_one_id_twice_keep_files_of_their_own(tmp_path):
    from dataclasses import replace

    from solquery.archive.export import export, file_stems

    ids = ["a/b", "a_b", "A_B", ".hidden", "x" * 400, "x" * 401, "plain", "plain"]
    stems = file_stems(ids)
    assert len({stem.lower() for stem in stems}) == len(ids) and stems[6:] == ["plain", "plain-2"]
    assert all(len(stem) < 200 and not stem.startswith(".") and "/" not in stem for stem in stems)
    patch = read_sharp(write(tmp_path / "a.fits", field()))
    archive = Archive.create(tmp_path / "archive")
    archive.add(replace(patch, id=i, field=np.float32(k + 1) * field()) for k, i in enumerate(("a/b", "a_b")))
    assert export(archive, tmp_path / "out", "fits") == 2
    found = {read_sharp(path).id for path in (tmp_path / "out").iterdir()}
    assert found == {"a/b", "a_b"}


def test_notes_stay_with_a_written_patch(tmp_path):
    patch = read_sharp(write(tmp_path / "a.fits", field()[:, ::-1], header(CDELT1=-0.03)))
    again = read_sharp(write_fits(patch, tmp_path / "b.fits"))
    assert "mirrored east-west" in patch.keywords["NOTES"] and again.keywords["NOTES"] == patch.keywords["NOTES"]
