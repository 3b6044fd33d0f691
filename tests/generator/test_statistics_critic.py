"""The critic of statistics: sees what does not go together, and leads a generator out of it."""

from __future__ import annotations

import math

import pytest
import torch

from solquery.config import VaeGanConfig
from solquery.generator.statistics_critic import PAIRS, REMEMBERED, STEPS, StatisticsCritic
from solquery.training.process_group import ProcessGroup

TOGETHER = 0.9
EVEN = math.log(2.0)


def _pairs(count, correlation, seed):
    """Two statistics (count, 2), each normal, that go together as `correlation` says."""
    one, other = torch.randn(2, count, generator=torch.Generator().manual_seed(seed))
    return torch.stack([one, correlation * one + math.sqrt(1 - correlation**2) * other], 1)


def _critic(seed=0):
    critic = StatisticsCritic(_pairs(2000, TOGETHER, 1), seed)
    return critic, torch.optim.Adam(critic.critic.parameters(), lr=1e-3, betas=(0.5, 0.99))


def _learned(critic, optimiser, correlation, steps=60):
    """Mean loss of the critic over the last steps on such pairs."""
    losses = [
        float(critic.learn(_pairs(32, correlation, 100 + step), optimiser, ProcessGroup())) for step in range(steps)
    ]
    return sum(losses[-10:]) / 10


def test_what_is_right_alone_and_wrong_together_is_told_apart():
    assert _learned(*_critic(), 0.0) < 0.75 * EVEN
    assert _learned(*_critic(), TOGETHER) == pytest.approx(EVEN, abs=0.05)


def test_a_generator_learns_from_it_what_goes_together():
    """A generator of one number, the correlation of its two statistics; each of them is right throughout."""
    critic, optimiser = _critic()
    free = torch.tensor(0.0, requires_grad=True)
    descend = torch.optim.Adam([free], lr=0.02)
    there = []
    for step in range(250):
        one, other = torch.randn(2, 64, generator=torch.Generator().manual_seed(step))
        correlation = torch.tanh(free)
        made = torch.stack([one, correlation * one + (1 - correlation**2).sqrt() * other], 1)
        critic.learn(made, optimiser, ProcessGroup())
        descend.zero_grad()
        critic.loss(made).backward()
        descend.step()
        there.append(float(correlation.detach()))
    assert sum(there[-50:]) / 50 == pytest.approx(TOGETHER, abs=0.12)


def test_the_generators_loss_leaves_the_critic_alone():
    critic, optimiser = _critic()
    _learned(critic, optimiser, 0.0, steps=20)
    before = [weights.clone() for weights in critic.critic.parameters()]
    optimiser.zero_grad(set_to_none=True)
    made = _pairs(32, 0.0, 3).requires_grad_(True)
    loss = critic.loss(made)
    loss.backward()
    assert float(loss.detach()) > EVEN and made.grad.abs().sum() > 0
    assert all(weights.grad is None for weights in critic.critic.parameters())
    assert all(map(torch.equal, before, critic.critic.parameters()))
    assert all(weights.requires_grad for weights in critic.critic.parameters())


def test_a_stray_image_saturates():
    critic, optimiser = _critic()
    made = torch.full((32, 2), 1e6)
    assert math.isfinite(float(critic.learn(made, optimiser, ProcessGroup())))
    assert float(critic.made.abs().max()) <= 6.0 and math.isfinite(float(critic.loss(made)))


def test_a_critic_that_goes_on_takes_the_steps_it_would_have_taken():
    one, first = _critic()
    _learned(one, first, 0.0, steps=40)
    two, second = _critic(seed=0)
    _learned(two, second, 0.0, steps=15)
    three, third = _critic(seed=0)
    three.load_state_dict(two.state_dict())
    third.load_state_dict(second.state_dict())
    for step in range(15, 40):
        three.learn(_pairs(32, 0.0, 100 + step), third, ProcessGroup())
    assert int(three.oldest) == 40 * 32 > REMEMBERED  # the ring has come around
    assert all(map(torch.equal, one.state_dict().values(), three.state_dict().values()))
    assert not torch.equal(one.made, _critic()[0].made) and STEPS * PAIRS > 32


def test_it_is_given_the_statistics_of_statistics_matching():
    with pytest.raises(ValueError, match="statistics_matching"):
        VaeGanConfig(statistics_critic=1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        VaeGanConfig(statistics_matching=1.0, statistics_critic=-1.0)
