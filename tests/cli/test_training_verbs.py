"""Training, models, and how real a model is."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from command_line import PNG, call, document, failure
from scipy.ndimage import gaussian_filter

from solquery.archive import Archive
from solquery.cli.realism import tell_realism
from solquery.model import Model
from solquery.patch import Patch
from solquery.training.run_folder import begun_from


def test_training_leaves_a_run_folder_and_the_same_command_finds_it_done(room):
    for kind, run in (("generator", "run-g"), ("encoder", "run-e")):
        folder = room / run
        for name in ("config.json", "stats.jsonl", "checkpoints"):
            assert (folder / name).exists()
        before = (folder / "stats.jsonl").read_text()
        command = ("train", kind, "--preset", "tiny", "--archive", room / "archive", "--device", "cpu")
        report = document(*command, "--epochs", 1, "--run", folder)
        assert report["run"] == str(folder)
        assert (folder / "stats.jsonl").read_text() == before
        assert str(folder) in failure(*command, "--epochs", 2, "--run", folder)
        assert (folder / "stats.jsonl").read_text() == before


@pytest.mark.parametrize("kind", ["generator", "encoder"])
def test_dry_run_prints_the_resolved_configuration(kind, tmp_path):
    arguments = ("train", kind, "--preset", "paper", "--images", 640, "--device", "cpu", "--run", tmp_path / "run")
    out, _ = call(*arguments, "--dry-run")
    about = json.loads(out)
    assert (about["preset"], about["shape"]) == ("paper", [128, 128])
    assert about[kind]["images"] == 640
    assert not (tmp_path / "run").exists()


def test_training_on_prepared_patches(room, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "good.npy", rng.uniform(-1, 1, (32, 32, 32)).astype(np.float16))
    np.save(tmp_path / "gauss.npy", 500 * rng.standard_normal((32, 32, 32)))
    np.save(tmp_path / "shape.npy", np.zeros((32, 16, 16), np.float32))
    (tmp_path / "text.npy").write_text("no array")
    run = tmp_path / "run"
    command = ("train", "generator", "--preset", "tiny", "--epochs", 1, "--device", "cpu", "--run", run, "--data")
    for name, said in (("gauss", "preset units"), ("shape", "(N, 32, 32)"), ("text", "no .npy"), ("absent", "no file")):
        assert said in failure(*command, tmp_path / f"{name}.npy")
    assert not run.exists()
    assert document(*command, tmp_path / "good.npy")["stats"]["images"] == 32
    call("train", "generator", "--preset", "tiny", "--run", tmp_path / "other", code=2)
    call("train", "generator", "--preset", "tiny", "--archive", room / "archive", code=2)
    assert "no device" in failure(*command, tmp_path / "good.npy", "--device", "abacus")


def test_options_change_the_preset_and_wrong_ones_are_refused(tmp_path):
    command = ("train", "generator", "--preset", "tiny", "--device", "cpu", "--dry-run")
    options = ("--precision", "bf16", "--learning-rate", 1e-4, "--shared-batch")
    about = json.loads(call(*command, *options)[0])["generator"]
    assert (about["precision"], about["learning_rate"], about["shared_batch"]) == ("bf16", 1e-4, True)
    about = json.loads(call(*command, "--preset", "physical", "--decay-images", 640, "--encoder", "physical")[0])[
        "generator"
    ]
    assert (about["decay_images"], about["embedding_critic"]) == (640, 1.0)
    for wrong in (("--precision", "fp8"), ("--learning-rate", -1), ("--devices", 0), ("--cool", -1)):
        call(*command, *wrong, code=2)


def test_the_live_line_tells_losses_rate_and_time_left(tmp_path):
    np.save(tmp_path / "data.npy", np.random.default_rng(0).uniform(-1, 1, (32, 32, 32)).astype(np.float16))
    command = ("train", "generator", "--preset", "tiny", "--epochs", 40, "--device", "cpu", "--until-images", 64)
    _, err = call(*command, "--run", tmp_path / "run", "--data", tmp_path / "data.npy", "--picture-every", 2)
    assert all(word in err for word in ("loss_g", "loss_d", "images_per_s", "images,"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [32, 64] and lines[0]["seconds_left"] >= 0
    assert [p.name for p in sorted((tmp_path / "run" / "samples").iterdir())] == ["000000032.png", "000000064.png"]


def test_patches_of_another_preset_and_of_one_region_are_refused(room, tmp_path):
    from solquery.archive import Archive
    from solquery.config import get_preset

    tiny = Archive.open(room / "archive").prepared_memmap(get_preset("tiny"))[1]
    other = tmp_path / "quick-0123456789-0123456789abcdef.npy"  # a name such as an archive gives
    np.save(other, tiny)
    command = ("train", "generator", "--preset", "tiny", "--device", "cpu", "--run", tmp_path / "run")
    assert "another preset" in failure(*command, "--data", other)
    one = Archive.open(room / "archive").table(["region"])["region"][0].as_py()
    assert "1 region" in failure(*command, "--archive", room / "archive", "--where", f"region = '{one}'")
    _, err = call(*command, "--archive", room / "archive", "--epochs", 1)
    assert "8 regions" in err and "learn them by heart" in err
    # nor is a run of one preset built into a model of another
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["provenance"]["preset"] = "physical"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    build = ("model", "build", "--name", "x", "--out", tmp_path / "b", "--generator", tmp_path / "run")
    assert "trained with preset 'physical'" in failure(*build, "--preset", "tiny")


def test_choosing_a_checkpoint_by_the_papers_rule(room):
    told = document("train", "choose", room / "run-g", "--by", "paper")
    assert told["by"] == "paper" and told["table"] and "tells generated from real least well" in told["why"]
    assert json.loads((room / "run-g" / "choice.json").read_text())["why"] == told["why"]
    call("train", "choose", room / "run-g", code=2)  # by quality, but of which archive?
    call("train", "choose", room / "run-g", "--by", "eye", code=2)


def test_model_build_tells_what_does_not_fit(room, model, tmp_path):
    command = ("model", "build", "--name", "x", "--out", tmp_path / "b", "--generator")
    assert "128 x 128" in failure(*command, room / "run-g", "--preset", "paper")
    assert "train generator" in failure(*command, tmp_path, "--preset", "tiny")
    assert not (tmp_path / "b").exists()
    sharing = ("--encoder", room / "model", "--preset", "tiny", "--no-directions")
    report = document(
        "model", "build", "--name", "y", "--generator", room / "run-g", *sharing, "--out", room / "sharing"
    )
    assert report["encoder"] == {"hash": model.encoder_hash, "from": "model"}
    assert not (room / "sharing" / "encoder.safetensors").exists()


def test_quality_wants_enough_patches(room):
    assert "at least 100" in failure("quality", room / "model", "--archive", room / "archive")


def test_quality_writes_a_table_and_a_figure(room, tmp_path):
    archive, out = tmp_path / "archive", tmp_path / "out"
    call("simulate", "--regions", 10, "--frames", 10, "--seed", 6, "--archive", archive, "--workers", 1)
    got = document(
        "quality", room / "model", "--archive", archive, "-n", 100, "--out", out, "--train", room / "archive"
    )
    assert got["memorisation"]["median_generated"] > 0 and 0 <= got["discriminator_accuracy"] <= 1
    assert {"spans", "reached", "weak", "strong"} <= set(got["parameters"]["tuf"])
    assert set(got["parameters"]) == {"tuf", "r", "psep", "tpf", "tnf", "sigma", "alpha", "grad"}
    assert all(0 <= entry["ks"] <= 1 for entry in got["parameters"].values())
    assert (out / "quality.png").read_bytes().startswith(PNG)
    assert json.loads((out / "quality.json").read_text())["median_ks"] == got["median_ks"]


def clustered(seed):
    """(150, 250) gauss at SHARP scale: flux of both signs in patches of some megametres, and noise."""
    rng = np.random.default_rng(seed)
    return (6_000 * gaussian_filter(rng.normal(0, 1, (150, 250)), 6.0) + rng.normal(0, 20, (150, 250))).astype(
        np.float32
    )


def test_quality_against_observed_frames(room, tmp_path, capsys):
    archive = Archive.create(tmp_path / "archive")
    scale = (0.364425, 0.364425)
    archive.add(
        [Patch(clustered(k), scale, f"s{k:03d}", f"SIM {k // 4}", "simulated", mu=0.8) for k in range(100)]
    )  # fmt: skip
    frames, out = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    for k in range(5):
        header = fits.Header({"HARPNUM": 100 + k, "T_REC": "2012.03.06_14:24:00_TAI", "QUALITY": 0, "BUNIT": "Gauss"})
        header.update({"CDELT1": 0.03, "CDELT2": 0.03, "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "degree"})
        header.update({"CRVAL1": 100.0, "CRVAL2": 12.0, "CRLN_OBS": 90.0, "CRLT_OBS": -7.0, "CONTENT": "Br"})
        fits.writeto(frames / f"hmi.sharp_cea_720s.{100 + k}.20120306_142400_TAI.Br.fits", clustered(500 + k), header)
    (frames / "page.fits").write_text("<html>service unavailable</html>")
    options = ("--archive", archive.uri, "-n", 100, "--critic-steps", 0, "--real", frames)
    assert "preset 'physical'" in failure("quality", room / "model", *options)
    call("quality", room / "model", "--archive", archive.uri, "--min-flux", 1e20, code=2)
    got = document("quality", "physical", *options, "--min-flux", 0, "--out", out)["real"]
    # these fields have hardly a quiet pixel, so that the statistics of the quiet Sun may be undefined
    assert {"structure", "all"} <= set(got["auc"]["generated"]) == set(got["auc"]["held_out"])
    assert got["patches"]["real"]["regions"] == 5 and got["patches"]["held_out"]["drawn"] == 25
    assert len(got["selection"]["refused"]) == 1
    assert (out / "realism.png").read_bytes().startswith(PNG)
    assert json.loads((out / "quality.json").read_text())["real"]["auc"] == got["auc"]
    capsys.readouterr()
    tell_realism(got)
    told = capsys.readouterr().out
    assert "AUC, structure" in told and "roundness of peaks" in told and "at least 0 Mx over 100 G" in told


def test_an_encoder_also_learns_from_draws(room, tmp_path):
    common = ("train", "encoder", "--preset", "tiny", "--archive", room / "archive", "--epochs", 1, "--device", "cpu")
    about = document(*common, "--drawn", 16, "--generator", room / "run-g", "--run", tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert about["images"] == 48 and settings["data"]["shape"] == [48, 32, 32]
    assert np.load(tmp_path / "run" / "drawn.npy").shape == (16, 32, 32)
    assert settings["provenance"]["drawn"] == 16 and settings["provenance"]["generator"] == "run-g"
    call(*common, "--drawn", 16, "--run", tmp_path / "other", code=2)
    other = (*common[:3], "paper", *common[4:], "--drawn", 4, "--generator", room / "run-g", "--run", tmp_path / "p")
    assert "32 x 32" in failure(*other)


def test_settling_writes_a_run_of_its_own(room, tmp_path):
    command = ("train", "finetune", room / "run-g", "--preset", "tiny", "--archive", room / "archive", "--images", 64)
    told = document(*command, "--run", tmp_path / "finetuned")
    assert told["stats"]["images"] == 64 and told["stats"]["moved"] >= 0
    assert (tmp_path / "finetuned" / "checkpoints" / "generator.safetensors").exists()
    assert "name a new folder" in failure(*command, "--run", room / "run-g")
    assert "no run folder" in failure("train", "settle", tmp_path, *command[3:], "--run", tmp_path / "other")


def test_a_training_that_starts_from_a_model_skips_the_coarse_levels():
    shown = document("train", "generator", "--preset", "physical", "--start", "physical", "--dry-run")
    assert shown["generator"]["grow_images"] == [] and shown["generator"]["discriminator_warmup_images"] > 0
    plain = document("train", "generator", "--preset", "physical", "--dry-run")
    assert plain["generator"]["grow_images"] and plain["generator"]["discriminator_warmup_images"] == 0
    assert "physical" in failure("train", "encoder", "--preset", "physical", "--start", "nothing", "--dry-run")


def test_bfloat16_is_for_processors_that_have_it(tmp_path, monkeypatch):
    import torch

    command = ("train", "generator", "--preset", "physical", "--device", "cpu", "--dry-run")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert document(*command)["generator"]["precision"] == "fp32"
    assert document(*command, "--precision", "bf16")["generator"]["precision"] == "bf16"
    encoder = document("train", "encoder", *command[2:])
    assert encoder["encoder"]["precision"] == "fp32"
    # a run goes on as it began, on whatever machine
    (tmp_path / "config.json").write_text(json.dumps({"generator": {"precision": "bf16"}}))
    assert document(*command, "--run", tmp_path)["generator"]["precision"] == "bf16"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert document(*command)["generator"]["precision"] == "bf16"


def test_draws_are_shown_to_an_encoder_of_the_same_grid_only(room):
    command = ("train", "generator", "--preset", "tiny", "--archive", room / "archive", "--device", "cpu")
    command = (*command, "--run", room / "never")
    assert "only 'vae-gan'" in failure(*command, "--encoder", room / "model")
    assert "name one of the same grid" in failure(*command, "--encoder", "physical")
    assert "nowhere is no run folder" in failure(*command, "--encoder", room / "nowhere")
    assert not (room / "never").exists()


def test_the_encoder_that_was_shown_the_draws_is_written_down(room):
    from solquery import Model, get_preset
    from solquery.cli.inputs import seen_by

    told: dict = {}
    encoder = seen_by(str(room / "model"), get_preset("tiny"), told)
    assert encoder is not None and told == {"encoder": Model.load(room / "model").encoder_hash}
    other: dict = {}
    assert seen_by(str(room / "run-e"), get_preset("tiny"), other) is not None and other == told
    assert seen_by(None, get_preset("tiny"), other) is None


def test_quality_in_the_space_of_another_encoder(room, tmp_path):
    archive = tmp_path / "more"
    document("simulate", "--regions", 6, "--frames", 20, "--seed", 5, "--workers", 1, "--archive", archive)
    command = ("quality", room / "model", "--archive", archive, "-n", 100, "--critic-steps", 0)
    own, other = document(*command), document(*command, "--encoder", "paper")
    assert own["encoder"] != other["encoder"] and other["encoder_of"] == "paper"
    assert own["median_ks"] == other["median_ks"] and own["frechet"] != other["frechet"]
    assert "has no encoder" not in str(own) and not own["asked_for"]


def test_a_model_takes_along_what_its_networks_began_with(room, tmp_path):
    run = shutil.copytree(room / "run-g", tmp_path / "run-g")
    (run / "start.json").write_text('{"from": "before", "images": 640}')
    document("model", "build", "--generator", run, "--preset", "tiny", "--out", tmp_path / "model", "--name", "b")
    told = json.loads((tmp_path / "model" / "model.json").read_text())
    assert told["provenance"]["generator"]["start"] == {"from": "before", "images": 640}
    own = told["provenance"]["generator"]["last"]["images"]
    assert begun_from(tmp_path / "model") == {"from": "b", "images": 640 + own}


def test_processes_of_one_training_say_once_what_it_sees(room, capsys, monkeypatch):
    from solquery.cli.training_data import ready
    from solquery.config import get_preset
    from solquery.training.process_group import LAUNCHER

    asked = (get_preset("tiny"), str(room / "archive"), None, None, room / "never")
    with pytest.warns(UserWarning, match="8 regions"):
        _, rows = ready(*asked)
    assert "preparing the patches" in capsys.readouterr().err
    monkeypatch.setenv(LAUNCHER, str(os.getppid()))
    _, again = ready(*asked)
    assert capsys.readouterr().err == "" and len(again.data) == len(rows.data) > 0


def test_a_sampler_is_fitted_to_an_archive_and_what_it_accepts_is_what_is_drawn_and_judged(room, tmp_path):
    archive, out = tmp_path / "more", tmp_path / "sampled"
    document("simulate", "--regions", 10, "--frames", 10, "--seed", 6, "--workers", 1, "--archive", archive)
    told = document("model", "sampler", room / "model", "--archive", room / "archive", "-n", 400, "--out", out)
    assert (told["patches"], told["regions"], told["draws"], told["model"]) == (32, 8, 400, str(out))
    assert 0 < told["accepted"] <= 1 and 0 <= told["told_apart"] <= 1
    before, after = Model.load(room / "model"), Model.load(out)
    assert before.sampler is None and after.sampler.record["encoder"] == before.encoder_hash
    assert after.hash == told["hash"] != before.hash
    assert after.directions.names == before.directions.names
    command = ("quality", out, "--archive", archive, "-n", 100, "--critic-steps", 0)
    judged, every = document(*command), document(*command, "--every-draw")
    assert judged["sampler"]["accepted"] == told["accepted"] and judged["asked_for"]
    assert every["sampler"] is None and not every["asked_for"]
    plain = document("quality", room / "model", *command[2:])
    assert every["parameters"] == plain["parameters"] != judged["parameters"]
    # the model's only file of its own is the sampler; written in place, it is another one
    assert "are accepted" in call("model", "sampler", out, "--archive", room / "archive", "-n", 200, "--seed", 1)[0]
    assert Model.load(out).sampler.record["draws"] == 200
    none = ("--where", "region = 'none'")
    assert "at least 5 regions" in failure("model", "sampler", out, "--archive", room / "archive", "-n", 200, *none)
