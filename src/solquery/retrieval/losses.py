"""What the two views of a patch are asked to agree on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LOSSES", "contrastive", "negative_cosine", "simsiam"]


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """-cos(prediction, target), averaged over N; no gradient reaches `target`.

    >>> p = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    >>> float(negative_cosine(p, 3 * p))
    -1.0
    """
    return -F.cosine_similarity(prediction.float(), target.detach().float(), dim=1).mean()


def simsiam(z1: Tensor, z2: Tensor, predict: Callable[[Tensor], Tensor], temperature: float) -> Tensor:
    """The paper's loss: each view's embedding is predicted from the other's (Chen & He 2020, equation 2).

    `z1`, `z2`: (N, D) embeddings of the two views. `temperature` plays no part.
    """
    return (negative_cosine(predict(z1), z2) + negative_cosine(predict(z2), z1)) / 2


def contrastive(z1: Tensor, z2: Tensor, predict: Callable[[Tensor], Tensor], temperature: float) -> Tensor:
    """Which of the 2N - 1 other views in the batch is of the same patch? (Chen et al. 2020, arXiv:2002.05709, eq. 1.)

    Asks outright for what a search needs, that the copy be nearer than every other patch, and so gets there in far
    fewer images than `simsiam`, which never compares two patches. `predict` plays no part.
    """
    n = len(z1)
    with torch.autocast(z1.device.type, enabled=False):  # in bf16 the differences between patches would be lost
        z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
        alike = z @ z.T / temperature
        alike = alike.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), float("-inf"))
        return F.cross_entropy(alike, torch.arange(2 * n, device=z.device).roll(n))


LOSSES = {"simsiam": simsiam, "contrastive": contrastive}
