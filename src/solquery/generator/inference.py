"""From a patch to a latent vector in one pass: the network that a generator of loss `vae-gan` was trained with.

What it gives is a guess, good enough to start an inversion from (steering/inversion.py).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from ..config import GeneratorConfig
from .levels import seed_shape
from .pyramid import haar_split

__all__ = ["InferenceNetwork", "build_inference", "load_inference"]

#: the network looks at block means, at most so many times its coarsest map a side: 64 x 64 or 48 x 96
BLOCKS = 16


class InferenceNetwork(nn.Module):
    """q(z | x): block means ``(N, 1, *shape)`` to mean and log-variance, each (N, D)."""

    def __init__(self, latent_dim: int, shape: tuple[int, int] = (64, 64), width: int = 64) -> None:
        super().__init__()
        channels = [4, width // 2, width, 2 * width, 3 * width]
        rows, columns = seed_shape(shape)
        halvings = (shape[0] // rows).bit_length() - 2
        layers: list[nn.Module] = [nn.Conv2d(4, channels[1], 3, padding=1), nn.LeakyReLU(0.2)]
        last = channels[1]
        for k in range(halvings):
            following = channels[min(k + 2, 4)]
            layers += [nn.Conv2d(last, following, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            last = following
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(last * rows * columns, 2 * latent_dim))
        self.latent_dim, self.shape = latent_dim, (int(shape[0]), int(shape[1]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = self.layers(haar_split(x * 4.0)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-8.0, 4.0)

    @torch.no_grad()
    def guess(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (N, D) for patches (N, H, W) in preset units."""
        return self(F.adaptive_avg_pool2d(x[:, None], self.shape))[0]


def build_inference(config: GeneratorConfig, shape: tuple[int, int]) -> InferenceNetwork:
    """The network, freshly initialised, that belongs to a generator of this configuration."""
    rows, columns = seed_shape(shape)
    most = (min(shape[0], BLOCKS * rows), min(shape[1], BLOCKS * columns))
    return InferenceNetwork(config.latent_dim, most, config.width)


def load_inference(run: str | Path, config: GeneratorConfig, shape: tuple[int, int]) -> InferenceNetwork | None:
    """That of a run folder, in evaluation mode; None where the run's loss trains none."""
    weights = Path(run) / "checkpoints" / "inference.safetensors"
    if not weights.exists():
        return None
    network = build_inference(config, shape)
    network.load_state_dict(load_file(weights))
    return network.eval()
