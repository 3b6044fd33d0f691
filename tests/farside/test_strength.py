"""The mean strength of regions by flux, and ensembles that are led to it."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from solquery import get_preset
from solquery.farside import FarsideError, StrengthLaw, degraded, farside_ensemble
from solquery.farside.strength import mean_strength, shipped_strength

PHYSICAL = get_preset("physical")


def drawn(spots, shift, n=160):
    """(N, H, W) gauss: spots whose widths are moved by so many standard deviations."""
    z = np.random.default_rng(4).standard_normal((n, 3)).astype(np.float32)
    z[:, 1] += shift
    with torch.no_grad():
        return np.asarray(PHYSICAL.to_gauss(spots.generator(torch.from_numpy(z))[:, 0].numpy()))


def test_mean_strength_is_flux_by_area():
    field = np.zeros((2, *PHYSICAL.shape), np.float32)
    field[0, 10:20, 10:30], field[0, 40:50, 10:30] = 400.0, -200.0
    # weak field counts as flux from 30 G on, and not as area
    field[0, 60:70, :20], field[0, 80:90, :20] = 100.0, 20.0
    flux, strength = mean_strength(field, PHYSICAL)
    pixel = 1e16 * np.prod(PHYSICAL.scale_mm)
    assert flux[0] == pytest.approx(200 * (400 + 200 + 100) * pixel, rel=1e-5)
    assert strength[0] == pytest.approx(700 / 2)
    assert flux[1] == 0 and np.isnan(strength[1])


def test_a_law_keeps_the_quantiles_of_regions(spots, tmp_path):
    narrow = StrengthLaw.of(drawn(spots, -1.5), PHYSICAL)
    flux, strength = mean_strength(drawn(spots, -1.5), PHYSICAL)
    quantiles = [np.interp(np.log10(flux), narrow.flux, line) for line in narrow.strength.T]
    for level, line in zip(narrow.levels, quantiles, strict=True):
        assert (np.log10(strength) < line).mean() == pytest.approx(level, abs=0.1)
    assert (np.diff(narrow.at(np.array([0.1, 0.5, 0.9])), axis=0) > 0).all() and narrow.regions == 160
    again = StrengthLaw.load(narrow.save(tmp_path / "law.json"))
    np.testing.assert_allclose(again.strength, narrow.strength, atol=1e-4)
    assert again.scale_mm == narrow.scale_mm and again.regions == 160
    with pytest.raises(FarsideError, match="too few"):
        StrengthLaw.of(drawn(spots, 0.0, 20), PHYSICAL)
    (tmp_path / "law.json").write_text(json.dumps({"flux_log10_mx": [1]}))
    with pytest.raises(FarsideError, match="holds no law"):
        StrengthLaw.load(tmp_path / "law.json")


def test_the_law_that_ships_is_for_grids_of_its_pixels():
    law = shipped_strength(PHYSICAL)
    assert law is not None and law.regions >= 500
    # 500 to 800 G for regions of 10^22 Mx
    middle = 10 ** np.interp(22.0, law.flux, law.at(np.array([0.5]))[0])
    assert 500 < middle < 800
    assert shipped_strength(get_preset("paper")) is None


def test_members_are_led_to_the_strength_of_the_law(spots, prior, truths):
    # of a map that few draws are like, so that members are led at all
    found = degraded(truths[1][truths[0][:, 0].argmax()], PHYSICAL, noise_gauss=3.0, seed=1)

    def made(one, constraints=None):
        ensemble = farside_ensemble(found, one, members=10, seed=2, evaluations=25, constraints=constraints)
        fields = np.asarray(PHYSICAL.to_gauss(np.stack([m.x for m in ensemble.members])))
        return ensemble, float(np.median(np.log10(mean_strength(fields, PHYSICAL)[1])))

    free, own = made(prior)
    for shift in (-0.06, 0.06):
        # regions of any flux are weaker or stronger than these spots by 15 %
        lines = np.tile(own + shift + np.array([-0.02, 0.0, 0.02]), (2, 1))
        law = StrengthLaw(np.array([20.0, 24.0]), np.array([0.1, 0.5, 0.9]), lines, PHYSICAL.scale_mm, 100)
        lawful = dataclasses.replace(prior, strength=law)
        led, strength = made(lawful)
        # some of the way: amount and width of these spots are nearly told by the map
        assert 0.3 < (strength - own) / shift < 1.2
        # the map still fits
        assert np.median(led.chi2) < 2 * max(np.median(free.chi2), 1.0)
    # an area that is asked for is what counts, not the law
    asked = {"area": (1.2 * float(np.median(free.parameters["area"])), 0.05)}
    pair = [made(one, asked)[0].parameters["area"] for one in (prior, lawful)]
    np.testing.assert_array_equal(*pair)
