"""The bitmap of a frame lies on the frame's own pixels, however the two files are turned."""

import numpy as np
import pytest
from astropy.io import fits
from known_patch import SHAPE, STEP, field, header, write

from solquery.sharp import read_sharp
from solquery.sharp.bitmaps import bitmap_of
from solquery.sharp.fits import UnreadableFits

NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI"
#: way to store an image, and the header that says so
STORED = {
    "as it is": (lambda d: d, {}),
    "half a turn": (lambda d: d[::-1, ::-1], {"CROTA2": 180.0}),
    "mirrored east-west": (lambda d: d[:, ::-1], {"CDELT1": -STEP}),
    "mirrored north-south": (lambda d: d[::-1], {"CDELT2": -STEP}),
    "a quarter": (
        lambda d: np.rot90(d, 1),
        {"CROTA2": 90.0, "CRPIX1": (SHAPE[0] + 1) / 2, "CRPIX2": (SHAPE[1] + 1) / 2},
    ),
}  # fmt: skip
#: coordinates that a bitmap may lack
COORDINATES = ("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2")


def active():
    return np.where(np.abs(field()) > 300, 34, 33).astype(np.int16)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", STORED)
def test_a_bitmap_is_turned_with_its_frame(tmp_path, kind, bare):
    store, changes = STORED[kind]
    head = header(**changes)
    patch = read_sharp(write(tmp_path / f"{NAME}.Br.fits", store(field()), head))
    np.testing.assert_array_equal(patch.field, field())
    if bare:
        head = fits.Header([card for card in head.cards if card.keyword not in (*COORDINATES, "CROTA2")])
    write(tmp_path / f"{NAME}.bitmap.fits", store(active()), head)
    np.testing.assert_array_equal(bitmap_of(patch, tmp_path), active())


def test_a_bitmap_that_is_stored_otherwise_than_its_frame_is_brought_upright_by_its_own_header(tmp_path):
    patch = read_sharp(write(tmp_path / f"{NAME}.Br.fits", field()))
    write(tmp_path / f"{NAME}.bitmap.fits", active()[::-1], header(CDELT2=-STEP))
    np.testing.assert_array_equal(bitmap_of(patch, tmp_path), active())


def test_what_cannot_be_matched_is_said(tmp_path):
    patch = read_sharp(write(tmp_path / f"{NAME}.Br.fits", field()))
    assert bitmap_of(patch, tmp_path) is None
    (tmp_path / f"{NAME}.bitmap.fits").write_bytes(b"")
    with pytest.raises(UnreadableFits, match=r"bitmap\.fits: is empty"):
        bitmap_of(patch, tmp_path)
    write(tmp_path / f"{NAME}.bitmap.fits", active())
    patch.keywords["NOTES"] = "reprojected to cylindrical equal area"
    with pytest.raises(UnreadableFits, match="other pixels than the reprojected frame"):
        bitmap_of(patch, tmp_path)
