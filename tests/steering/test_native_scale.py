"""From the grid to the native scale: the curve, its band, and what a model does with it."""

import json

import numpy as np
import pytest

from solquery.errors import SolqueryError
from solquery.steering.latents import SteeringWarning
from solquery.steering.native_scale import fit_native, fit_pairs, native_estimates


def pairs(n=4000, seed=0):
    """Grids that lose a fifth of what is weak and a twentieth of what is strong, with a tenth of scatter."""
    rng = np.random.default_rng(seed)
    grid = 10 ** rng.uniform(20, 22.5, n)
    loss = np.interp(np.log10(grid), [20, 22.5], [0.80, 0.95])
    return grid, grid / loss * np.exp(rng.normal(0, 0.1, n))


def test_the_known_loss_is_found_with_its_scatter():
    curve = fit_pairs(*pairs())
    record = {"curves": {"tuf": curve}}
    for value, loss in ((10**20.25, 0.815), (10**21.25, 0.875), (10**22.25, 0.935)):
        found = native_estimates(record, {"tuf": value})["tuf"]
        assert found["value"] == pytest.approx(value / loss, rel=0.02)
        assert found["low"] == pytest.approx(value / loss * np.exp(-0.1), rel=0.03)
        assert found["high"] == pytest.approx(value / loss * np.exp(0.1), rel=0.03)


def test_two_thirds_of_unseen_patches_lie_in_the_band():
    record = {"curves": {"tuf": fit_pairs(*pairs())}}
    inside = 0
    grid, native = pairs(300, seed=1)
    for g, n in zip(grid, native, strict=True):
        found = native_estimates(record, {"tuf": g})["tuf"]
        inside += found["low"] <= n <= found["high"]
    assert 0.6 < inside / 300 < 0.76


def test_unknown_and_empty_values_make_no_curve():
    grid, native = pairs(100)
    grid[:70] = np.nan
    assert fit_pairs(grid, native) is None
    assert fit_pairs(np.zeros(100), native) is None
    record = {"curves": {"tuf": fit_pairs(*pairs())}}
    assert native_estimates(record, {"tuf": np.nan, "psep": 4.0}) == {}
    assert native_estimates(None, {"tuf": 1e21}) == {}


def test_outside_its_range_it_says_so():
    record = {"curves": {"tuf": fit_pairs(*pairs())}}
    with pytest.warns(SteeringWarning, match="lies outside"):
        found = native_estimates(record, {"tuf": 1e25})["tuf"]
    assert found["value"] == pytest.approx(1e25 / 0.95, rel=0.05)


def test_equal_values_on_the_grid_do_not_fold_the_curve():
    grid = np.repeat([1.0, 2.0], 100)
    curve = fit_pairs(grid, grid * 1.5)
    assert np.all(np.diff(curve["grid"]) > 0)
    assert native_estimates({"curves": {"tuf": curve}}, {"tuf": 1.5})["tuf"]["value"] == pytest.approx(2.25)
    json.dumps(curve)


def test_an_archive_that_was_not_measured_on_the_grid_is_refused(tmp_path):
    from solquery.archive.store import Archive

    with pytest.raises(SolqueryError, match="embed it first"):
        fit_native(Archive.create(str(tmp_path / "empty")), "physical")


def test_coverage_is_counted_on_patches_that_the_curve_has_not_seen():
    from solquery.steering.native_scale import _measured_coverage, band_coverage

    grid, native = pairs(3000)
    regions = np.array([f"R {k // 5}" for k in range(3000)])
    source = np.where(np.arange(3000) % 3 == 0, "real", "simulated")
    found = _measured_coverage(grid, native, regions, source)
    assert found["real"]["patches"] == 1000
    assert 0.6 < found["real"]["share"] < 0.76
    # real patches lose more than the simulated ones that the curve is made of
    off = np.where(source == "real", native * 1.5, native)
    share, number = band_coverage(fit_pairs(grid[source != "real"], native[source != "real"]), grid, off)
    assert number == 3000
    assert share < 0.55
    assert _measured_coverage(grid, off, regions, source)["real"]["share"] < 0.7


def test_an_estimate_says_how_often_observed_patches_lie_in_its_band():
    curve = fit_pairs(*pairs())
    record = {"curves": {"tuf": {**curve, "coverage": {"real": {"share": 0.42, "patches": 30}}}}}
    assert native_estimates(record, {"tuf": 1e21})["tuf"]["coverage_real"] == 0.42
    assert "coverage_real" not in native_estimates({"curves": {"tuf": curve}}, {"tuf": 1e21})["tuf"]
