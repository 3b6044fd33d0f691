"""The list of rules that are broken on purpose is up to date; a test that fails is told from one that cannot run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("break_and_test", ROOT / "scripts" / "break_and_test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_rule_stands_where_the_list_says_once_and_a_test_guards_it(script):
    out_of_date = [
        b.name for b in script.BREAKAGES if (ROOT / "src" / "solquery" / b.file).read_text().count(b.old) != 1
    ]
    assert not out_of_date
    assert [b.name for b in script.BREAKAGES if not (ROOT / "tests" / b.test).is_file()] == []
    names = [b.name for b in script.BREAKAGES]
    assert len(set(names)) == len(names) > 40
    assert all(b.old != b.new for b in script.BREAKAGES)


def copy_with(folder, rule, test):
    """A checkout of one module and one test file."""
    for name, text in (("src/solquery/rule.py", rule), ("tests/test_rule.py", test)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_breakage_is_made_and_noticed(script, tmp_path):
    test = "from rule import half\n\n\ndef test_half():\n    assert half(4) == 2\n"
    copy = copy_with(tmp_path, "def half(x):\n    return x / 2\n", test)
    (copy / "tests" / "conftest.py").write_text(
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'src' / 'solquery'))\n"
    )
    assert not script.fails("test_rule.py", copy)
    broken = script.Breakage("half", "rule.py", "x / 2", "x / 3", "test_rule.py")
    path, before = script.apply(broken, copy)
    assert path.read_text() == "def half(x):\n    return x / 3\n"
    assert script.fails("test_rule.py", copy)
    assert before == "def half(x):\n    return x / 2\n"


def test_a_text_that_is_not_there_once_is_not_replaced(script, tmp_path):
    copy = copy_with(tmp_path, "a = 1\nb = 1\n", "")
    for old in ("= 1", "c"):
        assert script.apply(script.Breakage("x", "rule.py", old, "= 2", "test_rule.py"), copy) is None
    assert (copy / "src" / "solquery" / "rule.py").read_text() == "a = 1\nb = 1\n"


def test_what_cannot_be_run_is_no_failure_that_notices(script, tmp_path):
    copy = copy_with(tmp_path, "", "")
    with pytest.raises(SystemExit, match="cannot be run"):
        script.fails("test_elsewhere.py", copy)
