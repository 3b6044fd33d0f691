"""The verb `quality` on a small archive whose patches take the part of the generator's too."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from solquery.archive import Archive
from solquery.model import Model
from solquery.study.figures import png
from solquery.study.quality import QualityError, figure_quality, run_quality
from solquery.study.shares import one_of_each_first


class _Replay(nn.Module):
    """A generator that has learned the archive by heart: a latent vector picks a patch."""

    latent_dim = 4

    def __init__(self, patches):
        super().__init__()
        self.register_buffer("patches", torch.from_numpy(patches)[:, None])

    def forward(self, z):
        rows = ((z.sum(1) * 1000).long() % len(self.patches)).abs()
        return self.patches[rows]


class _Coarse(nn.Module):
    def forward(self, x):
        return nn.functional.avg_pool2d(x, 8).flatten(1)


@pytest.fixture
def archive(twelve_regions):
    return twelve_regions


def test_a_replayed_archive_is_real_and_found_out_as_copied(archive):
    x = np.asarray(archive.prepared("tiny")[1], np.float32)
    model = Model("replay", "tiny", _Replay(x), _Coarse())
    study = run_quality(archive, model, count=120, seed=1, train=x)
    got = study.document
    assert got["median_ks"] < 0.2 and got["precision"] > 0.9 and got["spectrum_dex"] < 0.1
    # held-out and training patches are the same here: neither is closer
    assert got["memorisation"]["median_generated"] == pytest.approx(0.0, abs=1e-5)
    assert got["parameters"]["tuf"]["reached"] == 1.0 and 0.3 < got["discriminator_accuracy"] < 0.8
    assert got["held_out"] == 120 and got["regions"] == 12
    json.dumps(got, allow_nan=False)
    assert png(figure_quality(study)).startswith(b"\x89PNG")


def test_overlap_that_a_training_asked_for_is_said_to_be_so(archive):
    x = np.asarray(archive.prepared("tiny")[1], np.float32)
    model = Model("replay", "tiny", _Replay(x), _Coarse())
    for shown, asked_for in ((model.encoder_hash, True), ("another", False)):
        model.metadata["provenance"] = {"generator": {"provenance": {"encoder": shown}}}
        got = run_quality(archive, model, count=100, critic_steps=0).document
        assert got["asked_for"] is asked_for and got["encoder"] == model.encoder_hash


def test_held_out_patches_are_of_as_many_regions_as_there_are(archive):
    names = np.array(["a"] * 50 + ["b"] * 3 + ["c", "d"])

    def drawn(count, seed=0):
        return one_of_each_first(names, np.random.default_rng(seed))[:count]

    assert sorted(names[drawn(4)]) == ["a", "b", "c", "d"]
    assert sorted(names[drawn(8)]) == ["a", "a", "a", "b", "b", "b", "c", "d"]
    assert len(set(drawn(60).tolist())) == 55 and not np.array_equal(drawn(8), drawn(8, seed=1))
    study = run_quality(archive, Model("noise", "tiny", _Replay(np.zeros((2, 32, 32), np.float32)), _Coarse()), 108)
    assert study.document["regions"] == 12 and study.document["frames_a_region"] == 9.0


def test_noise_is_not_taken_for_the_sun(archive):
    noise = np.random.default_rng(0).normal(0, 0.05, (50, 32, 32)).astype(np.float32)
    got = run_quality(archive, Model("noise", "tiny", _Replay(noise), _Coarse()), count=120).document
    assert got["median_ks"] > 0.5 and got["recall"] < 0.3
    assert got["median_ks"] > 2 * got["median_ks_floor"] and got["discriminator_accuracy"] > 0.65
    assert got["parameters"]["tuf"]["reached"] < 0.3 and not got["parameters"]["tuf"]["spans"]


def test_too_few_patches_are_refused_with_a_way_out(archive):
    model = Model("noise", "tiny", _Replay(np.zeros((2, 32, 32), np.float32)), _Coarse())
    with pytest.raises(QualityError, match="at least 100"):
        run_quality(archive, model, where="region = 'none'")


def test_one_region_is_no_comparison(archive, monkeypatch):
    model = Model("noise", "tiny", _Replay(np.zeros((2, 32, 32), np.float32)), _Coarse())
    one = Archive.table

    def same_region(self, columns=None, where=None):
        table = one(self, columns, where)
        if "region" not in table.column_names:
            return table
        place = table.column_names.index("region")
        return table.set_column(place, "region", pa.array(["only"] * table.num_rows))

    monkeypatch.setattr(Archive, "table", same_region)
    with pytest.raises(QualityError, match="two regions"):
        run_quality(archive, model)


def test_a_model_without_an_encoder_is_refused(archive):
    with pytest.raises(QualityError, match="no encoder"):
        run_quality(archive, Model("bare", "tiny", _Replay(np.zeros((2, 32, 32), np.float32))))
