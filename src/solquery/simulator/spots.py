"""Spots: umbra, penumbra and the horizontal field that goes with them.

The radial field of a spot falls as ``peak * exp(-(r/w)^p)`` from the umbra outward (compare the profiles of Keppens &
Martinez Pillet 1996; the umbra ends near 1.85 kG: Jurcak et al. 2018). The penumbra is woven of fibrils along the
horizontal field: white noise smeared along its lines modulates the radial field and frays the outer edge. Where spots
of opposite polarity touch, the horizontal field turns parallel to the inversion line (shear), and so do the fibrils.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from .constants import MX_PER_G_MM2, PIXEL_MM
from .optics import smooth, white_noise

if TYPE_CHECKING:
    from .state import SpotState

__all__ = ["draw_spots", "spot_peak_gauss", "spot_width_mm"]

#: largest horizontal field of a penumbra, G
_HORIZONTAL_GAUSS = 1000.0
#: radius w (Mm) below which a spot is a pore, without a penumbra, and above which its penumbra is complete (pores have
#: up to 7 Mm across: Solanki 2003, section 2.1)
_PENUMBRA_MM = (2.4, 5.0)


def spot_peak_gauss(flux_mx: float) -> float:
    """Field of the umbra, G: 1,600 for a pore to 3,000 for the largest spots (Livingston et al. 2006, figure 3)."""
    return min(max(1650.0 + 480.0 * math.log10(max(flux_mx, 1e18) / 1e20), 1300.0), 3000.0)


def spot_width_mm(flux_mx: float, steepness: float) -> float:
    """Radius w of a spot of this flux, from flux = pi w^2 peak Gamma(1 + 2/p), Mm."""
    if flux_mx <= 0:
        return 0.0
    area = flux_mx / (spot_peak_gauss(flux_mx) * math.gamma(1.0 + 2.0 / steepness) * MX_PER_G_MM2)
    return math.sqrt(area / math.pi)


@njit(cache=True, fastmath=True, nogil=True)
def _add_spot(out, maturity, row, column, width, peak, power, cos, sin, stretch, harmonics, bridges, penumbra):
    """Lay the profile of one spot over `out` (rows, columns); where spots of one sign overlap the stronger counts.

    `maturity` takes the spot's share of a full penumbra where it counts.
    """
    rows, columns = out.shape
    reach = int(2.6 * width * max(stretch, 1.0 / stretch)) + 3
    for i in range(max(int(row) - reach, 0), min(int(row) + reach + 1, rows)):
        for j in range(max(int(column) - reach, 0), min(int(column) + reach + 1, columns)):
            dy = i - row
            dx = j - column
            u = (dx * cos + dy * sin) / stretch
            v = (dy * cos - dx * sin) * stretch
            r = math.sqrt(u * u + v * v) / width
            if r > 2.6:
                continue
            angle = math.atan2(v, u)
            outline = 1.0
            for h in range(len(harmonics)):
                outline += harmonics[h, 1] * math.cos(harmonics[h, 0] * angle + harmonics[h, 2])
            r /= max(outline, 0.5)
            value = peak * math.exp(-(r**power))
            for b in range(len(bridges)):
                along = (u * math.cos(bridges[b, 0]) + v * math.sin(bridges[b, 0])) / width
                across = (v * math.cos(bridges[b, 0]) - u * math.sin(bridges[b, 0])) / width
                off = (across - bridges[b, 1] - bridges[b, 2] * along * along) * width
                value *= 1.0 - 0.5 * math.exp(-((off / 1.6) ** 2))
            if value > out[i, j]:
                out[i, j] = value
                maturity[i, j] = penumbra


@njit(cache=True, fastmath=True, nogil=True)
def _along_lines(noise, dir_y, dir_x, where, half):
    """White noise averaged along the lines of a direction field, `half` pixels each way (Cabral & Leedom 1993)."""
    rows, columns = noise.shape
    out = np.zeros_like(noise)
    for i in range(rows):
        for j in range(columns):
            if not where[i, j]:
                continue
            total = noise[i, j]
            count = 1
            for turn in (1.0, -1.0):
                y = float(i)
                x = float(j)
                py = dir_y[i, j]
                px = dir_x[i, j]
                for _ in range(half):
                    a = min(max(int(y + 0.5), 0), rows - 1)
                    b = min(max(int(x + 0.5), 0), columns - 1)
                    vy = dir_y[a, b]
                    vx = dir_x[a, b]
                    if vy * py + vx * px < 0.0:
                        vy = -vy
                        vx = -vx
                    py = vy
                    px = vx
                    y += turn * vy
                    x += turn * vx
                    a = int(y + 0.5)
                    b = int(x + 0.5)
                    if a < 0 or b < 0 or a >= rows or b >= columns:
                        break
                    total += noise[a, b]
                    count += 1
            out[i, j] = total / math.sqrt(count)
    return out


def _directions(plus: np.ndarray, minus: np.ndarray, shear: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the horizontal field: down the radial field, turned where both polarities are near."""
    broad = smooth(plus - minus, 2.2, 2.2)
    gy, gx = np.gradient(broad)
    gy, gx = -gy, -gx
    length = np.sqrt(gy * gy + gx * gx) + 1e-6
    gy, gx = gy / length, gx / length
    wide_plus, wide_minus = smooth(plus, 4.0, 4.0), smooth(minus, 4.0, 4.0)
    both = np.minimum(wide_plus, wide_minus)
    turn = (shear * np.clip(both / 250.0, 0, 1) * np.exp(-((broad / 900.0) ** 2))).astype(np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    return cos * gy + sin * gx, cos * gx - sin * gy


def draw_spots(
    shape: tuple[int, int],
    corner_mm: tuple[float, float],
    spots: list[SpotState],
    shear: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Fields of all spots in a box.

    Parameters
    ----------
    shape
        (ny, nx) pixels of 0.364425 Mm.
    corner_mm
        (y, x) of the box's corner, Mm.
    spots
        What there is.
    shear
        Angle by which the horizontal field is turned on an inversion line between spots, radians.
    rng
        Draws the fibrils.

    Returns
    -------
    (ny, nx) float32 each: radial field (G), horizontal field along y and along x (G), and how far spots fill the pixel
    (0 to 1); None where no spot reaches into the box.
    """
    plus, minus = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    maturity = np.zeros(shape, np.float32)
    for spot in spots:
        plan = spot.plan
        least, full = _PENUMBRA_MM
        _add_spot(
            plus if spot.sign > 0 else minus, maturity,
            (spot.y - corner_mm[0]) / PIXEL_MM - 0.5, (spot.x - corner_mm[1]) / PIXEL_MM - 0.5,
            spot.width_mm / PIXEL_MM, spot.peak_gauss, plan.steepness, math.cos(plan.angle), math.sin(plan.angle),
            plan.stretch, plan.harmonics, plan.bridges,
            min(max((spot.width_mm - least) / (full - least), 0.0), 1.0),
        )  # fmt: skip
    strongest = np.maximum(plus, minus)
    rows, columns = np.flatnonzero(strongest.max(1) > 20), np.flatnonzero(strongest.max(0) > 20)
    if not len(rows):
        return None
    pad = 8
    window = (
        slice(max(rows[0] - pad, 0), rows[-1] + pad + 1),
        slice(max(columns[0] - pad, 0), columns[-1] + pad + 1),
    )
    out = [np.zeros(shape, np.float32) for _ in range(4)]
    for whole, part in zip(out, _weave(plus[window], minus[window], maturity[window], shear, rng), strict=True):
        whole[window] = part
    return out[0], out[1], out[2], out[3]


def _weave(
    plus: np.ndarray, minus: np.ndarray, maturity: np.ndarray, shear: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The woven field of a window that holds the spots."""
    strongest = np.maximum(plus, minus)
    signed = plus - minus
    dir_y, dir_x = _directions(plus, minus, shear)
    noise = smooth(white_noise(plus.shape, rng), 0.75, 0.75)
    fibrils = _along_lines(noise, dir_y, dir_x, strongest > 20.0, 9)
    fibrils *= np.float32(1.0 / max(float(fibrils[strongest > 20.0].std()), 1e-3))
    # the penumbra lies between an eighth and two thirds of the umbra's field
    share = np.clip(strongest / 2000.0, 0.0, 1.0)
    penumbra = np.clip((share - 0.03) * 8, 0, 1) * np.clip((0.8 - share) * 3, 0, 1)
    touching = np.minimum(plus, minus)
    field = signed * (1.0 + 0.25 * penumbra * fibrils)
    field += 180.0 * fibrils * np.clip(touching / 300.0, 0, 1)
    edge = 1.0 / (1.0 + np.exp(-np.clip((strongest * (1.0 + 0.16 * fibrils) - 290.0) / 70.0, -30, 30)))
    horizontal = _HORIZONTAL_GAUSS * smooth(maturity, 1.0, 1.0) * np.sqrt(penumbra) * np.clip(strongest / 600.0, 0, 1)
    horizontal = np.where(touching > 200.0, np.maximum(horizontal, 900.0), horizontal) * edge
    return (
        (field * edge).astype(np.float32), (horizontal * dir_y).astype(np.float32),
        (horizontal * dir_x).astype(np.float32), edge.astype(np.float32),
    )  # fmt: skip
