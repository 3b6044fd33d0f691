"""What a run does when it is given bad data, loses its loss, repeats itself, or the disk is full."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from trainings import SHAPE, blobs, configurations

from solquery.config import GeneratorConfig, get_preset
from solquery.generator import TrainingError, train_generator
from solquery.generator import training as loops
from solquery.generator.networks import PaperDiscriminator
from solquery.generator.registry import register_generator
from solquery.training.diversity import CollapseWarning, Diversity, diversity

DATA = blobs()
CONFIGS = configurations()
LOSSES = sorted(CONFIGS)


def _step(run):
    return torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"]


class _Spoilt:
    """Patches that turn into something else after some readings."""

    def __init__(self, data, good, spoil):
        self.data, self.left, self.spoil = data, good, spoil

    def __len__(self):
        return len(self.data)

    def __getitem__(self, rows):
        x = self.data[rows]
        if np.ndim(x) < 3:
            return x
        self.left -= 1
        return x if self.left >= 0 else self.spoil(x)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path, loss):
    run = tmp_path / "run"
    config = dataclasses.replace(CONFIGS[loss], anchors=()) if loss == "vae-gan" else CONFIGS[loss]
    train_generator(config, DATA, run, SHAPE, until_images=48)
    spoilt = _Spoilt(DATA, 4, lambda x: np.full_like(x, np.nan))
    with pytest.raises(TrainingError, match=r"no longer finite after.*last good state.*--learning-rate 0\.00025"):
        train_generator(config, spoilt, run, SHAPE, checkpoint_seconds=0.0)
    good = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert good["step"] >= 3 and all(torch.isfinite(t).all() for t in good["generator"].values())
    train_generator(config, DATA, run, SHAPE, until_images=112)  # and with good patches it goes on
    assert _step(run) == 7


def test_weights_that_overflow_before_the_loss_does_are_never_saved(tmp_path, monkeypatch):
    run = tmp_path / "run"
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=32)

    def overflow(self, *_):
        with torch.no_grad():
            next(self.generator.parameters()).fill_(float("inf"))
        return 0.5

    monkeypatch.setattr(loops._Adversaries, "_step_generator", overflow)
    with pytest.raises(TrainingError, match="no longer finite"):
        train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=48)
    assert _step(run) == 2


def test_a_full_disk_ends_in_one_line_and_leaves_the_checkpoint(tmp_path, monkeypatch):
    """/dev/full is always full: where a part is to be written, a link to it stands in for the disk."""
    run = tmp_path / "run"
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=32)
    monkeypatch.setattr("solquery.io.uuid.uuid4", lambda: SimpleNamespace(hex="known"))
    for name, until in (("checkpoints/last.pt", 64), ("samples/000000064.png", 64)):
        place = run / name
        place.with_name(f".{place.stem}.known.part{place.suffix}").symlink_to("/dev/full")
        with pytest.raises(TrainingError, match=r"No space left.*checkpoint before it is intact.*same command") as told:
            train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=until)
        assert "\n" not in str(told.value) and name in str(told.value)
        assert _step(run) == (2 if name.endswith("pt") else 4)
    # the same command, with room again
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=96)
    assert _step(run) == 6


def test_statistics_cut_short_by_a_full_disk_do_not_stop_the_run(tmp_path):
    run = tmp_path / "run"
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=96)
    with (run / "stats.jsonl").open("a") as file:
        file.write('{"images": 9')
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=192)
    assert [json.loads(line)["images"] for line in (run / "stats.jsonl").read_text().splitlines()] == [96, 192]

    def fill_up(x):
        (run / "stats.jsonl").unlink(missing_ok=True)
        (run / "stats.jsonl").symlink_to("/dev/full")
        return x

    with pytest.raises(TrainingError, match=r"stats\.jsonl cannot be written: No space left"):
        train_generator(CONFIGS["bce"], _Spoilt(DATA, 5, fill_up), run, SHAPE, until_images=288)
    (run / "stats.jsonl").unlink()
    assert _step(run) == 12


def test_a_damaged_checkpoint_and_damaged_settings_are_named(tmp_path):
    run = tmp_path / "run"
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=32)
    (run / "checkpoints" / "last.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(TrainingError, match=r"last\.pt cannot be read.*remove it to start again"):
        train_generator(CONFIGS["bce"], DATA, run, SHAPE)
    (run / "config.json").write_text("{")
    with pytest.raises(TrainingError, match=r"config\.json is damaged"):
        train_generator(CONFIGS["bce"], DATA, run, SHAPE)


def test_other_data_or_another_preset_is_refused(tmp_path):
    run = tmp_path / "run"
    about = {"preset": "paper"}
    train_generator(CONFIGS["bce"], DATA, run, SHAPE, until_images=16, provenance=about)
    with pytest.raises(TrainingError, match=r"other settings or data \(data\)"):
        train_generator(CONFIGS["bce"], DATA[::-1], run, SHAPE, provenance=about)
    with pytest.raises(TrainingError, match=r"other settings or data \(provenance\)"):
        train_generator(CONFIGS["bce"], DATA, run, SHAPE, provenance={"preset": "physical"})


def test_a_run_from_before_its_data_were_written_down_goes_on(tmp_path):
    run = tmp_path / "run"
    config = dataclasses.replace(CONFIGS["bce"], shared_batch=True)
    train_generator(config, DATA, run, SHAPE, until_images=16)
    there = json.loads((run / "config.json").read_text())
    del there["data"], there["provenance"], there["generator"]["shared_batch"]
    (run / "config.json").write_text(json.dumps(there))
    with pytest.raises(TrainingError, match="other settings"):  # then, one batch served both steps
        train_generator(CONFIGS["bce"], DATA, run, SHAPE)
    train_generator(config, DATA, run, SHAPE, until_images=32)


class _Few(torch.nn.Module):
    """A generator that knows a few patches; the losses cannot teach it more."""

    def __init__(self, config, shape, patches=2):
        super().__init__()
        self.latent_dim = config.latent_dim
        self.register_buffer("patches", torch.from_numpy(DATA[:patches].astype(np.float32))[:, None])
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, z):
        return self.weight * self.patches[(z[:, 0] > 0).long() % len(self.patches)]


@pytest.mark.parametrize("patches", [1, 2])
def test_collapse_is_warned_about_within_the_run(tmp_path, monkeypatch, patches):
    from solquery.generator import monitor as generator_monitor
    from solquery.training import diversity as variety
    from solquery.training import monitor

    register_generator(f"test-few-{patches}", lambda config, shape: _Few(config, shape, patches), PaperDiscriminator)
    monkeypatch.setattr(variety, "COLLAPSE_STEPS", 20)
    monkeypatch.setattr(generator_monitor, "DIVERSITY_STEPS", 10)
    monkeypatch.setattr(monitor, "LINE_STEPS", 10)
    config = dataclasses.replace(CONFIGS["bce"], arch=f"test-few-{patches}", learning_rate=1e-6)
    seen = []
    with pytest.warns(CollapseWarning, match="it collapsed") as caught:
        train_generator(config, DATA, tmp_path / "run", SHAPE, progress=lambda entry: seen.append(entry))
    assert len(caught) == 1  # once, not with every line
    looks = [entry["diversity"] for entry in seen if "diversity" in entry]
    assert len(looks) == CONFIGS["bce"].images // CONFIGS["bce"].batch // 10 == 3 and max(looks) < 0.1


def test_diversity_of_the_data_themselves_is_one_and_of_their_mean_nothing():
    x = torch.from_numpy(DATA.astype(np.float32))[:, None]
    assert diversity(x, x) == pytest.approx(1.0)
    assert diversity(x.mean(0, keepdim=True).expand_as(x), x) == pytest.approx(0.0, abs=1e-3)
    grain = x.mean(0, keepdim=True) + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    blind = diversity(grain.repeat_interleave(4, 2).repeat_interleave(4, 3), x.repeat_interleave(4, 2)
                      .repeat_interleave(4, 3))  # fmt: skip
    assert blind > 0.1  # noise varies; it is no collapse, and the quality table finds it out
    assert Diversity(DATA, 0).real.shape == (64, 1, *SHAPE)


def test_too_few_patches_and_wrong_shapes_are_refused(tmp_path):
    for data, said in ((DATA[:3], "cannot fill a batch"), (DATA[:, :16], "wants")):
        with pytest.raises(TrainingError, match=said):
            train_generator(get_preset("tiny").generator, data, tmp_path / "run", SHAPE)
    assert not (tmp_path / "run").exists()


def test_unknown_settings_are_refused_by_name():
    with pytest.raises(ValueError, match="precision"):
        GeneratorConfig(precision="fp8")
