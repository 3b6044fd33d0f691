"""Flaws that are made on purpose: their size is known."""

from __future__ import annotations

import numpy as np
import pytest
from blob_sun import line_of_sight, radial

from solquery.simulator import Instrument, observe
from solquery.simulator.observation import cosine_map
from solquery.translation import TranslationError, mdi_like, saturated, with_missing_block
from solquery.translation.grid import Window, values_on


@pytest.mark.parametrize("longitude", [0.0, 55.0])
def test_mdi_has_its_pixels_its_factor_and_its_noise(longitude):
    given = line_of_sight(radial(7, longitude))
    quiet = mdi_like(given, 3, noise_gauss=0.0)
    assert quiet.scale_mm == (1.45, 1.45) and quiet.quantity == "line-of-sight"
    for sign in (1, -1):
        flux = [(sign * p.field).clip(min=0).sum() * p.scale_mm[0] * p.scale_mm[1] for p in (given, quiet)]
        assert flux[1] / flux[0] == pytest.approx(1.4, rel=0.04)
    noisy = mdi_like(given, 3)
    noise = noisy.field - quiet.field
    # interpolation from foreshortened pixels averages some of it
    assert 0.75 * 16.2 < noise.std() < 1.02 * 16.2
    assert np.abs(quiet.field).max() < 1.4 * np.abs(given.field).max()
    np.testing.assert_array_equal(mdi_like(given, 3).field, noisy.field)


def test_mdi_saw_no_radial_field():
    with pytest.raises(TranslationError, match="is a radial field"):
        mdi_like(radial(1))


def test_a_block_is_missing_where_the_field_is():
    patch = radial(8)
    holed = with_missing_block(patch, 20.0, seed=1)
    lost = np.isnan(holed.field)
    rows, columns = np.flatnonzero(lost.any(1)), np.flatnonzero(lost.any(0))
    assert lost.sum() == len(rows) * len(columns) == round(20 / 0.911) ** 2
    assert (holed.field[~lost] == patch.field[~lost]).all()
    with pytest.raises(TranslationError, match="too small"):
        with_missing_block(patch, 80.0)


def test_a_pixel_of_which_half_is_missing_has_a_value():
    field = np.full((40, 40), 100.0, np.float32)
    field[10:20, 11:21] = np.nan
    patch = radial(1).with_field(field, (0.9111, 0.9111))
    field, lost = values_on(patch, Window((20, 20), (1.8222, 1.8222), (0.0, 0.0)))
    assert (np.abs(lost - 0.5) < 1e-6).any()
    np.testing.assert_allclose(field[lost <= 0.5], 100.0, rtol=1e-5)


def test_a_clipped_field_ends_at_its_limit():
    assert np.abs(saturated(radial(9), 500.0).field).max() == 500.0
    with pytest.raises(TranslationError, match="above 0"):
        saturated(radial(9), 0.0)


@pytest.mark.parametrize("west", [True, False])
def test_the_penumbra_toward_the_limb_shows_the_false_polarity(west):
    """Field that spreads out of a positive spot points away from the observer on the limb side."""
    y, x = np.mgrid[-40:41, -40:41].astype(np.float32)
    r = np.hypot(y, x) + 1e-3
    spot = (2500 * np.exp(-((r / 8) ** 2))).astype(np.float32)
    spread = (1000 * np.exp(-(((r - 14) / 5) ** 2))).astype(np.float32)
    still = Instrument(los_noise_gauss=1e-3, transverse_noise_gauss=1e-3, unresolved=0.0)
    mu, _ = cosine_map(spot.shape, 0.0, 60.0 if west else -60.0, 0.0)
    rng = np.random.default_rng(1)
    _, los = observe(spot, spread * y / r, spread * x / r, mu, west, rng, still)
    limb_side = los[40, 54] if west else los[40, 26]
    disk_side = los[40, 26] if west else los[40, 54]
    assert limb_side < -300 and disk_side > 300
