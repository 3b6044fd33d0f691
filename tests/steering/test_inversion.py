import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from solquery.steering import SteeringError, SteeringWarning, invert, render
from solquery.steering.inversion import _refine


def patches(model, n, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 8)).astype(np.float32)
    # well away from where both polarities vanish and z is not to be seen
    z[:, 2] = np.sign(z[:, 2]) * (0.5 + np.abs(z[:, 2]))
    return z, render(model.generator, z, model.preset.shape)[:, 0]


def test_a_generated_patch_is_recovered(model):
    z, x = patches(model, 3, 0)
    found = invert(model, x, starts=4, steps=120)
    assert len(found) == 3
    for true, patch, answer in zip(z, x.numpy(), found, strict=True):
        assert answer.mse < 1e-3 * float(np.square(patch).mean())
        assert answer.mse == pytest.approx(float(np.square(answer.x - patch).mean()), rel=0.05, abs=1e-9)
        np.testing.assert_allclose(answer.z[[0, 1, 3]], true[[0, 1, 3]], atol=0.15)
        assert np.sign(answer.z[2]) == np.sign(true[2])
        assert answer.z_norm == pytest.approx(float(np.linalg.norm(answer.z)))
        assert answer.start_mse.shape == (4,)
        assert answer.mse == answer.start_mse[0]


def test_steps_are_those_of_adam_with_a_fresh_gradient():
    """Accumulated gradients, as when they are never cleared, would take another way."""
    a = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    target = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(1))

    def generator(z):
        return (z @ a.T).view(-1, 1, 2, 3)

    z0 = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(2))
    steps, rate = 20, 0.05
    found, error = _refine(generator, target, z0, steps, rate, 0.0)

    reference = z0[0].clone().requires_grad_(True)
    adam = torch.optim.Adam([reference], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=0.02 * rate)
    for _ in range(steps):
        adam.zero_grad()
        ((generator(reference)[:, 0] - target).square().mean() / target.square().mean()).backward()
        adam.step()
        schedule.step()
    torch.testing.assert_close(found[0], reference.detach(), atol=1e-4, rtol=1e-4)
    assert float(error) == pytest.approx(float((generator(found[0])[:, 0] - target).square().mean()), rel=1e-4)


def test_nothing_is_left_behind_on_the_generator(model):
    _, x = patches(model, 1, 1)
    invert(model, x, starts=2, steps=5)
    assert model.generator.gain.grad is None
    assert model.generator.gain.requires_grad


def test_patches_do_not_influence_each_other(model):
    _, x = patches(model, 2, 2)
    both = invert(model, x, starts=3, steps=40)
    alone = invert(model, x[1], starts=3, steps=40)
    np.testing.assert_allclose(both[1].z, alone[0].z, atol=1e-3)


def test_same_seed_same_latent(model):
    _, x = patches(model, 1, 3)
    first, again = (invert(model, x, starts=2, steps=10, seed=4)[0] for _ in range(2))
    np.testing.assert_array_equal(first.z, again.z)


def test_a_given_start_is_used(model):
    z, x = patches(model, 1, 4)
    answer = invert(model, x, starts=1, steps=1, guesses=z[0])[0]
    assert answer.mse < 1e-6


def test_inversion_starts_where_the_inference_network_points(model):
    z = torch.randn(3, model.generator.latent_dim, generator=torch.Generator().manual_seed(5))
    x = render(model.generator, z, model.preset.shape)[:, 0]

    class Oracle:
        def guess(self, patches):
            return torch.stack([z[int((x - patch).abs().sum((1, 2)).argmin())] for patch in patches])

    told = SimpleNamespace(
        **{name: getattr(model, name) for name in ("name", "generator", "preset")}, inference=Oracle()
    )
    answers = invert(told, x, starts=1, steps=1, prior=0.0)
    assert max(a.mse for a in answers) < 1e-10
    assert all(np.allclose(a.z, one, atol=1e-5) for a, one in zip(answers, z.numpy(), strict=True))
    assert min(a.mse for a in invert(model, x, starts=1, steps=1, prior=0.0)) > 1e-6


def test_prior_keeps_the_latent_at_home(model):
    rng = np.random.default_rng(6)
    noise = rng.normal(size=(32, 32)).astype(np.float32) * 0.3
    with warnings.catch_warnings():
        # left free, it may wander as far as it likes
        warnings.simplefilter("ignore", SteeringWarning)
        free = invert(model, noise, starts=2, steps=100, prior=0.0)[0]
    with pytest.warns(SteeringWarning, match="far from what this generator makes"):
        kept = invert(model, noise, starts=2, steps=100, prior=1.0)[0]
    assert kept.unexplained > 0.8
    home = np.sqrt(8)
    assert abs(kept.z_norm - home) < 0.5
    assert abs(kept.z_norm - home) < abs(free.z_norm - home)
    assert free.mse <= kept.mse + 1e-6


def test_a_latent_far_from_the_prior_warns(model):
    z = np.zeros((1, 8), np.float32)
    z[0, :3] = 0.0, 9.0, 1.0
    x = render(model.generator, z, model.preset.shape)[:, 0]
    with pytest.warns(SteeringWarning, match="far from the prior"):
        invert(model, x, starts=1, steps=1, prior=0.0, guesses=z)


def test_missing_pixels_count_as_nothing(model):
    _, x = patches(model, 1, 7)
    holes = x.clone()
    holes[0, :3] = float("nan")
    zeros = x.clone()
    zeros[0, :3] = 0.0
    np.testing.assert_array_equal(
        invert(model, holes, starts=2, steps=5)[0].z, invert(model, zeros, starts=2, steps=5)[0].z
    )


def test_what_cannot_be_inverted(model):
    with pytest.raises(SteeringError, match=r"shape \(32, 32\), got \(1, 128, 128\)"):
        invert(model, np.zeros((128, 128)))
    with pytest.raises(SteeringError, match="no valid pixel"):
        invert(model, np.full((32, 32), np.nan))
    with pytest.raises(ValueError, match="starts must be"):
        invert(model, np.zeros((32, 32)), starts=0)
