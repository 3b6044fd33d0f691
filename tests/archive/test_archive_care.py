"""Looking after an archive: check, compact, export, split, histograms; and passing over it in batches."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from solquery.archive.compact import compact
from solquery.archive.export import export
from solquery.archive.histograms import bars, histograms
from solquery.archive.prepare import prepare
from solquery.archive.split import PARTS, part_of, split
from solquery.archive.store import Archive
from solquery.archive.tables import FIELDS_SCHEMA
from solquery.archive.verify import verify
from solquery.config import PRESETS
from solquery.errors import SolqueryError
from solquery.jsoc.fetch import fetch
from solquery.sharp.fits import read_sharp

TINY = PRESETS["tiny"]
FIRST = "sharp-1401-20120306T000000-Br"


@pytest.fixture
def archive(tmp_path, sun_patches):
    made = Archive.create(tmp_path / "a")
    made.add(sun_patches[:12], batch=4)
    return made


def what_is_off(archive):
    return {(problem.where, problem.what) for problem in verify(archive)}


def rewrite(archive, patch_id, data):
    table = pa.table({"id": [patch_id], "field": [data]}, schema=FIELDS_SCHEMA)
    archive._fields.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)


def test_a_good_archive_has_nothing_off(archive, tmp_path, client, ask):
    archive.prepared(TINY)
    counted = []
    assert verify(archive, lambda done, total: counted.append((done, total))) == []
    assert counted[-1] == (12, 12)
    fetch(ask, str(tmp_path / "b"), client())
    assert verify(Archive.open(tmp_path / "b")) == []


def test_a_field_that_has_changed_is_found(archive):
    good = archive._fields.search().where(f"id = '{FIRST}'").to_arrow()["field"][0].as_py()
    rewrite(archive, FIRST, good[:100] + b"\x00\x3c" + good[102:])
    assert what_is_off(archive) == {(FIRST, "its field does not agree with its checksum")}
    rewrite(archive, FIRST, good[:-2])
    assert "pixels need" in next(iter(what_is_off(archive)))[1]


def test_rows_and_fields_that_have_lost_each_other_are_found(archive):
    archive._fields.delete(f"id = '{FIRST}'")
    rewrite(archive, "nobody", b"\0\0" * 9)
    found = what_is_off(archive)
    assert (FIRST, "has a row and no field") in found
    assert any(where == "nobody" and "no row" in what for where, what in found) and len(found) == 2


def test_duplicates_are_found(archive):
    archive._fields.add(archive._fields.search().where(f"id = '{FIRST}'").select(["id", "field"]).to_arrow())
    archive._patches.add(archive._patches.search().where(f"id = '{FIRST}'").to_arrow())
    assert {(FIRST, "is there 2 times"), (FIRST, "has 2 fields")} <= what_is_off(archive)


def test_values_out_of_range_are_found(archive):
    archive._patches.update(where=f"id = '{FIRST}'", values={"mu": 1.5, "latitude_deg": -91.0, "source": "dreamt"})
    archive._patches.update(where=f"id = '{FIRST}'", values={"t_rec": "once", "missing_fraction": 0.5})
    said = " ".join(what for where, what in what_is_off(archive) if where == FIRST)
    for part in ("mu is 1.5", "latitude_deg is -91.0", "source is 'dreamt'", "'once' cannot be read",
                 "missing_fraction is 0.5"):  # fmt: skip
        assert part in said


def test_stray_files_and_lost_frames_are_found(tmp_path, client, ask):
    place = tmp_path / "b"
    fetch(ask, str(place), client())
    archive = Archive.open(place)
    (place / "notes.txt").write_text("x")
    (place / "fetch" / "files" / "x.fits.part").write_text("x")
    (place / "prepared").mkdir()
    (place / "prepared" / ".tiny-0.npy").write_text("x")
    archive._patches.delete(f"id = '{FIRST}'")
    found = what_is_off(archive)
    strays = {where for where, what in found if what == "does not belong to the archive"}
    assert strays == {"notes.txt", "fetch/files/x.fits.part", "prepared/.tiny-0.npy"}
    assert (FIRST, "was fetched and is not in the archive; fetch it again") in found
    result = compact(archive)
    assert (result["orphan_fields"], result["files"]) == (1, 2)
    assert {where for where, _ in what_is_off(archive)} == {"notes.txt", FIRST}
    (place / "notes.txt").unlink()
    assert fetch(ask, str(place), client()).fetched == 1
    assert what_is_off(archive) == set()
    with sqlite3.connect(place / "fetch" / "manifest.sqlite") as db:
        db.execute("DROP TABLE frames")
    db.close()
    assert ("fetch/manifest.sqlite", "cannot be read: a fetch is running, or it is damaged") in what_is_off(archive)


def test_compacting_merges_and_keeps_everything(tmp_path, sun_patches):
    archive = Archive.create(tmp_path / "a")
    archive.add(sun_patches, batch=1)
    before, fields = archive.content_hash(), {p.id: p.field for p in archive.patches()}
    files = len(list((tmp_path / "a" / "fields.lance" / "data").iterdir()))
    compact(archive)
    assert len(list((tmp_path / "a" / "fields.lance" / "data").iterdir())) <= files + 1
    assert archive.content_hash() == before and verify(archive) == []
    for patch in archive.patches():
        np.testing.assert_array_equal(patch.field, fields[patch.id])


def test_parquet_has_every_column_and_the_field(archive, tmp_path):
    out = tmp_path / "out" / "a.parquet"
    assert export(archive, out, "parquet", "harpnum = 1402") == 6
    table = pq.read_table(out)
    assert table["id"].to_pylist() == archive.ids("harpnum = 1402")
    assert set(archive.columns) | {"field"} == set(table.schema.names)
    row = table.slice(2, 1).to_pylist()[0]
    field = np.array(row["field"], np.float32).reshape(row["ny"], row["nx"])
    np.testing.assert_array_equal(field, archive.get(row["id"]).field)
    assert list(out.parent.iterdir()) == [out]


def test_hdf5_has_a_group_a_patch(archive, tmp_path):
    h5py = pytest.importorskip("h5py")
    out = tmp_path / "a.h5"
    archive.set_columns([FIRST], {"embedding": np.ones((1, 3), np.float32)})
    assert export(archive, out, "hdf5") == 12
    with h5py.File(out) as file:
        assert file.attrs["unit"] == "G" and len(file["patches"]) == 12
        group = file["patches"][FIRST]
        np.testing.assert_array_equal(group["field"][:], archive[FIRST].field.astype(np.float16))
        assert group.attrs["harpnum"] == 1401 and group.attrs["t_utc"].startswith("2012-03-05T23:59:26")
        assert list(group.attrs["noaa"]) == [12401] and list(group["embedding"]) == [1, 1, 1]


def test_fits_files_read_back(archive, tmp_path):
    archive.add([archive[FIRST].with_field(np.ones((4, 5)), (0.4, 0.4), id="odd/../id", region="R")])
    assert export(archive, tmp_path / "out", "fits") == 13
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert len(names) == 13 and "odd_.._id.fits" in names
    again = read_sharp(tmp_path / "out" / f"{FIRST}.fits")
    np.testing.assert_array_equal(again.field, archive[FIRST].field)
    assert again.id == FIRST and again.noaa == (12401,)


@pytest.mark.parametrize("form", ["parquet", "hdf5", "fits"])
def test_exports_that_cannot_be_leave_nothing(archive, tmp_path, form):
    out = tmp_path / "out"
    with pytest.raises(SolqueryError, match="nothing was written"):
        export(archive, out, form, "harpnum = 9")
    assert not out.exists()
    out.mkdir() if form != "fits" else out.write_text("x")
    with pytest.raises(SolqueryError, match="is a f"):
        export(archive, out, form)
    with pytest.raises(SolqueryError, match="not known"):
        export(archive, out, "xml")


def test_a_split_keeps_regions_together_and_is_recorded(archive):
    with pytest.warns(UserWarning, match="few for a split"):
        found = split(archive, (0.5, 0.25, 0.25), seed=4)
    rows = archive.table(["region", "split", "split_rule"]).to_pylist()
    assert len({(row["region"], row["split"]) for row in rows}) == 2
    assert {row["split_rule"] for row in rows} == {"by region, seed 4, shares 0.5/0.25/0.25"}
    assert sum(n["patches"] for n in found.values()) == 12 and sum(n["regions"] for n in found.values()) == 2
    for part, n in found.items():
        assert len(archive.ids(f"split = '{part}'")) == n["patches"]


def test_a_region_keeps_its_part_when_the_archive_grows(archive, sun_patches):
    with pytest.warns(UserWarning):
        split(archive, seed=1)
    before = {row["id"]: row["split"] for row in archive.table(["id", "split"]).to_pylist()}
    archive.add(sun_patches)
    assert archive.table(["split"], "harpnum = 1405")["split"].null_count == 6, "new rows wait for the next split"
    with pytest.warns(UserWarning):
        split(archive, seed=1)
    after = {row["id"]: row["split"] for row in archive.table(["id", "split"]).to_pylist()}
    assert before.items() <= after.items() and len(after) == 30


def test_shares_are_met_over_many_regions():
    parts = [part_of(f"HARP {k}", 7, (0.8, 0.1, 0.1)) for k in range(4000)]
    shares = [parts.count(part) / 4000 for part in PARTS]
    assert np.allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
    assert parts != [part_of(f"HARP {k}", 8, (0.8, 0.1, 0.1)) for k in range(4000)]
    assert {part_of(f"HARP {k}", 7, (1.0, 0.0, 0.0)) for k in range(100)} == {"train"}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.2, 0.1), (1.2, -0.1, -0.1)])
def test_shares_that_make_no_sense(archive, shares):
    with pytest.raises(SolqueryError, match="add up to 1"):
        split(archive, shares)


def test_histograms_count_every_patch(archive):
    found = histograms(archive.table())
    json.dumps(found)
    assert found["year"] == {"unit": "", "edges": [2012, 2013], "counts": [12]}
    for title in ("unsigned flux", "latitude", "size"):
        assert sum(found[title]["counts"]) == 12
        edges = np.array(found[title]["edges"])
        steps = np.diff(edges)
        assert len(edges) == len(found[title]["counts"]) + 1 <= 15 and np.ptp(steps) < 1e-9
        # a step is 1, 2 or 5 of some decimal place, and edges are multiples of it
        assert round(steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)) in (1, 2, 5)
        np.testing.assert_allclose(edges / steps[0], np.round(edges / steps[0]), atol=1e-6)
    lines = bars("year", found["year"])
    assert lines[0] == "year" and lines[1].startswith("     2012 ████") and lines[1].endswith(" 12")
    assert histograms(archive.table(None, "harpnum = 1")) == {}


def test_batches_pass_over_every_patch_once(archive):
    torch = pytest.importorskip("torch")
    got = list(archive.batches(TINY, 5))
    assert [len(batch.ids) for batch in got] == [5, 5, 2]
    assert [i for batch in got for i in batch.ids] == archive.ids()
    assert got[0].x.shape == (5, 1, 32, 32) and got[0].x.dtype == torch.float32
    np.testing.assert_allclose(got[1].x[2, 0], prepare(archive[got[1].ids[2]].field, TINY), atol=6e-4)
    shuffled = [batch.ids for batch in archive.batches(TINY, 5, seed=3)]
    assert shuffled == [batch.ids for batch in archive.batches("tiny", 5, seed=3)] != [b.ids for b in got]
    assert sorted(i for ids in shuffled for i in ids) == archive.ids()
    assert [len(b.ids) for b in archive.batches(TINY, 5, drop_last=True)] == [5, 5]
    (only,) = archive.batches(TINY, 50, where="harpnum = 1402")
    assert only.ids == archive.ids("harpnum = 1402")
    np.testing.assert_array_equal(only.x[0, 0], archive.prepared(TINY, ids=only.ids[:1])[1][0])
    with pytest.raises(ValueError, match="at least one"):
        next(archive.batches(TINY, 0))


def test_maps_and_random_access(archive):
    pytest.importorskip("sunpy.map")
    maps = list(archive.maps("harpnum = 1402"))
    assert len(maps) == 6 and maps[0].data.shape == archive["sharp-1402-20120306T000000-Br"].field.shape
    assert maps[0].meta["patchid"] == "sharp-1402-20120306T000000-Br"
    assert [patch.id for patch in archive] == archive.ids()
