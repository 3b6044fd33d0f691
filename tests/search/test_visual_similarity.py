"""Likeness is 1 for a transformed copy and low for anything else."""

import numpy as np
import pytest
import torch
from memory_archive import smooth_fields

from solquery.config import AugmentConfig
from solquery.encoder.augment import Views, warp
from solquery.search import visual_similarity


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def patches():
    return smooth_fields(6, size=64, seed=2, sigma=4.0)


def transformed(x, shift=(0.0, 0.0), zoom=1.0, rotation=0.0, flip=False):
    n = len(x)
    views = Views(
        torch.tensor([shift] * n), torch.full((n,), zoom), torch.full((n,), float(rotation)), torch.full((n,), flip)
    )
    return warp(torch.from_numpy(x).unsqueeze(1), views)[:, 0].numpy()


def test_a_patch_is_like_itself_in_any_unit(patches):
    np.testing.assert_allclose(visual_similarity(patches, patches), 1, atol=1e-4)
    np.testing.assert_allclose(visual_similarity(patches, 1000 * patches), 1, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"shift": (6.0, -8.0)},
        {"flip": True},
        {"rotation": 10.0},
        {"rotation": -17.0},
        {"zoom": 0.9},
        {"zoom": 1.13},
        {"shift": (-5.0, 3.0), "zoom": 1.1, "rotation": 13.0, "flip": True},
    ],
    ids=str,
)
def test_a_transformed_copy_is_found(patches, change):
    assert visual_similarity(patches, transformed(patches, **change)).min() > 0.96


def test_a_whole_shift_is_exact(patches):
    assert visual_similarity(patches, transformed(patches, shift=(4.0, -6.0))).min() > 0.9999


def test_others_are_less_alike(patches):
    got = visual_similarity(patches, np.roll(patches, 1, axis=0))
    assert got.max() < 0.8
    assert got.mean() < 0.65


def test_the_opposite_polarity_and_the_mirror_are_not_the_same():
    y, x = np.mgrid[:64, :64]
    bipole = np.exp(-((y - 32) ** 2 + (x - 42) ** 2) / 18) - 0.8 * np.exp(-((y - 32) ** 2 + (x - 22) ** 2) / 30)
    assert visual_similarity(bipole, -bipole)[0] < 0.3
    assert visual_similarity(bipole, bipole[:, ::-1])[0] < 0.3


def test_what_is_not_allowed_is_not_tried(patches):
    cfg = AugmentConfig(shift_px=0, zoom=(1, 1), rotation_deg=0, vertical_flip=False)
    np.testing.assert_allclose(visual_similarity(patches, patches, cfg), 1, atol=1e-4)
    assert visual_similarity(patches, transformed(patches, shift=(8.0, 8.0)), cfg).max() < 0.9
    plain = [
        float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
        for a, b in zip(patches[:3], patches[3:], strict=True)
    ]
    np.testing.assert_allclose(visual_similarity(patches[:3], patches[3:], cfg, pool=1), plain, atol=1e-4)


def test_one_is_compared_with_many_and_nothing_with_nothing(patches):
    got = visual_similarity(patches[2], patches)
    assert got.shape == (6,)
    assert got.argmax() == 2
    holes = patches[:1].copy()
    holes[:, :, :1] = np.nan
    assert visual_similarity(holes, patches[:1])[0] > 0.9
    assert visual_similarity(np.zeros((1, 64, 64)), patches[:1])[0] == 0
    with pytest.raises(ValueError, match=r"same \(H, W\)"):
        visual_similarity(patches, patches[:, :32])
    with pytest.raises(ValueError, match="cannot pair 6 patches with 2"):
        visual_similarity(patches, patches[:2])
