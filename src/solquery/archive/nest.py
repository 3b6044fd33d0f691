"""A nest of bipoles for the simulator: what is drawn once for a region and stays with it for life.

Fluxes, separations, tilts and spots follow the laws that `simulate` names; a region's frames share these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Bipole", "nest"]


@dataclass
class Bipole:
    """One bipole and the random numbers that stay with it for life (so that frames of a region hang together)."""

    flux_mx: float  # of one polarity, at maximum
    separation_mm: float
    tilt_deg: float
    leading_sign: int
    centre_mm: np.ndarray  # (y, x) from the middle of the region
    emerges_day: float
    rise_days: float
    spot_days: float
    plage_days: float
    spot_fraction: tuple[float, float]  # leading, following
    spot_seeds: tuple[list[dict], list[dict]]
    small: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def _small_flux(total_mx: float, rng: np.random.Generator) -> np.ndarray:
    """Fluxes of small concentrations that add up to `total_mx`, log-normal around 3e18 Mx."""
    count = int(np.clip(total_mx / 3e18, 20, 6000))
    share = rng.lognormal(0.0, 0.85, count)
    return total_mx * share / share.sum()


def _polarity_small(flux_mx: float, leading: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    flux = _small_flux(flux_mx, rng)
    n = len(flux)
    clumps = rng.standard_normal((max(2, int(rng.integers(3, 9))), 2))
    which = rng.integers(0, len(clumps), n)
    tight = rng.uniform(0.25, 0.6)
    # clumps of clumps: plage is patchy at every scale
    knots = clumps[which] * 0.75 + tight * rng.standard_normal((n, 2))
    member = (rng.random(n) ** 1.8 * max(n // 9, 3)).astype(int)
    axis = rng.uniform(0, np.pi, n)[member]
    along = 0.20 * rng.standard_normal(n) * rng.exponential(1.0, n)[member]
    threads = along[:, None] * np.column_stack([np.sin(axis), np.cos(axis)])
    home = knots[member] + threads + 0.045 * rng.standard_normal((n, 2))
    # a tail of flux trails behind the following polarity
    spread = np.array([0.62, 0.85]) if leading else np.array([0.75, 1.2])
    return {
        "flux": flux,
        "home": home * spread,
        "walk": (rng.standard_normal((n, 2))[member] + 0.25 * rng.standard_normal((n, 2))) * np.array([0.7, 1.1]),
        "emerge_at": rng.random(n) ** 0.8,
        "life": rng.exponential(1.0, n),
        "kind": rng.choice(3, n, p=[0.35, 0.40, 0.25]),
        "jitter": rng.standard_normal((n, 2)) * rng.exponential(0.55, (n, 1)),
        "free": rng.random(n),
    }


def _spot_seeds(leading: bool, flux_mx: float, rng: np.random.Generator) -> list[dict]:
    pieces = int(rng.integers(1, 5)) if leading else int(rng.integers(2, 8))
    share = rng.dirichlet(np.full(pieces, 0.45 if leading else 1.2))
    seeds = []
    for part in np.sort(share)[::-1]:
        order = rng.integers(9, 34, 10)
        seeds.append(
            {
                "share": float(part),
                "offset": rng.standard_normal(2) * (0.35 if leading else 0.75),
                "steepness": rng.uniform(2.0, 3.4),
                "low": np.column_stack([rng.normal(0, [0.13, 0.10, 0.08, 0.06]), rng.uniform(0, 2 * np.pi, 4)]),
                "high": np.column_stack([rng.normal(0, 0.022, 10), rng.uniform(0, 2 * np.pi, 10), order]),
                "stretch": float(np.exp(rng.normal(0, 0.18))),
                "angle": rng.uniform(0, np.pi),
                "life": float(np.clip(rng.exponential(1.0), 0.2, 3.0)),
            }
        )
    return seeds


def _bipole(
    flux: float,
    latitude: float,
    hale: int,
    centre: np.ndarray,
    emerges: float,
    tilt_extra: float,
    rng: np.random.Generator,
) -> Bipole:
    scatter = 12.0 + 16.0 * np.clip((22.6 - np.log10(flux)) / 2.0, 0.0, 1.0)
    joy = 32.1 * np.sin(np.radians(abs(latitude)))
    # the leading polarity lies closer to the equator: southward of the following one in the north
    tilt = -np.sign(latitude) * (joy + rng.normal(0.0, scatter)) + tilt_extra
    strong = np.clip((np.log10(flux) - 20.8) / 1.6, 0.0, 1.0)
    fractions = (strong * rng.uniform(0.3, 0.75), strong * rng.uniform(0.1, 0.6))
    return Bipole(
        flux_mx=flux,
        separation_mm=float(np.clip(60.0 * (flux / 1e22) ** 0.33 * rng.lognormal(0, 0.25), 8.0, 190.0)),
        tilt_deg=float(tilt),
        leading_sign=hale,
        centre_mm=centre,
        emerges_day=emerges,
        rise_days=float(1.2 + 2.2 * (flux / 1e22) ** 0.3 * rng.lognormal(0, 0.2)),
        spot_days=float(8.0 * (flux / 1e22) ** 0.4 * rng.lognormal(0, 0.4)),
        plage_days=float(32.0 * (flux / 1e22) ** 0.22 * rng.lognormal(0, 0.3)),
        spot_fraction=fractions,
        spot_seeds=(_spot_seeds(True, flux, rng), _spot_seeds(False, flux, rng)),
        small=(_polarity_small(flux, True, rng), _polarity_small(flux, False, rng)),
    )


def nest(latitude: float, cycle_sign: int, rng: np.random.Generator) -> tuple[list[Bipole], dict]:
    """The bipoles of one region and a record of how they were drawn."""
    log_flux = float(np.clip(rng.normal(21.85, 0.58), 20.5, 23.0))  # unsigned, both polarities
    anti_hale = bool(rng.random() < 0.05)
    hale = -cycle_sign if anti_hale else cycle_sign
    count = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.27, 0.15, 0.08]))
    share = np.sort(rng.dirichlet(np.full(count, 1.3)))[::-1]
    half = 10**log_flux / 2
    bipoles: list[Bipole] = []
    day = 0.0
    for k in range(count):
        flux = float(half * share[k])
        delta = False
        centre, extra = np.zeros(2), 0.0
        if k > 0:
            first = bipoles[0]
            day += rng.exponential(1.5)
            delta = bool(rng.random() < 0.45)
            if delta:
                # pushed against the opposite polarity of its elder: a strong-gradient inversion line
                side = rng.choice([-0.5, 0.5])
                angle = np.radians(first.tilt_deg)
                along = np.array([np.sin(angle), np.cos(angle)]) * side * first.separation_mm * rng.uniform(0.5, 1.1)
                centre = along + rng.normal(0, 4.0, 2)
                extra = float(rng.normal(0, 55.0))
            else:
                centre = rng.normal(0, 1, 2) * np.array([0.45, 0.95]) * first.separation_mm
                extra = float(rng.normal(0, 20.0))
        bipole = _bipole(flux, latitude, hale if rng.random() > 0.06 or k == 0 else -hale, centre, day, extra, rng)
        if delta:
            bipole.separation_mm *= 0.6
        bipoles.append(bipole)
    record = {
        "log10_flux_mx": log_flux,
        "bipoles": count,
        "anti_hale": anti_hale,
        "leading_sign": hale,
        "tilt_deg": bipoles[0].tilt_deg,
        "separation_max_mm": bipoles[0].separation_mm,
        "latitude_deg": latitude,
    }
    return bipoles, record
