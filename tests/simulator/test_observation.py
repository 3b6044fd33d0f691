"""Noise and point spread against what was measured in quiet areas of real Br frames, and strong fields that survive."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from solquery.simulator.observation import cosine_map, observe, point_spread
from solquery.simulator.optics import resample_columns, smooth, white_noise


def quiet(mu, shape=(240, 320), seed=0):
    still = np.zeros(shape, np.float32)
    return observe(still, still, still, np.full(shape[1], mu, np.float32), True, np.random.default_rng(seed))


def level(field):
    return 1.4826 * np.median(np.abs(field))


@pytest.mark.parametrize(("mu", "gauss"), [(0.97, 17.0), (0.91, 30.0), (0.83, 42.0), (0.66, 66.0), (0.43, 82.0)])
def test_radial_noise_grows_to_the_limb_as_measured(mu, gauss):
    """Quiet pixels of 14 HARPs: robust standard deviations of 15 to 21 G at 0.97, to 79 to 91 G at 0.43."""
    found = np.mean([level(quiet(mu, seed=s)[0]) for s in range(4)])
    assert found == pytest.approx(gauss, rel=0.25)


def test_line_of_sight_noise_is_a_few_gauss():
    for mu in (0.97, 0.7):
        assert 4.0 < quiet(mu)[1].std() < 11.0


@pytest.mark.parametrize("mu", [0.95, 0.8, 0.6])
def test_noise_is_correlated_as_measured(mu):
    """Lag 1: 0.6 to 0.8 along both axes; means of 8 x 8 pixels have 12 to 22 times the variance of white noise."""
    field = quiet(mu)[0]
    east = np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1]
    north = np.corrcoef(field[:-1].ravel(), field[1:].ravel())[0, 1]
    assert 0.5 < east < 0.9 and 0.5 < north < 0.85
    means = field.reshape(30, 8, 40, 8).mean((1, 3))
    assert 9.0 < 64 * means.var() / field.var() < 26.0


def test_noise_is_two_valued_away_from_disc_centre():
    """The sign is chosen, the size is not: fewer pixels lie near zero than in normal noise, which has 24 %."""
    field = quiet(0.6)[0]
    assert (np.abs(field) < 0.3 * field.std()).mean() < 0.215
    assert ((field - field.mean()) ** 4).mean() / field.var() ** 2 < 2.7


def test_noise_is_patchy():
    """Local medians of |B| differ by more than sampling: log of their 90 % over their 10 % point (real: 0.3 to 0.8)."""
    field = np.abs(quiet(0.85)[0])
    local = np.median(field[:240, :312].reshape(10, 24, 13, 24).transpose(0, 2, 1, 3).reshape(130, -1), 1)
    assert 0.25 < np.log(np.percentile(local, 90) / np.percentile(local, 10)) < 1.1


@pytest.mark.parametrize("mu", [0.95, 0.7, 0.5])
def test_strong_field_comes_through(mu):
    rng = np.random.default_rng(1)
    strong = smooth(rng.standard_normal((120, 160), dtype=np.float32), 8.0, 8.0)
    strong *= 900.0 / strong.std()
    still = np.zeros_like(strong)
    radial, los = observe(strong, still, still, np.full(160, mu, np.float32), True, rng)
    sure = np.abs(strong) > 500
    # the detector's pixels and the interpolation smooth it a little toward the limb
    assert np.corrcoef(radial[sure], strong[sure])[0, 1] > 0.995
    assert np.abs(radial[sure]).sum() == pytest.approx(np.abs(strong[sure]).sum(), rel=0.03)
    assert los[sure].std() == pytest.approx(mu * strong[sure].std(), rel=0.03)


def test_horizontal_field_shows_along_the_line_of_sight_alone():
    """A field toward the limb points away from the observer: the line of sight loses sin(theta) of it, Br nothing."""
    radial = np.full((80, 100), 1200.0, np.float32)
    horizontal = np.full((80, 100), 400.0, np.float32)
    mu = np.full(100, 0.8, np.float32)
    for west, sign in ((True, -1.0), (False, 1.0)):
        br, los = observe(radial, np.zeros_like(radial), horizontal, mu, west, np.random.default_rng(3))
        assert np.median(br) == pytest.approx(1200.0, rel=0.03)
        assert np.median(los) == pytest.approx(0.8 * 1200 + sign * 0.6 * 400, rel=0.03)


def test_plage_looks_stronger_away_from_disc_centre():
    """Tubes that fill a pixel in part: the root of the mean square of the transverse field exceeds its mean."""
    weak = np.full((80, 100), 200.0, np.float32)
    still = np.zeros_like(weak)
    seen = {
        mu: observe(weak, still, still, np.full(100, mu, np.float32), True, np.random.default_rng(4))[0]
        for mu in (0.99, 0.6)
    }
    assert np.median(seen[0.99]) == pytest.approx(200.0, rel=0.05)
    assert 1.15 < np.median(seen[0.6]) / 200.0 < 1.7


def test_foreshortening_blurs_east_to_west():
    spike = np.zeros((101, 101), np.float32)
    spike[50, 50] = 1e6
    still = np.zeros_like(spike)
    wide = []
    for mu in (0.98, 0.4):
        field = np.abs(observe(spike, still, still, np.full(101, mu, np.float32), True, np.random.default_rng(0))[0])
        field = np.where(field > 2000, field, 0).astype(float)
        column = np.arange(101) - (field.sum(0) * np.arange(101)).sum() / field.sum()
        wide.append(np.sqrt((field.sum(0) * column**2).sum() / field.sum()))
    assert wide[1] > 1.7 * wide[0]


def test_point_spread_keeps_flux():
    field = np.zeros((60, 60), np.float32)
    field[30, 30] = 1000.0
    seen = point_spread(field)
    assert seen.sum() == pytest.approx(1000.0, rel=1e-4) and 40.0 < seen.max() < 400.0


def test_smoothing_is_scipy_s():
    rng = np.random.default_rng(2)
    field = rng.standard_normal((40, 57)).astype(np.float32)
    for sigma in ((1.3, 0.7), (0.0, 2.2), (3.0, 3.0)):
        truth = gaussian_filter(field.astype(float), sigma, mode="nearest", truncate=3.0)
        assert smooth(field, *sigma) == pytest.approx(truth, abs=2e-6)
    before = field.copy()
    assert smooth(field, 0.0, 0.0) is not field and (field == before).all()


def test_resampling_is_linear():
    ramp = np.tile(np.arange(50, dtype=np.float32), (3, 1))
    out = resample_columns(ramp, 2.25, 0.5, 60)
    assert out[1] == pytest.approx(2.25 + 0.5 * np.arange(60), abs=1e-5)


def test_white_noise_is_white_and_repeatable():
    noise = white_noise((300, 401), np.random.default_rng(7))
    assert noise.mean() == pytest.approx(0.0, abs=0.01) and noise.std() == pytest.approx(1.0, abs=0.01)
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1])):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(0.0, abs=0.015)
    assert np.array_equal(noise, white_noise((300, 401), np.random.default_rng(7)))


def test_cosine_follows_the_columns():
    """Spherical trigonometry: HARP 377, at latitude -20.2, has mu 0.945 where it was."""
    mu, middle = cosine_map((100, 200), -20.0, 30.0, -6.8)
    lat, lon, tip = np.radians([-20.0, 30.0, -6.8])
    assert middle == pytest.approx(np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(lon))
    assert (np.diff(mu) < 0).all() and mu[100] == pytest.approx(middle, abs=2e-3)
