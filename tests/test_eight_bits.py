"""Weights in eight bits: what is rounded is kept exactly, in half the space, and nothing else is changed."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from solquery import Model, get_preset
from solquery.eight_bits import packed, round_weights, unpacked
from solquery.encoder.networks import build_encoder
from solquery.generator.registry import build_generator
from solquery.generator.training import train_generator
from solquery.model_build import build_model
from solquery.model_files import document_hash, state_hash, stored_state

TINY = get_preset("tiny")


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 30.0))
@settings(max_examples=25, deadline=None)
def test_rounded_weights_come_back_as_they_are(seed, size):
    torch.manual_seed(seed)
    layer = nn.Conv2d(16, 32, 3)
    with torch.no_grad():
        layer.weight.mul_(size * torch.rand(32, 1, 1, 1))
        layer.weight[3] = 0.0
    before = layer.weight.detach().clone()
    round_weights(layer)
    state = stored_state(layer)
    held = packed(state)
    assert held["weight"].dtype == torch.int8 and held["bias"].dtype == torch.float16
    for name, value in unpacked(held).items():
        assert value.dtype == state[name].dtype and torch.equal(value, state[name]), name
        # to the bit: hashes tell -0 from 0
        assert torch.equal(torch.signbit(value), torch.signbit(state[name])), name
    # float16 of rounded weights are the weights, and they are off by half a step of at most a 112th of the largest
    assert torch.equal(state["weight"].float(), layer.weight.detach())
    largest = before.abs().flatten(1).max(1).values[:, None, None, None]
    assert bool(((layer.weight - before).abs() <= 0.5 * largest / 112 + 2.0**-21).all())


def test_other_weights_stay_float16():
    torch.manual_seed(0)
    state = stored_state(nn.Linear(100, 100))
    held = packed(state)
    assert set(held) == set(state) and all(torch.equal(held[name], state[name]) for name in state)


@pytest.fixture
def model():
    torch.manual_seed(1)
    wide = dataclasses.replace(TINY, encoder=dataclasses.replace(TINY.encoder, width=32))
    encoder = build_encoder(wide.encoder)
    with torch.no_grad():  # after normalisations that have seen something
        for value in encoder.buffers():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return Model("wide", wide, build_generator(wide.generator, wide.shape), encoder)


def test_a_model_in_eight_bits_is_the_same_when_it_is_loaded(model, tmp_path):
    plain = model.save(tmp_path / "plain")
    unrounded = model.encoder_hash
    round_weights(model.encoder)
    small = model.save(tmp_path / "small")
    loaded = Model.load(small)
    assert loaded.encoder_hash == model.encoder_hash == state_hash(loaded.encoder) != unrounded
    x = torch.randn(4, 1, *model.preset.shape)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encoder(x), model.encoder(x), rtol=1e-3, atol=1e-3)
    files = [(folder / "encoder.safetensors").stat().st_size for folder in (small, plain)]
    assert files[0] < 0.62 * files[1]
    # saved again it is the same file
    again = loaded.save(tmp_path / "again")
    assert json.loads((again / "model.json").read_text())["hash"] == loaded.hash


def test_building_rounds_a_copy(model, tmp_path):
    data = 0.1 * np.random.default_rng(0).standard_normal((64, *TINY.shape)).astype(np.float32)
    folder = tmp_path / "run"
    train_generator(TINY.generator, data, folder, TINY.shape, until_images=32)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    built = build_model("small", folder, model, preset="tiny", directions=False, eight_bits=True)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[name])
    assert built.encoder_hash != model.encoder_hash
    assert built.metadata["provenance"]["encoder"]["weights"] == "rounded to eight bits"
    x = torch.randn(8, 1, *model.preset.shape)
    with torch.no_grad():
        a, b = built.encoder(x).numpy(), model.encoder(x).numpy()
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.995


def test_a_model_shares_an_encoder_under_the_hash_that_it_was_saved_with(model, tmp_path):
    """Rounded weights once had -0 among them, which a file of whole numbers does not keep: their hash is of then."""
    round_weights(model.encoder)
    folder = model.save(tmp_path / "wide")
    document = json.loads((folder / "model.json").read_text())
    document["encoder"]["weights"] = "0" * 64
    document["hash"] = document_hash(document)
    (folder / "model.json").write_text(json.dumps(document))
    data = 0.1 * np.random.default_rng(0).standard_normal((64, *TINY.shape)).astype(np.float32)
    train_generator(TINY.generator, data, tmp_path / "run", TINY.shape, until_images=32)
    built = build_model("other", tmp_path / "run", folder, preset="tiny", directions=False)
    other = Model.load(built.save(tmp_path / "other", encoder_from="wide"))
    assert built.encoder_hash == other.encoder_hash == "0" * 64
