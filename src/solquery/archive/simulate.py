"""Simulated active regions with known ingredients, as time sequences of emergence, dispersal and decay.

Each region is a nest of one to four bipoles. A bipole emerges over days, its polarities move apart, part of its flux
is bound in spots and the rest in many small concentrations that convection sweeps to the borders of supergranules.
The leading polarity is more compact than the following one; Hale's and Joy's laws hold with their scatter.

Sources of the numbers: fluxes 10^20.5 to 10^23 Mx, log-normal; separation growing with a power of flux; Joy's law
tilt = 32.1 deg sin(latitude) (Stenflo & Kosovichev 2012) with scatter falling with flux; anti-Hale fraction 5 %, below
the 8.4 ± 0.8 % of McClintock et al. (2014); supergranules of 27 Mm; turbulent diffusivity 300 km^2/s; noise from
`render.noise`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from ..patch import Patch
from .nest import Bipole, nest
from .render import PIXEL_MM, PIXEL_MX, Spot, concentrations, noise, pull_to_network, spots

__all__ = ["simulate", "simulate_region"]

DIFFUSIVITY_MM2_PER_DAY = 300e-6 * 86400.0
DEGREE_MM = PIXEL_MM / 0.03
ROTATION_DEG_PER_DAY = 13.2
SUPERGRANULE_MM = 27.0


def _polarity_state(bipole: Bipole, age: float) -> tuple[float, float, float]:
    """Emerged fraction (0 to 1), separation in Mm and days since emergence began, at `age` days of the region."""
    t = age - bipole.emerges_day
    risen = float(np.clip(t / bipole.rise_days, 0.0, 1.0))
    emerged = risen * risen * (3 - 2 * risen)
    growth = 0.3 + 0.7 * (1 - np.exp(-max(t, 0.0) / (0.7 * bipole.rise_days)))
    return emerged, bipole.separation_mm * growth, t


def _frame_sources(
    bipoles: list[Bipole], age: float, cells: cKDTree, fine_cells: cKDTree
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Spot], list[dict]]:
    """Positions (N, 2) in Mm from the middle, signed fluxes, kinds, spots, and the true state of each bipole."""
    places, fluxes, kinds, spot_list, states = [], [], [], [], []
    for bipole in bipoles:
        emerged, separation, t = _polarity_state(bipole, age)
        if emerged <= 0.0:
            continue
        angle = np.radians(bipole.tilt_deg)
        half = 0.5 * separation * np.array([np.sin(angle), np.cos(angle)])
        state: dict[str, Any] = {
            "separation_mm": separation,
            "emerged": emerged,
            "spot_mx": [0.0, 0.0],
            "small_mx": [0.0, 0.0],
        }
        for side, (direction, sign) in enumerate(((1, bipole.leading_sign), (-1, -bipole.leading_sign))):
            centre = bipole.centre_mm + direction * half
            past_peak = max(t - bipole.rise_days, 0.0)
            in_spots = bipole.spot_fraction[side] * bipole.flux_mx * emerged
            cluster = 2.2 * np.sqrt(in_spots / 1e21) + 0.06 * separation
            moats = []
            for seed in bipole.spot_seeds[side]:
                left = max(0.0, 1.0 - past_peak / (bipole.spot_days * seed["life"] * (1.6 if side == 0 else 0.8)))
                flux = in_spots * seed["share"] * left
                if flux < 6e19:
                    continue
                y, x = centre + seed["offset"] * cluster
                spot = Spot(
                    y, x, flux, sign,
                    peak_gauss=float(np.clip(1650 + 430 * np.log10(flux / 1e20), 1500, 2850)),
                    steepness=seed["steepness"], low=seed["low"], high=seed["high"],
                    stretch=seed["stretch"], angle=seed["angle"],
                )  # fmt: skip
                spot_list.append(spot)
                moats.append((y, x, spot.radius_mm))
                state["spot_mx"][side] += flux
            small = bipole.small[side]
            # what has left the spots shows up as small concentrations
            wanted = 1.0 - min(state["spot_mx"][side] / (bipole.flux_mx * emerged), 0.95)
            lives = small["life"] * bipole.plage_days * (1.4 if side == 0 else 1.0) > past_peak
            on = (small["emerge_at"] <= emerged) & lives & (small["free"] <= wanted)
            if on.any():
                core = 0.16 * separation + 2.1 * np.sqrt(bipole.flux_mx * emerged / 1e21)
                walked = np.sqrt(4 * DIFFUSIVITY_MM2_PER_DAY * max(t, 0.0)) * 0.6
                position = centre + small["home"][on] * core + small["walk"][on] * walked
                # strong fields resist convection: dense young plage is swept least
                swept = np.clip(0.25 + t / 18.0, 0.25, 0.72) * (0.5 + small["free"][on])
                swept = swept * np.clip(1.0 - 0.35 * np.log10(max(bipole.flux_mx * emerged / 3e21, 1.0)), 0.5, 1.0)
                position = pull_to_network(position, cells, np.minimum(swept, 0.92)) + small["jitter"][on]
                position = pull_to_network(position, fine_cells, 0.62)
                for y, x, radius in moats:
                    away = position - (y, x)
                    distance = np.linalg.norm(away, axis=1) + 1e-6
                    inside = distance < 1.25 * radius
                    target = radius * (1.0 + 0.9 * small["free"][on][inside])
                    position[inside] += away[inside] * (target / distance[inside] - 1)[:, None]
                places.append(position)
                fluxes.append(sign * small["flux"][on])
                kinds.append(small["kind"][on])
                state["small_mx"][side] = float(small["flux"][on].sum())
        states.append(state)
    if not places:
        return np.zeros((0, 2)), np.zeros(0), np.zeros(0, int), spot_list, states
    return np.concatenate(places), np.concatenate(fluxes), np.concatenate(kinds), spot_list, states


def _cells(extent_mm: float, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Jittered hexagonal cell centres covering a square of half-width `extent_mm`."""
    rows = np.arange(-extent_mm, extent_mm, spacing_mm * 0.866)
    columns = np.arange(-extent_mm, extent_mm, spacing_mm)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + (np.arange(len(rows)) % 2)[:, None] * spacing_mm / 2
    grid = np.column_stack([y.ravel(), x.ravel()])
    return grid + rng.normal(0, 0.34 * spacing_mm, grid.shape)


def _box(bipoles: list[Bipole], ages: np.ndarray, cells: cKDTree, fine: cKDTree, rng: np.random.Generator):
    """(y0, x0, y1, x1) in Mm around all that the region shows in its frames, as a HARP is drawn once for its life."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for age in np.unique(np.concatenate([ages[[0, len(ages) // 2, -1]], ages[-1:]])):
        place, flux, _, several, _ = _frame_sources(bipoles, float(age), cells, fine)
        points = [place[np.abs(flux) > 3e18]] if len(place) else []
        points += [np.array([[s.y_mm - 1.3 * s.radius_mm, s.x_mm - 1.3 * s.radius_mm],
                             [s.y_mm + 1.3 * s.radius_mm, s.x_mm + 1.3 * s.radius_mm]]) for s in several]  # fmt: skip
        points = [p for p in points if len(p)]
        if points:
            every = np.concatenate(points)
            low = np.minimum(low, np.percentile(every, 2, axis=0))
            high = np.maximum(high, np.percentile(every, 98, axis=0))
    if not np.isfinite(low).all():
        low, high = np.array([-18.0, -27.0]), np.array([18.0, 27.0])
    size = high - low
    margin = np.maximum(size * rng.uniform(0.04, 0.22, (2, 2)), rng.uniform(4.0, 10.0, (2, 2)))
    low, high = low - margin[0], high + margin[1]
    wanted = np.maximum(high - low, np.array([38.0, 52.0]) * rng.uniform(0.95, 1.3, 2))
    wanted[1] = max(wanted[1], wanted[0] * rng.uniform(1.25, 2.1))  # HARPs are about twice as wide as high
    wanted = np.minimum(wanted, [175.0, 430.0])
    middle = (low + high) / 2
    return (*(middle - wanted / 2), *(middle + wanted / 2))


def simulate_region(seed: int, index: int, frames: int, keep: int | None = None) -> list[Patch]:
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

    Returns
    -------
    Patches of equal size in gauss at SHARP scale; `Patch.truth` holds the ingredients: flux (Mx) of spots and of
    small concentrations for each polarity (leading, following), centroids in Mm, separation, tilt, age, noise level,
    and the unsigned flux of the noiseless image.
    """
    if frames < 1:
        raise ValueError(f"a region needs at least 1 frame, got {frames}")
    if keep is not None and not 1 <= keep <= frames:
        raise ValueError(f"of {frames} frames 1 to {frames} can be kept, got {keep}")
    rng = np.random.default_rng([seed, index, 20100501])
    start = datetime(2010, 5, 1) + timedelta(days=float(rng.uniform(0, 4800)))
    year = start.year + start.timetuple().tm_yday / 365.25
    in_cycle = (year - 2008.9) / 11.0 if year < 2019.9 else (year - 2019.9) / 11.0
    north = bool(rng.random() < 0.5)
    latitude = float(np.clip(rng.normal(27.0 - 20.0 * in_cycle, 5.5), 2.0, 42.0)) * (1 if north else -1)
    # even cycle 24: the leading polarity of the north is negative; odd cycle 25: positive
    cycle_sign = (-1 if year < 2019.9 else 1) * (1 if north else -1)
    bipoles, record = nest(latitude, cycle_sign, rng)

    longitude0 = float(rng.uniform(-72, 40))
    days = float(np.clip(rng.uniform(2.0, 10.0), 1.0, (74 - longitude0) / ROTATION_DEG_PER_DAY))
    first_age = (
        float(rng.uniform(0.3, 2.0))
        if rng.random() < 0.45
        else float(rng.uniform(1.0, 6.0 + 12.0 * np.clip(record["log10_flux_mx"] - 21.0, 0.0, 1.5)))
    )
    ages = first_age + np.sort((np.arange(frames) + rng.uniform(0.2, 0.8, frames)) / frames) * days
    extent = 60.0 + max(b.separation_mm for b in bipoles) * 1.6 + 60.0
    cells, fine = _cells(extent, SUPERGRANULE_MM, rng), cKDTree(_cells(extent, 7.0, rng))
    y0, x0, y1, x1 = _box(bipoles, ages, cKDTree(cells), fine, rng)
    shape = (int((y1 - y0) / PIXEL_MM), int((x1 - x0) / PIXEL_MM))
    area_mm2 = (y1 - y0) * (x1 - x0)
    quiet = int(area_mm2 / 20.0)
    quiet_place = rng.uniform((y0, x0), (y1, x1), (quiet, 2))
    quiet_flux = 10 ** rng.normal(17.9, 0.40, quiet) * rng.choice([-1, 1], quiet)
    # an old unipolar background: the remains of earlier regions tilt the balance of signs in part of the box
    if rng.random() < 0.5:
        lean = np.cos(quiet_place @ rng.normal(0, 0.03, 2) + rng.uniform(0, 2 * np.pi))
        quiet_flux = np.where(rng.random(quiet) < 0.5 * np.abs(lean), np.abs(quiet_flux) * np.sign(lean), quiet_flux)
        quiet_flux *= rng.uniform(1.0, 2.2)
    quiet_kind = rng.choice(2, quiet, p=[0.6, 0.4])
    quiet_swept = np.where(rng.random(quiet) < 0.75, 0.9, 0.1)
    drift = rng.normal(0, 1.0, cells.shape)
    b0 = 7.23 * np.sin(2 * np.pi * (start.timetuple().tm_yday - 157.5) / 365.25)
    carrington0 = float(rng.uniform(0, 360))

    chosen = np.random.default_rng([seed, index, 5]).permutation(frames)[: frames if keep is None else keep]
    patches = []
    for k, age in enumerate(ages):
        if k not in chosen:
            continue
        since = float(age - ages[0])
        moved = cKDTree(cells + drift * 1.8 * np.sqrt(since + 0.1))
        place, flux, kind, several, states = _frame_sources(bipoles, float(age), moved, fine)
        around = pull_to_network(pull_to_network(quiet_place, moved, quiet_swept), fine, 0.5)
        place, flux = np.concatenate([place, around]), np.concatenate([flux, quiet_flux])
        kind = np.concatenate([kind, quiet_kind])
        longitude = longitude0 + ROTATION_DEG_PER_DAY * since
        lat, lon, tip = np.radians([latitude, longitude, b0])
        mu = float(np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(lon))
        small = concentrations(shape, place[:, 0] - y0, place[:, 1] - x0, flux, kind)
        small = 1450.0 * np.tanh(small / 1450.0)  # plage and pores saturate at kilogauss
        for spot in several:
            spot.y_mm -= y0
            spot.x_mm -= x0
        big = spots(shape, several)
        clean = small * (1 - np.clip(np.abs(big) / 900.0, 0, 0.85)) + big
        if mu < 0.9:
            clean = gaussian_filter1d(clean, 0.75 * np.sqrt(1 / mu**2 - 1), axis=1, truncate=3)
        true_unsigned = float(np.abs(clean).sum(dtype=np.float64) * PIXEL_MX)
        field = clean + noise(shape, mu, np.random.default_rng([seed, index, 77, k]))
        when = start + timedelta(days=since)
        when = when.replace(minute=when.minute // 12 * 12, second=0, microsecond=0)
        truth = dict(record, age_days=float(age), states=states, clean_unsigned_mx=true_unsigned)
        patches.append(
            Patch(
                field=field.astype(np.float32),
                scale_mm=(PIXEL_MM, PIXEL_MM),
                id=f"sim-{seed}-{index:05d}-{k:03d}",
                region=f"SIM {seed}-{index}",
                source="simulated",
                t_rec=when.strftime("%Y.%m.%d_%H:%M:%S_TAI"),
                latitude_deg=latitude,
                longitude_deg=float(longitude),
                carrington_deg=carrington0,
                b0_deg=float(b0),
                mu=mu,
                truth=truth,
                credit="simulated by solquery",
            )
        )
    return patches


#: regions that are made ahead, for each process
_AHEAD = 3


def _one(arguments: tuple[int, int, int, int | None]) -> list[Patch]:
    return simulate_region(*arguments)


def simulate(
    regions: int, frames: int, seed: int = 0, workers: int | None = None, keep: int | None = None
) -> Iterator[Patch]:
    """Frames of `regions` regions, in order, made by `workers` processes (default: all cores).

    The result depends on `seed`, `regions`, `frames` and `keep` (see `simulate_region`) alone, not on the number of
    workers.
    """
    if regions < 1:
        raise ValueError(f"at least 1 region is needed, got {regions}")
    jobs = [(seed, index, frames, keep) for index in range(regions)]
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1 or regions == 1:
        for job in jobs:
            yield from _one(job)
        return
    # not forked: a process that has opened an archive holds threads and locks that a fork would copy half-way
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        waiting: deque[Future[list[Patch]]] = deque()
        for job in jobs:
            waiting.append(pool.submit(_one, job))
            # an archive may take patches more slowly than they are made: all of them would fill the memory
            if len(waiting) >= _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
