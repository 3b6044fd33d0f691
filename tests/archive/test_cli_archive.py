"""`solquery fetch` and `solquery archive` on the command line: what is printed where, and the exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jsoc_stand_in import EMAIL
from typer.testing import CliRunner

from solquery.archive.prepare import prepare_many
from solquery.archive.store import Archive
from solquery.cli.root import app
from solquery.encoder import embed
from solquery.model import Model


@pytest.fixture
def place(tmp_path):
    return tmp_path / "a"


@pytest.fixture
def fetch(jsoc, place):
    def call(*more, code=0, email=EMAIL):
        return run(
            *("fetch", "--archive", place, "--start", "2012-03-06", "--end", "2012-03-08", "--server", jsoc.url),
            *("--pause", 0.001, "--tries", 3, *(("--email", email) if email else ()), *more),
            code=code,
        )

    return call


def run(*arguments, code=0):
    environment = {"JSOC_EMAIL": ""}
    result = CliRunner().invoke(app, [str(a) for a in arguments], env=environment)
    assert result.exit_code == code, f"exit {result.exit_code}: {result.stderr}\n{result.exception!r}"
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


def test_fetch_then_look_after_it(fetch, jsoc, place, tmp_path):
    out, err = fetch("--dry-run", "--json", email=None)
    planned = json.loads(out)
    assert planned["frames"] == 30 and planned["requests"] == {"queries": 1, "exports": 1, "files": 30}
    assert planned["download_bytes"] > 0 and not place.exists() and "planning" in err
    jsoc.lost = {jsoc.frames[2].key}
    jsoc.frames[8].keywords["QUALITY"] = "0x00010400"
    try:
        out, err = fetch()
    finally:
        jsoc.frames[8].keywords["QUALITY"] = "0x00000000"
    assert "28 fetched, 0 there already, 1 given up, 1 dropped by QUALITY" in out
    assert f"given up: {jsoc.frames[2].record}: JSOC has no file for this frame" in out
    assert f"dropped: {jsoc.frames[8].record}: QUALITY 0x00010400 marks it as bad" in out
    assert "fetching: query 1 of 1" in err
    out, _ = fetch("--json", "--max-frames", 1, "--harp", 1402, "--harp", 1403)
    again = json.loads(out)
    assert (again["frames"], again["fetched"], again["there"]) == (2, 0, 2)

    out, _ = run("archive", "check", place)
    assert "28 patches, nothing is off" in out
    out, _ = run("archive", "info", place)
    assert "HARP" not in out and "latitude (deg)" in out and "█" in out and "28" in out
    document = json.loads(run("archive", "info", place, "--json")[0])
    assert document["patches"] == 28 and document["regions"] == 5 and document["histograms"]["year"]["counts"] == [28]
    out, err = run("archive", "split", place, "--seed", 3)
    assert "validation" in out and "few for a split" in err
    document = json.loads(run("archive", "info", place, "--json")[0])
    assert document["split"]["rule"] == "by region, seed 3, shares 0.8/0.1/0.1" and document["split"]["none"] == 0
    assert "removed" in run("archive", "compact", place)[0]
    for form in ("parquet", "hdf5", "fits"):
        target = tmp_path / form
        out, _ = run(
            "archive", "export", place, "--out", target, "--format", form, "--where", "harpnum = 1405", "--json"
        )
        assert json.loads(out)["patches"] == 6 and target.exists()


def test_what_is_fetched_is_embedded_where_that_is_asked_for(fetch, jsoc, place, tmp_path):
    model, asked = Model.load(), len(jsoc.log)
    Model("bare", model.preset, model.generator, None, None, {"provenance": {}}, None).save(tmp_path / "bare")
    out, err = fetch("--embed", "--model", tmp_path / "bare", code=1)
    assert out == "" and "model 'bare' has no encoder to embed with" in err
    assert len(jsoc.log) == asked and not place.exists()  # looked for before anything is fetched

    some = ("--harp", 1402, "--max-frames", 2, "--embed", "--json")
    document = json.loads(fetch(*some)[0])
    assert document["fetched"] == document["embedded"] == 2
    archive = Archive.open(place)
    wanted = embed(model.encoder, prepare_many(archive.patches(), model.preset))
    stored = archive.table(["embedding"])["embedding"].to_pylist()
    np.testing.assert_allclose(stored, wanted, atol=1e-3 * float(np.abs(wanted).max()))
    # nothing new: nothing to embed
    assert json.loads(fetch(*some)[0])["embedded"] == 0


def test_check_lists_what_is_off_and_exits_1(fetch, place):
    fetch("--harp", 1402)
    store = Archive.open(place)
    store._patches.update(where="id = 'sharp-1402-20120306T000000-Br'", values={"mu": 7.0})
    out, err = run("archive", "check", place, code=1)
    assert "sharp-1402-20120306T000000-Br: mu is 7.0" in out and "1 problems in 6 patches" in err
    document = json.loads(run("archive", "check", place, "--json", code=1)[0])
    assert document["problems"] == [
        {"where": "sharp-1402-20120306T000000-Br", "what": "mu is 7.0, not within -1 and 1"}
    ]


def test_fetch_says_in_one_line_why_it_cannot(fetch, jsoc, place):
    assert "--email" in fetch(code=1, email=None)[1].splitlines()[-1]
    assert "no time" in fetch("--start", "soon", code=1)[1]
    assert "every 12 minutes" in fetch("--cadence", "5m", code=1)[1]
    fetch("--segment", "bitmap", code=2)
    fetch("--max-frames", 0, code=2)
    out, err = fetch("--server", "nowhere", code=1)
    assert out == "" and "is no address" in err
    jsoc.lost = {f.key for f in jsoc.frames}
    out, err = fetch(code=1)
    assert "none of the 30 frames" in err and out.count("given up:") == 30
    jsoc.down = True
    out, err = fetch("--harp", 1404, code=1)
    assert out == "" and "does not serve" in err.splitlines()[-1] and "again later" in err
    assert not Archive.exists(place)


def test_a_server_that_goes_away_leaves_a_summary_and_exit_1(fetch, jsoc, place):
    class Going(dict):
        def __contains__(self, key):
            jsoc.down = jsoc.count("file") > 9
            return False

    jsoc.broken = Going()
    out, err = fetch("--json", code=1)
    document = json.loads(out)
    assert document["fetched"] == len(Archive.open(place)) > 5 and "does not serve" in document["stopped"]
    assert "does not serve" in err.splitlines()[-1]


@pytest.mark.parametrize("verb", ["info", "check", "compact", "split", "export"])
def test_verbs_name_an_archive_that_is_not_there(tmp_path, verb):
    more = ("--out", tmp_path / "x") if verb == "export" else ()
    out, err = run("archive", verb, tmp_path / "none", *more, code=1)
    assert out == "" and "no archive at" in err
    assert list(tmp_path.iterdir()) == []


def test_ingest_fills_an_archive_that_is_empty(place, tmp_path, sun):
    Archive.create(place)
    file = tmp_path / "hmi.sharp_cea_720s.1402.20120306_000000_TAI.Br.fits"
    file.write_bytes(next(f for f in sun if f.harp == 1402).file("fits"))
    assert "1 added" in run("ingest", file, "--archive", place)[0]
