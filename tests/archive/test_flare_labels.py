"""Flare lists in the forms that their sources give, and the labels that follow from times and region numbers."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from solquery import Archive, Patch, SolqueryError
from solquery.archive import label_archive, read_flares
from solquery.archive.flare_labels import parse_window
from solquery.archive.flares import flare_flux
from solquery.archive.labels import read_labels

# as NOAA's Space Weather Prediction Center writes them, shortened
REPORT = """\
:Product: 20150301events.txt
:Created: 2015 Mar 04 0357 UT
:Date: 2015 03 01
# Prepared by the U.S. Dept. of Commerce, NOAA, Space Weather Prediction Center
#                            Edited Events for 2015 Mar 01
#
#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#
#-------------------------------------------------------------------------------

4080       0158   0210      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290
4080       0158   0159      0211  LEA  3   FLA  N19W66    SF                2290

4120      B0605   ////     B0655  LEA  3   EPL  ////      0.24              2289

4140 +     0855   0956      1021  G15  5   XRA  1-8A      B7.4    1.7E-03   2290
4200 +     2350   0010      0021  G15  5   XRA  1-8A      M1.2    1.7E-02
"""
HEK = {
    "result": [
        {
            "event_starttime": "2011-02-13T17:28:00", "event_peaktime": "2011-02-13T17:38:00",
            "fl_goescls": "M6.6", "ar_noaanum": 11158, "frm_name": "SWPC",
        },
        {
            "event_starttime": "2011-02-15T01:44:00", "event_peaktime": "2011-02-15T01:56:00",
            "fl_goescls": "X2.2", "ar_noaanum": 1158, "frm_name": "SWPC",
        },
        {
            "event_starttime": "2011-02-15T01:40:00", "event_peaktime": "2011-02-15T01:57:00",
            "fl_goescls": "", "ar_noaanum": 0, "frm_name": "Flare Detective",
        },
        {
            "event_starttime": "2011-02-16T14:19:00", "event_peaktime": "2011-02-16T14:25:00",
            "fl_goescls": "M1.6", "ar_noaanum": 0, "frm_name": "SWPC",
        },
    ],
    "overmax": False,
}  # fmt: skip


def utc(*when):
    return datetime(*when, tzinfo=UTC)


@pytest.fixture
def hek(tmp_path):
    path = tmp_path / "hek.json"
    path.write_text(json.dumps(HEK))
    return path


def patch(number, t_rec, noaa=(), harp=None, source="real", quantity="radial"):
    field = np.random.default_rng(number).normal(0, 50, (8, 9)).astype(np.float32)
    region = f"HARP {harp}" if harp is not None else f"NOAA {noaa[0]}" if noaa else f"R {number}"
    return Patch(field, (0.36, 0.36), f"p{number:02d}", region, source, quantity, t_rec=t_rec, noaa=noaa, harpnum=harp)


@pytest.fixture
def store(tmp_path):
    """Two regions, and patches that cannot be labelled."""
    made = [
        # 13 February 17:37 UTC: the M6.6 peaks a minute later
        patch(0, "2011-02-13T17:37:00", (11158,), 377),
        # at the very peak: it has happened
        patch(1, "2011-02-13T17:38:00", (11158,), 377),
        # the X2.2 peaks 24 h later to the minute; no number yet, but other frames of its HARP have it
        patch(2, "2011-02-14T01:56:00", (), 377),
        patch(3, "2011-02-14T01:55:00", (11158,), 377, quantity="line-of-sight"),
        patch(4, "2011-02-15T02:00:00", (11158,), 377),
        patch(5, "2011-02-14T12:00:00", (11157, 11156), 371),
        patch(6, "2011-02-14T12:00:00", (11158,), source="simulated"),
        patch(7, "2011-02-14T12:00:00"),
        patch(8, "", (11158,), 377),
        patch(9, "2011-02-16T12:00:00", (11158,), 377),
    ]
    made = [replace(p, field=p.field + k) for k, p in enumerate(made)]
    archive = Archive.create(tmp_path / "archive")
    archive.add(made)
    return archive


def test_hek_is_read_with_region_numbers_of_four_and_five_digits(hek, tmp_path):
    found = read_flares(hek)
    assert [(f.goes_class, f.noaa) for f in found.flares] == [("M6.6", 11158), ("X2.2", 11158), ("M1.6", None)]
    assert found.flares[1].peak == utc(2011, 2, 15, 1, 56) and found.skipped == 1
    assert found.covered == ((utc(2011, 2, 13), utc(2011, 2, 17)),)
    # the same as a table, as a spreadsheet may save it
    names = list(HEK["result"][0])
    with (tmp_path / "hek.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=";")
        writer.writeheader()
        writer.writerows(HEK["result"])
    assert read_flares(tmp_path / "hek.csv") == found
    # twice the same list is one list
    assert read_flares([hek, tmp_path / "hek.csv"]).flares == found.flares


def test_event_reports_are_read_past_midnight(tmp_path):
    path = tmp_path / "20150301events.txt"
    path.write_text(REPORT)
    found = read_flares(path)
    assert [(f.goes_class, f.noaa) for f in found.flares] == [("C1.0", 12290), ("B7.4", 12290), ("M1.2", None)]
    assert found.flares[0].start == utc(2015, 3, 1, 1, 58) and found.flares[0].peak == utc(2015, 3, 1, 2, 10)
    assert found.flares[2].peak == utc(2015, 3, 2, 0, 10)
    assert found.covered == ((utc(2015, 3, 1), utc(2015, 3, 2)),)
    (tmp_path / "next.txt").write_text(REPORT.replace("2015 03 01", "2015 03 02"))
    (tmp_path / "later.txt").write_text(REPORT.replace("2015 03 01", "2015 03 05"))
    days = read_flares([path, tmp_path / "next.txt", tmp_path / "later.txt"])
    assert len(days.flares) == 9
    # a day without a report is not covered
    assert days.covered == ((utc(2015, 3, 1), utc(2015, 3, 3)), (utc(2015, 3, 5), utc(2015, 3, 6)))
    assert days.covers(utc(2015, 3, 1), utc(2015, 3, 3)) and not days.covers(utc(2015, 3, 2), utc(2015, 3, 6))


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("start_time,peak_time,goes_class,noaa_active_region", "2011-02-15 01:44:00,2011-02-15 01:56:00,X2.2,11158"),
        ("beginTime\tpeakTime\tclassType\tactiveRegionNum", "2011-02-15T01:44Z\t2011-02-15T01:56Z\tX2.2\t11158"),
        ("Start,Peak,Class,AR", "2011/02/15 01:44,2011/02/15 01:56,x2.2,NOAA 11158"),
    ],
)
def test_tables_of_other_sources(tmp_path, head, row):
    (tmp_path / "list.csv").write_text(f"{head}\n{row}\n")
    (flare,) = read_flares(tmp_path / "list.csv").flares
    assert (flare.start, flare.peak) == (utc(2011, 2, 15, 1, 44), utc(2011, 2, 15, 1, 56))
    assert (flare.goes_class, flare.noaa) == ("X2.2", 11158)


def test_classes_are_fluxes():
    assert flare_flux("M") == flare_flux("M1.0") == 1e-5
    assert flare_flux("X17.2") == 1.72e-3 > flare_flux("x1") > flare_flux("M9.9") > flare_flux("c9.9")
    for text in ("Z3", "", "M0", "M-1", "MX"):
        with pytest.raises(SolqueryError, match="is no GOES class"):
            flare_flux(text)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '{"what": 1}', "holds no list of events"),
        ("a.json", '{"result": [', "no whole JSON document"),
        ("a.json", '[{"event_starttime": "2011-02-15T01:44:00"}]', "no column has a GOES class, a NOAA or HARP number"),
        ("a.csv", "id,label\np,1\n", "is no flare list that is known"),
        ("a.csv", "", "is empty"),
        ("a.csv", "start_time,goes_class,noaa\nyesterday,M1.0,11158\n", "row 2: 'yesterday' is no time"),
        ("a.csv", "start_time,goes_class,noaa\n,M1.0,11158\n", "row 2: an event without a time"),
        ("a.csv", "start_time,goes_class,noaa\n2011-02-15,M1.0,big\n", "row 2: 'big' is no number of a region"),
        ("a.txt", REPORT.replace(":Date: 2015 03 01\n", ""), "before the line `:Date:`"),
        ("a.txt", REPORT.replace(":Date: 2015 03 01", ":Date: 2015 13 01"), "names no day"),
        ("a.txt", REPORT.replace("0158   0210", "0178   0210"), "is no time of day"),
    ],
)
def test_unknown_formats_are_one_clear_line(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(SolqueryError) as caught:
        read_flares(tmp_path / name)
    assert says in str(caught.value) and str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(SolqueryError, match="No such file"):
        read_flares(tmp_path / "nothing.csv")


def test_labels_follow_from_times_and_region_numbers(store, hek, tmp_path):
    found = label_archive(store, read_flares(hek), "M", "24h")
    of = {row["id"]: row for row in found.rows}
    assert {name: row["label"] for name, row in of.items()} == {
        "p00": 1, "p01": 0, "p02": 1, "p03": 0, "p04": 0, "p05": 0,
    }  # fmt: skip
    assert of["p02"]["goes_class"] == "X2.2" and of["p02"]["noaa"] == [11158] and of["p02"]["hours"] == 24.0
    assert of["p00"]["goes_class"] == "M6.6" and of["p00"]["hours"] == pytest.approx(1 / 60)
    assert found.left_out == {
        "not observed": 1, "without a NOAA number": 1, "without a time": 1,
        "outside the times that the list covers": 1,
    }  # fmt: skip
    assert found.unassigned == 1 and found.positives == 2 and (found.regions(1), found.regions(0)) == (1, 2)
    # the strongest of a longer window
    longer = {r["id"]: r["goes_class"] for r in label_archive(store, read_flares(hek), "M", timedelta(hours=36)).rows}
    assert longer["p00"] == "X2.2"
    # the form that `directions labels` reads
    path = found.write(tmp_path / "labels.csv")
    assert read_labels(path) == {name: row["label"] for name, row in of.items()}
    # a list that is known to be complete for longer labels the frame after its last flare
    whole = read_flares(hek, (utc(2011, 2, 1), utc(2011, 3, 1)))
    assert {r["id"] for r in label_archive(store, whole).rows} == {*of, "p09"}


def test_a_list_by_harp_number(store, tmp_path):
    (tmp_path / "harps.csv").write_text(
        "start_time,goes_class,harpnum\n2011-02-14T14:00:00,M2.0,371\n2011-02-16T00:00:00,C1.0,\n"
    )
    found = label_archive(store, read_flares(tmp_path / "harps.csv"), "M", "6h")
    assert {row["id"] for row in found.rows if row["label"]} == {"p05"}


def test_nothing_to_learn_from_is_one_clear_line(store, hek, tmp_path):
    flares = read_flares(hek)
    with pytest.raises(SolqueryError, match="all 6 patches are labelled 0: none of their regions has a flare of X5"):
        label_archive(store, flares, "X5", "24h")
    with pytest.raises(SolqueryError, match="all 1 patches are labelled 1: each has"):
        label_archive(store, flares, "M", "24h", where="id = 'p00'")
    later = read_flares(hek, (utc(2020, 1, 1), utc(2020, 2, 1)))
    with pytest.raises(SolqueryError, match=r"can be labelled: .*7 outside the times that the list covers"):
        label_archive(store, later)
    for text in ("24", "h", "0h", "-3h", "24 parsecs"):
        with pytest.raises(SolqueryError, match="is no length of time"):
            parse_window(text)
