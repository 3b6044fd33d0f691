"""Statistics of one patch on the grid of a model: structure, quiet part and box.

Observed, simulated and generated patches lie on the same grid, whose pixels (1.82 Mm for preset `physical`) are wider
than the smallest elements of the Sun: all sizes and bands here are those that such pixels resolve.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..patch import MX_PER_G_MM2

__all__ = ["GROUPS", "flux_over", "grid_statistics", "group_of", "observed_part"]

#: in this order they are listed
GROUPS = ("structure", "quiet", "box")
#: field (G) below which a pixel holds nothing: noise that is averaged over a pixel of the grid is some gauss
_NOTHING_GAUSS = 0.1
_PATCH_GAUSS, _SPOT_GAUSS, _FLUX_GAUSS, _ACTIVE_GAUSS = 150.0, 800.0, 100.0, 80.0
#: Mm; each holds a factor of two or more in scale, the first ends at two pixels of 1.82 Mm
_BANDS = ((4.0, 8.0), (8.0, 20.0), (20.0, 60.0))
_EVERYWHERE = np.ones((3, 3), bool)
#: pixels; smaller patches have no shape, larger ones are whole regions
_SHAPED = (6, 150)
_FEWEST_PEAKS, _FEWEST_GRADIENTS, _FEWEST_QUIET, _FEWEST_CELLS = 8, 5, 100, 8
#: side in pixels (10.9 Mm) of the squares among which patchiness is measured
_CELL = 6


def group_of(name: str) -> str:
    """Group of a statistic: ``structure``, ``quiet`` or ``box``."""
    head = name.partition(":")[0]
    return head if head in ("quiet", "box") else "structure"


def observed_part(field: np.ndarray) -> np.ndarray:
    """The rectangle of a grid (H, W) in gauss that holds an observation; beyond it the grid is zero or NaN.

    Rows and columns more than half of which is filled, where the others are. A border within the grid is taken off:
    its pixels are observed in part only, and their means too small. Empty, (0, 0), where hardly anything is filled.
    """
    field = np.nan_to_num(np.asarray(field, np.float64))
    filled = np.abs(field) > _NOTHING_GAUSS
    if not filled.any():
        return np.zeros((0, 0))
    box = tuple(_extent(np.flatnonzero(filled.any(axis))) for axis in (1, 0))
    # a few pixels beyond the box do not widen it: rows are asked within the columns, and columns within the rows
    for _ in range(2):
        rows = np.flatnonzero(filled[:, box[1]].mean(1) > 0.5)
        columns = np.flatnonzero(filled[box[0]].mean(0) > 0.5)
        if not len(rows) or not len(columns):
            return np.zeros((0, 0))
        box = (_extent(rows), _extent(columns))
    down, across = (
        slice(part.start + (part.start > 0), part.stop - (part.stop < side))
        for part, side in zip(box, field.shape, strict=True)
    )
    return field[down, across]


def _extent(rows: np.ndarray) -> slice:
    return slice(int(rows[0]), int(rows[-1]) + 1)


def flux_over(field: np.ndarray, scale_mm: tuple[float, float], gauss: float = _FLUX_GAUSS) -> float:
    """Unsigned flux in Mx of the pixels of a field (h, w) in gauss stronger than `gauss`."""
    strength = np.abs(np.nan_to_num(np.asarray(field, np.float64)))
    return float(strength[strength > gauss].sum()) * scale_mm[0] * scale_mm[1] * MX_PER_G_MM2


def grid_statistics(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    """Some thirty statistics of the observed part of a patch.

    Parameters
    ----------
    field
        (h, w) gauss, all of it observed (`observed_part`); at least 8 × 8 pixels.
    scale_mm
        (y, x) Mm per pixel.

    Returns
    -------
    Name to value; NaN where the patch has too little of what is measured. Shares, sizes, strengths and noise are
    decimal logarithms, so that a factor counts the same everywhere. Names that begin with ``quiet:`` are of the part
    away from field over 80 G, those with ``box:`` of its size.

    Raises
    ------
    ValueError
        When `field` is not two-dimensional or smaller than 8 × 8.
    """
    field = np.nan_to_num(np.asarray(field, np.float64))
    if field.ndim != 2 or min(field.shape) < 8:
        raise ValueError(f"statistics need a field (h, w) of at least 8 x 8 pixels, got shape {field.shape}")
    parts = (_spectrum, _strengths, _patches, _peaks, _mixing, _gradients, _quiet)
    out: dict[str, float] = {}
    for part in parts:
        out.update(part(field, scale_mm))
    for name, side, scale in zip(("height", "width"), field.shape, scale_mm, strict=True):
        out[f"box: {name} (log Mm)"] = float(np.log10(side * scale))
    return out


def _spectrum(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    """Slopes of the power spectrum over frequency, and the share of power that means over larger squares keep."""
    window = np.outer(np.hanning(field.shape[0]), np.hanning(field.shape[1]))
    power = np.abs(np.fft.fft2((field - field.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, field.shape, scale_mm), indexing="ij"))
    out = {}
    for low, high in _BANDS:
        resolved = low >= 2.0 * max(scale_mm)
        out[f"spectral slope, {low:g} to {high:g} Mm"] = _slope(power, frequency, low, high) if resolved else np.nan
    whole, scale = float((field**2).mean()), float(np.sqrt(scale_mm[0] * scale_mm[1]))
    for n in (2, 4, 8):
        h, w = field.shape[0] // n, field.shape[1] // n
        blocks = field[: h * n, : w * n].reshape(h, n, w, n).mean((1, 3))
        out[f"power kept, {scale:.1f} to {n * scale:.1f} Mm"] = (
            float((blocks**2).mean()) / whole if whole > 0 and min(h, w) > 1 else np.nan
        )
    return out


def _slope(power: np.ndarray, frequency: np.ndarray, low_mm: float, high_mm: float) -> float:
    edges = np.geomspace(1.0 / high_mm, 1.0 / low_mm, 7)
    x: list[float] = []
    y: list[float] = []
    for begin, end in itertools.pairwise(edges):
        ring = (frequency >= begin) & (frequency < end)
        if ring.sum() > 3 and power[ring].mean() > 0:
            x.append(np.log(begin * end) / 2)
            y.append(np.log(power[ring].mean()))
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 2 else np.nan


def _strengths(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    strength = np.abs(field)
    out = {f"|B|, {q:g} % (log G)": float(np.log10(np.percentile(strength, q) + 1e-2)) for q in (50, 90, 99, 99.9)}
    for limit in (_PATCH_GAUSS, _SPOT_GAUSS):
        out[f"share over {limit:g} G (log)"] = float(np.log10((strength > limit).mean() + 1e-4))
    return out


def _patches(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    """Connected patches of one polarity over 150 G: size, shape and holes."""
    sizes: list[int] = []
    shapes: list[tuple[float, int]] = []
    holes = 0
    for sign in (1.0, -1.0):
        mask = np.pad(sign * field > _PATCH_GAUSS, 1)
        labels, _ = ndimage.label(mask, _EVERYWHERE)
        own = np.bincount(labels.ravel())[1:]
        sizes += own.tolist()
        # the border that was added joins all that is outside: every further part of the rest is a hole
        holes += int(ndimage.label(~mask)[1]) - 1
        places = ndimage.find_objects(labels)
        for i in np.flatnonzero((own >= _SHAPED[0]) & (own <= _SHAPED[1])):
            shapes.append((_circularity(np.pad(labels[places[i]] == i + 1, 1)), int(own[i])))
    pixel = scale_mm[0] * scale_mm[1]
    some = bool(sizes)
    values = np.array(shapes).reshape(-1, 2)
    return {
        "mean size of patches over 150 G (log Mm²)": float(np.log10(np.mean(sizes) * pixel)) if some else np.nan,
        "largest patch over 150 G (share)": max(sizes) / sum(sizes) if some else np.nan,
        "circularity of patches": float(np.average(values[:, 0], weights=values[:, 1])) if shapes else np.nan,
        "holes a patch": holes / len(sizes) if some else np.nan,
    }


def _circularity(mask: np.ndarray) -> float:
    """4 pi area / perimeter²; a perimeter along pixels is 4 / pi too long on average over directions."""
    edges = (mask[:, 1:] != mask[:, :-1]).sum() + (mask[1:] != mask[:-1]).sum()
    return float(4 * np.pi * mask.sum() / (edges * np.pi / 4) ** 2)


def _peaks(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    """Peaks over 150 G: the smaller curvature over the larger, and whether the nearest peak is of the other sign."""
    strength = np.abs(field)
    top = (ndimage.maximum_filter(strength, 3) == strength) & (strength > _PATCH_GAUSS)
    y, x = np.nonzero(top[1:-1, 1:-1])
    y, x = y + 1, x + 1
    names = ("roundness of peaks", "nearest peak of the other sign (share)")
    if len(y) < _FEWEST_PEAKS:
        return dict.fromkeys(names, np.nan)
    yy = (field[y + 1, x] - 2 * field[y, x] + field[y - 1, x]) / scale_mm[0] ** 2
    xx = (field[y, x + 1] - 2 * field[y, x] + field[y, x - 1]) / scale_mm[1] ** 2
    across = field[y + 1, x + 1] - field[y + 1, x - 1] - field[y - 1, x + 1] + field[y - 1, x - 1]
    xy = across / (4 * scale_mm[0] * scale_mm[1])
    curvature = np.abs(np.linalg.eigvalsh(np.stack([np.stack([yy, xy], -1), np.stack([xy, xx], -1)], -2)))
    roundness = curvature.min(1) / np.maximum(curvature.max(1), 1e-9)
    places = np.c_[y * scale_mm[0], x * scale_mm[1]]
    nearest = cKDTree(places).query(places, k=2)[1][:, 1]
    sign = np.sign(field[y, x])
    return dict(zip(names, (float(np.median(roundness)), float((sign != sign[nearest]).mean())), strict=True))


def _mixing(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    """Share of the field over 150 G with field over 150 G of the other sign in a neighbouring pixel."""
    up, down = field > _PATCH_GAUSS, field < -_PATCH_GAUSS
    near = (ndimage.binary_dilation(up, _EVERYWHERE) & down) | (ndimage.binary_dilation(down, _EVERYWHERE) & up)
    strong = int((up | down).sum())
    return {"mixing of polarities (log share)": float(np.log10(near.sum() / strong + 1e-3)) if strong else np.nan}


def _gradients(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    strength, slope = np.abs(field), np.hypot(*np.gradient(field, *scale_mm))
    out = {}
    for low, high in ((200, 300), (400, 600), (1200, 1500)):
        here = (strength > low) & (strength < high)
        value = float(np.log10(np.median(slope[here]) + 1e-2)) if here.sum() >= _FEWEST_GRADIENTS else np.nan
        out[f"gradient at {low} to {high} G (log G/Mm)"] = value
    return out


def _quiet(field: np.ndarray, scale_mm: tuple[float, float]) -> dict[str, float]:
    """The part two pixels and more from field over 80 G (smoothed by a Gaussian of 0.7 pixels, as noise is weaker)."""
    names = [f"quiet: {name}" for name in ("share near zero", "kurtosis", "noise (log G)", "imbalance", "patchiness")]
    strong = np.abs(ndimage.gaussian_filter(field, 0.7)) > _ACTIVE_GAUSS
    quiet = ~ndimage.binary_dilation(strong, _EVERYWHERE, iterations=2)
    values = field[quiet]
    if values.size < _FEWEST_QUIET or not values.std() > 0:
        return dict.fromkeys(names, np.nan)
    found = (
        # of a normal distribution 23.58 % lie within 0.3 standard deviations
        (np.abs(values) < 0.3 * values.std()).mean() / 0.2358,
        ((values - values.mean()) ** 4).mean() / values.var() ** 2,
        np.log10(np.median(np.abs(values)) / 0.6745 + 1e-2),
        abs(values.sum()) / np.abs(values).sum(),
        _patchiness(field, quiet),
    )
    return {name: float(value) for name, value in zip(names, found, strict=True)}


def _patchiness(field: np.ndarray, quiet: np.ndarray) -> float:
    """Natural logarithm of the 90 over the 10 % point of the noise among quiet squares of 6 × 6 pixels."""
    levels = []
    for i in range(0, field.shape[0] - _CELL + 1, _CELL):
        for j in range(0, field.shape[1] - _CELL + 1, _CELL):
            here = np.s_[i : i + _CELL, j : j + _CELL]
            if quiet[here].mean() > 0.8:
                levels.append(np.median(np.abs(field[here][quiet[here]])))
    if len(levels) < _FEWEST_CELLS:
        return np.nan
    low, high = np.percentile(levels, (10, 90))
    return float(np.log(max(high, 1e-2) / max(low, 1e-2)))
