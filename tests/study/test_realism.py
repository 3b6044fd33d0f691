"""Generated patches against observed frames, where the generator replays frames that are known."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from solquery.archive import Archive
from solquery.archive.prepare import prepare
from solquery.config import get_preset
from solquery.model import Model
from solquery.patch import Patch
from solquery.study import realism
from solquery.study.figures import png
from solquery.study.quality import QualityError
from solquery.study.realism import run_realism, usable_frames
from solquery.study.realism_figure import figure_realism

PRESET = dataclasses.replace(get_preset("physical"), shape=(40, 80))


def patch(seed, strength=1.0, **changes):
    """A box of clustered flux and noise, in pixels half as wide as the grid's."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(50, 74), rng.integers(100, 150)
    field = strength * 250.0 * gaussian_filter(rng.normal(0, 1, shape), 3.0) / 0.094
    field += gaussian_filter(rng.normal(0, 40, shape), 0.6)
    plain = Patch(field.astype(np.float32), (0.911, 0.911), f"p{seed}", f"R{seed}", "real", mu=0.8, harpnum=seed)
    return dataclasses.replace(plain, **changes)


class _Replay(nn.Module):
    """Shows the patches that it holds, those of the same blur."""

    latent_dim = 4

    def __init__(self, blur=0.0):
        super().__init__()
        rows = [prepare(patch(seed), PRESET) for seed in range(1000, 1060)]
        x = np.stack([np.where(row != 0, gaussian_filter(row, blur), 0) if blur else row for row in rows])
        self.register_buffer("patches", torch.from_numpy(x.astype(np.float32))[:, None])
        self.turn = 0

    def forward(self, z):
        rows = (torch.arange(len(z)) + self.turn) % len(self.patches)
        self.turn += len(z)
        return self.patches[rows]


@pytest.fixture
def no_classifier(monkeypatch):
    """For what is decided before a classifier is trained."""
    monkeypatch.setattr(realism, "distinguish", lambda *args: {"auc": 0.5, "low": 0.5, "high": 0.5})


REAL = [patch(seed, region=f"HARP {seed // 2}") for seed in range(24)]


def test_a_generator_that_shows_the_same_sun_is_hardly_told_apart_and_a_blurred_one_is(tmp_path):
    archive = Archive.create(tmp_path / "archive")
    archive.add([patch(seed, source="simulated", quantity="radial") for seed in range(2000, 2030)])
    archive.add([patch(3000, source="simulated", mu=0.2), patch(3001, source="simulated", quantity="line-of-sight")])
    study = run_realism(Model("replay", PRESET, _Replay()), REAL, archive, 60, seed=1)
    got = study.document
    assert got["patches"]["real"] == {"compared": 24, "regions": 12, "flux_mx": got["patches"]["real"]["flux_mx"]}
    assert got["patches"]["held_out"]["drawn"] == 30 and len(study.generated) <= 60
    for kind in ("generated", "held_out"):
        assert 0.2 < got["auc"][kind]["structure"]["auc"] < 0.75
    assert got["mean_outside"] < 0.3
    assert all(len(entry["real_regions"]) == 12 for entry in got["statistics"].values() if entry["group"] == "box")
    json.dumps(got, allow_nan=False)
    assert png(figure_realism(study)).startswith(b"\x89PNG")
    assert 0.2 < got["generated_from_held_out"]["structure"]["auc"] < 0.8
    blurred = run_realism(Model("blur", PRESET, _Replay(0.7)), REAL, None, 60)
    assert blurred.document["auc"]["generated"]["structure"]["auc"] > 0.95 and blurred.held_out is None
    assert "generated_from_held_out" not in blurred.document
    assert png(figure_realism(blurred)).startswith(b"\x89PNG")


def test_what_a_generator_lost_of_its_archive_shows_in_the_archive_itself(tmp_path, monkeypatch):
    real_too = realism.distinguish
    # the comparison with observed frames, which other tests make, would take most of the time
    monkeypatch.setattr(
        realism,
        "distinguish",
        lambda one, other, names, seed, *folds: (
            real_too(one, other, names, seed, *folds) if folds else {"auc": 0.5, "low": 0.5, "high": 0.5}
        ),
    )
    archive = Archive.create(tmp_path / "archive")
    archive.add([patch(seed, source="simulated", quantity="radial") for seed in range(2000, 2030)])
    found = run_realism(Model("blur", PRESET, _Replay(0.7)), REAL, archive, 60).document["generated_from_held_out"]
    assert found["structure"]["auc"] > 0.95 and found["structure"]["low"] > 0.9


def test_only_frames_that_can_be_compared_are_kept_and_the_others_named():
    holes = patch(5).field.copy()
    holes[:5] = np.nan
    odd = [
        patch(1, quantity="line-of-sight"), patch(2, mu=0.3), patch(3, mu=float("nan")), patch(4, scale_mm=None),
        patch(5, field=holes),
    ]  # fmt: skip
    kept, left_out = usable_frames([patch(0), *odd])
    assert [p.id for p in kept] == ["p0"] and [entry["id"] for entry in left_out] == ["p1", "p2", "p3", "p4", "p5"]
    assert "line-of-sight" in left_out[0]["reason"] and "missing" in left_out[4]["reason"]
    with pytest.raises(QualityError, match=r"1 real regions.*5 frames left out"):
        run_realism(Model("replay", PRESET, _Replay()), [patch(0), *odd], None, 30)


def test_weak_patches_count_on_neither_side(no_classifier):
    model = Model("replay", PRESET, _Replay())
    weak = [patch(seed, 0.3) for seed in (90, 91)]
    all_ = run_realism(model, [*REAL, *weak], None, 60).document
    assert all_["selection"]["min_flux_mx"] == pytest.approx(
        min(run_realism(model, weak + REAL[:4], None, 60).real.flux_mx)
    )
    strong = run_realism(model, [*REAL, *weak], None, 60, min_flux_mx=3 * all_["selection"]["min_flux_mx"]).document
    assert all_["patches"]["real"]["regions"] == 14 and strong["patches"]["real"]["regions"] == 12
    with pytest.raises(QualityError, match="real regions with 1e"):
        run_realism(model, REAL, None, 60, min_flux_mx=1e30)
    faint = _Replay()
    faint.patches *= 0.05
    with pytest.raises(QualityError, match="0 of 60 generated patches"):
        run_realism(Model("faint", PRESET, faint), REAL, None, 60)


def test_frames_that_the_generator_was_trained_on_are_named(no_classifier):
    model = Model("replay", PRESET, _Replay())
    model.metadata["provenance"] = {"generator": {"provenance": {"real": {"patches": 9, "harps": [3, 5, 777]}}}}
    assert run_realism(model, REAL, None, 60).document["selection"]["shown_in_training"] == [3, 5]


def test_a_model_without_a_scale_is_refused():
    with pytest.raises(QualityError, match="preset 'physical'"):
        run_realism(Model("flat", "tiny", _Replay()), REAL)
