"""From seed to patches: a region lives, and HMI looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta

import numpy as np

from ..patch import Patch
from .box import bounding_box
from .constants import PIXEL_MM, PIXEL_MX, RATES, ROTATION_DEG_PER_DAY, Rates
from .convection import Cells, sweep
from .elements import deposit
from .evolution import Evolution
from .observation import INSTRUMENT, Instrument, cosine_map, observe, point_spread
from .population import RegionPlan, draw_region
from .spots import draw_spots
from .state import Snapshot

__all__ = ["QUANTITIES", "carrington_longitude", "noise_free", "simulate_region"]

#: what can be simulated of a frame
QUANTITIES = ("radial", "line-of-sight", "noise-free", "noise-free-observed")
#: Julian date of 2000 January 1.5
_JD_2000 = 2451545.0
_SUFFIX = {"radial": "", "line-of-sight": "-los", "noise-free": "-clean", "noise-free-observed": "-observed-clean"}
_SEGMENT = {"radial": "Br", "line-of-sight": "magnetogram"}


def noise_free(
    snapshot: Snapshot,
    shape: tuple[int, int],
    corner_mm: tuple[float, float],
    rng: np.random.Generator,
    rates: Rates = RATES,
    instrument: Instrument = INSTRUMENT,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radial field and horizontal field along y and x of a box, (ny, nx) float32, G, as resolved at disc centre."""
    high, wide = shape[0] * PIXEL_MM, shape[1] * PIXEL_MM
    y, x = snapshot.y - np.float32(corner_mm[0]), snapshot.x - np.float32(corner_mm[1])
    near = (y > -6) & (y < high + 6) & (x > -6) & (x < wide + 6)
    y, x, flux = _split(y[near], x[near], snapshot.flux_mx[near], rates, rng)
    for spacing, strength in rates.granules:
        cells = Cells(high, wide, spacing, 1.0, 0.0, rng)
        y, x = sweep(y, x, cells.y, cells.x, cells.y0, cells.x0, cells.spacing_mm, strength)
    plane = deposit(y, x, flux, *shape, PIXEL_MM, 0.0, 0.0)
    plage = point_spread(plane / np.float32(PIXEL_MX), instrument)
    top = np.float32(rates.concentration_gauss)
    plage = top * np.tanh(plage / top)
    drawn = draw_spots(shape, corner_mm, snapshot.spots, snapshot.shear, rng)
    if drawn is None:
        still = np.zeros(shape, np.float32)
        return plage, still, still
    spots, horizontal_y, horizontal_x, cover = drawn
    return plage * (1 - np.minimum(cover, 0.92)) + spots, horizontal_y, horizontal_x


def _split(
    y: np.ndarray, x: np.ndarray, flux: np.ndarray, rates: Rates, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elements as the flux tubes that they stand for: parts of at most `rates.tube_mx`, scattered around them."""
    parts = np.maximum(np.ceil(np.abs(flux) / rates.tube_mx), 1).astype(np.int64)
    which = np.repeat(np.arange(len(flux)), parts)
    scatter = rng.standard_normal((2, len(which)), dtype=np.float32) * np.float32(rates.tube_scatter_mm)
    return y[which] + scatter[0], x[which] + scatter[1], (flux / parts)[which].astype(np.float32)


def _live(seed: int, index: int, frames: int, rates: Rates) -> tuple[RegionPlan, Evolution, list[Snapshot], np.ndarray]:
    """The plan of a region, its evolution, snapshots and the ages (h) at which they were taken."""
    plan = draw_region(np.random.default_rng([seed, index, 20100501]))
    rng = np.random.default_rng([seed, index, 1])
    evolution = Evolution(plan, rng, rates)
    ages = plan.first_age_h + (np.arange(frames) + rng.uniform(0.2, 0.8, frames)) / frames * plan.passage_h
    snapshots = []
    for k, age in enumerate(ages):
        # long ago the steps may be coarse
        calm = float(ages[0]) - 30.0
        if k == 0 and calm > 10.0:
            evolution.advance(calm, 2.0)
        evolution.advance(float(age), 1.0)
        snapshots.append(evolution.snapshot())
    return plan, evolution, snapshots, ages


def simulate_region(
    seed: int,
    index: int,
    frames: int,
    keep: int | None = None,
    quantity: str | Sequence[str] = "radial",
    rates: Rates = RATES,
    instrument: Instrument = INSTRUMENT,
) -> list[Patch]:
    """One region observed `frames` times while it crosses the disc.

    Parameters
    ----------
    seed, index
        The region is a pure function of both.
    frames
        Number of frames, at least 1, spread over its passage.
    keep
        How many of them are made, chosen at random; each is the same patch that it is among all. The box is drawn
        around what shows in all `frames`, so that a region of one frame is no frame of a region of twenty.
    quantity
        ``radial`` (Br), ``line-of-sight``, ``noise-free`` (Br as resolved, before noise and foreshortening),
        ``noise-free-observed`` (Br as HMI would report it without noise of the polarisation: foreshortened, inverted
        and remapped as ``radial`` is), or several of them: patches of one frame show the same instant.
    rates, instrument
        Rates of the transport, and what the instrument adds.

    Returns
    -------
    Patches of equal size in gauss at SHARP scale; `Patch.truth` holds the ingredients: flux (Mx) of spots and of small
    concentrations for each polarity (leading, following), their centroids in Mm from the box's corner, separation,
    tilt, age, and the unsigned flux of the noiseless image.

    Examples
    --------
    >>> patch = simulate_region(seed=1, index=0, frames=3)[0]
    >>> patch.region, patch.source
    ('SIM 1-0', 'simulated')
    """
    wanted = (quantity,) if isinstance(quantity, str) else tuple(quantity)
    for name in wanted:
        if name not in QUANTITIES:
            raise ValueError(f"unknown quantity {name!r}: choose from {', '.join(QUANTITIES)}")
    if frames < 1:
        raise ValueError(f"a region needs at least 1 frame, got {frames}")
    if keep is not None and not 1 <= keep <= frames:
        raise ValueError(f"of {frames} frames 1 to {frames} can be kept, got {keep}")
    plan, evolution, snapshots, ages = _live(seed, index, frames, rates)
    box = bounding_box(snapshots, evolution.size_mm, evolution.middle, np.random.default_rng([seed, index, 2]))
    patches: list[Patch] = []
    for k in _kept(seed, index, frames, keep):
        patches += _frame(seed, index, k, plan, snapshots[k], ages, box, wanted, rates, instrument)
    return patches


def _kept(seed: int, index: int, frames: int, keep: int | None) -> list[int]:
    """Which of the frames of a region are made."""
    chosen = np.random.default_rng([seed, index, 5]).permutation(frames)[: frames if keep is None else keep]
    return sorted(int(k) for k in chosen)


def _id(seed: int, index: int, k: int, quantity: str) -> str:
    return f"sim-{seed}-{index:05d}-{k:03d}{_SUFFIX[quantity]}"


def region_ids(
    seed: int, index: int, frames: int, keep: int | None = None, quantity: str | Sequence[str] = "radial"
) -> list[str]:
    """Ids of the patches that `simulate_region` makes of the same arguments, without making them.

    >>> region_ids(seed=1, index=0, frames=2, quantity=("radial", "noise-free"))
    ['sim-1-00000-000', 'sim-1-00000-000-clean', 'sim-1-00000-001', 'sim-1-00000-001-clean']
    """
    wanted = (quantity,) if isinstance(quantity, str) else tuple(quantity)
    return [_id(seed, index, k, name) for k in _kept(seed, index, frames, keep) for name in wanted]


def _frame(
    seed: int, index: int, k: int, plan: RegionPlan, snapshot: Snapshot, ages: np.ndarray,
    box: tuple[float, float, float, float], wanted: tuple[str, ...], rates: Rates, instrument: Instrument,
) -> list[Patch]:  # fmt: skip
    """The patches of frame `k`, one for each quantity."""
    y0, x0, y1, x1 = box
    shape = (int((y1 - y0) / PIXEL_MM), int((x1 - x0) / PIXEL_MM))
    rng = np.random.default_rng([seed, index, 77, k])
    clean, horizontal_y, horizontal_x = noise_free(snapshot, shape, (y0, x0), rng, rates, instrument)
    since = timedelta(hours=float(ages[k] - ages[0]))
    when = plan.start + since
    when = when.replace(minute=when.minute // 12 * 12, second=0, microsecond=0)
    day = plan.start.timetuple().tm_yday
    b0 = 7.23 * np.sin(2 * np.pi * (day - 157.5) / 365.25)
    longitude = plan.longitude_deg + ROTATION_DEG_PER_DAY * since.total_seconds() / 86400.0
    mu_columns, mu = cosine_map(shape, plan.latitude_deg, longitude, b0)
    fields = {"noise-free": clean}
    if "noise-free-observed" in wanted:
        # the same pixels of the detector as the frame with noise has
        same = deepcopy(rng)
        fields["noise-free-observed"], _ = observe(
            clean, horizontal_y, horizontal_x, mu_columns, longitude > 0, same, instrument, noise=False
        )
    if {"radial", "line-of-sight"} & set(wanted):
        radial, los = observe(clean, horizontal_y, horizontal_x, mu_columns, longitude > 0, rng, instrument)
        fields |= {"radial": radial, "line-of-sight": los}
    states = [dict(s, centroids_mm=[c and [c[0] - y0, c[1] - x0] for c in s["centroids_mm"]]) for s in snapshot.states]
    truth = dict(
        plan.record, age_days=float(ages[k]) / 24.0, states=states,
        clean_unsigned_mx=float(np.abs(clean).sum(dtype=np.float64) * PIXEL_MX),
        clean_net_mx=float(clean.sum(dtype=np.float64) * PIXEL_MX), spots=len(snapshot.spots),
    )  # fmt: skip
    return [
        Patch(
            field=fields[name],
            scale_mm=(PIXEL_MM, PIXEL_MM),
            id=_id(seed, index, k, name),
            region=f"SIM {seed}-{index}",
            source="simulated",
            quantity="line-of-sight" if name == "line-of-sight" else "radial",
            segment=_SEGMENT.get(name, name),
            t_rec=when.strftime("%Y.%m.%d_%H:%M:%S_TAI"),
            latitude_deg=plan.latitude_deg,
            longitude_deg=float(longitude),
            carrington_deg=carrington_longitude(when, longitude),
            b0_deg=float(b0),
            mu=mu,
            truth=truth,
            credit="simulated by solquery",
        )
        for name in wanted
    ]


def carrington_longitude(when: datetime, stonyhurst_deg: float) -> float:
    """Carrington longitude (deg) of a Stonyhurst longitude at a date: Meeus (1998), chapter 29, to a tenth of a degree.

    Rotation C begins, with longitude 0 at the centre of the disc, on JDE 2398140.2270 + 27.2752316 C + a periodic term.
    """
    day = _JD_2000 + (when - datetime(2000, 1, 1, 12)).total_seconds() / 86400.0
    rotation = (day - 2398140.2270) / 27.2752316
    for _ in range(3):
        turn = np.radians(281.96 + 26.882476 * rotation)
        rotation = (day - 2398140.2270 - 0.1454 * np.sin(turn)) / 27.2752316
    return float((stonyhurst_deg - 360.0 * rotation) % 360.0)
