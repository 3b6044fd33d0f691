"""The share of a region's flux that the grid of a preset does not show."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.archive import Archive
from solquery.archive.prepare import field_centre, place_on_grid
from solquery.archive.view import MARKED_SHARE, caveats_on_grid, flux_outside_view, shares_outside_view
from solquery.config import get_preset
from solquery.patch import Patch
from solquery.sharp import write_fits

PHYSICAL = get_preset("physical")
GRID = replace(PHYSICAL, name="small", shape=(12, 24), scale_mm=(2.0, 2.0))


def patch_of(field, patch_id="test", scale=(1.0, 1.0)):
    return Patch(np.asarray(field, np.float32), scale, patch_id, f"SIM {patch_id}", "simulated")


def test_of_an_even_field_what_is_beyond_the_view_is_lost():
    field = np.full((20, 96), 500.0)  # 96 Mm in a view of 48
    assert flux_outside_view(field, (1.0, 1.0), GRID) == pytest.approx(0.5)
    assert flux_outside_view(field[:, :48], (1.0, 1.0), GRID) == 0.0
    assert flux_outside_view(field, (2.0, 0.5), GRID) == pytest.approx(1 - 24 / 40)
    # what is weak is not counted
    field[:, 48:] = 99.0
    assert flux_outside_view(field, (1.0, 1.0), GRID) < 1e-12
    assert flux_outside_view(np.full((20, 96), 80.0), (1.0, 1.0), GRID) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 60), st.integers(5, 110), st.floats(0.4, 3.0), st.integers(0, 99))
def test_it_is_what_the_grid_lacks(ny, nx, scale, seed):
    random = np.random.default_rng(seed)
    field = random.normal(0, 400, (ny, nx)).astype(np.float32)
    strong = np.where(abs(field) > 100, abs(field), 0).astype(np.float32)
    placed = place_on_grid(strong, (scale, scale), GRID, field_centre(field)).sum(dtype=np.float64) * 4.0
    total = strong.sum(dtype=np.float64) * scale**2
    assert flux_outside_view(field, (scale, scale), GRID) == pytest.approx(1 - placed / total, abs=2e-4)


def test_presets_that_stretch_lose_nothing_and_a_missing_scale_is_not_known():
    field = np.full((20, 96), 500.0)
    assert flux_outside_view(field, None, get_preset("quick")) == 0.0
    assert np.isnan(flux_outside_view(field, None, GRID))
    field[:, ::2] = np.nan
    assert flux_outside_view(field, (1.0, 1.0), GRID) == pytest.approx(0.5)


def test_the_shares_of_an_archive_are_those_of_its_patches(tmp_path):
    fields = [np.full((20, nx), 500.0) for nx in (30, 96, 60)]
    archive = Archive.create(tmp_path / "archive")
    archive.add([patch_of(field, f"p{k}") for k, field in enumerate(fields)])
    archive.add([patch_of(fields[0], "bare", None)])
    shares = shares_outside_view(archive, ["p2", "p0", "bare", "p1"], GRID)
    np.testing.assert_allclose(shares, [0.2, 0.0, np.nan, 0.5], atol=1e-6)
    assert not shares_outside_view(archive, ["p1", "bare"], get_preset("tiny")).any()


def test_a_patch_is_marked_from_three_in_a_hundred_on(tmp_path):
    cut, whole = patch_of(np.full((20, 96), 500.0)), patch_of(np.full((20, 49), 500.0))
    (mark,) = [c for c in caveats_on_grid(cut, GRID) if c.name == "view"]
    assert "preset small: 50% of the flux" in mark.text
    assert flux_outside_view(whole.field, whole.scale_mm, GRID) < MARKED_SHARE
    assert "view" not in [c.name for c in caveats_on_grid(whole, GRID)]
    path = write_fits(cut, tmp_path / "cut.fits", limits=caveats_on_grid(cut, GRID))
    header = fits.getheader(path)
    assert "view" in header["CAVEATS"] and "50% of the flux" in str(header["COMMENT"])
    assert "view" not in fits.getheader(write_fits(cut, tmp_path / "plain.fits")).get("CAVEATS", "")
