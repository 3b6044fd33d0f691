"""Fetching from the stand-in with the real drms client: what arrives, what goes wrong, and what is said about it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from jsoc_frames import frame
from jsoc_stand_in import EMAIL, Faults, StandIn
from small_sun import PATIENT, QUICK

from solquery.archive.store import Archive
from solquery.errors import SolqueryError
from solquery.jsoc.client import Jsoc
from solquery.jsoc.connection import JsocRefusal
from solquery.jsoc.fetch import fetch
from solquery.jsoc.manifest import Manifest, ManifestError
from solquery.jsoc.plan import FetchOptions, plan
from solquery.jsoc.selection import Ask, parse_time

SHARPS = Path(__file__).parents[3] / "shared" / "data"
LARGE = ("377.20110215_020000_TAI.Br.fits", "20120307_082400_TAI.Br.fits")


def ids(frames):
    return sorted(f"sharp-{f.harp}-{f.moment:%Y%m%dT%H%M%S}-{f.segment}" for f in frames)


def states(place):
    with Manifest(place / "fetch" / "manifest.sqlite") as manifest:
        return {key: state for key, state in manifest.states().items()}


def is_sound(archive, frames):
    """Every frame exactly once, with the field that its file holds."""
    assert archive.ids() == ids(frames)
    assert archive._fields.count_rows() == len(frames)
    by_id = dict(zip(ids(frames), sorted(frames, key=lambda f: ids([f])), strict=True))
    for patch in archive.patches():
        wanted = np.round(by_id[patch.id].field_gauss * 100) / 100
        np.testing.assert_allclose(patch.field, wanted, rtol=2**-11, atol=1e-6)


@pytest.mark.parametrize("method", ["url_quick", "url"])
def test_a_fetch_brings_every_frame_with_its_keywords(tmp_path, jsoc, client, ask, sun, method):
    jsoc.polls = 2
    report = fetch(ask, str(tmp_path / "a"), client(), FetchOptions(method=method, export_batch=11))
    assert (report.frames, report.regions, report.fetched, report.there) == (30, 5, 30, 0)
    assert report.failed == [] and report.dropped == [] and report.stopped is None
    archive = Archive.open(tmp_path / "a")
    is_sound(archive, sun)
    assert jsoc.most_at_once == 1, "one connection at a time"
    assert jsoc.count("export") == 3 and jsoc.count("file") == 30
    patch = archive.get("sharp-1403-20120306T120000-Br")
    assert patch.source == "real" and patch.region == "HARP 1403" and patch.harpnum == 1403
    assert patch.noaa == (12403,) and patch.t_rec == "2012.03.06_12:00:00_TAI" and patch.quality == 0
    assert patch.longitude_deg == pytest.approx(20) and patch.b0_deg == -6.5 and 0.8 < patch.mu < 1
    assert patch.scale_mm == pytest.approx((0.364425, 0.364425), rel=1e-5)
    assert patch.keywords["USFLUX"] == 1.2345e22 and "R_VALUE" not in patch.keywords
    assert patch.file == "hmi.sharp_cea_720s[1403][2012.03.06_12:00:00_TAI]{Br}"
    assert list((tmp_path / "a" / "fetch" / "files").iterdir()) == []
    assert set(states(tmp_path / "a").values()) == {"done"}


def test_progress_tells_rate_and_time_left(tmp_path, client, ask):
    lines = []
    fetch(ask, str(tmp_path / "a"), client(), progress=lambda text, fraction: lines.append((text, fraction)))
    assert lines[0] == ("query 1 of 1", 0.0)
    counted = [(text, fraction) for text, fraction in lines if " of 30 frames" in text]
    assert re.fullmatch(r"7 of 30 frames, [\d.]+ a second, \d+ (s|min) left", counted[6][0])
    assert counted[-1][0].startswith("30 of 30 frames") and counted[-1][1] == 1.0


def test_the_same_command_again_fetches_nothing(tmp_path, jsoc, client, ask):
    fetch(ask, str(tmp_path / "a"), client())
    before = jsoc.count("file"), jsoc.count("export")
    report = fetch(ask, str(tmp_path / "a"), client())
    assert (report.fetched, report.there) == (0, 30)
    assert (jsoc.count("file"), jsoc.count("export")) == before
    assert jsoc.count("query") == 1, "what was asked about long past days holds"


def test_a_larger_ask_fetches_what_is_new(tmp_path, jsoc, client, ask, sun):
    few = replace(ask, harps=(1401, 1404), max_frames=3)
    report = fetch(few, str(tmp_path / "a"), client())
    assert (report.frames, report.regions) == (6, 2)
    got = Archive.open(tmp_path / "a").table(["t_rec"], "harpnum = 1401")["t_rec"].to_pylist()
    assert [t[8:13] for t in got] == ["06_00", "06_18", "07_06"], "first, last, and between"
    report = fetch(ask, str(tmp_path / "a"), client())
    assert (report.fetched, report.there) == (24, 6)
    assert max(jsoc.served.values()) == 1
    is_sound(Archive.open(tmp_path / "a"), sun)


def test_the_manifest_may_be_lost(tmp_path, jsoc, client, ask, sun):
    fetch(ask, str(tmp_path / "a"), client())
    (tmp_path / "a" / "fetch" / "manifest.sqlite").unlink()
    report = fetch(ask, str(tmp_path / "a"), client())
    assert (report.fetched, report.there) == (0, 30) and jsoc.count("file") == 30


def test_a_damaged_manifest_is_named_and_two_fetches_exclude_each_other(tmp_path, client, ask):
    place = tmp_path / "a"
    fetch(replace(ask, harps=(1401,)), str(place), client())
    manifest = place / "fetch" / "manifest.sqlite"
    with Manifest(manifest), pytest.raises(ManifestError, match="another fetch"):
        fetch(ask, str(place), client())
    manifest.write_bytes(b"no database " * 100)
    with pytest.raises(ManifestError, match=r"damaged.*remove it"):
        fetch(ask, str(place), client())
    assert len(Archive.open(place)) == 6


def test_a_dry_run_says_what_would_come_and_leaves_nothing(tmp_path, jsoc, client, ask):
    found = plan(replace(ask, max_frames=2), str(tmp_path / "a"), client(email=None), FetchOptions(export_batch=4))
    assert (found.frames, found.regions, found.to_fetch, found.there) == (10, 5, 10, 0)
    assert found.requests == {"queries": 1, "exports": 3, "files": 10}
    pixels = sum((24 + 3 * (k % 5)) * (40 + 4 * (k % 7)) for k in range(5)) * 2
    assert found.archive_bytes == 2 * pixels and found.download_bytes == int(1.84 * pixels)
    assert list(tmp_path.iterdir()) == []
    assert set(jsoc.log) == {"query"}, "keywords need no address and no export"


def test_frames_of_bad_quality_are_dropped_with_the_reason(tmp_path, jsoc, client, ask):
    marks = ["0x00010400", "66560", "-2147483648", "0x00000200", "0x00000400", "MISSING"]
    jsoc.frames = [
        replace(f, keywords={**f.keywords, "QUALITY": mark}, made={})
        for f, mark in zip([f for f in jsoc.frames if f.harp == 1402], marks, strict=True)
    ]
    report = fetch(ask, str(tmp_path / "a"), client())
    assert Archive.open(tmp_path / "a").ids() == ids(jsoc.frames[4:5]), "0x400 alone is no fault"
    reasons = [entry["reason"] for entry in report.dropped]
    assert reasons[0] == reasons[1] == "QUALITY 0x00010400 marks it as bad"
    assert reasons[2:] == ["QUALITY 0x80000000 marks it as bad", "QUALITY 0x00000200 marks an eclipse",
                           "its QUALITY is missing"]  # fmt: skip
    assert report.dropped[0]["frame"] == "hmi.sharp_cea_720s[1402][2012.03.06_00:00:00_TAI]{Br}"
    assert jsoc.count("file") == 1


def test_a_frame_whose_own_header_says_bad_quality_is_given_up(tmp_path, jsoc, client, ask):
    one = next(f for f in jsoc.frames if f.harp == 1402)
    other = replace(one, keywords={**one.keywords, "QUALITY": "66560"}, made={})
    jsoc.frames = [one]
    jsoc.broken[one.key] = lambda content: other.file("fits")
    report = fetch(ask, str(tmp_path / "a"), client(), FetchOptions(method="url"))
    assert "QUALITY 0x00010400 marks it as bad" in report.failed[0]["reason"]


@pytest.mark.parametrize("kind", ["html", "truncate", "short", "change", "vanish", "error_500", "refuse", "slow"])
def test_each_fault_of_files_is_overcome(tmp_path, jsoc, client, ask, sun, kind):
    jsoc.file_faults = Faults(**{kind: 0.4})
    options = FetchOptions(damaged_tries=9)
    report = fetch(replace(ask, harps=(1401,)), str(tmp_path / "a"), client(retry_policy=PATIENT), options)
    assert jsoc.faulted[kind] > 0 and report.failed == [] and report.stopped is None
    is_sound(Archive.open(tmp_path / "a"), [f for f in sun if f.harp == 1401])


@pytest.mark.parametrize("kind", ["html", "truncate", "vanish", "error_500", "refuse", "slow"])
def test_each_fault_of_answers_is_overcome(tmp_path, jsoc, client, ask, sun, kind):
    jsoc.answer_faults, jsoc.polls = Faults(**{kind: 0.4}), 1
    asked, options = replace(ask, harps=(1401,)), FetchOptions("url", export_batch=2)
    report = fetch(asked, str(tmp_path / "a"), client(retry_policy=PATIENT), options)
    assert jsoc.faulted[kind] > 0 and report.failed == [] and report.stopped is None
    is_sound(Archive.open(tmp_path / "a"), [f for f in sun if f.harp == 1401])


def test_a_file_that_is_always_damaged_is_given_up_and_named(tmp_path, jsoc, client, ask, sun):
    first, second, third, fourth, fifth, sixth = (f for f in jsoc.frames if f.harp == 1401)
    jsoc.broken = {
        first.key: lambda content: b"",
        second.key: lambda content: content[:3000],
        third.key: lambda content: b"<html>not found</html>",
        fourth.key: lambda content: jsoc.frames[-1].file("fits"),
        fifth.key: lambda content: content.replace(b"RICE_1", b"RICE_9"),
    }
    said = []
    report = fetch(replace(ask, harps=(1401,)), str(tmp_path / "a"), client(), say=said.append)
    assert [entry["frame"] for entry in report.failed] == [f.record for f in (first, second, third, fourth, fifth)]
    reasons = [entry["reason"] for entry in report.failed]
    assert "is empty" in reasons[0] and "cut short" in reasons[1] and "not a FITS file" in reasons[2]
    assert "is of HARP 1405, not 1401" in reasons[3]
    assert all(reason.endswith(", 3 times") for reason in reasons) and len(said) == 5
    is_sound(Archive.open(tmp_path / "a"), [sixth])
    jsoc.broken = {}
    report = fetch(replace(ask, harps=(1401,)), str(tmp_path / "a"), client())
    assert (report.fetched, report.there, report.failed) == (5, 1, []), "a new run tries again"


def test_files_that_jsoc_does_not_have_are_given_up(tmp_path, jsoc, client, ask, sun):
    for method in ("url_quick", "url"):
        jsoc.lost = {sun[3].key, sun[4].key}
        report = fetch(ask, str(tmp_path / method), client(), FetchOptions(method))
        assert [entry["frame"] for entry in report.failed] == [sun[3].record, sun[4].record]
        assert {entry["reason"] for entry in report.failed} == {"JSOC has no file for this frame"}
        assert report.fetched == 28


def test_a_lot_that_is_too_large_is_halved(tmp_path, jsoc, client, ask, sun):
    jsoc.largest_lot = 4
    report = fetch(ask, str(tmp_path / "a"), client())
    assert report.fetched == 30
    # 30 → 15 → 7/8 → 3/4: each record once, and seven questions that were too large
    assert jsoc.count("export") == 15
    is_sound(Archive.open(tmp_path / "a"), sun)
    jsoc.largest_lot = 0
    report = fetch(replace(ask, harps=(1401,), max_frames=2), str(tmp_path / "b"), client())
    assert report.fetched == 0 and "exceeds max byte limit" in report.failed[0]["reason"]


def test_a_query_that_is_too_large_is_halved(tmp_path, jsoc, client, ask):
    jsoc.largest_query = 6
    assert plan(ask, str(tmp_path / "a"), client(), FetchOptions()).frames == 30
    jsoc.largest_query = 0
    with pytest.raises(JsocRefusal, match="cannot answer the query"):
        plan(ask, str(tmp_path / "a"), client(), FetchOptions())


def test_an_export_that_expires_is_asked_for_again(tmp_path, jsoc, client, ask, sun):
    jsoc.expire_after = 7
    report = fetch(ask, str(tmp_path / "a"), client(), FetchOptions("url", export_batch=20, export_tries=9))
    assert report.fetched == 30 and max(jsoc.served.values()) == 1
    assert jsoc.count("export") == 5
    is_sound(Archive.open(tmp_path / "a"), sun)


def test_a_pending_export_is_taken_up_again(tmp_path, jsoc, client, ask, sun):
    jsoc.polls = 10**9
    impatient = replace(QUICK, export_s=0.05)
    first = replace(ask, harps=(1401, 1402))
    fetch(
        first, str(tmp_path / "a"), client(retry_policy=impatient), FetchOptions("url", export_batch=12, export_tries=1)
    )
    number = next(iter(jsoc.exports))
    with sqlite3.connect(tmp_path / "a" / "fetch" / "manifest.sqlite") as db:
        # as a kill leaves it: the export asked for, its number kept
        db.execute("UPDATE frames SET state = 'wanted'")
        keys = [f.key for f in jsoc.exports[number]["frames"]]
        db.executemany(
            "UPDATE frames SET state = 'requested', export_id = ? WHERE harpnum = ? AND t_rec = ? AND segment = ?",
            [(number, *key) for key in keys],
        )
    db.close()
    jsoc.exports[number]["polls"], jsoc.polls = 3, 0
    asked = jsoc.count("export")
    report = fetch(ask, str(tmp_path / "a"), client(), FetchOptions("url", export_batch=30))
    assert report.fetched == 30
    assert jsoc.count("export") == asked + 1, "only for what the pending one does not hold"
    is_sound(Archive.open(tmp_path / "a"), sun)


def test_too_many_pending_exports_are_waited_out(tmp_path, jsoc, client, ask):
    jsoc.pending_limit = True
    assert fetch(ask, str(tmp_path / "a"), client(), FetchOptions("url")).fetched == 30


def test_when_the_server_goes_away_what_was_fetched_stays(tmp_path, jsoc, client, ask, sun):
    class Going(dict):
        def __contains__(self, key):
            jsoc.down = jsoc.count("file") > 17
            return False

    jsoc.broken = Going()
    report = fetch(ask, str(tmp_path / "a"), client())
    assert "does not serve" in report.stopped and "same command" in report.stopped
    got = len(Archive.open(tmp_path / "a"))
    assert got == report.fetched and 10 < got < 20
    jsoc.broken, jsoc.down = {}, False
    report = fetch(ask, str(tmp_path / "a"), client())
    assert report.there == got and report.failed == [] and report.stopped is None
    is_sound(Archive.open(tmp_path / "a"), sun)


def test_when_nothing_answers_the_end_is_clear_and_leaves_no_archive(tmp_path, jsoc, client, ask):
    jsoc.down = True
    with pytest.raises(SolqueryError, match=r"http://127.* does not serve .* same command again"):
        fetch(ask, str(tmp_path / "a"), client())
    assert not Archive.exists(tmp_path / "a")


def test_exports_need_an_address_that_is_registered(tmp_path, client, ask):
    with pytest.raises(JsocRefusal, match="--email"):
        fetch(ask, str(tmp_path / "a"), client(email=None))
    with pytest.raises(JsocRefusal, match=r"does not know the address nobody@example\.org"):
        fetch(ask, str(tmp_path / "a"), client(email="nobody@example.org"))
    assert not Archive.exists(tmp_path / "a")


def test_files_are_kept_when_asked(tmp_path, client, ask):
    fetch(replace(ask, harps=(1402,)), str(tmp_path / "a"), client(), FetchOptions("url", keep_files=True))
    kept = sorted(p.name for p in (tmp_path / "a" / "fetch" / "files").iterdir())
    assert len(kept) == 6 and kept[0] == "hmi.sharp_cea_720s.1402.20120306_000000_TAI.Br.fits"


def test_a_file_that_was_spoilt_after_its_download_is_fetched_again(tmp_path, jsoc, client, ask, sun):
    place = tmp_path / "a"
    fetch(replace(ask, harps=(1402,)), str(place), client(), FetchOptions(keep_files=True))
    kept = sorted((place / "fetch" / "files").iterdir())
    shutil.rmtree(place / "patches.lance")
    shutil.rmtree(place / "fields.lance")
    with Manifest(place / "fetch" / "manifest.sqlite") as manifest:
        manifest.set(list(manifest.states()), "wanted")
        for entry in manifest.entries()[:4]:
            manifest.set([entry.record.key], "downloaded")
    kept[0].write_bytes(kept[0].read_bytes()[:-100])
    kept[1].unlink()
    before = jsoc.count("file")
    report = fetch(replace(ask, harps=(1402,)), str(place), client())
    assert report.fetched == 6 and jsoc.count("file") - before == 4, "two of the four were whole"
    is_sound(Archive.open(place), [f for f in sun if f.harp == 1402])


@pytest.mark.skipif(not SHARPS.exists(), reason="no real SHARPs here")
def test_real_sharps_and_what_a_real_download_left(tmp_path, client, ask):
    frames = []
    with StandIn([]) as server:
        for path in sorted([*(SHARPS / "sharps").iterdir(), *(SHARPS / "broken").iterdir()]):
            _, _, harp, stamp, _, _ = path.name.split(".")
            content = path.read_bytes()
            # the larger good ones take long to measure, and tell no more
            if path.parent.name == "sharps" and len(content) > 120_000 and not path.name.endswith(LARGE):
                continue
            one = frame(int(harp), datetime.strptime(stamp, "%Y%m%d_%H%M%S_TAI"), np.zeros((2, 2)))
            if path.parent.name == "sharps":
                with fits.open(path) as units:
                    units[1].verify("silentfix+ignore")
                    header = units[1].header
                    one.keywords.update({k: str(header[k]) for k in one.keywords if k in header})
            else:
                del one.keywords["CRPIX1"]
                server.broken[one.key] = lambda _, content=content: content
            one.made["fits"] = content
            frames.append(one)
        server.frames = frames
        connection = Jsoc(server.url, EMAIL, QUICK, seed=1)
        asked = Ask(parse_time("2011-01-01"), parse_time("2014-12-31", end=True), cadence_s=720)
        report = fetch(asked, str(tmp_path / "a"), connection, FetchOptions("url"))
    assert len(report.dropped) == 5 and len(report.failed) == 6 and report.fetched == len(frames) - 11
    assert {entry["reason"] for entry in report.dropped} == {"QUALITY 0x00010400 marks it as bad"}
    assert {tuple(e["frame"].partition("[")[2].split("]")[:1]) for e in report.failed} == {
        ("1446",), ("1447",), ("1449",), ("1457",)
    }  # fmt: skip
    patch = Archive.open(tmp_path / "a").get("sharp-377-20110215T020000-Br")
    assert patch.field.shape == (377, 744) and patch.keywords["USFLUX"] == 2.71476e22
    assert patch.noaa == (11158,) and patch.mu == pytest.approx(0.945, abs=1e-3)
    assert patch.time.isoformat() == "2011-02-15T01:59:26+00:00"
