"""Tasks that commit what they have read: also when they are done twice, and what they say of it."""

from __future__ import annotations

import threading
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from solquery.archive import Archive, locks, tables
from solquery.archive.records import row_of
from solquery.archive.store import AddReport
from solquery.archive.verify import verify
from solquery.archive.worker_commits import Run, begin, commit_rows, packed, tell
from solquery.patch import Patch

distributed = pytest.importorskip("distributed")


def row(patch_id, seed=0, file=None, shape=(8, 9)):
    field = np.random.default_rng(seed).normal(0, 150, shape).astype(np.float32)
    return row_of(Patch(field, (0.36, 0.36), patch_id, "R", "real", file=file or f"{patch_id}.fits"), [])


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "a")
    made.add_rows([row("old")])
    return made


def run_of(archive, version="now"):
    return Run(archive.uri, "run", archive._patches.version if version == "now" else version)


def test_a_task_that_is_done_again_reports_what_it_did_at_first(archive):
    run = run_of(archive)
    kept = [row("old"), row("a"), row("b"), row("b", file="copy.fits")]
    first = commit_rows(kept, [], run)
    assert (first.added, first.duplicates, first.failed) == (2, 2, None)
    assert commit_rows(kept, [], run) == first  # its worker was lost after the commit
    later = commit_rows(kept, [], run_of(archive))
    assert (later.added, later.duplicates) == (0, 4)
    # a frame that another task has brought from another file is a duplicate at each attempt
    other = [row("a", file="other.fits"), row("c")]
    assert [commit_rows(other, [], run)[:2] for _ in range(2)] == [(1, 1), (1, 1)]
    assert archive.ids() == ["a", "b", "c", "old"] and verify(archive) == []


def test_a_task_whose_archive_was_not_there_counts_all_that_it_wrote(tmp_path):
    run = Run(str(tmp_path / "new"), "run", None)
    assert [commit_rows([row("a"), row("b")], [], run)[:2] for _ in range(2)] == [(2, 0), (2, 0)]


def test_no_archive_is_made_for_no_rows(tmp_path):
    refused = [{"file": "x.fits", "reason": "is empty"}]
    done = commit_rows([], refused, Run(str(tmp_path / "new"), "run", None))
    assert (done.added, done.refused) == (0, refused) and not (tmp_path / "new").exists()


def test_other_pixels_are_refused_and_take_no_other_along(archive):
    done = commit_rows([row("old", seed=1), row("a")], [{"file": "x", "reason": "y"}], run_of(archive))
    assert (done.added, done.duplicates) == (1, 0)
    assert [entry["file"] for entry in done.refused] == ["x", "old.fits"]
    assert "other pixels under this id" in done.refused[1]["reason"]


def test_a_warning_of_a_worker_is_one_of_the_process_that_asked(archive):
    quick, best = "sharp-nrt-377-20110215T020000-Br", "sharp-377-20110215T020000-Br"
    commit_rows([row(quick)], [], run_of(archive))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = commit_rows([row(best)], [], run_of(archive))
    with pytest.warns(UserWarning, match=f"definitive frames replace near-real-time ones: {quick}"):
        tell(done.warned)
    assert archive.ids() == ["old", best]
    late = commit_rows([row(quick)], [], run_of(archive))
    assert late.added == 0 and "the definitive frame" in late.refused[0]["reason"]


def test_other_pixels_that_come_while_the_lock_is_awaited_are_refused(archive, monkeypatch):
    """The comparison and the commit are under one lock."""
    came, held = [], tables.committing(archive.uri)

    def add():
        try:
            came.append(Archive.open(archive.uri).add_rows([row("a", seed=2)]))
        except ValueError as error:
            came.append(str(error))

    with held:
        thread = threading.Thread(target=add)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        monkeypatch.setattr(tables, "committing", lambda uri: nullcontext(True))  # it is held here
        assert archive.add_rows([row("a")]) == AddReport(1, 0)
    thread.join()
    assert "other pixels under this id" in came[0]


def test_groups_are_packed_in_order_and_never_split():
    groups = [[Path(f"{k}-{j}") for j in range(n)] for k, n in enumerate((4, 4, 4, 4, 60, 64, 1))]
    files = [path for group in groups for path in group]
    for workers, largest in ((1, 64), (2, 64), (2, 8), (64, 64)):
        tasks = packed(groups, workers, largest)
        assert [path for task in tasks for path in task] == files
        ends = {sum(map(len, tasks[:k])) for k in range(len(tasks))}
        assert ends <= {sum(map(len, groups[:k])) for k in range(len(groups))}
    assert [len(task) for task in packed(groups, 2, 64)] == [16, 60, 64, 1]
    assert [len(task) for task in packed(groups[:4], 2, 64)] == [8, 8]
    assert packed([], 2, 64) == []


def client_of(processes=True, threads=1, kind="LocalCluster"):
    started = object.__new__(getattr(distributed, kind))
    started.processes, started.status = processes, distributed.Status.closed
    return SimpleNamespace(cluster=started, nthreads=lambda: {"a": 1, "b": threads})


def test_who_may_write(archive, tmp_path, monkeypatch):
    assert begin(client_of(), archive.uri, "x") == Run(archive.uri, "x", archive._patches.version)
    assert begin(client_of(), str(tmp_path / "new"), "x") == Run(str(tmp_path / "new"), "x", None)
    assert begin(client_of(processes=False), archive.uri, "x") is None
    assert begin(client_of(threads=2), archive.uri, "x") is None
    assert begin(SimpleNamespace(cluster=None), archive.uri, "x") is None  # a scheduler at an address
    assert begin(client_of(), "s3://bucket/archive", "x") is None
    monkeypatch.setattr(locks, "_of_one_kernel", lambda folder: False)
    assert begin(client_of(), archive.uri, "x") is None


@pytest.mark.parametrize("side", [8, 200], ids=["copied", "pieces"])
def test_fields_are_kept_as_they_are_and_old_tables_take_them(tmp_path, monkeypatch, side):
    kept = [row(f"p{k}", seed=k, shape=(side, side + 1)) for k in range(5)]
    new = Archive.create(tmp_path / "new")
    with monkeypatch.context() as then:
        plain = tables.FIELDS_SCHEMA.set(1, tables.FIELDS_SCHEMA.field("field").remove_metadata())
        then.setattr(tables, "FIELDS_SCHEMA", plain)
        old = Archive.create(tmp_path / "old")
        old.add_rows(kept[:2])
    for archive in (new, old):
        assert archive.add_rows(kept) == AddReport(5 if archive is new else 3, 0 if archive is new else 2)
        stored = archive._fields.search().to_arrow()
        assert dict(zip(stored["id"].to_pylist(), stored["field"].to_pylist(), strict=True)) == {
            about["id"]: data for about, data in kept
        }
        assert verify(archive) == []
    assert new._fields.schema.field("field").metadata == {b"lance-encoding:compression": b"none"}
