"""Features of a map: the field, its means over neighbourhoods and what follows from the angle of view, (K, H, W)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import spsolve

from .grid import Seen
from .kinds import Kind

__all__ = ["features", "harmonic", "interpolated"]

#: gauss to the unit of the features
_UNIT = 1000.0
#: standard deviations of the neighbourhoods, in pixels of the grid
_NEAR = (1.0, 2.0, 4.0)
#: strength in kG, averaged over 2 pixels, above which field counts as that of a region
_REGION = (0.05, 0.2)
#: weight of the interpolated field in Laplace's equation, of that of a neighbour
_TIED = 1e-6


def features(kind: Kind, seen: Seen, drawn: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
    """Name to feature (H, W) float32 in kG, of which a map is a linear combination.

    Parameters
    ----------
    kind
        Decides which there are.
    seen
        The patch.
    drawn
        (H, W) G that a generator draws for it; its features are there only with it.
    """
    if kind.where == "missing":
        found = _around_missing(seen)
    elif kind.where == "saturated":
        found = _around_saturated(seen)
    else:
        found = _everywhere(seen)
    if drawn is not None:
        g = drawn / _UNIT
        found |= {"drawn": g, "drawn s1": gaussian_filter(g, 1.0)}
    if kind.angle:
        tan = 1.0 / seen.mu - 1.0
        found |= {f"{name} (1/mu-1){power}": f * tan**power for name, f in list(found.items()) for power in (1, 2)}
    return {name: np.asarray(f, np.float32) for name, f in found.items()}


def _everywhere(seen: Seen) -> dict[str, np.ndarray]:
    u = seen.field / _UNIT
    found = {"u": u}
    for sigma in _NEAR:
        found[f"s{sigma:g}"] = gaussian_filter(u, sigma)
    strength = gaussian_filter(np.abs(u), 2.0)
    found["u|u|"] = u * np.abs(u)
    found["s1|s1|"] = found["s1"] * np.abs(found["s1"])
    for at in _REGION:
        found[f"u region {at:g}"] = u * strength / (strength + at)
    found["s1 region"] = found["s1"] * strength / (strength + _REGION[0])
    if seen.toward.any():
        y, x = _potential(u / seen.mu)
        found["potential"] = seen.toward[0] * y + seen.toward[1] * x
    else:
        found["potential"] = np.zeros_like(u)
    return found


def _potential(radial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal components (y, x) of the potential field above a plane with that radial field (Alissandrakis 1981)."""
    ny, nx = radial.shape
    padded = np.zeros((2 * ny, 2 * nx))
    padded[:ny, :nx] = radial
    ky, kx = np.fft.fftfreq(2 * ny)[:, None], np.fft.rfftfreq(2 * nx)[None]
    k = np.hypot(ky, kx)
    k[0, 0] = 1.0
    spectrum = np.fft.rfft2(padded)
    y, x = (np.fft.irfft2(-1j * part / k * spectrum, padded.shape)[:ny, :nx] for part in (ky, kx))
    return y, x


def _around_saturated(seen: Seen) -> dict[str, np.ndarray]:
    u, signed = seen.field / _UNIT, np.sign(seen.field) * seen.saturated
    found = {"u": u, "saturated": signed, "u saturated": u * seen.saturated}
    for sigma in _NEAR:
        near = gaussian_filter(signed, sigma)
        found |= {f"saturated s{sigma:g}": near, f"u saturated s{sigma:g}": np.abs(u) * near}
    found["s1"] = gaussian_filter(u, 1.0)
    found["s2"] = gaussian_filter(u, 2.0)
    return found


def _around_missing(seen: Seen) -> dict[str, np.ndarray]:
    smooth, depth = harmonic(seen) / _UNIT, gaussian_filter(seen.missing, 4.0)
    found = {"harmonic": smooth, "harmonic deep": smooth * depth, "harmonic deeper": smooth * depth**2}
    found["interpolated"] = interpolated(seen) / _UNIT
    known = (seen.missing < 0.5).astype(np.float32)
    for sigma in (4.0, 8.0, 16.0):
        share = gaussian_filter(known, sigma)
        found[f"around s{sigma:g}"] = gaussian_filter(seen.field / _UNIT * known, sigma) / np.maximum(share, 0.02)
    return found


def interpolated(seen: Seen) -> np.ndarray:
    """The field (H, W) in gauss with missing pixels as means over what is known around them, the nearest counting most.

    Neighbourhoods grow until each missing pixel has one with something known in it (normalised convolution, Knutsson
    and Westin 1993).
    """
    known = ((seen.missing < 0.5) & seen.valid).astype(np.float32)
    out, left = np.where(known > 0, seen.field, 0.0), known == 0
    sigma = 1.0
    while left.any() and sigma <= max(left.shape):
        share = gaussian_filter(known, sigma, truncate=3.0)
        mean = gaussian_filter(seen.field * known, sigma, truncate=3.0) / np.maximum(share, 1e-6)
        reached = left & (share > 0.05)
        out[reached] = mean[reached]
        left &= ~reached
        sigma *= 1.5
    return out.astype(np.float32)


def harmonic(seen: Seen) -> np.ndarray:
    """The field (H, W) in gauss with missing pixels as the solution of Laplace's equation that their edge has.

    Each missing pixel is the mean of its neighbours; nothing flows through the edge of the patch. The field is as
    smooth as can be and has no extremes of its own. Where no edge is known it is that of `interpolated`, to which
    all pixels are tied very weakly.
    """
    start = interpolated(seen).astype(np.float64)
    missing = seen.valid & (seen.missing > 0.5)
    if not missing.any():
        return start.astype(np.float32)
    number = np.full(missing.shape, -1)
    number[missing] = np.arange(missing.sum())
    diagonal = np.full(missing.sum(), _TIED)
    right = _TIED * start[missing]
    pairs = []
    for here, there in (
        (np.s_[1:, :], np.s_[:-1, :]), (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :-1], np.s_[:, 1:]),
    ):  # fmt: skip
        one, other = number[here], number[there]
        counts = (one >= 0) & seen.valid[there]
        diagonal[one[counts]] += 1.0
        known = counts & (other < 0)
        np.add.at(right, one[known], start[there][known])
        pairs.append(np.stack([one[counts & (other >= 0)], other[counts & (other >= 0)]]))
    row, column = np.concatenate(pairs, axis=1)
    matrix = sparse.diags(diagonal) - sparse.coo_matrix((np.ones(len(row)), (row, column)), shape=(len(right),) * 2)
    out = start.copy()
    out[missing] = spsolve(matrix.tocsc(), right)
    return out.astype(np.float32)
