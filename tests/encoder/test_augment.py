"""The views do what they say, within their limits, and never what would change Hale's law."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery.config import AugmentConfig, get_preset
from solquery.encoder.augment import Views, augment, draw_views, seeded_generator, warp

NOTHING = AugmentConfig(shift_px=0, zoom=(1, 1), rotation_deg=0, vertical_flip=False)


def blobs(height, width, *spots, sigma=2.0):
    """(1, 1, H, W) with a Gaussian of the given amplitude at each (y, x, amplitude)."""
    y, x = np.mgrid[:height, :width]
    field = sum(a * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2)) for cy, cx, a in spots)
    return torch.from_numpy(field.astype(np.float32))[None, None]


def centroid(field):
    weight = field.numpy().squeeze()
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(y * weight).sum(), (x * weight).sum()]) / weight.sum()


def views(n=1, shift=(0.0, 0.0), zoom=1.0, rotation=0.0, flip=False):
    return Views(
        torch.tensor([shift] * n), torch.full((n,), zoom), torch.full((n,), float(rotation)), torch.full((n,), flip)
    )


def test_identity_when_everything_is_off():
    x = torch.randn(3, 1, 16, 24, generator=seeded_generator(1))
    assert torch.equal(augment(x, NOTHING, seeded_generator(2)), x)


def test_the_neutral_warp_is_the_identity():
    x = torch.randn(2, 1, 20, 31, generator=seeded_generator(1))
    torch.testing.assert_close(warp(x, views(2)), x, atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-20, 20), st.floats(0.8, 1.2), st.booleans())
def test_a_blob_at_the_centre_moves_by_the_shift_alone(dy, dx, rotation, zoom, flip):
    x = blobs(64, 96, (31.5, 47.5, 1.0))
    moved = centroid(warp(x, views(1, (dy, dx), zoom, rotation, flip))) - centroid(x)
    # bilinear sampling of so small a blob, shrunk, errs by a few hundredths of a pixel
    np.testing.assert_allclose(moved, [dy, dx], atol=0.05)


def test_rotation_is_counter_clockwise_in_pixels_also_on_an_oblong_grid():
    x = blobs(64, 128, (31.5, 83.5, 1.0))  # 20 px west of the centre
    got = centroid(warp(x, views(rotation=30.0)))
    expected = [31.5 + 20 * np.sin(np.radians(30)), 63.5 + 20 * np.cos(np.radians(30))]
    np.testing.assert_allclose(got, expected, atol=0.05)


def test_zoom_magnifies_about_the_centre():
    x = blobs(64, 64, (31.5, 41.5, 1.0))
    np.testing.assert_allclose(centroid(warp(x, views(zoom=1.2))), [31.5, 43.5], atol=0.05)


def test_the_flip_exchanges_north_and_south():
    x = torch.randn(1, 1, 16, 16, generator=seeded_generator(4))
    torch.testing.assert_close(warp(x, views(flip=True)), x.flip(-2), atol=1e-5, rtol=0)


def test_flips_alone_are_exact():
    cfg = dataclasses.replace(NOTHING, vertical_flip=True)
    x = torch.randn(40, 1, 8, 8, generator=seeded_generator(5))
    got = augment(x, cfg, seeded_generator(6))
    flipped = torch.tensor([torch.equal(g, v.flip(-2)) for g, v in zip(got, x, strict=True)])
    same = torch.tensor([torch.equal(g, v) for g, v in zip(got, x, strict=True)])
    assert bool((flipped ^ same).all())
    assert 8 <= int(flipped.sum()) <= 32


def test_what_comes_in_from_outside_is_zero():
    x = torch.ones(1, 1, 32, 32)
    got = warp(x, views(zoom=0.8))
    assert float(got[0, 0, 0].abs().max()) == 0.0
    assert float(got[0, 0, 16, 16]) == pytest.approx(1.0)


def test_never_a_mirror_of_east_and_west_or_an_exchange_of_polarities():
    """The leading (western) positive spot stays west and positive in every one of 500 views."""
    x = blobs(64, 64, (31.5, 39.5, 1.0), (31.5, 23.5, -1.0)).expand(500, 1, 64, 64)
    got = augment(x, AugmentConfig(), seeded_generator(7))
    for view in got:
        assert (centroid(view.clamp_min(0)) - centroid((-view).clamp_min(0)))[1] > 10
    assert float(got.amax()) <= 1.0
    assert float(got.amin()) >= -1.0


def test_draws_stay_within_the_limits_and_fill_them():
    drawn = draw_views(4000, AugmentConfig(), seeded_generator(8))
    for values, low, high in [
        (drawn.shift_px, -10, 10),
        (drawn.zoom, 0.8, 1.2),
        (drawn.rotation_deg, -20, 20),
    ]:
        assert low <= float(values.min()) < low + 0.02 * (high - low)
        assert high >= float(values.max()) > high - 0.02 * (high - low)
    assert 0.45 < float(drawn.flip.float().mean()) < 0.55


def test_switching_one_off_leaves_the_others_as_they_were():
    full = draw_views(10, AugmentConfig(), seeded_generator(9))
    part = draw_views(10, dataclasses.replace(AugmentConfig(), rotation_deg=0.0), seeded_generator(9))
    assert torch.equal(full.shift_px, part.shift_px)
    assert torch.equal(full.zoom, part.zoom)
    assert not part.rotation_deg.any()


def test_views_follow_from_the_seed():
    x = torch.randn(4, 1, 16, 16, generator=seeded_generator(1))
    cfg = AugmentConfig(shift_px=3)
    assert torch.equal(augment(x, cfg, seeded_generator(1, 2)), augment(x, cfg, seeded_generator(1, 2)))
    assert not torch.equal(augment(x, cfg, seeded_generator(1, 2)), augment(x, cfg, seeded_generator(1, 3)))


@pytest.mark.parametrize("kind", ["shift", "zoom", "rotation", "flip"])
def test_each_invariance_can_be_left_out(kind):
    def drawn(cfg):
        return draw_views(50, cfg, seeded_generator(9))

    full, part = drawn(AugmentConfig()), drawn(AugmentConfig().without(kind))
    neutral = {
        "shift": ("shift_px", 0.0),
        "zoom": ("zoom", 1.0),
        "rotation": ("rotation_deg", 0.0),
        "flip": ("flip", 0),
    }
    for name, (attribute, value) in neutral.items():
        got = getattr(part, attribute)
        if name == kind:
            assert bool((got == value).all())
        else:
            assert torch.equal(got, getattr(full, attribute))


def test_an_invariance_nobody_knows_is_refused():
    with pytest.raises(ValueError, match=r"no invariance named 'mirror'; there are: shift, zoom, rotation, flip"):
        AugmentConfig().without("mirror")


def test_without_any_the_patch_stays_as_it_is():
    x = torch.randn(3, 1, 16, 16, generator=seeded_generator(1))
    assert torch.equal(augment(x, AugmentConfig().without("shift", "zoom", "rotation", "flip"), seeded_generator(2)), x)


def test_the_physical_preset_is_augmented_in_megametres():
    preset = get_preset("physical")
    drawn = draw_views(4000, preset.encoder.augment, seeded_generator(8))
    reach_mm = drawn.shift_px.abs() * torch.tensor(preset.scale_mm)
    assert float(reach_mm.max()) == pytest.approx(18.22, abs=0.02)
    fine = AugmentConfig.physical((0.5, 0.5), shift_mm=18.22125)
    assert fine.shift_px == pytest.approx(36.44, abs=0.01)


def test_a_turn_is_one_on_the_sun_where_pixels_are_oblong():
    """A spot 20 Mm west of the centre, on pixels 2 Mm high and 1 Mm wide, is turned by 30 degrees on the Sun."""
    cfg = AugmentConfig.physical((2.0, 1.0), shift_mm=6.0)
    y, x = np.mgrid[:64, :128]
    spot = np.exp(-((2.0 * (y - 31.5)) ** 2 + (x - 83.5) ** 2) / (2 * 5.0**2)).astype(np.float32)
    turned = dataclasses.replace(views(rotation=30.0), pixel_aspect=cfg.pixel_aspect)
    got = (centroid(warp(torch.from_numpy(spot)[None, None], turned)) - [31.5, 63.5]) * [2.0, 1.0]
    np.testing.assert_allclose(got, [20 * np.sin(np.radians(30)), 20 * np.cos(np.radians(30))], atol=0.1)
    reach = draw_views(4000, cfg, seeded_generator(8)).shift_px.abs().amax(0)
    np.testing.assert_allclose(reach, [3.0, 6.0], atol=0.01)


def test_a_batch_is_augmented_as_one_image_at_a_time():
    """Drawing for the whole batch and resampling once gives what a loop over images gives."""
    x = torch.randn(6, 1, 24, 24, generator=seeded_generator(1))
    drawn = draw_views(6, AugmentConfig(shift_px=3), seeded_generator(2))
    each = [
        warp(x[i : i + 1], Views(drawn.shift_px[i : i + 1], drawn.zoom[i : i + 1], drawn.rotation_deg[i : i + 1],
                                 drawn.flip[i : i + 1]))
        for i in range(6)
    ]  # fmt: skip
    torch.testing.assert_close(warp(x, drawn), torch.cat(each), atol=1e-6, rtol=0)
