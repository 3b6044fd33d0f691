"""Several programs at one archive: none loses, and what cannot work says so."""

import multiprocessing
import os
import subprocess
import sys

import pytest
from known_patch import field, header, write
from started import processes

from solquery.archive import Archive, ArchiveError
from solquery.archive.guard import told_of_workers
from solquery.archive.verify import verify
from solquery.errors import SolqueryError
from solquery.sharp import read_sharp


def _ingest(job):
    uri, number = job
    from known_patch import field

    from solquery.archive import Archive
    from solquery.patch import Patch

    archive = Archive.open_or_create(uri)
    shared = Patch(field(), (0.4, 0.4), "shared", "HARP 1", "real")
    own = Patch(field(seed=number), (0.4, 0.4), f"own-{number}", f"HARP {number}", "real")
    return archive.add([shared, own]).added


def test_several_may_make_one_new_archive_at_once(tmp_path):
    uri = str(tmp_path / "new" / "archive")
    with processes().Pool(4) as pool:
        added = pool.map(_ingest, [(uri, k) for k in range(4)], chunksize=1)
    archive = Archive.open(uri)
    assert sum(added) == 5 and archive.ids() == ["own-0", "own-1", "own-2", "own-3", "shared"]
    assert verify(archive) == []


def test_the_loser_of_a_race_opens_what_the_winner_made(tmp_path, monkeypatch):
    Archive.create(tmp_path / "a")
    asked = iter([False, False, True])
    monkeypatch.setattr(Archive, "exists", classmethod(lambda cls, uri: next(asked, True)))
    assert len(Archive.open_or_create(tmp_path / "a")) == 0


FORKED = """
import multiprocessing, sys
from solquery.archive import Archive, ArchiveError
archive = Archive.open(sys.argv[1])
def look(how):
    try:
        return str(len(archive) if how == "open" else len(Archive.open(sys.argv[1])))
    except ArchiveError as error:
        return str(error)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for said in pool.map(look, ["open", "again"]):
            print(said)
"""

NO_GUARD = """
import sys
from solquery.archive.distribute import cluster
with cluster(1) as client:
    print(client.submit(len, "abc").result())
"""


def program(code, tmp_path, *words):
    script = tmp_path / "script.py"
    script.write_text(code)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *map(str, words)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_forked_worker_is_told_and_does_not_hang(tmp_path):
    Archive.create(tmp_path / "a").add([read_sharp(write(tmp_path / "a.fits", field(), header()))])
    done = program(FORKED, tmp_path, tmp_path / "a")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 2 and all("forked" in line and "forkserver" in line for line in lines)


def test_a_script_without_a_guard_is_told_what_is_missing(tmp_path):
    pytest.importorskip("distributed")
    done = program(NO_GUARD, tmp_path)
    assert done.returncode != 0 and "__main__" in done.stderr.strip().splitlines()[-1], done.stderr[-3000:]


def test_workers_that_die_are_an_error_with_advice(monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    from solquery.archive.guard import refuse_inside_workers

    with pytest.raises(SolqueryError, match="__main__"), told_of_workers():
        raise BrokenProcessPool("a child process terminated abruptly")
    with pytest.raises(SolqueryError, match="__main__"), told_of_workers():
        raise RuntimeError("An attempt has been made ... finished its bootstrapping phase.")
    with pytest.raises(RuntimeError, match="other"), told_of_workers():
        raise RuntimeError("other")
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SolqueryError, match="__main__"):
        refuse_inside_workers()


def test_an_archive_that_was_opened_before_a_fork_refuses_by_itself(tmp_path, monkeypatch):
    archive = Archive.create(tmp_path / "a")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    for use in (archive.ids, lambda: Archive.open(tmp_path / "a"), lambda: len(archive)):
        with pytest.raises(ArchiveError, match="forked"):
            use()
