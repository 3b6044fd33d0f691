"""Settling: how much there is of everything comes right, the looks stay, and the training is left alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from solquery.config import VaeGanConfig, get_preset
from solquery.generator import TrainingError, train_generator
from solquery.generator.finetune import FinetuneConfig, finetune
from solquery.generator.registry import build_generator
from solquery.generator.statistics_matching import STATISTICS, StatisticsMatching
from solquery.generator.training import load_run
from solquery.training.run_folder import export_weights

PRESET = get_preset("tiny")
CONFIG = replace(PRESET.generator, images=64, batch=16)


def regions(count, strength, seed=0):
    """Two spots of opposite polarity, of `strength` kilogauss on the average, in faint noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    fields = np.empty((count, 32, 32), np.float32)
    for field in fields:
        apart, size = rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.25)
        spots = [np.exp(-((x - side * apart) ** 2 + y**2) / size**2) for side in (-1, 1)]
        field[:] = strength * rng.uniform(0.5, 1.5) * (spots[1] - spots[0]) + 0.01 * rng.standard_normal((32, 32))
    return np.clip(fields, -1, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training on weak regions."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("settle") / "run"
    train_generator(CONFIG, regions(64, 0.3), folder, PRESET.shape, seed=1, provenance={"preset": "tiny"})
    return folder


def missed(folder, data):
    """Median distance in spreads of each amount of 256 draws from those of the data."""
    config, _, network = load_run(folder)
    amounts = StatisticsMatching(data, config.unit_gauss, 0)
    with torch.no_grad():
        drawn = amounts(network(torch.randn(256, config.latent_dim, generator=torch.Generator().manual_seed(3))))
    wrong = (drawn.median(0).values - amounts.table.median(0).values).abs()
    return dict(zip(STATISTICS, wrong.tolist(), strict=False))  # mixtures have no names


@pytest.fixture(scope="module")
def data(run):
    """What this generator draws, all of it a third stronger: an archive whose amounts it has not."""
    config, _, network = load_run(run)
    with torch.no_grad():
        x = network(torch.randn(256, config.latent_dim, generator=torch.Generator().manual_seed(9)))[:, 0]
    return np.clip(1.33 * x.numpy(), -1, 1)


def test_amounts_come_right_and_the_images_stay(run, data, tmp_path):
    before, weights = missed(run, data), load_file(run / "checkpoints" / "generator.safetensors")
    lines = []
    finetune(
        run, tmp_path / "out", CONFIG, data, PRESET.shape,
        FinetuneConfig(images=2400, learning_rate=3e-4, near=0.3), progress=lines.append,
    )  # fmt: skip
    after = missed(tmp_path / "out", data)
    assert after["tuf"] < 0.4 * before["tuf"]
    assert sum(after.values()) < 0.7 * sum(before.values())
    # an image is still the image of its latent, stronger
    config, _, one = load_run(run)
    _, _, other = load_run(tmp_path / "out")
    z = torch.randn(16, config.latent_dim, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        a, b = (network(z).flatten(1).numpy() for network in (one, other))
    alike = [np.corrcoef(u, v)[0, 1] for u, v in zip(a, b, strict=True)]
    assert min(alike) > 0.8 and np.median(alike) > 0.9
    # the training is as it was, the new run says where it comes from
    there = load_file(run / "checkpoints" / "generator.safetensors")
    assert all(torch.equal(there[name], weights[name]) for name in weights)
    about = json.loads((tmp_path / "out" / "config.json").read_text())
    assert about["provenance"]["finetuned"]["from"] == "run"
    assert about["provenance"]["finetuned"]["images"] == 2400
    assert [line["images"] for line in lines] == [800, 1600, 2400]
    assert len(list((tmp_path / "out" / "samples").glob("*.png"))) == 2


def test_held_fast_it_does_not_move(run, data, tmp_path):
    apart = []
    for near in (0.0, 1e4):
        out = tmp_path / f"near{near:g}"
        finetune(run, out, CONFIG, data, PRESET.shape, FinetuneConfig(images=640, learning_rate=1e-4, near=near))
        apart.append(json.loads((out / "stats.jsonl").read_text().splitlines()[-1])["moved"])
    assert apart[1] < 0.1 * apart[0], apart


def test_the_same_seed_gives_the_same_weights(run, data, tmp_path):
    for name in ("a", "b"):
        finetune(run, tmp_path / name, CONFIG, data, PRESET.shape, FinetuneConfig(images=64), seed=5)
    a, b = (load_file(tmp_path / name / "checkpoints" / "generator.safetensors") for name in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_what_cannot_be_finetuned(run, data, tmp_path):
    with pytest.raises(TrainingError, match="no finished weights"):
        finetune(tmp_path / "none", tmp_path / "out", CONFIG, data, PRESET.shape)
    with pytest.raises(TrainingError, match="name a new folder"):
        finetune(run, run, CONFIG, data, PRESET.shape)
    with pytest.raises(TrainingError, match="images must be above 0"):
        FinetuneConfig(images=0)
    with pytest.raises(TrainingError, match="other settings"):
        finetune(run, tmp_path / "taken", CONFIG, data, PRESET.shape, FinetuneConfig(images=16))
        finetune(run, tmp_path / "taken", CONFIG, data, PRESET.shape, FinetuneConfig(images=32))


def test_weights_that_are_not_finite_are_refused(run, data, tmp_path):
    broken = tmp_path / "broken"
    (broken / "checkpoints").mkdir(parents=True)
    _, _, network = load_run(run)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    export_weights(network, broken / "checkpoints" / "generator.safetensors")
    with pytest.raises(TrainingError, match="is not finite: choose another"):
        finetune(broken, tmp_path / "out", CONFIG, data, PRESET.shape, FinetuneConfig(images=32))
    assert not (tmp_path / "out" / "checkpoints" / "generator.safetensors").exists()


def test_footprints_are_refitted_to_the_archive_by_rank(tmp_path):
    """A generator whose observations are too small takes the sizes of the archive; large ones stay the larger ones."""
    torch.manual_seed(2)
    config = VaeGanConfig(arch="pyramid", latent_dim=8, width=16, loss="vae-gan", batch=8, footprint_mask=True)
    network = build_generator(config, PRESET.shape)
    with torch.no_grad():
        network.window.net[2].weight.normal_(std=0.05)
        network.window.net[2].bias.fill_(-1.2)
    place = tmp_path / "run" / "checkpoints"
    place.mkdir(parents=True)
    save_file(network.state_dict(), place / "generator.safetensors")
    archive = np.zeros((256, 32, 32), np.float32)
    for k, field in enumerate(regions(256, 0.5, seed=3)):
        half = 6 + k % 8
        archive[k, 16 - half : 16 + half, 16 - half : 16 + half] = field[16 - half : 16 + half, 16 - half : 16 + half]
    settings = FinetuneConfig(images=8, refit_footprint=True)
    finetune(tmp_path / "run", tmp_path / "out", config, archive, PRESET.shape, settings)
    z = torch.randn(512, 8, generator=torch.Generator().manual_seed(1))
    refitted = build_generator(config, PRESET.shape)
    refitted.load_state_dict(load_file(tmp_path / "out" / "checkpoints" / "generator.safetensors"))
    before, after = (one.window.sizes(z).detach().numpy() for one in (network, refitted))
    assert np.median(before) < 11 and np.median(after) == pytest.approx(2 * 9.5, rel=0.12)
    assert np.corrcoef(before[:, 0].argsort().argsort(), after[:, 0].argsort().argsort())[0, 1] > 0.8
