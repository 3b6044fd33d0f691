"""Looking again: a moved copy is laid over its original to a fraction of a pixel, and comes first."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_archive import smooth_fields

from solquery.config import AugmentConfig
from solquery.encoder.augment import Views, warp
from solquery.search import Match, best_correlation, reranked, search
from solquery.search.rerank import staged_correlations

LIMITS = AugmentConfig(shift_px=6.0)


def moved(x, shift=(0.0, 0.0), zoom=1.0, turn=0.0, flip=False):
    views = Views(torch.tensor([shift]), torch.tensor([zoom]), torch.tensor([turn]), torch.tensor([flip]))
    return warp(torch.as_tensor(x)[None, None], views)[0, 0].numpy()


@pytest.fixture(scope="module")
def blobs():
    """Six fields (64, 64) within a quiet frame: what leaves the frame would be a difference of its own."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    return (smooth_fields(6, 64, seed=3, sigma=3.0) * np.exp(-4 * (x**2 + y**2) ** 2)).astype(np.float32)


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    st.floats(0.85, 1.15),
    st.floats(-18, 18),
    st.booleans(),
    st.integers(0, 5),
)
def test_a_moved_copy_is_laid_over_its_original(blobs, shift, zoom, turn, flip, which):
    # the query is the original here, so that the views found are those that were applied
    copy = moved(blobs[which], shift, zoom, turn, flip)
    values, views = best_correlation(blobs[which], copy[None], LIMITS)
    assert values[0] > 0.999
    assert views.shift_px[0].numpy() == pytest.approx(shift, abs=0.15)
    assert float(views.zoom[0]) == pytest.approx(zoom, abs=0.01)
    assert float(views.rotation_deg[0]) == pytest.approx(turn, abs=0.5)
    assert bool(views.flip[0]) is flip


def test_it_is_finer_than_the_rough_search(blobs):
    from solquery.search.visual_similarity import align

    copy = moved(blobs[0], (1.3, -2.6), 1.07, 7.0)[None]
    assert best_correlation(blobs[0], copy, LIMITS)[0][0] > align(blobs[0], copy, LIMITS, pool=4)[0][0] + 0.005


def test_what_is_not_allowed_is_not_done(blobs):
    still = replace(LIMITS, shift_px=0.0, zoom=(1.0, 1.0), rotation_deg=0.0, vertical_flip=False)
    copies = np.stack([blobs[1], moved(blobs[1], (4.0, 0.0)), moved(blobs[1], flip=True)])
    values, views = best_correlation(blobs[1], copies, still)
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert values[1:].max() < 0.9
    assert not views.flip.any() and float(views.shift_px.abs().max()) == 0.0


def test_the_negative_is_no_copy(blobs):
    assert best_correlation(blobs[2], -blobs[2:3], LIMITS)[0][0] < 0.7


def test_nothing_and_empty(blobs):
    assert best_correlation(blobs[0], np.zeros((0, 64, 64)), LIMITS)[0].shape == (0,)
    assert np.isfinite(best_correlation(blobs[0], np.zeros((2, 64, 64)), LIMITS)[0]).all()
    with pytest.raises(ValueError, match="same"):
        best_correlation(blobs[0], np.zeros((2, 32, 32)), LIMITS)


def pretended(blobs):
    preset = SimpleNamespace(encoder=SimpleNamespace(augment=LIMITS))
    names = [f"p{k}" for k in range(len(blobs))]
    # read in another order than asked for, as an archive may
    archive = SimpleNamespace(prepared=lambda preset, ids: (ids[::-1], np.stack([blobs[int(i[1])] for i in ids[::-1]])))
    matches = [Match(n, f"R{k // 2}", 0.1 * k, k + 1) for k, n in enumerate(names)]

    def find(k, group):
        return (matches if group == "none" else matches[::2])[:k]

    return archive, SimpleNamespace(preset=preset), find


def test_the_copy_comes_first(blobs):
    archive, model, find = pretended(blobs)
    copy = moved(blobs[3], (2.0, 1.0), 1.1, 8.0, True)
    found = reranked(archive, model, copy, find, 4, "none", 4)
    assert found[0].id == "p3" and found[0].correlation > 0.98
    assert [m.rank for m in found] == [1, 2, 3, 4]
    # what is not alike keeps the order of the search, and says how alike it is
    assert [m.id for m in found[1:]] == ["p0", "p1", "p2"]
    assert all(m.correlation < 0.8 for m in found[1:])
    # one that is not among those looked at cannot come first, and nothing is lost or doubled
    few = reranked(archive, model, copy, find, 6, "none", 2)
    assert [m.id for m in few] == ["p0", "p1", "p2", "p3", "p4", "p5"]
    assert [m.correlation is None for m in few] == [False, False, True, True, True, True]


def test_regions_stay_apart(blobs):
    archive, model, find = pretended(blobs)
    found = reranked(archive, model, moved(blobs[3], (2.0, 1.0)), find, 3, "region", 4)
    assert found[0].id == "p3"
    assert sorted(m.region for m in found) == ["R0", "R1", "R2"]


def test_either_of_two_may_be_the_changed_one(blobs):
    """What undoes the smallest zoom and the farthest shift lies beyond the limits of the changes themselves."""
    for shift, zoom, turn in (((5.5, -5.5), 0.81, 18.0), ((-5.0, -5.5), 0.82, -19.0), ((5.5, 5.5), 1.19, 12.0)):
        copy = moved(blobs[4], shift, zoom, turn, True)
        assert best_correlation(copy, blobs[4:5], LIMITS)[0][0] > 0.99


def test_only_what_is_allowed_is_undone(blobs):
    exact = replace(LIMITS, zoom=(1.0, 1.0), rotation_deg=0.0)
    values, views = best_correlation(moved(blobs[1], (3.0, -4.0), flip=True), blobs[1:2], exact)
    assert values[0] > 0.999 and float(views.zoom[0]) == 1.0 and float(views.rotation_deg[0]) == 0.0
    assert best_correlation(moved(blobs[1], turn=15.0), blobs[1:2], exact)[0][0] < 0.97


def test_fields_of_any_shape_and_size():
    field = smooth_fields(1, 200, seed=5, sigma=6.0)[0]
    for x in (field[:, :96], field[:70], np.kron(field, np.ones((2, 2), np.float32))):
        limits = AugmentConfig(shift_px=8.0, rotation_deg=5.0)
        values, views = best_correlation(x, np.roll(x, (3, -4), (0, 1))[None], limits)
        assert values[0] > 0.98
        assert views.shift_px[0].numpy() == pytest.approx((3, -4), abs=0.2)


def test_what_was_compared_on_averages_only_has_no_correlation(blobs):
    blobs = np.concatenate([blobs, blobs[:, ::-1], blobs[:, :, ::-1]])
    values, fine = staged_correlations(blobs[3], blobs, LIMITS)
    assert fine.sum() == 8 < len(blobs) and values[~fine].max() <= values[fine].min()
    exact = best_correlation(blobs[3], blobs[fine], LIMITS)[0]
    np.testing.assert_allclose(values[fine], exact, atol=1e-6)


def test_with_an_archive(archive, model, fields):
    from solquery.encoder import embed_archive

    embed_archive(archive, model)
    query = moved(fields[5], (1.0, -1.0), 1.05, 5.0)
    found = search(archive, model, query, 5, group="none", rerank=40)
    assert found[0].id == "p005" and found[0].correlation > 0.9
    assert found[0].row["region"] == "R1"
    assert {m.correlation for m in search(archive, model, query, 5, rerank=0)} == {None}
