"""Writers at one archive at the same moment, with a lock that keeps the others out and without one."""

import fcntl
import os
import signal
import threading

import numpy as np
import pytest
from started import processes

from solquery.archive import Archive, locks
from solquery.archive.compact import compact
from solquery.archive.places import marks
from solquery.archive.store import AddReport
from solquery.archive.verify import verify
from solquery.patch import Patch


def patch(k, seed=None):
    field = np.random.default_rng(k if seed is None else seed).normal(0, 150, (8, 9)).astype(np.float32)
    return Patch(field, (0.36, 0.36), f"p{k:03d}", f"R {k // 2}", "simulated")


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "a")
    made.add([patch(k) for k in range(6)])
    return made


def no_locks(*some):
    raise OSError("no locks available")


def _add(job):
    uri, locked, seed = job
    if not locked:
        fcntl.flock = no_locks
    done = Archive.open(uri).add([patch(k, seed=100 * seed + k) for k in range(4, 24)], batch=2)
    return done.added, done.duplicates


@pytest.mark.parametrize("indexed", [False, True], ids=["", "index"])
@pytest.mark.parametrize("locked", [True, False], ids=["lock", "merge"])
def test_of_the_same_ids_with_other_fields_each_is_there_once(archive, locked, indexed):
    if indexed:  # Lance merges by an index without a look at what others insert meanwhile
        for table in (archive._patches, archive._fields):
            table.create_index("id", config=_btree(), replace=True)
    with processes().Pool(3) as pool:
        added = pool.map(_add, [(archive.uri, locked, seed) for seed in range(3)], chunksize=1)
    assert sum(new for new, _ in added) == 18 and all(new + old == 20 for new, old in added)
    assert archive.ids() == [f"p{k:03d}" for k in range(24)] and archive._fields.count_rows() == 24
    assert verify(archive) == []


def _btree():
    from lancedb.index import BTree

    return BTree()


def _stop_before_the_row(archive, monkeypatch):
    """A writer's commit that waits between field and row: its thread, and the events of its arrival and its leave."""
    here, on = threading.Event(), threading.Event()
    write = archive._writer._write_fields

    def stopped(*some):
        done = write(*some)
        here.set()
        assert on.wait(60)
        return done

    monkeypatch.setattr(archive._writer, "_write_fields", stopped)
    return here, on


@pytest.mark.parametrize("other", ["add", "compact", "remove", "columns"])
def test_who_comes_between_field_and_row_waits(archive, monkeypatch, other):
    here, on = _stop_before_the_row(archive, monkeypatch)
    second, said = Archive.open(archive.uri), []
    jobs = {
        "add": lambda: second.add([patch(9, seed=1)]),
        "compact": lambda: compact(second)["orphan_fields"],
        "remove": lambda: second.remove(["p000"]).removed,
        "columns": lambda: second.set_columns(["p001"], {"score": [1.0]}),
    }
    first = threading.Thread(target=lambda: said.append(archive.add([patch(9)])))
    then = threading.Thread(target=lambda: said.append(jobs[other]()))
    first.start()
    assert here.wait(60)
    then.start()
    then.join(0.5)
    waited = then.is_alive() and said == []
    on.set()
    first.join(60), then.join(60)
    assert waited
    answers = {"add": AddReport(0, 1), "compact": 0, "remove": ["p000"], "columns": None}
    assert AddReport(1, 0) in said and answers[other] in said and len(said) == 2
    np.testing.assert_allclose(archive.get("p009").field, patch(9).field, rtol=1e-3)
    assert verify(archive) == []


def _die_before_the_row(uri):
    archive = Archive.open(uri)
    write = archive._writer._write_fields

    def killed(*some):
        write(*some)
        os.kill(os.getpid(), signal.SIGKILL)

    archive._writer._write_fields = killed
    archive.add([patch(9, seed=1)])


def test_a_writer_that_is_killed_frees_the_lock(archive):
    process = processes().Process(target=_die_before_the_row, args=(archive.uri,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL and archive._fields.count_rows() == 7
    assert archive.add([patch(9)]) == AddReport(1, 0)
    np.testing.assert_allclose(archive.get("p009").field, patch(9).field, rtol=1e-3)
    assert verify(archive) == []


def test_where_there_are_no_locks_rows_are_merged(archive, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locks.held(archive.path) as alone:
        assert not alone
    assert archive.add([patch(5), patch(9)]) == AddReport(1, 1) and verify(archive) == []


@pytest.mark.parametrize(
    ("place", "kind", "alone"),
    [("/data", "xfs", True), ("/data", "nfs4", False), ("/data", "fuse.sshfs", False), ("/elsewhere", "xfs", False)],
)
def test_a_lock_counts_in_a_file_system_of_one_kernel(monkeypatch, place, kind, alone):
    lines = f"1 0 8:1 / / rw - nfs host:/ rw\n2 1 8:2 / {place} rw,relatime shared:1 - {kind} /dev/a rw\n"
    monkeypatch.setattr(locks.Path, "read_text", lambda path: lines)
    locks._of_one_kernel.cache_clear()
    try:
        assert locks._of_one_kernel(locks.Path("/data/a")) is alone
    finally:
        locks._of_one_kernel.cache_clear()


def test_ids_that_share_a_mark_are_told_apart(archive, monkeypatch):
    from solquery.archive import reading
    from solquery.archive import verify as checking

    archive.add([patch(k) for k in range(6, 150)])
    before = [p.id for p in archive.patches()]
    monkeypatch.setattr(reading, "marks", lambda ids: marks(ids) % 16)
    wanted = before[::-1] + before[:3]
    found = list(archive.patches(ids=wanted))
    assert [p.id for p in found] == wanted
    np.testing.assert_allclose(found[0].field, patch(149).field, rtol=1e-3)
    monkeypatch.setattr(checking, "marks", lambda ids: marks(ids) % 16)
    assert not [problem for problem in verify(archive) if "times" in problem.what]
