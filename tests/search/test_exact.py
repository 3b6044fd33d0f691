"""The quick search gives, to the last row, what a loop over differences gives."""

import numpy as np
import pytest

from solquery.search import EmbeddingIndex, exact
from solquery.search.exact import half_squares, smallest
from solquery.search.lower_bounds import PrincipalAxisBounds


def loop(queries, vectors, k):
    """Rows of the k nearest, equal ones in their order; vectors that are no numbers left out."""
    squares = ((vectors.astype(np.float64)[None] - np.asarray(queries, np.float64)[:, None]) ** 2).sum(2)
    squares[:, ~np.isfinite(vectors).all(1)] = np.inf
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squares, order, 1)


@pytest.fixture
def vectors():
    """Near-duplicates far from the origin, where the product form rounds most, and many exact copies."""
    rng = np.random.default_rng(0)
    centres = 30 + rng.standard_normal((300, 20))
    vectors = np.repeat(centres, 20, 0) + 1e-4 * rng.standard_normal((6000, 20))
    vectors[rng.integers(0, 6000, 2000)] = vectors[:2000]
    return vectors[rng.permutation(6000)].astype(np.float32)


#: of how many principal axes the bounds are made; None: whole vectors
WAYS = [None, 1, 5, 20]


def bounds_of(vectors, axes):
    return None if axes is None else PrincipalAxisBounds(vectors, half_squares(vectors), axes)


@pytest.mark.parametrize("axes", WAYS)
@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("k", [1, 10, 40])
def test_it_is_the_loop_with_ties_and_near_duplicates(vectors, count, k, axes, monkeypatch):
    monkeypatch.setattr(exact, "_SPARE", 60)  # of some vectors there are many copies
    monkeypatch.setattr(exact, "_by_differences", None)  # what is tested is the other way
    queries = vectors[:: len(vectors) // count][:count] + np.float32(1e-5)
    queries[0] = vectors[0]
    rows, squares = smallest(queries, vectors, k, bounds=bounds_of(vectors, axes))
    expected, apart = loop(queries, vectors, k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(squares, apart)


@pytest.mark.parametrize("axes", WAYS)
def test_few_axes_are_enough_where_vectors_spread_along_few(axes):
    rng = np.random.default_rng(4)
    spread = np.concatenate([np.full(6, 3.0), np.full(14, 0.2)])
    vectors = (rng.standard_normal((5000, 20)) * spread @ np.linalg.qr(rng.standard_normal((20, 20)))[0]) + 7
    vectors = vectors.astype(np.float32)
    assert PrincipalAxisBounds(vectors, half_squares(vectors)).kept < 20
    queries = vectors[:30] + rng.standard_normal((30, 20)) * 0.3
    rows, squares = smallest(queries, vectors, 10, bounds=bounds_of(vectors, axes))
    expected, apart = loop(queries, vectors, 10)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(squares, apart)


@pytest.mark.parametrize("axes", [1, 5, 20])
def test_no_score_is_less_than_the_true_one(vectors, axes):
    halves, queries = half_squares(vectors), vectors[:7].astype(np.float64) - 0.5
    bounds = PrincipalAxisBounds(vectors, halves, axes)
    asked, lengths = bounds.asked(queries)
    scores = np.empty((7, len(vectors)), np.float32)
    bounds.scores(asked, 0, len(vectors), scores)
    below = lengths[:, None] - 2.0 * scores
    true = ((vectors[bounds.rows].astype(np.float64)[None] - queries[:, None]) ** 2).sum(2)
    assert (below <= true + 1e-3).all()
    # with all axes it is the distance itself
    assert axes < 20 or np.abs(below - true).max() < 1e-3
    assert sorted(bounds.rows) == list(range(len(vectors)))


@pytest.mark.parametrize("axes", [None, 2])
@pytest.mark.parametrize("count", [2, 20])
def test_all_vectors_alike_come_in_their_order(count, axes):
    vectors = np.ones((5000, 4), np.float32)
    vectors[4321] = 0.5
    rows, _ = smallest(np.zeros((count, 4)), vectors, 5, bounds=bounds_of(vectors, axes))
    np.testing.assert_array_equal(rows, np.tile([4321, 0, 1, 2, 3], (count, 1)))


def test_what_is_made_for_many_queries_changes_no_answer(vectors):
    vectors = vectors * np.geomspace(1, 0.01, 20, dtype=np.float32)
    regions = np.array([f"r{i % 50}" for i in range(len(vectors))])
    index = EmbeddingIndex(np.arange(len(vectors)).astype(str), regions, vectors)
    queries = vectors[:300] + np.float32(0.01)
    first = [index.nearest_rows(queries[:40], 7, group, "r3") for group in ("none", "region")]
    index.nearest_rows(queries, 1)
    assert isinstance(index._bounds(1), PrincipalAxisBounds)
    for group, (rows, squares) in zip(("none", "region"), first, strict=True):
        again, apart = index.nearest_rows(queries[:40], 7, group, "r3")
        np.testing.assert_array_equal(rows, again)
        np.testing.assert_array_equal(squares, apart)
        assert not (np.concatenate(again) % 50 == 3).any()


def test_where_no_axis_says_more_than_another_whole_vectors_are_compared():
    vectors = np.random.default_rng(1).standard_normal((4000, 30)).astype(np.float32)
    index = EmbeddingIndex(np.arange(4000).astype(str), np.full(4000, "r"), vectors)
    assert index._bounds(1000) is None


@pytest.mark.parametrize("axes", [None, 5])
@pytest.mark.parametrize("count", [1, 20])
def test_vectors_that_are_no_numbers_and_those_left_out_are_never_found(vectors, count, axes):
    bad = np.array([3, 50, 4000, 5999])
    queries = vectors[bad[np.arange(count) % 4]].copy()
    vectors[bad[:2], 7] = np.nan
    vectors[bad[2:], 2] = np.inf
    bounds = bounds_of(vectors, axes)
    rows, _ = smallest(queries, vectors, 10, bounds=bounds)
    np.testing.assert_array_equal(rows, loop(queries, vectors, 10)[0])
    halves = half_squares(vectors)
    halves[rows[0]] = np.inf
    again, _ = smallest(queries, vectors, 10, halves, bounds)
    assert not set(again[0]) & set(rows[0])


@pytest.mark.parametrize("n", [0, 7, 3000])
def test_more_wanted_than_there_is(vectors, n):
    rows, squares = smallest(vectors[:2], vectors[:n], n + 5)
    assert ((rows >= 0).sum(1) == n).all()
    assert (np.isfinite(squares) == (rows >= 0)).all()


@pytest.mark.parametrize("far", [1e3, 1e10, 1e30])
def test_a_query_far_from_everything_is_ranked_as_the_loop_does(vectors, far):
    queries = vectors[:2].astype(np.float64) * far
    np.testing.assert_array_equal(smallest(queries, vectors, 4)[0], loop(queries, vectors, 4)[0])


def test_regions_of_many_frames_do_not_hide_the_others():
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((9000, 8)).astype(np.float32)
    vectors[:8000] *= 1e-3
    regions = np.array(["big"] * 8000 + [f"r{i % 30}" for i in range(1000)])
    index = EmbeddingIndex(np.arange(9000).astype(str), regions, vectors)
    rows, squares = index.nearest_rows(np.zeros((3, 8)), 12)
    for line, apart in zip(rows, squares, strict=True):
        order, all_squares = (a[0] for a in loop(np.zeros((1, 8)), vectors, 9000))
        first = np.sort(np.unique(regions[order], return_index=True)[1])[:12]
        np.testing.assert_array_equal(line, order[first])
        np.testing.assert_array_equal(apart, all_squares[first])
    left_out, _ = index.nearest_rows(np.zeros(8), 40, exclude_region="big")
    assert len(left_out[0]) == 30


def test_a_query_that_is_no_number_is_refused():
    index = EmbeddingIndex(np.array(["a"]), np.array(["r"]), np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="embedding of the query is not a number"):
        index.nearest(np.full(4, np.nan))
