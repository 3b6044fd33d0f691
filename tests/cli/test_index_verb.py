"""The verb `index`: built, checked, used by search, and refused where it cannot be."""

from __future__ import annotations

import shutil

import pytest
from command_line import call, document, failure

from solquery.archive import Archive
from solquery.search import approximate_build

pytest.importorskip("faiss")


@pytest.fixture
def copy(room, tmp_path, monkeypatch):
    """The room's archive, small as it is, allowed to be indexed."""
    monkeypatch.setattr(approximate_build, "FEWEST", 10)
    monkeypatch.setattr(approximate_build, "_ASKED", 5)
    shutil.copytree(room / "archive", tmp_path / "archive")
    return tmp_path / "archive", ("--model", room / "model")


def test_an_index_is_built_and_search_uses_it(copy):
    place, model = copy
    command = ("search", Archive.open(place).ids()[5], "--archive", place, *model, "-k", 5)
    before = document(*command)
    about = document("index", place, *model)
    assert about["rows"] == 32
    assert document("index", "--archive", place, *model, "--check")["rows"] == 32
    after = document(*command)
    assert [m["id"] for m in after["matches"]] == [m["id"] for m in before["matches"]]


def test_a_damaged_index_is_named(copy):
    place, model = copy
    document("index", place, *model)
    vectors = next((place / "index").glob("*/vectors.npy"))
    content = bytearray(vectors.read_bytes())
    content[-3] ^= 1
    vectors.write_bytes(content)
    assert "vectors.npy" in failure("index", place, *model, "--check")


def test_what_cannot_be_indexed_says_why(room, copy, monkeypatch):
    place, model = copy
    assert "has no index" in failure("index", place, *model, "--check")
    monkeypatch.setattr(approximate_build, "FEWEST", 1000)
    assert "fewer than 1000 need no index" in failure("index", place, *model)
    assert "name one archive" in call("index", "--archive", place, place, *model, code=2)[1]
