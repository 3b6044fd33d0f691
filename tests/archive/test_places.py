"""Places that are full, read-only, or of another encoding: one line, no half file, no traceback."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from known_patch import field, header, write

import solquery
from solquery.archive import Archive, ArchiveError, cache
from solquery.archive.sink import Sink
from solquery.config import get_preset
from solquery.numba_cache import cache_folder
from solquery.sharp import read_sharp

PAPER = get_preset("paper")


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "a")
    made.add([read_sharp(write(tmp_path / "first.fits", field(), header()))])
    return made


def program(code, *words, read_only=(), **environment):
    """A program in a process of its own, with folders that nobody can write to, and ``LIMIT`` on the size of files."""
    first = """
import os, resource
limit = int(os.environ.get("LIMIT", "0"))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
"""
    command = [sys.executable, "-c", first + code, *map(str, words)]
    if read_only:
        mounts = "".join(f"mount --bind '{f}' '{f}' && mount -o remount,ro,bind '{f}' && " for f in read_only)
        command = ["unshare", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh", *command]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def mounts(tmp_path_factory):
    """Skips where this user may not mount a folder read-only."""
    folder = tmp_path_factory.mktemp("mounted")
    try:
        done = program("", read_only=[folder])
    except OSError:
        done = None
    if done is None or done.returncode != 0:
        pytest.skip("a folder can be mounted read-only by root alone")


VERB = "from solquery.cli import main\nmain()"


# ------------------------------------------------------------------- read-only


def test_numba_gets_a_folder_of_its_own_where_it_would_find_none(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert cache_folder() is None
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(tmp_path / "solquery-numba")))
    found = cache_folder(tmp_path / "package")
    assert found is not None and found.parent == tmp_path and found.stat().st_mode & 0o777 == 0o700
    found.chmod(0o777)
    other = cache_folder(tmp_path / "package")
    assert other != found, "a folder that anybody can write to would run anybody's code"
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    assert cache_folder() is None


def test_without_a_home_a_patch_can_be_measured(tmp_path, mounts):
    path = write(tmp_path / "a.fits", field())
    package = Path(solquery.__file__).parent
    code = """
import os, sys, solquery
patch = solquery.read_sharp(sys.argv[1])
print(float(solquery.measure(patch.field, patch.scale_mm, ["tuf"])["tuf"][0]), os.environ["NUMBA_CACHE_DIR"])
"""
    nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "TMPDIR": str(tmp_path)}
    done = program(code, path, read_only=[package], **nowhere)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    flux, cache_at = done.stdout.decode().split()
    assert float(flux) > 1e20 and Path(cache_at).parent == tmp_path


def test_a_read_only_archive_prepares_in_memory(archive, monkeypatch):
    expected = archive.prepared(PAPER)[1]
    archive.clear_prepared()

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    cache._unnamed.cache_clear()
    monkeypatch.setattr(Path, "mkdir", refuse)
    np.testing.assert_array_equal(archive.prepared(PAPER)[1], expected)
    np.testing.assert_array_equal(archive.prepared(PAPER)[1], expected)
    assert not (archive.path / "prepared").exists()


def test_a_read_only_archive_is_searched_and_refuses_to_grow_in_one_line(archive, tmp_path, mounts):
    first = tmp_path / "first.fits"
    second = write(tmp_path / "second.fits", field(seed=4), header(T_REC="2011.02.15_03:00:00_TAI"))
    call("archive", "embed", archive.uri)
    found = program(VERB, "search", "--archive", archive.uri, first, "--json", read_only=[archive.uri])
    assert found.returncode == 0, found.stderr.decode()[-2000:]
    assert json.loads(found.stdout)["matches"][0]["id"] == archive.ids()[0]
    done = program(VERB, "ingest", second, "--archive", archive.uri, read_only=[archive.uri])
    said = done.stderr.decode()
    assert done.returncode == 1 and "Traceback" not in said and "read-only" in said.splitlines()[-1], said[-2000:]
    new = program(VERB, "ingest", second, "--archive", tmp_path / "new", read_only=[tmp_path])
    said = new.stderr.decode()
    assert new.returncode == 1 and "Traceback" not in said and "ead-only" in said.splitlines()[-1], said[-2000:]
    assert not (tmp_path / "new").exists() and len(archive) == 1


# ------------------------------------------------------------------- full disks


def test_what_lance_cannot_write_is_one_line_and_the_archive_stays_whole(archive, tmp_path):
    big = np.random.default_rng(0).normal(0, 300, (400, 400)).astype(np.float32)
    path = write(tmp_path / "big.fits", big, header(T_REC="2011.02.15_04:00:00_TAI"))
    done = program(VERB, "ingest", path, "--archive", archive.uri, LIMIT="100000")
    said = done.stderr.decode()
    assert done.returncode == 1 and "Traceback" not in said and "cannot write to the archive" in said, said[-2000:]
    assert len(archive) == 1 and archive.ids() == ["sharp-377-20110215T020000-Br"]


@pytest.mark.parametrize("form", ["hdf5", "parquet", "fits"])
def test_an_export_that_does_not_fit_leaves_nothing_and_no_crash(archive, tmp_path, form):
    out = tmp_path / "out" / "x"
    done = program(VERB, "archive", "export", archive.uri, "--format", form, "--out", out, LIMIT="4000")
    said = done.stderr.decode()
    assert done.returncode == 1 and "Traceback" not in said, (done.returncode, said[-2000:])
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left == []


def test_prepared_patches_that_do_not_fit_are_no_bus_error(archive, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    archive.clear_prepared()
    with pytest.raises(OSError, match="No space left"):
        archive.prepared(PAPER)
    assert [path for path in archive.path.rglob("prepared/*") if path.is_file()] == []


class Fails(io.BytesIO):
    """A file on a disk with room for so many bytes."""

    room = 1000

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_sink_holds_a_failure_back_and_reads_what_was_written():
    sink = Sink(Fails())
    for k in range(3):
        sink.seek(400 * k)
        sink.write(bytes([65 + k]) * 400)
    sink.seek(350)
    assert sink.read(500) == b"A" * 50 + b"B" * 400 + b"C" * 50
    with pytest.raises(OSError, match="No space"):
        sink.check()
    with pytest.raises(OSError, match="No space"), Sink(Fails()) as other:
        other.write(bytes(2000))


def test_errors_of_lance_name_their_cause():
    from solquery.archive.tables import writing

    for text, words in (
        ("lance error: LanceError(IO): No space left on device (os error 28), /rust/src/io.rs:3:1", "disk is full"),
        ("LanceError(IO): Read-only file system (os error 30)", "read-only"),
        ("External error: Permission denied (os error 13)", "may not be written"),
    ):
        with pytest.raises(ArchiveError, match=words), writing("here"):
            raise RuntimeError(text)


# --------------------------------------------------------------------- terminals


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_a_terminal_of_another_encoding_is_shown_what_it_can(tmp_path, encoding):
    path = write(tmp_path / "a.fits", field())
    table = program(VERB, "params", path, "--noise", "10", PYTHONIOENCODING=encoding)
    assert table.returncode == 0 and b"tuf" in table.stdout, table.stderr.decode(encoding, "replace")[-2000:]
    odd = write(tmp_path / "\u2609\u6771.fits", field(), header(HARPNUM=None))
    told = program(VERB, "params", odd, "--json", PYTHONIOENCODING=encoding)
    assert json.loads(told.stdout.decode(encoding))["patches"][0]["file"].endswith("\u2609\u6771.fits")
