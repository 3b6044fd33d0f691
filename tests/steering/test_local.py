"""Local directions, the study of directions, and laws by name."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import document, failure

from solquery.config import get_preset
from solquery.model import Model
from solquery.steering import (
    SteeringError,
    SteeringWarning,
    conditional_normal,
    entanglement_table,
    exact_traversals,
    measure_latents,
)
from solquery.steering.class_direction import ClassDirection, class_examples, class_latents, fit_class_direction
from solquery.steering.direction_study import study_directions
from solquery.steering.entanglement import spreads
from solquery.steering.rogue import draw_latents, named_targets


def test_many_are_led_while_polarity_and_tilt_stay(model):
    z = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    z[:, 2] = z[:, 2].sign() * (0.5 + z[:, 2].abs())
    names = ["tuf", "tilt", "polarity"]
    half = dict(zip(model.directions.names, spreads(model.directions), strict=True))
    before = measure_latents(model.generator, model.preset, z, names)
    after = measure_latents(
        model.generator, model.preset, exact_traversals(model, z, "tuf", ("tilt", "polarity"), 1.0), names
    )
    moved = (after["tuf"] - before["tuf"]) / half["tuf"]
    assert np.median(moved) == pytest.approx(1.0, abs=0.05)
    assert np.median(np.abs(after["tilt"] - before["tilt"]) / half["tilt"]) < 0.05
    np.testing.assert_array_equal(after["polarity"], before["polarity"])


def test_local_directions_leak_less_than_linear_ones(model):
    found = entanglement_table(model, ("tuf", "net_flux"), latents=6, step=0.5, exact=True)
    assert found.exact[0, 1] < found.free[0, 1] / 3
    assert np.isnan(found.exact[0, 0])
    assert {"exact", "drift_exact", "third_by_local"} <= set(found.summary())


def test_study_gives_both_methods_beside_each_other(model, table):
    study = study_directions(table, model.directions)
    assert set(study) == set(model.directions.names)
    for method in ("svm", "ridge"):
        row = study["tuf"][method]
        assert row["auc"] > row["accuracy"] - 0.05 > 0.8
        curve = row["calibration"]
        assert all(
            low <= mid <= high for low, mid, high in zip(curve["low"], curve["expected"], curve["high"], strict=True)
        )
        assert curve["expected"][-1] > curve["expected"][0]
        assert row["within_prior"][1] == pytest.approx(-row["within_prior"][0])
    assert study["tuf"]["cosine"] > 0.9


@pytest.mark.parametrize("number", range(1, 9))
def test_held_directions_are_orthogonal_also_when_nearly_dependent(number):
    rng = np.random.default_rng(number)
    x, held = rng.normal(size=100), rng.normal(size=(100, number))
    if number > 1:
        # the last held normal all but repeats the first
        held[:, -1] = held[:, 0] + 1e-5 * rng.normal(size=100)
    normal = conditional_normal(x, held)
    assert np.abs(normal @ (held / np.linalg.norm(held, axis=0))).max() < 1e-6
    assert np.linalg.norm(normal) == pytest.approx(1.0)


def test_a_class_that_lies_along_a_latent_number_is_told_and_made(model, tmp_path):
    rng = np.random.default_rng(4)
    regions = np.repeat([f"R{k}" for k in range(24)], 4)
    centre = np.repeat(rng.normal(size=(24, 8)), 4, axis=0)
    z = (centre + 0.2 * rng.normal(size=(96, 8))).astype(np.float32)
    labels = (centre[:, 0] > 0).astype(int)
    found = fit_class_direction(z, labels, regions)
    assert found.better_than_chance and found.skill > 0.5
    assert found.normal[0] > 0.8
    home = SimpleNamespace(**vars(model), hash="abc")
    again = ClassDirection.load(found.save(tmp_path / "flare.json", home), home)
    np.testing.assert_allclose(again.normal, found.normal)
    made = class_examples(home, again, 5)
    assert all(answer.verdict == "met" and answer.z[0] > 0 for answer in made)
    with pytest.raises(SteeringError, match="made for model"):
        ClassDirection.load(tmp_path / "flare.json", SimpleNamespace(**vars(model), hash="other"))


def few_labels(toward, seed):
    """Noisy latents (60, 100) of as many regions, labelled by which side of a normal the true ones lie on."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(60, 100))
    return z + 0.5 * rng.normal(size=z.shape), (z @ toward > 0).astype(int), [f"R{k}" for k in range(60)]


@pytest.mark.filterwarnings("ignore:the class direction is no better than chance")
@pytest.mark.parametrize("seed", range(3))
def test_known_directions_make_few_labels_enough(seed):
    """The class lies between two of six known directions; sixty labels in a hundred numbers do not find it alone."""
    known = np.random.default_rng(9).normal(size=(6, 100))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    truth = known[0] - 0.5 * known[3]
    truth /= np.linalg.norm(truth)
    data = few_labels(truth, seed)
    plain, led = fit_class_direction(*data, shuffles=5), fit_class_direction(*data, along=known, shuffles=5)
    assert led.normal @ truth > 0.85 > 0.7 > plain.normal @ truth
    assert led.auc > 0.8 and led.auc > plain.auc
    assert np.linalg.norm(led.normal) == pytest.approx(1.0)
    # the boundary is in the numbers of the latents themselves: both classes are as many
    position = data[0] @ led.normal + led.intercept
    assert 0.35 < (position > 0).mean() < 0.65
    # the length of a direction, and one that is given twice, say nothing
    again = fit_class_direction(*data, along=np.concatenate([3.0 * known, known[:1]]), shuffles=5)
    assert again.normal @ led.normal > 0.97
    with pytest.raises(SteeringError):
        fit_class_direction(*data, along=known[:, :50])


def test_a_class_that_no_known_direction_tells_is_found_with_many_labels():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(400, 40))
    known = np.eye(40)[:6]
    found = fit_class_direction(z, (z[:, 20] > 0).astype(int), [f"R{k}" for k in range(400)], along=known, shuffles=5)
    assert found.normal[20] > 0.8 and found.auc > 0.9


def test_latents_of_a_class_by_guess_picture_and_closest(model):
    z = torch.randn(6, 8, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        x = model.generator(z)[:, 0]
    network = torch.nn.Linear(1, 1)
    # where the patch lies does not change this one
    network.guess = lambda patches: torch.stack([patches.square().sum((1, 2)) * k for k in range(8)], 1)
    guessing = SimpleNamespace(**{**vars(model), "inference": network, "directions": None})
    at_rest = network.guess(x).numpy()
    np.testing.assert_allclose(class_latents(guessing, x), at_rest, rtol=1e-3)
    where = torch.zeros(1, *x.shape[1:])
    where[0, 10, 20] = 1.0
    network.guess = lambda patches: torch.stack([(patches * torch.arange(32.0)).sum((1, 2))] * 8, 1)
    # moved as far to one side as to the other
    np.testing.assert_allclose(class_latents(guessing, where), 20.0)
    plain = SimpleNamespace(**{**vars(model), "inference": None})
    for by in (None, "picture", "closest"):
        found = class_latents(plain, x, by, steps=30, starts=4)
        assert found.shape == (6, 8)
        # the first number is the strength of the patch
        assert np.corrcoef(found[:, 0], z[:, 0].numpy())[0, 1] > 0.9
    np.testing.assert_array_equal(class_latents(plain, x, None, 4, 30), class_latents(plain, x, "picture", 4, 30))
    with pytest.raises(SteeringError, match="no inference network"):
        class_latents(plain, x, "guess")
    with pytest.raises(SteeringError, match="no directions to place"):
        class_latents(guessing, x, "measured")
    with pytest.raises(SteeringError, match="there are: measured, guess"):
        class_latents(plain, x, "dream")
    with pytest.raises(SteeringError, match="no structure"):
        class_latents(guessing, torch.zeros(1, *x.shape[1:]))


def test_what_is_measured_moves_a_guess_to_where_the_model_expects_it(model):
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        x = model.generator(z)[:, 0]
    network = torch.nn.Linear(1, 1)
    # knows nothing: what comes is what is measured
    network.guess = lambda patches: torch.zeros(len(patches), 8)
    guessing = SimpleNamespace(**{**vars(model), "inference": network})
    assert not class_latents(guessing, x, "guess").any()
    found = class_latents(guessing, x)
    for name in ("tuf", "psep"):
        truth = model.directions.position(z.numpy(), name)
        assert np.corrcoef(model.directions.position(found, name), truth)[0, 1] > 0.85, name
    # and nothing else is told: off the directions all are alike
    normals = model.directions.normals.astype(float)
    rest = found - found @ np.linalg.pinv(normals) @ normals
    np.testing.assert_allclose(rest, 0, atol=1e-4)


def test_skill_no_better_than_chance_is_said(model):
    rng = np.random.default_rng(5)
    regions = np.repeat([f"R{k}" for k in range(20)], 3)
    labels = np.repeat(np.arange(20) % 2, 3)
    with pytest.warns(SteeringWarning, match="no better than chance"):
        found = fit_class_direction(rng.normal(size=(60, 8)), labels, regions)
    assert "do not steer by it" in found.verdict
    with pytest.raises(SteeringError, match="at least 3"):
        fit_class_direction(rng.normal(size=(4, 8)), [0, 0, 1, 1], ["A", "B", "C", "D"])


def test_laws_by_name(model):
    with pytest.raises(SteeringError, match="stretches patches"):
        named_targets(model, hale="anti")
    with pytest.raises(SteeringError, match="normal or anti"):
        named_targets(model, hale="upside")
    scaled = SimpleNamespace(**{**vars(model), "preset": replace(get_preset("tiny"), scale_mm=(1.0, 1.0))})
    north = named_targets(scaled, "normal", "normal", None, "north", 24)
    assert (north["polarity"].value, north["tilt"].relation, north["tilt"].value) == (-1.0, "<=", -5.0)
    south = named_targets(scaled, "anti", "anti", None, "south", 25)
    assert (south["polarity"].value, south["tilt"].relation, south["tilt"].value) == (1.0, "<=", -5.0)


def test_draws_meet_the_laws_and_differ(model):
    scaled = SimpleNamespace(**{**vars(model), "preset": replace(get_preset("tiny"), scale_mm=(1.0, 1.0))})
    targets = named_targets(scaled, "normal", "anti", None, "north", 24)
    z = draw_latents(model, targets, 12, seed=3)
    values = measure_latents(model.generator, model.preset, z, ["polarity", "tilt"])
    assert (values["polarity"] == -1).all() and (values["tilt"] >= 5).all()
    # and are bipoles: where the centroids nearly coincide, which one leads is chance
    assert (measure_latents(model.generator, model.preset, z, ["psep"])["psep"] >= targets["psep"].value).all()
    assert len(np.unique(z.round(3), axis=0)) == 12


def test_the_command_line_refuses_laws_on_a_stretching_model(tmp_path):
    out = tmp_path / "out"
    assert "preset physical" in failure("generate", "--model", "paper", "--hale", "anti", "--out", out)
    assert "holds no class direction" in failure(
        "generate", "--model", "paper", "--class-direction", __file__, "--out", out
    )
    assert not out.exists()


def test_fit_writes_a_model_with_its_study(tmp_path):
    about = document("directions", "fit", "paper", "--parameters", "tuf", "-n", 100, "--out", tmp_path / "new")
    again = Model.load(tmp_path / "new")
    assert set(again.directions.names) == set(about["directions"])
    assert again.metadata["direction_study"]["tuf"]["ridge"]["auc"] == about["study"]["tuf"]["ridge"]["auc"]
