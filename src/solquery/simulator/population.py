"""What a region is made of: dates, place, bipoles with their laws, spots, and the remains of older regions.

All is drawn once for a region; the transport then lets it happen. Sources of the laws:

* unsigned flux of a region: log-normal, so that the largest USFLUX of a region agrees with 1,113 HARPs of 2010 to 2020;
* separation against flux with the slope 0.272 and scatter 0.177 dex of 2,854 catalogued bipoles of 1996 to 2025; the
  constant is such that separations measured on simulated frames agree with the catalogued ones;
* tilt, 30 deg sin(latitude), with a scatter that falls with flux: the same bipoles; compare Stenflo & Kosovichev (2012)
  and Wang & Sheeley (1989);
* 8.4 % of the bipoles break Hale's law (McClintock, Norton & Li 2014);
* active latitudes drift from about 27 to 7 deg in a cycle (Hathaway 2011).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from ..aliases import Document

__all__ = ["ANTI_HALE_SHARE", "Bipole", "OldFlux", "Polarity", "RegionPlan", "SpotPlan", "draw_region"]

#: share of bipoles that break Hale's law: 8.4 +- 0.8 % (McClintock et al. 2014)
ANTI_HALE_SHARE = 0.084
#: how far the plage of a polarity reaches toward the other one, as a share of how far it reaches away from it
_INWARD = 0.3
_CYCLE_25 = 2019.95
_FIRST_DAY = datetime(2010, 5, 1)


@dataclass
class SpotPlan:
    """A spot to be: its share of the polarity's spot flux, place beside the polarity, and shape."""

    share: float
    offset: np.ndarray  # (y, x), in units of the size of the cluster of spots
    harmonics: np.ndarray  # (n, 3) order, amplitude, phase of the outline
    stretch: float
    angle: float
    life: float  # factor on the mean lifetime
    steepness: float
    bridges: np.ndarray  # (n, 3) angle, distance from the middle in radii, curvature of light bridges


@dataclass
class Polarity:
    """One side of a bipole: clumps in which its plage gathers, and spots."""

    side: int  # +1 leading (west), -1 following
    sign: int
    clumps: np.ndarray  # (n, 2) offsets in units of the size of the polarity
    weights: np.ndarray  # (n,) shares of the plage
    tightness: float  # scatter within a clump, in the same units
    spot_fraction: float
    spots: list[SpotPlan]
    spot_life_h: float


@dataclass
class Bipole:
    """One bipole: `flux_mx` is that of each polarity at the end of its emergence."""

    flux_mx: float
    separation_mm: float
    tilt_deg: float
    leading_sign: int
    centre_mm: np.ndarray  # (y, x) from the middle of the region
    emerges_h: float
    rise_h: float
    polarities: tuple[Polarity, Polarity] = field(repr=False)
    start_separation: float = 0.3  # share of the final separation


@dataclass
class OldFlux:
    """Remains of an older region: a broad unipolar cloud."""

    flux_mx: float  # signed
    centre_mm: np.ndarray
    size_mm: np.ndarray


@dataclass
class RegionPlan:
    """A region before anything has happened."""

    start: datetime  # of the first frame, UTC
    latitude_deg: float
    longitude_deg: float
    first_age_h: float
    passage_h: float
    bipoles: list[Bipole]
    old: list[OldFlux]
    record: Document


def _spots(leading: bool, log_flux: float, rng: np.random.Generator) -> list[SpotPlan]:
    more = np.clip(log_flux - 21.3, 0.0, 1.5)
    pieces = 1 + int(rng.poisson(0.3 + 0.6 * more)) if leading else 1 + int(rng.poisson(0.8 + 1.5 * more))
    share = np.sort(rng.dirichlet(np.full(pieces, 0.5 if leading else 0.9)))[::-1]
    plans = []
    for part in share:
        low = np.column_stack(
            [np.arange(2, 7), rng.normal(0, 0.09, 5) / np.arange(1, 6) ** 0.6, rng.uniform(0, 6.3, 5)]
        )
        bridges = int(rng.random() < 0.3) + int(rng.random() < 0.1)
        plans.append(
            SpotPlan(
                share=float(part),
                offset=rng.normal(0, 0.4 if leading else 0.85, 2) * np.array([0.75, 1.0]),
                harmonics=low,
                stretch=float(np.exp(rng.normal(0, 0.14 if leading else 0.25))),
                angle=float(rng.uniform(0, np.pi)),
                life=float(np.clip(rng.gamma(2.0, 0.5), 0.2, 3.0)),
                steepness=float(rng.uniform(1.25, 1.9)),
                bridges=np.column_stack(
                    [rng.uniform(0, np.pi, bridges), rng.normal(0, 0.25, bridges), rng.normal(0, 0.6, bridges)]
                ),
            )
        )
    return plans


def _polarity(side: int, sign: int, flux_mx: float, rng: np.random.Generator) -> Polarity:
    leading, log_flux = side > 0, float(np.log10(2 * flux_mx))
    strong = float(np.clip((log_flux - 20.9) / 1.3, 0.0, 1.0))
    n = int(rng.integers(4, 11))
    spread = np.array([0.6, 0.8]) if leading else np.array([0.8, 1.15])
    clumps = rng.normal(0, 1, (n, 2)) * spread
    # flux that reaches toward the other polarity is the first to cancel: little of it is left by the time it is seen
    clumps[:, 1] *= np.where(side * clumps[:, 1] < 0, _INWARD, 1.0)
    fraction = strong * (rng.uniform(0.4, 0.85) if leading else rng.uniform(0.1, 0.72) * rng.choice([1.0, 0.5]))
    return Polarity(
        side=side,
        sign=sign,
        clumps=clumps,
        weights=rng.dirichlet(np.full(n, 1.2)),
        tightness=float(rng.uniform(0.2, 0.6)),
        spot_fraction=float(fraction),
        spots=_spots(leading, log_flux, rng),
        spot_life_h=24.0 * (12.0 if leading else 6.0) * (2 * flux_mx / 1e22) ** 0.35 * float(rng.lognormal(0, 0.35)),
    )


def draw_bipole(
    flux_mx: float,
    latitude_deg: float,
    leading_sign: int,
    centre_mm: np.ndarray,
    emerges_h: float,
    rng: np.random.Generator,
    extra_tilt_deg: float = 0.0,
) -> Bipole:
    """A bipole of `flux_mx` (unsigned, both polarities) after the laws of separation and tilt."""
    log_flux = float(np.log10(flux_mx))
    scatter = float(np.interp(log_flux, [21.0, 22.0, 23.0], [24.0, 18.0, 12.0]))
    joy = 30.0 * np.sin(np.radians(abs(latitude_deg))) + rng.normal(0, scatter)
    # the leading polarity lies closer to the equator: southward of the following one in the north
    tilt = -np.sign(latitude_deg) * joy + extra_tilt_deg
    separation = 10.0 ** (1.9 + 0.272 * (log_flux - 22.0) + rng.normal(0, 0.177))
    half = flux_mx / 2
    return Bipole(
        flux_mx=half,
        separation_mm=float(np.clip(separation, 9.0, 200.0)),
        tilt_deg=float(tilt),
        leading_sign=leading_sign,
        centre_mm=np.asarray(centre_mm, float),
        emerges_h=emerges_h,
        rise_h=24.0 * float((0.9 + 2.0 * (flux_mx / 1e22) ** 0.3) * rng.lognormal(0, 0.2)),
        polarities=(_polarity(1, leading_sign, half, rng), _polarity(-1, -leading_sign, half, rng)),
    )


def _bipoles(log_flux: float, latitude: float, hale: int, rng: np.random.Generator) -> list[Bipole]:
    """One to four bipoles of one nest: the first, then others that collide with it, lie beside it or emerge in it."""
    complexity = float(np.clip((log_flux - 21.0) / 1.8, 0.0, 1.0))
    count = 1 + int(rng.binomial(3, 0.08 + 0.34 * complexity))
    share = np.sort(rng.dirichlet(np.full(count, 1.1)))[::-1]
    bipoles: list[Bipole] = []
    when = 0.0
    for k in range(count):
        flux = float(10**log_flux * share[k])
        if k == 0:
            bipoles.append(draw_bipole(flux, latitude, hale, np.zeros(2), 0.0, rng))
            continue
        first = bipoles[0]
        angle = np.radians(first.tilt_deg)
        axis = np.array([np.sin(angle), np.cos(angle)])
        kind = rng.choice(
            ["collide", "inside", "beside"],
            p=[0.25 + 0.2 * complexity, 0.3 - 0.1 * complexity, 0.45 - 0.1 * complexity],
        )
        when += rng.exponential(30.0) if kind != "inside" else rng.exponential(80.0)
        sign = hale if rng.random() > 0.06 else -hale
        if kind == "collide":
            # neighbours on one axis: the leading polarity of the eastern runs into the following of the western one
            own = draw_bipole(flux, latitude, sign, np.zeros(2), when, rng, float(rng.normal(0, 35.0)))
            reach = 0.5 * (first.separation_mm + own.separation_mm) * rng.uniform(0.55, 1.0)
            across = np.array([axis[1], -axis[0]])
            own.centre_mm = rng.choice([-1, 1]) * axis * reach + across * rng.normal(0, 4.0)
        elif kind == "inside":
            place = rng.choice([-0.5, 0.5, rng.uniform(-0.4, 0.4)]) * axis * first.separation_mm
            own = draw_bipole(
                flux, latitude, sign, place + rng.normal(0, 6.0, 2), when, rng, float(rng.normal(0, 40.0))
            )
        else:
            place = rng.normal(0, 1, 2) * np.array([0.4, 0.95]) * first.separation_mm
            own = draw_bipole(flux, latitude, sign, place, when, rng, float(rng.normal(0, 15.0)))
        bipoles.append(own)
    return bipoles


def _neighbour(log_flux: float, latitude: float, hale: int, reach_mm: float, rng: np.random.Generator) -> Bipole:
    """Another region close by on the same side of the equator, which one HARP often holds as well."""
    own = float(np.clip(log_flux + rng.normal(-0.25, 0.35), 20.6, 22.9))
    centre = np.array([rng.normal(0, 14.0), rng.choice([-1.0, 1.0]) * (reach_mm + rng.uniform(15.0, 110.0))])
    return draw_bipole(10**own, latitude, hale, centre, float(rng.uniform(-60.0, 60.0)), rng)


def _old_flux(extent: np.ndarray, rng: np.random.Generator) -> list[OldFlux]:
    """Remains of older regions, more often there than not, since regions emerge in nests (Castenmiller et al. 1986)."""
    out = []
    for _ in range(int(rng.poisson(2.0))):
        centre = rng.uniform(-0.5, 0.5, 2) * extent
        size = np.array([rng.uniform(16, 36), rng.uniform(25, 65)])
        out.append(OldFlux(float(rng.choice([-1, 1]) * 10 ** rng.normal(21.2, 0.35)), centre, size))
    return out


def draw_region(rng: np.random.Generator) -> RegionPlan:
    """Draw a region: when and where it is seen, and what emerges."""
    start = _FIRST_DAY + timedelta(days=float(rng.uniform(0, 4800)))
    year = start.year + start.timetuple().tm_yday / 365.25
    phase = (year - 2008.9) / 11.0 if year < _CYCLE_25 else (year - _CYCLE_25) / 11.0
    north = bool(rng.random() < 0.5)
    latitude = float(np.clip(rng.normal(23.5 - 16.0 * phase, 5.5), 2.0, 42.0)) * (1 if north else -1)
    # even cycle 24: the leading polarity of the north is negative; odd cycle 25: positive
    law = (-1 if year < _CYCLE_25 else 1) * (1 if north else -1)
    faint = bool(rng.random() < 0.17)
    log_flux = float(np.clip(rng.normal(20.9, 0.3) if faint else rng.normal(22.08, 0.46), 20.3, 23.2))
    anti_hale = bool(rng.random() < ANTI_HALE_SHARE)
    hale = -law if anti_hale else law
    bipoles = _bipoles(log_flux, latitude, hale, rng)

    shared = bool(rng.random() < 0.22)
    if shared:
        reach = max(b.separation_mm for b in bipoles) * 0.8
        bipoles.append(_neighbour(log_flux, latitude, hale, reach, rng))
    longitude = float(rng.uniform(-70, 48))
    passage = float(min(rng.uniform(2.0, 10.0), (72 - longitude) / 13.2)) * 24.0
    life = 24.0 * (4.0 + 10.0 * np.clip(log_flux - 21.0, 0.0, 1.5))
    age = float(rng.uniform(4.0, 40.0)) if rng.random() < 0.25 else float(rng.uniform(12.0, life))
    record = {
        "simulator": 2,
        "log10_flux_mx": log_flux,
        "faint": faint,
        "shared": shared,
        "shear": float(rng.uniform(0.3, 1.4)),
        "bipoles": len(bipoles),
        "anti_hale": anti_hale,
        "leading_sign": hale,
        "tilt_deg": bipoles[0].tilt_deg,
        "separation_max_mm": bipoles[0].separation_mm,
        "latitude_deg": latitude,
    }
    extent = np.array([120.0, 240.0])
    return RegionPlan(start, latitude, longitude, age, passage, bipoles, _old_flux(extent, rng), record)
