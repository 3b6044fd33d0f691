"""A session answers as single searches do, reads an archive once, and looks at costly properties once."""

from __future__ import annotations

import numpy as np
import pytest

from solquery import simulate
from solquery.archive import Archive, rows
from solquery.archive.rows import rows_at
from solquery.encoder import embed, embed_archive
from solquery.model import Model
from solquery.search import (
    EmbeddingIndex,
    SearchError,
    SearchSession,
    load_index,
    loading,
    search,
    search_hybrid,
    search_parameters,
)
from solquery.search import session as sessions
from solquery.search.verbs import explain


@pytest.fixture(scope="module")
def models():
    return Model.load("paper")


@pytest.fixture(scope="module")
def stored(tmp_path_factory, models):
    archive = Archive.create(tmp_path_factory.mktemp("session") / "archive")
    archive.add(simulate(6, 4, seed=2, workers=1))
    embed_archive(archive, models)
    return archive


@pytest.fixture
def x(stored, models):
    return stored.prepared(models.preset, ids=stored.ids()[5:6])[1][0]


def told(matches):
    return [(m.id, m.region, m.distance, m.rank, m.correlation, m.row) for m in matches]


@pytest.mark.parametrize("where", [None, "tuf > 1e21", "region <> 'none'"])
def test_a_session_answers_as_single_searches_do(stored, models, x, where):
    session = SearchSession(stored, models)
    values = session.query(x).values
    for _ in range(2):
        assert told(session.search(x, 5, where)) == told(search(stored, models, x, 5, where))
        got = session.search(x, 5, where, by="hybrid")
        assert told(got) == told(search_hybrid(stored, models, x, 5, where))
        got = session.search(x, 5, where, by="mahalanobis")
        assert told(got) == told(search_parameters(stored, values, 5, "mahalanobis", where))


@pytest.mark.parametrize("where", [None, "region <> 'none'"])
@pytest.mark.parametrize("group", ["region", "none"])
def test_the_first_query_in_a_large_archive_is_answered_without_keeping_the_embeddings(
    stored, models, x, where, group, monkeypatch
):
    kept = SearchSession(stored, models)
    monkeypatch.setattr(sessions, "_READ_THROUGH", 1)
    passed = SearchSession(stored, models)
    monkeypatch.setattr(EmbeddingIndex, "__init__", lambda *a: pytest.fail("the embeddings are kept"))
    regions = {m.region for m in passed.search(x, 2, rerank=0)}
    got = {
        (k, rerank, own): passed.search(x, k, where, group, own, rerank=rerank)
        for k in (1, 4, 40) for rerank in (0, 5) for own in (None, min(regions))
    }  # fmt: skip
    about = passed.explain(x, got[4, 5, None], where=where)
    monkeypatch.undo()
    for (k, rerank, own), found in got.items():
        expected = kept.search(x, k, where, group, own, rerank=rerank)
        assert [(m.id, m.rank, m.region, m.row) for m in found] == [(m.id, m.rank, m.region, m.row) for m in expected]
        np.testing.assert_allclose([m.distance for m in found], [m.distance for m in expected], rtol=1e-12, atol=1e-12)
    for one, other in zip(about, kept.explain(x, got[4, 5, None], where=where), strict=True):
        assert one.span == other.span and one.rank_percentile == other.rank_percentile


def test_a_second_query_in_a_large_archive_is_answered_from_memory(stored, models, x, monkeypatch):
    second, kept = np.roll(x, 5, 1), SearchSession(stored, models)
    wanted = [told(kept.search(query, 3)) for query in (second, x)]
    monkeypatch.setattr(sessions, "_READ_THROUGH", 1)
    session = SearchSession(stored, models)
    session.search(x, 3)
    assert not session._indexes
    assert told(session.search(second, 3)) == wanted[0]
    assert session._indexes
    assert told(session.search(x, 3)) == wanted[1]


def test_patches_are_found_whatever_the_order_in_which_they_were_added(tmp_path, models, monkeypatch):
    patches = list(simulate(3, 3, seed=5, workers=1))
    archive = Archive.create(tmp_path / "archive")
    for some in (patches[5:], patches[:2], patches[2:5]):
        archive.add(some)
    embed_archive(archive, models)
    x = archive.prepared(models.preset, ids=[patches[4].id])[1][0]
    kept = [(m.id, m.distance) for m in SearchSession(archive, models).search(x, 20, group="none", rerank=0)]
    monkeypatch.setattr(sessions, "_READ_THROUGH", 1)
    passed = SearchSession(archive, models).search(x, 20, group="none", rerank=0)
    assert [m.id for m in passed] == [name for name, _ in kept] and kept[0][0] == patches[4].id
    table = archive.table(["id", "embedding"])
    vectors = np.stack(table["embedding"].to_numpy(zero_copy_only=False)).astype(float)
    apart = dict(zip(table["id"].to_pylist(), np.sqrt(((vectors - embed(models.encoder, x)) ** 2).sum(1)), strict=True))
    np.testing.assert_allclose([m.distance for m in passed], [apart[m.id] for m in passed], rtol=1e-9, atol=1e-9)


def test_answers_are_those_of_a_loop_over_all_rows(stored, models, x):
    table = stored.table(["id", "region", "embedding"])
    vectors = np.stack(table["embedding"].to_numpy(zero_copy_only=False)).astype(float)
    apart = np.sqrt(((vectors - embed(models.encoder, x)) ** 2).sum(1))
    order = np.argsort(apart, kind="stable")
    got = SearchSession(stored, models).search(x, 7, group="none", rerank=0)
    assert [m.id for m in got] == [table["id"][int(row)].as_py() for row in order[:7]]
    np.testing.assert_allclose([m.distance for m in got], apart[order[:7]], rtol=1e-6, atol=1e-6)
    rows = {row["id"]: row for row in stored.table().drop_columns(["embedding"]).to_pylist()}
    assert [m.row for m in got] == [rows[m.id] for m in got]


def test_rows_are_the_same_whether_numbers_are_held_or_not(stored, monkeypatch):
    places, table = rows.table_with_places(stored, ["id"])
    named = dict(zip(table["id"].to_pylist(), places.tolist(), strict=True))
    wanted = {name: named[name] for name in stored.ids()[7:2:-1]}
    columns = [name for name in stored.columns if name != "embedding"]
    expected = {row["id"]: row for row in stored.table(columns).to_pylist()}
    reader, read = rows.RowReader(stored, columns), []
    monkeypatch.setattr(rows, "rows_at", lambda *asked: read.append(len(asked[2])) or rows_at(*asked))
    for _ in range(3):
        found = reader.rows(wanted)
        assert found == {name: expected[name] for name in wanted}
        assert all(list(row) == columns for row in found.values())
    assert read[0] == len(columns) and read[1] == read[2] < len(columns) / 2
    # an id whose row is not at its place any more is left out
    assert reader.rows({"nobody": named[stored.ids()[0]]}) == {}
    monkeypatch.setattr(rows, "_HELD_BYTES", 0)
    reader = rows.RowReader(stored, columns)
    assert [reader.rows(wanted) for _ in range(2)] == [found, found] and read[-1] == len(columns)


def test_what_is_explained_is_the_share_of_patches_that_are_farther_and_the_span_of_the_region(stored, models, x):
    session = SearchSession(stored, models)
    matches = session.search(x, 4, rerank=0)
    explained = session.explain(x, matches)
    index = load_index(stored, models)
    apart = index.distances(embed(models.encoder, x))[0]
    reach = max(apart[index.ids.tolist().index(m.id)] for m in matches)
    times = dict(zip(*(stored.table(["id", "t_utc"])[name].to_pylist() for name in ("id", "t_utc")), strict=True))
    for match, one in zip(matches, explained, strict=True):
        own = apart[index.ids.tolist().index(match.id)]
        assert one.rank_percentile == pytest.approx(100 * (apart > own).mean())
        near = index.ids[(index.regions == match.region) & (apart <= reach)]
        assert one.span["frames"] == len(near)
        assert one.span["first"] == min(times[name] for name in near).isoformat()
    again = explain(stored, models, x, matches)
    assert [(e.rank_percentile, e.span, e.visual_similarity) for e in again] == [
        (e.rank_percentile, e.span, e.visual_similarity) for e in explained
    ]


def test_embeddings_are_read_once_and_a_query_is_embedded_once(stored, models, x, monkeypatch):
    read, embedded = [], []
    vectors = loading.Embedded._vectors
    monkeypatch.setattr(loading.Embedded, "_vectors", lambda self, *a: read.append(1) or vectors(self, *a))
    monkeypatch.setattr(
        "solquery.search.query.embed", lambda *a, **k: embedded.append(1) or embed(*a, **k)
    )  # fmt: skip
    session = SearchSession(stored, models)
    for where in (None, "tuf > 1e21", None):
        matches = session.search(x, 3, where)
        session.explain(x, matches, where=where)
    session.search(x, 3, by="hybrid")
    assert (len(read), len(embedded)) == (1, 1)


def test_the_hash_of_the_encoder_is_asked_for_a_few_times_and_not_once_a_row(stored, models, x, monkeypatch):
    asked = []
    hashed = Model.encoder_hash.fget
    monkeypatch.setattr(Model, "encoder_hash", property(lambda self: asked.append(1) or hashed(self)))
    session = SearchSession(stored, models)
    session.explain(x, session.search(x, 3))
    embed_archive(stored, models)
    assert 0 < len(asked) < 8 < len(stored)


def test_patches_that_are_added_are_found_and_told_of(tmp_path, models):
    archive = Archive.create(tmp_path / "archive")
    patches = list(simulate(3, 2, seed=5, workers=1))
    archive.add(patches[:4])
    embed_archive(archive, models)
    session = SearchSession(archive, models)
    x = archive.prepared(models.preset, ids=[patches[0].id])[1][0]
    assert len(session.search(x, 9, group="none")) == 4 and session.embedded().missing == 0
    archive.add(patches[4:])
    assert session.embedded().missing == 2
    with pytest.warns(UserWarning, match=r"2 of 6 patches have no embedding"):
        assert len(session.search(x, 9, group="none")) == 4
    embed_archive(archive, models)
    assert len(session.search(x, 9, group="none")) == 6
    with pytest.raises(SearchError, match="no patch matches"):
        session.search(x, where="tuf < 0")
    with pytest.raises(ValueError, match="by must be one of"):
        session.search(x, by="cosine")
