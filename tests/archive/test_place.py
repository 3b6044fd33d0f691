"""Preset `physical`: a grid of fixed scale around the region, and the bend that stands for the clip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.archive.prepare import field_centre, place_on_grid, prepare, window_weights
from solquery.config import Preset, get_preset
from solquery.patch import Patch
from solquery.physics import measure
from solquery.simulator import simulate_region

PHYSICAL = get_preset("physical")
PIXEL = 0.364425
GRID = replace(PHYSICAL, shape=(16, 16), scale_mm=(2.0, 2.0))


def patch_of(field, scale=(PIXEL, PIXEL)):
    return Patch(np.asarray(field, np.float32), scale, "test", "TEST", "simulated")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 40), st.floats(0.2, 9.0), st.floats(-30.0, 60.0))
def test_each_input_pixel_gives_its_area_in_view_and_no_more(n, m, step, start):
    """Against the overlap of intervals, one by one."""
    weights = window_weights(n, m, step, start).toarray()
    assert weights.shape == (m, n)
    given_away = weights.sum(0) * step
    end = start + m * step
    expected = [max(0.0, min(k + 1, end) - max(k, start)) for k in range(n)]
    np.testing.assert_allclose(given_away, expected, atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 120), st.integers(3, 120), st.floats(0.1, 4.0), st.integers(0, 9))
def test_net_flux_is_kept_where_the_patch_fits_into_the_view(ny, nx, scale, seed):
    """Opposite signs may cancel within a coarse pixel; their sum may not change."""
    scale = min(scale, 32.0 / max(ny, nx))
    field = np.random.default_rng(seed).normal(20, 300, (ny, nx)).astype(np.float32)
    grid = place_on_grid(field, (scale, scale), GRID)
    assert grid.sum(dtype=np.float64) * 4.0 == pytest.approx(field.sum(dtype=np.float64) * scale**2, rel=1e-3, abs=1.0)


def test_what_is_shown_is_where_the_flux_is():
    """A spot far from the middle of a box that is larger than the view."""
    field = np.zeros((200, 400), np.float32)
    field[30:40, 320:330] = 1500.0
    grid = place_on_grid(field, (0.5, 0.5), GRID)  # the view is 64 pixels a side
    assert abs(grid).sum() * 4.0 == pytest.approx(abs(field).sum() * 0.25, rel=1e-4)
    y, x = field_centre(grid)
    assert (y, x) == pytest.approx((8.0, 8.0), abs=0.5)


def test_a_window_does_not_look_past_the_edge_while_there_is_field_to_show():
    field = np.full((200, 200), 50.0, np.float32)
    field[:4, :4] = 2000.0
    grid = place_on_grid(field, (0.5, 0.5), GRID)
    assert (grid > 0).all()


def test_a_small_patch_lies_wholly_in_view():
    field = np.zeros((20, 30), np.float32)
    field[0, 0], field[19, 29] = 900.0, -900.0
    field[:, :3] += 500.0  # most flux at one edge
    grid = place_on_grid(field, (0.5, 0.5), GRID)
    assert grid.sum(dtype=np.float64) * 4.0 == pytest.approx(field.sum(dtype=np.float64) * 0.25, rel=1e-5)


def test_noise_does_not_move_the_centre():
    rng = np.random.default_rng(4)
    field = np.zeros((300, 300), np.float32)
    field[90:110, 190:210] = 1200.0
    assert field_centre(field + rng.normal(0, 12, field.shape)) == pytest.approx((100.0, 200.0), abs=0.3)
    assert field_centre(rng.normal(0, 12, (40, 60))) == (20.0, 30.0)
    assert field_centre(np.full((4, 6), np.nan)) == (2.0, 3.0)


def test_pixels_may_be_oblong():
    field = np.zeros((64, 32), np.float32)
    field[20:44, 10:22] = 700.0  # 12 x 12 Mm
    grid = place_on_grid(field, (0.5, 1.0), GRID)
    assert abs(grid).sum() * 4.0 == pytest.approx(700.0 * 144.0, rel=1e-5)
    assert grid.max() == pytest.approx(700.0)


def test_a_known_bipole_is_measured_in_maxwell_and_megametres():
    """Two discs of 8 Mm radius, 1,500 G, 50 Mm apart at 20 degrees: by hand, to two per cent."""
    y, x = (np.mgrid[:400, :400] - 199.5) * PIXEL
    dy, dx = 25.0 * np.sin(np.radians(20)), 25.0 * np.cos(np.radians(20))
    field = 1500.0 * ((np.hypot(y - dy, x - dx) < 8).astype(float) - (np.hypot(y + dy, x + dx) < 8))
    grid = PHYSICAL.to_gauss(prepare(patch_of(field), PHYSICAL))
    found = {
        name: float(v[0]) for name, v in measure(grid, PHYSICAL.scale_mm, ["tuf", "psep", "tilt", "polarity"]).items()
    }
    assert found["tuf"] == pytest.approx(2 * 1500 * np.pi * 64 * 1e16, rel=0.02)
    assert found["psep"] == pytest.approx(50.0, rel=0.01)
    assert found["tilt"] == pytest.approx(20.0, abs=0.3)
    assert found["polarity"] == 1.0


def test_no_flux_is_lost_to_the_bend():
    """The issue's rule for the transform: what the grid holds, the network units hold too."""
    for index in range(6):
        for patch in simulate_region(31, index, 2):
            grid = place_on_grid(patch.field, patch.scale_mm, PHYSICAL)
            back = PHYSICAL.to_gauss(PHYSICAL.from_gauss(grid).astype(np.float16).astype(np.float32))
            assert abs(back).sum() == pytest.approx(abs(grid).sum(), rel=3e-3)


@given(st.floats(-6000.0, 6000.0))
def test_the_bend_is_undone(gauss):
    for value in (np.float64(gauss), torch.tensor(gauss, dtype=torch.float64)):
        units = PHYSICAL.from_gauss(value)
        assert abs(float(units)) <= PHYSICAL.limit
        assert float(PHYSICAL.to_gauss(units)) == pytest.approx(gauss, rel=1e-6, abs=1e-9)


def test_the_bend_begins_without_a_corner():
    at = np.array([2999.0, 3000.0, 3001.0, 3002.0])
    slopes = np.diff(PHYSICAL.from_gauss(at))
    np.testing.assert_allclose(slopes, 1e-3, rtol=1e-4)


def test_a_stretching_preset_has_no_scale():
    assert not get_preset("paper").physical and PHYSICAL.physical
    with pytest.raises(ValueError, match="no fixed scale"):
        place_on_grid(np.zeros((4, 4)), (1.0, 1.0), get_preset("paper"))


def test_a_patch_without_scale_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'test' has no scale"):
        prepare(patch_of(np.zeros((10, 10)), None), PHYSICAL)
    with pytest.raises(ValueError, match="Mm per pixel"):
        prepare(np.zeros((10, 10)), PHYSICAL)
    with pytest.raises(ValueError, match="positive Mm per pixel"):
        prepare(np.zeros((10, 10)), PHYSICAL, (0.0, 1.0))


def test_a_field_on_the_very_grid_needs_no_scale():
    field = np.random.default_rng(0).normal(0, 200, PHYSICAL.shape).astype(np.float32)
    np.testing.assert_allclose(prepare(field, PHYSICAL), field / 1000.0, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"knee_gauss": 5000.0}, {"scale_mm": (0.0, 1.0)}, {"unit_gauss": 0.0}, {"knee_gauss": -1.0}]
)
def test_impossible_presets_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Preset("wrong", clip_gauss=4000.0, **wrong)
