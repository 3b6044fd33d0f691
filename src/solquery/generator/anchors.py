"""Anchor a few latent coordinates in physics, so that statistics have a direction and not only a radius.

Exchanging the polarities of a patch leaves its unsigned flux as it is. An autoencoder left to itself therefore tends to
write strength as the length of a signed component: flux grows both ways from the origin, and no hyperplane separates
weak from strong. Here the first coordinates are not inferred but measured on the training patch: the normal score of
each anchor parameter (its rank, seen through the Gaussian quantile function), made uncorrelated with the anchors
before it, so that a draw from the prior is again a draw of plausible values. The directions of any parameter, these
included, are still found afterwards by the support vector machines; nothing downstream knows about anchors.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri

from ..protocols import Patches

__all__ = ["anchor_scores", "parameter_scores"]


def _normal_score(values: np.ndarray) -> np.ndarray:
    """Ranks to standard normal quantiles, ties sharing their mean rank; unknown values sit in the middle, at 0."""
    from scipy.stats import rankdata  # takes a second to load

    score = np.zeros(len(values))
    known = np.isfinite(values)
    if known.any():
        score[known] = ndtri((rankdata(values[known]) - 0.5) / known.sum())
    return score


def parameter_scores(data: Patches, names: tuple[str, ...], unit_gauss: float = 1000.0, batch: int = 256) -> np.ndarray:
    """(N, P) float32 normal scores of parameters of patches (N, H, W) in network units; NaN where one is unknown."""
    columns = _measured(data, names, unit_gauss, batch)
    scores = [np.where(np.isfinite(values), _normal_score(values), np.nan) for values in columns]
    return np.column_stack(scores).astype(np.float32)


def _measured(data: Patches, names: tuple[str, ...], unit_gauss: float, batch: int) -> list[np.ndarray]:
    from ..physics import measure

    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(data), batch):
        fields = torch.as_tensor(np.asarray(data[start : start + batch], np.float32)) * unit_gauss
        for name, values in measure(fields, names=list(names)).items():
            columns[name].append(values.cpu().numpy())
    return [np.concatenate(columns[name]) for name in names]


def anchor_scores(data: Patches, names: tuple[str, ...], unit_gauss: float, batch: int = 256) -> np.ndarray:
    """Anchors of every patch.

    Parameters
    ----------
    data
        Array-like (N, H, W) in network units; `unit_gauss` gauss each.
    names
        Registered parameters (A of them), measured on the grid.

    Returns
    -------
    (N, A) float32: standard normal scores, uncorrelated with each other over the data.
    """
    scores = np.column_stack([_normal_score(values) for values in _measured(data, names, unit_gauss, batch)])
    scores = scores / np.maximum(scores.std(0), 1e-9)
    # Gram-Schmidt in the order given: each anchor keeps what the earlier ones do not explain
    for k in range(1, scores.shape[1]):
        earlier = scores[:, :k]
        known, *_ = np.linalg.lstsq(earlier, scores[:, k], rcond=None)
        rest = scores[:, k] - earlier @ known
        scores[:, k] = rest / max(rest.std(), 1e-9)
    return scores.astype(np.float32)
