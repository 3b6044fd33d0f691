"""Batches of which a fixed share is real."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from solquery.errors import SolqueryError
from solquery.training.mixing import BatchRows, real_share, representative_rows
from solquery.training.run_folder import batch_order

REAL = np.isin(np.arange(200), np.r_[3:40:3, 150])  # 14 of 200


@given(st.integers(4, 32), st.floats(0.05, 0.9), st.integers(0, 1000))
def test_each_batch_has_its_share_and_no_patch_twice(batch, weight, step):
    assume(round(weight * batch) >= 1)
    share = real_share(batch, weight, REAL)
    assert share == min(round(weight * batch), batch - 1, 14)
    rows = BatchRows(200, batch, 7, REAL, weight)(step)
    assert len(set(rows.tolist())) == batch
    assert REAL[rows].sum() == share


def test_an_epoch_passes_the_simulated_once_and_the_real_equally_often():
    rows = BatchRows(200, 16, 5, REAL, 0.25)
    assert rows.per_epoch == 186 // 12
    seen = np.concatenate([rows(step) for step in range(rows.per_epoch)])
    counts = np.bincount(seen, minlength=200)
    assert counts[~REAL].max() == 1 and counts[~REAL].sum() == rows.per_epoch * 12
    seen = np.concatenate([rows(step) for step in range(30 * 3)])
    counts = np.bincount(seen, minlength=200)[REAL]
    # three whole batches of four in each turn of fourteen: two wait for the next turn, others each time
    assert counts.sum() == 90 * 4 and counts.min() > 0.6 * counts.max()


def test_a_step_alone_decides_and_both_halves_have_real_patches():
    one, other = BatchRows(200, 16, 5, REAL, 0.5), BatchRows(200, 16, 5, REAL, 0.5)
    in_turn = [one(step) for step in range(40)]
    for step in (39, 3, 17, 0):
        np.testing.assert_array_equal(other(step), in_turn[step])
    halves = np.array([[REAL[rows[:8]].sum(), REAL[rows[8:]].sum()] for rows in in_turn])
    assert (halves.mean(0) > 3.0).all()
    assert not np.array_equal(BatchRows(200, 16, 6, REAL, 0.5)(0), in_turn[0])


def test_without_a_weight_all_pass_in_turn_as_before():
    rows = BatchRows(50, 8, 3, np.arange(50) < 5)
    assert rows.per_epoch == 6
    for step in range(14):
        epoch, k = divmod(step, 6)
        np.testing.assert_array_equal(rows(step), np.sort(batch_order(3, epoch, 50)[8 * k : 8 * k + 8]))


@pytest.mark.parametrize(
    ("real", "said"),
    [(None, "none of those"), (np.zeros(20, bool), "none of those"), (np.ones(20, bool), "all of those")],
)
def test_a_weight_needs_both_kinds(real, said):
    with pytest.raises(SolqueryError, match=said):
        real_share(8, 0.5, real)


def test_too_few_for_a_batch():
    with pytest.raises(SolqueryError, match="1 real and 9 simulated"):
        real_share(16, 0.5, np.arange(10) < 1)
    # frames that stay together come in whole groups
    assert real_share(16, 0.4, REAL, together=4) == 8
    assert real_share(16, 0.9, REAL, together=4) == 12


def test_what_is_measured_holds_the_same_share():
    rng = np.random.default_rng(0)
    rows = representative_rows(200, 100, rng, REAL, 0.5)
    assert len(rows) == 100 and (np.diff(rows) >= 0).all()
    assert REAL[rows].sum() == 50
    fresh = rows[~REAL[rows]]
    assert len(set(fresh.tolist())) == 50
    plain = representative_rows(200, 100, rng, REAL)
    assert len(set(plain.tolist())) == 100
