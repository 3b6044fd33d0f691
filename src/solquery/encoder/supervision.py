"""Teach some numbers of the embedding to follow physical parameters, so that a search by appearance keeps them as well.

Two views of one patch agree on much that makes a region, and on little that tells a strong network from a weak one. A
few numbers of the embedding are therefore told what the patch measures. The rest stays free, and the parameters are
needed in training only: a query is embedded by its picture alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config import EncoderConfig
from ..generator.anchors import parameter_scores
from ..protocols import Patches

__all__ = ["supervision_loss", "supervision_targets"]


def supervision_targets(cfg: EncoderConfig, data: Patches) -> Tensor | None:
    """Targets of the first numbers of the embedding: normal scores of the parameters of patches (N, H, W).

    Scores, because ranks are what a search has to keep from the weakest region to the strongest, and because they have
    mean 0 and variance 1, as every number of the embedding has.

    Returns
    -------
    (N, T) float32, `cfg.physics_dims` times its weight columns for each parameter, NaN where it is unknown;
    None where `cfg.physics` names none.
    """
    if not cfg.physics:
        return None
    scores = parameter_scores(data, tuple(cfg.physics))
    times = cfg.physics_dims * np.array(list(cfg.physics.values()))
    return torch.from_numpy(np.repeat(scores, times, axis=1))


def supervision_loss(z: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of the taught numbers of embeddings (N, D) and targets (N, T), unknown ones left out."""
    known = torch.isfinite(targets)
    difference = torch.where(known, z[:, : targets.shape[1]].float() - torch.nan_to_num(targets), 0.0)
    return difference.square().sum() / known.sum().clamp_min(1)
