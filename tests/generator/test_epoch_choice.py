"""The paper's choice among epochs, on patches of the training and on others."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from solquery.config import PaperGanConfig
from solquery.generator import TrainingError, train_generator
from solquery.generator.epoch_choice import EpochChoice, discriminator_accuracy
from solquery.study.choice import choose_checkpoint


class Made(nn.Module):
    """A generator whose patches are all of one value."""

    latent_dim = 3

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(float(value)))

    def forward(self, z):
        return self.value.expand(len(z), 1, 4, 4)


class Above(nn.Module):
    """Takes for real what lies above a threshold."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, x):
        return x.mean((1, 2, 3)) - self.threshold


def patches(*values):
    return np.stack([np.full((4, 4), value, np.float16) for value in values])


def test_accuracy_is_the_share_told_right():
    real = torch.from_numpy(patches(1.0, 1.0, 1.0, -1.0).astype(np.float32))[:, None]
    assert discriminator_accuracy(Above(0.0), Made(-0.5), real, 0) == pytest.approx((3 + 4) / 8)
    assert discriminator_accuracy(Above(0.0), Made(0.5), real, 0) == pytest.approx(3 / 8)


def test_training_and_held_out_patches_choose_epochs_of_their_own(tmp_path):
    config = PaperGanConfig(choose_within_epochs=3)
    choice = EpochChoice(config, patches(1, 1, -1, -1), patches(2, 2, 2, 0.2), 0, tmp_path, {})
    lines = [choice.after(k + 1, Above(t), Made(v)) for k, (t, v) in enumerate([(0, -1), (0, 1), (1.5, 3), (9, 10)])]
    assert [line["discriminator_accuracy"] for line in lines] == [0.75, 0.25, 0.0, 0.0]
    assert [line["chosen_epoch"] for line in lines] == [1, 2, 3, 3]
    assert [line["held_out_discriminator_accuracy"] for line in lines] == [1.0, 0.5, 0.375, 0.0]
    assert [line["held_out_chosen_epoch"] for line in lines] == [1, 2, 3, 3]
    assert load_file(tmp_path / "chosen.safetensors")["value"].item() == pytest.approx(3.0)


def test_what_was_best_before_a_stop_stays_the_best(tmp_path):
    config = PaperGanConfig()
    first = EpochChoice(config, patches(1, -1), None, 0, tmp_path, {})
    first.after(1, Above(0), Made(1))
    again = EpochChoice(config, patches(1, -1), None, 0, tmp_path, first.best)
    assert again.after(2, Above(0), Made(-1))["chosen_epoch"] == 1
    assert again.best == first.best
    assert EpochChoice(config, patches(1), None, 0, tmp_path, {}).best["best_accuracy"] == math.inf


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = np.random.default_rng(0).normal(0, 0.2, (96, 32, 32)).clip(-1, 1).astype(np.float16)
    config = PaperGanConfig(arch="tiny", latent_dim=8, batch=16, epochs=3, width=8)
    train_generator(config, data, folder, (32, 32), held_out=data[:20] * 0.5)
    return folder


def test_a_training_tells_both_accuracies_and_keeps_both_generators(run):
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    told = [line for line in lines if "held_out_discriminator_accuracy" in line]
    assert [round(line["epoch"]) for line in told] == [1, 2, 3]
    for by, key, file in (
        ("paper", "discriminator_accuracy", "chosen"),
        ("paper-held-out", "held_out_discriminator_accuracy", "chosen-held-out"),
    ):
        document = choose_checkpoint(run, by=by)
        best = min(line[key] for line in told)
        assert [line[key] for line in told if round(line["epoch"]) == document["chosen"]["epoch"]] == [best]
        kept, used = (run / "checkpoints" / f"{name}.safetensors" for name in (file, "generator"))
        assert used.read_bytes() == kept.read_bytes()


def test_only_the_papers_loss_takes_held_out_patches(tmp_path):
    config = PaperGanConfig(arch="tiny", latent_dim=8, batch=16, epochs=1, width=8, loss="relativistic")
    with pytest.raises(TrainingError, match="only 'bce' takes held_out"):
        train_generator(config, np.zeros((32, 32, 32)), tmp_path, (32, 32), held_out=np.zeros((4, 32, 32)))
