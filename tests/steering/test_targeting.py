import astropy.units as u
import numpy as np
import pytest
import torch
from scipy.stats import chi

from solquery.errors import SolqueryError
from solquery.model import Model
from solquery.physics import UnknownParameter, measure
from solquery.steering import (
    OutOfReach,
    SteeringError,
    Target,
    UnknownWord,
    generate,
    parse_description,
    reach,
    solving,
    targeting,
)
from solquery.steering.gradients import latent_gradients
from solquery.steering.judge import check_conflicts
from solquery.steering.latents import measure_latents, prior_norm_range
from solquery.steering.targeting import Answer
from solquery.steering.vocabulary import VOCABULARY, as_target


def remeasured(model, answer):
    fields = model.preset.to_gauss(answer.x)
    return {name: float(value) for name, value in measure(fields, None, model.directions.names).items()}


@pytest.mark.parametrize("percent", [3, 25, 75, 97])
@pytest.mark.parametrize("name", ["tuf", "psep", "tilt", "net_flux"])
def test_a_number_in_the_population_is_met(model, name, percent):
    asked = model.directions.quantile(name, percent)
    (answer,) = generate(model, {name: asked})
    assert answer.verdict == "met"
    got = remeasured(model, answer)[name]
    assert got == pytest.approx(answer.measured[name], rel=1e-6, abs=1e-6)
    points = abs(model.directions.percentile(name, got) - percent)
    assert abs(got - asked) <= 0.1 * abs(asked) or points <= 5
    low, high = prior_norm_range(8)
    assert low <= answer.z_norm <= high * (1 + 1e-6)


@pytest.mark.parametrize("length", [2, 8, 128])
def test_lengths_are_those_of_normal_vectors(length):
    low, high = prior_norm_range(length)
    assert chi.cdf([low, high], length) == pytest.approx([5e-5, 1 - 5e-5], rel=1e-9)
    answer = Answer(
        z=np.zeros(length), x=np.zeros((2, 2)), requested={}, measured={}, verdict="met", z_norm=0.9 * length**0.5,
        held={}, targets={},
    )  # fmt: skip
    assert answer.prior_percentile == pytest.approx(100 * chi.cdf(0.9 * length**0.5, length))


def test_several_numbers_at_once_and_the_polarity(model):
    asked = {"tuf": 30_000.0, "psep": 12.0, "polarity": -1}
    answers = generate(model, asked, n=4, seed=2)
    assert len(answers) == 4
    for answer in answers:
        assert answer.verdict == "met"
        assert answer.measured["tuf"] == pytest.approx(30_000, rel=0.1)
        assert answer.measured["psep"] == pytest.approx(12, rel=0.15)
        assert remeasured(model, answer)["polarity"] == -1.0
    # different patches, not one four times
    latents = np.stack([answer.z / np.linalg.norm(answer.z) for answer in answers])
    assert (latents @ latents.T - np.eye(4)).max() < 0.98


def test_polarity_is_kept_even_where_the_rest_cannot_be_met(model):
    # the weakest patch and the largest area do not go together
    asked = {"tuf": reach(model.directions, "tuf")[0], "area": reach(model.directions, "area")[1], "polarity": 1}
    for answer in generate(model, asked, n=3):
        assert answer.verdict == "nearest"
        assert answer.measured["polarity"] == 1.0


def test_same_seed_same_answer_other_seed_another(model):
    first, again = (generate(model, {"tuf": 20_000.0}, seed=7)[0] for _ in range(2))
    np.testing.assert_array_equal(first.z, again.z)
    others = [generate(model, {"tuf": 20_000.0}, seed=seed)[0].z for seed in range(4)]
    assert any(not np.allclose(first.z, other) for other in others)


@pytest.mark.parametrize(("name", "factor"), [("tuf", 5.0), ("psep", 10.0)])
def test_out_of_reach_names_the_range_and_the_unit(model, name, factor):
    asked = factor * model.directions.quantile(name, 100)
    low, high = reach(model.directions, name)
    with pytest.raises(OutOfReach) as error:
        generate(model, {name: asked})
    message = str(error.value)
    assert f"{low:.4g} to {high:.4g} {model.directions.unit(name)}" in message
    assert "bipoles" in message and "ask within" in message
    assert isinstance(error.value, SolqueryError)


def test_reach_does_not_go_below_zero_where_nothing_can(model):
    assert reach(model.directions, "tuf")[0] >= 0
    assert reach(model.directions, "net_flux")[0] < model.directions.quantile("net_flux", 0)
    assert reach(model.directions, "polarity") == (-1.0, 1.0)


def test_editing_a_patch_keeps_what_is_held(model):
    start = np.array([0.5, 0.2, 1.0, 0.4, 0.1, 0.3, -0.2, 0.5])
    (before,) = [generate(model, {"tilt": 0.0}, hold="psep", start=start)[0].held["psep"]]
    (answer,) = generate(model, {"tuf": 32_000.0}, hold=["psep", "tilt"], start=start)
    assert answer.verdict == "met"
    assert answer.held["psep"] == before
    assert answer.measured["psep"] == pytest.approx(before, rel=0.02)
    assert answer.measured["tilt"] == pytest.approx(answer.held["tilt"], abs=2.0)


def test_polarity_of_a_given_patch_flips_with_the_rest_held(model):
    start = np.array([0.5, 0.2, 1.0, 0.4, 0.1, 0.3, -0.2, 0.5])
    answer = generate(model, {"polarity": -1}, hold=["tuf", "psep"], start=start)[0]
    assert answer.verdict == "met"
    assert answer.measured["polarity"] == -1.0
    for name in ("tuf", "psep"):
        assert answer.measured[name] == pytest.approx(answer.held[name], rel=0.03)


def test_what_is_not_understood(model):
    with pytest.raises(UnknownParameter, match="there are"):
        generate(model, {"fluxx": 1.0})
    with pytest.raises(SteeringError, match="no direction for 'alpha'"):
        generate(model, {"alpha": -2.0})
    with pytest.raises(SteeringError, match="finite"):
        generate(model, {"tuf": float("nan")})
    with pytest.raises(SteeringError, match="ask for a number"):
        generate(model, {"tuf": "big"})
    with pytest.raises(SteeringError, match="polarity is -1 or 1"):
        generate(model, {"polarity": 0.5})
    with pytest.raises(SteeringError, match="both asked for and held"):
        generate(model, {"tuf": 1e4}, hold=["tuf"])
    with pytest.raises(SteeringError, match="nothing is asked"):
        generate(model, {})
    with pytest.raises(SteeringError, match="n must be"):
        generate(model, {"tuf": 1e4}, n=0)
    with pytest.raises(SteeringError, match="has 8 numbers"):
        generate(model, {"tuf": 1e4}, start=np.zeros(5))


def test_description_of_the_job(model):
    targets = parse_description("Strong, widely separated bipole, leading polarity negative", model.directions)
    assert set(targets) == {"tuf", "psep", "imbalance", "polarity"}
    assert targets["tuf"].value == model.directions.quantile("tuf", 90)
    assert targets["psep"].value == model.directions.quantile("psep", 90)
    assert targets["imbalance"].relation == "<="
    assert targets["polarity"].value == -1.0
    (answer,) = generate(model, "Strong, widely separated bipole, leading polarity negative")
    assert answer.verdict == "met"
    assert answer.measured["imbalance"] <= 0.15
    assert answer.measured["polarity"] == -1.0
    assert answer.requested["tuf"] == targets["tuf"].value


@pytest.mark.parametrize(
    "text",
    [
        "a weak and compact region with the negative polarity leading",
        "WEAK; compact / leading negative",
        "compact weak, with a negative leading polarity",
    ],
)
def test_order_case_and_filling_words_do_not_count(model, text):
    targets = parse_description(text, model.directions)
    assert {name: (t.value, t.relation) for name, t in targets.items()} == {
        "tuf": (model.directions.quantile("tuf", 10), "="),
        "psep": (model.directions.quantile("psep", 10), "="),
        "polarity": (-1.0, "="),
    }


def test_unbalanced_and_tilted_are_limits_that_hold(model):
    (answer,) = generate(model, "unbalanced and tilted")
    assert answer.verdict == "met"
    assert abs(answer.measured["net_flux"]) >= 0.4 * answer.measured["tuf"]
    assert abs(answer.measured["tilt"]) >= 20.0


def test_unknown_word_lists_the_vocabulary(model):
    with pytest.raises(UnknownWord) as error:
        parse_description("stong bipole", model.directions)
    message = str(error.value)
    assert "'stong'" in message and "did you mean 'strong'" in message
    assert all(phrase in message for phrase in VOCABULARY)
    with pytest.raises(UnknownWord, match="'separated'"):
        parse_description("separated", model.directions)


def test_contradictions_and_empty_descriptions(model):
    with pytest.raises(SteeringError, match="'strong' and 'weak' contradict"):
        parse_description("strong weak", model.directions)
    assert set(parse_description("bipolar bipole", model.directions)) == {"imbalance"}
    for text in ("", "a region with the"):
        with pytest.raises(SteeringError, match="asks for nothing"):
            parse_description(text, model.directions)


def test_every_phrase_can_be_asked_for(model):
    for phrase in VOCABULARY:
        assert len(parse_description(phrase, model.directions)) == 1


def test_a_target_must_be_for_its_parameter(model):
    with pytest.raises(ValueError, match="is one for 'psep'"):
        generate(model, {"tuf": Target("psep", 3.0)})
    (answer,) = generate(model, {"tuf": Target("tuf", 30_000.0, ">=")})
    assert answer.measured["tuf"] >= 30_000
    assert answer.verdict == "met"


def test_quantities_are_converted_and_what_does_not_fit_is_refused(model):
    (answer,) = generate(model, {"tuf": 30 * u.Unit("kG pix"), "tilt": 0.1 * u.rad})
    assert answer.requested == {"tuf": pytest.approx(30_000), "tilt": pytest.approx(np.degrees(0.1))}
    assert answer.measured["tuf"] == pytest.approx(30_000, rel=0.02)
    with pytest.raises(SteeringError, match="in G pix, not Mx; its grid has no physical scale"):
        generate(model, {"tuf": 3e22 * u.Unit("Mx")})
    with pytest.raises(SteeringError, match="in pix, not deg"):
        generate(model, {"psep": 3 * u.deg})


def test_out_of_reach_gives_the_nearest_when_asked_to(model):
    high = reach(model.directions, "tuf")[1]
    with pytest.raises(OutOfReach) as error:
        generate(model, {"tuf": 10 * high})
    assert error.value.nearest == {"tuf": high}
    (answer,) = generate(model, {"tuf": 10 * high}, nearest=True)
    assert answer.requested["tuf"] == 10 * high
    assert answer.verdict == "nearest"
    assert answer.measured["tuf"] > model.directions.quantile("tuf", 95)


@pytest.mark.parametrize("asked", [{"tuf": 1e4, "r": 2e4}, {"tuf": 1e4, "tpf": 7e3, "tnf": 7e3}])
def test_numbers_that_contradict_each_other_are_refused(asked):
    with pytest.raises(OutOfReach, match="part"):
        check_conflicts({name: Target(name, value) for name, value in asked.items()})


@pytest.mark.parametrize(("relation", "size"), [("<=", 5), (">=", 30), ("=", 12)])
def test_a_tilt_and_another_size_of_it_are_refused(model, relation, size):
    with pytest.raises(OutOfReach, match="tilt = -20 deg and tilt_size"):
        generate(model, {"tilt": -20.0, "tilt_size": Target("tilt_size", size, relation)})
    check_conflicts({"tilt": Target("tilt", -20.0), "tilt_size": Target("tilt_size", 20.0, relation)})


def test_reach_of_the_tilt_ends_at_a_right_angle(model):
    low, high = reach(model.directions, "tilt")
    assert -90.0 <= low < high <= 90.0


def test_gradients_of_smooth_parameters_point_where_the_measured_ones_rise(model):
    z = torch.tensor([[0.5, 0.2, 1.0, 0.4, 0.1, 0.3, -0.2, 0.5]])
    names = ["tuf", "psep", "tilt", "tpf", "net_flux"]
    slopes, _ = latent_gradients(model.generator, model.preset, z, names)
    for k, name in enumerate(names):
        step = 0.05 * slopes[0, k] / slopes[0, k].norm()
        values = measure_latents(model.generator, model.preset, torch.cat([z - step, z + step]), [name])[name]
        measured = (values[1] - values[0]) / 0.1
        assert measured == pytest.approx(float(slopes[0, k].norm()), rel=0.35), name


def test_a_number_with_its_unit_may_be_written_as_text():
    directions = Model.load("physical").directions
    assert as_target("tuf", "2e22 Mx", directions).value == pytest.approx(2e22)
    assert as_target("psep", "40000 km", directions).value == pytest.approx(40.0)
    assert as_target("tuf", "2e22", directions).value == 2e22
    with pytest.raises(SteeringError, match="is in Mx, not Mm"):
        as_target("tuf", "40 Mm", directions)
    with pytest.raises(SteeringError, match=r'write e\.g\. "2e22 Mx"'):
        as_target("tuf", "a lot", directions)


def test_the_generator_made_ready_gives_the_answers_of_the_plain_one(monkeypatch):
    model, asked = Model.load("physical"), {"tuf": 2e22, "psep": 60.0}
    ready = generate(model, asked, 2, seed=0)
    monkeypatch.setattr(solving, "in_use", lambda model: model)
    for one, plain in zip(ready, generate(model, asked, 2, seed=0), strict=True):
        assert one.verdict == plain.verdict == "met"
        np.testing.assert_allclose(one.z, plain.z, atol=1e-4)
        for name in asked:
            assert one.measured[name] == pytest.approx(plain.measured[name], rel=1e-4)


def test_starts_are_those_of_the_table_only_where_the_generator_is():
    model, asked = Model.load("physical"), {"tuf": 2e22}
    targets = {"tuf": as_target("tuf", 2e22, model.directions)}
    z, known = targeting._starts(solving.Search(model, targets, ()), 6, 0)
    measured = solving.Search(model, targets, ()).values(z)
    np.testing.assert_allclose(known["tuf"], measured["tuf"], rtol=0.02)
    assert generate(model, asked, 2, seed=0)[0].verdict == "met"
    # another generator of the same latents
    other = solving.Search(model, targets, ())
    inner = other.model.generator
    other.model.generator = lambda z: 0.5 * inner(z)
    assert targeting._starts(other, 6, 0)[1] is None
