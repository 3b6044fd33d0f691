import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from solquery.config import get_preset
from solquery.physics import UnknownParameter, measure
from solquery.steering import (
    Directions,
    LatentTable,
    NoDirection,
    SteeringError,
    SteeringWarning,
    fit_directions,
    measure_latents,
    render,
    sample_latents,
)
from solquery.steering.calibration import calibrate, invert_calibration, percentile_of, quantile_grid
from solquery.steering.entanglement import spreads


def test_sample_holds_what_is_measured_on_the_patches(bipoles, table):
    preset = get_preset("tiny")
    x = render(bipoles, table.z[:70], preset.shape)
    expected = measure(preset.to_gauss(x[:, 0]), None, ["tuf", "psep", "polarity"])
    for name, values in expected.items():
        np.testing.assert_allclose(table.values[name][:70], values.numpy(), rtol=1e-6)


def test_sample_depends_on_the_seed_alone(bipoles, table):
    preset = get_preset("tiny")
    torch.manual_seed(99)
    again = sample_latents(bipoles, preset, n=3000, seed=3, names=["tuf"], batch=17)
    np.testing.assert_array_equal(again.z, table.z)
    np.testing.assert_allclose(again.values["tuf"], table.values["tuf"], rtol=1e-6)
    assert not np.array_equal(sample_latents(bipoles, preset, n=3000, seed=4, names=[]).z, table.z)


@pytest.mark.parametrize(("name", "axis"), [("tuf", 0), ("psep", 1), ("polarity", 2), ("tilt", 3)])
def test_normals_point_along_the_true_axes(directions, name, axis):
    normal = directions.normal(name)
    assert normal[axis] > 0.97
    assert np.linalg.norm(normal) == pytest.approx(1.0, abs=1e-6)


def test_polarity_is_learned_with_both_spots_known(directions):
    k = directions.index("polarity")
    assert directions.accuracies[k] > 0.98
    assert directions.medians[k] == 0.0
    # spots below 150 G: neither leads, those patches are left out
    assert directions.dropped[k] > 0


def test_intercept_puts_the_median_on_the_boundary(table, directions):
    above = directions.position(table.z, "psep") > 0
    known = np.isfinite(table.values["psep"])
    agree = above == (table.values["psep"] > directions.medians[directions.index("psep")])
    assert agree[known].mean() > 0.95
    assert directions.position(table.z[0], "psep").shape == ()


def test_shifted_threshold_shows_in_the_intercept():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 5)).astype(np.float32)
    # a sign that flips at z0 = 1, not at 0
    fitted = fit_directions(LatentTable(z, {"polarity": np.where(z[:, 0] > 1.0, 1.0, -1.0)}))
    assert fitted.intercepts[0] == pytest.approx(-1.0, abs=0.1)


def test_entangled_parameters_have_the_cosine_of_their_axes():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(8000, 6)).astype(np.float32)
    angle = np.deg2rad(60)
    values = {"tuf": z[:, 0].astype(float), "psep": (np.cos(angle) * z[:, 0] + np.sin(angle) * z[:, 1]).astype(float)}
    cosines = fit_directions(LatentTable(z, values)).cosines()
    assert cosines[0, 1] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.diag(cosines), 1.0, atol=1e-6)


def test_held_directions_are_orthogonal(directions):
    held = ["psep", "polarity", "r", "tilt"]
    with pytest.warns(SteeringWarning, match="of the direction of tuf"):  # r says nearly what flux does here
        normal = directions.normal("tuf", held)
    for name in held:
        assert abs(float(normal @ directions.normal(name))) < 1e-6
    assert float(normal @ directions.normal("tuf")) > 0
    np.testing.assert_array_equal(directions.normal("psep", "r"), directions.normal("psep", ["r"]))


def test_what_is_nearly_dependent_is_named(directions):
    """Total and positive flux point nearly the same way here: said of both, and of what is left of a third."""
    normals = directions.normals.copy()
    area, tuf = directions.index("area"), directions.index("tuf")
    normals[area] = normals[tuf] + 0.02 * np.random.default_rng(0).normal(size=normals.shape[1])
    normals[area] /= np.linalg.norm(normals[area])
    close = replace(directions, normals=normals)
    with pytest.warns(SteeringWarning, match="of tuf, area, all held, each says hardly more than the others"):
        normal = close.normal("psep", ["tuf", "area"])
    assert max(abs(float(normal @ normals[k])) for k in (tuf, area)) < 1e-6
    with pytest.warns(SteeringWarning, match=r"holding tuf leaves \d\.\d% of the direction of area"):
        close.normal("area", "tuf")
    assert directions.entangled("psep", ["tuf"]) == []


def test_changing_and_holding_the_same_is_an_error(directions):
    with pytest.raises(SteeringError, match="cannot change and be held"):
        directions.normal("tuf", ["tuf"])


def test_a_direction_no_better_than_chance_warns():
    rng = np.random.default_rng(2)
    table = LatentTable(rng.normal(size=(1000, 20)).astype(np.float32), {"tuf": rng.normal(size=1000)})
    with pytest.warns(SteeringWarning, match="'tuf' is no better than chance"):
        fit_directions(table)


def test_what_cannot_be_learned_is_left_out_with_a_warning_or_an_error(table):
    flat = LatentTable(table.z, {"tuf": table.values["tuf"], "r": np.zeros(len(table))})
    with pytest.warns(SteeringWarning, match="no direction for 'r'"):
        assert fit_directions(flat).names == ("tuf",)
    with pytest.raises(SteeringError, match="no direction can be fitted for 'r'"):
        fit_directions(flat, ["r"])
    unknown = LatentTable(table.z, {"psep": np.full(len(table), np.nan)})
    with pytest.raises(SteeringError, match="known in 0 of 3000"):
        fit_directions(unknown, ["psep"])


def test_names_that_do_not_exist_or_have_no_direction(directions, table):
    with pytest.raises(UnknownParameter, match="tuf"):
        directions.normal("fluxx")
    with pytest.raises(NoDirection, match="there are: tuf, net_flux"):
        directions.normal("alpha")
    with pytest.raises(UnknownParameter):
        fit_directions(table, ["nonsense"])


def test_fit_is_deterministic(table, directions):
    again = fit_directions(table, directions.names)
    np.testing.assert_array_equal(again.normals, directions.normals)
    np.testing.assert_array_equal(again.accuracies, directions.accuracies)


def test_calibration_rises_and_tells_the_value(bipoles, directions):
    k = directions.index("psep")
    assert (np.diff(directions.positions[k]) > 0).all()
    assert (np.diff(directions.expected[k]) >= 0).all()
    # separation depends on z[1] alone here, so the curve is the truth
    z = np.zeros((3, 8), np.float32)
    z[:, 0], z[:, 2], z[:, 1] = 1.0, 1.0, [-1.0, 0.0, 1.0]
    true = measure_latents(bipoles, get_preset("tiny"), z, ["psep"])["psep"]
    np.testing.assert_allclose(directions.expected_value("psep", directions.position(z, "psep")), true, rtol=0.05)
    np.testing.assert_allclose(directions.position_for("psep", true), [-1.0, 0.0, 1.0], atol=0.2)


def test_calibration_of_a_step_is_monotone_and_invertible():
    rng = np.random.default_rng(3)
    position = rng.normal(size=5000)
    positions, expected = calibrate(position, np.exp(position) + 0.3 * rng.normal(size=5000))
    assert positions.shape == expected.shape == (33,)
    assert (np.diff(expected) >= 0).all()
    np.testing.assert_allclose(np.interp([-1.0, 0.0, 1.0], positions, expected), np.exp([-1.0, 0.0, 1.0]), atol=0.12)
    assert invert_calibration(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 1.0, 2.0]), 1.0) == 1.5
    assert invert_calibration(positions, expected, 1e9) == positions[-1]


def test_percentiles_with_ties():
    values = np.concatenate([np.zeros(50), np.arange(1.0, 52.0)])
    grid = quantile_grid(values)
    assert percentile_of(grid, 0.0) == pytest.approx(24.5, abs=1.0)
    assert percentile_of(grid, 26.0) == pytest.approx(75, abs=1.0)
    assert percentile_of(grid, -1.0) == 0.0
    assert percentile_of(grid, 1e9) == 100.0
    assert np.isnan(percentile_of(grid, np.nan))


def test_quantiles_span_the_population(table, directions):
    assert directions.quantile("tuf", 100) == table.values["tuf"].max()
    assert directions.percentile("tuf", np.median(table.values["tuf"])) == pytest.approx(50, abs=0.5)
    assert directions.is_binary("polarity")
    assert not directions.is_binary("tuf")


def test_compact_table_keeps_the_extremes(table, directions):
    assert len(directions.table) <= 2000
    for name in directions.names:
        assert np.nanmax(directions.table.values[name]) == np.nanmax(table.values[name])
        assert np.nanmin(directions.table.values[name]) == np.nanmin(table.values[name])


def test_arrays_there_and_back(directions):
    again = Directions.from_tensors(directions.names, directions.tensors())
    np.testing.assert_array_equal(again.normals, directions.normals)
    np.testing.assert_allclose(again.quantiles, directions.quantiles, rtol=1e-6)
    np.testing.assert_allclose(again.table.values["tuf"], directions.table.values["tuf"], rtol=1e-6)
    for name in ("normals", "table_z", "dropped"):
        broken = directions.tensors()
        del broken[name]
        with pytest.raises(ValueError, match="not those of a set of directions"):
            Directions.from_tensors(directions.names, broken)
    broken = directions.tensors() | {"intercepts": np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match="intercepts"):
        Directions.from_tensors(directions.names, broken)


def test_generator_of_another_shape_is_named(bipoles):
    with pytest.raises(SteeringError, match=r"\(1, 32, 32\), the preset wants \(1, 128, 128\)"):
        sample_latents(bipoles, get_preset("paper"), n=4)


def test_network_mode_is_restored():
    class Noisy(torch.nn.Module):
        latent_dim = 3

        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)
            self.linear = torch.nn.Linear(3, 32 * 32)

        def forward(self, z):
            return self.drop(self.linear(z)).view(-1, 1, 32, 32)

    network = Noisy().train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = sample_latents(network, get_preset("tiny"), n=5, names=["tuf"])
        second = sample_latents(network, get_preset("tiny"), n=5, names=["tuf"])
    np.testing.assert_array_equal(first.values["tuf"], second.values["tuf"])
    assert network.training


@pytest.mark.parametrize("negative", range(40, 61))
def test_the_percentiles_of_a_parameter_of_two_values_hold_these_two_only(negative):
    """Also where a percentile falls between the last of the one and the first of the other."""
    values = np.where(np.arange(102) < negative, -1.0, 1.0)
    assert set(quantile_grid(values)) == {-1.0, 1.0}


def test_a_spread_is_half_of_the_central_68_percent(model):
    """One standard deviation of a normal population; the only spread there is."""
    normal = np.random.default_rng(4).normal(3.0, 2.0, 200_000)
    grid = np.percentile(normal, np.arange(101.0))
    directions = replace(model.directions, quantiles=np.tile(grid, (len(model.directions.names), 1)))
    assert directions.spread("tuf") == pytest.approx(2.0, rel=0.02)
    assert spreads(directions)[directions.index("tuf")] == directions.spread("tuf")
