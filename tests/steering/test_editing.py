import numpy as np
import pytest
import torch

from solquery.physics import measure
from solquery.steering import SteeringError, SteeringWarning, shift, strip


def test_shift_moves_along_the_direction():
    n = np.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(shift([1.0, 1.0, 1.0], n, 0.5), [1.0, 1.5, 1.0])
    np.testing.assert_allclose(shift(torch.zeros(2, 3), n, -1.0), [[0, -1, 0], [0, -1, 0]])
    assert shift(np.zeros(3), n, [0.0, 1.0]).shape == (2, 3)


def test_shift_refuses_what_does_not_fit():
    with pytest.raises(SteeringError, match="has 3 numbers"):
        shift(np.zeros(4), np.ones(3), 1.0)
    with pytest.raises(SteeringError, match="finite"):
        shift(np.zeros(3), np.ones(3), np.nan)
    with pytest.raises(ValueError, match="several steps"):
        shift(np.zeros((2, 3)), np.ones(3), [1.0, 2.0])


def test_flux_rises_along_its_direction(bundle):
    rng = np.random.default_rng(5)
    rising = 0
    for z in rng.normal(size=(100, 8)):
        values = strip(bundle, z, "tuf", eps_values=np.linspace(-1, 1, 5)).values["tuf"]
        rising += bool((np.diff(values) > 0).all())
    assert rising >= 95


def test_strip_measures_what_it_shows(bundle):
    made = strip(bundle, np.zeros(8) + 0.5, "psep", ["polarity", "r"], [-1.0, 0.0, 1.0])
    assert made.z.shape == (3, 8)
    assert made.x.shape == (3, 1, 32, 32)
    assert made.hold == ("polarity", "r")
    expected = measure(bundle.preset.to_gauss(made.x[:, 0]), None, ["psep"])["psep"]
    np.testing.assert_allclose(made.values["psep"], expected)
    np.testing.assert_allclose(made.z[1], 0.5)
    moved = made.z[2] - made.z[0]
    for name in made.hold:
        assert abs(moved @ bundle.directions.normal(name)) < 1e-5


def test_holding_separation_keeps_it_while_flux_rises(bundle):
    z = np.array([0.5, 0.3, 1.0, 0.2, 0, 0, 0, 0])
    made = strip(bundle, z, "tuf", "psep", [-1.0, 0.0, 1.0])
    assert made.values["tuf"][2] > 1.5 * made.values["tuf"][0]
    np.testing.assert_allclose(made.values["psep"], made.values["psep"][1], rtol=0.05)


def test_a_step_far_from_the_prior_warns(bundle):
    with pytest.warns(SteeringWarning, match="far from the prior"):
        strip(bundle, np.zeros(8), "tuf", eps_values=[30.0])


def test_a_bundle_without_directions_says_so(bundle):
    bundle.directions = None
    with pytest.raises(SteeringError, match="has no directions"):
        strip(bundle, np.zeros(8), "tuf")
