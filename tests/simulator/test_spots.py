"""Spots: flux, peak, penumbra, and inversion lines between touching umbrae."""

import numpy as np
import pytest

from solquery.simulator.constants import PIXEL_MM, PIXEL_MX
from solquery.simulator.population import SpotPlan
from solquery.simulator.spots import draw_spots, spot_peak_gauss, spot_width_mm
from solquery.simulator.state import SpotState


def spot(y, x, flux_mx, sign, steepness=1.7, bridges=()):
    plan = SpotPlan(
        1.0,
        np.zeros(2),
        np.zeros((0, 3)),
        1.0,
        0.0,
        1.0,
        steepness,
        np.zeros((0, 3)) if not bridges else np.array(bridges),
    )
    return SpotState(y, x, flux_mx, sign, plan, 0, 1, 100.0, 0.0)


def draw(spots, shape=(240, 300), shear=0.0, seed=0):
    return draw_spots(shape, (0.0, 0.0), spots, shear, np.random.default_rng(seed))


@pytest.mark.parametrize("flux_mx", [2e20, 1e21, 6e21])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_spot_has_its_flux_and_peak(flux_mx, sign):
    field = draw([spot(45.0, 55.0, flux_mx, sign)])[0].astype(float)
    # the penumbra's edge cuts the wings of the profile, more of a small spot
    assert sign * field.sum() * PIXEL_MX == pytest.approx(flux_mx, rel=0.25)
    assert (sign * field).max() == pytest.approx(spot_peak_gauss(flux_mx), rel=0.1)
    assert (sign * field).min() > -60.0
    rows, columns = np.indices(field.shape)
    assert (field * rows).sum() / field.sum() * PIXEL_MM == pytest.approx(45.0, abs=0.5)
    assert (field * columns).sum() / field.sum() * PIXEL_MM == pytest.approx(55.0, abs=0.5)


def test_umbrae_are_stronger_in_larger_spots():
    peaks = [spot_peak_gauss(f) for f in (3e19, 3e20, 3e21, 3e22)]
    assert peaks == sorted(peaks) and peaks[0] >= 1300 and peaks[-1] <= 3000.0 and peaks[2] > 2200
    assert spot_width_mm(4e21, 2.0) > 2 * spot_width_mm(5e20, 2.0) and spot_width_mm(0.0, 2.0) == 0.0


def test_the_penumbra_is_woven_and_its_field_lies_down():
    field, horizontal_y, horizontal_x, cover = draw([spot(45.0, 55.0, 6e21, 1)])
    r = np.hypot(*(np.indices(field.shape) * PIXEL_MM - np.array([45.0, 55.0])[:, None, None]))
    width = spot_width_mm(6e21, 1.7)
    ring = (r > 0.9 * width) & (r < 1.1 * width)
    umbra = r < 0.2 * width
    horizontal = np.hypot(horizontal_y, horizontal_x)
    assert 300.0 < field[ring].mean() < 1200.0
    assert field[ring].std() / field[ring].mean() > 2 * field[umbra].std() / field[umbra].mean()
    assert horizontal[ring].mean() > 600.0 > horizontal[umbra].mean()
    # outward for a positive spot
    dy, dx = np.indices(field.shape) * PIXEL_MM - np.array([45.0, 55.0])[:, None, None]
    assert ((horizontal_y * dy + horizontal_x * dx)[ring] > 0).mean() > 0.97
    assert cover[umbra].min() > 0.95 and cover[r > 3 * width].max() < 0.1


def test_touching_umbrae_make_a_steep_inversion_line():
    """Mean gradient on the line about 190 G/Mm in strong regions; shear turns the horizontal field along it."""
    width = spot_width_mm(4e21, 1.7)
    pair = [spot(45.0, 55.0 - 0.8 * width, 4e21, 1), spot(45.0, 55.0 + 0.8 * width, 4e21, -1)]
    field, _, across, _ = draw(pair)
    middle = np.s_[
        int((45 - 3) / PIXEL_MM) : int((45 + 3) / PIXEL_MM), int((55 - 1) / PIXEL_MM) : int((55 + 1) / PIXEL_MM)
    ]
    gradient = np.abs(np.gradient(field, PIXEL_MM, axis=1))[middle]
    assert 120.0 < np.median(gradient) < 700.0
    assert np.median(across[middle]) > 500.0  # from plus (east) to minus (west)
    _, along, across, _ = draw(pair, shear=1.3)
    assert np.median(np.abs(along[middle])) > np.median(np.abs(across[middle]))


def test_light_bridges_weaken_the_umbra():
    plain = draw([spot(45.0, 55.0, 5e21, 1)])[0]
    bridged = draw([spot(45.0, 55.0, 5e21, 1, bridges=[(0.0, 0.0, 0.0)])])[0]
    row, column = int(45 / PIXEL_MM), int(55 / PIXEL_MM)
    assert bridged[row, column] < 0.65 * plain[row, column]
    assert bridged[row + 10, column] == pytest.approx(plain[row + 10, column], rel=0.05)


def test_spots_outside_the_box_draw_nothing():
    assert draw([spot(500.0, 500.0, 5e21, 1)]) is None and draw([]) is None
