"""Regions of Gaussian blobs whose field is radial everywhere: their line-of-sight field is mu times it, exactly."""

from __future__ import annotations

import numpy as np

from solquery import Patch
from solquery.sharp.header import RSUN_MM
from solquery.sharp.limb import mu_of_pixels

__all__ = ["line_of_sight", "radial"]

SCALE_MM = (0.911, 0.911)
SHAPE = (100, 160)


def radial(number: int, longitude_deg: float = 0.0, strongest_gauss: float = 900.0) -> Patch:
    """A bipole with some plage; `number` is its seed and its region."""
    rng = np.random.default_rng([number, 5])
    y, x = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(SHAPE, SCALE_MM, strict=True))
    field = np.zeros(SHAPE)
    places = [(1, -22.0), (-1, 22.0)] + [(int(rng.choice([-1, 1])), rng.uniform(-50, 50)) for _ in range(8)]
    for k, (sign, at) in enumerate(places):
        size = rng.uniform(5, 9) if k < 2 else rng.uniform(2, 5)
        peak = strongest_gauss if k < 2 else rng.uniform(50, 300)
        middle = rng.uniform(-12, 12)
        field += (
            sign * peak * np.outer(np.exp(-0.5 * ((y - middle) / size) ** 2), np.exp(-0.5 * ((x - at) / size) ** 2))
        )
    mu = float(mu_of_pixels(np.zeros(1), np.zeros(1), 12.0, longitude_deg, 0.0)[0])
    return Patch(
        field.astype(np.float32), SCALE_MM, f"blob-{number}", f"BLOB {number}", "simulated",
        t_rec="2012.03.06_14:24:00_TAI", latitude_deg=12.0, longitude_deg=longitude_deg, carrington_deg=100.0,
        b0_deg=0.0, mu=mu,
    )  # fmt: skip


def line_of_sight(patch: Patch) -> Patch:
    """The same along the line of sight."""
    y, x = ((np.arange(n) - (n - 1) / 2) * s / RSUN_MM for n, s in zip(SHAPE, SCALE_MM, strict=True))
    mu = mu_of_pixels(x[None], y[:, None], patch.latitude_deg, patch.longitude_deg, patch.b0_deg)
    return patch.with_field(
        patch.field * mu, SCALE_MM, id=f"{patch.id}-los", quantity="line-of-sight", segment="magnetogram"
    )
