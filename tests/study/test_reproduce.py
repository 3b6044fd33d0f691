"""The paper in one command on a very small archive: every stage, what is skipped and what is done again."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from solquery.archive.store import Archive
from solquery.errors import SolqueryError
from solquery.simulator import simulate
from solquery.study.reproduce import Plan, reproduce
from solquery.study.reproduce_report import differences
from solquery.study.retrieval import PAPER, run_retrieval

TINY = Plan(
    queries=30, zoo=20, plane=60, inversions=6, starts=1, steps=4, resamples=40, effects=8, lookup=300, judged=6
)


class References(HTMLParser):
    """Whatever a document would load."""

    def __init__(self):
        super().__init__()
        self.found, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def study(model, tmp_path_factory):
    """Archive, folder, results, and the progress calls of the first run."""
    place = tmp_path_factory.mktemp("reproduce")
    archive = Archive.create(str(place / "archive"))
    archive.add(simulate(6, 2, 3, workers=1))
    run = place / "run-a"
    run.mkdir()
    lines = [
        {"images": 100 * k, "epoch": k, "loss_g": 1.0 / k, "discriminator_accuracy": 0.9 - 0.1 * k, "chosen_epoch": 2}
        for k in (1, 2, 3)
    ]
    (run / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    calls = []
    results = reproduce(archive, model, place / "out", TINY, [run], lambda *call: calls.append(call))
    return archive, place / "out", results, calls, run


def test_every_experiment_is_there(study):
    _, out, results, calls, _ = study
    assert list(results["stages"]) == [
        "training", "figure2", "figure3", "directions", "figure4", "figure5", "conditional", "figure6", "copies",
        "queries", "figure7", "figure8", "figure9", "table",
    ]  # fmt: skip
    assert results["skipped"] == []
    assert [f for _, f in calls] == sorted(f for _, f in calls)
    assert json.loads((out / "results.json").read_text())["table"] == results["table"]
    assert len(results["stages"]["figure5"]["strips"]) == 5
    assert results["stages"]["training"]["runs"][0]["chosen_images"] == 200


def test_images_that_the_weights_had_seen_before_the_last_run_are_told(study):
    _, _, results, _, _ = study
    for start, told in (({}, "shown 100 images; "), ({"start": {"from": "x", "images": 50}}, "100 images and 50 in")):
        story = {"last": {"images": 100}, **start}
        about = {**results, "model": {**results["model"], "provenance": {"generator": story}}}
        (line,) = [line for line in differences(about) if line.startswith("Generator.")]
        assert told in line


def test_how_the_encoder_differs_from_the_papers_is_told(study):
    _, _, results, _, _ = study
    for more, told in (
        ({}, "SimSiam, as in the paper."),
        ({"downsample": 2, "prediction_rate": 10.0}, "means of 2 × 2 pixels and its prediction head learned at 10"),
    ):
        about = {**results, "model": {**results["model"], "encoder": {"loss": "simsiam", "physics": [], **more}}}
        (line,) = [line for line in differences(about) if line.startswith("Encoder.")]
        assert told in line


def test_the_report_holds_all_and_loads_nothing(study):
    _, out, results, _, _ = study
    text = (out / "report.html").read_text()
    # a wide patch is not squeezed into a square
    assert ".tile img{display:block;width:100%;height:auto" in text and "aspect-ratio:1" not in text
    parser = References()
    parser.feed(text)
    assert len(parser.found) >= 15
    assert all(value.startswith("data:image/png;base64,") for value in parser.found)
    assert not re.search(r"url\(|@import|<script|<link", text)
    words = " ".join(parser.words)
    for number in (*range(2, 10),):
        assert f"Fig. {number}" in words
    assert all(line in words for line in results["differences"])
    assert "nan" not in words.lower().split()


def test_the_second_run_does_nothing(study, model):
    archive, out, first, _, run = study
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.png")}
    again = reproduce(archive, model, out, TINY, [run])
    assert again["skipped"] == list(first["stages"])
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.png")} == before


def test_only_what_changed_is_done_again(study, model):
    archive, out, first, _, run = study
    once = reproduce(archive, model, out, dataclasses.replace(TINY, resamples=41), [run])
    assert set(first["stages"]) - set(once["skipped"]) == {"figure6", "queries", "table"}


def test_the_table_agrees_with_an_independent_computation(study, model):
    archive, _, results, _, _ = study
    found = run_retrieval(archive, model, TINY.queries, TINY.seed)
    rows = {(row["parameter"], row["statistic"]): row for row in results["table"]}
    assert len(rows) == 2 * len(PAPER)
    for name in PAPER:
        a = found.queries[name]
        b = np.array([found.population[name][row] if row >= 0 else np.nan for row in found.best["ssl"]])
        known = np.isfinite(a) & np.isfinite(b)
        for statistic, function in (("pearson", pearsonr), ("spearman", spearmanr)):
            row = rows[name, statistic]
            assert row["pairs"] == known.sum()
            if known.sum() < 3 or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
                assert row["ours"] is None
                continue
            assert row["ours"] == pytest.approx(function(a[known], b[known])[0], abs=1e-9)
            assert row["difference"] == pytest.approx(row["ours"] - row["paper"])
            assert row["low"] is None or -1.0 <= row["low"] <= row["high"] <= 1.0


def test_a_model_without_encoder_is_refused_in_one_line(study, model):
    archive, out, *_ = study
    from solquery.model import Model

    bare = Model("bare", model.preset, model.generator, None, model.directions)
    with pytest.raises(SolqueryError, match="has no encoder"):
        reproduce(archive, bare, out, TINY)


def test_a_folder_that_is_no_run_is_refused(study, model, tmp_path):
    archive, out, *_ = study
    with pytest.raises(SolqueryError, match=r"has no stats\.jsonl"):
        reproduce(archive, model, out, TINY, [tmp_path])
