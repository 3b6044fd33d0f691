"""From nothing: an archive and a model made in the folder, and used again when they are there."""

import functools
import json

import pytest
from typer.testing import CliRunner

from solquery.cli.root import app
from solquery.config import get_preset
from solquery.study import reproduce_training as module


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setattr(module, "simulate", functools.partial(module.simulate, workers=1))


def test_an_archive_cut_short_is_completed_and_not_made_twice(one_process, tmp_path, monkeypatch):
    whole = module.simulated_archive(tmp_path / "searched", 3, 2, samples=False)
    ids = whole.ids()
    assert len(ids) == 6

    def refuse(*_, **__):
        raise AssertionError("simulated again")

    monkeypatch.setattr(module, "simulate", refuse)
    assert module.simulated_archive(tmp_path / "searched", 3, 2, samples=False).ids() == ids


@pytest.mark.filterwarnings("ignore::UserWarning")  # such a generator has directions no better than chance
def test_networks_are_trained_once_on_regions_that_are_not_searched(one_process, tmp_path, monkeypatch):
    plan = module.Training(regions=4, frames=4, images=64, latents=300)
    model, runs = module.trained_model(tmp_path, get_preset("tiny"), plan)
    assert model.encoder is not None
    assert "tuf" in model.directions.names
    assert all((run / "config.json").is_file() for run in runs)
    searched = module.simulated_archive(tmp_path / "searched", 2, 1, samples=False)
    trained = module.Archive.open(str(next(tmp_path.glob("trained-*/archive"))))
    assert not set(searched.ids()) & set(trained.ids())
    monkeypatch.setattr(module, "simulate", None)
    again, _ = module.trained_model(tmp_path, get_preset("tiny"), plan)
    assert again.hash == model.hash
    assert again.encoder_hash == model.encoder_hash


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_command_trains_and_reports_from_nothing(one_process, tmp_path, monkeypatch):
    from solquery.study import reproduce as study

    monkeypatch.setattr(module, "QUICK_TRAINING", module.Training(regions=4, frames=4, images=64, latents=300))
    tiny = study.Plan(queries=12, zoo=8, plane=30, inversions=4, starts=1, steps=2, resamples=10, effects=4)
    monkeypatch.setattr(study, "QUICK", tiny)
    archive = module.simulated_archive(tmp_path / "searched", 3, 2, samples=False)
    args = ["reproduce", "--quick", "--train", "--preset", "tiny", "--archive", archive.uri, "--out", str(tmp_path)]
    first = CliRunner().invoke(app, [*args, "--json"], catch_exceptions=False)
    assert first.exit_code == 0, first.stderr
    document = json.loads(first.stdout)
    assert (tmp_path / "report.html").is_file()
    assert document["skipped"] == []
    assert [run["run"] for run in document["stages"]["training"]["runs"]] == ["generator", "encoder"]
    assert document["archive"]["patches"] == 6
    again = CliRunner().invoke(app, args)
    assert again.exit_code == 0, again.stderr
    assert "done before and unchanged: training, figure2" in again.stderr


def test_training_excludes_a_model(tmp_path):
    done = CliRunner().invoke(app, ["reproduce", "--train", "--model", "quick", "--out", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_both_networks_are_trained_in_a_precision_that_the_processor_has(tmp_path, monkeypatch):
    import torch

    from solquery.cli import reproduce

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    preset = get_preset("physical")
    assert (preset.generator.precision, preset.encoder.precision) == ("bf16", "bf16")
    fitted = reproduce._fitting(preset, tmp_path)
    assert (fitted.generator.precision, fitted.encoder.precision) == ("fp32", "fp32")
    # a run that was begun elsewhere goes on as it began
    folder = module.training_folder(tmp_path, preset)
    (folder / "generator").mkdir(parents=True)
    (folder / "generator" / "config.json").write_text(json.dumps({"generator": {"precision": "bf16"}}))
    assert reproduce._fitting(preset, folder).generator.precision == "bf16"
