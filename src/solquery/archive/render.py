"""Render a simulated region: its flux concentrations, spots and noise, on the SHARP grid, in gauss.

Everything here is instantaneous; how a region is born, spreads and decays is told in `simulate`.
Pixels are CEA pixels of 0.03 degree, 0.364425 Mm; x (columns) grows westward, y (rows) northward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.spatial import cKDTree
from scipy.special import gamma

__all__ = ["PIXEL_MM", "Spot", "concentrations", "noise", "pull_to_network", "spots"]

#: 0.03 degree of heliographic arc at 696 Mm
PIXEL_MM = 0.364425
#: flux of one gauss in one CEA pixel, in Mx (DESIGN: 1.328054e15 cm^2 a pixel)
PIXEL_MX = 1.328054e15
#: radii (standard deviations, pixels) of the three kinds of small concentration
CONCENTRATION_SIGMA_PX = (1.2, 2.1, 4.2)


@dataclass
class Spot:
    """A coherent spot: umbra and penumbra of one polarity.

    The vertical field falls as ``peak * exp(-(r/R)^p)`` to a sharp edge; the outline is a circle bent by a few
    low harmonics and frayed by many high ones, as penumbral filaments fray it.
    """

    y_mm: float
    x_mm: float
    flux_mx: float
    sign: int
    peak_gauss: float
    steepness: float
    low: np.ndarray  # (4, 2) amplitude and phase of harmonics 2 to 5
    high: np.ndarray  # (10, 3) amplitude, phase and order of the filaments
    stretch: float
    angle: float

    @property
    def radius_mm(self) -> float:
        """Radius R at which the profile has fallen to 1/e, from flux = pi R^2 peak Gamma(1 + 2/p)."""
        area = self.flux_mx / (self.peak_gauss * gamma(1.0 + 2.0 / self.steepness))
        return float(np.sqrt(area / np.pi / 1e16))


def pull_to_network(position: np.ndarray, cells: cKDTree, strength: np.ndarray | float) -> np.ndarray:
    """Move points toward the nearest border between cells, as convection sweeps flux to the network.

    Parameters
    ----------
    position
        (N, 2) in Mm.
    cells
        Tree of the (M, 2) cell centres in Mm; their Voronoi borders are the network.
    strength
        0 leaves a point where it is, 1 puts it on the border.

    Returns
    -------
    (N, 2) in Mm.
    """
    if len(position) == 0 or cells.n < 2:
        return position
    centres = cells.data
    (d1, d2), (i1, i2) = (part.T for part in cells.query(position, k=2))
    axis = centres[i2] - centres[i1]
    length = np.linalg.norm(axis, axis=1)
    to_border = (d2**2 - d1**2) / (2.0 * length)
    return position + axis * (strength * to_border / length)[:, None]


def concentrations(
    shape: tuple[int, int], y_mm: np.ndarray, x_mm: np.ndarray, flux_mx: np.ndarray, kind: np.ndarray
) -> np.ndarray:
    """Field of many small flux concentrations, each a Gaussian of one of three widths.

    Parameters
    ----------
    shape
        (ny, nx) pixels.
    y_mm, x_mm, flux_mx, kind
        (N,): position from the lower left corner, signed flux in Mx, and width (0, 1 or 2).

    Returns
    -------
    (ny, nx) float32, G.
    """
    ny, nx = shape
    total = np.zeros(shape, np.float32)
    row, column = y_mm / PIXEL_MM - 0.5, x_mm / PIXEL_MM - 0.5
    r0, c0 = np.floor(row).astype(int), np.floor(column).astype(int)
    fr, fc = row - r0, column - c0
    # widest first: each narrower kind joins and is blurred by what is left, so three blurs serve all kinds
    for k in (2, 1, 0):
        of_kind = kind == k
        if of_kind.any():
            corners, weights = [], []
            for dr in (0, 1):
                for dc in (0, 1):
                    r, c = r0[of_kind] + dr, c0[of_kind] + dc
                    inside = (r >= 0) & (r < ny) & (c >= 0) & (c < nx)
                    weight = np.abs(1 - dr - fr[of_kind]) * np.abs(1 - dc - fc[of_kind]) * flux_mx[of_kind]
                    corners.append(r[inside] * nx + c[inside])
                    weights.append(weight[inside])
            plane = np.bincount(np.concatenate(corners), np.concatenate(weights), minlength=ny * nx)
            total += (plane / PIXEL_MX).reshape(shape).astype(np.float32)
        target = CONCENTRATION_SIGMA_PX[k - 1] if k > 0 else 0.0
        step = np.sqrt(max(CONCENTRATION_SIGMA_PX[k] ** 2 - target**2, 0.0))
        total = gaussian_filter(total, step, truncate=3.0, mode="constant")
    return total


def spots(shape: tuple[int, int], several: list[Spot]) -> np.ndarray:
    """Field of coherent spots, (ny, nx) float32, G; same-sign spots merge by the larger field, not by the sum."""
    ny, nx = shape
    by_sign = {1: np.zeros(shape, np.float32), -1: np.zeros(shape, np.float32)}
    for spot in several:
        radius = spot.radius_mm / PIXEL_MM
        reach = int(np.ceil(radius * 1.9 * max(spot.stretch, 1 / spot.stretch))) + 2
        cy, cx = spot.y_mm / PIXEL_MM - 0.5, spot.x_mm / PIXEL_MM - 0.5
        y0, y1 = max(int(cy) - reach, 0), min(int(cy) + reach + 1, ny)
        x0, x1 = max(int(cx) - reach, 0), min(int(cx) + reach + 1, nx)
        if y0 >= y1 or x0 >= x1 or radius < 0.5:
            continue
        dy = (np.arange(y0, y1, dtype=np.float32) - np.float32(cy))[:, None]
        dx = (np.arange(x0, x1, dtype=np.float32) - np.float32(cx))[None, :]
        cos, sin = np.float32(np.cos(spot.angle)), np.float32(np.sin(spot.angle))
        u = (dx * cos + dy * sin) / np.float32(spot.stretch)
        v = (-dx * sin + dy * cos) * np.float32(spot.stretch)
        r = np.hypot(u, v)
        # the outline is drawn once along the circle, then looked up for each pixel
        circle = np.linspace(0, 2 * np.pi, 361, dtype=np.float32)
        outline = np.ones_like(circle)
        for order, (amplitude, phase) in enumerate(spot.low, start=2):
            outline += amplitude * np.cos(order * circle + phase)
        frayed = outline.copy()
        for amplitude, phase, order in spot.high:
            frayed += amplitude * np.cos(order * circle + phase)
        degree = ((np.arctan2(v, u) * (180 / np.pi)) % 360).astype(np.int32)
        relative = r / np.float32(radius)
        inner = relative / outline[degree]
        outer = relative / frayed[degree]
        mix = np.clip((relative - 0.55) * 2.5, 0, 1)
        profile = np.exp(-((inner * (1 - mix) + outer * mix) ** np.float32(spot.steepness)))
        edge = 1 / (1 + np.exp(np.clip((outer - 1.32) * np.float32(max(radius, 4.0) * 1.1), -30, 30)))
        window = by_sign[spot.sign][y0:y1, x0:x1]
        np.maximum(window, np.float32(spot.peak_gauss) * profile * edge, out=window)
    return by_sign[1] - by_sign[-1]


def noise(shape: tuple[int, int], mu: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of the inverted radial field, (ny, nx) float32, G, growing from disc centre to limb.

    Toward the limb Br is made of the transverse field, whose noise is an order of magnitude larger. The standard
    deviation follows ``hypot(8, 62 s^1.25)`` G with s the sine of the heliocentric angle, and a third of the variance
    lies at scales of a few pixels, as read off the quietest windows of real Br frames between mu = 0.34 and 0.99.
    """
    ny, nx = shape
    s = np.sqrt(max(1.0 - mu * mu, 0.0))
    level = 1.15 * np.hypot(8.0, 62.0 * s**1.25)
    along = min(1.0 / max(mu, 0.3), 2.5)  # foreshortening: fewer independent points east to west
    fine = rng.standard_normal(shape, dtype=np.float32)
    fine = gaussian_filter1d(gaussian_filter1d(fine, 0.55, 0, truncate=3), 0.55 * along, 1, truncate=3)
    small = rng.standard_normal((ny // 3 + 4, nx // 3 + 4), dtype=np.float32)
    small = gaussian_filter(small, (1.0, 1.0 * along), truncate=3)
    coarse = gaussian_filter(small.repeat(3, 0).repeat(3, 1)[:ny, :nx], 1.0, truncate=2)
    # two slow patterns make some areas noisier than others, as the inversion does
    slow = rng.standard_normal((ny // 24 + 4, nx // 24 + 4), dtype=np.float32)
    patchy = np.repeat(np.repeat(gaussian_filter(slow, 0.8), 24, 0), 24, 1)[:ny, :nx]
    patchy = gaussian_filter(patchy[::4, ::4], 3.0).repeat(4, 0).repeat(4, 1)[:ny, :nx]
    total = np.sqrt(0.68) * fine / fine.std() + np.sqrt(0.32) * coarse / coarse.std()
    total = total / (1.0 + 0.03 * total * total)  # flat-topped, kurtosis about 2.5 as observed
    return (level / total.std() * total * np.clip(1.0 + 0.35 * patchy, 0.5, 1.6)).astype(np.float32)
