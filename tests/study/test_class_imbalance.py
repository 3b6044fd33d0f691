"""The arithmetic of benchmarks/class_imbalance.py against what is known otherwise."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "class_imbalance.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("class_imbalance", BENCHMARK)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_skill_is_hit_rate_minus_false_alarm_rate(bench):
    rare = np.array([True, True, False, False, False, False])
    said = np.array([[True, False, True, False, False, False], [True, True, False, False, False, False]])
    once = np.ones((1, 6))
    assert bench.skill(said, rare, once)[0] == pytest.approx(((0.5 - 0.25) + 1.0) / 2)
    # regions that are drawn twice count twice
    twice = np.array([[2, 1, 0, 1, 1, 1]])
    assert bench.skill(said[:1], rare, twice)[0] == pytest.approx(2 / 3)


def test_ranks_are_the_area_under_the_curve(bench):
    rng = np.random.default_rng(3)
    rare, values = rng.random(60) < 0.2, rng.normal(size=(2, 60)).round(1)
    known = np.mean([roc_auc_score(rare, line) for line in values])
    assert bench.ranked(values, rare).mean() == pytest.approx(known)


def test_samples_are_of_whole_regions_and_have_both_classes(bench):
    rare = np.arange(40) < 2
    weight = bench.resampled(rare, 200, seed=1)
    assert weight.shape == (200, 40) and (weight.sum(1) == 40).all() and (weight[:, rare].sum(1) > 0).all()
    folds = bench.folds_of(np.arange(50) < 10, 5, np.random.default_rng(0))
    assert [int((folds[:10] == k).sum()) for k in range(5)] == [2] * 5


def test_every_method_but_the_plain_ones_trains_on_equal_classes(bench):
    common, rare = np.zeros((9, 2)), np.ones((2, 2))
    made_rare, made_common = np.full((3, 2), 2.0), np.full((3, 2), 3.0)
    for method in bench.METHODS[2:]:
        x, labels = bench.training_set(method, common, rare, made_rare, made_common)
        assert labels.sum() == len(labels) / 2 and (x[labels == 1] >= 1).all()
    x, labels = bench.training_set("generated rare", common, rare, made_rare, made_common)
    assert (x[labels == 1] == 2).any(1).sum() == 7 and not (x == 3).any()
    x, labels = bench.training_set("generated both", common, rare, made_rare, made_common)
    assert (x[labels == 0] == 3).any(1).sum() == (x[labels == 1] == 2).any(1).sum() == 7


def test_where_the_classes_lie_apart_all_is_told_and_where_they_do_not_nothing(bench):
    rng = np.random.default_rng(5)
    rare = np.arange(200) < 30
    x = rng.normal(size=(200, 4))
    made = (rng.normal(size=(40, 4)), rng.normal(size=(40, 4)))
    blind = bench.compared(x, rare, made, None, 2, seed=0)
    apart = bench.compared(x + 8.0 * rare[:, None], rare, (made[0] + 8.0, made[1]), 5, 2, seed=0)
    for method in bench.METHODS:
        low, high = blind[method]["tss_95"]
        assert low < 0.1 and blind[method]["auc"] == pytest.approx(0.5, abs=0.15) and low <= high
        if method != "plain":
            assert apart[method]["tss"] > 0.95
    assert blind[bench.BASELINE]["gain_95"] == [0.0, 0.0]
