"""What the two views of a patch are asked to agree on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LOSSES", "barlow", "contrastive", "negative_cosine", "simsiam", "vicreg"]


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


def vicreg(z1: Tensor, z2: Tensor, predict: Callable[[Tensor], Tensor], temperature: float) -> Tensor:
    """Equal views, every number varying, no two of them alike (Bardes et al. 2022, arXiv:2105.04906, equations 1 to 6).

    Weights 25, 25 and 1, as there; the variances of the two views are averaged, as in their program. The embedding of
    this package ends in a batch normalisation, which sees to the variance already. `predict` and `temperature` play no
    part.
    """
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2 = z1.float(), z2.float()
        total = 25.0 * F.mse_loss(z1, z2)
        for z in (z1, z2):
            z = z - z.mean(dim=0)
            total = total + 12.5 * F.relu(1.0 - (z.var(dim=0) + 1e-4).sqrt()).mean()
            covariance = z.T @ z / (len(z) - 1)
            total = total + (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
        return total


def barlow(z1: Tensor, z2: Tensor, predict: Callable[[Tensor], Tensor], temperature: float) -> Tensor:
    """The correlations of the views are asked to be the identity (Zbontar et al. 2021, arXiv:2103.03230, eq. 1).

    Off the diagonal with weight 0.005, as there. Summed over D numbers and times 25 / D, which makes gradients as large
    as those of `vicreg`, so that one learning rate fits both. `predict` and `temperature` play no part.
    """
    with torch.autocast(z1.device.type, enabled=False):
        n, d = z1.shape
        one, two = ((z - z.mean(dim=0)) / (z.std(dim=0, correction=0) + 1e-5) for z in (z1.float(), z2.float()))
        correlation = one.T @ two / n
        on = (correlation.diagonal() - 1.0).square().sum()
        off = correlation.square().sum() - correlation.diagonal().square().sum()
        return 25.0 * (on + 0.005 * off) / d


LOSSES = {"simsiam": simsiam, "contrastive": contrastive, "vicreg": vicreg, "barlow": barlow}
