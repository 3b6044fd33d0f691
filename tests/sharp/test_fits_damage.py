"""A good image is read whatever its keywords hold, and damaged bytes are refused or read, never a crash."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.sharp.fits import UnreadableFits, quality_fault, read_sharp
from solquery.sharp.fits_writing import write_fits

NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"
FIELD = np.random.default_rng(0).normal(0, 200, (12, 18)).astype(np.float32)
KEYS = (
    *("T_REC", "DATE-OBS", "CTYPE1", "CTYPE2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "CUNIT1"),
    *("CUNIT2", "CRLN_OBS", "CRLT_OBS", "DSUN_OBS", "RSUN_OBS", "RSUN_REF", "TELESCOP", "INSTRUME", "HARPNUM"),
    *("NOAA_ARS", "NOAA_AR", "USFLUX", "R_VALUE", "LATFWTPO", "CONTENT", "CREATOR", "NOMINAL", "TRUTH", "SEGMENT"),
)
#: None: the keyword is missing; Undefined: its card is blank
values = st.one_of(
    st.none(),
    st.just(fits.card.UNDEFINED),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["nan", "-nan", "", "inf", "degree", "CRLN-CEA", "CRLT-CEA", "HGLN-CEA", "1e999", "HMI"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=len(KEYS)))
def test_any_mixture_of_keywords_is_read_or_refused_in_one_line(tmp_path_factory, cards):
    folder = tmp_path_factory.mktemp("cards")
    header = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, value in cards.items():
            if value is not None:
                header[key] = value
        fits.PrimaryHDU(FIELD, header).writeto(folder / NAME, output_verify="ignore")
    try:
        patch = read_sharp(folder / NAME)
    except UnreadableFits as error:
        # coordinates, a number or a kind of image that the keywords state, and that cannot be
        assert str(error).startswith(f"{folder / NAME}: ") and "\n" not in str(error)
        return
    # quarter turns and mirrorings move pixels, and change none
    np.testing.assert_array_equal(np.sort(patch.field, axis=None), np.sort(FIELD, axis=None))
    assert patch.source == "real" or patch.id
    assert patch.scale_mm is None or min(patch.scale_mm) > 0
    assert np.isnan(patch.mu) or -1.0001 <= patch.mu <= 1.0001
    again = read_sharp(write_fits(patch, folder / "again.fits"))
    np.testing.assert_array_equal(again.field, patch.field)
    assert (again.id, again.region, again.source) == (patch.id, patch.region, patch.source)


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1))
def test_quality_is_signed_and_judged_by_its_bits(quality):
    bits = format(quality & 0xFFFFFFFF, "032b")
    assert (quality_fault(quality) is None) == ("1" not in bits[:16] and bits[-10] == "0")


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_by_name_or_read(tmp_path_factory, data):
    path: Path = tmp_path_factory.mktemp("damage") / NAME
    compressed = data.draw(st.booleans())
    unit = fits.CompImageHDU(FIELD) if compressed else fits.PrimaryHDU(FIELD)
    fits.HDUList([fits.PrimaryHDU(), unit] if compressed else [unit]).writeto(path)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at : at + 9] = data.draw(st.binary(min_size=1, max_size=9) | st.just(b"<html>404"))
    path.write_bytes(content)
    try:
        patch = read_sharp(path)
    except UnreadableFits as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert patch.field.ndim == 2 and not np.isinf(patch.field).any()
