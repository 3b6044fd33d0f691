"""Distances between parameters, against scipy's."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from solquery.encoder import embed_archive
from solquery.physics import measure
from solquery.search import SearchError, euclidean, features, mahalanobis, search_parameters


@pytest.fixture
def cases():
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((3, 3))
    scale = np.array([1e6, 1e3, 20.0])
    return (rng.standard_normal((7, 3)) @ mix) * scale, (rng.standard_normal((60, 3)) @ mix) * scale + scale


def test_euclidean_is_scipys_standardised(cases):
    queries, archive = cases
    np.testing.assert_allclose(euclidean(queries, archive), cdist(queries, archive, "seuclidean", V=archive.var(0)))


def test_mahalanobis_is_scipys(cases):
    queries, archive = cases
    inverse = np.linalg.inv(np.cov(archive, rowvar=False))
    np.testing.assert_allclose(mahalanobis(queries, archive), cdist(queries, archive, "mahalanobis", VI=inverse))


def test_mahalanobis_does_not_depend_on_units_or_mixtures(cases):
    queries, archive = (values / [1e6, 1e3, 20.0] for values in cases)
    change = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 5.0], [1.0, 0.0, 1.0]])
    expected = mahalanobis(queries, archive)
    np.testing.assert_allclose(mahalanobis(queries @ change, archive @ change), expected, rtol=1e-6)


@pytest.mark.parametrize("method", [euclidean, mahalanobis])
def test_patches_that_lack_a_parameter_are_out_of_reach(cases, method):
    queries, archive = cases
    with_gaps = archive.copy()
    with_gaps[::3, 2] = np.nan
    got = method(queries, with_gaps)
    assert np.isinf(got[:, ::3]).all()
    kept = np.arange(60) % 3 != 0
    np.testing.assert_allclose(got[:, kept], method(queries, archive[kept]))


@pytest.mark.parametrize("method", [euclidean, mahalanobis])
def test_queries_that_lack_one_are_compared_by_the_others(cases, method):
    queries, archive = cases
    queries[2, 2] = np.nan
    got = method(queries, archive)
    np.testing.assert_allclose(got[2], method(queries[2:3, :2], archive[:, :2])[0])
    np.testing.assert_allclose(got[3], method(queries[3:4], archive)[0])


def test_what_cannot_be_compared_is_said(cases):
    queries, archive = cases
    with pytest.raises(SearchError, match="query 1 has none of the parameters"):
        euclidean(np.array([[1.0, 2, 3], [np.nan] * 3]), archive)
    with pytest.raises(SearchError, match="only 1 of 60 patches"):
        euclidean(queries, np.where(np.arange(60)[:, None] > 0, np.nan, archive))
    with pytest.raises(SearchError, match="linearly dependent"):
        mahalanobis(queries, np.column_stack([archive[:, :2], archive[:, 0] + archive[:, 1]]))
    with pytest.raises(ValueError, match="queries have 2 parameters, the archive 3"):
        euclidean(queries[:, :2], archive)


def test_a_parameter_that_never_changes_has_no_say(cases):
    queries, archive = cases
    flat = archive.copy()
    flat[:, 1] = 7.0
    np.testing.assert_allclose(euclidean(queries, flat), euclidean(queries[:, [0, 2]], archive[:, [0, 2]]))


@pytest.mark.parametrize("method", ["euclidean", "mahalanobis"])
def test_search_by_the_parameters_of_a_patch_finds_it(archive, model, method):
    embed_archive(archive, model)
    values = {name: float(v[0]) for name, v in measure(model.preset.to_gauss(archive.x[17])).items()}
    got = search_parameters(archive, values, k=5, method=method)
    assert (got[0].id, got[0].rank) == ("p017", 1)
    assert got[0].distance == pytest.approx(0, abs=1e-6)
    assert len({m.region for m in got}) == 5
    without = search_parameters(archive, values, k=5, method=method, exclude_region="R4", group="none")
    assert "R4" not in {m.region for m in without}
    matrix = features(archive.table(), prefix="grid_")
    distances = {"euclidean": euclidean, "mahalanobis": mahalanobis}[method](features(values), matrix)[0]
    nearest = [i for i in np.argsort(distances) if i // 4 != 4][:5]
    assert [m.id for m in without] == [f"p{i:03d}" for i in nearest]


def test_archive_without_grid_parameters(archive):
    with pytest.raises(SearchError, match=r"lacks tuf, r, psep on the grid; .*archive embed .*--again"):
        search_parameters(archive, {"tuf": 1.0, "r": 1.0, "psep": 1.0})
    with pytest.raises(ValueError, match="method must be one of euclidean, mahalanobis"):
        search_parameters(archive, {}, method="cosine")
