import numpy as np
import pytest
import torch

from solquery import Model
from solquery.physics import measure
from solquery.steering import SteeringError, SteeringWarning, latent_traversal, render, shift


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


def test_flux_rises_along_its_direction(model):
    rng = np.random.default_rng(5)
    rising = 0
    for z in rng.normal(size=(100, 8)):
        values = latent_traversal(model, z, "tuf", eps_values=np.linspace(-1, 1, 5)).values["tuf"]
        rising += bool((np.diff(values) > 0).all())
    assert rising >= 95


def test_strip_measures_what_it_shows(model):
    made = latent_traversal(model, np.zeros(8) + 0.5, "psep", ["polarity", "r"], [-1.0, 0.0, 1.0])
    assert made.z.shape == (3, 8)
    assert made.x.shape == (3, 1, 32, 32)
    assert made.hold == ("polarity", "r")
    expected = measure(model.preset.to_gauss(made.x[:, 0]), None, ["psep"])["psep"]
    np.testing.assert_allclose(made.values["psep"], expected)
    np.testing.assert_allclose(made.z[1], 0.5)
    moved = made.z[2] - made.z[0]
    for name in made.hold:
        assert abs(moved @ model.directions.normal(name)) < 1e-5


def test_holding_separation_keeps_it_while_flux_rises(model):
    z = np.array([0.5, 0.3, 1.0, 0.2, 0, 0, 0, 0])
    made = latent_traversal(model, z, "tuf", "psep", [-1.0, 0.0, 1.0])
    assert made.values["tuf"][2] > 1.5 * made.values["tuf"][0]
    np.testing.assert_allclose(made.values["psep"], made.values["psep"][1], rtol=0.05)


def test_a_step_far_from_the_prior_warns(model):
    with pytest.warns(SteeringWarning, match="far from the prior"):
        latent_traversal(model, np.zeros(8), "tuf", eps_values=[30.0])


def test_a_model_without_directions_says_so(model):
    model.directions = None
    with pytest.raises(SteeringError, match="has no directions"):
        latent_traversal(model, np.zeros(8), "tuf")


@pytest.mark.parametrize(("name", "held"), [("tuf", ()), ("r", ("tuf",)), ("psep", ()), ("tilt", ())])
def test_edits_of_the_shipped_generator_do_not_jump(name, held):
    """Frames 0.05 apart differ by 25 % of what is on them at most, and half the step makes half the difference.

    A jump would stay as large however small the step. Then neighbouring frames correlate to 1 - 0.25 ** 2 / 2, 0.969,
    and a film of them reads as one region that changes.
    """
    physical = Model.load("physical")
    normal = physical.directions.normal(name, list(held))
    z = np.random.default_rng(7).standard_normal((4, len(normal))).astype(np.float32)
    for start in z:
        changes = []
        along = np.stack([start + eps * normal for eps in np.linspace(-2, 2, 81)])
        drawn = render(physical.generator, torch.from_numpy(along), physical.preset.shape)[:, 0].double().numpy()
        for x in (drawn[::2], drawn):
            size = np.sqrt((x**2).mean((1, 2)))
            changes.append(np.sqrt(((x[1:] - x[:-1]) ** 2).mean((1, 2))) / np.minimum(size[1:], size[:-1]))
        assert changes[1].max() < 0.255
        # the edge of the window moves by shares of a pixel, which does not halve exactly; a jump would give 1
        assert changes[1].max() < 0.75 * changes[0].max()
