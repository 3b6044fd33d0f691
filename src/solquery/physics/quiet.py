"""The noise of a patch, read off its own quiet pixels: level, correlation and shape; and noise of that kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import fft, ndimage
from scipy.special import ndtri

from ..errors import SolqueryError
from .texture import EMPTY_GAUSS, EMPTY_PX

__all__ = [
    "HIDDEN_SHARE",
    "HIDDEN_UNSURE",
    "LAGS_PX",
    "NoiseModel",
    "draw_hidden",
    "draw_noise",
    "estimate_noise",
    "quiet_and_rest",
    "quiet_pixels",
    "white_noise",
]

#: correlation is followed to this many pixels
LAGS_PX = 32
#: fewer quiet pixels than this say nothing
_FEWEST = 400
#: the level is averaged over a Gaussian of this many pixels
_LEVEL_PX = 32.0
#: and worked out in blocks of this many
_BLOCK_PX = 8
#: strong pixels are left out with what lies so near to them
_MARGIN_MM = 2.2
#: weak field that no pixel shows: windows of so many pixels in which the noise's variance is so much exceeded
_CALM_PX, _CALM_TIMES = 31, 1.3
#: a window of this side holds field where its mean square is so many times the noise's variance
NEAR_PX, HOLDS = 5, 5.0
#: field that hides in quiet pixels: its standard deviation as a share of what these show, between what observed pairs
#: and simulated frames have (scripts/measure_hidden_field.py), and how far that is unsure, relative to it
HIDDEN_SHARE, HIDDEN_UNSURE = 0.33, 0.45
#: its correlation falls to a half at this distance, Mm; a power of a normal variate has its long tail
_HIDDEN_MM, _HIDDEN_POWER = 1.06, 3.0
#: at so many quantiles the shape of the noise is kept
_KNOTS = 60


@dataclass(frozen=True)
class NoiseModel:
    """Noise of the pixels of one patch.

    Attributes
    ----------
    level
        (H, W) float32, standard deviation in G, or a single number for all pixels.
    around
        (H, W) float32, G: the level with what pixels beside a region show. Away from strong field, a radial field may
        vary half as much again there as in the quiet Sun, where the line-of-sight field does not
        (scripts/measure_hidden_field.py); how much of that is noise a frame does not tell. None: as `level`.
    correlation
        (2 L + 1, 2 L + 1) float32: correlation of two pixels against their distance (y, x), 1 in the middle; None for
        independent pixels.
    sizes
        Quantiles of the absolute value in units of the standard deviation, at the probabilities of `_normal`; None for
        normal noise. Real noise has two signs whose size varies less than a normal variate's.
    quiet_fraction
        Share of the patch's pixels that it was estimated from; NaN where it was given.
    level_error
        Standard error of the level, relative to it.
    hidden
        Share of the level that is taken for weak field of the Sun, not noise, as a ratio of standard deviations; 0 for
        a level that somebody states.
    transverse
        Whether it is that of the transverse field of HMI, as radial fields have it: where the region's field says which
        way the transverse field points, it adds to the field (`solquery.physics.noise`).
    source
        Where it comes from, for a reader.
    """

    level: np.ndarray | float
    around: np.ndarray | None = None
    correlation: np.ndarray | None = None
    sizes: np.ndarray | None = None
    quiet_fraction: float = float("nan")
    level_error: float = 0.0
    hidden: float = 0.0
    transverse: bool = False
    source: str = ""

    @property
    def gauss(self) -> float:
        """Median level over the patch, G."""
        return float(np.median(self.level))

    def at_level(self, gauss: float) -> NoiseModel:
        """The same correlation and shape at a level that somebody states, in every pixel."""
        how = "independent pixels" if self.correlation is None else "correlated as the quiet pixels are"
        return replace(
            self,
            level=float(gauss),
            around=None,
            level_error=0.0,
            hidden=0.0,
            transverse=False,
            source=f"{gauss:g} G as given, {how}",
        )

    def excess(self, side: int = 8) -> float:
        """Variance of the mean over `side` x `side` pixels, in units of that of independent pixels."""
        if self.correlation is None:
            return 1.0
        reach = self.correlation.shape[0] // 2
        lag = np.arange(-min(side - 1, reach), min(side - 1, reach) + 1)
        weight = 1.0 - np.abs(lag) / side
        part = self.correlation[np.ix_(lag + reach, lag + reach)]
        return float(weight @ part @ weight)


def white_noise(gauss: float) -> NoiseModel:
    """Independent normal noise of `gauss` G in every pixel."""
    return NoiseModel(float(gauss), source=f"{gauss:g} G as given, independent pixels")


def _checked(field: Any) -> np.ndarray:
    values = np.asarray(field)
    if values.ndim != 2:
        raise ValueError(f"noise is estimated from one field (H, W), got shape {values.shape}")
    return np.ascontiguousarray(values, dtype=np.float32)


def _not_empty(values: np.ndarray) -> np.ndarray:
    """Pixels (H, W) that are not in an empty stretch, as `texture.without_empty` has it."""
    loud = (np.abs(values) >= EMPTY_GAUSS).astype(np.uint8)
    wide = ndimage.maximum_filter(loud, EMPTY_PX, mode="constant", cval=0)
    return np.asarray(ndimage.minimum_filter(wide, EMPTY_PX, mode="constant", cval=1) > 0)


def _near(mask: np.ndarray, reach: int) -> np.ndarray:
    """Pixels within a square of half-width `reach` of a mask (H, W)."""
    return ndimage.maximum_filter(mask.astype(np.uint8), 2 * reach + 1, mode="constant") > 0


def quiet_pixels(field: Any, scale_mm: tuple[float, float] | None = None) -> np.ndarray:
    """Pixels (H, W) bool without strong field near them.

    The robust standard deviation s of what is quiet is estimated again and again while pixels beyond 5 s, patches
    beyond 3 s that hold 3 x 3 pixels, and what lies within 2.2 Mm of either, are left out, and so are windows of 31
    pixels whose mean square is 1.3 s² or more: they hold field that no single pixel shows. Missing pixels and stretches
    without any field (`texture.without_empty`) are no quiet ones.
    """
    return quiet_and_rest(_checked(field), scale_mm)[0]


def quiet_and_rest(values: np.ndarray, scale_mm: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """`quiet_pixels` of float32 values, and all pixels (H, W) bool away from strong field, calm or not."""
    known = np.isfinite(values) & _not_empty(values)
    if not known.any():
        return known, known
    size = np.abs(np.where(known, values, 0.0))
    step = 0.73 if scale_mm is None else float(np.sqrt(scale_mm[0] * scale_mm[1]))
    reach = int(np.clip(round(_MARGIN_MM / step), 1, 8))
    quiet, before = known, 0.0
    for _ in range(6):
        # every pixel of a large patch is not needed for a median
        sample = size[quiet]
        spread = 1.4826 * float(np.median(sample[:: max(1, sample.size // 20000)]))
        if spread <= 0 or abs(spread / max(before, 1e-9) - 1.0) < 0.01:
            break
        before = spread
        patchy = ndimage.minimum_filter((size > 3.0 * spread).astype(np.uint8), 3) > 0
        rest = known & ~_near(patchy | (size > 5.0 * spread), reach)
        if rest.sum() < max(_FEWEST, 0.02 * known.sum()):
            break
        quiet = rest
    calm = quiet & (_mean_square(size, quiet, _CALM_PX) < _CALM_TIMES * spread**2)
    return (calm, quiet) if calm.sum() >= 0.5 * quiet.sum() else (quiet, quiet)


def _mean_square(size: np.ndarray, quiet: np.ndarray, side: int) -> np.ndarray:
    """Mean square of the quiet pixels (H, W) in a square window of `side` pixels; 0 where there are none."""
    number = ndimage.uniform_filter(quiet.astype(np.float32), side, mode="constant")
    total = ndimage.uniform_filter(np.where(quiet, size * size, np.float32(0.0)), side, mode="constant")
    return np.where(number > 0.02, total / np.maximum(number, 0.02), np.float32(0.0))


def _level(power: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """Standard deviation (H, W) from squares of quiet pixels, averaged over a Gaussian; rough in wide gaps."""
    height, width = power.shape
    pad = ((0, -height % _BLOCK_PX), (0, -width % _BLOCK_PX))

    def gathered(values: np.ndarray) -> np.ndarray:
        full = np.pad(values.astype(np.float64), pad)
        full = full.reshape(full.shape[0] // _BLOCK_PX, _BLOCK_PX, full.shape[1] // _BLOCK_PX, _BLOCK_PX)
        return full.sum((1, 3))

    total, number = gathered(power), gathered(quiet)
    mean = total.sum() / number.sum()
    width_blocks = _LEVEL_PX / _BLOCK_PX
    # a twentieth of a block of the mean of all keeps wide gaps near it
    top = ndimage.gaussian_filter(total, width_blocks, mode="nearest") + 0.05 * mean
    bottom = ndimage.gaussian_filter(number, width_blocks, mode="nearest") + 0.05
    coarse = np.sqrt(top / bottom)
    y = (np.arange(height) + 0.5) / _BLOCK_PX - 0.5
    x = (np.arange(width) + 0.5) / _BLOCK_PX - 0.5
    rows = _between(coarse, y)
    return np.ascontiguousarray(_between(rows.T, x).T, dtype=np.float32)


def _around(level: np.ndarray, values: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The level (H, W) of calm pixels, raised beside a region to what all pixels without strong field show there."""
    square = np.square(np.where(np.isfinite(values), values, np.float32(0.0)))
    wide = np.maximum(_level(np.where(rest, square, np.float32(0.0)), rest), level)
    near = ndimage.uniform_filter(square, NEAR_PX, mode="nearest")
    return np.where(~rest & (near > HOLDS * np.square(level)), level, wide)


def _between(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of (n, m) interpolated linearly at (k,) places, the end rows beyond the ends."""
    place = np.clip(at, 0, len(values) - 1)
    low = np.minimum(place.astype(int), max(len(values) - 2, 0))
    high = np.minimum(low + 1, len(values) - 1)
    share = (place - low)[:, None]
    return values[low] * (1 - share) + values[high] * share


def _correlation(values: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """Correlation against lag, (2 L + 1, 2 L + 1), of values of unit variance where `quiet`."""
    shape = [fft.next_fast_len(n + LAGS_PX, real=True) for n in values.shape]
    waves = fft.rfft2(np.where(quiet, values, np.float32(0.0)), shape)
    masks = fft.rfft2(quiet.astype(np.float32), shape)
    products = fft.irfft2(waves.real**2 + waves.imag**2, shape)
    pairs = fft.irfft2(masks.real**2 + masks.imag**2, shape)
    lag = np.arange(-LAGS_PX, LAGS_PX + 1)
    box = np.ix_(lag % shape[0], lag % shape[1])
    # a lag that few pairs have is next to nothing
    found = products[box] / np.maximum(pairs[box], 0.02 * pairs[0, 0])
    distance = np.hypot(lag[:, None], lag[None, :]) / LAGS_PX
    taper = np.where(distance < 1, 0.5 * (1 + np.cos(np.pi * np.clip(1.5 * distance - 0.5, 0, 1))), 0.0)
    return np.asarray(found / found[LAGS_PX, LAGS_PX] * taper, dtype=np.float32)


def estimate_noise(field: Any, scale_mm: tuple[float, float] | None = None, quantity: str = "radial") -> NoiseModel:
    """Level, correlation and shape of the noise of a patch, from its own quiet pixels.

    Field that is weaker than the noise cannot be told from it: the level is what the quiet pixels show, and how much of
    it is field is known on average only (`HIDDEN_SHARE`).

    Parameters
    ----------
    field
        (H, W) G; pixels that are not finite are missing.
    scale_mm
        (y, x) Mm per pixel; sets how far from strong field a pixel has to lie.
    quantity
        ``radial``, whose noise is that of the transverse field, or ``line-of-sight``.

    Returns
    -------
    NoiseModel
        Its level follows the quiet pixels over some 30 pixels; in a region's core it is that of its surroundings.

    Raises
    ------
    SolqueryError
        Where fewer than 400 pixels are quiet, or none of them holds any field.
    """
    values = _checked(field)
    quiet, rest = quiet_and_rest(values, scale_mm)
    number = int(quiet.sum())
    filled = np.where(quiet, values, np.float32(0.0))
    power = float((filled**2).sum(dtype=np.float64))
    if number < _FEWEST or power <= 0:
        raise SolqueryError(
            f"the noise cannot be estimated: {number} quiet pixels with field, {_FEWEST} are needed; "
            "state it (--noise G, or noise=G)"
        )
    level = _level(filled**2, quiet)
    unit = filled / level
    correlation = _correlation(unit, quiet)
    share = number / values.size
    return NoiseModel(
        level=level,
        around=_around(level, values, rest) if quantity == "radial" else None,
        correlation=correlation,
        sizes=_sizes(unit[quiet]),
        quiet_fraction=share,
        level_error=float(np.sqrt(0.5 * (correlation.astype(np.float64) ** 2).sum() / number)),
        hidden=HIDDEN_SHARE,
        transverse=quantity == "radial",
        source=f"quiet pixels of the patch, {share:.0%} of it",
    )


@lru_cache(maxsize=4)
def _normal(knots: int = _KNOTS) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (K,) at which the size of the noise is looked up, and the sizes of a normal variate there."""
    probability = np.concatenate([np.linspace(0.0, 0.96, knots - 12), [0.97, 0.98, 0.985, 0.99, 0.993, 0.995]])
    probability = np.concatenate([probability, [0.997, 0.998, 0.999, 0.9995, 0.9998, 0.99995]])
    return probability, ndtri(0.5 * (1.0 + probability))


def _sizes(unit: np.ndarray) -> np.ndarray:
    """Quantiles (K,) of the absolute value of (M,) values, those of unit mean square."""
    probability, _ = _normal()
    size = np.abs(unit) / np.sqrt((unit.astype(np.float64) ** 2).mean())
    return np.quantile(size[:: max(1, size.size // 100000)], probability)


def _shaped(normal: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Normal variates mapped to those whose absolute value has the quantiles `sizes`."""
    at = _normal()[1]
    # beyond the last knot the noise is as large as there
    return np.copysign(np.interp(np.abs(normal), at, sizes), normal)


def _normal_correlation(wanted: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Correlation of normal variates that have the correlation `wanted` once they are shaped.

    By Hermite series: the shaped ones correlate as the sum of c_k^2 r^k over odd k where the normal ones do as r.
    """
    grid = np.linspace(-7.0, 7.0, 2801)
    density = np.exp(-0.5 * grid**2)
    density /= density.sum()
    value = _shaped(grid, sizes)
    r = np.linspace(-1.0, 1.0, 401)
    total = np.zeros_like(r)
    last, here = np.zeros_like(grid), np.ones_like(grid)
    for k in range(12):
        # normalised Hermite polynomials: sqrt(k + 1) h_(k+1) = x h_k - sqrt(k) h_(k-1)
        if k % 2:
            total += (density * value * here).sum() ** 2 * r**k
        last, here = here, (grid * here - np.sqrt(k) * last) / np.sqrt(k + 1)
    return np.interp(wanted, total / total[-1], r)


def draw_noise(model: NoiseModel, shape: tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """Noise of the model, (count, H, W) float32, G.

    Normal noise with a correlation, mapped to the distribution of the model and multiplied by its level. Of one
    Fourier transform come two draws.
    """
    source = np.random.default_rng(seed)
    if model.correlation is None:
        out = source.standard_normal((count, *shape), dtype=np.float32)
        return out * np.asarray(model.level, dtype=np.float32)
    reach = model.correlation.shape[0] // 2
    size = [fft.next_fast_len(max(n + reach, 2 * reach + 1)) for n in shape]
    kernel = np.zeros(size, np.float32)
    lag = np.arange(-reach, reach + 1)
    wanted = model.correlation
    if model.sizes is not None:
        wanted = _normal_correlation(wanted, model.sizes)
    kernel[np.ix_(lag % size[0], lag % size[1])] = wanted
    spectrum = np.maximum(fft.fft2(kernel).real, 0.0)
    spectrum *= (size[0] * size[1]) / spectrum.sum()
    # the unnormalised inverse transform of complex white noise of this size has unit variance in both its parts
    gain = np.sqrt(spectrum / (size[0] * size[1])).astype(np.float32)
    out = np.empty((count, *shape), np.float32)
    for k in range(0, count, 2):
        parts = source.standard_normal((*size, 2), dtype=np.float32).view(np.complex64)[..., 0]
        both = fft.ifft2(parts * gain, norm="forward", overwrite_x=True)[: shape[0], : shape[1]]
        out[k] = both.real
        if k + 1 < count:
            out[k + 1] = both.imag
    if model.sizes is not None:
        out = _shaped(out, model.sizes)
    return np.asarray(out * np.asarray(model.level, dtype=np.float32), dtype=np.float32)


def draw_hidden(
    model: NoiseModel, shape: tuple[int, int], count: int, scale_mm: tuple[float, float] | None = None, seed: int = 0
) -> np.ndarray:
    """Weak field as it hides under the noise of a model, (count, H, W) float32, G: of both signs, in small patches.

    Its standard deviation is `NoiseModel.hidden` times the level; size and tail of its patches are those of the
    line-of-sight field in the quiet pixels of radial frames.
    """
    step = _HIDDEN_MM / 2.9 if scale_mm is None else float(np.sqrt(scale_mm[0] * scale_mm[1]))
    lag = np.arange(-LAGS_PX, LAGS_PX + 1)
    distance = np.hypot(lag[:, None], lag[None, :])
    taper = np.clip(2.0 - 2.0 * distance / LAGS_PX, 0.0, 1.0)
    correlation = taper / (1.0 + (distance * step / _HIDDEN_MM) ** 2)
    size = _normal()[1] ** _HIDDEN_POWER
    # the mean square of a normal variate to that power is a double factorial
    size = size / np.sqrt(float(np.prod(np.arange(2 * _HIDDEN_POWER - 1, 0, -2))))
    hidden = replace(
        model, level=model.hidden * np.asarray(model.level), correlation=correlation.astype(np.float32), sizes=size
    )
    return draw_noise(hidden, shape, count, seed)
