"""A condition on the columns is read to its end, or refused with what to write instead."""

from dataclasses import replace

import numpy as np
import pytest
from command_line import document, failure
from known_patch import field

from solquery.archive import Archive, ArchiveError
from solquery.archive.rows import places_of
from solquery.patch import Patch


def patches():
    for k in range(4):
        yield Patch(
            (1 + k) * field(), (0.36, 0.36), f"p{k}", f"HARP {k}", "real", harpnum=k, mu=0.2 * k + 0.1,
            noaa=(11158 + k,), t_rec=f"2011.02.1{k}_02:00:00_TAI",
        )  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    made = Archive.create(tmp_path_factory.mktemp("conditions") / "a")
    made.add(patches())
    made.add([replace(next(patches()), id="it's", region="x (y", scale_mm=None, field=np.float32(9) * field())])
    return made


CUT_SHORT = [
    "mu > 0) AND harpnum = 2491",
    "mu > 0.5 harpnum = 750",
    "tuf > 2,5e22",
    "(tuf > 2,5e22)",
    "mu > 0.1 AND (tuf > 2,5e22)",
    "mu > 0.5; DELETE FROM patches",
    "mu > 0.5 -- and harpnum = 2",
    "mu > 0.5 /* harpnum = 2 */ ",
    "mu > 0.5, harpnum = 2",
    "(mu > 0.5",
    "mu > 0.5)",
    "mu > 0.5 AND",
    "mu > 0.5 1",
    "region = 'HARP 1' 'HARP 2'",
    "region = 'HARP 1",
    'region = "HARP 1',
    "SELECT id FROM patches",
    "mu > 0.5 ORDER BY mu",
    "mu > 0.5 LIMIT 1",
    "mu > (SELECT 1)",
    "   ",
    "mu",
    "1",
    "'a'",
    "mu > 0.5) OR (harpnum = 2",
    "mu > 0.5 # harpnum = 2",
    "nothing = 1",
]


@pytest.mark.parametrize("where", CUT_SHORT)
def test_what_would_be_cut_short_is_refused(archive, where):
    for ask in (archive.ids, lambda text: archive.table(["id"], text), lambda text: places_of(archive, text)):
        with pytest.raises(ArchiveError, match="cannot filter by") as caught:
            ask(where)
        assert "\n" not in str(caught.value).replace(where, "")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("mu > 0.4", ["p2", "p3"]),
        ("(mu > 0.4) AND (harpnum = 2)", ["p2"]),
        ("mu > 0.4 AND harpnum IN (2, 7)", ["p2"]),
        ("array_has(noaa, 11159)", ["p1"]),
        ("array_has_any(noaa, [11159, 11160])", ["p1", "p2"]),
        ("t_utc >= timestamp '2011-02-12 00:00:00'", ["p2", "p3"]),
        ("region = 'x (y'", ["it's"]),
        ("id = 'it''s'", ["it's"]),
        ("NOT (mu > 0.4 OR id = 'it''s')", ["p0", "p1"]),
        ("id LIKE 'p%' AND mu BETWEEN 0.2 AND 0.6", ["p1", "p2"]),
        ("`mu` > 0.4", ["p2", "p3"]),
        ("abs(mu - 0.3) < 0.01", ["p1"]),
        ("scale_x_mm IS NULL", ["it's"]),
        ("region IN ('HARP 1', 'a, b', 'HARP 2')", ["p1", "p2"]),
    ],
)
def test_whole_conditions_mean_what_they_say(archive, where, expected):
    assert archive.ids(where) == expected


@pytest.mark.parametrize(
    ("where", "advice"),
    [
        ("noaa = 11159", "array_has(noaa, 11159)"),
        ("noaa IN (11159)", "array_has(noaa, 11159)"),
        ("t_utc > '2011-02-12'", "timestamp '2011-02-12 00:00:00'"),
        ("t_utc >= '2011-02-12T06:30'", "timestamp '2011-02-12 06:30:00'"),
        ("tuf > 2,5e22", "2.5e22"),
        ("source = real", "'real'"),
        ("mu > 0.5 harpnum = 2", "AND"),
    ],
)
def test_the_right_form_is_suggested(archive, where, advice):
    with pytest.raises(ArchiveError) as caught:
        archive.ids(where)
    assert advice in str(caught.value)


def test_info_filters_all_that_it_prints(archive):
    everything, some = (
        document("archive", "info", archive.uri),
        document("archive", "info", archive.uri, "--where", "mu > 0.4"),
    )
    assert (everything["patches"], some["patches"]) == (5, 2)
    assert (some["regions"], some["real"], some["first"][:10]) == (2, 2, "2011-02-12")
    assert everything["without_scale"] == 1 and some["without_scale"] == 0
    assert "closes nothing" in failure("archive", "info", archive.uri, "--where", CUT_SHORT[0])
