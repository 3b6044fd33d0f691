"""A generator whose truth is known, and a model of it."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from solquery.config import EncoderConfig, get_preset
from solquery.encoder import build_encoder
from solquery.model import Model
from solquery.steering import fit_directions, sample_latents


class Bipoles(nn.Module):
    """(N, 16) -> (N, 1, 32, 32): two spots; strength, separation, leading sign, tilt, excess are latents."""

    latent_dim = 16

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.6))
        self.register_buffer("axis", torch.arange(32) - 15.5)

    def forward(self, z):
        peak = self.gain * torch.exp(0.25 * z[:, 0])
        half = 5.0 * torch.exp(0.15 * z[:, 1])
        sign, angle, excess = torch.tanh(6.0 * z[:, 2]), 0.3 * z[:, 3], 0.2 * torch.tanh(z[:, 4])
        dx, dy = half * torch.cos(angle), half * torch.sin(angle)
        west = (peak * (sign + excess))[:, None, None] * self.spot(dx, dy)
        east = (peak * (excess - sign))[:, None, None] * self.spot(-dx, -dy)
        return torch.tanh(west + east)[:, None]

    def spot(self, x, y):
        along_x = (self.axis - x[:, None]).square()[:, None, :]
        along_y = (self.axis - y[:, None]).square()[:, :, None]
        return torch.exp(-(along_x + along_y) / (2 * 2.2**2))


def bipole_model() -> Model:
    """With directions of what the latents mean, and an encoder that saw nothing."""
    torch.set_num_threads(1)
    preset = dataclasses.replace(get_preset("tiny"), encoder=EncoderConfig(width=4, embedding_dim=16))
    names = ("tuf", "net_flux", "psep", "tilt", "polarity", "r", "area")
    directions = fit_directions(sample_latents(Bipoles(), preset, 1500, seed=1, names=names))
    return Model("bipoles", preset, Bipoles(), build_encoder(preset.encoder), directions)
