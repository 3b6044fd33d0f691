"""Leaks and led edits on a generator whose truth is known: one latent number for each property of a bipole."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from solquery.steering import SteeringError, SteeringWarning, entanglement_table, exact_traversal, latent_traversal
from solquery.steering.entanglement import spreads


@pytest.fixture(scope="module")
def start():
    z = np.zeros(8, np.float32)
    z[[0, 1, 2]] = (0.2, -0.3, 1.2)
    z[5:] = (1.5, -1.5, 1.0)  # numbers that do nothing, so that the length is one of the prior
    return z


def test_strength_does_not_leak_into_separation(model):
    found = entanglement_table(model, ("tuf", "psep", "tilt"), latents=24, seed=1)
    tuf, psep, tilt = range(3)
    assert found.gain[tuf] > 0.1 and found.gain[psep] > 0.1
    # separation moves no flux and tilt no separation in this generator, whatever the fit makes of it
    assert found.free[psep, tuf] < 0.35 and abs(found.drift_free[tilt, psep]) < 0.35
    np.testing.assert_allclose(np.diag(found.drift_free), 1.0)
    assert (found.free >= np.abs(found.drift_free) - 1e-9).all()
    assert np.isnan(np.diag(found.held)).all()


def test_holding_takes_out_the_drift_of_a_parameter_that_something_else_can_offset(model):
    # R grows with strength and falls with separation: more flux at the same R is wider apart
    found = entanglement_table(model, ("tuf", "r"), latents=24, seed=2)
    assert abs(found.drift_free[0, 1]) > 0.1
    assert abs(found.drift_held[0, 1]) < 0.7 * abs(found.drift_free[0, 1])
    summary = found.summary()
    assert summary["held"]["tuf"]["tuf"] is None and summary["free"]["tuf"]["r"] > 0.1


def test_a_direction_that_does_not_move_its_own_parameter_has_no_leak_to_tell(model):
    normals = model.directions.normals.copy()
    normals[model.directions.index("psep")] = np.eye(8, dtype=np.float32)[7]  # a latent number that does nothing
    directions = dataclasses.replace(model.directions, normals=normals)
    blunt = SimpleNamespace(generator=model.generator, preset=model.preset, directions=directions)
    found = entanglement_table(blunt, ("tuf", "psep", "r"), latents=24, seed=1)
    assert np.isnan(found.free[1]).all()
    assert np.isfinite(found.free[0]).all() and np.isfinite(found.held[0, 1])
    assert found.weak() == [("psep", None)]
    assert found.summary()["weak"] == [["psep", None]] and found.summary()["free"]["psep"]["tuf"] is None


def test_led_edit_meets_its_values_and_holds_what_is_held(model, start):
    led = exact_traversal(model, start, "psep", ("tuf",), spreads=(-1.0, 0.0, 1.0))
    names = list(model.directions.names)
    spread = dict(zip(names, spreads(model.directions), strict=True))
    np.testing.assert_allclose(led.values["psep"], led.requested, atol=0.1 * spread["psep"])
    assert np.ptp(led.values["tuf"]) < 0.1 * spread["tuf"]
    assert led.requested[2] - led.requested[1] == pytest.approx(spread["psep"])
    # the frame that changes nothing is the patch itself
    np.testing.assert_allclose(led.z[1], start, atol=1e-5)


def test_led_edit_holds_better_than_a_plain_step(model, start):
    led = exact_traversal(model, start, "tuf", ("area",), spreads=(-0.5, 0.0, 0.5))
    with pytest.warns(SteeringWarning, match="holding area leaves"):  # they are one number here, but for a little
        plain = latent_traversal(model, start, "tuf", ("area",), eps_values=(-0.5, 0.0, 0.5))

    def leak(one):
        return np.ptp(one.values["area"]) / max(np.ptp(one.values["tuf"]), 1e-9)

    assert leak(led) <= leak(plain) + 1e-9


def test_beyond_reach_is_cut_back(model, start):
    led = exact_traversal(model, start, "tuf", spreads=(0.0, 500.0))
    assert led.requested[1] < led.requested[0] + 500 * spreads(model.directions)[0]
    assert np.isfinite(led.z).all()


def test_what_cannot_be_led_is_refused(model, start):
    with pytest.raises(SteeringError, match="both moved and held"):
        exact_traversal(model, start, "tuf", ("tuf",))
    with pytest.raises(SteeringError, match="two values"):
        exact_traversal(model, start, "polarity")
    empty = np.zeros(8, np.float32)
    empty[0] = -40.0
    with pytest.raises(SteeringError, match="undefined on this patch"):
        exact_traversal(model, torch.from_numpy(empty), "psep")
