"""The encoder's space of an archive, seen in two dimensions: principal axes of the embeddings, kept on disk."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..io import replacing

__all__ = ["Layout", "layout_of", "stored_layout", "within"]

_FILE = "encoder-space"


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


def stored_layout(folder: Path | None, content: str, encoder: str, vectors: Callable[[], np.ndarray]) -> Layout:
    """The layout of an archive, read from a file beside it or made and written there.

    Parameters
    ----------
    folder
        Of the archive's prepared patches; None (an archive in an object store) keeps nothing. Nor does one that cannot
        be written.
    content, encoder
        Hashes of what the layout is made of; a file of others is replaced.
    vectors
        Gives the embeddings (N, D).
    """
    if folder is None:
        return layout_of(vectors())
    key = hashlib.sha256(f"{content} {encoder}".encode()).hexdigest()
    path = folder / f"{_FILE}-{key[:10]}-{key[10:26]}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Layout(kept["points"].astype(np.float32), float(kept["explained"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # not there, or damaged: it is made again
    made = layout_of(vectors())
    try:
        with replacing(path) as part:
            np.savez(part, points=made.points, explained=np.array(made.explained))
        for old in folder.glob(f"{_FILE}-*.npz"):
            if old != path:
                old.unlink(missing_ok=True)
    except OSError:
        pass  # a read-only archive
    return made


def within(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of points (N, 2) lie in a polygon (K, 2), by the even-odd rule: (N,) bool; NaN lies nowhere."""
    x, y = np.asarray(points, np.float64).T
    inside = np.zeros(len(x), bool)
    with np.errstate(all="ignore"):
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside & np.isfinite(x) & np.isfinite(y)
