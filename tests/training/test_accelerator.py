"""What a training does on an accelerator, checked without one: on the device ``meta``, which computes shapes alone."""

import json
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
import trainings
from torch import nn

from solquery.config import PaperGanConfig, VaeGanConfig, get_preset
from solquery.encoder.augment import augment
from solquery.encoder.networks import build_encoder
from solquery.generator.statistics_matching import STATISTICS, measure_statistics
from solquery.generator.training import _Adversaries
from solquery.generator.vaegan import _Autoencoder
from solquery.training.mixing import images_of
from solquery.training.monitor import TrainingMonitor
from solquery.training.process_group import ProcessGroup
from solquery.training.run_folder import RunFolder

META = torch.device("meta")
PROCESSES = ProcessGroup(device=META)


@pytest.fixture
def shapes_alone(monkeypatch):
    """What ``meta`` cannot do: change precision, and say which patches have two polarities."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda x: torch.arange(len(x) // 2, device=x.device)[:, None])


class Folder:
    """What the trainer asks of a run folder before its first step."""

    def averaged(self, network):
        return network


class Eye(nn.Module):
    """An encoder of four block means."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.gain * nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def _gradients(*networks):
    return {p.grad.device for network in networks for p in network.parameters() if p.grad is not None}


@pytest.mark.parametrize("shared", [False, True])
def test_both_steps_of_the_papers_training_stay_on_the_device(shapes_alone, monkeypatch, shared):
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, fused, **more: adam(parameters, **more))
    config = PaperGanConfig(latent_dim=8, width=8, batch=16, shared_batch=shared)
    pair = _Adversaries(config, trainings.blobs(), (32, 32), 0, PROCESSES)
    assert pair.micro == 16  # parts of a batch are for the cache of a processor
    real = images_of(trainings.blobs(), np.arange(16), META)
    loss_d, fakes = pair._step_discriminator(real, pair._draw(), None, 1.0, 1.0)
    loss_g = pair._step_generator(real, fakes, None if shared else pair._draw(), None, 1.0)
    assert loss_d.device == loss_g.device == META and loss_g.shape == ()
    assert _gradients(pair.generator, pair.discriminator) == {META}


def test_a_step_with_all_terms_stays_on_the_device(shapes_alone):
    config = VaeGanConfig(
        arch="pyramid", latent_dim=8, width=8, batch=16, images=480, anchors=("tuf", "psep"), r1=1.0, fade_images=1,
        embedding_critic=1.0, footprint_mask=True, pixel_noise=True, latent_mapping=True, real_weight=0.25,
        discriminator_augment=0.5,
    )  # fmt: skip
    data, real = trainings.blobs(), np.arange(96) < 20
    trainer = _Autoencoder(config, data, (32, 32), Folder(), PROCESSES, 0, Eye(), real)
    trainer.anchors = torch.zeros(len(data), 2)
    for step in (0, 1):  # with the gradient penalty, and without
        stage = trainer._stage(step)
        values = trainer._step(trainer._draw(step, stage.level), stage, step)
    told = {name: value.device for name, value in values.items() if isinstance(value, torch.Tensor)}
    assert {"nats", "kl", "loss_d", "loss_g", "texture", "footprint", "embedding_distance"} <= set(told)
    assert set(told.values()) == {META}
    assert _gradients(trainer.generator, trainer.inference, trainer.discriminator) == {META}


def test_statistics_of_drawn_patches_are_measured_where_they_are(shapes_alone):
    fields = torch.empty(4, 32, 64, device=META, requires_grad=True)
    statistics = measure_statistics(fields)
    assert statistics.shape == (4, len(STATISTICS)) and statistics.device == META
    statistics.sum().backward()
    assert fields.grad.device == META


def test_views_are_made_and_embedded_where_patches_are():
    config = get_preset("physical").encoder
    patches = torch.empty(4, 1, 96, 192, device=META)
    views = augment(patches, config.augment, torch.Generator().manual_seed(0))
    assert views.shape == patches.shape and views.device == META
    embedded = build_encoder(replace(config, width=8)).to(META)(views)
    assert embedded.shape == (4, 100) and embedded.device == META


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4", np.int16])
def test_patches_are_float32_whatever_they_are_held_in(kind):
    data = (1000 * np.random.default_rng(0).normal(size=(6, 4, 5))).astype(kind)
    made = images_of(data, np.array([4, 0, 1]), torch.device("cpu"))
    assert made.dtype == torch.float32 and made.shape == (3, 1, 4, 5)
    np.testing.assert_array_equal(made[:, 0].numpy(), data[[4, 0, 1]].astype(np.float32))
    assert images_of(data, np.array([4]), META).device == META


def test_losses_may_be_tensors_and_are_told_as_they_are(tmp_path):
    with RunFolder(tmp_path / "run", {}, batch=2, learning_rate=0.1) as folder:
        monitor = TrainingMonitor(folder, 0, 100, line_steps=2)
        for half in (0.25, 0.5):
            losses = {"a": torch.tensor(half), "b": 3.0, "c": torch.tensor(1.0, dtype=torch.bfloat16)}
            monitor.after(losses)
        line = monitor.line()
        assert (line["a"], line["b"], line["c"]) == (0.375, 3.0, 1.0)
        with pytest.raises(folder.error, match="no longer finite after 6 images"):
            monitor.after({"a": torch.tensor(float("nan"))})


def test_minutes_count_from_the_opening_of_the_folder(tmp_path):
    with RunFolder(tmp_path / "run", {}, batch=2, learning_rate=0.1) as folder:
        assert abs(folder.opened - time.monotonic()) < 30
        folder.opened -= 61  # what is measured before the first step took a minute
        monitor = TrainingMonitor(folder, 0, 100, minutes=1)
        assert monitor.goes_on
        monitor.after({})
        assert not monitor.goes_on
        monitor = TrainingMonitor(folder, 0, 100, minutes=2)
        monitor.after({})
        assert monitor.goes_on


def test_a_checkpoint_is_read_into_main_memory(tmp_path, monkeypatch):
    trainings.train("bce", str(tmp_path / "run"), until_images=32)
    read, places = torch.load, []
    monkeypatch.setattr(torch, "load", lambda *a, **more: places.append(more["map_location"]) or read(*a, **more))
    trainings.train("bce", str(tmp_path / "run"), until_images=64)
    assert places == ["cpu"]
    assert json.loads((tmp_path / "run" / "stats.jsonl").read_text().splitlines()[-1])["images"] == 64
