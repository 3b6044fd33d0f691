"""Statistics of patches whose values are known from how they are made."""

import numpy as np
import pytest

from solquery.study.grid_statistics import flux_over, grid_statistics, group_of, observed_part

MM = (1.82, 1.82)


def noise(shape=(96, 192), gauss=10.0, seed=0):
    return np.random.default_rng(seed).normal(0.0, gauss, shape)


def spots(centres, sigma=(3.0, 3.0), gauss=600.0, shape=(60, 120)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return sum(gauss * np.exp(-(((y - cy) / sigma[0]) ** 2 + ((x - cx) / sigma[1]) ** 2) / 2) for cy, cx in centres)


def test_white_noise_is_what_it_is():
    got = grid_statistics(noise(gauss=20.0), MM)
    several = [got, *(grid_statistics(noise(gauss=20.0, seed=seed), MM) for seed in range(1, 8))]
    for n, scale in ((2, "3.6"), (4, "7.3"), (8, "14.6")):
        kept = np.mean([one[f"power kept, 1.8 to {scale} Mm"] for one in several])
        assert kept == pytest.approx(1 / n**2, rel=0.1)
    assert np.mean([one["spectral slope, 4 to 8 Mm"] for one in several]) == pytest.approx(0.0, abs=0.15)
    assert 10 ** got["quiet: noise (log G)"] == pytest.approx(20.0, rel=0.05)
    assert got["quiet: kurtosis"] == pytest.approx(3.0, abs=0.15)
    assert got["quiet: share near zero"] == pytest.approx(1.0, abs=0.05)
    assert 10 ** got["|B|, 50 % (log G)"] == pytest.approx(0.6745 * 20.0, rel=0.05)
    assert np.isnan(got["mean size of patches over 150 G (log Mm²)"]) and np.isnan(got["roundness of peaks"])
    assert 10 ** got["box: width (log Mm)"] == pytest.approx(192 * 1.82)


def test_the_slope_of_a_power_law_is_its_exponent():
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(192)[None])
    frequency[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(noise()) * frequency**-1.5).real
    got = grid_statistics(20.0 * field / field.std(), MM)
    for band in ("4 to 8", "8 to 20", "20 to 60"):
        assert got[f"spectral slope, {band} Mm"] == pytest.approx(-3.0, abs=0.5)
    # pixels of 3 Mm do not resolve 4 Mm
    assert np.isnan(grid_statistics(field, (3.0, 3.0))["spectral slope, 4 to 8 Mm"])


def test_patches_have_their_size_shape_and_holes():
    y, x = np.mgrid[:60, :120]
    disc = 300.0 * (np.hypot(y - 20, x - 30) < 6.5)
    got = grid_statistics(disc, MM)
    assert got["circularity of patches"] == pytest.approx(1.0, abs=0.12) and got["holes a patch"] == 0
    area = (disc > 0).sum() * 1.82**2
    assert 10 ** got["mean size of patches over 150 G (log Mm²)"] == pytest.approx(area)
    assert got["largest patch over 150 G (share)"] == 1.0
    line = 300.0 * ((y == 40) & (x > 10) & (x < 61))
    assert grid_statistics(line, MM)["circularity of patches"] < 0.15
    ring = -disc - 300.0 * ((np.hypot(y - 40, x - 80) < 6) & (np.hypot(y - 40, x - 80) > 3))
    got = grid_statistics(ring, MM)
    assert got["holes a patch"] == 0.5 and got["largest patch over 150 G (share)"] > 0.5


def test_peaks_are_as_round_as_they_are_made_and_know_their_neighbours():
    centres = [(cy, cx) for cy in (15, 45) for cx in (15, 45, 75, 105)] + [(30, 30)]
    assert grid_statistics(spots(centres), MM)["roundness of peaks"] == pytest.approx(1.0, abs=0.05)
    got = grid_statistics(spots(centres, (4.0, 2.8)), MM)
    assert got["roundness of peaks"] == pytest.approx(0.5, abs=0.06)
    assert got["nearest peak of the other sign (share)"] == 0.0
    # wide pixels: a peak that is round in megametres is narrow in pixels
    assert grid_statistics(spots(centres, (4.0, 2.0)), (1.0, 2.0))["roundness of peaks"] == pytest.approx(1.0, abs=0.1)
    pairs = spots([(15, c) for c in (15, 45, 75, 105)]) - spots([(15, c + 10) for c in (15, 45, 75, 100)])
    assert grid_statistics(pairs, MM)["nearest peak of the other sign (share)"] == 1.0


def test_mixing_counts_strong_field_that_touches_the_other_sign():
    field = np.zeros((40, 80))
    field[10:30, 10:30], field[10:30, 50:70] = 400.0, -400.0
    assert grid_statistics(field, MM)["mixing of polarities (log share)"] == pytest.approx(-3.0)
    field[10:30, 30:50] = -400.0
    share = 40 / (20 * 60)  # one column of either sign
    assert 10 ** grid_statistics(field, MM)["mixing of polarities (log share)"] == pytest.approx(share + 1e-3)


def test_a_ramp_has_its_gradient():
    ramp = np.tile(np.linspace(0, 1580, 80), (30, 1))
    got = grid_statistics(ramp, (2.0, 2.0))
    for name in ("200 to 300", "400 to 600", "1200 to 1500"):
        assert 10 ** got[f"gradient at {name} G (log G/Mm)"] == pytest.approx(10.0, rel=0.01)


def test_noise_that_differs_from_place_to_place_is_patchy():
    even, patchy = noise(gauss=5.0), noise(gauss=5.0)
    patchy[:, :96] *= 4
    got = grid_statistics(patchy, MM)["quiet: patchiness"]
    assert got == pytest.approx(np.log(4), abs=0.5) and got > grid_statistics(even, MM)["quiet: patchiness"] + 0.7


def test_the_observed_part_is_the_box_without_its_border():
    grid = np.zeros((48, 96))
    grid[10:40, 20:70] = noise((30, 50))
    np.testing.assert_array_equal(observed_part(grid), grid[11:39, 21:69])
    missing = np.where(grid == 0, np.nan, grid)
    assert observed_part(missing).shape == (28, 48)
    stray = grid.copy()
    stray[2, 40], stray[30, 90] = 500.0, 500.0
    np.testing.assert_array_equal(observed_part(stray), grid[11:39, 21:69])
    # where the view cuts the box there is no border
    cut = np.zeros((48, 96))
    cut[10:40] = noise((30, 96))
    assert observed_part(cut).shape == (28, 96)
    assert observed_part(np.zeros((48, 96))).size == 0


def test_flux_is_that_over_100_gauss():
    field = np.full((10, 10), 90.0)
    field[:5, :4], field[5:, :4] = 200.0, -200.0
    assert flux_over(field, (1.0, 2.0)) == pytest.approx(40 * 200.0 * 2.0 * 1e16)


def test_a_scrap_is_refused_and_groups_have_names():
    with pytest.raises(ValueError, match="8 x 8"):
        grid_statistics(np.zeros((7, 40)), MM)
    assert {group_of(name) for name in grid_statistics(np.zeros((9, 9)), MM)} == {"structure", "quiet", "box"}
