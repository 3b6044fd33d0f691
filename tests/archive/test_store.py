"""The archive: in and out, duplicates, filters, columns, prepared patches, and what a killed writer leaves."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from started import processes

from solquery.archive.prepare import prepare
from solquery.archive.records import patch_of, row_of
from solquery.archive.store import AddReport, Archive, ArchiveError
from solquery.config import PRESETS
from solquery.patch import Patch
from solquery.physics import measure, parameter, registry
from solquery.search import Match

TINY = PRESETS["tiny"]


def make(k, shape=(40, 50), seed=0, **changes):
    field = np.random.default_rng([seed, k]).normal(0, 300, shape).astype(np.float32)
    patch = Patch(
        field=field,
        scale_mm=(0.5, 0.5),
        id=f"p-{k:03d}",
        region=f"R {k // 2}",
        source="simulated",
        t_rec=f"2012.01.{k % 28 + 1:02d}_00:00:00_TAI",
        noaa=(11000 + k,),
        latitude_deg=float(k),
        keywords={"USFLUX": 1e22, "BAD": float("nan"), "N": np.int64(3)},
        truth={"bipoles": k},
    )
    return replace(patch, **changes)


@pytest.fixture
def archive(tmp_path):
    return Archive.create(tmp_path / "archive")


@pytest.fixture
def filled(archive):
    archive.add([make(k, (30 + k, 50)) for k in range(8)])
    return archive


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12),
        elements=st.floats(-6000, 6000, width=32) | st.just(float("nan")),
    ).filter(lambda field: np.isfinite(field).any())
)
def test_a_field_comes_back_to_float16_precision(field):
    patch = make(1, field=field)
    again = patch_of(*row_of(patch, []))
    np.testing.assert_array_equal(np.isnan(again.field), np.isnan(field))
    np.testing.assert_allclose(again.field, field, rtol=2**-11, atol=1e-7)
    assert again.field.dtype == np.float32


def test_a_patch_comes_back(archive):
    patch = make(3, harpnum=377, quality=4, credit="c", file="f.fits", mu=0.9)
    assert archive.add([patch]) == AddReport(1, 0)
    again = archive.get("p-003")
    assert again.truth == {"bipoles": 3}
    assert again.keywords == {"USFLUX": 1e22, "BAD": None, "N": 3}
    assert np.isnan(again.longitude_deg)
    for name in ("scale_mm", "region", "t_rec", "noaa", "latitude_deg", "harpnum", "quality", "credit", "file", "mu"):
        assert getattr(again, name) == getattr(patch, name), name


def test_parameters_are_measured_at_native_scale(archive):
    patch = make(0, (60, 70))
    archive.add([patch])
    row = archive.table().to_pylist()[0]
    assert row["tuf"] == pytest.approx(np.abs(patch.field).sum(dtype=float) * 0.25e16, rel=1e-5)
    for name, value in measure(patch.field, patch.scale_mm).items():
        assert row[name] == pytest.approx(float(value), nan_ok=True)
    assert row["clipped_fraction"] == pytest.approx((np.abs(patch.field) > 1000).mean())
    assert row["t_utc"].isoformat() == "2011-12-31T23:59:26+00:00"


def test_without_a_scale_no_column_mixes_units(archive):
    archive.add([make(0, scale_mm=None)])
    row = archive.table().to_pylist()[0]
    assert row["tuf"] is None and row["psep"] is None
    assert row["sigma"] is not None and row["polarity"] is not None
    assert archive.get("p-000").scale_mm is None


def test_what_cannot_be_measured_meets_no_comparison(archive):
    one_sign = make(0, field=np.full((30, 40), 500.0, np.float32))
    archive.add([one_sign, make(1)])
    assert archive.ids("psep IS NULL") == ["p-000"]
    for name in ("psep", "tilt", "sigma"):
        assert archive.ids(f"{name} > 1e30 OR {name} < 1e30") == ["p-001"]
    archive.set_columns(["p-000", "p-001"], {"grid_psep": np.array([np.nan, 3.0])})
    assert archive.ids("grid_psep > 1") == ["p-001"]


def test_missing_pixels_count_as_nothing_and_are_recorded(archive):
    field = np.full((10, 10), 100.0, np.float32)
    field[:5] = np.nan
    archive.add([make(0, field=field)])
    row = archive.table(["tuf", "missing_fraction"]).to_pylist()[0]
    assert row["missing_fraction"] == 0.5
    assert row["tuf"] == pytest.approx(50 * 100 * 0.25e16)


def test_the_same_patch_twice_is_one_patch(archive):
    patches = [make(k) for k in range(5)]
    assert archive.add(patches + patches[:2], batch=2) == AddReport(5, 2)
    assert archive.add([replace(p, latitude_deg=-1.0) for p in patches]) == AddReport(0, 5)
    assert len(archive) == 5
    assert archive.get("p-003").latitude_deg == 3.0


def test_a_bad_patch_is_named_and_earlier_batches_stay(archive):
    bad = make(4, field=np.full((5, 5), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"p-004.*every pixel is missing"):
        archive.add([make(0), make(1), bad, make(5)], batch=2)
    assert archive.ids() == ["p-000", "p-001"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ""}, "needs an id"),
        ({"source": "dreamt"}, "source must be one of"),
        ({"field": np.zeros((2, 3, 4))}, "at least 2 x 2"),
        ({"field": np.full((4, 4), 1e6)}, "is the unit gauss"),
    ],
)
def test_what_cannot_be_kept_is_refused(archive, changes, said):
    with pytest.raises(ValueError, match=said):
        archive.add([make(0, **changes)])
    assert len(archive) == 0


def test_a_field_without_its_row_is_no_patch_and_is_replaced(archive):
    # what a writer leaves that is killed between its two commits
    other = pa.table({"id": ["p-000"], "field": [b"\0\0" * 9]}, schema=archive._fields.schema)
    archive._fields.merge_insert("id").when_not_matched_insert_all().execute(other)
    assert len(archive) == 0 and archive.ids() == []
    patch = make(0)
    assert archive.add([patch]) == AddReport(1, 0)
    np.testing.assert_allclose(archive.get("p-000").field, patch.field, rtol=1e-3, atol=1e-3)


def _add_all(uri):
    return Archive.open(uri).add([make(k) for k in range(12)], batch=3).added


def test_two_writers_of_the_same_patches_leave_each_once(archive):
    with processes().Pool(2) as pool:
        added = pool.map(_add_all, [archive.uri] * 2)
    assert sum(added) == 12
    assert archive.ids() == [f"p-{k:03d}" for k in range(12)]
    assert archive._fields.count_rows() == 12


def test_a_patch_that_another_writer_added_meanwhile_keeps_its_field(archive):
    theirs = make(6, id="p-005")

    def patches():
        yield make(5)
        assert Archive.open(archive.uri).add([theirs]) == AddReport(1, 0)
        yield make(7)

    assert archive.add(patches()) == AddReport(1, 1)
    np.testing.assert_allclose(archive.get("p-005").field, theirs.field, rtol=1e-3, atol=1e-3)
    assert archive.ids() == ["p-005", "p-007"]


def test_ids_are_data_not_sql(archive):
    ids = ["it's", "x' OR '1'='1", "a; DROP TABLE patches", 'q"q', "back\\slash", "%_", "ü☀"]
    archive.add([make(k, (4, 5), id=patch_id) for k, patch_id in enumerate(ids)])
    for k, patch_id in enumerate(ids):
        np.testing.assert_allclose(archive.get(patch_id).field, make(k, (4, 5)).field, rtol=1e-3)
    archive.set_columns(ids[:2], {"score": [1.0, 2.0]})
    assert archive.prepared(TINY, "score IS NOT NULL", ids)[0] == ids[:2]
    assert archive.add([make(0, id=patch_id) for patch_id in ids]) == AddReport(0, 7)
    with pytest.raises(ArchiveError, match="no patch"):
        archive.get("x' OR 1=1 --")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("latitude_deg >= 6", ["p-006", "p-007"]),
        ("region = 'R 1'", ["p-002", "p-003"]),
        ("array_has(noaa, 11004)", ["p-004"]),
        ("t_utc >= timestamp '2012-01-07 00:00:00'", ["p-007"]),
        ("tuf > 0 AND ny < 31", ["p-000"]),
        ("region = 'it''s none'", []),
    ],
)
def test_filters(filled, where, expected):
    assert filled.ids(where) == expected
    assert [p.id for p in filled.patches(where)] == expected
    ids, x = filled.prepared(TINY, where)
    assert ids == expected and x.shape == (len(expected), 32, 32)


@pytest.mark.parametrize("where", ["nosuch > 1", "tuf <", "tuf > 'a' OR", "tuf > 'a'", "ny", "count(*) > 1"])
def test_a_filter_that_cannot_be_read_is_answered_in_one_line(filled, where):
    with pytest.raises(ArchiveError) as caught:
        filled.patches(where)
    assert where in str(caught.value) and "latitude_deg" in str(caught.value) and "\n" not in str(caught.value)
    assert ".rs" not in str(caught.value), "no source files of the engine"


def test_tables_are_sorted_and_hold_no_field(filled):
    table = filled.table()
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
    assert "field" not in table.schema.names
    assert filled.table(["tuf", "region"], "latitude_deg < 2").schema.names == ["tuf", "region"]
    with pytest.raises(ArchiveError, match="no column nosuch"):
        filled.table(["nosuch"])


def test_ids_give_their_own_order(filled):
    asked = ["p-005", "p-001", "p-003"]
    assert [p.id for p in filled.patches(ids=asked)] == asked
    ids, x = filled.prepared(TINY, ids=asked)
    assert ids == asked
    np.testing.assert_array_equal(x[1], filled.prepared(TINY, ids=["p-001"])[1][0])
    assert [p.id for p in filled.patches("latitude_deg > 2", asked)] == ["p-005", "p-003"]
    with pytest.raises(ArchiveError, match="no patch 'nobody'"):
        filled.get("nobody")


def test_reading_through_more_than_one_helping(archive):
    archive.add([make(k, (4, 5)) for k in range(150)])
    ids = [p.id for p in archive.patches()]
    assert ids == archive.ids() and len(ids) == 150
    np.testing.assert_allclose(archive.get("p-077").field, make(77, (4, 5)).field, rtol=1e-3)


def test_reading_goes_on_while_the_tables_are_compacted(archive):
    archive.add([make(k, (4, 5)) for k in range(150)], batch=30)
    patches = archive.patches()
    first = next(patches)
    Archive.open(archive.uri).optimize()
    assert [first.id, *(p.id for p in patches)] == archive.ids()


def test_columns_can_be_filled_in_later(filled):
    ids = filled.ids()
    vectors = np.random.default_rng(0).random((8, 5))
    filled.set_columns(ids, {"embedding": vectors, "embedding_model": ["m"] * 8, "grid_tuf": np.arange(8)})
    filled.set_columns(["p-002"], {"grid_tuf": np.array([99.0])})
    table = filled.table(["embedding", "embedding_model", "grid_tuf"])
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), vectors, rtol=1e-6)
    assert table["grid_tuf"].to_pylist() == [0, 1, 99, 3, 4, 5, 6, 7]
    filled.add([make(9)])
    assert filled.table(["embedding", "grid_tuf"], "id = 'p-009'").to_pylist() == [
        {"embedding": None, "grid_tuf": None}
    ]
    assert len(list(filled.patches())) == 9


def test_vectors_of_another_length_begin_anew_with_what_describes_them(filled):
    filled.set_columns(filled.ids(), {"embedding": np.ones((8, 5)), "embedding_model": ["a"] * 8, "score": np.ones(8)})
    filled.set_columns(["p-000"], {"embedding": np.ones((1, 3)), "embedding_model": ["b"]})
    table = filled.table(["embedding", "embedding_model", "score"])
    assert table["embedding"].null_count == 7 and table["embedding"].type.list_size == 3
    assert table["embedding_model"].to_pylist() == ["b"] + [None] * 7
    assert table["score"].null_count == 0


def test_columns_that_cannot_be_set(filled):
    with pytest.raises(ArchiveError, match="describes the observation"):
        filled.set_columns(["p-000"], {"region": ["x"]})
    with pytest.raises(ArchiveError, match="no patch 'nobody'"):
        filled.set_columns(["nobody"], {"score": [1.0]})
    with pytest.raises(ValueError, match="2 values for 1 ids"):
        filled.set_columns(["p-000"], {"score": [1.0, 2.0]})
    with pytest.raises(ValueError, match="different from each other"):
        filled.set_columns(["p-000", "p-000"], {"score": [1.0, 2.0]})
    with pytest.raises(ValueError, match="identifier"):
        filled.set_columns(["p-000"], {"my score": [1.0]})
    with pytest.raises(ValueError, match="every value is None"):
        filled.set_columns(["p-000"], {"score": [None]})
    with pytest.raises(ValueError, match="column 'tuf' holds double"):
        filled.set_columns(["p-000"], {"score": [1.0], "tuf": ["word"]})
    assert "score" not in filled.columns, "all or nothing"


def test_a_new_parameter_can_be_measured_without_reading_files_again(filled, monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @parameter("peak_gauss", "G")
    def peak_gauss(fields, scale):
        """Largest absolute field."""
        return fields.abs().amax((1, 2))

    filled.measure()
    expected = [np.abs(p.field).max() for p in filled.patches()]
    assert filled.table(["peak_gauss"])["peak_gauss"].to_pylist() == pytest.approx(expected)


def test_prepared_patches_are_what_prepare_gives(filled):
    ids, x = filled.prepared("tiny")
    assert x.dtype == np.float32 and x.shape == (8, 32, 32)
    for patch_id, row in zip(ids, x, strict=True):
        np.testing.assert_allclose(row, prepare(filled.get(patch_id).field, TINY), atol=6e-4)


def test_prepared_patches_follow_the_archive(filled, monkeypatch):
    first = filled.prepared(TINY)[1]
    read = []
    original = Archive.patches
    monkeypatch.setattr(
        Archive, "patches", lambda self, where=None, ids=None: read.extend(ids) or original(self, where, ids)
    )
    filled.prepared(TINY)
    assert read == [], "unchanged: from the file"
    filled.set_columns(["p-000"], {"score": [1.0]})
    filled.prepared(TINY)
    assert read == [], "columns have no bearing on the fields"
    filled.add([make(20)])
    ids, second = filled.prepared(TINY)
    assert read == ["p-020"], "only what is new is resampled"
    assert ids[-1] == "p-020"
    np.testing.assert_array_equal(second[:8], first)
    read.clear()
    filled.prepared(replace(TINY, clip_gauss=500.0))
    assert len(read) == 9, "another clip is another result"
    assert len(list((filled.path / "prepared").glob("*.npy"))) == 2, "the stale file is gone"
    filled.clear_prepared()
    assert filled.prepared(TINY)[1].shape == (9, 32, 32)


def test_the_content_hash_knows_content_not_order(tmp_path):
    one, two = Archive.create(tmp_path / "one"), Archive.create(tmp_path / "two")
    one.add([make(k) for k in range(4)])
    two.add([make(k) for k in (2, 0)])
    assert one.content_hash() != two.content_hash()
    two.add([make(k) for k in (3, 1)])
    assert one.content_hash() == two.content_hash()
    two.set_columns(["p-000"], {"score": [1.0]})
    assert one.content_hash() == two.content_hash()


def test_info_is_ready_for_json(filled):
    found = filled.info()
    json.dumps(found)
    assert found["patches"] == 8 and found["regions"] == 4
    assert found["simulated"] == 8 and found["real"] == 0
    assert found["source"] == {"simulated": 8} and found["quantity"] == {"radial": 8}
    assert found["first"] == "2011-12-31T23:59:26+00:00"
    assert {"tuf", "psep", "r"} <= set(found["parameters"])
    assert found["bytes"] > 0 and found["embeddings"] == {}


def test_an_empty_archive_has_no_surprises(archive):
    assert len(archive) == 0 and archive.ids() == [] and list(archive.patches()) == []
    ids, x = archive.prepared(TINY)
    assert ids == [] and x.shape == (0, 32, 32)
    assert archive.info()["first"] is None
    assert archive.add([]) == AddReport(0, 0)
    archive.optimize()


def test_opening(tmp_path):
    place = tmp_path / "a b"
    with pytest.raises(ArchiveError, match="no archive at"):
        Archive.open(place)
    assert not place.exists(), "asking leaves nothing behind"
    archive = Archive.open_or_create(str(place))
    archive.add([make(0)])
    assert len(Archive.open_or_create(place)) == 1
    with pytest.raises(ArchiveError, match="already"):
        Archive.create(place)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArchiveError, match="is a file"):
        Archive.create(tmp_path / "file")
    assert len(pickle.loads(pickle.dumps(archive))) == 1


def test_one_handle_sees_what_another_commits(tmp_path):
    first = Archive.create(tmp_path / "a")
    second = Archive.open(tmp_path / "a")
    first.add([make(0)])
    assert second.ids() == ["p-000"]
    first.optimize()
    assert second.get("p-000").region == "R 0"


def test_the_patch_of_a_match_is_found_by_the_match_itself(filled):
    match = Match("p-002", "R 1", 0.5, 1)
    assert filled[match].id == filled["p-002"].id == "p-002"
    with pytest.raises(ArchiveError, match="p-999"):
        filled[replace(match, id="p-999")]
