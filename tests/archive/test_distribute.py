"""Work on Dask gives the same archive as one process, also when a worker is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import warnings
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jsoc_stand_in import EMAIL
from small_sun import DAY, QUICK
from started import processes
from typer.testing import CliRunner

from solquery.archive.distribute import by_region, ingest_files, rows_of_files
from solquery.archive.store import Archive
from solquery.archive.tables import ArchiveError
from solquery.archive.verify import verify
from solquery.archive.worker_commits import begin
from solquery.cli.root import app
from solquery.config import get_preset
from solquery.encoder import build_encoder, embed_archive
from solquery.errors import SolqueryError
from solquery.jsoc.client import Jsoc
from solquery.jsoc.fetch import fetch
from solquery.jsoc.plan import FetchOptions
from solquery.jsoc.selection import Ask
from solquery.physics import parameters

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
# Dask leaves sockets to the collector when a worker goes
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def files(sun, tmp_path_factory):
    """The files of `sun` as a user has them, a damaged one, and one without a HARP in its name."""
    folder = tmp_path_factory.mktemp("files")
    for f in sun:
        path = folder / f"hmi.sharp_cea_720s.{f.harp}.{f.moment:%Y%m%d_%H%M%S}_TAI.Br.fits"
        path.write_bytes(f.file("fits"))
    (folder / "hmi.sharp_cea_720s.1401.20120309_000000_TAI.Br.fits").write_bytes(b"")
    (folder / "other.fits").write_bytes(sun[0].file("fits"))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def serial(files, tmp_path_factory):
    """An archive that one process has made."""
    place = tmp_path_factory.mktemp("serial") / "a"
    result = CliRunner().invoke(app, ["ingest", *map(str, files), "--archive", str(place)])
    assert result.exit_code == 0, result.stderr
    return Archive.open(place)


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processes()
        with (
            dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as local,
            distributed.Client(local) as made,
        ):
            yield made


def rows(archive):
    """All rows; of the frame that two files hold, whichever came first is kept, with what its name told."""
    found = archive.table().to_pylist()
    twice = next(row for row in found if row["id"] == "sharp-1401-20120306T000000-Br")
    told = json.loads(twice["keywords"])
    twice["file"], twice["series"] = None, None  # one of the two names says the series
    twice["keywords"] = {name: told[name] for name in told.keys() - {"SERIES", "NOTES"}}
    return found


def assert_alike(these, those):
    """The same rows; measured numbers to the last digits, which the threads of a process may round differently."""
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        assert this.keys() == that.keys()
        for name, value in this.items():
            if isinstance(value, float) and isinstance(that[name], float):
                assert value == pytest.approx(that[name], rel=1e-6, abs=1e-9, nan_ok=True), name
            else:
                assert value == that[name], name


def test_files_are_grouped_by_region(files):
    groups = by_region(files)
    assert sorted(len(group) for group in groups) == [1, 6, 6, 6, 6, 7]
    assert sorted(path for group in groups for path in group) == files


def test_one_task_keeps_and_refuses(files):
    kept, refused = rows_of_files(files[:7], list(parameters()))
    assert len(kept) == 6 and len(refused) == 1
    assert "is empty" in refused[0]["reason"] and refused[0]["file"].endswith("1401.20120309_000000_TAI.Br.fits")


def test_many_workers_make_the_archive_of_one(files, serial, client, tmp_path):
    scheduler = client.scheduler.address
    arguments = ["ingest", *map(str, files), "--archive", str(tmp_path / "a"), "--dask", scheduler, "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["added"], document["duplicates"], len(document["refused"])) == (30, 1, 1)
    archive = Archive.open(tmp_path / "a")
    assert archive.content_hash() == serial.content_hash()
    assert_alike(rows(archive), rows(serial))
    assert verify(archive) == []


def fetched(server, place, **more):
    """What a fetch of `server` brings, with faults that are the same each time."""
    server.broken = {server.frames[3].key: lambda content: b"", server.frames[8].key: lambda content: content[:5000]}
    return fetch(Ask(DAY, DAY + timedelta(days=3)), str(place), Jsoc(server.url, EMAIL, QUICK, seed=1), **more)


def test_a_fetch_on_workers_brings_the_rows_of_a_serial_one(jsoc, client, tmp_path):
    alone = fetched(jsoc, tmp_path / "alone", options=FetchOptions(export_batch=13))
    many = fetched(jsoc, tmp_path / "many", options=FetchOptions(export_batch=13), client=client)
    assert (many.fetched, many.failed) == (alone.fetched, alone.failed) and many.fetched == 28
    assert all(entry["reason"].endswith(", 3 times") for entry in many.failed)
    one, other = Archive.open(tmp_path / "alone"), Archive.open(tmp_path / "many")
    assert one.content_hash() == other.content_hash()
    assert_alike(other.table().to_pylist(), one.table().to_pylist())
    assert verify(other) == [] and not list((tmp_path / "many" / "fetch" / "files").iterdir())


def test_a_worker_lost_during_a_fetch_costs_only_its_task(jsoc, client, tmp_path):
    lost = []

    def kill_one(text, fraction):
        if not lost and jsoc.count("file") > 9:
            info = client.scheduler_info()["workers"]
            lost.append(client.run(os.getpid, workers=[next(iter(info))]))
            os.kill(next(iter(lost[0].values())), signal.SIGKILL)

    report = fetched(jsoc, tmp_path / "a", progress=kill_one, client=client)
    # 28 good ones, and two that are tried three times: nothing is downloaded again for a worker's sake
    assert lost and report.fetched == 28 and jsoc.count("file") == 34
    assert verify(Archive.open(tmp_path / "a")) == []


@pytest.mark.parametrize("place", ["this machine", "anywhere"])
def test_a_lost_worker_costs_only_its_task(files, serial, client, tmp_path, place):
    """Workers of this machine commit themselves; of a scheduler at an address nothing is known of its workers."""
    with closing(distributed.Client(client.scheduler.address)) as other:
        at = client if place == "this machine" else other
        assert (begin(at, str(tmp_path / "a"), "run") is not None) == (at is client)
        _lose_one(files, serial, at, tmp_path / "a")


def _lose_one(files, serial, client, place):
    client.wait_for_workers(2)  # of which the test before has ended one
    lost = []

    def kill_one(done, total):
        if not lost:
            info = client.scheduler_info()["workers"]
            lost.append(client.run(os.getpid, workers=[next(iter(info))]))
            os.kill(next(iter(lost[0].values())), signal.SIGKILL)
            time.sleep(0.1)

    report = ingest_files(files, str(place), client, progress=kill_one)
    assert lost and (report.added, report.duplicates) == (30, 1)
    assert Archive.open(place).content_hash() == serial.content_hash() and verify(Archive.open(place)) == []


def test_what_one_client_computes_is_not_waited_for_by_another(files, serial, jsoc, client, tmp_path, monkeypatch):
    """Of several clients in a process Dask takes the current one, whose loop is not that of the other's futures."""
    with closing(distributed.Client(client.scheduler.address)) as other:

        def asked(c=None):
            assert (c or distributed.Client.current(allow_global=False)) is other, "another client was asked"
            return other

        monkeypatch.setattr(distributed.client, "default_client", asked)
        report = ingest_files(files, str(tmp_path / "a"), other)
        assert Archive.open(tmp_path / "a").content_hash() == serial.content_hash() and report.added == 30
        assert fetched(jsoc, tmp_path / "b", options=FetchOptions(export_batch=13), client=other).fetched == 28


def test_workers_of_this_machine_make_the_archive_of_one(files, serial, client, tmp_path, monkeypatch):
    def refuse(store, pairs):
        raise AssertionError("this process has nothing to commit")

    monkeypatch.setattr(Archive, "add_rows", refuse)
    seen, place = [], str(tmp_path / "a")
    report = ingest_files(files, place, client, progress=lambda done, total: seen.append((done, total)))
    assert (report.added, report.duplicates) == (30, 1) and seen[-1] == (32, 32)
    assert [entry["file"] for entry in report.refused] == [str(path) for path in files if not path.stat().st_size]
    archive = Archive.open(place)
    assert_alike(rows(archive), rows(serial))
    assert archive.content_hash() == serial.content_hash() and verify(archive) == []
    again = ingest_files(files, place, client)
    assert (again.added, again.duplicates, again.refused) == (0, 31, report.refused)


def test_what_the_archive_does_not_take_is_said_as_by_one_process(files, client, tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(ArchiveError, match="is a file; an archive is a directory"):
        ingest_files(files, str(tmp_path / "a"), client)


def test_workers_embed_as_one_process_does(serial, client, tmp_path):
    torch.manual_seed(0)
    preset = get_preset("tiny")
    models = SimpleNamespace(preset=preset, encoder=build_encoder(preset.encoder).eval(), encoder_hash="tiny")
    alone = Archive.open(shutil.copytree(serial.path, tmp_path / "alone"))
    many = Archive.open(shutil.copytree(serial.path, tmp_path / "many"))
    embed_archive(alone, models)
    seen = []
    report = embed_archive(many, models, lambda done, total: seen.append((done, total)), client=client)
    assert (report.embedded, report.already) == (30, 0) and seen[-1] == (30, 30) and len(seen) >= 5
    one, other = alone.table(), many.table()
    assert one.column_names == other.column_names
    for name in one.column_names:
        if name == "embedding":
            vectors = [np.array(table[name].to_pylist()) for table in (one, other)]
            np.testing.assert_allclose(*vectors, atol=1e-5)
        elif name.startswith("grid_") and name != "grid_preset":
            np.testing.assert_allclose(*(t[name].to_numpy().astype(float) for t in (one, other)), rtol=1e-5)
        else:
            assert one[name].to_pylist() == other[name].to_pylist(), name
    assert embed_archive(many, models, client=client).embedded == 0


def test_a_scheduler_that_is_not_there_is_named(files, tmp_path, monkeypatch):
    from solquery.archive import distribute

    class Silent:
        def __init__(self, address, timeout):
            raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", Silent)
    with (
        pytest.raises(SolqueryError, match="no Dask scheduler answers at tcp"),
        distribute.cluster(scheduler="tcp://x:1"),
    ):
        pass
    result = CliRunner().invoke(
        app, ["ingest", str(files[0]), "--archive", str(tmp_path / "a"), "--dask", "tcp://x:1", "--workers", "2"]
    )
    assert result.exit_code == 2 and not (tmp_path / "a").exists()
