"""Which frames are asked for: times, cadence, quality, choice, record sets and lots; and what headers may hold."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from urllib.parse import quote_plus

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsoc_frames import fits_bytes, frame
from jsoc_stand_in import StandIn

from solquery.errors import SolqueryError
from solquery.jsoc.frames import query_keywords, read_frame
from solquery.jsoc.selection import (
    LONGEST_RECORD_SET,
    Ask,
    Record,
    choose,
    export_batches,
    fault_of,
    parse_cadence,
    parse_time,
    record_of,
    record_sets,
    t_rec_of,
    tai_of,
    windows,
)
from solquery.sharp.checksums import sums_fault
from solquery.sharp.fits import UnreadableFits

START = datetime(2012, 3, 6)


def record(harp, slot, **keywords):
    known = {"QUALITY": "0x00000000", "NOAA_ARS": str(11000 + harp), **keywords}
    return Record(harp, t_rec_of(START + timedelta(minutes=12 * slot)), "Br", known)


def test_times_are_tai_and_an_end_is_included():
    assert parse_time("2010-05-01") == parse_time("2010.05.01_00:00:00_TAI") == datetime(2010, 5, 1)
    assert parse_time("2023-07-31", end=True) == datetime(2023, 8, 1)
    assert parse_time("2012-03-06T14:24", end=True) > datetime(2012, 3, 6, 14, 24)
    for wrong in ("yesterday", "2012-13-01", "", "06.03.2012"):
        with pytest.raises(SolqueryError, match="is no time"):
            parse_time(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"), [("12m", 720), ("6h", 21600), ("1d", 86400), ("2d", 172800), ("36m", 2160)]
)
def test_cadences(text, seconds):
    assert parse_cadence(text) == seconds


@pytest.mark.parametrize("text", ["5m", "0h", "7h", "fast", "13m", "-12m", "36h", ""])
def test_cadences_that_no_frame_has(text):
    with pytest.raises(SolqueryError, match="every 12 minutes"):
        parse_cadence(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"end": START}, "exchange"), ({"max_frames": 0}, "at least one"), ({"harps": (0,)}, "positive"),
        ({"segment": "bitmap"}, "Br or magnetogram"),
    ],
)  # fmt: skip
def test_asks_that_make_no_sense(changes, said):
    with pytest.raises(SolqueryError, match=said):
        Ask(**{"start": START, "end": START + timedelta(days=1), **changes})


@settings(max_examples=40)
@given(
    st.integers(0, 4000), st.integers(1, 3000), st.sampled_from([720, 2160, 21600, 86400, 172800]), st.integers(0, 3),
    st.booleans(),
)  # fmt: skip
def test_windows_ask_for_every_slot_once(first, length, cadence, harps, noaa_only):
    start = START + timedelta(minutes=12 * first + 5)
    ask = Ask(start, start + timedelta(minutes=12 * length), tuple(range(1, harps + 1)), noaa_only=noaa_only,
              cadence_s=cadence)  # fmt: skip
    every = [
        frame(1, START + timedelta(minutes=12 * slot), np.zeros((2, 2))) for slot in range(first, first + length + 2)
    ]
    wanted = {f.key for f in every if ask.start <= f.moment < ask.end
              and (f.moment - datetime(2010, 5, 1)).total_seconds() % cadence == 0}  # fmt: skip
    server = StandIn(every)
    asked = [f.key for window in windows(ask) for f in server.select(window.record_set)]
    assert sorted(asked) == sorted(wanted)
    halves = [f.key for window in windows(ask) for half in window.halves() for f in server.select(half.record_set)]
    assert sorted(halves) == sorted(wanted)
    server._server.server_close()


def test_the_paper_s_years_are_a_moderate_number_of_queries():
    ask = Ask(datetime(2010, 5, 1), datetime(2023, 8, 1), noaa_only=True)
    assert 50 < len(windows(ask)) < 100
    assert windows(ask)[0].record_set == (
        "hmi.sharp_cea_720s[][2010.05.01_00:00:00_TAI/6156000s@21600s][? NOAA_AR > 0 ?]"
    )


@settings(max_examples=45)
@given(st.sets(st.tuples(st.integers(1, 6), st.integers(0, 300)), min_size=1, max_size=60), st.integers(1, 20))
def test_lots_hold_each_frame_once_and_their_record_sets_select_them(keys, size):
    records = [record(harp, slot) for harp, slot in keys]
    made = export_batches(records, size)
    assert sorted(r.key for lot in made for r in lot) == sorted(r.key for r in records)
    assert all(1 <= len(lot) <= size for lot in made)
    server = StandIn([frame(harp, START + timedelta(minutes=12 * slot), np.zeros((2, 2))) for harp, slot in keys])
    for lot in made:
        assert {r.key for r in lot} <= {f.key for f in server.select(record_sets(lot))}
        assert len(quote_plus(record_sets(lot))) <= LONGEST_RECORD_SET or len(lot) == 1
    server._server.server_close()


def test_even_steps_are_written_short():
    records = [record(377, slot) for slot in (0, 30, 60, 90, 100, 250)]
    assert record_sets(records) == (
        "hmi.sharp_cea_720s[377][2012.03.06_00:00:00_TAI-2012.03.06_18:00:00_TAI@21600s,"
        "2012.03.06_20:00:00_TAI,2012.03.08_02:00:00_TAI]{Br}"
    )
    assert len(export_batches([record(1, s) for s in range(900)], 900)) == 1, (
        "nine hundred even steps are one short text"
    )


@settings(max_examples=40)
@given(st.sets(st.integers(0, 400), min_size=1, max_size=60), st.integers(1, 70))
def test_at_most_so_many_frames_of_a_region_spread_evenly(slots, most):
    records = [record(1, slot) for slot in slots] + [record(2, 3)]
    ask = Ask(START, START + timedelta(days=9), cadence_s=720, max_frames=most)
    chosen = choose(records, ask).chosen
    first = [r for r in chosen if r.harp == 1]
    assert len(first) == len({r.key for r in first}) == min(most, len(slots))
    assert len(chosen) - len(first) == 1
    if most > 1:
        assert first[0].t_rec == record(1, min(slots)).t_rec and first[-1].t_rec == record(1, max(slots)).t_rec


def test_regions_are_chosen_by_number():
    records = [record(1, 0), record(2, 0, NOAA_ARS="11429,11430"), record(3, 0, NOAA_ARS="MISSING", NOAA_AR="0")]
    span = (START, START + timedelta(days=1))
    assert [r.harp for r in choose(records, Ask(*span, harps=(1, 3))).chosen] == [1, 3]
    assert [r.harp for r in choose(records, Ask(*span, noaa=(11430,))).chosen] == [2]
    assert [r.harp for r in choose(records, Ask(*span, noaa_only=True)).chosen] == [1, 2]


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(["{}", "0x{:08x}", " {} "]))
def test_quality_is_read_in_every_form(quality, form):
    text = form.format(quality & 0xFFFFFFFF if "x" in form else quality)
    bad = bool(quality & 0xFFFF0000) or bool(quality & 0x200)
    assert (fault_of(record(1, 0, QUALITY=text)) is not None) == bad


texts = st.one_of(
    st.sampled_from(
        ["", "nan", "NaN", "-nan", "MISSING", "Invalid KeyLink", "0x00000000", "1e999", "-1", "179.99", "360"]
    ),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.integers(-(2**40), 2**40).map(str),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)


OF_COORDINATES = ["CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "CRLN_OBS", "CRLT_OBS", "DSUN_OBS", "CTYPE1", "CUNIT1"]
OTHERS = [
    "NOAA_AR", "NOAA_ARS", "USFLUX", "R_VALUE", "LATFWTPO", "T_OBS", "DATE__OBS", "TELESCOP", "AREA_ACR",
]  # fmt: skip


def read_with(words, folder):
    """The field that was written, and the patch and its record, of a frame with these words in the query."""
    field = np.random.default_rng(5).normal(0, 200, (7, 9))
    asked = record_of(frame(1449, START, field, **words, QUALITY="0x00000000").keywords, "Br")
    path = folder / asked.file_name
    path.write_bytes(fits_bytes(field, {}))
    return field, read_frame(path, asked), asked


def is_the_frame(field, patch, asked):
    np.testing.assert_allclose(patch.field, field, atol=0.0051)
    assert patch.id == "sharp-1449-20120306T000000-Br" and patch.harpnum == 1449
    assert np.isnan(patch.latitude_deg) or abs(patch.latitude_deg) <= 90
    assert all(not isinstance(v, float) or math.isfinite(v) for v in query_keywords(asked).values())


@settings(max_examples=45)
@given(st.dictionaries(st.sampled_from(OTHERS), texts))
def test_no_other_keyword_of_a_query_stops_a_good_frame(tmp_path_factory, words):
    is_the_frame(*read_with(words, tmp_path_factory.mktemp("frame")))


@settings(max_examples=45)
@given(st.dictionaries(st.sampled_from(OF_COORDINATES), texts))
def test_coordinates_of_a_query_are_understood_or_refused_in_one_line(tmp_path_factory, words):
    try:
        found = read_with(words, tmp_path_factory.mktemp("frame"))
    except UnreadableFits as error:
        assert str(error).startswith("hmi.sharp_cea_720s[1449]") and "\n" not in str(error)
    else:
        is_the_frame(*found)


@pytest.mark.parametrize(
    ("latitude", "centre", "observer", "expected"),
    [("-30", "2", "350", 12), ("30", "350", "2", -12), ("0", "0", "0", 0)],
)
def test_both_hemispheres_and_the_date_line(tmp_path, latitude, centre, observer, expected):
    f = frame(7, START, np.ones((4, 5)), CRVAL2=latitude, CRVAL1=centre, CRLN_OBS=observer, CRLT_OBS="5")
    asked = record_of(f.keywords, "Br")
    path = tmp_path / asked.file_name
    path.write_bytes(f.file("as-is"))
    patch = read_frame(path, asked)
    assert (patch.latitude_deg, patch.longitude_deg) == pytest.approx((float(latitude), expected))
    tip, lat, lon = np.radians([5.0, float(latitude), expected])
    assert patch.mu == pytest.approx(np.sin(tip) * np.sin(lat) + np.cos(tip) * np.cos(lat) * np.cos(lon))


@settings(max_examples=45)
@given(st.data())
def test_no_changed_byte_passes(tmp_path_factory, data):
    f = frame(8, START, np.random.default_rng(1).normal(0, 300, (20, 31)))
    asked = record_of(f.keywords, "Br")
    content = bytearray(f.file(data.draw(st.sampled_from(["fits", "as-is"]))))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("changed") / asked.file_name
    path.write_bytes(content)
    try:
        patch = read_frame(path, asked)
    except UnreadableFits:
        return
    # the empty first unit has no effect on the image
    np.testing.assert_allclose(patch.field, f.field_gauss, atol=0.0051)


def test_checksums_are_taken_over_the_bytes_as_they_lie(tmp_path):
    f = frame(9, START, np.ones((4, 5)))
    path = tmp_path / "a.fits"
    path.write_bytes(f.file("fits"))
    assert sums_fault(path) is None
    content = bytearray(f.file("fits"))
    content[-2880] ^= 1
    path.write_bytes(content)
    assert "checksum" in sums_fault(path)


def test_times_with_milliseconds_are_the_same_times():
    words = {"HARPNUM": "750", "T_REC": "2011.08.04_01:36:00.000_TAI"}
    assert record_of(words, "Br").key == (750, "2011.08.04_01:36:00_TAI", "Br")
    assert record_of({"HARPNUM": "MISSING", "T_REC": "2011.08.04_01:36:00_TAI"}, "Br") is None
    assert record_of({"HARPNUM": "7", "T_REC": "never"}, "Br") is None
    assert tai_of("2012.03.06") == START


def test_the_papers_frames_are_twelve_minutes_apart():
    from solquery.cli.fetch import _cadence

    assert [parse_cadence(_cadence(preset)) for preset in ("paper", "physical", None)] == [720, 21_600, 21_600]
    with pytest.raises(ValueError, match="no preset"):
        _cadence("papers")
