"""Choosing a checkpoint: by held-out patches, and by the paper's rule."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from solquery.config import get_preset
from solquery.encoder import build_encoder
from solquery.generator import register_generator, run_folder, train_generator
from solquery.model import Model, _writes
from solquery.study.choice import MEASURES, ChoiceError, choose_checkpoint, mean_ranks

TINY = get_preset("tiny")


class _Replay(torch.nn.Module):
    """Replays real patches under a faintness that the run's length decides: worst in the middle."""

    def __init__(self, config, shape):
        super().__init__()
        self.latent_dim, self.shape = config.latent_dim, shape
        self.register_buffer("patches", torch.zeros(60, 1, *shape))
        self.register_buffer("gain", torch.ones(()))
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, z):
        return self.weight * self.gain * self.patches[(z.sum(1).abs() * 1000).long() % 60]


@pytest.fixture
def archive(twelve_regions):
    return twelve_regions


@pytest.fixture(scope="module")
def judge():
    return Model("judge", TINY, torch.nn.Identity(), build_encoder(TINY.encoder, 0))


def _run(tmp_path, monkeypatch, archive, gains):
    """A run whose kept checkpoints replay the archive ever fainter or stronger."""
    monkeypatch.setattr(run_folder, "KEEP_STEPS", 2)
    x = np.asarray(archive.prepared("tiny")[1])
    register_generator("test-replay", _Replay, None)
    config = dataclasses.replace(TINY.generator, arch="test-replay", learning_rate=1e-9, epochs=1)
    run = tmp_path / "run"
    about = {"preset": "tiny"}
    train_generator(config, x, run, TINY.shape, provenance=about, until_images=96)
    files = sorted((run / "checkpoints" / "kept").glob("*-generator.safetensors"))
    assert [int(f.name[:9]) for f in files] == [32, 64, 96]
    for file, gain in zip(files, gains, strict=True):
        network = _Replay(config, TINY.shape)
        network.patches.copy_(torch.from_numpy(x[:60].astype(np.float32))[:, None])
        network.gain.fill_(gain)
        run_folder.export_weights(network, file)
    return run


def test_the_checkpoint_most_like_held_out_patches_is_chosen(tmp_path, monkeypatch, archive, judge):
    run = _run(tmp_path, monkeypatch, archive, (0.2, 1.0, 4.0))
    told = choose_checkpoint(run, archive, judge, count=120)
    assert told["chosen"]["images"] == 64 and told["chosen"]["file"].endswith("000000064-generator.safetensors")
    assert [row["images"] for row in told["table"]] == [32, 64, 96] and set(MEASURES) < set(told["table"][0])
    assert min(row["mean_rank"] for row in told["table"]) == told["table"][1]["mean_rank"]
    assert json.loads((run / "choice.json").read_text()) == told
    assert float(load_file(run / "checkpoints" / "generator.safetensors")["gain"]) == 1.0
    # training on makes other weights, of which the choice tells nothing
    config = dataclasses.replace(TINY.generator, arch="test-replay", learning_rate=1e-9, epochs=1)
    train_generator(
        config, np.asarray(archive.prepared("tiny")[1]), run, TINY.shape, provenance={"preset": "tiny"}
    )  # fmt: skip
    assert not (run / "choice.json").exists()


def test_the_checkpoint_whose_patches_find_their_like_is_chosen(tmp_path, monkeypatch, archive, judge):
    # the archive as it is finds itself; a tenth of its field is another region, if any
    run = _run(tmp_path, monkeypatch, archive, (0.1, 0.0, 1.0))
    monkeypatch.setattr(judge, "_encoder_hash", ("0" * 64, _writes(judge.encoder)))
    told = choose_checkpoint(run, archive, judge, "search", count=120)
    assert told["by"] == "search" and told["chosen"]["images"] == 96 and told["queries"] == 120
    faint, nothing, itself = told["table"]
    assert itself["mean_correlation"] == pytest.approx(1.0) and itself["tuf"] == pytest.approx(1.0)
    assert faint["mean_correlation"] < 0.9
    # all queries are one, and so is the match
    assert nothing["mean_correlation"] == 0.0 and nothing["matches"] == 1
    assert float(load_file(run / "checkpoints" / "generator.safetensors")["gain"]) == 1.0
    # the archive is embedded for the encoder's own model, by the hash that it has of its encoder
    assert set(archive.table(["embedding_model"])["embedding_model"].to_pylist()) == {"0" * 64}
    # of some of the archive's patches alone
    part = choose_checkpoint(run, archive, judge, "search", count=120, where="id LIKE '%1%'")
    assert part["table"][2]["matches"] < itself["matches"]


def test_the_papers_rule_takes_the_epoch_of_the_worst_discriminator(tmp_path, archive):
    run, x = tmp_path / "run", np.asarray(archive.prepared("tiny")[1])
    config = dataclasses.replace(TINY.generator, epochs=4, choose_within_epochs=3)
    train_generator(config, x, run, TINY.shape, provenance={"preset": "tiny"})
    told = choose_checkpoint(run, by="paper")
    accuracies = [row["discriminator_accuracy"] for row in told["table"]]
    assert len(accuracies) == 4 and told["chosen"]["epoch"] == 1 + int(np.argmin(accuracies[:3]))
    a, b = (load_file(run / "checkpoints" / f"{name}.safetensors") for name in ("generator", "chosen"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_ranks_follow_the_sense_of_each_measure():
    good = {"median_ks": 0.1, "frechet": 1.0, "recall": 0.9, "coverage": 0.9, "spectrum_dex": 0.1, "tuf_reached": 1.0}
    bad = {name: value * (0.5 if MEASURES[name] else 2.0) for name, value in good.items()}
    assert mean_ranks([bad, good]) == [2.0, 1.0] and mean_ranks([good, good]) == [1.5, 1.5]


def test_nothing_to_choose_from_is_said(tmp_path, archive, judge):
    with pytest.raises(Exception, match="no run folder"):
        choose_checkpoint(tmp_path, archive, judge)
    run, x = tmp_path / "run", np.asarray(archive.prepared("tiny")[1])
    config = dataclasses.replace(TINY.generator, arch="pyramid", loss="relativistic", grow_images=(32,), images=64)
    train_generator(config, x, run, TINY.shape, until_images=32)
    with pytest.raises(ChoiceError, match="kept no checkpoints"):
        choose_checkpoint(run, archive, judge)
    with pytest.raises(ChoiceError, match="choose by quality"):
        choose_checkpoint(run, by="paper")
    with pytest.raises(ChoiceError, match="needs an archive"):
        choose_checkpoint(run)
