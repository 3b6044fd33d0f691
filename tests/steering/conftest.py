"""A generator whose truth is known: each of the first latent numbers moves one property of a bipole."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from solquery.config import get_preset
from solquery.steering import fit_directions, sample_latents


class BipoleGenerator(nn.Module):
    """z[0]: strength, z[1]: separation, z[2]: which polarity leads, z[3]: tilt, z[4]: net flux; the others nothing."""

    latent_dim = 8

    def __init__(self, side: int = 32) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("axis", torch.arange(side) - (side - 1) / 2)
        # a weight, so that a gradient left behind on the network would be seen
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        peak = 0.45 * torch.exp(0.3 * z[:, 0]) * self.gain
        half = 5.0 * torch.exp(0.15 * z[:, 1])
        sign = torch.tanh(6.0 * z[:, 2])
        angle = 0.25 * z[:, 3]
        dx, dy = half * torch.cos(angle), half * torch.sin(angle)
        excess = 0.4 * torch.tanh(z[:, 4])
        west = (peak * (sign + excess))[:, None, None] * self._spot(dx, dy)
        east = (peak * (excess - sign))[:, None, None] * self._spot(-dx, -dy)
        return torch.tanh(west + east)[:, None]

    def _spot(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        along_x = (self.axis - x[:, None]).square()[:, None, :]
        along_y = (self.axis - y[:, None]).square()[:, :, None]
        return torch.exp(-(along_x + along_y) / (2 * 2.0**2))


@pytest.fixture(scope="session")
def bipoles() -> BipoleGenerator:
    return BipoleGenerator().eval()


@pytest.fixture(scope="session")
def table(bipoles):
    return sample_latents(bipoles, get_preset("tiny"), n=3000, seed=3)


@pytest.fixture(scope="session")
def directions(table):
    return fit_directions(table, ["tuf", "net_flux", "psep", "tilt", "polarity", "area", "r"])


@pytest.fixture
def model(bipoles, directions):
    return SimpleNamespace(name="bipoles", preset=get_preset("tiny"), generator=bipoles, directions=directions)


class Halves(nn.Module):
    """The first part draws the western half of another generator's patch, the second the eastern half."""

    parts = 2

    def __init__(self, inner):
        super().__init__()
        self.inner, self.latent_dim = inner, inner.latent_dim

    def forward(self, z):
        first, second = z.unbind(1) if z.ndim == 3 else (z, z)
        middle = self.inner.side // 2
        return torch.cat([self.inner(first)[..., :middle], self.inner(second)[..., middle:]], dim=-1)


@pytest.fixture
def halves(model):
    out = copy.copy(model)
    out.generator = Halves(model.generator).eval()
    return out
