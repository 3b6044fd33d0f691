"""Maps through a generator, on one that draws two blobs: what its latent numbers mean is known."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blob_sun import radial

from solquery import Patch, get_preset
from solquery.translation import Pair, TranslationError, fit_translation, translate

SHAPE = (24, 48)


def blobs():
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    return np.stack([np.exp(-((y - 12) ** 2 + (x - at) ** 2) / 30.0) for at in (14, 34)]).astype(np.float32)


class TwoBlobs(torch.nn.Module):
    latent_dim = 2

    def forward(self, z):
        return torch.einsum("nk,kyx->nyx", z, torch.from_numpy(blobs()))[:, None]


class Amplitudes:
    """The inference network that belongs to it: least squares."""

    def guess(self, x):
        basis = torch.from_numpy(blobs()).flatten(1)
        return torch.linalg.solve(basis @ basis.T, basis @ x.flatten(1).T).T


@pytest.fixture
def model():
    preset = dataclasses.replace(get_preset("physical"), shape=SHAPE)
    return SimpleNamespace(
        name="blobs", preset=preset, generator=TwoBlobs().eval(), inference=Amplitudes(), directions=None, hash="one"
    )


def patch(number, amplitudes, suffix=""):
    preset = get_preset("physical")
    field = np.einsum("k,kyx->yx", amplitudes, blobs()) * preset.unit_gauss
    return Patch(
        field.astype(np.float32), preset.scale_mm, f"two-{number}{suffix}", f"TWO {number}", "simulated",
        t_rec="2012.03.06_14:24:00_TAI", latitude_deg=10.0, longitude_deg=5.0, b0_deg=0.0, mu=0.98,
    )  # fmt: skip


def pairs(step, count=10):
    rng = np.random.default_rng(8)
    drawn = rng.uniform(0.3, 0.9, (count, 2)).astype(np.float32)
    return [Pair(patch(k, a), patch(k, step(a), "-wanted")) for k, a in enumerate(drawn)]


def test_a_direction_in_latent_space_is_found(model):
    found = fit_translation(
        pairs(lambda a: a + np.array([0.0, 0.4])), "second-stronger", model=model, method="direction"
    )
    np.testing.assert_allclose(found.latent["direction"], [0.0, 0.4], atol=1e-3)
    assert found.error["direction"]["rms_gauss"] < 0.02 * found.error["nothing"]["rms_gauss"]
    made = translate(patch(90, np.array([0.5, 0.5])), found, model=model)
    np.testing.assert_allclose(made.field, patch(90, np.array([0.5, 0.9])).field, atol=15)


def test_a_map_in_latent_space_is_found(model):
    found = fit_translation(pairs(lambda a: a[::-1], 40), "swapped", model=model, method="latent-map")
    assert found.error["latent-map"]["rms_gauss"] < 0.6 * found.error["nothing"]["rms_gauss"]


def test_the_method_with_the_least_error_is_taken_and_all_are_told(model):
    found = fit_translation(pairs(lambda a: a[::-1], 40), "swapped", model=model)
    assert set(found.error) == {"nothing", "simple", "filters", "filters+generator", "direction", "latent-map"}
    # blobs that change places are nothing that a neighbourhood knows of
    assert found.method not in ("simple", "filters") and found.model == {"name": "blobs", "hash": "one"}
    doubled = fit_translation(pairs(lambda a: 1.5 * a), "stronger", model=model)
    assert doubled.method == "simple" and doubled.model is None
    np.testing.assert_allclose(doubled.weights, 1.5, rtol=1e-4)


def test_a_missing_block_is_drawn(model):
    def holed(one):
        field = one.field.copy()
        field[6:18, 8:20] = np.nan
        return one.with_field(field, one.scale_mm, id=one.id + "-holed")

    whole = [patch(k, a) for k, a in enumerate(np.random.default_rng(3).uniform(0.3, 0.9, (10, 2)))]
    found = fit_translation(
        [Pair(holed(p), p) for p in whole], "missing-to-filled", model=model, method="filters+generator"
    )
    assert found.error["filters+generator"]["rms_gauss"] < 0.2 * found.error["nothing"]["rms_gauss"]


def test_another_model_is_refused(model):
    found = fit_translation(
        pairs(lambda a: a + np.array([0.0, 0.4])), "second-stronger", model=model, method="direction"
    )
    one = patch(90, np.array([0.5, 0.5]))
    with pytest.raises(TranslationError, match="needs model 'blobs'"):
        translate(one, found)
    model.hash = "two"
    with pytest.raises(TranslationError, match="fitted with another model"):
        translate(one, found, model=model)
    model.preset = dataclasses.replace(model.preset, scale_mm=None)
    with pytest.raises(TranslationError, match="has no scale"):
        fit_translation([Pair(radial(1), radial(1)), Pair(radial(2), radial(2))], "missing-to-filled", model=model)
