"""An adversarial critic of statistics: not one by one, but as they go together.

`StatisticsMatching` holds the distribution of each statistic, and of a few fixed mixtures of them, to the archive's.
All of these can be right while the archive never has them together: quiet field of a limb patch where the gradients are
those of disk centre. A discriminator of pixels is slow to see that, since each statistic is a sum over the whole patch.
A network of three layers, given the statistics alone, sees it at once, and tells the generator through the same
gradients that the statistics have. It learns from the last few hundred images rather than from the batch, many pairs at
a step, as that costs next to nothing.

What is asked for in training is no independent sign of realism any more: judge by other statistics, and by an encoder
that was not shown to the generator (`solquery quality --encoder`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..training.process_group import ProcessGroup

__all__ = ["StatisticsCritic"]

#: images generated last among which the critic finds its examples
REMEMBERED = 1024
#: steps of the critic for each of the generator, and pairs in each
STEPS, PAIRS = 4, 128
#: weight of the gradient penalty on real statistics (R1)
PENALTY = 0.5
#: spreads from the median toward which a statistic saturates
FARTHEST = 6.0
_HIDDEN = 128
_SEED = 71


class StatisticsCritic(nn.Module):
    """The archive's statistics, those of the last images, and the critic that tells them apart.

    Parameters
    ----------
    archive
        (M, K) statistics of patches of the archive, in spreads from their median (`StatisticsMatching.archive`).
    seed
        Of the critic's weights and of the pairs it is shown.
    """

    def __init__(self, archive: Tensor, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer("archive", _bounded(archive.float()), persistent=False)
        # before there are images, the archive itself: nothing can be told apart
        first = torch.arange(REMEMBERED) % len(archive)
        self.register_buffer("made", self.archive[first].clone())
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + _SEED)
            self.critic = nn.Sequential(
                nn.Linear(archive.shape[1], _HIDDEN), nn.LeakyReLU(0.2),
                nn.Linear(_HIDDEN, _HIDDEN), nn.LeakyReLU(0.2),
                nn.Linear(_HIDDEN, 1),
            )  # fmt: skip

    def learn(self, values: Tensor, optimiser: torch.optim.Optimizer, processes: ProcessGroup) -> Tensor:
        """Remember statistics (N, K) of images just generated and take the critic's steps; their mean loss.

        All processes hold the same memory and draw the same pairs, so that they take the same steps.
        """
        everyone = _bounded(processes.gather(values.detach().float()))
        rows = (self.oldest + torch.arange(len(everyone), device=values.device)) % len(self.made)
        self.made[rows] = everyone
        self.oldest += len(everyone)
        random = self._random(0)
        self.step += 1
        losses = []
        for _ in range(STEPS):
            real, made = (table[_rows(random, table, PAIRS)] for table in (self.archive, self.made))
            real.requires_grad_(True)
            on_real = self.critic(real)
            loss = F.softplus(self.critic(made) - on_real).mean()
            (gradient,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
            optimiser.zero_grad(set_to_none=True)
            (loss + 0.5 * PENALTY * gradient.square().sum(1).mean()).backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def loss(self, values: Tensor) -> Tensor:
        """Loss of the generator on statistics (N, K) of its images: they should look more real than the archive's."""
        self.critic.requires_grad_(False)
        rows = _rows(self._random(1), self.archive, len(values))
        with torch.no_grad():
            on_real = self.critic(self.archive[rows])
        loss = F.softplus(on_real - self.critic(_bounded(values))).mean()
        self.critic.requires_grad_(True)
        return loss

    def _random(self, use: int) -> np.random.Generator:
        """Of this step and one use of it: a run that goes on draws what it would have drawn."""
        return np.random.default_rng([self.seed, _SEED, use, int(self.step)])


def _rows(random: np.random.Generator, table: Tensor, count: int) -> Tensor:
    return torch.from_numpy(random.integers(0, len(table), count)).to(table.device)


def _bounded(values: Tensor) -> Tensor:
    """Statistics that saturate far from the median, so that one stray image does not decide."""
    return FARTHEST * torch.tanh(values / FARTHEST)
