"""Plain files are read by fitsio where it is installed, with the same result; all others are left to astropy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import solquery
from solquery import sample_patches
from solquery.sharp import quick_reading
from solquery.sharp.fits import UnreadableFits, load_image, read_sharp
from solquery.sharp.fits_writing import write_fits

pytest.importorskip("fitsio")


def outcome(path, **options):
    """What comes of reading a file: a patch as plain values, or the complaint."""
    try:
        patch = read_sharp(path, strict_quality=False, **options)
    except UnreadableFits as error:
        return str(error)
    return {**vars(patch), "field": None}, patch.field


def same(path, monkeypatch, **options):
    """Whether fitsio and astropy agree on a file; returns whether fitsio read it."""
    quick = quick_reading.quick_units(path) is not None
    ours = outcome(path, **options)
    with monkeypatch.context() as m:
        m.setattr(quick_reading, "_fitsio", lambda: None)
        theirs = outcome(path, **options)
    if isinstance(theirs, str):
        assert ours == theirs
        return quick
    np.testing.assert_equal(ours[0], theirs[0])
    assert list(ours[0]["keywords"]) == list(theirs[0]["keywords"])
    assert ours[1].dtype == theirs[1].dtype
    np.testing.assert_array_equal(ours[1], theirs[1])
    return quick


SAMPLES = sorted((Path(solquery.__file__).parent / "samples").glob("*.fits"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_read_the_same(path, monkeypatch):
    # they carry no sum of their data, so that astropy has to look
    assert not same(path, monkeypatch)


@pytest.fixture
def field():
    values = np.random.default_rng(4).normal(0, 300, (37, 61)).astype(np.float32)
    values[3, 4:9] = np.nan
    return values


@pytest.mark.parametrize("quantum", [None, 0.01, 1.0])
def test_written_patches_are_read_the_same(tmp_path, monkeypatch, field, quantum):
    patch = dataclasses.replace(
        sample_patches()[0], field=field, credit="the Sun's own", truth={"spots": [1, 2], "note": "x" * 200}
    )
    path = write_fits(patch, tmp_path / "patch.fits", **({} if quantum is None else {"quantum_gauss": quantum}))
    same(path, monkeypatch)
    short = write_fits(dataclasses.replace(patch, truth={}), tmp_path / "short.fits")
    assert same(short, monkeypatch)


#: as JSOC writes a SHARP: a table with one compressed image of scaled numbers, blank where it is missing
CARDS = {
    "T_REC": "2011.02.15_02:00:00_TAI", "HARPNUM": 377, "SEGMENT": "Br", "BUNIT": "Gauss", "QUALITY": "0x00000000",
    "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CRPIX1": 31.0, "CRPIX2": 19.0, "CRVAL1": 30.0, "CRVAL2": -20.0,
    "CDELT1": 0.03, "CDELT2": 0.03, "CUNIT1": "deg", "CUNIT2": "deg", "CRLN_OBS": 33.0, "CRLT_OBS": -6.8,
    "DATE-OBS": "2011-02-15T01:58:12", "OBSERVER": "it's ' quoted", "EMPTY": "", "TRUE": True, "BIG": 2.714760e22,
}  # fmt: skip


NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"


def as_jsoc(path, field, kind, scale, blank=True, compressed=True, cards=CARDS):
    low = np.iinfo(kind).min
    stored = np.where(np.isfinite(field), np.rint(np.nan_to_num(field) / scale), low).astype(kind)
    make = fits.CompImageHDU if compressed else fits.ImageHDU
    unit = make(stored, header=fits.Header(cards))
    if blank:
        unit.header["BLANK"] = low
    unit.header["BSCALE"], unit.header["BZERO"] = scale, 0.0
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, checksum=True)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"2.71476E+22", b"2.71476e+22"))
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("blank", [True, False])
@pytest.mark.parametrize(("kind", "scale"), [(np.int16, 0.25), (np.int32, 0.01), (np.int32, 1.0)])
def test_scaled_numbers_are_read_the_same(tmp_path, monkeypatch, field, kind, scale, blank, compressed):
    values = field if blank else np.nan_to_num(field)
    path = as_jsoc(
        tmp_path / "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits", values, kind, scale, blank, compressed
    )
    assert same(path, monkeypatch)
    if blank:
        assert np.isnan(read_sharp(path).field[3, 4:9]).all()


@pytest.mark.parametrize("harm", ["cut", "flip", "header", "text", "nan", "empty"])
def test_damaged_and_unusual_files_are_told_of_as_before(tmp_path, monkeypatch, field, harm):
    path = as_jsoc(tmp_path / NAME, field, np.int32, 0.01)
    content = bytearray(path.read_bytes())
    if harm == "cut":
        content = content[: len(content) - 2880]
    elif harm == "flip":
        content[-2000] ^= 0xFF
    elif harm == "header":
        at = content.index(b"CRVAL1")
        content[at : at + 10] = b"CRVAL1 :: "
    elif harm == "text":
        content = bytearray(b"this is no FITS file")
    elif harm == "nan":
        content = content.replace(b"2.71476e+22", b"        nan")
    else:
        content = bytearray()
    path.write_bytes(content)
    assert same(path, monkeypatch) == (harm == "nan")


def test_a_text_of_several_cards_a_gzipped_file_and_several_images_are_read_the_same(tmp_path, monkeypatch, field):
    import gzip

    long = as_jsoc(tmp_path / "long.fits", field, np.int32, 0.01, cards={**CARDS, "NOTE": "y" * 150})
    assert not same(long, monkeypatch)
    plain = as_jsoc(tmp_path / "plain.fits", field, np.int32, 0.01)
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert not same(packed, monkeypatch)
    units = [fits.PrimaryHDU(header=fits.Header({"T_REC": "2011.02.15_02:00:00_TAI", "HARPNUM": 377}))]
    units += [fits.ImageHDU(field, name=name, header=fits.Header({"BUNIT": "Gauss"})) for name in ("Br", "magnetogram")]
    units.append(fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])]))
    several = tmp_path / "several.fits"
    fits.HDUList(units).writeto(several)
    for segment in ("Br", "magnetogram", None):
        assert same(several, monkeypatch, segment=segment)


def test_without_fitsio_astropy_reads_all(tmp_path, monkeypatch, field):
    path = as_jsoc(tmp_path / "plain.fits", field, np.int32, 0.01)
    quick_reading._fitsio.cache_clear()
    monkeypatch.setenv("SOLQUERY_FITSIO", "0")
    try:
        assert quick_reading.quick_units(path) is None
        np.testing.assert_array_equal(read_sharp(path).field, np.asarray(load_image(path).array, np.float32))
    finally:
        quick_reading._fitsio.cache_clear()
