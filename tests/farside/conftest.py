"""A generator whose posterior is known: one Gaussian spot of which the latents give amount, place and width."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from solquery import get_preset


class Spots(nn.Module):
    """Two spots of opposite sign, 40 Mm apart along x; z[0] is the logarithm of their strength, z[1] of their width."""

    latent_dim = 3

    def __init__(self, shape, scale):
        super().__init__()
        y, x = (torch.arange(n) - (n - 1) / 2 for n in shape)
        self.y, self.x, self.scale = y * scale[0], x * scale[1], scale

    def forward(self, z):
        strength = 800.0 * torch.exp(0.4 * z[:, 0])
        width = 9.0 * torch.exp(0.25 * z[:, 1])
        field = 0.0
        for sign in (1.0, -1.0):
            along = (self.x[None] - 20.0 * sign) / width[:, None]
            across = self.y[None] / width[:, None]
            spot = torch.exp(-0.5 * across[:, :, None] ** 2) * torch.exp(-0.5 * along[:, None, :] ** 2)
            field = field + sign * strength[:, None, None] * spot
        return (field / 1000.0)[:, None]


class Known:
    """A model of these spots."""

    name, hash, metadata = "spots", None, {}

    def __init__(self):
        self.preset = get_preset("physical")
        self.generator = Spots(self.preset.shape, self.preset.scale_mm)


@pytest.fixture(scope="session")
def spots():
    return Known()


@pytest.fixture(scope="session")
def prior(spots):
    from solquery.farside import draw_prior

    # the mean strength of these spots is not that of regions
    return dataclasses.replace(draw_prior(spots, 400, seed=3), strength=None)


@pytest.fixture(scope="session")
def truths(spots):
    z = np.random.default_rng(8).standard_normal((48, 3)).astype(np.float32)
    with torch.no_grad():
        return z, spots.generator(torch.from_numpy(z))[:, 0].numpy()
