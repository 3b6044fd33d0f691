"""The sides of feature maps for grids of any two sides, and maps of one grid at the cells of another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from solquery.generator.levels import image_shape, levels_of, resample_map, seed_shape


@pytest.mark.parametrize(
    ("shape", "seed", "levels"),
    [
        ((128, 128), (4, 4), 4),
        ((96, 192), (3, 6), 4),
        ((112, 224), (7, 14), None),
        ((128, 256), (4, 8), 4),
        ((32, 32), (4, 4), 2),
        ((32, 64), (4, 8), 2),
        ((80, 48), (5, 3), 3),
    ],
)
def test_sides_of_grids(shape, seed, levels):
    if levels is None:
        with pytest.raises(ValueError, match=f"which {shape[0]} x {shape[1]} cannot"):
            seed_shape(shape)
        return
    assert seed_shape(shape) == seed
    assert levels_of(shape) == levels
    assert image_shape(shape, levels) == shape
    assert image_shape(shape, levels - 1) == (shape[0] // 2, shape[1] // 2)


@given(st.integers(3, 5), st.integers(3, 40), st.integers(1, 4), st.booleans())
def test_the_coarsest_map_doubles_to_the_image(short, long, levels, upright):
    if long < short:
        short, long = long, short
    seed = (long, short) if upright else (short, long)
    shape = (seed[0] << (levels + 1), seed[1] << (levels + 1))
    assert seed_shape(shape) == seed
    assert [image_shape(shape, level) for level in (0, levels)] == [(2 * seed[0], 2 * seed[1]), shape]


@pytest.mark.parametrize("shape", [(8, 8), (30, 30), (96, 194), (36, 100), (192, 7)])
def test_sides_that_do_not_halve_are_refused(shape):
    with pytest.raises(ValueError, match="halved at least twice"):
        levels_of(shape)


def test_a_map_is_the_same_at_its_own_cells_and_linear_between_them():
    values = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resample_map(values, (4, 5)), values)
    # cells of equal size about one centre: six columns of a ramp of eight are its middle ones
    ramp = torch.arange(8.0).expand(3, 8)
    assert torch.equal(resample_map(ramp, (3, 6))[0], torch.arange(1.0, 7.0))
    assert torch.equal(resample_map(ramp, (3, 5))[0], torch.arange(1.5, 6.0))
    # and beyond the last cell it is repeated
    assert torch.equal(resample_map(ramp, (1, 10))[0], torch.tensor([0.0, *range(8), 7.0]))
