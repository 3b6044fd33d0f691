"""What every verb owes its user: one document on stdout, exit codes, one line for an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from command_line import call, document
from started import Started
from typer.testing import CliRunner

from solquery.cli.output import plain
from solquery.cli.root import app
from solquery.measuring import measure
from solquery.steering.refinement import EVALUATIONS


def test_demo_prints_the_summary(monkeypatch, tmp_path):
    def run(out, queries, progress, model):
        progress("working", 0.5)
        return {"report": str(out / "report.html"), "queries": queries, "seconds": float("nan")}

    monkeypatch.setattr("solquery.study.demo.run_demo", run)
    about = document("demo", "--out", tmp_path, "--queries", 7)
    assert about == {"report": str(tmp_path / "report.html"), "queries": 7, "seconds": None}
    out, err = call("demo", "--out", tmp_path)
    assert str(tmp_path / "report.html") in out and str(tmp_path / "summary.json") in out
    assert "working" in err


def test_every_verb_prints_tables_without_json(room, observed, tmp_path):
    model = ("--model", room / "model")
    assert "tuf" in call("params", observed)[0]
    assert "patches" in call("info", "--archive", room / "archive")[0]
    assert "cosine" in call("directions", *model, "-n", 200)[0]
    assert "requested" in call("generate", *model, "--set", "tuf>=0", "--out", tmp_path)[0]
    assert "edit-tuf.png" in call("edit", *model, "--param", "tuf", "--steps", 3, "--out", tmp_path)[0]
    assert "mse" in call("invert", observed, *model, "--steps", 2, "--starts", 1, "--out", tmp_path)[0]
    assert "distance" in call("search", observed, *model, "--archive", room / "archive", "-k", 2)[0]


def test_debug_adds_the_traceback_wherever_it_stands(tmp_path):
    for arguments in (
        ["--debug", "info", "--archive", tmp_path / "x"],
        ["info", "--archive", tmp_path / "x", "--debug"],
    ):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 1
        assert "Traceback" in result.stderr and "no archive at" in result.stderr


def test_wrong_usage_is_2():
    for arguments in (
        ["fly"],
        ["simulate"],
        ["simulate", "--archive", "x", "--regions", "0"],
        ["edit"],
        ["train", "cat"],
    ):
        call(*arguments, code=2)


def test_the_script_keeps_stdout_to_its_document(room):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", "from solquery.cli import main; main()"]
    command = [*run, "info", "--archive", str(room / "archive"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, json.loads(done.stdout)["patches"]) == (0, 32)
    done = Started("info", "--archive", room / "nowhere", "--json")
    out, err = done.communicate()
    assert (done.returncode, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, solquery; heavy = {'numpy', 'torch', 'scipy', 'lancedb', 'astropy', 'typer'} & set(sys.modules); "
        "assert not heavy, heavy; from solquery import get_preset; assert get_preset('tiny').shape == (32, 32)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_every_public_name_is_there():
    import solquery

    for name in solquery.__all__:
        assert getattr(solquery, name) is not None
    assert set(solquery.__all__) == set(solquery._MODULE_OF)
    assert solquery.__all__ == sorted(solquery.__all__)
    assert solquery.measure is measure
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = solquery.nothing


def test_plain_numbers():
    value = {
        "a": np.float32(1.5),
        "b": np.nan,
        "c": np.arange(2),
        "d": datetime(2011, 2, 15, tzinfo=UTC),
        1: (True, None),
    }
    assert plain(value) == {"a": 1.5, "b": None, "c": [0, 1], "d": "2011-02-15T00:00:00+00:00", "1": [True, None]}


@pytest.mark.parametrize(("verb", "told"), [(("invert",), "else {}]"), (("study", "inversion"), "[100 and {}]")])
def test_help_says_how_many_steps_an_inversion_takes(verb, told):
    shown = " ".join(call(*verb, "--help")[0].replace("│", " ").split())
    assert told.format(EVALUATIONS) in shown
