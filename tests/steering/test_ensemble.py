"""Ensembles on a generator whose posterior is known: two blobs of given amplitudes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from solquery import Patch, get_preset
from solquery.steering import SteeringError, draw_ensemble, low_resolution
from solquery.steering.ensemble import rank_of, uniformity

SHAPE = (32, 64)
UNIT = 1000.0


def blobs():
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    places = ((16, 22, 1), (16, 42, -1))
    return np.stack([s * np.exp(-((y - i) ** 2 + (x - j) ** 2) / 40.0) for i, j, s in places]).astype(np.float32)


class Bipole(torch.nn.Module):
    """Amplitudes 1 + 0.3 z of two blobs, and a fine pattern of the third number, which no sketch of 20 Mm shows."""

    latent_dim = 3

    def forward(self, z):
        fine = torch.from_numpy(0.2 * np.indices(SHAPE).sum(0) % 2).float() - 0.1
        coarse = torch.einsum("nk,kyx->nyx", 1.0 + 0.3 * z[:, :2], torch.from_numpy(blobs()))
        return (coarse + z[:, 2, None, None] * fine)[:, None]


@pytest.fixture(scope="module")
def model():
    preset = dataclasses.replace(get_preset("physical"), shape=SHAPE)
    return SimpleNamespace(
        name="two", preset=preset, generator=Bipole().eval(), inference=None, directions=None, hash="x"
    )


def truth(z, number=0):
    preset = get_preset("physical")
    with torch.no_grad():
        field = Bipole()(torch.tensor([z], dtype=torch.float32))[0, 0].numpy() * UNIT
    return Patch(field, preset.scale_mm, f"true-{number}", f"TRUE {number}", "simulated")


def test_a_sketch_keeps_the_flux_and_loses_the_rest(model):
    patch = truth([0.5, -0.5, 1.0])
    sketch = low_resolution(patch, model.preset)
    assert sketch.source == "sketch" and sketch.scale_mm == (10.0, 10.0)
    for sign in (1, -1):
        flux = [(sign * p.field).clip(min=0).sum() * p.scale_mm[0] * p.scale_mm[1] for p in (patch, sketch)]
        assert flux[1] == pytest.approx(flux[0], rel=0.12)
    noisy = low_resolution(patch, model.preset, noise_gauss=7.0, seed=2)
    assert (noisy.field - sketch.field).std() == pytest.approx(7.0, rel=0.25)


def test_members_agree_with_the_sketch_where_it_says_something(model):
    sketch = low_resolution(truth([1.0, -1.0, 0.7]), model.preset, noise_gauss=10.0, seed=3)
    found = draw_ensemble(model, sketch, members=80, seed=1)
    z = np.stack([m.z for m in found.members])
    np.testing.assert_allclose(z[:, :2].mean(0), [1.0, -1.0], atol=0.2)
    assert z[:, :2].std(0).max() < 0.25
    # nothing is known of the fine pattern: the prior stays
    assert abs(z[:, 2].mean()) < 0.5 and 0.6 < z[:, 2].std() < 1.4
    assert 0.7 < found.misfit < 1.4
    made = found.members[0].to_patch()
    assert made.source == "generated" and made.truth["possible_for"] == sketch.id
    low, high = found.interval("tuf")
    assert low < high and len(found.values["tuf"]) == 80
    again = draw_ensemble(model, sketch, members=80, seed=1)
    np.testing.assert_array_equal(again.members[5].x, found.members[5].x)


def test_constraints_narrow_the_ensemble(model):
    sketch = low_resolution(truth([0.0, 0.0, 0.0]), model.preset, noise_gauss=60.0, seed=4)
    wide = draw_ensemble(model, sketch, noise_gauss=60.0, members=80, seed=2)
    true = float(np.abs(truth([0.0, 0.0, 0.0]).field).sum() * model.preset.scale_mm[0] ** 2 * 1e16)
    tight = draw_ensemble(model, sketch, noise_gauss=60.0, members=80, seed=2, constraints={"tuf": (true, 0.02 * true)})
    assert np.std(tight.values["tuf"]) < 0.6 * np.std(wide.values["tuf"])
    assert np.median(tight.values["tuf"]) == pytest.approx(true, rel=0.05)


def test_the_ranks_of_known_truths_are_uniform(model):
    """Truths from the generator's own prior: the ensemble is calibrated in what the sketch shows."""
    rng = np.random.default_rng(11)
    places = []
    for number in range(40):
        z = rng.standard_normal(3)
        sketch = low_resolution(truth(z, number), model.preset, noise_gauss=30.0, seed=number)
        found = draw_ensemble(model, sketch, noise_gauss=30.0, members=40, rounds=3, seed=number, names=("tuf",))
        places += [rank_of(z[k], np.array([m.z[k] for m in found.members]), rng) for k in range(3)]
    counts, p = uniformity(np.array(places))
    assert counts.sum() == 120 and p > 0.01


def test_ranks_break_ties_at_random_and_leave_out_what_is_unknown():
    rng = np.random.default_rng(0)
    assert rank_of(5.0, np.arange(4.0), rng) >= 0.8 and rank_of(-5.0, np.arange(4.0), rng) <= 0.2
    zeros = [rank_of(0.0, np.zeros(9), rng) for _ in range(2000)]
    assert np.mean(zeros) == pytest.approx(0.5, abs=0.03) and np.std(zeros) == pytest.approx(0.289, abs=0.02)
    assert np.isnan(rank_of(float("nan"), np.arange(4.0), rng))
    assert np.isnan(rank_of(1.0, np.array([1.0, np.nan, np.nan]), rng))
    counts, p = uniformity(np.concatenate([np.zeros(50), np.ones(50)]))
    assert counts.tolist() == [50, 0, 0, 0, 50] and p < 1e-6


def test_bad_sketches_and_constraints_are_one_line(model):
    sketch = low_resolution(truth([0.0, 0.0, 0.0]), model.preset)
    with pytest.raises(SteeringError, match="one polarity only"):
        draw_ensemble(model, sketch.with_field(np.abs(sketch.field), sketch.scale_mm))
    with pytest.raises(SteeringError, match="nothing beyond three times its noise"):
        draw_ensemble(model, sketch.with_field(0.01 * sketch.field, sketch.scale_mm))
    with pytest.raises(SteeringError, match="no scale"):
        draw_ensemble(model, sketch.with_field(sketch.field, None))
    with pytest.raises(SteeringError, match="line-of-sight"):
        draw_ensemble(model, dataclasses.replace(sketch, quantity="line-of-sight"))
    with pytest.raises(SteeringError, match="'area' is no constraint"):
        draw_ensemble(model, sketch, constraints={"area": (1.0, 1.0)})
    with pytest.raises(SteeringError, match="value and its error"):
        draw_ensemble(model, sketch, constraints={"tuf": (1e22, 0.0)})
    with pytest.raises(SteeringError, match="members 10 or more"):
        draw_ensemble(model, sketch, members=3)
    with pytest.raises(SteeringError, match="resolution must be"):
        low_resolution(truth([0.0, 0.0, 0.0]), model.preset, resolution_mm=1.0)
    with pytest.raises(SteeringError, match="has no scale"):
        low_resolution(truth([0.0, 0.0, 0.0]), get_preset("paper"))
