"""Intervals that know which pairs belong together, and the table in the README."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from solquery.study.reproduce_table import bootstrap, comparison, readme_lines
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


def test_the_readme_gets_the_table_between_its_markers_and_nothing_else(tmp_path):
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps({"table": _rows(), "stages": {"table": {"data": "made data"}}}))
    readme.write_text("before\n<!-- reproduce:begin -->\nold\n<!-- reproduce:end -->\nafter\n")
    for _ in range(2):
        assert runpy.run_path(str(SCRIPT))["main"](results, readme) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- reproduce:begin -->\n")
    assert text.endswith("<!-- reproduce:end -->\nafter\n")
    assert "old" not in text
    assert "made data" in text
    assert all(line in text for line in readme_lines(_rows()))
    assert text.count("| TUF |") == 1


def test_a_readme_without_markers_is_left_alone(tmp_path):
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text("{}")
    readme.write_text("nothing here\n")
    done = subprocess.run([sys.executable, str(SCRIPT), str(results), str(readme)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "reproduce:begin" in done.stderr
    assert readme.read_text() == "nothing here\n"
