"""Files appear whole or not at all; renamed keys are written under both names."""

import json
import os

import numpy as np
import pytest

from solquery.cli.output import write_json
from solquery.io import first_line, replacing, write_atomically
from solquery.serialise import OLD_NAMES, json_text, plain, with_old_names


def test_a_file_is_replaced_by_bytes_or_text(tmp_path):
    place = tmp_path / "new folder" / "notes.txt"
    assert write_atomically(place, b"one") == place and place.read_bytes() == b"one"
    write_atomically(place, "zwei – 2", sync=True)
    assert place.read_text(encoding="utf-8") == "zwei – 2"
    assert os.listdir(place.parent) == ["notes.txt"]


def test_what_raises_while_it_writes_leaves_the_old_file_alone(tmp_path):
    place = tmp_path / "numbers.csv"
    place.write_text("1,2")
    with pytest.raises(RuntimeError, match="full"), replacing(place) as part:
        part.write_text("3")
        assert part.parent == tmp_path and part.suffix == ".csv" and place.read_text() == "1,2"
        raise RuntimeError("the disk is full")
    assert place.read_text() == "1,2" and os.listdir(tmp_path) == ["numbers.csv"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    place = tmp_path / "a.json"
    with replacing(place) as one, replacing(place) as other:
        one.write_text("1")
        other.write_text("2")
    assert place.read_text() == "1" and len(os.listdir(tmp_path)) == 1


def test_errors_are_told_in_one_line():
    assert first_line(OSError("cannot read\nfor many reasons")) == "cannot read"
    assert first_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_numbers_become_what_json_can_hold():
    got = plain({"a": np.float32(1.5), "b": [np.nan, np.inf], "c": np.arange(2), 3: (True, None, "x")})
    assert got == {"a": 1.5, "b": [None, None], "c": [0, 1], "3": [True, None, "x"]}


def test_renamed_keys_keep_their_old_names_and_nothing_is_overwritten(tmp_path):
    document = {"model": "m", "answers": [{"requested": 1, "measured": 2}], "matches": [{"correlation": 0.9}]}
    told = json.loads(json_text(document))
    assert told["bundle"] == told["model"] == "m"
    assert told["answers"] == [{"requested": 1, "measured": 2, "asked": 1, "got": 2}]
    assert told["matches"][0]["overlay"] == 0.9
    assert with_old_names({"measured": 1, "got": 2})["got"] == 2
    assert json.loads(write_json(tmp_path / "a.json", document).read_text()) == told
    assert not set(OLD_NAMES) & set(OLD_NAMES.values())
