"""StatisticsMatching of images, and where a draw belongs among the archive's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.generator.statistics_matching import FAINT, STATISTICS, StatisticsMatching, measure_statistics
from solquery.physics import measure
from solquery.training.process_group import ProcessGroup


def _noise(count, sigma, side=64, seed=0):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed)) * sigma


def _column(values, name):
    return values[:, STATISTICS.index(name)]


def _bipoles(count=6, side=64):
    y, x = torch.meshgrid(*2 * [torch.arange(side, dtype=torch.float32)], indexing="ij")
    out = []
    for k in range(count):
        east, west = (torch.exp(-((y - 30) ** 2 + (x - cx) ** 2) / (2 * (2.0 + k) ** 2)) for cx in (20.0, 40.0))
        out.append(1500.0 * (east - west))
    return torch.stack(out) + _noise(count, 8.0)


def test_statistics_are_the_logarithms_of_what_is_measured():
    fields = _bipoles()
    values, exact = measure_statistics(fields), measure(fields, names=["tuf", "tpf", "tnf", "psep", "alpha", "grad"])
    for name in ("tuf", "tpf", "tnf"):
        assert _column(values, name).exp().numpy() - FAINT == pytest.approx(exact[name].numpy(), rel=0.03), name
    assert _column(values, "psep").exp().numpy() - 3 == pytest.approx(exact["psep"].numpy(), rel=0.02)
    assert _column(values, "alpha").numpy() == pytest.approx(exact["alpha"].numpy(), abs=0.02)
    assert _column(values, "grad").exp().numpy() == pytest.approx(exact["grad"].numpy(), rel=0.05)


@pytest.mark.parametrize("sigma", [8.0, 20.0, 50.0])
def test_both_windows_tell_the_width_of_normal_noise(sigma):
    values = measure_statistics(_noise(4, sigma))
    for name in ("core", "wings"):
        assert _column(values, name).exp().numpy() == pytest.approx(sigma, rel=0.05)
    # a border that nothing was observed in does not narrow the core
    bordered = _noise(4, sigma)
    bordered[:, :, 40:] = 0.0
    assert _column(measure_statistics(bordered), "core").exp().numpy() == pytest.approx(sigma, rel=0.08)
    assert (_column(measure_statistics(bordered), "area") < 0.7).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from(["nothing", "one sign", "both", "spike"]))
def test_gradients_are_finite_whatever_the_field(seed, kind):
    x = _noise(3, 100.0, side=32, seed=seed)
    x = {"nothing": 0 * x, "one sign": x.abs() * 5, "both": x, "spike": x * 0 + (x > 300) * 4000.0}[kind]
    x.requires_grad_(True)
    torch.nan_to_num(measure_statistics(x)).sum().backward()
    assert torch.isfinite(x.grad).all()


def _archive(count=600, spread=0.8, seed=1):
    """One patch of noise, as strong as a lognormal number says: kG."""
    strength = np.random.default_rng(seed).normal(0.0, spread, count)
    grain = _noise(count, 0.05, side=32, seed=seed).numpy()
    return (grain * np.exp(strength)[:, None, None]).astype(np.float32)


def test_draws_that_keep_to_the_middle_are_sent_to_both_ends():
    """A generator of one number, the spread of its strengths, learns the archive's from draws alone."""
    matching = StatisticsMatching(_archive(), 1000.0, seed=0)
    spread = torch.tensor(0.2, requires_grad=True)
    optimise = torch.optim.Adam([spread], lr=0.01)
    random = torch.Generator().manual_seed(2)
    there = []
    for step in range(140):
        made = torch.randn(32, 1, 1, 1, generator=random)
        grain = _noise(32, 0.05, side=32, seed=100 + step)[:, None]
        optimise.zero_grad()
        matching.belong(matching(grain * torch.exp(spread * made)), ProcessGroup()).backward()
        optimise.step()
        there.append(float(spread.detach()))
    # it swings about where it belongs: what it is told of is a memory of earlier draws
    assert np.mean(there[70:]) == pytest.approx(0.8, abs=0.1)
    assert min(there[70:]) > 0.5


def test_what_already_has_the_archives_statistics_is_left_alone():
    matching = StatisticsMatching(_archive(), 1000.0, seed=0)
    other = torch.as_tensor(_archive(count=1200, seed=5))[:, None]

    def left_over(strength):
        for part in (strength * other[:1024]).split(64):  # the memory is now of draws
            matching.belong(matching(part), ProcessGroup())
        return float(matching.belong(matching(strength * other[1024:]), ProcessGroup()))

    assert left_over(1.0) < 0.1 * left_over(3.0)
    values = matching(other)
    assert float(matching.match(values, values)) == 0.0 < float(matching.match(matching(other * 1.5), values))


def test_the_memory_is_a_ring_and_part_of_the_state():
    matching = StatisticsMatching(_archive(), 1000.0, seed=0)
    made = torch.as_tensor(_archive(count=600, seed=7))[:, None]
    for _ in range(2):
        matching.belong(matching(made), ProcessGroup())
    assert int(matching.oldest) == 1200
    assert torch.equal(matching.drawn[:176], matching(made)[424:])  # the second time around
    copy = StatisticsMatching(_archive(seed=9), 1000.0, seed=0)
    copy.load_state_dict(matching.state_dict())
    assert torch.equal(copy(made), matching(made)) and torch.equal(copy.drawn, matching.drawn)
