"""Weights of one grid in networks of another: what carries over does so exactly, what cannot is named."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from trainings import blobs, configurations

from solquery.generator import TrainingError, train_generator
from solquery.generator.inference import build_inference
from solquery.generator.registry import build_generator
from solquery.generator.vaegan import PatchDiscriminator
from solquery.generator.warm_start import carry_weights

SQUARE, WIDE = (32, 32), (32, 64)
SEEDS = ((4, 4), (4, 8))
CONFIG = dataclasses.replace(configurations()["vae-gan"], footprint_mask=True, pixel_noise=True)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: build_generator(CONFIG, shape),
        lambda shape: build_inference(CONFIG, shape),
        lambda shape: PatchDiscriminator(shape, 8),
    ],
    ids=["generator", "inference", "discriminator"],
)
def test_all_that_does_not_know_the_grid_is_copied(make):
    old, new = make(SQUARE), make(WIDE)
    stored, fresh = old.state_dict(), {name: value.clone() for name, value in new.state_dict().items()}
    _, changed = carry_weights(new, stored, SEEDS)
    now = new.state_dict()
    assert set(changed) < set(now)
    assert all(torch.equal(now[name], stored[name]) for name in set(now) - set(changed))
    for name in changed:
        if name.endswith(".noise"):  # frozen noise is of the grid
            assert torch.equal(now[name], fresh[name])
        else:
            assert name.startswith(("linear.", "layers.", "whole.", "window."))
    same = make(SQUARE)
    assert carry_weights(same, stored, (SEEDS[0], SEEDS[0])) == (False, [])
    assert all(torch.equal(value, stored[name]) for name, value in same.state_dict().items())


def test_the_coarsest_map_is_the_same_at_the_same_places():
    old, new = build_generator(CONFIG, SQUARE), build_generator(CONFIG, WIDE)
    fit, changed = carry_weights(new, old.state_dict(), SEEDS)
    assert fit and {"linear.weight", "linear.bias", "window.net.2.bias"} <= set(changed)
    z = torch.randn(3, CONFIG.latent_dim)
    with torch.no_grad():
        before = old.linear(z).view(3, -1, 4, 4)
        after = new.linear(z).view(3, -1, 4, 8)
        torch.testing.assert_close(after[..., 2:6], before)
        torch.testing.assert_close(after[..., :2], before[..., :1].expand(-1, -1, -1, 2))
        # what is told in shares of the sides stays as large on the Sun
        torch.testing.assert_close(new.window.sizes(z), old.window.sizes(z))


def test_a_sum_over_the_coarsest_map_stays_what_it_was_for_an_even_field():
    old, new = PatchDiscriminator(SQUARE, 8), PatchDiscriminator(WIDE, 8)
    with torch.no_grad():
        last = old.whole[-1]
        even = torch.randn(last.in_features // 16)
        last.weight.copy_(even[:, None].expand(-1, 16).reshape(1, -1))
    carry_weights(new, old.state_dict(), SEEDS)
    features = torch.randn(len(even))
    with torch.no_grad():
        one = old.whole[-2:](features.view(1, -1, 1, 1).expand(-1, -1, 4, 4))
        other = new.whole[-2:](features.view(1, -1, 1, 1).expand(-1, -1, 4, 8))
    torch.testing.assert_close(one, other)


def test_networks_that_differ_in_more_than_the_grid_are_refused():
    wider = dataclasses.replace(CONFIG, width=16)
    with pytest.raises(RuntimeError):
        carry_weights(build_generator(CONFIG, WIDE), build_generator(wider, SQUARE).state_dict(), SEEDS)


def test_a_training_on_another_grid_begins_with_a_run_and_says_what_is_new(tmp_path):
    config = dataclasses.replace(CONFIG, images=48, grow_images=(), fade_images=16)
    data = blobs(32)
    wide = np.pad(data, ((0, 0), (0, 0), (16, 16)))
    train_generator(config, data, tmp_path / "square", SQUARE, until_images=32)
    run = tmp_path / "wide"
    train_generator(config, wide, run, WIDE, until_images=16, start=tmp_path / "square")
    told = json.loads((run / "start.json").read_text())["of_another_grid"]
    assert "linear.weight" in told["generator"] and "whole.1.weight" in told["discriminator"]
    # at a rate of nothing, the weights after a step are those it began with
    still = dataclasses.replace(config, learning_rate=1e-30)
    train_generator(still, wide, tmp_path / "still", WIDE, until_images=16, start=tmp_path / "square")
    one, other = (
        torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)["generator"]
        for name in ("square", "still")
    )
    kept = [name for name in one if name not in told["generator"] and not name.startswith("window.")]
    assert any(name.endswith("conv.weight") for name in kept)
    for name in kept:
        torch.testing.assert_close(one[name], other[name])
    with pytest.raises(TrainingError, match="cannot start from"):
        other_widths = dataclasses.replace(config, width=16)
        train_generator(other_widths, wide, tmp_path / "no", WIDE, until_images=16, start=tmp_path / "square")


def test_frozen_layers_need_a_discriminator_that_has_learned_and_stay_as_they_were(tmp_path):
    config = dataclasses.replace(CONFIG, images=64, grow_images=(), fade_images=16)
    data = blobs(48)
    frozen = dataclasses.replace(config, frozen_discriminator_layers=2, discriminator_augment=0.6, real_weight=0.5)
    real = np.arange(48) < 10
    with pytest.raises(TrainingError, match="start from a run"):
        train_generator(frozen, data, tmp_path / "no", SQUARE, real=real)
    train_generator(config, data, tmp_path / "first", SQUARE, until_images=32)
    train_generator(frozen, data, tmp_path / "adapted", SQUARE, start=tmp_path / "first", until_images=48, real=real)
    one, other = (
        torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)["discriminator"]
        for name in ("first", "adapted")
    )
    for name, value in one.items():
        frozen = name.startswith(("fine.0.", "fine.2."))
        if frozen or name.endswith(".weight"):  # the last biases cancel where pairs are compared
            assert torch.equal(value, other[name]) == frozen, name
