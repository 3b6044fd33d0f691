"""Noise-free active regions of known field, and noise as HMI's radial fields have it: for tests of errors.

The noise is not drawn as the package draws it: fine grain, smoothed over a pixel, and patches of one sign whose size
hardly varies, several pixels across, on a level that changes over the patch (`hmi_noise`); or that of Q, U and V, with
a sign that a smooth field decides (`polarised_noise`).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["CASES", "SCALE_MM", "hmi_noise", "level_of", "network", "polarised_noise", "pulls", "region"]

#: Mm per pixel, (y, x)
SCALE_MM = (0.364425, 0.364425)


def _spots(shape, places, peaks, widths):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    out = np.zeros(shape, np.float32)
    for (cy, cx), peak, width in zip(places, peaks, widths, strict=True):
        out += peak * np.exp(-(((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2)))
    return out


def region(seed: int, shape: tuple[int, int] = (190, 330), strength: float = 1.0) -> np.ndarray:
    """A bipole with spots, and plage of many elements about each polarity: (H, W) float32, G, without any noise."""
    rng = np.random.default_rng([seed, 1])
    height, width = shape
    middle, apart, tilt = np.array([height / 2, width / 2]), 0.17 * width, rng.normal(-10, 12)
    half = apart * np.array([np.sin(np.radians(tilt)), np.cos(np.radians(tilt))])
    field = np.zeros(shape, np.float32)
    for sign, centre in ((1, middle + half), (-1, middle - half)):
        field += sign * _spots(shape, centre + rng.normal(0, 5, (2, 2)), strength * np.array([2200, 1400]), (9, 6))
        elements = 160
        places = centre + rng.normal(0, 1, (elements, 2)) * (0.13 * height, 0.09 * width)
        grain = np.zeros(shape, np.float32)
        y, x = np.rint(places).astype(int).T
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        np.add.at(grain, (y[inside], x[inside]), rng.lognormal(0, 0.6, elements)[inside].astype(np.float32))
        field += sign * strength * 7000 * gaussian_filter(grain, 1.7)
    return 2400 * np.tanh(field / 2400)


def network(shape: tuple[int, int], rms_gauss: float, seed: int) -> np.ndarray:
    """Weak field of both signs in small patches of all strengths, (H, W) float32, G, of a given root mean square."""
    rng = np.random.default_rng([seed, 3])
    field = np.zeros(shape, np.float32)
    for width, share in ((1.4, 0.7), (3.0, 0.3)):
        grain = np.zeros(shape, np.float32)
        number = int(0.012 * grain.size)
        places = tuple(rng.integers(0, n, number) for n in shape)
        np.add.at(grain, places, (rng.choice([-1, 1], number) * rng.lognormal(0, 0.8, number)).astype(np.float32))
        part = gaussian_filter(grain, width)
        field += share * part / part.std()
    return (rms_gauss * field / field.std()).astype(np.float32)


def level_of(mu: float) -> float:
    """Standard deviation of HMI's radial field in quiet pixels, G: 13 at disc centre, 96 at μ = 0.35."""
    return float(np.interp(mu, [0.35, 0.65, 0.8, 0.9, 0.96, 1.0], [96.0, 57.0, 45.0, 29.0, 15.0, 13.0]))


def hmi_noise(shape: tuple[int, int], level_gauss: float, seed: int, uneven: float = 0.2) -> np.ndarray:
    """Correlated noise in patches of one sign, (H, W) float32, G; the level varies across the patch by `uneven`."""
    rng = np.random.default_rng([seed, 2])
    grain = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.9)
    sign = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 2.6)
    sign = gaussian_filter(np.tanh(3.0 * sign / sign.std()), 0.8)
    total = 0.75 * grain / grain.std() + 0.66 * sign / sign.std()
    slope = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    return (level_gauss * (1 + uneven * slope) * total / np.sqrt(0.75**2 + 0.66**2)).astype(np.float32)


def polarised_noise(field: np.ndarray, mu: float, seed: int, uneven: float = 0.2) -> np.ndarray:
    """Noise of a radial field (H, W) in G as Q, U and V have it, at the level of real frames (`level_of`).

    Q and U go with the square of the transverse field, and a smooth field of 38 G decides its sign with it: in field
    that is stronger than its floor the noise is less, about the floor it adds along the field.
    """
    rng = np.random.default_rng([seed, 4])

    def smooth(width: float) -> np.ndarray:
        grain = gaussian_filter(rng.standard_normal(field.shape, dtype=np.float32), width)
        return np.asarray(grain / grain.std(), dtype=np.float32)

    sine = np.sqrt(1.0 - mu**2)
    # a root of Q and U spreads by 0.76 of the floor, and so does its map
    floor = level_of(mu) / (0.75 * sine) * (1 + uneven * np.linspace(-1, 1, field.shape[1], dtype=np.float32)[None])
    true = sine * field
    stokes = true**2 + 0.92 * floor**2 * (smooth(0.7) + 1j * smooth(0.7))
    root = np.sqrt(stokes).real
    seen = np.where(true + 38.0 * smooth(2.6) > 0, root, -root)
    return (gaussian_filter(sine * (seen - true), 0.6) + 5.0 * mu * smooth(0.8)).astype(np.float32)


#: μ and strength of field of the cases that errors are judged on
CASES = ((0.97, 1.0), (0.9, 0.4), (0.75, 1.0), (0.6, 0.7), (0.4, 1.0))


def pulls(
    names: list[str], frames: int, seed: int, shape: tuple[int, int] = (190, 330), regions: int = 2
) -> dict[str, np.ndarray]:
    """(Value - bias - truth) / error of each parameter, over noisy frames of noise-free regions of all `CASES`."""
    from solquery.physics import measure, parameter_errors
    from solquery.physics.quiet import HIDDEN_SHARE, HIDDEN_UNSURE

    out: dict[str, list[float]] = {name: [] for name in names}
    count = 0
    for mu, strength in CASES:
        for index in range(regions):
            level = level_of(mu)
            bipole = region(seed + index, shape, strength)
            for _ in range(frames):
                count += 1
                # as much weak field as frames of that noise hide, and as unsure (scripts/measure_hidden_field.py)
                share = HIDDEN_SHARE * max(0.0, 1.0 + HIDDEN_UNSURE * np.random.default_rng([seed, count]).normal())
                clean = bipole + network(shape, level * share, 1000 * seed + count)
                truth = measure(clean, SCALE_MM, names)
                field = clean + polarised_noise(clean, mu, 1000 * seed + count)
                values = measure(field, SCALE_MM, names)
                errors = parameter_errors(field, SCALE_MM, names=names, seed=count)
                for name in names:
                    off = float(values[name][0]) - errors[name].bias - float(truth[name][0])
                    if name in ("tilt", "axis_angle"):
                        off = (off + 180.0) % 360.0 - 180.0
                    out[name].append(off / errors[name].error if errors[name].error > 0 else np.nan)
    return {name: np.array(column)[np.isfinite(column)] for name, column in out.items()}
