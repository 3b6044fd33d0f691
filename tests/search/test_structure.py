"""Search by structure: a signature is what a plain loop says, and a line-of-sight frame finds its radial twin."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solquery import Archive, Model, simulate
from solquery.config import AugmentConfig
from solquery.encoder import embed_archive
from solquery.search import SearchError, SearchSession, search
from solquery.search.structure import STRUCTURE_DEPTH, StructureIndex, shifted_correlations, signatures


def plain(x: np.ndarray, block: int = 8) -> np.ndarray:
    """One patch, block by block."""
    root = np.sign(x) * np.abs(x) ** 0.5
    sums = [
        root[i : i + block, j : j + block].sum()
        for i in range(0, x.shape[0], block)
        for j in range(0, x.shape[1], block)
    ]
    return np.array(sums) / np.linalg.norm(sums)


@settings(max_examples=25, deadline=None)
@given(st.integers(9, 40), st.integers(9, 40), st.integers(0, 1000), st.floats(0.01, 100.0))
def test_a_signature_is_that_of_a_plain_loop_whatever_the_strength(ny, nx, seed, strength):
    x = np.random.default_rng(seed).normal(size=(2, ny, nx)).astype(np.float32)
    found = signatures(x)
    np.testing.assert_allclose(found, [plain(one) for one in x], atol=1e-5)
    np.testing.assert_allclose(signatures(strength * x), found, atol=1e-5)
    np.testing.assert_allclose(signatures(-x), -found, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 21), st.integers(8, 21), st.integers(0, 1000), st.floats(0.0, 4.6), st.sampled_from([0.5, 1, 2]))
def test_a_shifted_correlation_is_that_of_a_plain_loop(ny, nx, seed, shift, aspect):
    rng = np.random.default_rng(seed)
    query, others = rng.normal(size=(ny, nx)), rng.normal(size=(3, ny, nx))
    query[2, 3:5] = np.nan
    others[1] = 0.0
    cfg = AugmentConfig(shift_px=shift, pixel_aspect=aspect)
    reach = round(shift / aspect), round(shift)
    a = np.nan_to_num(np.sign(query) * np.abs(query) ** 0.5)
    for found, other in zip(shifted_correlations(query, others, cfg), others, strict=True):
        b = np.sign(other) * np.abs(other) ** 0.5
        sums = []
        for dy in range(-reach[0], reach[0] + 1):
            for dx in range(-reach[1], reach[1] + 1):
                room = np.zeros((3 * ny, 3 * nx))
                room[ny + dy : 2 * ny + dy, nx + dx : 2 * nx + dx] = a
                sums.append((room[ny : 2 * ny, nx : 2 * nx] * b).sum())
        norm = np.linalg.norm(a) * np.linalg.norm(b)
        assert found == pytest.approx(max(sums) / norm if norm else 0.0, abs=1e-5)


def test_of_no_candidates_there_are_no_correlations():
    query = np.random.default_rng(0).normal(size=(8, 12))
    assert shifted_correlations(query, np.empty((0, 8, 12)), AugmentConfig()).shape == (0,)


def test_missing_pixels_count_as_no_field():
    x = np.random.default_rng(0).normal(size=(1, 16, 16))
    gap = x.copy()
    gap[0, 2, 3:9] = np.nan
    np.testing.assert_array_equal(signatures(gap), signatures(np.nan_to_num(gap)))
    assert not signatures(np.full((1, 16, 16), np.nan)).any()


@pytest.fixture(scope="module")
def model():
    return Model.load("physical")


@pytest.fixture(scope="module")
def pairs():
    """Frames of regions at all angles, each as a radial and as a line-of-sight field."""
    return list(simulate(14, 2, 21, 1, keep=1, quantity=("radial", "line-of-sight")))


@pytest.fixture(scope="module")
def radial(model, pairs, tmp_path_factory):
    archive = Archive.create(tmp_path_factory.mktemp("structure") / "archive")
    archive.add(patch for patch in pairs if patch.quantity == "radial")
    embed_archive(archive, model)
    return archive


def test_a_line_of_sight_frame_finds_its_radial_twin(radial, model, pairs):
    across = [patch for patch in pairs if patch.quantity == "line-of-sight"]
    session = SearchSession(radial, model)
    structure = [session.search(patch, 1, by="structure")[0].region == patch.region for patch in across]
    blocks = [session.search(patch, 1, by="structure", rerank=0)[0].region == patch.region for patch in across]
    assert np.mean(blocks) >= 0.9, "by the signatures alone"
    assert session.rerank_depth(across[0], "structure") == STRUCTURE_DEPTH
    embedding = [session.search(patch, 1)[0].region == patch.region for patch in across]
    assert np.mean(structure) >= 0.9
    assert np.sum(structure) > np.sum(embedding)


def test_a_patch_of_the_archive_is_at_distance_zero_and_its_negative_at_two(radial, model):
    patch = next(radial.patches())
    first = search(radial, model, patch, 3, by="structure", rerank=0)
    assert first[0].id == patch.id and first[0].distance == pytest.approx(0.0, abs=0.01)
    assert [m.distance for m in first] == sorted(m.distance for m in first)
    told = SearchSession(radial, model).explain(patch, first, by="structure")
    assert told[0].rank_percentile == pytest.approx(100.0 * (1 - 1 / len(radial)))
    negative = SearchSession(radial, model).search(-first.query, len(radial), by="structure", group="none", rerank=0)
    assert negative[-1].id == patch.id and negative[-1].distance == pytest.approx(2.0, abs=0.01)


def test_what_is_shifted_and_noisy_is_first_when_the_nearest_are_compared_again(radial, model):
    """The blocks of a shifted copy are those of another layout: the copy is not the nearest by them."""
    x = radial.prepared(model.preset)[1][:, :, :]
    names = radial.prepared(model.preset)[0]
    rng = np.random.default_rng(0)
    session, blocks, again = SearchSession(radial, model), [], []
    for name, one in zip(names, np.nan_to_num(x), strict=True):
        moved = np.roll(one, (5, -6), (0, 1)) + 0.03 * rng.normal(size=one.shape).astype(np.float32)
        found = session.search(moved, len(names), by="structure", group="none")
        again.append(found[0].id == name)
        assert [m.correlation for m in found] == sorted((m.correlation for m in found), reverse=True)
        blocks.append(session.search(moved, 1, by="structure", group="none", rerank=0)[0].id == name)
    assert np.mean(again) == 1.0 and np.mean(blocks) < 1.0


def test_a_condition_chooses_among_the_same_distances(radial, model):
    patch = next(radial.patches())
    session = SearchSession(radial, model)
    every = session.search(patch, len(radial), by="structure", group="none", rerank=0)
    middle = float(np.median([m.row["mu"] for m in every]))
    some = session.search(patch, len(radial), f"mu > {middle}", by="structure", group="none", rerank=0)
    assert [(m.id, m.distance) for m in some] == [(m.id, m.distance) for m in every if m.row["mu"] > middle]
    with pytest.raises(SearchError, match="mu > 2"):
        session.search(patch, 1, "mu > 2", by="structure")


def test_what_has_no_field_is_no_answer_and_no_query(radial, model, tmp_path):
    patch = next(radial.patches())
    archive = Archive.create(tmp_path / "archive")
    archive.add([patch, replace(patch, id="empty", field=np.zeros_like(patch.field))])
    assert StructureIndex.read(archive, model).patches.ids.tolist() == [patch.id]
    with pytest.raises(SearchError, match="no field"):
        embed_archive(archive, model)
        search(archive, model, np.zeros(model.preset.shape, np.float32), by="structure")


def test_without_its_place_a_line_of_sight_query_is_compared_as_it_is_and_says_so(radial, model, pairs):
    across = next(patch for patch in pairs if patch.quantity == "line-of-sight")
    lost = replace(across, mu=float("nan"), latitude_deg=float("nan"), longitude_deg=float("nan"))
    with pytest.warns(UserWarning, match="compared with radial patches as it is"):
        found = search(radial, model, lost, 3, by="structure")
    assert len(found) == 3
