"""A classifier between kinds that are alike by construction, and between kinds that are not."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from solquery.study.region_classifier import MeasuredPatches, distinguish, measure_patches


def field(seed):
    """Clustered flux of both signs and noise in a box of any size on a grid of 40 x 80 pixels."""
    rng = np.random.default_rng(seed)
    h, w = rng.integers(26, 40), rng.integers(50, 80)
    body = 260.0 * gaussian_filter(rng.normal(0, 1, (h, w)), 2.0) / 0.14 + rng.normal(0, rng.uniform(5, 15), (h, w))
    out = np.zeros((40, 80))
    out[(40 - h) // 2 : (40 - h) // 2 + h, (80 - w) // 2 : (80 - w) // 2 + w] = body
    return out


def measured(seeds, change=lambda x: x, frames=1):
    names = [f"region {k // frames}" for k in range(len(seeds))]
    return measure_patches((change(field(seed)) for seed in seeds), names, (1.82, 1.82))


@pytest.fixture(scope="module")
def alike():
    return measured(range(110))


def smoothed(x):
    inside = x != 0
    return np.where(inside, gaussian_filter(x, 0.8), 0.0)


def structure(patches):
    return [name for name in patches.values if not name.startswith(("quiet", "box"))]


def test_halves_of_one_kind_cannot_be_told_apart(alike):
    rng = np.random.default_rng(1)
    found = []
    for seed in range(4):
        order = rng.permutation(110)
        got = distinguish(alike.chosen(order[:14]), alike.chosen(order[14:]), structure(alike), seed)
        assert 0 <= got["low"] <= got["auc"] <= got["high"] <= 1
        found.append(got["auc"])
    # leaving one of few out draws the rest away from it: a little below a half
    assert 0.35 < np.mean(found) < 0.6


def test_smoothed_copies_are_told_apart(alike):
    got = distinguish(measured(range(200, 214), smoothed), alike, structure(alike))
    assert got["auc"] > 0.97 and got["low"] > 0.9


def test_frames_of_a_region_are_one_region(alike):
    few, rest = alike.chosen(np.arange(12)), alike.chosen(np.arange(12, 60))
    repeated = few.chosen(np.repeat(np.arange(12), [9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4]))
    names = structure(alike)
    assert distinguish(repeated, rest, names)["auc"] == pytest.approx(distinguish(few, rest, names)["auc"], abs=0.1)
    np.testing.assert_allclose(repeated.by_region(names[3]), few.by_region(names[3]))


def test_the_same_seed_gives_the_same_result(alike):
    few, rest = alike.chosen(np.arange(8)), alike.chosen(np.arange(8, 60))
    names = structure(alike)[:6]
    assert distinguish(few, rest, names, 3) == distinguish(few, rest, names, 3)


def test_a_statistic_that_nobody_has_tells_nothing():
    values = {"none": np.full(30, np.nan), "one": np.random.default_rng(0).normal(size=30)}
    kind = MeasuredPatches(values, np.array([f"r{k:02d}" for k in range(30)]), np.ones(30))
    got = distinguish(kind.chosen(np.arange(10)), kind.chosen(np.arange(10, 30)), ["none"])
    assert got["auc"] == 0.5
    assert np.isnan(kind.by_region("none")).all()


def test_scraps_are_not_measured():
    tiny = np.zeros((40, 80))
    tiny[10:16, 10:40] = 200.0
    assert measure_patches([tiny, field(0)], ["a", "b"], (1.82, 1.82)).regions.tolist() == ["b"]
