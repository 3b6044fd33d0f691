"""A stage is done once for its inputs, survives being killed, and is done again when something changed."""

import json

import pytest

from solquery.study.reproduce_stages import Stages, digest, source_digest


def _work(calls, text=b"picture", fail=False):
    def work(folder):
        calls.append(folder)
        (folder / "a.png").write_bytes(text)
        if fail:
            raise KeyboardInterrupt
        return {"value": len(calls)}

    return work


def test_a_stage_is_skipped_while_its_inputs_stay(tmp_path):
    calls = []
    first = Stages(tmp_path).run("fig2", {"model": "b", "n": 3}, _work(calls))
    second = Stages(tmp_path).run("fig2", {"n": 3, "model": "b"}, _work(calls))
    assert (first.skipped, second.skipped, len(calls)) == (False, True, 1)
    assert second.result == {"value": 1}
    assert (second.folder / "a.png").read_bytes() == b"picture"


def test_a_changed_input_is_named_and_the_old_files_go(tmp_path):
    calls = []
    first = Stages(tmp_path).run("fig2", {"model": "b", "n": 3}, _work(calls))
    second = Stages(tmp_path).run("fig2", {"model": "c", "n": 3}, _work(calls, b"other"))
    assert second.changed == ("model",)
    assert not first.folder.exists()
    assert sorted(p.name for p in (tmp_path / "stages").iterdir()) == sorted([second.folder.name, "fig2.json"])


@pytest.mark.parametrize("harm", ["delete", "alter", "record"])
def test_what_was_damaged_is_done_again(tmp_path, harm):
    calls = []
    first = Stages(tmp_path).run("fig2", {"n": 3}, _work(calls))
    if harm == "delete":
        (first.folder / "a.png").unlink()
    elif harm == "alter":
        (first.folder / "a.png").write_bytes(b"cut")
    else:
        (tmp_path / "stages" / "fig2.json").write_text('{"key": ')
    again = Stages(tmp_path).run("fig2", {"n": 3}, _work(calls))
    assert not again.skipped
    assert (again.folder / "a.png").read_bytes() == b"picture"


def test_a_killed_stage_leaves_the_finished_one_and_resumes(tmp_path):
    calls = []
    first = Stages(tmp_path).run("fig2", {"n": 3}, _work(calls))
    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).run("fig2", {"n": 4}, _work(calls, b"half", fail=True))
    assert (first.folder / "a.png").read_bytes() == b"picture"
    assert Stages(tmp_path).run("fig2", {"n": 3}, _work(calls)).skipped
    assert not Stages(tmp_path).run("fig2", {"n": 4}, _work(calls, b"whole")).skipped
    assert not (tmp_path / "stages" / "fig2.part").exists()


def test_a_result_that_is_no_json_is_no_result(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Stages(tmp_path).run("fig2", {}, lambda folder: {"value": float("nan")})
    assert not (tmp_path / "stages" / "fig2.json").exists()


def test_digests_follow_content(tmp_path):
    assert digest({"a": 1, "b": 2}) == digest(json.loads('{"b": 2, "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})
    source = tmp_path / "s.py"
    source.write_text("x = 1")
    before = source_digest(source)
    source.write_text("x = 2")
    assert source_digest(source) != before
