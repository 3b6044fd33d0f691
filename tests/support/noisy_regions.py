"""Noise-free active regions of known field, and noise as HMI's radial fields have it: for tests of errors.

The noise is not drawn as the package draws it: fine grain, smoothed over a pixel, and patches of one sign whose size
hardly varies, several pixels across, on a level that changes over the patch.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["SCALE_MM", "hmi_noise", "level_of", "network", "region"]

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


def hmi_noise(
    shape: tuple[int, int],
    level_gauss: float,
    seed: int,
    uneven: float = 0.2,
    transverse: np.ndarray | None = None,
) -> np.ndarray:
    """Correlated noise in patches of one sign, (H, W) float32, G; the level varies across the patch by `uneven`.

    Where a `transverse` field (H, W) in G is given, the noise falls as its inverse beyond 60 G: a root of Q and U.
    """
    rng = np.random.default_rng([seed, 2])
    grain = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.9)
    sign = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 2.6)
    sign = gaussian_filter(np.tanh(3.0 * sign / sign.std()), 0.8)
    total = 0.75 * grain / grain.std() + 0.66 * sign / sign.std()
    slope = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    noise = (level_gauss * (1 + uneven * slope) * total / np.sqrt(0.75**2 + 0.66**2)).astype(np.float32)
    return noise if transverse is None else (noise / np.hypot(1.0, transverse / 60.0)).astype(np.float32)


#: μ and strength of field of the cases that errors are judged on
CASES = ((0.97, 1.0), (0.9, 0.4), (0.75, 1.0), (0.6, 0.7), (0.4, 1.0))


def pulls(
    names: list[str], frames: int, seed: int, shape: tuple[int, int] = (190, 330), regions: int = 2
) -> dict[str, np.ndarray]:
    """(Value - bias - truth) / error of each parameter, over noisy frames of noise-free regions of all `CASES`."""
    from solquery.physics import measure, parameter_errors

    out: dict[str, list[float]] = {name: [] for name in names}
    count = 0
    for mu, strength in CASES:
        for index in range(regions):
            level = level_of(mu)
            # as much weak field as frames of that noise hide (scripts/measure_hidden_field.py), give or take
            rms = level * np.random.default_rng([seed, count]).uniform(0.2, 0.46)
            clean = region(seed + index, shape, strength) + network(shape, rms, seed + index)
            truth = measure(clean, SCALE_MM, names)
            for _ in range(frames):
                count += 1
                field = clean + hmi_noise(shape, level, 1000 * seed + count, transverse=np.sqrt(1 - mu**2) * clean)
                values = measure(field, SCALE_MM, names)
                errors = parameter_errors(field, SCALE_MM, names=names, seed=count)
                for name in names:
                    off = float(values[name][0]) - errors[name].bias - float(truth[name][0])
                    if name in ("tilt", "axis_angle"):
                        off = (off + 180.0) % 360.0 - 180.0
                    out[name].append(off / errors[name].error if errors[name].error > 0 else np.nan)
    return {name: np.array(column)[np.isfinite(column)] for name, column in out.items()}
