"""What is drawn as the search sees it: a frozen encoder, a critic of embeddings, and a training that heeds both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from solquery.config import GeneratorConfig, VaeGanConfig
from solquery.generator.embedding_critic import EmbeddingCritic
from solquery.generator.training import train_generator
from solquery.training.process_group import ProcessGroup
from solquery.training.run_folder import TrainingError

SIDE = 32
CONFIG = VaeGanConfig(
    arch="pyramid", loss="vae-gan", latent_dim=8, width=16, batch=16, images=64, limit=4.0, precision="fp32",
    fade_images=1, embedding_critic=1.0,
)  # fmt: skip


class Eye(nn.Module):
    """Sees four block means and how rough the image is."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        means = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        rough = (x[..., 1:] - x[..., :-1]).square().mean((1, 2, 3))[:, None]
        return self.gain * torch.cat([means, rough], 1)


def _data(count=64, seed=0):
    rng = np.random.default_rng(seed)
    level = rng.normal(0.2, 0.1, (count, 1, 1))
    return (level + 0.1 * rng.standard_normal((count, SIDE, SIDE))).astype(np.float32)


def test_embeddings_of_the_archive_have_mean_zero_and_spread_one():
    data = _data(300)
    critic = EmbeddingCritic(Eye(), data, seed=0)
    seen = critic(torch.from_numpy(data)[:, None])
    assert seen.mean(0).abs().max() < 1e-4 and torch.allclose(seen.std(0), torch.ones(5), atol=1e-3)


def test_the_encoder_is_not_trained_and_not_saved_and_lets_gradients_through():
    eye = Eye()
    critic = EmbeddingCritic(eye, _data(), seed=0)
    assert not eye.gain.requires_grad and not any("gain" in name for name in critic.state_dict())
    x = torch.from_numpy(_data(4, 1))[:, None].requires_grad_(True)
    adversarial, distance = critic.losses(critic(torch.from_numpy(_data(4, 2))[:, None]), critic(x), 2)
    (adversarial + distance).backward()
    assert x.grad.abs().sum() > 0 and eye.gain.grad is None
    assert all(part.grad is None for part in critic.critic.parameters())  # it is to judge, not to comply
    assert float(critic.losses(torch.zeros(4, 5), torch.zeros(4, 5), 4)[1]) == 0.0


def test_draws_apart_from_the_archive_are_found_out_and_moved_to_it():
    """A generator of two numbers, level and strength of its images, learns them from the critic alone."""
    data = _data(512)
    critic = EmbeddingCritic(Eye(), data, seed=0)
    optimise_s = torch.optim.Adam(critic.critic.parameters(), lr=2e-3, betas=(0.5, 0.99))
    level, strength = (torch.tensor(value, requires_grad=True) for value in (-0.2, 0.3))
    optimise = torch.optim.Adam([level, strength], lr=5e-3, betas=(0.5, 0.99))
    random = torch.Generator().manual_seed(3)
    gaps = []
    for step in range(400):
        rows = torch.randint(0, 512, (32,), generator=random)
        with torch.no_grad():
            real = critic(torch.from_numpy(data)[rows][:, None])
        shift = 0.1 * torch.randn(32, 1, 1, 1, generator=random)
        made = critic(level + shift + strength.abs() * torch.randn(32, 1, SIDE, SIDE, generator=random))
        gaps.append(critic.learn(real, made, optimise_s, ProcessGroup()))
        if step >= 50:  # first it learns alone
            adversarial, _ = critic.losses(real, made, 0)
            optimise.zero_grad()
            adversarial.backward()
            optimise.step()
    assert np.mean(gaps[40:50]) < 0.3 < 0.5 < np.mean(gaps[-50:])  # told apart at first, hardly at the end
    assert float(level.detach()) == pytest.approx(0.2, abs=0.08)
    assert float(strength.detach().abs()) == pytest.approx(0.1, abs=0.04)


def test_a_training_shows_its_draws_to_the_encoder_and_goes_on_from_a_checkpoint(tmp_path):
    data = _data()
    lines: list[dict] = []
    train_generator(CONFIG, data, tmp_path / "whole", (SIDE, SIDE), seed=1, encoder=Eye(), progress=lines.append)
    assert {"embedding_critic", "embedding_adversarial", "embedding_distance"} <= set(lines[-1])
    train_generator(CONFIG, data, tmp_path / "halves", (SIDE, SIDE), seed=1, encoder=Eye(), until_images=32)
    train_generator(CONFIG, data, tmp_path / "halves", (SIDE, SIDE), seed=1, encoder=Eye())
    ends = [(tmp_path / name / "checkpoints" / "generator.safetensors").read_bytes() for name in ("whole", "halves")]
    assert ends[0] == ends[1]
    blind = dataclasses.replace(CONFIG, embedding_critic=0.0)
    weights = train_generator(blind, data, tmp_path / "blind", (SIDE, SIDE), seed=1)
    assert weights.read_bytes() != ends[0]


def test_encoder_and_weight_go_together(tmp_path):
    with pytest.raises(TrainingError, match="give both or neither"):
        train_generator(CONFIG, _data(), tmp_path / "run", (SIDE, SIDE))
    with pytest.raises(TrainingError, match="only 'vae-gan'"):
        train_generator(GeneratorConfig(arch="tiny"), _data(), tmp_path / "run", (SIDE, SIDE), encoder=Eye())
    with pytest.raises(ValueError, match="embedding_critic must not be negative"):
        dataclasses.replace(CONFIG, embedding_critic=-1.0)
