"""Correlations between query and best match, on a fake archive whose best matches are known."""

import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch import nn

from solquery.model import Model
from solquery.physics import measure
from solquery.steering import render
from solquery.study import PAPER, PARAMETERS, correlate, retrieval_study, run_retrieval


def test_correlate_equals_scipy_and_counts_what_it_drops():
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    b = 0.6 * a + rng.normal(size=300)
    a[3], b[7], b[8] = np.nan, np.nan, np.nan
    known = np.isfinite(a) & np.isfinite(b)
    got = correlate(a, b)
    assert got["pearson"] == pytest.approx(stats.pearsonr(a[known], b[known]).statistic)
    assert got["spearman"] == pytest.approx(stats.spearmanr(a[known], b[known]).statistic)
    assert (got["pairs"], got["dropped"]) == (297, 3)


@pytest.mark.parametrize(
    "a, b", [([1.0, 2.0], [3.0, 4.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([np.nan] * 4, [1.0] * 4)]
)
def test_correlate_is_nan_where_it_is_not_defined(a, b):
    got = correlate(a, b)
    assert math.isnan(got["pearson"]) and math.isnan(got["spearman"])


def test_correlate_refuses_samples_of_different_length():
    with pytest.raises(ValueError, match="one length"):
        correlate([1.0, 2.0], [1.0])


class _Pixels(nn.Module):
    """Embeds a patch as its own coarse pixels, so that the nearest patch is the most similar one."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 4).flatten(1)


class _FakeArchive:
    """Only what the study asks of an archive; holds the queries themselves among other patches."""

    def __init__(self, model, x, regions):
        self.x = x
        vectors = _Pixels()(torch.from_numpy(x)[:, None]).numpy()
        flat = pa.array(vectors.ravel())
        self.data = pa.table(
            {
                "id": [f"p{k:04d}" for k in range(len(x))],
                "region": regions,
                "source": ["simulated"] * (len(x) - 1) + ["real"],
                "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                "embedding_model": [model.encoder_hash] * len(x),
                **{f"grid_{k}": v.numpy() for k, v in measure(model.preset.to_gauss(x), None).items()},
            }
        )

    @property
    def columns(self):
        return self.data.column_names

    def table(self, columns=None, where=None):
        data = self.data if columns is None else self.data.select(columns)
        return data.slice(0, 0) if where == "id IS NULL" else data

    def prepared(self, preset, where=None, ids=None):
        assert where is None
        return list(ids), self.x[[int(name[1:]) for name in ids]]


@pytest.fixture(scope="module")
def study(model):
    model = Model("pixels", model.preset, model.generator, _Pixels(), model.directions)
    z = torch.randn(30, 16, generator=torch.Generator().manual_seed(6))
    others = torch.randn(50, 16, generator=torch.Generator().manual_seed(99))
    x = render(model.generator, torch.cat([others, z]), model.preset.shape)[:, 0].numpy()
    archive = _FakeArchive(model, x, [f"R {k // 2}" for k in range(80)])
    return archive, model, run_retrieval(archive, model, queries=30, seed=6)


def test_a_query_that_is_in_the_archive_is_its_own_best_match(study):
    _, _, found = study
    assert found.best["ssl"].tolist() == list(range(50, 80))
    for name in PARAMETERS:
        assert found.correlations()["ssl"][name]["pearson"] == pytest.approx(1, abs=1e-6)
    assert found.visual_similarity["ssl"] > 0.99 > found.visual_similarity["random"]


def test_baselines_find_the_nearest_features(study):
    _, _, found = study
    features = np.stack([found.population[name] for name in ("tuf", "r", "psep")], axis=1)
    asked = np.stack([found.queries[name] for name in ("tuf", "r", "psep")], axis=1)
    complete = np.isfinite(features).all(axis=1)
    spread = features[complete].std(axis=0)
    checked = 0
    for query, row in zip(asked, found.best["euclidean"], strict=True):
        if np.isfinite(query).all():
            distance = (((features - query) / spread) ** 2).sum(axis=1)
            assert distance[row] == pytest.approx(np.nanmin(distance), abs=1e-12)
            checked += 1
    assert checked > 20


def test_summary_counts_and_shape(study):
    archive, model, found = study
    summary = retrieval_study(archive, model, queries=30, seed=6)
    assert summary == found.summary()
    assert (summary["queries"], summary["patches"], summary["regions"]) == (30, 80, 40)
    assert summary["distinct_matches"] == 30 and summary["real_matches"] == 1
    assert summary["paper"]["tuf"] == {"pearson": 0.78, "spearman": 0.79} and tuple(PAPER) == PARAMETERS
    one = summary["correlations"]["mahalanobis"]["grad"]
    direct = correlate(found.queries["grad"], found.matched("mahalanobis", "grad"))
    assert one == direct


def test_nothing_found_counts_as_a_dropped_pair(study):
    from dataclasses import replace

    found = study[2]
    lost = found.best["ssl"].copy()
    lost[:4] = -1
    got = replace(found, best={**found.best, "ssl": lost}).correlations()["ssl"]["tuf"]
    assert (got["pairs"], got["dropped"]) == (26, 4)


def test_too_few_queries_are_refused():
    with pytest.raises(ValueError, match="at least 3 queries"):
        run_retrieval(SimpleNamespace(), SimpleNamespace(), queries=2)
