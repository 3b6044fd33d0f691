"""Reconstructions of patches whose truth is known: picture, physics, progress, giving up, what cannot be drawn."""

import copy
import warnings

import numpy as np
import pytest
import torch

from solquery.physics import measure_on_grid
from solquery.steering import SteeringError, SteeringWarning, first_guess, reconstruct, reconstruct_in_steps, render
from solquery.steering.reconstruction_loss import MATCHED, TOLERANCES, parameter_errors


@pytest.fixture
def drawn(model):
    """Patches (4, 32, 32) of bipoles well away from where both polarities vanish."""
    z = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    z[:, 2] = np.sign(z[:, 2]) * 1.2
    # not so faint that they are a few pixels
    z[:, 0] = np.minimum(np.abs(z[:, 0]), 1.5)
    return render(model.generator, z, model.preset.shape)[:, 0].numpy()


def worst(found, names=MATCHED):
    """Largest error of the matched parameters in units of their tolerances."""
    errors = parameter_errors(
        {k: [v] for k, v in found.observed.items()}, {k: [v] for k, v in found.reconstructed.items()}
    )
    return max(float(errors[name]) for name in names)


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        return reconstruct(*arguments, **options)


def test_what_the_model_drew_is_found_again_with_its_physics(model, drawn):
    found = reconstruct(model, drawn)
    for one, x in zip(found, drawn, strict=True):
        assert one.verdict == "drawn" and one.reason == ""
        assert one.unexplained < 0.03
        assert worst(one) <= 1.0
        assert one.mse == pytest.approx(float(np.square(one.x - x).mean()), rel=1e-3, abs=1e-9)
        again = render(model.generator, one.z[None], model.preset.shape)[0, 0].numpy()
        np.testing.assert_allclose(again, one.x, atol=1e-5)
        measured = measure_on_grid(one.x[None], model.preset, list(TOLERANCES))
        for name in TOLERANCES:
            assert one.reconstructed[name] == pytest.approx(float(measured[name][0]), rel=1e-6)
            assert one.differences[name] == one.reconstructed[name] - one.observed[name]


def test_parameters_are_met_where_the_closest_picture_misses_them(model, drawn):
    # the generator draws about the middle: of a region beside it the closest picture is fainter and shorter
    patches = np.roll(drawn, 2, axis=1)
    picture = quietly(model, patches, match=False)
    physics = quietly(model, patches)
    # a few pixels at the threshold are several per cent of AREA and R on a grid of 32 x 32
    fine = ("tuf", "psep", "tilt", "polarity")
    assert np.median([worst(one, fine) for one in picture]) > 2.0
    assert np.median([worst(one, fine) for one in physics]) <= 1.0
    assert all(worst(after) < worst(before) for before, after in zip(picture, physics, strict=True))


def test_states_come_in_order_from_the_guess_to_the_end(model, drawn):
    states = list(reconstruct_in_steps(model, drawn[:2], evaluations=20))
    assert states[0].stage == "first guess" and states[0].done == 0
    assert states[-1].stage == "done" and states[-1].done == states[-1].total
    done = [state.done for state in states]
    assert done == sorted(done) and len(states) > 4
    assert {state.stage for state in states} <= {"first guess", "picture", "physics", "done"}
    assert all(len(state.found) == 2 and state.found[0].verdict == "" for state in states[:-1])
    assert states[-1].found[0].unexplained < states[0].found[0].unexplained


def test_progress_is_told_and_giving_up_ends_the_work(model, drawn):
    calls = []
    handle = model.generator.register_forward_hook(lambda *_: calls.append(1))
    seen = []
    try:
        everything = reconstruct(model, drawn[:1], progress=seen.append)
        whole, calls[:] = len(calls), []
        part = reconstruct(model, drawn[:1], progress=seen.append, cancel=lambda: len(calls) > 10)
    finally:
        handle.remove()
    assert len(calls) < 0.6 * whole
    assert part[0].verdict == "" and part[0].observed is not None
    assert everything[0].verdict == "drawn"
    assert seen[0].stage == "first guess"
    # the generator is as it was
    assert model.generator.gain.requires_grad and model.generator.gain.grad is None


def test_the_first_guess_is_one_pass(model, drawn):
    class Oracle:
        asked = 0

        def guess(self, patches):
            self.asked += 1
            return torch.zeros(len(patches), 8)

    told = copy.copy(model)
    told.inference = Oracle()
    calls = []
    handle = model.generator.register_forward_hook(lambda *_: calls.append(1))
    try:
        found = first_guess(told, drawn)
    finally:
        handle.remove()
    assert told.inference.asked == 1 and len(calls) == 1
    assert all((one.z == 0).all() and one.verdict == "" for one in found)
    assert set(MATCHED) <= set(found[0].observed)


def test_a_batch_is_what_its_patches_are_alone(model, drawn):
    together = reconstruct(model, drawn[:3])
    for k in range(3):
        alone = reconstruct(model, drawn[k])[0]
        assert alone.unexplained == pytest.approx(together[k].unexplained, abs=5e-3)
        for name in ("tuf", "psep"):
            assert alone.reconstructed[name] == pytest.approx(together[k].reconstructed[name], rel=0.05)


def test_noise_cannot_be_drawn_and_it_says_so(model):
    noise = 0.3 * np.random.default_rng(5).normal(size=(32, 32)).astype(np.float32)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = reconstruct(model, noise)[0]
    assert any("cannot draw this region" in str(one.message) for one in told)
    assert all(issubclass(one.category, SteeringWarning) for one in told)
    assert found.verdict == "cannot draw" and "explains" in found.reason


def test_layerwise_latents_explain_more_and_travel_as_text(halves):
    from solquery.steering import encode_latent, open_latent

    z = np.random.default_rng(2).normal(size=(2, 8)).astype(np.float32)
    z[:, 2] = 1.5
    apart = 0.6 * np.random.default_rng(3).normal(size=(2, 2, 8)).astype(np.float32)
    apart[:, :, [2, 4]] = 0.0
    with torch.no_grad():
        x = halves.generator(torch.from_numpy(z[:, None] + apart))[:, 0].numpy()
    common = quietly(halves, x, layerwise=False, match=False)
    own = quietly(halves, x, match=False)
    for one, other in zip(common, own, strict=True):
        assert one.offsets is None and other.offsets.shape == (2, 8)
        assert other.unexplained < 0.5 * one.unexplained
    opened, latent = open_latent(halves, encode_latent(own[0].z, own[0].offsets))
    again = render(opened.generator, latent[None], halves.preset.shape)[0, 0].numpy()
    np.testing.assert_allclose(again, own[0].x, atol=1e-5)


def test_without_a_prior_the_latent_goes_where_it_likes(model):
    noise = 0.3 * np.random.default_rng(6).normal(size=(32, 32)).astype(np.float32)
    free, kept = (quietly(model, noise, prior=prior, match=False)[0] for prior in (0.0, 2.0))
    assert abs(kept.z_norm - np.sqrt(8)) < abs(free.z_norm - np.sqrt(8))


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_what_has_no_structure_is_refused_at_once(model, value):
    calls = []
    handle = model.generator.register_forward_hook(lambda *_: calls.append(1))
    try:
        for verb in (reconstruct, first_guess):
            with pytest.raises(SteeringError, match="nothing to invert"):
                verb(model, np.full((32, 32), value, np.float32))
    finally:
        handle.remove()
    assert not calls
    two = np.stack([np.random.default_rng(0).normal(size=(32, 32)), np.full((32, 32), value)])
    with pytest.raises(SteeringError, match="patch 1 of 2"):
        reconstruct(model, two)


def test_a_patch_of_one_polarity_has_nothing_to_match_for_its_axis(model):
    spot = np.zeros((32, 32), np.float32)
    spot[12:18, 12:18] = 0.4
    found = quietly(model, spot)[0]
    assert np.isnan(found.observed["psep"]) and np.isnan(found.differences["psep"])
    assert np.isfinite(found.mse)


def test_bad_options_are_named(model, drawn):
    with pytest.raises(ValueError, match="starts must be"):
        reconstruct(model, drawn, starts=0)
    with pytest.raises(ValueError, match="must not be negative"):
        reconstruct(model, drawn, prior=-1.0)
