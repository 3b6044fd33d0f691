"""A run killed with SIGKILL at any moment goes on by the same call and ends at the same weights."""

import json
import os
import random
import signal
import time

import pytest
import started
import torch
import trainings
from safetensors.torch import load_file

LOSSES = ["bce", "relativistic", "vae-gan"]


@pytest.fixture(scope="module")
def processes():
    return started.processes()


def _lines(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("loss", LOSSES)
def test_killed_at_any_moment_it_ends_at_the_same_weights(tmp_path, processes, loss):
    trainings.train(loss, str(tmp_path / "whole"), checkpoint_seconds=1e9)
    run, dice = tmp_path / "run", random.Random(loss)
    checkpoint = run / "checkpoints" / "last.pt"
    kills, steps = 0, []
    while kills < 3:
        process = processes.Process(target=trainings.train, args=(loss, str(run)))
        process.start()
        before, deadline = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0, time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                break
            time.sleep(0.005)
        time.sleep(dice.uniform(0.0, 0.1))
        if not process.is_alive():
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        steps.append(torch.load(checkpoint, weights_only=True)["step"])  # whole, whenever it was killed
    assert kills >= 2 and steps == sorted(steps) and steps[0] < 30
    trainings.train(loss, str(run))

    for name in ("generator", *(["inference"] if loss == "vae-gan" else [])):
        a, b = (load_file(tmp_path / r / "checkpoints" / f"{name}.safetensors") for r in ("whole", "run"))
        assert all(torch.equal(a[key], b[key]) for key in a)
    a, b = (torch.load(tmp_path / r / "checkpoints" / "last.pt", weights_only=True) for r in ("whole", "run"))
    assert a["step"] == b["step"] == 30 and torch.equal(a["random"], b["random"])
    for name in ("optimise_g", "optimise_d"):
        moments = [[s["exp_avg"] for s in packed[name]["state"].values()] for packed in (a, b)]
        assert all(torch.equal(one, other) for one, other in zip(*moments, strict=True))
    images = [line["images"] for line in _lines(run)]
    assert images == sorted(set(images)) == [line["images"] for line in _lines(tmp_path / "whole")]


def test_two_processes_do_not_train_in_one_folder(tmp_path, processes):
    from solquery.generator import TrainingError

    run = tmp_path / "run"
    process = processes.Process(target=trainings.train, args=("bce", str(run)))
    process.start()
    while process.is_alive() and not (run / "checkpoints" / "last.pt").exists():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TrainingError, match="another process is training"):
            trainings.train("bce", str(run))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    trainings.train("bce", str(run), until_images=16)  # the folder is free again
