"""Resampling and scaling to the input of a network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.archive.prepare import axis_weights, prepare, prepare_many, resize
from solquery.config import PRESETS


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 300, shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 60))
def test_every_output_is_an_average_of_its_input(n, m):
    weights = axis_weights(n, m)
    assert weights.shape == (m, n)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 80), st.integers(0, 80))
def test_shrinking_keeps_the_mean_and_so_the_flux(height, width, more_y, more_x):
    field = noise((height + more_y, width + more_x))
    small = resize(field, (height, width))
    assert small.shape == (height, width) and small.dtype == np.float32
    assert small.mean(dtype=np.float64) == pytest.approx(field.mean(dtype=np.float64), abs=1e-3)


def test_whole_factors_are_block_means():
    field = noise((256, 384))
    np.testing.assert_allclose(resize(field, (128, 128)), field.reshape(128, 2, 128, 3).mean((1, 3)), atol=1e-3)


def test_a_broken_factor_shares_the_pixel_between_its_neighbours():
    np.testing.assert_allclose(resize(np.array([[3.0, 6.0, 9.0]] * 2), (2, 2)), [[4.0, 8.0]] * 2)


@pytest.mark.parametrize("shape", [(100, 90), (1, 7), (128, 20), (300, 40)])
def test_growing_is_bilinear(shape):
    field = noise(shape)
    expected = torch.nn.functional.interpolate(
        torch.tensor(field)[None, None], (128, 128), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(resize(field, (128, 128)), expected[0, 0].numpy(), atol=1e-3)


def test_both_axes_of_a_larger_image_are_averaged():
    field = noise((64, 512))
    expected = np.repeat(field.reshape(64, 128, 4).mean(2), 2, axis=0)  # the area of an output row is half an input row
    np.testing.assert_allclose(resize(field, (128, 128)), expected, atol=1e-3)


def test_a_method_that_is_none_is_refused():
    with pytest.raises(ValueError, match="bilinear"):
        axis_weights(4, 2, "cubic")


def test_missing_pixels_count_as_zero():
    field = np.array([[np.nan, 8.0], [4.0, np.inf]], np.float32)
    assert resize(field, (1, 1)).item() == pytest.approx(3.0)
    assert np.isnan(field[0, 0]), "the input is left as it was"


def test_big_endian_input_as_fits_gives_it():
    field = noise((30, 40))
    np.testing.assert_array_equal(resize(field.astype(">f4"), (10, 10)), resize(field, (10, 10)))


def test_three_axes_are_refused():
    with pytest.raises(ValueError, match="two axes"):
        resize(np.zeros((2, 3, 4)), (2, 2))


def test_the_paper_preset_averages_then_clips_then_scales():
    field = np.zeros((256, 256), np.float32)
    field[0, 0] = 3000.0  # averages to 750 G, which the clip must not touch
    field[2:4, 2:4] = -2500.0
    x = prepare(field, PRESETS["paper"])
    assert x.shape == (128, 128) and x.dtype == np.float32
    assert x[0, 0] == pytest.approx(0.75)
    assert x[1, 1] == -1.0


def test_many_of_any_size():
    x = prepare_many([noise((40, 50)), noise((20, 90))], PRESETS["tiny"])
    assert x.shape == (2, 32, 32)
    assert prepare_many([], PRESETS["tiny"]).shape == (0, 32, 32)
