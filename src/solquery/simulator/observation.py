"""HMI looks at a simulated region: point spread, foreshortening, noise of the vector field, disambiguation.

Br is no direct observable. HMI measures the field along the line of sight with a noise of a few gauss, and the
transverse field with a noise near 100 G (Hoeksema et al. 2014); the direction of the latter is known up to a turn by
180 degrees, which a disambiguation decides (Metcalf et al. 2006): by an optimisation where the field is strong, pixel
by pixel elsewhere. Radial noise is the transverse noise times the sine of the heliocentric angle, with the sign that
the disambiguation chose: two-valued, and coherent in patches. All of that is done here, on the pixels of the detector;
the result is then interpolated to the CEA grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .constants import DEGREE_MM, PIXEL_MM
from .optics import resample_columns, smooth, white_noise

__all__ = ["INSTRUMENT", "Instrument", "cosine_map", "observe"]


@dataclass(frozen=True)
class Instrument:
    """What HMI adds.

    Attributes
    ----------
    psf_core_px, psf_wing_px, psf_core_share
        Point spread as two Gaussians (standard deviations in CEA pixels) and the share of the first
        (Yeo et al. 2014; Couvidat et al. 2016). It includes the size of flux concentrations.
    los_noise_gauss
        Noise of the line-of-sight field at disc centre, 720 s (Liu et al. 2012: 6.3 G; more toward the limb).
    transverse_noise_gauss
        Typical transverse field where there is none (Hoeksema et al. 2014: about 100 G); 0.85 of it at disc centre,
        1.15 at the limb.
    remap_px
        Smoothing by the projection to CEA coordinates, standard deviation in pixels north to south; 0.6 of it east to
        west, where the interpolation between detector pixels smooths as well.
    sign_coherence_px
        Size of the patches in which the disambiguation chooses one sign.
    unresolved, full_gauss
        Linear polarisation goes with the mean of the square of the field. Where tubes of `full_gauss` fill a share of a
        pixel, an inversion with a filling factor of one finds too strong a transverse field (Leka & Barnes 2012;
        Pietarila et al. 2013). `unresolved` is the share of that excess which the resolution leaves; calibrated so that
        plage at mu 0.5 to 0.85 is as strong as observed.
    floor_variation
        Scatter of the transverse noise from place to place, over some tens of megametres; it varies by a factor of 1.6
        from frame to frame.
    strong_gauss
        Smoothed field above which, and within 5 Mm of which, the disambiguation optimises.
    """

    psf_core_px: float = 0.8
    psf_wing_px: float = 2.0
    psf_core_share: float = 0.66
    los_noise_gauss: float = 8.5
    transverse_noise_gauss: float = 118.0
    remap_px: float = 0.5
    sign_coherence_px: float = 2.2
    strong_gauss: float = 110.0
    unresolved: float = 0.18
    full_gauss: float = 1400.0
    floor_variation: float = 0.13


INSTRUMENT = Instrument()


def cosine_map(
    shape: tuple[int, int], latitude_deg: float, longitude_deg: float, b0_deg: float
) -> tuple[np.ndarray, float]:
    """Cosine of the heliocentric angle for each column of a box (nx,), at its middle latitude, and at its middle."""
    lat, tip = np.radians(latitude_deg), np.radians(b0_deg)
    offset = (np.arange(shape[1]) - (shape[1] - 1) / 2) * PIXEL_MM / DEGREE_MM / np.cos(lat)
    lon = np.radians(longitude_deg + offset)
    mu = np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(lon)
    middle = np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(np.radians(longitude_deg))
    return np.clip(mu, 0.02, 1.0).astype(np.float32), float(middle)


def point_spread(field: np.ndarray, instrument: Instrument = INSTRUMENT) -> np.ndarray:
    """The field as the telescope resolves it, (ny, nx) float32, G."""
    core = smooth(field, instrument.psf_core_px, instrument.psf_core_px)
    rest = np.sqrt(instrument.psf_wing_px**2 - instrument.psf_core_px**2)
    wing = smooth(core, rest, rest)
    share = np.float32(instrument.psf_core_share)
    return share * core + (1 - share) * wing


@njit(cache=True, fastmath=True, nogil=True)
def _measure(radial, along, across, los_noise, q_noise, u_noise, reference, mu, sine, unresolved, full, seen, los_out):
    """Line-of-sight and transverse field with noise, the choice of sign, and the radial field that follows.

    `along` is the horizontal field toward the limb, `across` perpendicular to it. The transverse field enters
    quadratically (Q + iU), as in the Stokes parameters, so that noise makes a floor. Field toward the limb points away
    from the observer: the penumbra on the limb side shows the false polarity. The radial field is put together from the
    mirror image, along reversed, in which the same field results and only the places mirror where the sign is chosen
    wrongly; so radial frames stay what they were before the line of sight had its sign.
    """
    rows, columns = radial.shape
    for i in range(rows):
        for j in range(columns):
            m = mu[j]
            s = sine[j]
            b = radial[i, j]
            los = m * b + s * along[i, j] + los_noise[i, j]
            t = s * b - m * along[i, j]
            w = across[i, j]
            # a filling factor below one makes the transverse field look stronger than its mean
            thin = unresolved * abs(b) * max(full - abs(b), 0.0) * s * s
            q = t * t - w * w + thin + q_noise[i, j]
            u = 2.0 * t * w + u_noise[i, j]
            amplitude = np.sqrt(np.sqrt(q * q + u * u))
            part = amplitude * np.sqrt(max(0.5 * (1.0 + q / (amplitude * amplitude + 1e-6)), 0.0))
            chosen = part if t + reference[i, j] > 0.0 else -part
            seen[i, j] = m * los + s * chosen
            los_out[i, j] = m * b - s * along[i, j] + los_noise[i, j]


def observe(
    radial: np.ndarray,
    horizontal_y: np.ndarray,
    horizontal_x: np.ndarray,
    mu: np.ndarray,
    west: bool,
    rng: np.random.Generator,
    instrument: Instrument = INSTRUMENT,
    noise: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Observe a field.

    Parameters
    ----------
    radial, horizontal_y, horizontal_x
        (ny, nx) float32, G, after the point spread at disc centre.
    mu
        (nx,) cosine of the heliocentric angle of each column.
    west
        Whether the limb is to the west (right).
    rng
        Generator of the place of the detector's pixels and of the noise.
    noise
        False leaves out the noise of the polarisation and what it does to the disambiguation: what HMI would report of
        this field after an endless exposure, on the same pixels, with the same filling factor.

    Returns
    -------
    Radial field and line-of-sight field, (ny, nx) float32, G.
    """
    nx = radial.shape[1]
    middle = float(np.clip(mu.mean(), 0.12, 1.0))
    # pixels of the detector: foreshortened east to west, elsewhere as large as those of the CEA grid
    columns = max(int(np.ceil(nx * middle)) + 1, 8)
    step = (nx - 1) / (columns - 1)
    start = float(rng.uniform(-0.5, 0.5))
    blur = 0.85 * np.sqrt(max(1.0 / middle**2 - 1.0, 0.0))

    def down(field: np.ndarray) -> np.ndarray:
        return resample_columns(smooth(field, 0.0, blur) if blur > 0.05 else field, start, step, columns)

    b, along, across = down(radial), down(horizontal_x), down(horizontal_y)
    if not west:
        along = -along
    m = np.interp(start + np.arange(columns) * step, np.arange(nx), mu).astype(np.float32)
    sine = np.sqrt(1.0 - m * m)
    still = np.zeros_like(b)
    parts = _noise(b, m, sine, rng, instrument) if noise else (still, still, still, _lean(b, sine))
    seen, los = np.empty_like(b), np.empty_like(b)
    _measure(b, along, across, *parts, m, sine, instrument.unresolved, instrument.full_gauss, seen, los)
    seen, los = (smooth(f, instrument.remap_px, 0.6 * instrument.remap_px) for f in (seen, los))
    back = -start / step
    return resample_columns(seen, back, 1.0 / step, nx), resample_columns(los, back, 1.0 / step, nx)


def _noise(
    b: np.ndarray, mu: np.ndarray, sine: np.ndarray, rng: np.random.Generator, instrument: Instrument
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Noise along the line of sight, of Q and of U, and the reference that decides the sign; (ny, columns) each."""
    shape = b.shape

    def white() -> np.ndarray:
        return white_noise(shape, rng)

    level = np.float32(rng.lognormal(0, 0.08))
    los = smooth(white(), 0.6, 0.6)
    los *= (instrument.los_noise_gauss * (1.0 + 0.5 * sine[None]) * level / max(float(los.std()), 1e-6)).astype(
        np.float32
    )
    floor = instrument.transverse_noise_gauss * level * rng.lognormal(0, 0.05)
    # E sqrt|q + iu| = 1.0 sigma^(1/2) for a complex normal q + iu of standard deviation sigma in each part, nearly
    scale = (0.92 * (floor * (0.85 + 0.3 * sine[None])) ** 2).astype(np.float32)
    q, u = smooth(white(), 0.55, 0.55), smooth(white(), 0.55, 0.55)
    q *= scale / np.float32(max(float(q.std()), 1e-6))
    u *= scale / np.float32(max(float(u.std()), 1e-6))

    spread = instrument.floor_variation * rng.lognormal(0, 0.45)
    varies = np.clip(1.0 + spread * _slow(shape, rng), 0.55, 1.4) ** 2
    q *= varies
    u *= varies

    # the choice of sign: leans to the smoothed field, else hangs together in patches; random where nothing is optimised
    lean = _lean(b, sine)
    size = instrument.sign_coherence_px
    patch = np.zeros(shape, np.float32)
    for factor, weight in ((0.45, 0.75), (1.0, 1.0), (2.4, 0.8)):
        part = _slow(shape, rng, 4, 0.6 * size) if factor > 2 else smooth(white(), factor * size, factor * size)
        patch += (weight / max(float(part.std()), 1e-6)) * part
    patch /= max(float(patch.std()), 1e-6)
    slow = _slow(shape, rng)
    strong = _near_strong(b, instrument)
    coherent = np.where(strong, 1.0, np.clip(0.5 + 0.6 * slow, 0.0, 1.2))
    fine = white()
    reference = lean + 45.0 * coherent * patch + 45.0 * (1.2 - np.minimum(coherent, 1.0)) * fine
    return los, q, u, reference.astype(np.float32)


def _lean(b: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """What the disambiguation expects of the transverse field, (ny, columns) G: that of a smooth radial field."""
    return np.asarray(smooth(b, 3.0, 3.0) * 1.2 * sine[None], np.float32)


def _slow(shape: tuple[int, int], rng: np.random.Generator, step: int = 12, sigma: float = 1.6) -> np.ndarray:
    """A normal field smoothed by `sigma` steps of `step` pixels, (ny, nx) float32, unit variance."""
    coarse = rng.standard_normal((shape[0] // step + 4, shape[1] // step + 4), dtype=np.float32)
    coarse = smooth(coarse, sigma, sigma)
    coarse /= max(float(coarse.std()), 1e-6)
    wide = resample_columns(coarse, 0.5, 1.0 / step, shape[1])
    return np.ascontiguousarray(resample_columns(np.ascontiguousarray(wide.T), 0.5, 1.0 / step, shape[0]).T)


def _near_strong(b: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Where the disambiguation optimises: near field that is strong after smoothing; blocks with hard edges."""
    coarse = np.abs(smooth(b, 2.0, 2.0))[::4, ::4] > instrument.strong_gauss
    spread = smooth(coarse.astype(np.float32), 2.2, 2.2) > 0.03
    return np.kron(spread, np.ones((4, 4), bool))[: b.shape[0], : b.shape[1]]
