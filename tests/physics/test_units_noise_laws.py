"""Quantities and tables, standard errors, header values, Joy's and Hale's law."""

import dataclasses

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable

from solquery.physics import hale, header_values, joy, laws, measure, qtable, quantities, solar_cycle, uncertainty
from solquery.simulator import simulate_region
from solquery.simulator.population import draw_region

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def patch():
    return simulate_region(3, 0, 1)[0]


def test_quantities_of_a_patch_have_its_units(patch):
    got = quantities(patch)
    plain = measure(patch.field, patch.scale_mm)
    assert got["tuf"].to_value(u.Mx) == pytest.approx(plain["tuf"].item())
    assert got["grad"].unit.is_equivalent(u.G / u.km)
    assert got["tilt"].isscalar


def test_quantities_take_any_unit_of_field_and_length(patch):
    field = patch.field[:60, :80]
    side = patch.scale_mm[0]
    wanted = quantities(field, (side, side))["tpf"]
    for scale in (side * u.Mm, side * 1e3 * u.km / u.pix, [side, side] * u.Mm):
        assert u.isclose(quantities(field / 1e4 * u.T, scale)["tpf"], wanted, rtol=1e-5)
    assert quantities(field)["tpf"].unit == u.G * u.pix
    with pytest.raises(u.UnitConversionError):
        quantities(field * u.Mx)
    with pytest.raises(u.UnitConversionError):
        quantities(field, 1 * u.s)
    with pytest.raises(ValueError, match="has its own scale"):
        quantities(patch, (1.0, 1.0))


def test_a_table_survives_ecsv(patch, tmp_path):
    bare = dataclasses.replace(patch, id="bare", scale_mm=None)
    names = ["tuf", "tilt"]
    table = qtable([patch, bare], names, noise_gauss=20.0)
    table.write(tmp_path / "t.ecsv")
    again = QTable.read(tmp_path / "t.ecsv")
    assert again["tuf"].unit == u.Mx
    assert again["tuf"][0] == table["tuf"][0]
    assert again["tuf_error"][0] > 0 * u.Mx
    assert again["tuf_bias"][0] > 0 * u.Mx
    assert np.isnan(again["tuf"][1])
    assert np.isfinite(again["tilt"][1])
    assert "Total unsigned flux" in again["tuf"].info.description


def test_net_flux_error_is_exact_and_that_of_the_draws(patch):
    field = np.zeros((50, 60), np.float32)
    field[:, :30] = 700.0
    field[:, 30:] = -700.0
    field[0, 0] = np.nan
    got = uncertainty(field, (0.5, 2.0), 10.0, ["net_flux", "tpf", "tuf"], samples=400, seed=3)
    exact = 10.0 * np.sqrt(50 * 60 - 1) * 1e16
    assert got["net_flux"].item() == pytest.approx(exact, rel=1e-6)
    # far above the threshold nothing is folded over: the errors of the draws are those of sums
    assert got["tuf"].item() == pytest.approx(exact, rel=0.1)
    assert got["tpf"].item() == pytest.approx(10.0 * np.sqrt(1499) * 1e16, rel=0.1)


def test_errors_follow_the_seed_and_vanish_without_noise():
    field = simulate_region(3, 1, 1)[0].field[:40, :50]
    first, again = (uncertainty(field, (1.0, 1.0), 15.0, samples=6, seed=5) for _ in range(2))
    other = uncertainty(field, (1.0, 1.0), 15.0, samples=6, seed=6)
    assert all(torch.equal(first[n].nan_to_num(-1), again[n].nan_to_num(-1)) for n in first)
    assert first["tuf"] != other["tuf"]
    assert float(uncertainty(field, None, 0.0, ["tuf"], samples=4)["tuf"]) == pytest.approx(0, abs=1e-6)


def test_an_angle_about_180_degrees_has_a_small_error():
    field = np.zeros((21, 41), np.float32)
    field[8:13, 3:8], field[8:13, 33:38] = 900.0, -900.0
    got = uncertainty(field, (1.0, 1.0), 60.0, ["axis_angle", "psep"], samples=64)
    assert abs(float(measure(field, (1.0, 1.0), "axis_angle")["axis_angle"])) == pytest.approx(180)
    assert 0 < float(got["axis_angle"]) < 2.0


def test_what_is_unknown_has_no_error():
    assert torch.isnan(uncertainty(np.full((8, 8), 500.0), None, 5.0, ["psep"])["psep"]).all()
    with pytest.raises(ValueError, match="0 or more, got -1"):
        uncertainty(np.zeros((4, 4)), None, -1.0)
    with pytest.raises(ValueError, match="at least 4 samples"):
        uncertainty(np.zeros((4, 4)), None, 1.0, samples=2)


def test_header_values_of_harp_377():
    told = header_values(
        {"USFLUX": 2.7e22, "AREA_ACR": "nan", "LATFWTPO": -19.49, "LONFWTPO": 15.13, "LATFWTNE": -20.90,
         "LONFWTNE": 10.48}
    )  # fmt: skip
    assert set(told) == {"flux", "tuf", "psep", "axis_angle", "tilt", "polarity"}
    assert told["flux"].value == told["tuf"].value == 2.7e22
    assert all(entry.reason for entry in told.values())
    assert told["psep"].value == pytest.approx(55.7, abs=0.1)
    assert told["tilt"].value == pytest.approx(17.9, abs=0.1)
    assert told["polarity"].value == 1
    assert header_values({}) == {}


def test_cycles():
    assert solar_cycle("2011.02.15_02:00:00_TAI") == 24
    assert solar_cycle("2008-11-30T00:00:00") == 23
    assert solar_cycle("2019-12-02T00:00:00") == 25
    assert solar_cycle("") is None
    assert solar_cycle("1975-01-01T00:00:00") is None


def test_joy_and_hale():
    # leading polarity nearer to the equator: southward of the follower in the north
    assert joy(-8.0, 15.0) is True
    assert joy(8.0, -15.0) is True
    assert joy(8.0, 15.0) is False
    assert joy(float("nan"), 15.0) is None
    # cycle 24: negative leads in the north, positive in the south; 25 the other way round
    assert [hale(p, lat, 24) for p, lat in ((-1, 10), (1, -10), (1, 10), (-1, -10))] == [True, True, False, False]
    assert [hale(p, lat, 25) for p, lat in ((-1, 10), (1, -10), (1, 10), (-1, -10))] == [False, False, True, True]
    assert hale(1, 10, "") is None


def test_laws_agree_with_how_regions_were_drawn():
    agree = []
    for k in range(40):
        # which regions have one bipole is known before they are simulated
        if draw_region(np.random.default_rng([5, k, 20100501])).record["bipoles"] == 1:
            (patch,) = simulate_region(5, k, 1, quantity="noise-free")
            assert patch.truth["bipoles"] == 1
            state = laws(patch).hale.state
            if state != "undetermined":
                agree.append((state == "kept") is not patch.truth["anti_hale"])
    assert len(agree) >= 3
    assert np.mean(agree) > 0.7
    assert laws(dataclasses.replace(patch, scale_mm=None)).joy.state == "undetermined"
