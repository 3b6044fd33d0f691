"""Rejection sampling, on a generator whose patches are one number each, so that both densities are known."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import kstest, norm
from torch import nn

from solquery.config import get_preset
from solquery.steering import SteeringError, draw_patches, rejection, render, sample_latents
from solquery.steering.drawing import measured_draws
from solquery.steering.latents import prior_latents
from solquery.steering.rejection import BOUND, RejectionSampler, fit_sampler, sampler_for

PRESET = get_preset("tiny")


class Flat(nn.Module):
    """Each patch is a tenth of the first latent number everywhere."""

    latent_dim = 3

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (0.1 * z[:, 0])[:, None, None, None].expand(-1, 1, *PRESET.shape)


class Level(nn.Module):
    """The patch's mean, in units of which the prior has a spread of one, and a number that says nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = 10.0 * x.mean((1, 2, 3))
        return torch.stack([mean, torch.sin(1000.0 * mean)], 1)


def embedded(levels: np.ndarray) -> np.ndarray:
    return Level()(torch.from_numpy(0.1 * levels.astype(np.float32))[:, None, None, None]).numpy()


@cache
def fitted(mean, spread, draws=8_000, seed=0):
    """A sampler for an archive of 6,000 patches in 60 regions whose levels are normally distributed."""
    wanted = norm(mean, spread)
    rng = np.random.default_rng(5)
    levels, regions = wanted.rvs(6_000, random_state=rng), np.repeat(np.arange(60), 100).astype(str)
    return fit_sampler(Level(), embedded(levels), regions, embedded(rng.normal(size=draws)), seed=seed)


def model(sampler):
    return SimpleNamespace(name="flat", preset=PRESET, generator=Flat(), sampler=sampler)


@pytest.mark.parametrize("wanted", [norm(0.8, 0.7), norm(0.0, 0.5), norm(-0.4, 1.0)])
def test_accepted_draws_are_distributed_as_the_archive_and_draws_of_the_prior_are_not(wanted):
    sampler = fitted(*wanted.args)
    z, x = draw_patches(model(sampler), 1_500, seed=4)
    prior = draw_patches(model(None), 1_500, seed=4)[0]
    np.testing.assert_allclose(x.mean((1, 2)), 0.1 * z[:, 0], atol=1e-6)
    before, after = (kstest(one[:, 0], wanted.cdf).statistic for one in (prior, z))
    assert before > 0.12 and after < 0.06
    # what the archive says nothing of stays as it was
    assert kstest(z[:, 1], "norm").pvalue > 1e-3


def test_where_nothing_is_to_be_corrected_nearly_all_are_accepted():
    sampler = fitted(0.0, 1.0)
    assert abs(sampler.record["told_apart"] - 0.5) < 0.05
    assert sampler.record["accepted"] > 0.6
    assert kstest(draw_patches(model(sampler), 1_000, seed=1)[0][:, 0], "norm").statistic < 0.06


def test_the_record_tells_what_was_compared_and_how_far_it_differs():
    sampler = fitted(0.8, 0.7)
    about = sampler.record
    assert (about["patches"], about["regions"], about["draws"], about["seed"]) == (6_000, 60, 8_000, 0)
    # of two normal numbers the larger one is of the distribution of the larger mean with this probability
    assert 0.7 < about["told_apart"] < 0.9
    rng = np.random.default_rng(9)
    share = sampler(torch.from_numpy(embedded(rng.normal(size=20_000)))).mean()
    assert abs(float(share) - about["accepted"]) < 0.02
    assert 1.0 <= float(sampler.bound) <= BOUND


def test_the_learned_ratio_is_that_of_the_densities():
    wanted = norm(0.8, 0.7)
    sampler = fitted(*wanted.args)
    levels = np.linspace(-1.0, 1.8, 15)
    with torch.no_grad():
        found = sampler.logit(torch.from_numpy(embedded(levels))).numpy()
    truth = wanted.logpdf(levels) - norm.logpdf(levels)
    # the constant that is left open is that of the shares of both kinds
    np.testing.assert_allclose(found - found.mean(), truth - truth.mean(), atol=0.35)


def test_the_logit_is_the_mean_of_the_members(monkeypatch):
    members = []
    plain = rejection._member
    monkeypatch.setattr(rejection, "_member", lambda *given: members.append(plain(*given)) or members[-1])
    sampler = fitted(0.8, 0.7, draws=400)  # others do not ask for so few
    assert len(members) == rejection.MEMBERS == 5
    x = torch.from_numpy(embedded(np.linspace(-2.0, 2.0, 9)))
    with torch.no_grad():
        each = torch.stack([network((x - sampler.centre) / sampler.spread)[:, 0] for network, *_ in members])
        torch.testing.assert_close(sampler.logit(x), each.mean(0))
    assert (each.std(0) > 0).all(), "each learned from other regions"
    assert sampler.record["told_apart"] == pytest.approx(np.mean([area for *_, area in members]))


def test_the_same_seed_draws_the_same_and_fewer_are_the_first_of_more():
    sampler = fitted(0.8, 0.7)
    (z, x), (fewer, _), (other, _) = (draw_patches(model(sampler), n, seed) for n, seed in ((60, 4), (7, 4), (60, 5)))
    assert z.shape == (60, 3) and x.shape == (60, *PRESET.shape)
    assert np.array_equal(z[:7], fewer) and not np.array_equal(z, other)
    np.testing.assert_array_equal(render(Flat(), z, PRESET.shape)[:, 0].numpy(), x)
    state = torch.get_rng_state()
    draw_patches(model(sampler), 3, 0), fitted(0.0, 0.5, draws=200)
    assert torch.equal(torch.get_rng_state(), state), "the global random numbers stay as they are"


def test_a_table_of_measured_draws_is_of_those_that_are_accepted():
    sampler = fitted(0.8, 0.7)
    table = measured_draws(model(sampler), 400, 4, ["tuf"])
    z, x = draw_patches(model(sampler), 400, 4)
    np.testing.assert_array_equal(table.z, z)
    # a flat patch of 1,000 G has this unsigned flux for each pixel
    np.testing.assert_allclose(table.values["tuf"], 1e3 * np.abs(x).sum((1, 2)), rtol=1e-5)
    assert table.seed == 4 and set(table.values) == {"tuf"} and not table.physical
    every, plain = (
        measured_draws(model(None), 50, 4, ["tuf"]), sample_latents(Flat(), PRESET, 50, 4, ["tuf"])
    )  # fmt: skip
    np.testing.assert_array_equal(every.values["tuf"], plain.values["tuf"])
    np.testing.assert_array_equal(every.z, plain.z)
    with pytest.raises(ValueError, match="n must be at least 1"):
        measured_draws(model(sampler), 0)


def test_a_model_without_a_sampler_takes_every_draw():
    z, x = draw_patches(model(None), 9, seed=2)
    np.testing.assert_array_equal(z, prior_latents(9, 3, 2).numpy())
    assert x.shape == (9, *PRESET.shape)


def test_too_little_to_fit_to_and_a_sampler_that_accepts_nothing_are_told():
    few = embedded(np.zeros(40))
    with pytest.raises(SteeringError, match="at least 5 regions and 100 draws, got 4 and 40"):
        fit_sampler(Level(), few, np.repeat(list("abcd"), 10), few)
    sampler = RejectionSampler(2, Level()).eval()
    sampler.middle.fill_(1e3)
    with pytest.raises(SteeringError, match=r"of 2,500 draws 0 were accepted.*solquery model sampler"):
        draw_patches(model(sampler), 1, 0)


def test_patches_that_the_grid_cannot_take_are_left_out_with_their_regions(monkeypatch):
    seen = {}
    ids = [f"p{k:03d}" for k in range(60)]

    class Some:
        uri = "somewhere"

        def table(self, columns, where):
            return pa.table({"id": ids, "region": [f"r{k % 6}" for k in range(60)]})

        def prepared(self, preset, ids):
            there = [one for one in reversed(ids) if not one.endswith("7")]
            levels = [0.001 * int(one[1:]) for one in there]
            return there, np.array(levels, np.float32)[:, None, None] * np.ones((1, *PRESET.shape), np.float32)

    def kept(encoder, held, regions, drawn, seed):
        seen.update(held=held, regions=regions)
        return fit_sampler(encoder, held, regions, drawn, seed=seed)

    monkeypatch.setattr(rejection, "fit_sampler", kept)
    flat = model(None)
    flat.encoder, flat.encoder_hash = Level(), "level"
    sampler = sampler_for(flat, Some(), draws=150)
    numbers = np.rint(100 * seen["held"][:, 0]).astype(int)  # ten for each tenth of a preset unit
    assert len(numbers) == 54 and not (numbers % 10 == 7).any()
    assert seen["regions"].tolist() == [f"r{k % 6}" for k in numbers]
    assert sampler.record["patches"] == 54 and sampler.record["encoder"] == "level"
