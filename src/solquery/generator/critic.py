"""The paper's measure of a generator: how well a discriminator tells its patches from real ones.

The discriminator of a run is as good as its own generator made it, so that its accuracy compares the epochs of one run
(paper, section 4) and nothing else. To compare generators, a fresh discriminator of the paper's architecture is trained
for each on half of the patches, and asked about the other half (a classifier two-sample test, Lopez-Paz & Oquab 2017,
arXiv:1610.06545).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from ..config import PaperGanConfig
from .networks import PaperDiscriminator

__all__ = ["critic_accuracy"]

_BATCH = 32


def _taught(real: np.ndarray, made: np.ndarray, steps: int, seed: int) -> PaperDiscriminator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = PaperDiscriminator(PaperGanConfig(), real.shape[1:]).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(critic.parameters(), lr=5e-4, fused=True)
    rng = np.random.default_rng([seed, 7])
    for _ in range(steps):
        rows = [rng.integers(0, len(x), min(_BATCH // 2, len(x))) for x in (real, made)]
        x = torch.from_numpy(np.concatenate([real[rows[0]], made[rows[1]]]).astype(np.float32))[:, None]
        target = torch.cat([torch.ones(len(rows[0])), torch.zeros(len(rows[1]))])
        loss = F.binary_cross_entropy_with_logits(critic(x), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return critic.eval()


@torch.no_grad()
def _right(critic: PaperDiscriminator, x: np.ndarray, real: bool) -> float:
    parts = torch.from_numpy(np.asarray(x, np.float32))[:, None].split(64)
    return float(((torch.cat([critic(part) for part in parts]) > 0) == real).double().mean())


def critic_accuracy(
    made: np.ndarray, held: np.ndarray, halves: tuple[np.ndarray, np.ndarray], *, steps: int = 150, seed: int = 0
) -> dict[str, float]:
    """Accuracy of a fresh discriminator on patches it was not trained with.

    Parameters
    ----------
    made, held
        (N, H, W) generated and (M, H, W) held-out patches in preset units.
    halves
        Rows of `held` that it is trained with, and that it is asked about; no region in both.
    steps, seed
        Of 32 patches each; of its weights and draws.

    Returns
    -------
    `accuracy`: 0.5 where it cannot tell, 1 where it always can; `floor`: the same with other held-out patches in
    the place of generated ones, NaN with too few.
    """
    learn, ask = halves
    middle = len(made) // 2
    critic = _taught(held[learn], made[:middle], steps, seed)
    accuracy = (_right(critic, held[ask], True) + _right(critic, made[middle:], False)) / 2
    # three parts of the held-out patches: real to learn from, "generated" to learn from, and both to ask about
    one, two = learn[: len(learn) // 2], learn[len(learn) // 2 :]
    three, four = ask[: len(ask) // 2], ask[len(ask) // 2 :]
    if min(map(len, (one, two, three, four))) == 0:
        return {"accuracy": accuracy, "floor": float("nan")}
    critic = _taught(held[one], held[two], steps, seed)
    floor = (_right(critic, held[three], True) + _right(critic, held[four], False)) / 2
    return {"accuracy": accuracy, "floor": floor}
