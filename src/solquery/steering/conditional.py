"""Directions that change one thing and leave others alone: the orthogonal complement of held normals."""

from __future__ import annotations

import numpy as np

from ..aliases import Array
from .latents import SteeringError

__all__ = ["NothingLeft", "conditional_normal", "left_of", "nearly_dependent", "orthogonal_complement", "span_basis"]

#: singular values of the (normalised) held vectors below this share of the largest count as zero
_RANK_TOLERANCE = 1e-9
#: a remainder shorter than this share of the vector is rounding, not a direction
_REMAINDER_TOLERANCE = 1e-6
#: a normal of which so little is left beside others says hardly anything that they do not
NEARLY = 0.1


class NothingLeft(SteeringError):
    """Nothing of a direction is left once the held ones are taken out of it."""


def span_basis(a: Array) -> np.ndarray:
    """Orthonormal basis (D, R) of the space that the columns of `a` (D, K) span; zero columns count for nothing."""
    a = np.asarray(a, dtype=np.float64)
    if a.ndim != 2:
        raise ValueError(f"the held vectors must be the columns of a matrix (D, K), got shape {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError("the held vectors hold numbers that are not finite")
    # dividing by the largest entry first keeps tiny and huge columns from under- and overflowing in the norm
    largest = np.abs(a).max(axis=0, initial=0.0)
    a = a[:, largest > 0] / largest[largest > 0]
    a = a / np.linalg.norm(a, axis=0)
    if a.shape[1] == 0:
        return np.zeros((a.shape[0], 0))
    u, s, _ = np.linalg.svd(a, full_matrices=False)
    return u[:, s > _RANK_TOLERANCE * s[0]]


def orthogonal_complement(x: Array, a: Array) -> np.ndarray:
    """Part of `x` orthogonal to every column of `a`: x - A (A^T A)^-1 A^T x (paper, section 4).

    Computed from an orthonormal basis of the columns instead of the inverse, so that repeated, dependent or zero
    columns do no harm.

    Parameters
    ----------
    x
        (D,).
    a
        (D, K), any K.

    Returns
    -------
    (D,) float64, not normalised.

    Raises
    ------
    NothingLeft
        When `x` lies in the span of the columns (or is zero).
    """
    x = np.asarray(x, dtype=np.float64)
    basis = span_basis(a)
    if x.shape != basis.shape[:1]:
        raise ValueError(f"x has shape {x.shape}, the held vectors have {basis.shape[0]} numbers each")
    size = np.linalg.norm(x)
    rest = x - basis @ (basis.T @ x)
    # once more: what rounding left of the held part after the first time
    rest = rest - basis @ (basis.T @ rest)
    if not np.linalg.norm(rest) > _REMAINDER_TOLERANCE * size:
        raise NothingLeft("nothing is left of the direction once the held ones are taken out; hold fewer parameters")
    return rest


def conditional_normal(x: Array, a: Array) -> np.ndarray:
    """Unit vector (D,) float64 along `orthogonal_complement`; with one held normal the paper's n_new."""
    rest = orthogonal_complement(x, a)
    return rest / np.linalg.norm(rest)


def left_of(x: Array, a: Array) -> float:
    """Share (0 to 1) of the length of `x` (D,) that is left once the columns of `a` (D, K) are taken out of it."""
    x = np.asarray(x, dtype=np.float64)
    basis, size = span_basis(a), np.linalg.norm(x)
    return float(np.linalg.norm(x - basis @ (basis.T @ x)) / size) if size > 0 else 0.0


def nearly_dependent(a: Array) -> list[int]:
    """Columns of `a` (D, K) of which less than `NEARLY` is left beside the other columns."""
    a = np.asarray(a, dtype=np.float64)
    return [k for k in range(a.shape[1]) if left_of(a[:, k], np.delete(a, k, axis=1)) < NEARLY]
