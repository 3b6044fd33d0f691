"""Two writers at once, sums inside files, places off the reference pixel, and questions in SQL."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from typer.testing import CliRunner

from solquery.archive import locks
from solquery.archive.export import export
from solquery.archive.store import AddReport, Archive, ArchiveError
from solquery.archive.verify import verify
from solquery.cli.root import app
from solquery.patch import Patch
from solquery.sharp.fits import UnreadableFits, read_sharp
from solquery.sharp.wcs import coordinates_of

NAME = "hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits"


def patch(k, seed=None):
    field = np.random.default_rng(k if seed is None else seed).normal(0, 150, (12, 18)).astype(np.float32)
    return Patch(field, (0.36, 0.36), f"p{k}", f"R {k // 2}", "simulated", harpnum=k // 2 + 1)


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "a")
    made.add([patch(k) for k in range(6)])
    return made


@pytest.mark.parametrize("blind_for", [1, 99], ids=["before the field", "until the row"])
def test_the_first_of_two_writers_keeps_row_and_field(archive, monkeypatch, blind_for):
    """Without a lock the second does not see the row of the first while it writes the same id with another field."""
    monkeypatch.setattr(locks, "_of_one_kernel", lambda folder: False)
    second = Archive.open(archive.uri)
    looks, there = [], second._writer._there

    def blind(ids):
        looks.append(1)
        return set() if len(looks) <= 2 * blind_for else there(ids)

    monkeypatch.setattr(second._writer, "_there", blind)
    assert second.add([patch(3, seed=77), patch(9)]) == AddReport(1, 1)
    np.testing.assert_allclose(archive.get("p3").field, patch(3).field, rtol=1e-3)
    assert verify(archive) == [] and len(archive) == 7


@pytest.mark.parametrize("locked", [True, False])
def test_a_field_that_a_killed_writer_left_is_replaced(archive, monkeypatch, locked):
    monkeypatch.setattr(locks, "_of_one_kernel", lambda folder: locked)
    row, data = _row(patch(20, seed=1))
    archive._writer._write_fields({row["id"]: data}, locked)
    assert archive.add([patch(20)]) == AddReport(1, 0)
    assert verify(archive) == []


def _row(made):
    from solquery.archive.records import row_of

    return row_of(made, [])


def test_many_patches_are_read_in_helpings_and_while_rows_move(tmp_path):
    archive = Archive.create(tmp_path / "a")
    archive.add_rows([_row(patch(k)) for k in range(150)])
    wanted = archive.ids()[::-1]
    got = []
    for k, found in enumerate(archive.patches(ids=wanted)):
        if k == 10:
            archive.set_columns(wanted, {"score": np.arange(150.0)})
            archive.optimize()
        got.append(found.id)
    assert got == wanted


def test_ids_that_are_asked_for_again_are_read_again(tmp_path):
    archive = Archive.create(tmp_path / "a")
    archive.add([patch(k) for k in range(70)])
    asked = [f"p{k}" for k in (*range(69, -1, -1), 3, 69, 3)]
    read = list(archive.patches(ids=asked))
    assert [one.id for one in read] == asked
    for one in read[-3:]:
        np.testing.assert_allclose(one.field, patch(int(one.id[1:])).field, rtol=1e-3)


def test_small_patches_share_a_group_of_rows_in_parquet(tmp_path, monkeypatch):
    """What describes a group stays in memory until the end."""
    archive = Archive.create(tmp_path / "a")
    archive.add([patch(k) for k in range(200)])
    groups = []
    for least in (2**20, 100_000):
        monkeypatch.setattr("solquery.archive.export._BYTES_IN_GROUP", least)
        export(archive, tmp_path / "out.parquet", "parquet")
        file = pq.ParquetFile(tmp_path / "out.parquet")
        groups.append([file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)])
        assert file.read()["id"].to_pylist() == archive.ids()
    assert groups == [[200], [128, 72]]


def test_a_changed_byte_is_noticed_where_the_header_has_a_sum(tmp_path):
    path = tmp_path / NAME
    fits.PrimaryHDU(patch(0).field).writeto(path, checksum=True)
    assert read_sharp(path).field.shape == (12, 18)
    content = bytearray(path.read_bytes())
    content[2880 + 41] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableFits, match="DATASUM"):
        read_sharp(path)
    # a header that was edited says nothing against the image
    content[2880 + 41] ^= 1
    edited = bytes(content).replace(b"conforms to FITS", b"conforms to what")
    assert edited != bytes(content)
    path.write_bytes(edited)
    assert read_sharp(path).field.shape == (12, 18)


@pytest.mark.parametrize("latitude", [-62.0, 0.0, 35.0])
def test_the_centre_off_the_reference_pixel_is_where_the_projection_says(latitude):
    keywords = {
        "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": -140.0,
        "CRPIX2": 330.5, "CRVAL1": 350.0, "CRVAL2": latitude, "CDELT1": 0.03, "CDELT2": 0.03,
        "CRLN_OBS": 340.0, "CRLT_OBS": 5.0,
    }  # fmt: skip
    shape = (200, 500)
    expected = WCS(fits.Header(keywords)).wcs_pix2world([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]], 0)[0]
    found = coordinates_of(keywords, shape).place._asdict()
    assert found["carrington_deg"] == pytest.approx(expected[0] % 360.0, abs=1e-6)
    assert found["latitude_deg"] == pytest.approx(expected[1], abs=1e-6)


def test_one_select_is_answered_and_nothing_is_written(archive, tmp_path):
    pytest.importorskip("duckdb")
    query = "SELECT harpnum, count(*) AS frames, max(tuf) AS flux FROM patches GROUP BY harpnum ORDER BY harpnum"
    found = archive.sql(query)
    table = archive.table(["harpnum", "tuf"]).to_pylist()
    assert found["frames"].to_pylist() == [2, 2, 2]
    assert found["flux"].to_pylist() == [max(r["tuf"] for r in table if r["harpnum"] == k) for k in (1, 2, 3)]
    assert "keywords" not in archive.sql("SELECT * FROM patches").column_names
    assert archive.sql("SELECT year(t_utc) AS year, count(*) AS n FROM patches GROUP BY year")["n"].to_pylist() == [6]
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for wrong in (
        "DELETE FROM patches", "SELECT 1; SELECT 2", "SELECT nothing FROM patches", f"SELECT * FROM '{secret}'",
        f"COPY patches TO '{tmp_path}/out.csv'", "SET memory_limit = '9GB'", "",
        "SELECT * FROM table", "SELECT * FROM secret",
    ):  # fmt: skip
        with pytest.raises(ArchiveError):
            archive.sql(wrong)
    assert not (tmp_path / "out.csv").exists()
    result = CliRunner().invoke(app, ["archive", "sql", archive.uri, query, "--json"])
    assert json.loads(result.stdout)["rows"][0]["frames"] == 2, result.stderr
