"""Watch the embedding while it is trained: does it still tell patches apart?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CollapseWarning", "collapse", "effective_rank", "spread"]

#: below either of these the embeddings of different patches are taken for the same
_LEAST_SPREAD, _LEAST_RANK = 0.1, 1.5


class CollapseWarning(UserWarning):
    """The embeddings of different patches have become the same, or nearly."""


def spread(embeddings: Tensor) -> float:
    """Standard deviation of the unit-length embeddings (N, D), times sqrt(D): 1 for isotropic, 0 when collapsed.

    Chen & He 2020, section 4.1.
    """
    unit = F.normalize(embeddings.float(), dim=1)
    return float(unit.std(dim=0).mean() * unit.shape[1] ** 0.5)


def effective_rank(embeddings: Tensor) -> float:
    """In how many dimensions the embeddings (N, D) vary: exp of the entropy of their normalised singular values.

    Roy & Vetterli 2007 (EUSIPCO); between 1 and min(N - 1, D).
    """
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    share = values / values.sum().clamp_min(1e-300)
    share = share[share > 1e-12]
    return float(torch.exp(-(share * share.log()).sum()))


def collapse(stats: dict[str, float]) -> str | None:
    """What is wrong with a line of statistics (``images``, ``embedding_std``, ``effective_rank``), None if nothing."""
    if stats["embedding_std"] >= _LEAST_SPREAD and stats["effective_rank"] >= _LEAST_RANK:
        return None
    return (
        f"the embedding has collapsed at image {stats['images']:.0f} (spread {stats['embedding_std']:.3f}, "
        f"effective rank {stats['effective_rank']:.1f})"
    )
