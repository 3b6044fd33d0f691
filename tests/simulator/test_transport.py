"""Flux elements in convection: what is conserved, how fast things spread, and where flux collects."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from solquery.simulator.constants import RATES
from solquery.simulator.convection import Cells, sweep
from solquery.simulator.elements import Elements, cancel, clear_moats, density, deposit, push
from solquery.simulator.evolution import Evolution
from solquery.simulator.population import draw_region


def _push(y, x, hours, walk, goal=None, field=None, goals=None, speed=0.0, diffusivity=0.0):
    n = len(y)
    still = np.zeros(n)
    goals = goals or (np.zeros(1), np.zeros(1))
    push(
        y, x, np.zeros(n), np.full(n, -1) if goal is None else goal, still, still,
        np.zeros((4, 4), np.float32) if field is None else field, 100.0, 260.0, 600.0, *goals, 1e9, speed, hours,
        still, still, still, still, *walk, float(np.sqrt(2 * diffusivity * hours)),
    )  # fmt: skip


def test_a_tracer_diffuses_at_the_stated_rate():
    """Without flow and quenching the variance along each axis grows by 2 D t."""
    rng = np.random.default_rng(0)
    y, x = np.full(20000, 200.0), np.full(20000, 200.0)
    for _ in range(25):
        _push(y, x, 2.0, rng.standard_normal((2, 20000)), diffusivity=RATES.granular_diffusivity)
    wanted = 2 * RATES.granular_diffusivity * 50.0
    assert y.var() == pytest.approx(wanted, rel=0.04) and x.var() == pytest.approx(wanted, rel=0.04)


def test_strong_field_slows_the_walk():
    rng = np.random.default_rng(0)
    spread = []
    for gauss in (0.0, 600.0):
        y, x = np.full(5000, 200.0), np.full(5000, 200.0)
        _push(y, x, 1.0, rng.standard_normal((2, 5000)), field=np.full((4, 4), gauss, np.float32), diffusivity=1.0)
        spread.append(y.var())
    assert spread[1] == pytest.approx(spread[0] / 2, rel=0.1)  # halved at the quenching field of mesogranules


def test_migration_ends_at_the_goal():
    y, x = np.full(10, 5.0), np.linspace(0, 90, 10)
    goal = np.zeros(10, np.int64)
    for _ in range(120):
        _push(y, x, 1.0, np.zeros((2, 10)), goal=goal, goals=(np.array([40.0]), np.array([50.0])), speed=1.8)
    assert y == pytest.approx(40.0, abs=1e-3) and x == pytest.approx(50.0, abs=1e-3)


def test_the_nearest_cell_drives_the_flow():
    """Away from the centre of the nearest cell everywhere, at most as fast as stated."""
    rng = np.random.default_rng(1)
    cells = Cells(120.0, 160.0, 29.0, 30.0, 1.4, rng)
    y, x = rng.uniform(0, 120, 4000), rng.uniform(0, 160, 4000)
    vy, vx = cells.velocity(y, x)
    centres = np.column_stack([cells.y.ravel(), cells.x.ravel()])
    _, nearest = cKDTree(centres).query(np.column_stack([y, x]))
    outward = vy * (y - centres[nearest, 0]) + vx * (x - centres[nearest, 1])
    assert (outward > 0).mean() > 0.99  # the few others lie where a cell has strayed far from its site
    assert np.hypot(vy, vx).max() <= 1.4 * cells.strength.max() * (1 + 1e-9)
    assert np.median(np.hypot(vy, vx)) > 0.5


def test_flux_collects_on_the_borders_of_cells():
    rng = np.random.default_rng(2)
    cells = Cells(100.0, 100.0, 29.0, 1e9, 1.4, rng)
    y, x = rng.uniform(20, 80, 3000), rng.uniform(20, 80, 3000)

    def from_border(y, x):
        """Distance to the border between the two nearest centres, Mm."""
        centres = np.column_stack([cells.y.ravel(), cells.x.ravel()])
        d, i = cKDTree(centres).query(np.column_stack([y, x]), k=2)
        return (d[:, 1] ** 2 - d[:, 0] ** 2) / (2 * np.linalg.norm(centres[i[:, 0]] - centres[i[:, 1]], axis=1))

    before = from_border(y, x)
    for _ in range(60):
        vy, vx = cells.velocity(y, x)
        y, x = y + 0.5 * vy, x + 0.5 * vx
    after = from_border(y, x)
    assert np.median(before) > 4.0 and np.median(after) < 0.6
    # granules: half of the way, or all of it
    cells = Cells(100.0, 100.0, 3.0, 1.0, 0.0, rng)
    start = from_border(y, x)
    half = from_border(*sweep(y, x, cells.y, cells.x, cells.y0, cells.x0, 3.0, 0.5))
    whole = from_border(*sweep(y, x, cells.y, cells.x, cells.y0, cells.x0, 3.0, 1.0))
    assert np.median(half) == pytest.approx(np.median(start) / 2, rel=0.05)
    assert np.median(whole) < 1e-3


def test_cells_are_renewed_with_their_lifetime():
    rng = np.random.default_rng(3)
    cells = Cells(200.0, 200.0, 10.0, 20.0, 1.0, rng)
    before = cells.y.copy()
    cells.advance(10.0, rng)
    assert (cells.y != before).mean() == pytest.approx(1 - np.exp(-0.5), abs=0.06)


def test_cancellation_takes_as_much_of_either_sign():
    rng = np.random.default_rng(4)
    y, x = rng.uniform(0, 20, 500), rng.uniform(0, 20, 500)
    flux = rng.choice([-1e18, 2e18], 500)
    before = flux.copy()
    gone = cancel(y, x, flux, np.full(500, 99.0), 14.0, 0.1, 1.1, 0.4, 20.0, 20.0, 0.3, 0.7)
    assert flux.sum() == pytest.approx(before.sum(), abs=1e6)
    assert np.abs(before).sum() - np.abs(flux).sum() == pytest.approx(gone, rel=1e-9) and gone > 0
    assert (np.sign(flux) == np.sign(before)).all()


def test_young_flux_cancels_slower():
    kept = []
    for age in (0.0, 99.0):
        flux = np.array([1e18, -1e18])
        cancel(np.full(2, 5.0), np.full(2, 5.0), flux, np.full(2, age), 14.0, 0.1, 1.1, 0.4, 20.0, 20.0, 0.0, 0.0)
        kept.append(flux[0])
    assert kept[1] == pytest.approx(0.6e18) and 0.6e18 < kept[0] < 1e18


def test_deposit_keeps_flux_and_place():
    plane = deposit(np.array([3.3]), np.array([7.9]), np.array([5e18]), 20, 30, 0.5, 0.0, 0.0).astype(float)
    assert plane.sum() == pytest.approx(5e18, rel=1e-6)
    rows, columns = np.indices(plane.shape)
    assert (plane * (rows + 0.5) * 0.5).sum() / plane.sum() == pytest.approx(3.3, abs=1e-5)
    assert (plane * (columns + 0.5) * 0.5).sum() / plane.sum() == pytest.approx(7.9, abs=1e-5)


def test_density_is_the_mean_field():
    elements = Elements()
    rng = np.random.default_rng(5)
    elements.add(rng.uniform(0, 40, 4000), rng.uniform(0, 60, 4000), np.full(4000, 1.2e18))
    mean = density(elements, 40.0, 60.0)[5:-5, 5:-5].mean()
    assert mean == pytest.approx(4000 * 1.2e18 / (40 * 60 * 1e16), rel=0.06)


def test_spots_take_in_their_own_and_keep_the_moat_clear():
    y, x = np.array([50.0, 50.0, 50.0]), np.array([52.0, 56.0, 51.0])
    flux = np.array([1e18, 1e18, -1e18])
    gain = np.zeros(1)
    gone = clear_moats(
        y, x, flux, np.array([3, -1, -1]), np.array([1.0, 99.0, 99.0]), 40.0, np.array([50.0]), np.array([50.0]),
        np.array([6.0]), np.array([1.0]), np.array([3]), 1.6, 1.0, gain,
    )  # fmt: skip
    assert gain[0] == 0.0 and gone == 2e18  # its own was taken in, and as much of the other sign
    assert flux.tolist() == [0.0, 1e18, 0.0]
    assert x[1] > 56.5  # what is no part of it is carried outward


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_net_flux_is_conserved_through_a_region_s_life(seed):
    plan = draw_region(np.random.default_rng(seed))
    evolution = Evolution(plan, np.random.default_rng(seed))
    before = evolution.net_mx
    evolution.advance(90.0, 3.0)
    unsigned = np.abs(evolution.elements.flux_mx).sum() + sum(s.flux_mx for s in evolution.spots)
    assert evolution.born_mx > 0
    assert abs(evolution.net_mx - before) < 1e-9 * (unsigned + evolution.born_mx)


def test_emerged_flux_is_that_of_the_plan():
    plan = draw_region(np.random.default_rng(2))
    evolution = Evolution(plan, np.random.default_rng(2))
    last = max(b.emerges_h + b.rise_h for b in plan.bipoles)
    evolution.advance(last + 1.0, 3.0)
    assert evolution.born_mx == pytest.approx(sum(2 * b.flux_mx for b in plan.bipoles), rel=0.06)
