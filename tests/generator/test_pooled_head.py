"""The discriminator's head of pooled features, and the weights of what a training with a discriminator asks for."""

import dataclasses

import pytest
import torch
from trainings import blobs, configurations

from solquery.generator import train_generator
from solquery.generator.vaegan import PatchDiscriminator
from solquery.generator.vaegan_losses import _Moments, _spread

SHAPE = (32, 32)
CONFIG = dataclasses.replace(
    configurations()["vae-gan"], images=64, grow_images=(), fade_images=1, statistics_matching=0.0,
    statistics_critic=0.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(3)


def test_its_logit_depends_on_mean_and_root_mean_square_of_each_feature_and_not_on_their_places():
    network = PatchDiscriminator(SHAPE, 8, pooled=True)
    maps = network.features(torch.randn(3, 1, *SHAPE))
    assert [tuple(part.shape) for part in maps] == [(3, 6, 16, 16), (3, 12, 8, 8), (3, 16, 4, 4)]
    moved = [part.flatten(2)[:, :, torch.randperm(part[0, 0].numel())].view_as(part) for part in maps]
    (_, whole, pooled), (_, other_whole, other_pooled) = network.score(maps), network.score(moved)
    torch.testing.assert_close(pooled, other_pooled, atol=1e-5, rtol=1e-5)
    assert (whole - other_whole).abs().max() > 1e-5
    for k, part in enumerate(maps):
        middle = part.mean((2, 3), keepdim=True)
        for changed in (part + 0.5, middle + 3.0 * (part - middle)):
            assert (network.score([*maps[:k], changed, *maps[k + 1 :]])[2] - pooled).abs().max() > 1e-5


def test_moments_and_their_slopes_are_those_of_plain_sums():
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    found, plain = _Moments.apply(x), (x.mean((2, 3)), x.square().mean((2, 3)))
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-6, rtol=1e-6)
    weights = torch.randn(2, 3, 5)
    slopes = [
        torch.autograd.grad(
            sum((part * w).sum() for part, w in zip(parts, weights, strict=True)), x, create_graph=True
        )[0]
        for parts in (found, plain)
    ]
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-6)
    # the gradient penalty goes through them once more
    again = [torch.autograd.grad(slope.square().sum(), x)[0] for slope in slopes]
    torch.testing.assert_close(*again, atol=1e-6, rtol=1e-6)


def test_a_discriminator_without_it_gives_two_logits_and_its_weights_are_those_of_before():
    torch.manual_seed(3)
    plain = PatchDiscriminator(SHAPE, 8)
    torch.manual_seed(3)
    pooled = PatchDiscriminator(SHAPE, 8, pooled=True)
    x = torch.randn(2, 1, *SHAPE)
    assert len(plain(x)) == 2 and len(pooled(x)) == 3
    assert all(torch.equal(value, pooled.state_dict()[name]) for name, value in plain.state_dict().items())


def test_the_spread_is_that_of_eight_patches_of_a_kind_whatever_the_batch():
    values = torch.randn(32, 5)
    found = _spread(values)
    for first in range(0, 32, 8):
        plain = values[first : first + 8].std(0, unbiased=False)
        torch.testing.assert_close(found[first : first + 8], plain.expand(8, 5), atol=1e-4, rtol=1e-4)
    # a small share of a batch: both halves, reconstructions and draws, stay apart
    for count, size in ((16, 8), (8, 4), (4, 2), (6, 1), (2, 1)):
        parts = _spread(values[:count])
        assert parts.shape == (count, 5)
        torch.testing.assert_close(
            parts[:size], (values[:size].var(0, unbiased=False) + 1e-6).sqrt().expand(size, 5), atol=1e-4, rtol=1e-4
        )


def test_a_logit_of_spread_depends_on_the_other_patches_of_its_group_alone():
    network = PatchDiscriminator(SHAPE, 8, pooled=True, spread=True)
    x = torch.randn(16, 1, *SHAPE)
    changed = x.clone()
    changed[3] *= 3.0
    one, other = network(x), network(changed)
    assert len(one) == 4 and one[3].shape == (16, 1)
    moved = (one[3] - other[3]).abs()[:, 0] > 1e-6
    assert moved[:8].all() and not moved[8:].any()
    for k in range(3):  # the other logits are of one patch each
        moved = (one[k] - other[k]).flatten(1).abs().amax(1) > 1e-6
        assert moved[3] and moved.sum() == 1
    with pytest.raises(ValueError, match="batch_spread is of the pooled head"):
        dataclasses.replace(CONFIG, batch_spread=True)


def trained(tmp_path, name, start=None, images=48, **settings):
    config = dataclasses.replace(CONFIG, **settings)
    train_generator(config, blobs(48), tmp_path / name, SHAPE, start=start, until_images=images)
    return torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)


def test_a_training_begins_with_a_run_that_had_no_such_head_and_learns_it(tmp_path):
    old = trained(tmp_path, "old")["discriminator"]
    assert not any(name.startswith("pooled.") for name in old)
    start = tmp_path / "old"
    still = trained(tmp_path, "still", start, pooled_head=True, learning_rate=1e-30)["discriminator"]
    assert all(torch.equal(value, still[name]) for name, value in old.items())
    learned = trained(tmp_path, "learned", start, pooled_head=True)["discriminator"]
    assert not torch.equal(learned["pooled.0.weight"], still["pooled.0.weight"])
    spread = trained(tmp_path, "spread", tmp_path / "learned", pooled_head=True, batch_spread=True, learning_rate=1e-30)
    assert all(torch.equal(value, spread["discriminator"][name]) for name, value in learned.items())
    assert any(name.startswith("spread.") for name in spread["discriminator"])


def test_the_rate_of_the_discriminator_bounds_its_steps_alone(tmp_path):
    still = trained(tmp_path, "still", discriminator_rate=1e-30)
    other = trained(tmp_path, "other", discriminator_rate=1.0)
    torch.manual_seed(0)
    first = trained(tmp_path, "first", images=16, discriminator_rate=1e-30)
    assert all(torch.equal(value, first["discriminator"][name]) for name, value in still["discriminator"].items())
    assert not torch.equal(still["discriminator"]["local.weight"], other["discriminator"]["local.weight"])
    assert not torch.equal(still["generator"]["linear.weight"], first["generator"]["linear.weight"])


def test_reconstructions_weigh_as_much_as_they_are_told_to(tmp_path):
    lines = [trained(tmp_path, f"{weight:g}", reconstruction_weight=weight) for weight in (1.0, 4.0)]
    assert not torch.equal(*(line["generator"]["linear.weight"] for line in lines))
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="reconstruction_weight must be positive"):
            dataclasses.replace(CONFIG, reconstruction_weight=wrong)
