"""From the grid to the native scale: the curve, its band, and a model that speaks of it."""

import dataclasses
import json

import numpy as np
import pytest

from solquery.errors import SolqueryError
from solquery.model import Model
from solquery.steering.direct import steer
from solquery.steering.latents import SteeringWarning
from solquery.steering.native_fit import Pairs, band_coverage, fit_native, fit_pairs
from solquery.steering.native_scale import (
    NATIVE_KEY,
    NativeScale,
    measure_native,
    measure_native_latents,
    native_quantities,
)


def pairs(n=4000, seed=0, extra=0.0):
    """Grids that lose a fifth of what is weak and a twentieth of what is strong, with a tenth of scatter."""
    rng = np.random.default_rng(seed)
    grid = 10 ** rng.uniform(20, 22.5, n)
    loss = np.interp(np.log10(grid), [20, 22.5], [0.80, 0.95])
    return grid, grid / loss * np.exp(rng.normal(extra, 0.1, n))


def both(simulated=2000, real=60, off=0.0, scatter=0.1, seed=3):
    """Simulated pairs, and observed ones of a third as many regions that lie `off` above them (in the logarithm)."""
    rng = np.random.default_rng(seed)
    g, n = pairs(simulated, seed)
    g_real, _ = pairs(real, seed + 1)
    loss = np.interp(np.log10(g_real), [20, 22.5], [0.80, 0.95])
    of_region = np.repeat(rng.normal(off, scatter, real // 3), 3)
    n_real = g_real / loss * np.exp(of_region)
    region = [f"SIM {k // 5}" for k in range(simulated)] + [f"HARP {k // 3}" for k in range(real)]
    source = np.repeat(["simulated", "real"], [simulated, real])
    columns = np.concatenate([g, g_real]), np.concatenate([n, n_real])
    return Pairs({"tuf": columns[0]}, {"tuf": columns[1]}, np.array(region), source)


def test_the_known_loss_is_found_with_its_scatter():
    scale = NativeScale({"curves": {"tuf": fit_pairs(*pairs())}})
    for value, loss in ((10**20.25, 0.815), (10**21.25, 0.875), (10**22.25, 0.935)):
        found = scale.estimate("tuf", value)
        assert found.value == pytest.approx(value / loss, rel=0.02)
        assert found.low == pytest.approx(value / loss * np.exp(-0.097), rel=0.03)
        assert found.high == pytest.approx(value / loss * np.exp(0.097), rel=0.03)


def test_two_thirds_of_unseen_patches_lie_in_the_band():
    share, number = band_coverage(fit_pairs(*pairs()), *pairs(600, seed=1))
    assert number == 600
    assert 0.60 < share < 0.74


def test_unknown_and_empty_values_make_no_curve():
    grid, native = pairs(100)
    grid[:70] = np.nan
    assert fit_pairs(grid, native) is None
    assert fit_pairs(np.zeros(100), native) is None
    scale = NativeScale({"curves": {"tuf": fit_pairs(*pairs())}})
    assert scale.estimate("tuf", np.nan) is None and scale.estimate("psep", 4.0) is None
    assert NativeScale({}).estimate("tuf", 1e21) is None


def test_outside_its_range_it_says_so():
    scale = NativeScale({"curves": {"tuf": fit_pairs(*pairs())}})
    with pytest.warns(SteeringWarning, match="lies outside"):
        scale.warn_beyond({"tuf": 1e25})
    assert scale.estimate("tuf", 1e25).value == pytest.approx(1e25 / 0.95, rel=0.05)


def test_equal_values_on_the_grid_do_not_fold_the_curve():
    grid = np.repeat([1.0, 2.0], 100)
    curve = fit_pairs(grid, grid * 1.5)
    assert np.all(np.diff(curve["grid"]) > 0)
    assert NativeScale({"curves": {"tuf": curve}}).estimate("tuf", 1.5).value == pytest.approx(2.25)
    json.dumps(curve)


def test_none_on_the_grid_may_be_some_at_native_scale():
    grid, native = pairs(300)
    grid[:60], native[:60] = 0.0, np.linspace(0.0, 59.0, 60)
    curve = fit_pairs(grid, native)
    found = NativeScale({"curves": {"r": curve}}).estimate("r", 0.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(59.0 * 2 / 3, rel=0.02)
    # and zeros count among those in the band or not
    assert band_coverage(curve, np.zeros(3), np.array([0.0, 30.0, 50.0])) == (pytest.approx(2 / 3), 3)


@pytest.mark.parametrize("name", ["tuf", "net_flux", "tilt"])
def test_the_way_back_is_the_inverse_and_the_slope_its_derivative(name):
    rng = np.random.default_rng(2)
    grid = {
        "tuf": 10 ** rng.uniform(20, 22, 800),
        "net_flux": rng.normal(0, 1e21, 800),
        "tilt": rng.uniform(-80, 80, 800),
    }
    grid = grid[name]
    native = {"tuf": grid * 1.3, "net_flux": 0.9 * grid, "tilt": grid + rng.normal(0, 3, 800)}[name]
    scale = NativeScale({"curves": {name: fit_pairs(grid, native, name)}})
    at = np.linspace(*np.quantile(grid, [0.05, 0.95]), 41)
    there = scale.to_native(name, at)
    assert np.all(np.diff(there) > 0)
    np.testing.assert_allclose(scale.to_grid(name, there), at, rtol=1e-9)
    step = 1e-6 * np.ptp(at)
    slope = (scale.to_native(name, at + step) - scale.to_native(name, at - step)) / (2 * step)
    np.testing.assert_allclose(scale.slope(name, there), slope, rtol=1e-3)


def test_a_tilt_is_compared_round_the_circle():
    grid = np.linspace(-89.0, 89.0, 400)
    native = np.where(grid > 87, grid + 4 - 180, grid + 4)
    curve = fit_pairs(grid, native, "tilt")
    assert curve["kind"] == "linear"
    scale = NativeScale({"curves": {"tilt": curve}})
    assert float(scale.to_native("tilt", 10.0)) == pytest.approx(14.0, abs=0.2)
    assert float(scale.to_native("tilt", 88.5)) == 90.0
    assert band_coverage(curve, grid, native, "tilt")[0] > 0.6


def test_bands_hold_for_observed_regions_that_were_not_seen():
    """Observed patches lie a quarter above the simulated ones and scatter by region: bands must still hold for them."""
    record = fit_native(both(real=90, off=0.22, scatter=0.05))
    found = record["curves"]["tuf"]["coverage"]
    assert found["real"]["patches"] == 90
    assert found["real"]["regions"] == 30
    assert 0.55 <= found["real"]["share"] <= 0.80
    value = NativeScale(record).estimate("tuf", 1e21).value
    loss = np.interp(21.0, [20, 22.5], [0.80, 0.95])
    assert value == pytest.approx(1e21 / loss * np.exp(0.22), rel=0.06)
    assert record["fitted_on"] == {
        "real": {"patches": 90, "regions": 30},
        "simulated": {"patches": 2000, "regions": 400},
    }


def test_a_few_regions_that_lie_far_off_move_neither_the_curve_nor_the_band():
    """As other regions in the box of an observed frame do: three of twenty regions have a quarter of their flux."""
    found = {}
    for off in (1.0, 0.25):
        sample = both(scatter=0.03)
        of_three = np.isin(sample.region, ["HARP 2", "HARP 7", "HARP 12"])
        sample.native["tuf"][of_three] *= off
        found[off] = NativeScale(fit_native(sample)).estimate("tuf", 10**21.25)
    assert found[0.25].value == pytest.approx(10**21.25 / 0.875, rel=0.04)
    assert found[0.25].high == pytest.approx(found[1.0].high, rel=0.06)


def test_what_observed_patches_vary_more_is_added_to_a_band_and_does_not_multiply_it():
    """Simulated bands of 2 % that widen to 30 % for the strongest; observed patches vary by a tenth more everywhere."""
    rng = np.random.default_rng(4)
    grid = 10 ** rng.uniform(20, 22.5, 3060)
    scatter = np.interp(np.log10(grid), [20, 22.2, 22.5], [0.02, 0.02, 0.3])
    of_region = np.concatenate([np.zeros(3000), np.repeat(rng.normal(0, 0.1, 30), 2)])
    native = grid * np.exp(scatter * rng.standard_normal(3060) + of_region)
    region = [f"SIM {k // 5}" for k in range(3000)] + [f"HARP {k // 2}" for k in range(60)]
    sample = Pairs({"tuf": grid}, {"tuf": native}, np.array(region), np.repeat(["simulated", "real"], [3000, 60]))
    scale = NativeScale(fit_native(sample))
    middle, strong = (scale.estimate("tuf", value) for value in (10**21.0, 10**22.45))
    assert 0.05 < np.log(middle.high / middle.value) < 0.2
    assert 0.15 < np.log(strong.high / strong.value) < 0.45


def test_without_observed_patches_the_band_is_that_of_the_simulated_ones():
    simulated = both(real=0)
    record = fit_native(simulated)
    assert set(record["fitted_on"]) == {"simulated"}
    assert 0.62 < record["curves"]["tuf"]["coverage"]["simulated"]["share"] < 0.72
    # the same curve misses regions of another kind, and says how often
    curve, other = record["curves"]["tuf"], both(simulated=0, real=90, off=0.4, scatter=0.02)
    assert band_coverage(curve, other.grid["tuf"], other.native["tuf"])[0] < 0.2


def test_a_handful_of_patches_is_refused():
    with pytest.raises(SolqueryError, match="at least 40"):
        fit_native(both(simulated=20, real=0))


def test_curves_as_they_were_kept_before_are_read():
    old = {"range": [1.0, 4.0], "grid": [1.0, 4.0], "middle": [1.5, 1.2], "low": [1.2, 1.1], "high": [2.0, 1.3]}
    found = NativeScale({"curves": {"tuf": old}}).estimate("tuf", 1.0)
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.2, 2.0), rel=1e-5)


@pytest.fixture(scope="module")
def calibrated():
    """The model that ships, with a calibration by which every flux of the grid is 1.25 times as large."""
    from solquery import Model

    model = Model.load("physical").on_grid()
    curve = {"kind": "log", "range": [1e19, 1e23], "grid": [1e19, 1e23], "native": [1.25e19, 1.25e23],
             "low": [1.0e19, 1.0e23], "high": [1.5e19, 1.5e23]}  # fmt: skip
    model.metadata[NATIVE_KEY] = {"curves": {"tuf": curve | {"coverage": {"real": {"share": 0.7}}}}}
    return model


def test_a_calibrated_model_is_asked_and_answers_at_native_scale(calibrated):
    from solquery import generate

    (answer,) = generate(calibrated, {"tuf": "1e22 Mx"}, seed=1)
    assert answer.verdict == "met"
    assert answer.measured["tuf"] == pytest.approx(1e22, rel=0.1)
    assert answer.grid["tuf"] == pytest.approx(answer.measured["tuf"] / 1.25)
    gauss = calibrated.preset.to_gauss(answer.x)
    area_cm2 = np.prod(calibrated.preset.scale_mm) * 1e16
    assert np.abs(gauss).sum() * area_cm2 == pytest.approx(answer.grid["tuf"], rel=1e-5)
    told = native_quantities(calibrated, answer.grid)
    assert told["tuf"]["value"] == pytest.approx(answer.measured["tuf"])
    assert told["tuf"]["low"] == pytest.approx(answer.grid["tuf"])
    assert told["tuf"]["coverage"] == {"real": 0.7}
    assert told["tuf"]["grid"]["value"] == pytest.approx(answer.grid["tuf"])
    assert "low" not in told["psep"]
    # what is made of others is made of their native values
    assert told["imbalance"]["value"] == pytest.approx(answer.measured["imbalance"])


def test_words_reach_and_edits_are_at_native_scale_too(calibrated):
    from solquery import parse_description
    from solquery.steering import latent_traversal, reach, steer

    bare = calibrated.on_grid()
    assert bare.native_scale is None
    for ask in (
        lambda m: parse_description("strong", m.directions)["tuf"].value,
        lambda m: reach(m.directions, "tuf")[1],
        lambda m: latent_traversal(m, np.ones(m.directions.latent_dim), "tuf").values["tuf"][-1],
        lambda m: steer(m, np.ones(m.directions.latent_dim)).measured["tuf"],
        lambda m: m.directions.spread("tuf"),
    ):
        assert ask(calibrated) == pytest.approx(1.25 * ask(bare), rel=1e-6)
    assert calibrated.native(np.ones(calibrated.preset.shape), "tuf")["tuf"] == pytest.approx(
        1.25 * calibrated.measure(np.ones(calibrated.preset.shape), "tuf")["tuf"]
    )
    np.testing.assert_array_equal(calibrated.directions.tensors()["medians"], bare.directions.tensors()["medians"])


def test_the_calibration_is_kept_with_the_model_and_its_directions_stay_those_of_the_grid(calibrated, tmp_path):
    from solquery import Model

    before = calibrated.directions.quantile("tuf", 50)
    calibrated.directions = dataclasses.replace(calibrated.directions)  # a native one is taken for its grid's
    again = Model.load(calibrated.save(tmp_path / "model"))
    assert again.directions.quantile("tuf", 50) == pytest.approx(before, rel=1e-6)
    assert again.directions.on_grid.quantile("tuf", 50) == pytest.approx(before / 1.25, rel=1e-6)


def test_a_ratio_of_fluxes_is_that_of_the_fluxes_however_it_is_asked_for():
    """Imbalance has a direction and is made of two fluxes: alone, among all, edited and held it is one number."""
    model = Model.load("physical")
    scale, directions = model.native_scale, model.directions
    assert scale.made_of_others(directions.names) == ("imbalance",)
    z = np.random.default_rng(5).standard_normal(directions.latent_dim)
    here = steer(model, z)
    wanted = abs(here.measured["net_flux"]) / here.measured["tuf"]
    assert abs(wanted / here.grid["imbalance"] - 1) > 0.05  # the curves of both fluxes differ
    latents = measure_native_latents(model, z[None], ["imbalance"])
    alone, among = measure_native(model, here.x, "imbalance"), measure_native(model, here.x)
    assert set(latents) == set(alone) == {"imbalance"}
    for found in (latents, alone, among):
        np.testing.assert_allclose(found["imbalance"], wanted, rtol=1e-4)
    np.testing.assert_allclose(here.measured["imbalance"], wanted)
    held = steer(model, z, {"psep": 1.1 * here.measured["psep"]}, ["imbalance"], exact=False)
    np.testing.assert_allclose(held.held["imbalance"], wanted, rtol=1e-4)
    # what is said of the population is of the same numbers
    table = directions.table.values
    known = np.abs(table["net_flux"]) / table["tuf"]
    known[np.isnan(table["psep"])] = np.nan
    np.testing.assert_allclose(table["imbalance"], known)
    for percent in (40, 60, 90):
        assert directions.quantile("imbalance", percent) == pytest.approx(np.nanpercentile(known, percent), rel=0.1)
