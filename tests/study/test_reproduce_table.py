"""Intervals that know which pairs belong together, and the table in the README."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solquery.study.reproduce_table import bootstrap, comparison
from solquery.study.retrieval import PAPER

SCRIPT = Path(__file__).parents[2] / "scripts" / "readme_table.py"


def _pairs(groups, frames, seed=0):
    """Correlated pairs that are nearly the same within a group."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=groups)
    other = 0.6 * centre + 0.8 * rng.normal(size=groups)
    owner = np.repeat(np.arange(groups), frames)
    noise = 0.01 * rng.normal(size=(2, groups * frames))
    return centre[owner] + noise[0], other[owner] + noise[1], owner


def test_more_frames_of_the_same_regions_do_not_make_an_interval_narrower():
    wide = bootstrap(*_pairs(30, 1), resamples=400)["pearson"]
    many = bootstrap(*_pairs(30, 20), resamples=400)["pearson"]
    a, b, _ = _pairs(30, 20)
    blind = bootstrap(a, b, np.arange(len(a)), resamples=400)["pearson"]
    size = [high - low for low, high in (wide, many, blind)]
    assert size[1] == pytest.approx(size[0], rel=0.3)
    assert size[2] < 0.5 * size[1]


def test_the_interval_of_single_pairs_is_that_of_theory():
    rng = np.random.default_rng(3)
    a = rng.normal(size=400)
    b = 0.5 * a + np.sqrt(0.75) * rng.normal(size=400)
    low, high = bootstrap(a, b, np.arange(400), resamples=600)["pearson"]
    r = np.corrcoef(a, b)[0, 1]
    # Fisher's transformation
    wanted = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(397))
    assert [low, high] == pytest.approx(wanted, abs=0.02)


def test_pairs_without_a_value_are_left_out_and_one_region_has_no_interval():
    a, b, owner = _pairs(10, 2)
    a[3] = np.nan
    assert all(np.isfinite(v) for pair in bootstrap(a, b, owner, resamples=50).values() for v in pair)
    assert np.isnan(bootstrap(a, b, np.zeros(len(a)), resamples=50)["pearson"]).all()


def _rows():
    a, b, owner = _pairs(12, 2)
    same = dict.fromkeys(PAPER, a)
    return comparison(same, dict.fromkeys(PAPER, b), owner, "made", resamples=50)


def _results(shift=0.0, **stages):
    rows = [{**row, "ours": row["ours"] + shift} for row in _rows()]
    return {"table": rows, "stages": {"table": {"data": "made data"}, **stages}}


def _run(*given):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, given)], capture_output=True, text=True)


def test_the_readme_gets_three_columns_between_its_markers_and_nothing_else(tmp_path):
    paper, default, readme = (tmp_path / name for name in ("paper.json", "default.json", "README.md"))
    limb = {"error": {"spearman": 0.41, "low": 0.2, "high": 0.6, "p": 0.003}}
    copies = {name: {"share": 0.875} for name in ("shift_px", "zoom", "rotation_deg", "vertical_flip")}
    above = {"visual_similarity_above": {"euclidean": {"difference": 0.123, "low": 0.05, "high": 0.2}}}
    paper.write_text(json.dumps(_results(figure6=limb, copies=copies, queries=above)))
    default.write_text(json.dumps(_results(0.2)))
    readme.write_text("before\n<!-- reproduce:begin -->\nold\n<!-- reproduce:end -->\nafter\n")
    for _ in range(2):
        done = _run("--paper", paper, "--default", default, "--readme", readme)
        assert done.returncode == 0, done.stderr
    text = readme.read_text()
    assert text.startswith("before\n<!-- reproduce:begin -->\n")
    assert text.endswith("<!-- reproduce:end -->\nafter\n")
    assert "old" not in text
    assert text.count("made data") == 2
    (tuf,) = [line for line in text.splitlines() if line.startswith("| TUF |")]
    _, _, stated, own, other, _ = (cell.strip() for cell in tuf.split("|"))
    ours = _rows()[0]["ours"]
    assert stated == "0.78 / 0.79"
    assert own.startswith(f"{ours:.2f} [")
    assert other.startswith(f"{ours + 0.2:.2f} [")
    assert "| 0.41 [0.20, 0.60], p = 0.003 | – |" in text
    assert "88 % shifted, 88 % zoomed" in text
    assert "| 0.12 [0.05, 0.20] | – |" in text


def test_a_column_that_is_not_there_yet_is_empty_and_no_results_are_refused(tmp_path):
    default, readme = tmp_path / "default.json", tmp_path / "README.md"
    default.write_text(json.dumps(_results()))
    readme.write_text("<!-- reproduce:begin -->\nold\n<!-- reproduce:end -->\n")
    assert _run("--readme", readme).returncode == 1
    assert "old" in readme.read_text()
    assert _run("--default", default, "--readme", readme).returncode == 0
    assert "| TUF | 0.78 / 0.79 | – | " in readme.read_text()
    default.write_text("{}")
    done = _run("--default", default, "--readme", readme)
    assert (done.returncode, "results.json" in done.stderr) == (1, True)


def test_a_readme_without_markers_is_left_alone(tmp_path):
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text("{}")
    readme.write_text("nothing here\n")
    done = _run("--default", results, "--readme", readme)
    assert done.returncode == 1
    assert "reproduce:begin" in done.stderr
    assert readme.read_text() == "nothing here\n"
