"""Whether a match is one: judged by how far the patches of an archive are from each other."""

from __future__ import annotations

import numpy as np
import pytest

from solquery import simulate
from solquery.archive import Archive
from solquery.encoder import embed_archive
from solquery.model import Model
from solquery.search import SearchSession, search
from solquery.search import session as sessions
from solquery.search.closeness import closeness_of, distances_between


def test_nearness_is_judged_by_other_regions():
    regions = np.array(["a", "a", "b", "b", "c", "c"])
    at = np.array([0.0, 0.1, 1.0, 1.1, 5.0, 5.1])
    near = closeness_of(regions, lambda rows: np.abs(at[rows][:, None] - at[None, :]))
    assert near.pairs.min() == pytest.approx(0.9) and len(near.pairs) == 24
    assert near.share(0.5) == 1.0 and near.share(10.0) == 0.0 and near.share(2.0) == pytest.approx(16 / 24)
    assert near.threshold == pytest.approx(3.9, abs=0.1)
    assert near.close(0.9) is True and near.close(4.0) is False
    alone = closeness_of(np.array(["a", "a"]), lambda rows: np.zeros((len(rows), 2)))
    assert alone.share(0.1) is None and alone.close(0.1) is None


@pytest.fixture(scope="module")
def model():
    return Model.load("paper")


@pytest.fixture(scope="module")
def stored(tmp_path_factory, model):
    archive = Archive.create(tmp_path_factory.mktemp("closeness") / "archive")
    archive.add(simulate(8, 3, seed=4, workers=1))
    embed_archive(archive, model)
    return archive


@pytest.fixture
def noise(model):
    """(H, W) that looks like no patch."""
    return np.random.default_rng(0).choice([-1.0, 1.0], model.preset.shape).astype(np.float32)


def plainly(archive):
    """Distance of every patch from the nearest of another region, by a loop, and all distances between regions."""
    table = archive.table(["region", "embedding"])
    regions = np.array(table["region"].to_pylist())
    vectors = np.stack(table["embedding"].to_numpy(zero_copy_only=False)).astype(float)
    apart = np.sqrt(((vectors[:, None] - vectors[None]) ** 2).sum(-1))
    apart[regions[:, None] == regions[None]] = np.inf
    return apart.min(1), apart[np.isfinite(apart)]


def test_the_threshold_is_that_of_a_loop_over_all_patches(stored, model):
    near, pairs = plainly(stored)
    found = SearchSession(stored, model).closeness()
    assert found.threshold == pytest.approx(np.quantile(near, 0.95), rel=1e-5)
    np.testing.assert_allclose(found.pairs, np.sort(pairs), rtol=1e-5)


def test_a_patch_of_the_archive_is_close_and_noise_is_not(stored, model, noise):
    session = SearchSession(stored, model)
    own = stored.ids()[4]
    assert session.close(own) is True and session.close(noise) is False
    assert session.search(own).close is True and session.search(own).doubt == ""
    found = session.search(noise, 2)
    assert found.close is False and "95 of 100 patches" in found.doubt
    assert "caution: nothing close" in found._repr_html_() and "caution" not in session.search(own)._repr_html_()
    assert search(stored, model, noise, 2).close is False


@pytest.mark.parametrize("by", ["embedding", "hybrid", "physics", "structure"])
def test_distances_are_measured_as_a_search_measures_them(stored, model, by):
    session = SearchSession(stored, model)
    index = session.index()
    rows = np.array([1, 7, 20])
    apart = distances_between(session, by, rows)
    for row, line in zip(rows, apart, strict=True):
        found = session.search(str(index.ids[row]), len(index), group="none", by=by, rerank=0)
        got = {match.id: match.distance for match in found}
        np.testing.assert_allclose(line, [got[str(name)] for name in index.ids], rtol=1e-3, atol=1e-3)
    assert session.search(str(index.ids[1]), by=by).close is True


def test_what_is_not_known_is_not_said(stored, model, noise, monkeypatch):
    session = SearchSession(stored, model)
    assert session.search(noise, by="mahalanobis").close is None and session.closeness("euclidean") is None
    # a distance by weights of one's own is not one of those that are known
    assert session.search(noise, by="hybrid", weights={"embedding": 1.0, "tuf": 3.0}).close is None
    assert session.search(noise, by="physics", weights=None).close is False
    assert session.search(noise, where="tuf > 0", exclude_region=sorted(set(session.index().regions))).close is None
    # the structure of all patches is not read for a search among some
    some = SearchSession(stored, model)
    assert some.search(stored.ids()[2], where="tuf > 0", by="structure").close is None
    assert some.search(stored.ids()[2], by="structure").close is True
    monkeypatch.setattr(sessions, "_READ_THROUGH", 1)
    large = SearchSession(stored, model)
    found = large.search(noise, 2)
    assert found.close is None and found.doubt == "" and large.close(noise) is None
    # a second query is answered from memory, and can be judged
    assert large.search(stored.ids()[2], 2).close is True


def test_what_is_close_is_judged_anew_when_patches_are_added(tmp_path, model):
    patches = list(simulate(4, 2, seed=6, workers=1))
    archive = Archive.create(tmp_path / "archive")
    archive.add(patches[:4])
    embed_archive(archive, model)
    session = SearchSession(archive, model)
    before = session.closeness().threshold
    archive.add(patches[4:])
    embed_archive(archive, model)
    assert session.closeness().threshold == pytest.approx(np.quantile(plainly(archive)[0], 0.95), rel=1e-5)
    assert session.closeness().threshold != before
