"""Files that are read without astropy say to the bit what astropy says of them, or nothing."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solquery.archive import header as hd
from solquery.archive import plain
from solquery.archive.fits import UnreadableFits, load_checked, load_image, read_sharp
from solquery.archive.plain import read_plain

QUICKLY = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
ODD = """GWILL   = nan
ERRX    = -inf / no error
USFLUX  = 1.327815e+21
DEXP    = 1.5D3
BARE    = .5
POINT   = 5.
LEADING = 007 / seven
PLUS    = +12
BLANK1  =
BLANK2  = / nothing
TRUTH   = T
INVPHMAP= ' '
EMPTY   = ''
QUOTED  = 'it''s'
OPEN    = 'no end
LONG    = 'and &'
CONTINUE  'alone'
TIME    = '2012-03-06T14:24:00'
TABLE   = 'a: 3'
DP1     = 'AXIS.1: 2'
WORDS   = two words
lower   = 3
NOVALUE
HIERARCH a b = 3
COMMENT = 3
HISTORY none
CPLX    = (1, 2)
SPACED  =   1 000
T_REC   = 'x' y
T_REC   = 'again'
NEXT   =3
NEXT    =3
AMP     = 'a&&' / b
SLASH   = 'a/b' / c/d
E       = 1E5
DOTS    = 1.2.3"""
CARDS = st.one_of(
    st.sampled_from(ODD.splitlines()),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70).map(lambda words: f"TEXT    = '{words}'"),
    st.floats(allow_nan=True).map(lambda value: f"REAL    = {value!r}"),
)


def block(content: bytes, fill: bytes) -> bytes:
    return content + fill * (-len(content) % 2880)


def by_hand(cards, image):
    """A file of one float32 image with cards as they are given."""
    ny, nx = image.shape
    shape = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny}
    begin = [f"{key:8s}= {value:>20}" for key, value in shape.items()]
    text = "".join(f"{card:80s}"[:80] for card in [*begin, *cards, "END"])
    return block(text.encode("ascii"), b" ") + block(image.astype(">f4").tobytes(), b"\0")


def compressed(image, **more):
    held = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unit = fits.CompImageHDU(image, compression_type="RICE_1", **more)
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(held)
    return held.getvalue()


def assert_as_astropy(content, path):
    """What is said of a plain file is what astropy says; whether anything was said."""
    found = read_plain(content)
    path.write_bytes(content)
    if found is None:
        return False
    image, keywords = load_image(path)
    assert found.image.tobytes() == image.astype(np.float32).tobytes()
    these, those = hd.kept(found.keywords), hd.kept(keywords)
    assert list(these.items()) == list(those.items())
    assert [type(value) for value in these.values()] == [type(value) for value in those.values()]
    return True


@QUICKLY
@given(st.lists(CARDS, max_size=3))
def test_any_header_is_read_as_astropy_reads_it_or_not_at_all(tmp_path_factory, cards):
    content = by_hand(cards, np.arange(6.0).reshape(2, 3))
    assert_as_astropy(content, tmp_path_factory.getbasetemp() / "header.fits")


@QUICKLY
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 150)),
    spread=st.sampled_from([0, 1, 30, 3e4, 2e9]),
    quantum=st.sampled_from([None, 0.01, 8.0]),
    missing=st.booleans(),
)
def test_compressed_images_come_to_the_bit(tmp_path_factory, seed, shape, spread, quantum, missing):
    rng = np.random.default_rng(seed)
    numbers = np.clip(rng.normal(0, 1, shape) * spread, -(2.0**31) + 1, 2.0**31 - 1)
    # flat stretches are blocks without bits
    numbers[:, : shape[1] // 3] = 0
    path = tmp_path_factory.getbasetemp() / "image.fits"
    if quantum is not None:
        field = numbers.astype(np.float32)
        if missing:
            field[0, -1] = np.nan
        assert_as_astropy(compressed(field, quantize_level=-quantum, quantize_method=-1), path)
        return
    whole = numbers.astype(np.int32)
    header = fits.Header([("BLANK", -(2**31)), ("BSCALE", 0.01), ("BZERO", 0.0)])
    if missing:
        whole[0, -1] = -(2**31)
    unit = fits.ImageHDU(whole, fits.Header([("BLANK", -(2**31))]))
    content = compressed(unit.data, header=unit.header)
    # scaled as JSOC does it: the cards are there, the numbers are as they were
    at = content.index(b"BLANK   =")
    cards = "".join(f"{f'{key:8s}= {value}':80s}" for key, value in header.items())
    end = content.index(b"END" + b" " * 77, at)
    head = content[2880:end].replace(content[at : at + 80], b"") + cards.encode() + b"END" + b" " * 77
    data = content[2880 + -(-(end + 80 - 2880) // 2880) * 2880 :]
    assert assert_as_astropy(content[:2880] + block(head, b" ") + data, path)


def test_long_steps_after_flat_stretches_come_to_the_bit(tmp_path):
    # a step of a row that is flat otherwise is written in unary, over several bytes
    field = np.zeros((300, 40), np.float32)
    field[:, 30:] = 5 * np.arange(300)[:, None] + 1
    field[:, 31::3] += 1
    assert assert_as_astropy(compressed(field, quantize_level=-1.0, quantize_method=-1), tmp_path / "a.fits")


def test_what_jsoc_and_this_package_write_is_plain(sun, sun_patches, tmp_path):
    from solquery.archive.fits import write_fits

    for k, f in enumerate(sun[:4]):
        assert assert_as_astropy(f.file("fits"), tmp_path / f"{k}.fits")
        assert assert_as_astropy(f.file("as-is"), tmp_path / f"{k}.fits")
    for quantum in (None, 0.1):
        path = write_fits(sun_patches[0], tmp_path / "own.fits", quantum_gauss=quantum)
        assert assert_as_astropy(path.read_bytes(), path)


def test_a_damaged_file_is_never_read_as_another(sun, tmp_path):
    whole, rng = sun[0].file("as-is"), np.random.default_rng(20260301)
    said = 0
    for _ in range(60):
        spoilt = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            spoilt[at] ^= 1 << int(rng.integers(8))
        found = read_plain(bytes(spoilt))
        path = tmp_path / "spoilt.fits"
        path.write_bytes(spoilt)
        if found is not None:
            said += 1
            image, _ = load_image(path)
            np.testing.assert_array_equal(found.image, image.astype(np.float32))
    assert said > 0, "most bits of an image can be changed without a trace in its form"
    for cut in (0, 1, 80, 2879, 2880, len(whole) - 2880, len(whole) - 1):
        assert read_plain(whole[:cut]) is None
    assert read_plain(whole + b"\0") is None and read_plain(whole + whole) is None


def test_changed_bytes_are_told_by_the_sums(sun, tmp_path):
    content = next(f for f in sun if b"DATASUM" in f.file("as-is")).file("as-is")
    path = tmp_path / "hmi.sharp_cea_720s.1401.20120306_000000_TAI.Br.fits"
    path.write_bytes(content)
    assert load_checked(path, header=True)[0].shape == load_image(path)[0].shape
    unit = plain.units_of(content)[-1]
    # the padding behind the heap says nothing about the image, and is summed up too
    spoilt = content[: unit.end - 1] + bytes([content[unit.end - 1] ^ 1])
    path.write_bytes(spoilt)
    with pytest.raises(UnreadableFits, match="DATASUM inside it"):
        read_sharp(path)
    edited = content.replace(b"DSUN_OBS=", b"DSUN_OBT=", 1) if b"DSUN_OBS=" in content else None
    if edited is not None:
        path.write_bytes(edited)
        load_checked(path)
        with pytest.raises(UnreadableFits, match="checksum inside it"):
            load_checked(path, header=True)


def test_without_the_compiled_decoder_astropy_reads(sun_patches, tmp_path, monkeypatch):
    from solquery.archive.fits import write_fits

    path = write_fits(sun_patches[0], tmp_path / "own.fits", quantum_gauss=0.1)
    quick = read_sharp(path)
    monkeypatch.setattr(plain, "_rice", lambda: None)
    assert read_plain(path.read_bytes()) is None
    slow = read_sharp(path)
    np.testing.assert_array_equal(quick.field, slow.field)
    assert quick.keywords == slow.keywords and quick.id == slow.id
