import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solquery.steering import NothingLeft, conditional_normal, orthogonal_complement
from solquery.steering.conditional import left_of, nearly_dependent, span_basis

numbers = st.floats(-1e3, 1e3, allow_nan=False, width=32)


def test_one_held_normal_is_the_formula_of_the_paper():
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 100))
    x, r = x / np.linalg.norm(x), r / np.linalg.norm(r)
    expected = x - (x @ r) * r
    np.testing.assert_allclose(conditional_normal(x, r[:, None]), expected / np.linalg.norm(expected), atol=1e-12)


def test_many_held_normals_are_the_general_formula():
    rng = np.random.default_rng(1)
    x, a = rng.normal(size=100), rng.normal(size=(100, 5))
    expected = x - a @ np.linalg.inv(a.T @ a) @ a.T @ x
    np.testing.assert_allclose(orthogonal_complement(x, a), expected, atol=1e-12)


@given(arrays(float, 12, elements=numbers), arrays(float, (12, 4), elements=numbers), st.sampled_from([1e-6, 1.0, 1e6]))
def test_result_is_orthogonal_to_every_held_vector(x, a, size):
    try:
        n = conditional_normal(x, a * size)
    except NothingLeft:
        basis = span_basis(a)
        assert np.linalg.norm(x - basis @ (basis.T @ x)) <= 1e-5 * max(np.linalg.norm(x), 1e-300)
        return
    lengths = np.linalg.norm(a * size, axis=0)
    cosines = (n @ (a * size))[lengths > 0] / lengths[lengths > 0]
    assert np.abs(cosines).max(initial=0.0) < 1e-6
    assert np.linalg.norm(n) == pytest.approx(1.0)


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(1e-12, 1e-3))
def test_dependent_columns_do_no_harm(seed, rank, nearly):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(20, rank))
    twice = np.concatenate([base, base @ rng.normal(size=(rank, 3)), base * (1 + nearly), np.zeros((20, 1))], axis=1)
    x = rng.normal(size=20)
    np.testing.assert_allclose(orthogonal_complement(x, twice), orthogonal_complement(x, base), atol=1e-8)


def test_nearly_parallel_held_vectors_are_both_held():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(30, 1))
    both = np.concatenate([a, a + 1e-5 * rng.normal(size=(30, 1))], axis=1)
    n = conditional_normal(rng.normal(size=30), both)
    assert np.abs(n @ both / np.linalg.norm(both, axis=0)).max() < 1e-9


@pytest.mark.parametrize("x", [np.array([1.0, 2.0, 0.0]), np.zeros(3)])
def test_nothing_left_is_an_error(x):
    with pytest.raises(NothingLeft, match="hold fewer"):
        orthogonal_complement(x, np.eye(3)[:, :2])


def test_without_held_vectors_nothing_changes():
    np.testing.assert_array_equal(orthogonal_complement([1.0, 2.0], np.zeros((2, 0))), [1.0, 2.0])


def test_wrong_lengths_are_named():
    with pytest.raises(ValueError, match="3 numbers each"):
        orthogonal_complement(np.ones(2), np.ones((3, 1)))
    with pytest.raises(ValueError, match="not finite"):
        orthogonal_complement(np.ones(2), np.full((2, 1), np.nan))


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("nearly", [1.0, 1e-2, 1e-5])
def test_one_to_eight_conditions_hold_also_where_they_are_nearly_dependent(count, nearly):
    """To 1e-6, and the same as the least-squares remainder by QR."""
    rng = np.random.default_rng([count, int(1 / nearly)])
    a = rng.normal(size=(100, 1)) + nearly * rng.normal(size=(100, count))
    x = rng.normal(size=100)
    n = conditional_normal(x, a)
    assert np.abs(n @ (a / np.linalg.norm(a, axis=0))).max() < 1e-6
    q, _ = np.linalg.qr(a)
    rest = x - q @ (q.T @ x)
    np.testing.assert_allclose(n, rest / np.linalg.norm(rest), atol=1e-6)


@given(st.integers(0, 10_000), st.floats(0.0, 0.05), st.floats(0.3, 1.0))
def test_nearly_dependent_columns_are_named(seed, close, apart):
    """Of three, the first two; what is left of one beside the other is the sine of their angle."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(30, 3)))
    turned = np.cos(close) * q[:, 0] + np.sin(close) * q[:, 1]
    free = np.sqrt(1 - apart**2) * q[:, 0] + apart * q[:, 2]
    assert left_of(turned, q[:, :1]) == pytest.approx(np.sin(close), abs=1e-7)
    assert nearly_dependent(np.stack([q[:, 0], turned, 5.0 * free], axis=1)) == [0, 1]
    assert nearly_dependent(q) == []
    assert nearly_dependent(q[:, :1]) == []
