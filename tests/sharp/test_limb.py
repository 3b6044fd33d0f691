"""Where the limb cuts a patch."""

import numpy as np
import pytest

from solquery.sharp.limb import mu_of_pixels, offlimb_fraction

MM_PER_DEG = 0.364425 / 0.03


def test_the_centre_of_the_disk_faces_us_and_the_pole_tips():
    zero = np.zeros(1)
    assert mu_of_pixels(zero, zero, 7.0, 0.0, 7.0)[0] == pytest.approx(1)
    assert mu_of_pixels(zero, zero, 90.0, 33.0, -7.0)[0] == pytest.approx(np.sin(np.radians(-7)))
    assert np.isnan(mu_of_pixels(zero, zero + 1.1, 0.0, 0.0, 0.0)[0])


@pytest.mark.parametrize(("latitude", "longitude"), [(0, 40), (-25, -60), (31, 75), (-10, 120)])
def test_pixels_lie_where_a_rotation_puts_them(latitude, longitude):
    x, y, b0 = 0.2, -0.1, 5.0
    lat, lon, tip = np.radians([latitude, longitude, b0])
    point = np.array([np.cos(np.arcsin(y)) * np.cos(x), np.cos(np.arcsin(y)) * np.sin(x), y])
    tilt = np.array([[np.cos(lat), 0, -np.sin(lat)], [0, 1, 0], [np.sin(lat), 0, np.cos(lat)]])
    turn = np.array([[np.cos(lon), -np.sin(lon), 0], [np.sin(lon), np.cos(lon), 0], [0, 0, 1]])
    expected = turn @ tilt @ point @ np.array([np.cos(tip), 0, np.sin(tip)])
    got = mu_of_pixels(np.array([x]), np.array([y]), latitude, longitude, b0)[0]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("longitude", "expected"), [(90.0, 0.5), (-90.0, 0.5), (85.0, 0.25), (-95.0, 0.75), (0.0, 0.0)]
)
def test_a_patch_on_the_equator_is_cut_by_a_meridian(longitude, expected):
    shape = (40, 400)
    scale = (0.05 * MM_PER_DEG, 0.05 * MM_PER_DEG)
    assert offlimb_fraction(shape, scale, 0.0, longitude, 0.0) == pytest.approx(expected, abs=0.01)


def test_what_is_not_known_is_not_guessed():
    assert np.isnan(offlimb_fraction((4, 4), None, 0.0, 0.0, 0.0))
    assert np.isnan(offlimb_fraction((4, 4), (0.4, 0.4), float("nan"), 0.0, 0.0))
