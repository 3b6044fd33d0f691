"""Latent vectors as text, with and without layer-wise latents."""

import numpy as np
import pytest

from solquery.steering import SteeringError, decode_latent, encode_latent, open_latent


def test_a_plain_latent_comes_back_to_the_bit_and_leaves_the_model_alone(model):
    z = np.random.default_rng(0).normal(size=8).astype(np.float32)
    opened, again = open_latent(model, encode_latent(z))
    assert opened is model
    np.testing.assert_array_equal(again, z)
    np.testing.assert_array_equal(decode_latent(encode_latent(z), 8), z)


def test_layerwise_latents_follow_it(halves):
    rng = np.random.default_rng(1)
    z, offsets = rng.normal(size=8).astype(np.float32), rng.normal(size=(2, 8)).astype(np.float32)
    text = encode_latent(z, offsets)
    opened, again = open_latent(halves, text)
    np.testing.assert_array_equal(again, z)
    np.testing.assert_array_equal(opened.generator.offsets.numpy(), offsets)
    # who asks for the latent vector alone is told that there is more
    with pytest.raises(SteeringError, match="8"):
        decode_latent(text, 8)


@pytest.mark.parametrize("numbers", [7, 16, 32])
def test_a_text_of_another_model_is_refused(halves, numbers):
    with pytest.raises(SteeringError):
        open_latent(halves, encode_latent(np.zeros(numbers, np.float32)))


def test_a_damaged_text_is_refused(model):
    with pytest.raises(SteeringError, match="damaged"):
        open_latent(model, "no latent!")
