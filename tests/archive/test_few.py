"""A few patches of a large archive are read and prepared by themselves, and are the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from solquery import simulate
from solquery.archive import Archive, ArchiveError, prepared
from solquery.archive.places import places


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "_SMALL", 4)
    monkeypatch.setattr(prepared, "_FEW", 3)
    made = Archive.create(tmp_path / "archive")
    made.add(simulate(4, 3, seed=4, workers=1))
    return made


def test_a_few_are_prepared_without_a_file_and_are_those_of_the_file(archive):
    wanted = archive.ids()[7:4:-1]
    names, alone = archive.prepared("physical", ids=wanted)
    assert names == wanted and not (archive.path / "prepared").exists()
    every, x = archive.prepared("physical")
    assert list((archive.path / "prepared").glob("*.npy"))
    np.testing.assert_array_equal(alone, x[[every.index(name) for name in wanted]])
    again = archive.prepared("physical", ids=wanted)
    assert again[0] == wanted
    np.testing.assert_array_equal(again[1], alone)
    with pytest.raises(ArchiveError, match="no patch 'nowhere' in the archive"):
        archive.prepared("physical", ids=["nowhere"])


def test_a_picture_of_another_field_under_the_same_id_is_not_taken_from_the_file(archive):
    (name, *_), x = archive.prepared("physical")
    keys = pa.table({"id": [name], "checksum": ["another"]})
    (file,) = (archive.path / "prepared").glob("*.npy")
    broken = np.load(file, mmap_mode="r+")
    broken[0] = 7.0
    broken.flush()
    assert (archive.prepared("physical", ids=[name])[1] == 7.0).all()
    np.testing.assert_array_equal(archive.prepared_few("physical", keys)[0], x[0])


def test_what_is_asked_for_by_name_is_filtered_and_counted(archive):
    ids = archive.ids()
    region = archive.table(["region"], f"id = '{ids[0]}'")["region"][0].as_py()
    assert [patch.id for patch in archive.patches(f"region = '{region}'", ids[:2])] == [
        patch.id for patch in archive.patches(f"region = '{region}'", ids) if patch.id in ids[:2]
    ]
    assert archive.count() == len(archive) == 12
    assert archive.count(f"region = '{region}'") == len(archive.ids(f"region = '{region}'"))
    with pytest.raises(ArchiveError, match=r"cannot filter by 'fluxx > 1'.*the columns are: id"):
        archive.count("fluxx > 1")
    assert list(archive.patches(ids=[])) == []


def test_places_of_a_few_among_many_are_those_of_a_loop():
    known = pa.array([f"p{k:04d}" for k in range(3000)])
    asked = pa.array(["p2999", "p0000", "p1500", "p0000"])
    assert places(asked, known, "here").to_pylist() == [2999, 0, 1500, 0]
    with pytest.raises(ArchiveError, match="no patch 'q' in the archive at here"):
        places(pa.array(["p0001", "q"]), known, "here")
