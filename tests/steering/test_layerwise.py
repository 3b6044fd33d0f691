"""Detail on a generator whose parts each draw one half of the patch: what belongs to which is known."""

import numpy as np
import pytest
import torch

from solquery.steering import SteeringError, exact_traversal, generate, invert, refine_layerwise, with_layerwise
from solquery.steering.latents import render


@pytest.fixture
def common():
    """Bipoles with both polarities strong."""
    z = np.random.default_rng(2).normal(size=(3, 8)).astype(np.float32)
    z[:, 2], z[:, 4] = 1.5, 0.3 * z[:, 4]
    return z


@pytest.fixture
def patches(halves, common):
    """Patches whose halves were told latents a little apart, so that no common one gives them."""
    apart = 0.6 * np.random.default_rng(3).normal(size=(3, 2, 8)).astype(np.float32)
    apart[:, :, [2, 4]] = 0.0
    with torch.no_grad():
        return halves.generator(torch.from_numpy(common[:, None] + apart))[:, 0].numpy()


def test_detail_explains_what_a_common_latent_cannot(halves, patches, common):
    plain = invert(halves, patches, starts=1, steps=120, guesses=common)
    found = refine_layerwise(halves, patches, plain, steps=150, weight=0.01)
    for before, after, x in zip(plain, found, patches, strict=True):
        assert after.unexplained < 0.4 * before.unexplained
        assert after.mse == pytest.approx(float(np.square(after.x - x).mean()), rel=1e-3)
        # the answer is what the generator makes of latent and detail, on the model that carries it
        again = render(with_layerwise(halves, after).generator, after.z[None], halves.preset.shape)[0, 0].numpy()
        np.testing.assert_allclose(again, after.x, atol=1e-5)
    apart = [np.sqrt(np.square(one.offsets).mean()) for one in found]
    tight = refine_layerwise(halves, patches, plain, steps=150, weight=1.0)
    assert np.mean(apart) > 1.5 * np.mean([np.sqrt(np.square(one.offsets).mean()) for one in tight])


def test_nothing_is_made_worse_and_nothing_stays_on_the_generator(halves, patches):
    plain = invert(halves, patches, starts=2, steps=20)
    for before, after in zip(plain, refine_layerwise(halves, patches, plain, steps=1), strict=True):
        assert after.mse <= before.mse
    gain = halves.generator.inner.gain
    assert gain.requires_grad and gain.grad is None
    assert plain[0].offsets is None


def test_edits_and_targets_keep_the_detail(halves, patches, common):
    plain = invert(halves, patches[:1], starts=1, steps=60, guesses=common)
    found = refine_layerwise(halves, patches[:1], plain, steps=60)[0]
    carried = with_layerwise(halves, found)
    film = exact_traversal(carried, found.z, "psep", ("tuf",), spreads=[0.0, 0.5])
    np.testing.assert_allclose(film.x[0, 0], found.x, atol=0.02)
    assert film.values["psep"][1] == pytest.approx(film.requested[1], rel=0.03)
    assert film.values["tuf"][1] == pytest.approx(film.values["tuf"][0], rel=0.03)
    flux = 1.1 * film.values["tuf"][0]
    answer = generate(carried, {"tuf": flux}, hold="psep", start=found.z)[0]
    assert answer.verdict == "met" and answer.measured["tuf"] == pytest.approx(flux, rel=0.03)


def test_what_has_no_detail_says_so(model, halves, patches):
    found = invert(halves, patches[:1], starts=1, steps=1)
    with pytest.raises(SteeringError, match="tells all of its layers one latent vector"):
        refine_layerwise(model, patches[:1], found)
    with pytest.raises(SteeringError, match="has no detail"):
        with_layerwise(halves, found[0])
    with pytest.raises(SteeringError, match=r"shape \(2, 8\)"):
        with_layerwise(halves, np.zeros((3, 8)))
    with pytest.raises(ValueError, match="1 inversions for 2 patches"):
        refine_layerwise(halves, patches[:2], found)
