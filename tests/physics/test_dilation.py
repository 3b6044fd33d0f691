"""The dilation in doubling spans is the plain one, in value and gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from solquery.physics.dilation import dilated


def plain(x, size):
    return F.max_pool2d(x[:, None], size, stride=1, padding=size // 2)[:, 0]


@given(
    st.integers(0, 2**31), st.integers(1, 14), st.integers(1, 14), st.integers(0, 5), st.sampled_from([0.02, 0.3, 1.0])
)
def test_it_is_the_largest_of_all_about_a_pixel(seed, rows, columns, reach, filled):
    size = 2 * reach + 1
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(2, rows, columns, generator=random, dtype=torch.float64)
    x = x * (torch.rand(x.shape, generator=random) < filled)
    assert torch.equal(dilated(x, size), plain(x, size))
    mask = (x > 0.5).to(torch.float32)
    assert torch.equal(dilated(mask, size), plain(mask, size))


def test_the_gradient_goes_to_the_largest():
    random = torch.Generator().manual_seed(4)
    x = (torch.rand(2, 9, 12, generator=random, dtype=torch.float64) + 0.1).requires_grad_()
    weight = torch.rand(2, 9, 12, generator=random, dtype=torch.float64)
    grads = [torch.autograd.grad((f(x, 5) * weight).sum(), x)[0] for f in (dilated, plain)]
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("size", [0, 2, -3])
def test_an_even_size_has_no_middle(size):
    with pytest.raises(ValueError, match="odd and positive"):
        dilated(torch.zeros(1, 4, 4), size)
