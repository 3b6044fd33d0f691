"""What a discriminator is shown: shifted, mirrored north to south, turned and zoomed; never what Hale's law forbids."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from solquery.generator.discriminator_augment import SHIFT, apply_views, draw_views

SHAPE = (32, 64)


def draws(count, probability, seed=0):
    return draw_views(count, SHAPE, probability, torch.Generator().manual_seed(seed))


def images(count, seed=1):
    return torch.randn(count, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_with_no_probability_nothing_changes():
    x = images(4)
    torch.testing.assert_close(apply_views(x, draws(4, 0.0)), x, atol=1e-4, rtol=0)


@given(st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_east_stays_east_and_polarities_stay(seed, probability):
    views = draws(16, probability, seed)
    # columns of a view run as those of the image, whatever is turned; rows may run the other way
    assert (views[:, 0, 0] > 0).all()
    positive = images(16, seed).abs()
    assert (apply_views(positive, views) >= 0).all()


def test_some_are_mirrored_north_to_south_and_a_mirror_is_exact():
    views = draws(2000, 1.0)
    mirrored = views[:, 1, 1] < 0
    assert 0.45 < mirrored.float().mean() < 0.55
    plain = (views[:, 0, 0] == 1) & (views[:, 1, 1] == -1)
    view = views[plain][:1].clone()
    view[:, :, 2] = 0.0
    x = images(1)
    torch.testing.assert_close(apply_views(x, view), x.flip(2), atol=1e-4, rtol=0)


def test_shifts_are_whole_pixels_and_show_zero_beyond():
    views = draws(400, 1.0)
    still = views[(views[:, 0, 0] == 1) & (views[:, 1, 1] == 1)]
    assert len(still) > 50
    x = images(len(still))
    seen = apply_views(x, still)
    for k, view in enumerate(still):
        right, down = (round(float(view[axis, 2]) * SHAPE[1 - axis] / 2) for axis in (0, 1))
        assert abs(right) <= SHIFT * SHAPE[1] and abs(down) <= SHIFT * SHAPE[0]
        wanted = torch.zeros(SHAPE)
        rows = slice(max(down, 0), SHAPE[0] + min(down, 0)), slice(max(-down, 0), SHAPE[0] + min(-down, 0))
        columns = slice(max(right, 0), SHAPE[1] + min(right, 0)), slice(max(-right, 0), SHAPE[1] + min(-right, 0))
        wanted[rows[1], columns[1]] = x[k, 0, rows[0], columns[0]]
        torch.testing.assert_close(seen[k, 0], wanted, atol=1e-4, rtol=0)


def test_a_round_spot_stays_round_on_a_grid_that_is_wider_than_high():
    y, x = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(64.0) - 31.5, indexing="ij")
    spot = torch.exp(-(y**2 + x**2) / 18.0)
    views = draws(300, 1.0)
    views = views[views[:, 0, 1] != 0]
    views[:, :, 2] = 0.0
    seen = apply_views(spot.expand(len(views), 1, *SHAPE), views)[:, 0]
    wide, high, both = ((seen * moment).sum((1, 2)) / seen.sum((1, 2)) for moment in (x * x, y * y, x * y))
    torch.testing.assert_close(wide, high, rtol=0.01, atol=0)
    assert (both.abs() < 0.01 * wide).all()
    assert wide.std() > 0.5  # zoomed


def test_gradients_pass():
    x = images(3).requires_grad_()
    apply_views(x, draws(3, 0.0)).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x), atol=1e-4, rtol=0)
