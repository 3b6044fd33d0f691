"""Plain files are read without astropy, with the same result; all others are left to it."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import solquery
from solquery import sample_patches
from solquery.sharp import quick_reading, rice
from solquery.sharp.fits import UnreadableFits, read_sharp
from solquery.sharp.fits_writing import write_fits

needs_fitsio = pytest.mark.skipif(find_spec("fitsio") is None, reason="fitsio is not installed")


def outcome(path, **options):
    """What comes of reading a file: a patch as plain values, or the complaint."""
    try:
        patch = read_sharp(path, strict_quality=False, **options)
    except UnreadableFits as error:
        return str(error)
    return {**vars(patch), "field": None}, patch.field


def same(path, monkeypatch, **options):
    """Whether a file is read the same with astropy and without; returns whether it was read without."""
    quick = quick_reading.quick_units(path) is not None
    ours = outcome(path, **options)
    with monkeypatch.context() as m:
        m.setenv("SOLQUERY_FITSIO", "0")
        assert quick_reading.quick_units(path) is None
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


@needs_fitsio
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


@needs_fitsio
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


@needs_fitsio
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


def test_without_fitsio_only_what_is_stored_as_jsoc_does_is_read_without_astropy(tmp_path, monkeypatch, field):
    monkeypatch.setattr(quick_reading, "_fitsio", lambda: None)
    assert same(as_jsoc(tmp_path / NAME, field, np.int32, 0.01), monkeypatch)
    for k, (kind, scale, compressed) in enumerate([(np.int16, 0.25, True), (np.int32, 0.01, False)]):
        other = as_jsoc(tmp_path / f"{k}.fits", field, kind, scale, compressed=compressed)
        assert not same(other, monkeypatch)


def stored(path):
    """Content of a file of one compressed image, where its table begins, and the keywords of the table."""
    content = path.read_bytes()
    (cards, start) = list(quick_reading._headers(content))[1]
    return content, start, cards


@pytest.mark.parametrize("spread", [0.0, 0.003, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 700])
def test_whole_numbers_of_any_spread_are_decoded_as_astropy_decodes_them(tmp_path, spread, columns):
    """Blocks without differences, with few bits, and with all 32 of them; rows shorter than a block, and longer."""
    rng = np.random.default_rng(columns)
    values = np.rint(rng.normal(0, 1 + spread, (9, columns)) ** 3).clip(-(2**31) + 1, 2**31 - 1).astype(np.int64)
    values[4] = rng.integers(-(2**31) + 1, 2**31 - 1, columns)
    values[5] = 7
    values[6, ::2] = 2**31 - 1
    path = as_jsoc(tmp_path / NAME, values * 0.5, np.int32, 0.5)
    found = rice.scaled_image(*stored(path))
    with fits.open(path) as units:
        np.testing.assert_array_equal(found, units[1].data)


@pytest.mark.parametrize("seed", range(40))
def test_a_broken_code_never_reads_what_is_not_its_own(tmp_path, field, seed):
    """Whatever the bytes of the code are, all pixels come out or the row is said to break off."""
    content, start, cards = stored(as_jsoc(tmp_path / NAME, field, np.int32, 0.01))
    rng, heap = np.random.default_rng(seed), start + cards["NAXIS1"] * cards["NAXIS2"]
    harmed = bytearray(content)
    for at in rng.integers(heap, heap + cards["PCOUNT"], 200):
        harmed[at] = rng.integers(256)
    found = rice.scaled_image(bytes(harmed), start, cards)
    assert found is None or found.shape == field.shape
    # rows that are said to be shorter than their code break off, unless what is lost held no bit
    places = np.frombuffer(content, ">i4", 2 * len(field), start).reshape(-1, 2).copy()
    places[:, 0] //= 2
    harmed[start : start + places.nbytes] = places.tobytes()
    harmed[heap:] = content[heap:]
    assert rice.scaled_image(bytes(harmed), start, cards) is None
    places[:, 1] += cards["PCOUNT"]
    harmed[start : start + places.nbytes] = places.tobytes()
    assert rice.scaled_image(bytes(harmed), start, cards) is None


@pytest.mark.parametrize(
    "change",
    [{"ZCMPTYPE": "GZIP_1"}, {"ZBITPIX": 16}, {"ZTILE2": 2}, {"ZNAME1": "NOISEBIT"}, {"TFIELDS": 2}, {"BSCALE": "x"}],
)
def test_what_is_stored_otherwise_is_left_to_others(tmp_path, field, change):
    content, start, cards = stored(as_jsoc(tmp_path / NAME, field, np.int32, 0.01))
    assert rice.scaled_image(content, start, cards) is not None
    assert rice.scaled_image(content, start, {**cards, **change}) is None
