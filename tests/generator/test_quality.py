"""Measures of realism against distributions whose distances are known on paper."""

import numpy as np
import pytest

from solquery.generator.critic import critic_accuracy
from solquery.generator.quality import (
    compare_embeddings,
    compare_parameters,
    halves,
    memorisation,
    radial_spectrum,
    reach,
    spectrum_distance,
)


def _regions(count, frames=5):
    return [f"region-{k // frames}" for k in range(count)]


def test_halves_share_no_region_and_lose_no_patch():
    regions = np.array(_regions(203, 7))
    one, other = halves(regions, seed=3)
    assert not set(regions[one]) & set(regions[other])
    assert sorted([*one, *other]) == list(range(203))


def test_halves_need_two_regions():
    with pytest.raises(ValueError, match="two regions"):
        halves(["a"] * 9)


def test_distance_of_shifted_normals():
    rng = np.random.default_rng(0)
    held, made = {"tuf": rng.normal(size=20_000)}, {"tuf": rng.normal(1.0, size=20_000)}
    entry = compare_parameters(made, held, _regions(20_000))["tuf"]
    # sup |Phi(x) - Phi(x - 1)| = 2 Phi(1/2) - 1; the Wasserstein distance of a shift is the shift
    assert entry["ks"] == pytest.approx(0.3829, abs=0.02)
    assert entry["wasserstein"] == pytest.approx(1.0, abs=0.04)
    assert entry["ks_floor"] < 0.03 and entry["wasserstein_floor"] < 0.05
    # the held-out 1st percentile, -2.33, is -3.33 standard deviations of the generated ones
    assert entry["percentiles"] == pytest.approx([0.04, 90.8], abs=1.5)


def test_unknown_values_are_left_out():
    held, made = {"r": np.arange(100.0)}, {"r": np.arange(100.0)}
    made["r"][:30] = np.nan
    entry = compare_parameters(made, held, _regions(100))["r"]
    assert entry["ks"] == pytest.approx(0.3)


def test_frechet_distance_of_two_gaussians():
    rng = np.random.default_rng(1)
    held = rng.normal(size=(20_000, 4)) * (1.0, 1.0, 1.0, 2.0)
    made = rng.normal(size=(20_000, 4)) * (2.0, 1.0, 1.0, 2.0) + (0.0, 3.0, 0.0, 0.0)
    got = compare_embeddings(made[:4000], held[:4000], _regions(4000))
    scale = held[:4000].std()  # |mean difference|² + Σ (s1 - s2)², in units of the held-out spread
    assert got["generated"]["frechet"] == pytest.approx((9.0 + 1.0) / scale**2, rel=0.06)
    assert got["floor"]["frechet"] < 0.05
    assert got["generated"]["kernel"] > 20 * abs(got["floor"]["kernel"])


def test_a_generator_that_repeats_one_mode_has_precision_without_recall():
    rng = np.random.default_rng(2)
    held = rng.normal(size=(800, 3)) + 8.0 * rng.integers(0, 2, (800, 1))
    made = rng.normal(size=(800, 3))
    got = compare_embeddings(made, held, _regions(800, 1))
    assert got["generated"]["precision"] > 0.9
    assert 0.4 < got["generated"]["recall"] < 0.6
    assert 0.35 < got["generated"]["coverage"] < 0.6
    assert got["floor"]["recall"] > 0.9


def test_a_scaled_field_differs_by_its_scale_in_dex():
    x = np.random.default_rng(3).normal(size=(20, 32, 32))
    assert spectrum_distance(10.0 * x, x) == pytest.approx(2.0)
    assert spectrum_distance(x, x) == 0.0


def test_a_wave_shows_at_its_own_number_of_cycles():
    wave = np.sin(2 * np.pi * 5 * np.arange(32) / 32)[None, None] * np.ones((1, 32, 1))
    spectrum = radial_spectrum(wave)
    assert spectrum.argmax() == 4 and spectrum[4] > 1e6 * np.delete(spectrum, 4).max()


@pytest.mark.parametrize("shape", [(24, 48), (48, 24), (24, 36)])
def test_a_wave_of_one_length_shows_at_one_place_in_every_direction(shape):
    """Of 6 pixels, which is 4 cycles across the shorter side."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    for along in (x, y):
        spectrum = radial_spectrum(np.sin(2 * np.pi * along / 6)[None])
        assert len(spectrum) == 11
        assert spectrum.argmax() == 3 and spectrum[3] > 1e6 * np.delete(spectrum, 3).max()


def test_copies_of_training_patches_are_found():
    rng = np.random.default_rng(4)
    train, held, fresh = (rng.normal(size=(300, 10)) for _ in range(3))
    copies = train[rng.permutation(300)] + 0.01 * rng.normal(size=(300, 10))
    caught = memorisation(copies, held, train)
    assert caught["memorised"] and caught["closer"] > 0.99
    assert np.allclose(train[caught["nearest"]], copies, atol=0.1)
    honest = memorisation(fresh, held, train)
    assert not honest["memorised"] and honest["closer"] == pytest.approx(0.5, abs=0.08)


def test_a_parameter_that_is_never_defined_has_nothing_in_common():
    got = compare_parameters({"r": np.full(100, np.nan)}, {"r": np.arange(100.0)}, _regions(100))["r"]
    assert got["ks"] == 1.0 and np.isnan(got["wasserstein"])


def test_reach_tells_weak_and_strong_from_the_middle():
    rng = np.random.default_rng(5)
    held = rng.lognormal(size=4000)
    whole, middle = reach(rng.lognormal(size=4000), held), reach(np.exp(0.3 * rng.normal(size=4000)), held)
    assert whole["spans"] and whole["reached"] == 1.0
    assert (whole["weak"], whole["strong"]) == (pytest.approx(0.1, abs=0.02), pytest.approx(0.1, abs=0.02))
    assert not middle["spans"] and middle["reached"] < 0.9 and max(middle["weak"], middle["strong"]) < 0.01
    assert reach(np.full(10, np.nan), held)["reached"] == 0.0
    # where most values are equal, as R of regions without a sharp line, the slices between them ask for nothing
    zeros = np.r_[np.zeros(900), rng.lognormal(size=100)]
    assert reach(zeros[::2], zeros)["reached"] == 1.0


def test_a_fresh_discriminator_tells_noise_from_blobs_and_blobs_from_blobs_by_chance():
    y, x = np.mgrid[:32, :32]
    rng = np.random.default_rng(6)

    def blobs(n):
        return np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 18) for a, b in rng.uniform(8, 24, (n, 2))])

    held, halves = blobs(160), (np.arange(80), np.arange(80, 160))
    noise = rng.normal(0, 0.2, (120, 32, 32))
    found = critic_accuracy(noise, held, halves, steps=60)
    assert found["accuracy"] > 0.95 and abs(found["floor"] - 0.5) < 0.15
    assert abs(critic_accuracy(blobs(120), held, halves, steps=60)["accuracy"] - 0.5) < 0.15
