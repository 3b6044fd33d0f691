"""Training patches of an archive and of a generator, read as one array."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from solquery.encoder.generated import GENERATED_SHARE, WithGenerated, with_generated


class Ramp(nn.Module):
    """Draws whose first pixel is the first latent coordinate."""

    def forward(self, z):
        return z[:, :1, None, None].expand(-1, 1, 4, 4) * torch.linspace(1, 0.5, 16).view(1, 1, 4, 4)


def _parts(n=7, m=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4, 4)).astype(np.float16), rng.normal(size=(m, 4, 4)).astype(np.float16)


@given(st.lists(st.integers(-12, 11), min_size=1, max_size=20))
def test_rows_are_those_of_both_arrays_one_after_the_other(rows):
    first, second = _parts()
    both, whole = WithGenerated(first, second), np.concatenate([first, second]).astype(np.float32)
    assert len(both) == 12 and both.shape == (12, 4, 4)
    assert np.array_equal(both[np.array(rows)], whole[rows])
    assert np.array_equal(both[rows[0]], whole[rows[0]])
    low, high = sorted(rows[:2] * 2)[:2]
    assert np.array_equal(both[low:high], whole[low:high])


def test_other_shapes_do_not_go_together():
    with pytest.raises(ValueError, match="not alike"):
        WithGenerated(np.zeros((2, 4, 4)), np.zeros((2, 5, 4)))


def test_draws_are_kept_and_taken_again(tmp_path):
    first, _ = _parts()
    both = with_generated(first, Ramp(), 6, 250, tmp_path, seed=3)
    assert both.shape == (257, 4, 4)
    corner = both[np.arange(7, 257)][:, 0, 0]
    assert abs(corner.mean()) < 0.2 and 0.85 < corner.std() < 1.15  # the prior's
    before = (tmp_path / GENERATED_SHARE).stat().st_mtime_ns
    again = with_generated(first, Ramp(), 6, 250, tmp_path, seed=99)  # kept: a stopped run goes on with the same
    assert np.array_equal(again[7:], both[7:]) and (tmp_path / GENERATED_SHARE).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="take a new folder"):
        with_generated(first, Ramp(), 6, 251, tmp_path, seed=3)
