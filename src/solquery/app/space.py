"""The encoder's space of an archive, seen in two dimensions: principal axes of the embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Layout", "layout_of"]


@dataclass(frozen=True)
class Layout:
    """Embeddings in two dimensions.

    Attributes
    ----------
    points
        (N, 2) float32, in the unit of the embeddings.
    explained
        Share of the variance of the embeddings that the two axes have, 0 to 1.
    """

    points: np.ndarray
    explained: float


def layout_of(vectors: np.ndarray) -> Layout:
    """Embeddings (N, D) on their first two principal axes; the sign of an axis is that of its largest component."""
    x = np.asarray(vectors, np.float64)
    if len(x) < 2 or x.shape[1] < 2:
        return Layout(np.zeros((len(x), 2), np.float32), 0.0)
    x = x - x.mean(axis=0)
    variances, axes = np.linalg.eigh(x.T @ x)
    axes = axes[:, ::-1][:, :2]
    largest = axes[np.abs(axes).argmax(axis=0), (0, 1)]
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    total = float(variances.sum())
    return Layout((x @ axes).astype(np.float32), float(variances[-2:].sum() / total) if total > 0 else 0.0)
