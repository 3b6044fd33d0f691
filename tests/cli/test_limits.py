"""Limb, missing pixels, view and QUALITY are said wherever numbers and pictures of a patch are: observed frames."""

from __future__ import annotations

import csv

import pytest
from command_line import call, document
from shared_data import DATA

from solquery.archive import Archive
from solquery.archive.view import caveats_of_row
from solquery.search.index import Match
from solquery.search.matches import title_of

FRAMES = {
    "1422.20120306_142400": {"limb", "offlimb", "missing"},
    "1445.20120306_142400": {"cut"},
    "1447.20120307_082400": {"quality"},
}


def file_of(key):
    (path,) = (DATA / "sharps").glob(f"*.{key}_TAI.Br.fits") or [None]
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Frames with each limit, embedded with the shipped model."""
    if not (DATA / "sharps").is_dir():
        pytest.skip(f"no observations under {DATA}")
    folder = tmp_path_factory.mktemp("limits") / "archive"
    call("ingest", *map(file_of, FRAMES), "--archive", folder, "--any-quality")
    call("archive", "embed", folder, "--model", "physical")
    return Archive.open(folder)


def named(caveats):
    return {one["name"] for one in caveats}


def test_rows_name_all_that_needs_no_pixels(archive):
    for row in archive.table().to_pylist():
        (wanted,) = [limits for key, limits in FRAMES.items() if row["harpnum"] == int(key.split(".")[0])]
        found = {caveat.name for caveat in caveats_of_row(row)}
        assert found - {"view"} == wanted - {"cut"}
        title = title_of(Match(row["id"], row["region"], 0.5, 1, row))
        assert all(name in title for name in found)
    # what is not known limits nothing
    assert caveats_of_row({"mu": None, "quality": None}) == []


@pytest.mark.parametrize("key", FRAMES)
def test_params_say_them_in_text_json_and_table(key, tmp_path):
    from astropy.table import QTable

    if not (DATA / "sharps").is_dir():
        pytest.skip(f"no observations under {DATA}")
    command = ("params", file_of(key), "--no-errors", "--param", "flux")
    (record,) = document(*command, "--out", tmp_path / "table.ecsv")["patches"]
    assert FRAMES[key] <= named(record["caveats"])
    assert set(QTable.read(tmp_path / "table.ecsv")["caveats"][0].split()) == named(record["caveats"])
    said, _ = call(*command)
    assert all(f"caution: {one['text']}" in said for one in record["caveats"])


def test_a_search_says_them_of_query_matches_table_and_files(archive, tmp_path):
    from astropy.io import fits

    (query,) = archive.table(["id"], where="harpnum = 1422")["id"].to_pylist()
    command = ("search", query, "--archive", archive.uri, "--model", "physical", "-k", 3, "--rerank", 0)
    found = document(*command, "--any-quality", "--save", tmp_path)
    assert FRAMES["1422.20120306_142400"] <= named(found["query"]["caveats"])
    by_harp = {m["harpnum"]: m for m in found["matches"]}
    assert named(by_harp[1447]["caveats"]) >= {"quality"} and by_harp[1447]["quality"] == 0x10400
    assert named(by_harp[1422]["caveats"]) >= {"limb", "missing"}
    rows = {int(row["harpnum"]): row for row in csv.DictReader((tmp_path / "matches.csv").read_text().splitlines())}
    # the pixels of what is saved are read: what its box cuts is said too
    assert "cut" in rows[1445]["caveats"].split() and rows[1445]["quantity"] == "radial"
    headers = {fits.getheader(path)["HARPNUM"]: fits.getheader(path) for path in tmp_path.glob("*.fits")}
    for harp, row in rows.items():
        assert headers[harp]["CAVEATS"] == row["caveats"]
    said, err = call(*command, "--any-quality")
    assert "caution: QUALITY" in said and "caution: the query is near the limb" in err


def test_the_page_says_them(archive):
    from solquery.app.records import known_of

    for row in archive.table().to_pylist():
        told = known_of(row, None)["caveats"]
        assert told == [caveat._asdict() for caveat in caveats_of_row(row)]


def test_an_inversion_says_them(archive, tmp_path):
    path = file_of("1422.20120306_142400")
    command = ("invert", path, "--model", "physical", "--closest", "--starts", 1, "--steps", 2)
    (record,) = document(*command, "--out", tmp_path)["patches"]
    assert named(record["caveats"]) >= {"limb", "missing"} and record["quantity"] == "radial"
    said, _ = call(*command, "--out", tmp_path)
    assert "caution: near the limb" in said


def test_a_notebook_says_them(archive):
    (query,) = archive.table(["id"], where="harpnum = 1422")["id"].to_pylist()
    assert "near the limb" in archive.get(query)._repr_html_()
