"""Two processes on the CPU (Gloo) train as one does with the same batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trainings
from safetensors.torch import load_file
from started import Started

from solquery.training.process_group import LAUNCHER, ProcessGroup

pytestmark = pytest.mark.distributed


def _lines(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def _torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    paths = os.pathsep.join([str(Path(trainings.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [str(a) for a in command], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one(tmp_path):
    """Both loops, stopped and gone on with; under torchrun."""
    script = tmp_path / "both.py"
    script.write_text(
        "import sys, trainings\n"
        "for loss in ('bce', 'vae-gan'):\n"
        f"    trainings.train(loss, {str(tmp_path)!r} + '/two-' + loss, until_images=240, checkpoint_seconds=1e9)\n"
        f"    trainings.train(loss, {str(tmp_path)!r} + '/two-' + loss, until_images=480, checkpoint_seconds=1e9)\n"
    )
    _torchrun(script)
    for loss in ("bce", "vae-gan"):
        one, two = tmp_path / f"one-{loss}", tmp_path / f"two-{loss}"
        trainings.train(loss, str(one), until_images=240, checkpoint_seconds=1e9)
        trainings.train(loss, str(one), until_images=480, checkpoint_seconds=1e9)
        a, b = _lines(one), _lines(two)
        assert [line["images"] for line in a] == [line["images"] for line in b] and len(a) == 6
        for name in (
            "loss_g",
            "loss_d",
            *(["nats", "kl", "texture", "statistics_matching"] if loss == "vae-gan" else []),
        ):
            curves = np.array([[line[name] for line in lines] for lines in (a, b)])
            assert curves[1] == pytest.approx(curves[0], rel=2e-3, abs=2e-4), name
        assert np.ptp([line["loss_d"] for line in a]) > 0.01  # there is a curve to follow
        weights = [load_file(run / "checkpoints" / "generator.safetensors") for run in (one, two)]
        assert all(torch.allclose(weights[0][k], weights[1][k], atol=2e-3) for k in weights[0])
        # one process writes: every file once
        assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}


def test_a_team_shares_a_batch_without_leaving_a_row_out():
    rows = torch.arange(16)
    shares = [ProcessGroup(rank, 4).share(rows) for rank in range(4)]
    assert torch.equal(torch.cat(shares).sort().values, rows)
    # of a batch whose first half is treated otherwise, every share has its half
    assert all((share[:2] < 8).all() and (share[2:] >= 8).all() for share in shares)


def test_a_process_whose_launcher_is_gone_knows(monkeypatch):
    assert not ProcessGroup().deserted()
    monkeypatch.setenv(LAUNCHER, str(os.getppid()))
    assert not ProcessGroup().deserted()
    monkeypatch.setenv(LAUNCHER, str(os.getpid()))
    assert ProcessGroup().deserted()


def _verb(tmp_path, *more):
    np.save(tmp_path / "data.npy", trainings.blobs())
    words = ["train", "generator", "--preset", "tiny", "--data", tmp_path / "data.npy", "--run", tmp_path / "run"]
    done = Started(*words, "--device", "cpu", "--json", "--epochs", 1, *more)
    return done, *done.communicate()


def test_devices_starts_the_processes_and_prints_one_document(tmp_path):
    done, out, err = _verb(tmp_path, "--devices", 2)
    assert done.returncode == 0, err[-3000:]
    assert json.loads(out)["stats"]["images"] == 96
    assert (tmp_path / "run" / "checkpoints" / "generator.safetensors").exists()


def test_an_error_of_all_processes_is_told_once(tmp_path):
    done, out, err = _verb(tmp_path, "--devices", 3)
    assert done.returncode == 1 and out == ""
    assert err.count("no equal shares for 3 devices") == 1 and "Traceback" not in err
