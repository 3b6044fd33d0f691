"""A two-dimensional view of the latent space in which a decision boundary is a line (paper, section 4 and Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .latents import SteeringError, as_latents

__all__ = ["Projection", "best_axes", "plane_axes", "project"]


@dataclass(frozen=True)
class Projection:
    """Latents in two dimensions, with the line that the boundary has become.

    Attributes
    ----------
    points
        (N, 2): z1' and z2'.
    slope, offset
        The boundary: z2' = slope * z1' + offset.
    above
        Sign of z2' - line on the side where the parameter is above its threshold: +1 or -1.
    axes
        The latent numbers that served as z1 and z2.
    """

    points: np.ndarray
    slope: float
    offset: float
    above: int
    axes: tuple[int, int]

    def line(self, z1: ArrayLike) -> np.ndarray:
        """Ordinate z2' of the boundary at abscissa z1'."""
        return self.slope * np.asarray(z1) + self.offset

    def side(self) -> np.ndarray:
        """(N,) True where a point lies on the side of high values, exactly as in the full latent space."""
        return self.above * (self.points[:, 1] - self.line(self.points[:, 0])) > 0


def best_axes(normal: ArrayLike) -> tuple[int, int]:
    """Axes for a legible view: of all latent numbers, the two that weigh most in `normal` (D,), the larger as z2."""
    order = np.argsort(-np.abs(np.asarray(normal)), kind="stable")
    return int(order[1]), int(order[0])


def plane_axes(normal: np.ndarray, papers: bool, asked: tuple[int, int] | str | None = None) -> tuple[int, int]:
    """Axes of a plane: those asked for, "best" for `best_axes`; by default z1 and z2 where `papers` is true, else best.

    Raises
    ------
    SteeringError
        When an axis that was asked for is no latent number of the model.
    """
    if asked is None:
        asked = (0, 1) if papers else "best"
    if isinstance(asked, str):
        return best_axes(normal)
    if not all(0 <= axis < len(normal) for axis in asked):
        raise SteeringError(f"the model has latent numbers 1 to {len(normal)}; choose two of them with --axes")
    return asked


def project(z: ArrayLike, normal: ArrayLike, intercept: float = 0.0, axes: tuple[int, int] = (0, 1)) -> Projection:
    """Project latents so that the hyperplane normal . z + intercept = 0 becomes a line.

    z1' = z1 and z2' = sum over i >= 2 of (n_i / n_2) z_i, so that n_1 z1' + n_2 z2' = normal . z.

    Parameters
    ----------
    z
        (N, D) or (D,).
    normal, intercept
        (D,) and a number: the boundary.
    axes
        Which latent numbers are "1" and "2"; the paper's are the first two. `best_axes` avoids a small n_2, which
        stretches the view.

    Raises
    ------
    SteeringError
        When n_2 is zero, for which the projection is not defined.
    """
    normal = np.asarray(normal, dtype=np.float64)
    points = as_latents(z, len(normal)).astype(np.float64)
    first, second = axes
    if first == second or not (0 <= first < len(normal) and 0 <= second < len(normal)):
        raise ValueError(f"axes must be two different latent numbers below {len(normal)}, got {axes}")
    n1, n2 = normal[first], normal[second]
    if n2 == 0 or not np.isfinite(1.0 / n2):
        raise SteeringError(f"the normal has no component along latent number {second}; choose axes=best_axes(normal)")
    others = normal.copy()
    others[first] = 0.0
    flat = np.stack([points[:, first], points @ (others / n2)], axis=1)
    return Projection(flat, -n1 / n2, -float(intercept) / n2, 1 if n2 > 0 else -1, (first, second))
