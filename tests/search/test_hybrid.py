"""Hybrid search: scores against their definition, distances against a plain loop, and limits where one side rules."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from solquery.encoder import embed_archive
from solquery.search import (
    EMBEDDING,
    NormalScores,
    SearchError,
    combine,
    parameter_distances,
    parse_weights,
    search,
    search_hybrid,
)
from solquery.search.hybrid import WEIGHTS


def test_scores_of_a_large_normal_sample_are_its_values():
    values = norm.ppf((np.arange(5000) + 0.5) / 5000)
    asked = np.array([-1.5, 0.0, 0.3, 2.0])
    np.testing.assert_allclose(NormalScores(3e22 * values + 1e23)(3e22 * asked + 1e23), asked, atol=2e-3)


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=40), st.integers(0, 2**31))
def test_scores_rise_and_end_with_the_archive(values, seed):
    scores = NormalScores(values)
    x = np.sort(np.random.default_rng(seed).normal(0, 1e20, 20))
    got = scores(x)
    assert np.isfinite(got).all() and (np.diff(got) >= 0).all()
    assert scores(np.inf * np.ones(1))[0] != scores(np.inf * np.ones(1))[0]  # infinity is unknown, not large
    assert scores([1e32])[0] == pytest.approx(scores([max(values)])[0])


def _plain(queries, archive, weights):
    out = np.zeros((len(queries["tuf"]), len(archive["tuf"])))
    for q in range(out.shape[0]):
        for a in range(out.shape[1]):
            total = shares = 0.0
            for name, weight in weights.items():
                scores = NormalScores(archive[name])
                one, other = scores(queries[name])[q], scores(archive[name])[a]
                if np.isnan(one):
                    continue
                total += weight * (4.0 if np.isnan(other) else (one - other) ** 2)
                shares += weight
            out[q, a] = np.sqrt(total / shares)
    return out


def test_distances_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    archive = {"tuf": rng.lognormal(size=30), "psep": rng.normal(size=30)}
    queries = {"tuf": rng.lognormal(size=5), "psep": rng.normal(size=5)}
    archive["psep"][[3, 7]], queries["psep"][2] = np.nan, np.nan
    weights = {"tuf": 2.0, "psep": 0.5}
    np.testing.assert_allclose(
        parameter_distances(queries, archive, weights), _plain(queries, archive, weights), atol=1e-12
    )


def test_blind_picks_lie_as_far_apart_in_look_as_in_physics():
    rng = np.random.default_rng(2)
    vectors, values = rng.normal(0, 37.0, (3000, 12)), {"tuf": rng.lognormal(size=3000)}
    some = np.arange(500)
    look = np.linalg.norm(vectors[some, None] - vectors[None, 500:1000], axis=2)
    physics = parameter_distances({"tuf": values["tuf"][some]}, values, {"tuf": 1.0})[:, 500:1000]
    assert (combine(look, 0 * physics, vectors, 1.0) ** 2).mean() == pytest.approx(2.0, rel=0.03)
    assert (combine(look, physics, vectors, 0.0) ** 2).mean() == pytest.approx(2.0, rel=0.06)


def test_by_default_the_opposite_polarity_is_farther_than_a_third_of_a_spread_in_everything():
    rng = np.random.default_rng(4)
    names = [name for name in WEIGHTS if name not in (EMBEDDING, "polarity")]
    archive = {name: np.append(rng.normal(size=400), [0.0, 0.33]) for name in names}
    archive["polarity"] = np.append(rng.choice([-1.0, 1.0], 400), [-1.0, 1.0])
    query = {name: np.zeros(1) for name in names} | {"polarity": np.ones(1)}
    weights = {name: weight for name, weight in WEIGHTS.items() if name != EMBEDDING}
    opposite, near = parameter_distances(query, archive, weights)[0, -2:]
    assert near < opposite


def test_weights_are_read_and_wrong_ones_named():
    assert parse_weights(["embedding=2", "tuf=1, psep=0.5"], ("tuf", "psep")) == {
        EMBEDDING: 2.0,
        "tuf": 1.0,
        "psep": 0.5,
    }
    assert parse_weights([], ("tuf",)) is None
    with pytest.raises(SearchError, match="no weight for 'flux'; there are: embedding, tuf"):
        parse_weights(["flux=1"], ("tuf",))
    for wrong in ("tuf", "tuf=", "tuf=-1", "tuf=inf", "tuf=much"):
        with pytest.raises(SearchError, match="weight of tuf must be a number"):
            parse_weights([wrong], ("tuf",))
    with pytest.raises(SearchError, match="nothing is left"):
        parse_weights(["tuf=0"], ("tuf",))


def test_search_goes_from_looks_to_physics_with_the_weights(archive, model):
    embed_archive(archive, model)
    x = torch.from_numpy(np.asarray(archive.prepared(model.preset)[1][5], np.float32))
    alone = [m.id for m in search(archive, model, x, k=8, group="none")]
    assert [m.id for m in search_hybrid(archive, model, x, k=8, group="none", weights={EMBEDDING: 1.0})] == alone
    physics = search_hybrid(archive, model, x, k=len(archive.x), group="none", weights={"tuf": 1.0})
    table = archive.table(columns=["id", "grid_tuf"])
    flux = dict(zip(table["id"].to_pylist(), table["grid_tuf"].to_numpy(), strict=True))
    scores = NormalScores(list(flux.values()))
    asked = scores(flux[physics[0].id])
    gaps = [abs(float(scores(flux[m.id]) - asked)) for m in physics]
    assert gaps == sorted(gaps) and gaps[0] == pytest.approx(0.0, abs=1e-6)
    both = search_hybrid(archive, model, x, k=3)
    assert both[0].distance < 1e-2 and len({m.region for m in both}) == 3
    assert [m.distance for m in both] == sorted(m.distance for m in both)


def test_an_archive_without_the_parameter_is_refused(archive, model):
    embed_archive(archive, model)
    x = np.zeros(model.preset.shape, np.float32)
    with pytest.raises(SearchError, match="lacks nosuch on the grid"):
        search_hybrid(archive, model, x, weights={"nosuch": 1.0})
