"""Search is exactly what a loop over all patches would give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_archive import MemoryArchive, smooth_fields

from solquery.encoder import embed, embed_archive
from solquery.search import SearchError, load_index, nearest, search


@pytest.fixture
def query():
    return smooth_fields(1, seed=77)[0]


@pytest.fixture
def embedded(archive, model):
    embed_archive(archive, model)
    return archive


def brute_force(archive, model, query):
    """(distance, id, region) of every patch, nearest first."""
    z, q = embed(model.encoder, archive.x).astype(float), embed(model.encoder, query).astype(float)
    distances = [float(np.sqrt(((row - q[0]) ** 2).sum())) for row in z]
    return sorted(zip(distances, archive.columns["id"], archive.columns["region"], strict=True))


def test_search_equals_brute_force(embedded, model, query):
    got = search(embedded, model, query, k=40, group="none", rerank=0)
    expected = brute_force(embedded, model, query)
    assert [m.id for m in got] == [e[1] for e in expected]
    np.testing.assert_allclose([m.distance for m in got], [e[0] for e in expected], rtol=1e-5)
    assert [m.rank for m in got] == list(range(1, 41))


def test_grouping_gives_the_best_frame_of_each_region(embedded, model, query):
    got = search(embedded, model, query, k=10, rerank=0)
    best = {}
    for _, name, region in brute_force(embedded, model, query):
        best.setdefault(region, name)
    assert [m.region for m in got] == list(best)
    assert [m.id for m in got] == list(best.values())


def test_a_patch_finds_itself_at_distance_zero(embedded, model):
    match = search(embedded, model, torch.from_numpy(embedded.x[13]), k=1)[0]
    assert (match.id, match.region, match.rank) == ("p013", "R3", 1)
    assert match.distance == pytest.approx(0, abs=1e-4)
    assert match.row["source"] == "simulated"
    assert "embedding" not in match.row


def test_conditions_and_exclusions(embedded, model):
    real = search(embedded, model, embedded.x[0], k=10, where="source = 'real'", group="none")
    assert {m.id for m in real} == {"p000", "p010", "p020", "p030"}
    for out in ("R0", ["R0", "R5"]):
        got = search(embedded, model, embedded.x[0], k=50, exclude_region=out)
        names = {out} if isinstance(out, str) else set(out)
        assert len(got) == 10 - len(names)
        assert not names & {m.region for m in got}


def test_many_queries_at_once_are_many_searches(embedded, model):
    queries = smooth_fields(70, seed=5)
    index = load_index(embedded, model)
    together = index.nearest(embed(model.encoder, queries), k=3)
    assert len(together) == 70
    for i in (0, 63, 64, 69):
        assert [m.id for m in together[i]] == [m.id for m in search(embedded, model, queries[i], k=3, rerank=0)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9), st.integers(1, 7))
def test_nearest_is_a_sort_also_with_ties_and_patches_out_of_reach(seed, n, k, regions):
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 4, (3, n)).astype(float)
    distances[rng.random((3, n)) < 0.2] = np.inf
    distances[rng.random((3, n)) < 0.1] = np.nan
    names = np.array([f"r{i}" for i in rng.integers(0, regions, n)])
    for grouped in (None, names):
        for line, got in zip(distances, nearest(distances, k, grouped), strict=True):
            seen, expected = set(), []
            for column in sorted(range(n), key=lambda c: (np.nan_to_num(line[c], nan=np.inf), c)):
                key = column if grouped is None else names[column]
                if np.isfinite(line[column]) and key not in seen:
                    seen.add(key)
                    expected.append(column)
            if grouped is None:
                assert list(got) == expected[:k]
            else:  # regions at equal distance may come in any order
                assert list(line[got]) == list(line[expected[:k]])
                assert set(got) <= set(expected)


def test_archive_without_embeddings(archive, model, query):
    with pytest.raises(SearchError, match=r"40 patches searched have no embeddings; .*`solquery archive embed"):
        search(archive, model, query)


def test_embeddings_of_another_encoder(embedded, model, query):
    model.encoder_hash = "ffffffffffff"
    with pytest.raises(SearchError, match=r"another encoder \(0123456789ab\) than that of model 'tiny'"):
        search(embedded, model, query)


def test_patches_added_since_are_reported(embedded, model, query):
    embedded.set_columns(["p001"], {"embedding_model": ["older"]})
    with pytest.warns(UserWarning, match=r"1 of 40 patches have no embedding of this encoder"):
        got = search(embedded, model, query, k=40, group="none")
    assert len(got) == 39


def test_nothing_to_search(embedded, model, query):
    with pytest.raises(SearchError, match=r"no patch matches \"region = 'nowhere'\"; widen"):
        search(embedded, model, query, where="region = 'nowhere'")
    with pytest.raises(SearchError, match="archive is empty"):
        search(MemoryArchive(embedded.x[:0], []), model, query)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:-1], r"has shape \(32, 32\), got \(31, 32\)"),
        (lambda x: x * np.nan, "NaN everywhere"),
        (lambda x: x * 1000, r"convert gauss with preset\.from_gauss"),
    ],
)
def test_queries_that_do_not_fit(embedded, model, query, change, message):
    with pytest.raises(SearchError, match=message):
        search(embedded, model, change(query))


def test_wrong_options_are_named(embedded, model, query):
    with pytest.raises(ValueError, match="group must be 'region' or 'none'"):
        search(embedded, model, query, group="harp")
    with pytest.raises(ValueError, match="k must be at least 1"):
        search(embedded, model, query, k=0)
