"""Which patches a training sees: of one kind of field, without the regions that are left out, and which are real."""

import numpy as np
import pytest

from solquery.archive import Archive
from solquery.archive.prepare import prepare
from solquery.archive.training_rows import Selection, training_rows
from solquery.config import get_preset
from solquery.errors import SolqueryError
from solquery.patch import Patch

TINY = get_preset("tiny")


def patch(k, source="simulated", harp=None, quantity="radial", scale=(1.0, 1.0)):
    field = np.random.default_rng(k).normal(0, 200, (20, 30)).astype(np.float32)
    region = f"SIM {k}" if harp is None else f"HARP {harp}"
    segment = "Br" if quantity == "radial" else "magnetogram"
    return Patch(field, scale, f"p{k:02d}", region, source, quantity, segment, harpnum=harp)


PATCHES = [
    *[patch(k) for k in range(4)],
    *[patch(10 + k, "real", harp) for k, harp in enumerate((377, 377, 1449, 2))],
    patch(20, "real", 377, "line-of-sight"),
    patch(30, "simulated", quantity="line-of-sight"),
]


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "archive")
    made.add(PATCHES)
    return made


def seen(rows):
    """Ids of the patches by their pictures, and whether each is said to be real."""
    ids, pictures = [p.id for p in PATCHES], np.stack([prepare(p, TINY) for p in PATCHES])
    out = {}
    for k in range(len(rows.data)):
        apart = abs(pictures - np.asarray(rows.data[k])).max((1, 2))
        assert np.sort(apart)[0] < 0.01 < 0.1 < np.sort(apart)[1]  # an archive keeps fields in steps
        out[ids[apart.argmin()]] = bool(rows.real[k])
    return out


@pytest.mark.parametrize("where", [None, "id <> 'p01'"])
def test_line_of_sight_is_left_out_beside_radial_and_regions_by_name(archive, where):
    rows = training_rows(archive, TINY, where, [1449, 377])
    assert seen(rows) == {"p00": False, **({} if where else {"p01": False}), "p02": False, "p03": False, "p13": True}
    assert rows.left_out == {"line-of-sight": 2, "of a region that is left out": 3}
    assert rows.observed == (2,) and rows.left_out_harps == (377, 1449)
    every = training_rows(archive, TINY, where)
    assert set(seen(every)) == {p.id for p in PATCHES if p.quantity == "radial" and (not where or p.id != "p01")}
    assert every.observed == (2, 377, 1449) and every.left_out == {"line-of-sight": 2}


def test_line_of_sight_alone_is_a_kind_of_its_own(archive):
    rows = training_rows(archive, TINY, "quantity = 'line-of-sight'")
    assert seen(rows) == {"p20": True, "p30": False} and rows.left_out == {}


def test_what_is_without_a_scale_is_counted_where_the_preset_needs_one(archive):
    archive.add([patch(40, scale=None)])
    with pytest.warns(UserWarning, match="without a scale left out"):
        rows = training_rows(archive, get_preset("physical"), "quantity = 'radial'", [377])
    assert len(rows.data) == len(rows.real) == 6 and rows.real.sum() == 2
    assert rows.left_out == {"of a region that is left out": 2, "without a scale": 1}


def test_a_region_that_is_not_there_and_an_empty_rest_are_refused(archive):
    with pytest.raises(SolqueryError, match="no real patch of HARP 8 to leave out"):
        training_rows(archive, TINY, None, [377, 8])
    with pytest.raises(SolqueryError, match="no patch left to train on"):
        training_rows(archive, TINY, "harpnum = 2", [2])


def test_a_selection_reads_like_an_array():
    data = np.arange(24, dtype=np.float16).reshape(6, 2, 2)
    some = Selection(data, np.array([4, 1, 5]))
    assert len(some) == 3 and some.shape == (3, 2, 2)
    np.testing.assert_array_equal(some[1], data[1])
    np.testing.assert_array_equal(some[:2], data[[4, 1]])
    np.testing.assert_array_equal(some[np.array([2, 0])], data[[5, 4]])
    assert some[0].dtype == np.float32
