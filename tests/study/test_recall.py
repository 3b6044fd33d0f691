"""What search finds of what it should, on an archive whose right answers are known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from solquery.errors import SolqueryError
from solquery.patch import Patch
from solquery.study.real_frames import read_frames, real_frames
from solquery.study.recall import CHANGES, changed_copies, copies, rank_of, same_region
from solquery.study.shares import difference_of, interval_of, share_of


class _Pixels(nn.Module):
    """Embeds a patch as its own coarse pixels."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 4).flatten(1)


class _Magnitude(_Pixels):
    """Blind to polarity."""

    def forward(self, x):
        return super().forward(x.abs())


class _Archive:
    """Frames of regions; frames of a region are the same picture with a little noise."""

    def __init__(self, encoder, regions=30, frames=3, noise=0.05, seed=0):
        rng = np.random.default_rng(seed)
        scene = rng.normal(0, 0.3, (regions, 1, 32, 32)).astype(np.float32)
        # smooth, so that a shift by a pixel is not another picture
        scene = torch.nn.functional.avg_pool2d(torch.from_numpy(scene[:, 0])[:, None], 9, 1, 4)[:, 0].numpy() * 6
        x = np.repeat(scene, frames, 0) + rng.normal(0, noise, (regions * frames, 32, 32))
        self.x = x.astype(np.float32)
        self.uri = "memory"
        self.region = [f"r{k // frames:03d}" for k in range(len(x))]
        self.id = [f"p{k:04d}" for k in range(len(x))]
        with torch.no_grad():
            vectors = encoder(torch.from_numpy(self.x)[:, None]).numpy()
        flat = pa.array(vectors.ravel())
        self.data = pa.table(
            {
                "id": self.id,
                "region": self.region,
                "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                "embedding_model": ["hash"] * len(x),
            }
        )

    @property
    def columns(self):
        return self.data.column_names

    def table(self, columns=None, where=None):
        data = self.data.slice(0, 0) if where == "id IS NULL" else self.data
        return data if columns is None else data.select([c for c in columns if c in data.column_names])

    def prepared(self, preset, where=None, ids=None):
        chosen = list(range(len(self.id))) if ids is None else [list(self.id).index(name) for name in ids]
        return [self.id[k] for k in chosen], self.x[chosen]


def _model(encoder, preset):
    return SimpleNamespace(name="pixels", encoder=encoder, encoder_hash="hash", preset=preset)


@pytest.fixture(scope="module")
def preset(model):
    augment = dataclasses.replace(model.preset.encoder.augment, shift_px=0.4, zoom=(0.98, 1.02), rotation_deg=2.0,
                                  vertical_flip=False, plain_share=0.0)  # fmt: skip
    return dataclasses.replace(model.preset, encoder=dataclasses.replace(model.preset.encoder, augment=augment))


def test_another_frame_is_found_and_the_frame_itself_does_not_count(preset):
    encoder = _Pixels()
    found = same_region(_Archive(encoder), _model(encoder, preset), count=50)
    assert found["share"] == 1.0 and found["first"] == 1.0 and (found["frames"], found["k"]) == (50, 10)
    # regions of one frame have no other to be found, and frames that are all alike are found by chance
    lonely = same_region(_Archive(encoder, frames=1), _model(encoder, preset))
    assert lonely["share"] is None and lonely["frames"] == 0
    blind = same_region(_Archive(encoder, noise=5.0, regions=100), _model(encoder, preset), count=150)
    assert blind["share"] < 0.3 and blind["low"] <= blind["share"] <= blind["high"]


def test_a_copy_finds_its_original_and_a_negative_does_not_come_first(preset):
    encoder = _Pixels()
    found = copies(_Archive(encoder, frames=1), _model(encoder, preset), count=20)
    assert all(found[change]["share"] == 1.0 for change in CHANGES)
    assert found["negative"]["share"] == 0.0 and (found["patches"], found["among"]) == (20, 30)
    blind = _Magnitude()
    assert copies(_Archive(blind, frames=1), _model(blind, preset), count=20)["negative"]["share"] == 1.0


def test_only_what_is_named_is_changed(preset):
    x = np.random.default_rng(0).normal(0, 1, (3, 32, 32)).astype(np.float32)
    config = dataclasses.replace(preset.encoder.augment, vertical_flip=True)
    flipped = changed_copies(x, "vertical_flip", config, 1)
    for one, other in zip(x, flipped, strict=True):
        assert np.allclose(one, other, atol=1e-4) or np.allclose(one[::-1], other, atol=1e-4)
    assert not np.allclose(changed_copies(x, "shift_px", config, 1), x, atol=1e-2)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=6), st.integers(0, 3))
def test_ranks_are_those_of_a_loop_with_ties_counted_against(rows, column):
    distances = np.array(rows, float)
    expected = [sum(1 for v in row if v <= row[column]) for row in rows]
    assert rank_of(distances, np.full(len(rows), column)).tolist() == expected


def test_intervals_take_the_region_for_the_unit():
    rng = np.random.default_rng(0)
    region = np.repeat(np.arange(40), 25)
    values = rng.normal(0, 1, 40)[region]  # frames of a region all alike
    low, high = interval_of(values, region)
    wide = high - low
    low, high = interval_of(values, np.arange(len(values)))
    assert wide > 3.0 * (high - low)
    assert wide == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(40), rel=0.2)
    assert interval_of(values, np.zeros(len(values))) is None
    assert share_of([], []) == {"share": None, "low": None, "high": None}
    gain = difference_of(values + 0.5, values, region)
    assert gain["difference"] == gain["low"] == gain["high"] == pytest.approx(0.5)


def _observed(archive, preset):
    """Two frames of one region a day apart, two of another a week apart, which are not alike."""
    rng = np.random.default_rng(3)
    base = torch.nn.functional.avg_pool2d(torch.from_numpy(rng.normal(0, 900, (2, 1, 32, 32))), 7, 1, 3)[:, 0].numpy()
    frames = [(base[0], "HARP 1", "2011.01.01_00:00:00_TAI"), (base[1], "HARP 2", "2011.01.01_00:00:00_TAI"),
              (base[0] + rng.normal(0, 5, (32, 32)), "HARP 1", "2011.01.02_06:00:00_TAI"),
              (base[1][::-1].copy(), "HARP 2", "2011.01.09_00:00:00_TAI")]  # fmt: skip
    return [
        Patch(field.astype(np.float32), None, f"frame-{k}", region, "real", t_rec=t)
        for k, (field, region, t) in enumerate(frames)
    ]


def test_observed_frames_are_found_among_simulated_ones(preset):
    encoder = _Pixels()
    archive = _Archive(encoder)
    found = real_frames(archive, _model(encoder, preset), _observed(archive, preset), where=None, copies=2)
    assert found["among"] == 90 and found["copies"]["of"] == 8 and found["others"]["of"] == 2
    assert found["others"]["share"] == 1.0
    by_id = {frame["id"]: frame for frame in found["frames"]}
    assert by_id["frame-1"]["other"]["hours"] == 192.0 and by_id["frame-1"]["other"]["rank"] > 1  # shown, not counted
    assert by_id["frame-0"]["other"] == {"rank": 1, "id": "frame-2", "hours": 30.0}
    assert by_id["frame-1"]["copies"] == [1, 1]
    with pytest.raises(SolqueryError, match="no frame is left"):
        real_frames(archive, _model(encoder, preset), [], where=None)


def test_refused_files_are_named_with_the_reason(tmp_path):
    (tmp_path / "page.fits").write_text("<html>service unavailable</html>")
    patches, refused = read_frames([tmp_path / "page.fits"])
    assert patches == [] and refused[0]["file"].endswith("page.fits") and "page.fits" in refused[0]["why"]
