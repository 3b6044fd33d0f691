"""Statistics of a run are read under the names of today, whenever they were written."""

import json

import pytest

from solquery.model_build import run_story
from solquery.training.statistics import RENAMED, last_statistics, read_statistics


def test_a_run_from_before_is_read_under_the_names_of_today(tmp_path):
    old = [{"images": 100 * k, "nats": 5.0, **dict.fromkeys(RENAMED, float(k))} for k in (1, 2)]
    new = {"images": 300, **dict.fromkeys(RENAMED.values(), 3.0)}
    path = tmp_path / "stats.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (*old, new)) + '{"images": 4')
    lines = read_statistics(tmp_path)
    assert [line["images"] for line in lines] == [100, 200, 300]  # what a kill cut short is left out
    for name in ("statistics_matching", "embedding_critic", "embedding_adversarial", "embedding_distance", "footprint"):
        assert [line[name] for line in lines] == [1.0, 2.0, 3.0]
    assert not any(set(RENAMED) & set(line) for line in lines) and lines[0]["nats"] == 5.0
    assert last_statistics(tmp_path) == new


def test_a_run_without_statistics_has_none(tmp_path):
    assert read_statistics(tmp_path) == [] and last_statistics(tmp_path) == {}


@pytest.mark.parametrize("kind", ["generator"])
def test_a_model_of_an_old_run_tells_them_so(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({kind: {}, "seed": 1}))
    (tmp_path / "stats.jsonl").write_text('{"images": 64, "amounts": 0.5}\n')
    assert run_story(tmp_path)["last"] == {"images": 64, "statistics_matching": 0.5}
