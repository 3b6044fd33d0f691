"""Does a generator repeat itself? Looked at while it trains, so that a collapsed run is noticed in minutes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..protocols import Patches

__all__ = ["COLLAPSED", "COLLAPSE_STEPS", "CollapseWarning", "Diversity", "diversity", "evaluating"]

#: a generator younger than this has not had the time to vary
COLLAPSE_STEPS = 500
#: diversity below which a generator counts as collapsed
COLLAPSED = 0.1
_PATCHES = 64
_BLOCKS = 16


class CollapseWarning(UserWarning):
    """Generated patches hardly differ from each other."""


def _apart(x: torch.Tensor) -> torch.Tensor:
    """(N,) distance of each patch to the one most like it among the others."""
    return torch.cdist(x, x).fill_diagonal_(float("inf")).min(1).values


def diversity(made: torch.Tensor, real: torch.Tensor) -> float:
    """How much generated patches (N, 1, H, W) vary, as a share of how much real ones do; 0 when all are the same.

    The smaller of two ratios: of the spread of patches about their mean (0 where everything is one patch), and of the
    median distance to the most similar other patch (0 where a few patches are repeated). Patches are compared by block
    means, at most 16 a side, so that grain does not count as variety.
    """
    n = min(len(made), len(real))
    a, b = (F.adaptive_avg_pool2d(x[:n].float(), min(_BLOCKS, x.shape[-1])).flatten(1).cpu() for x in (made, real))
    spread = a.std(0).mean() / b.std(0).mean().clamp_min(1e-9)
    apart = _apart(a).median() / _apart(b).median().clamp_min(1e-9)
    return float(torch.minimum(spread, apart))


@contextlib.contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and torch's random state as it was: what is looked at does not change the run."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)


class Diversity:
    """Follows the diversity of one run; warns when it is lost, once for each time it is lost."""

    def __init__(self, data: Patches, seed: int) -> None:
        rows = np.sort(np.random.default_rng([seed, 64]).permutation(len(data))[:_PATCHES])
        self.real = torch.as_tensor(np.asarray(data[rows], np.float32))[:, None]
        self._warned = False

    def look(self, network: nn.Module, step: int, level: int | None, device: torch.device) -> float:
        """Diversity of 64 patches that are the same latents every time.

        Warns
        -----
        CollapseWarning
            Where it is below a tenth of the real patches' after the first steps.
        """
        z = torch.randn(_PATCHES, network.latent_dim, generator=torch.Generator().manual_seed(64)).to(device)
        with evaluating(network):
            made = torch.cat([network(part) if level is None else network(part, level=level) for part in z.split(16)])
        value = diversity(made, self.real)
        collapsed = step >= COLLAPSE_STEPS and value < COLLAPSED
        if collapsed and not self._warned:
            warnings.warn(
                f"generated patches vary {value:.2f} times as much as real ones: it collapsed; look at the pictures in "
                "samples/, and if it does not recover, start a new run with a lower learning rate or another seed",
                CollapseWarning,
                stacklevel=3,
            )
        self._warned = collapsed
        return value
