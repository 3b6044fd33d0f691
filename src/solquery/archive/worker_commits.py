"""Workers on this machine that commit what they have read themselves, so that no field goes from process to process.

The lock of a local archive puts the commits one after another (`tables.committing`), as those of any processes that add
to one archive. A task that is done again, since its worker was lost after the commit, finds its own rows there; what it
reports is what a single attempt would have reported.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from ..aliases import Row
from . import locks, metadata, tables
from .rows import at_version, version_of
from .store import Archive
from .writing import add_each

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Committed", "Run", "begin", "commit_rows", "packed", "tell"]


class Run(NamedTuple):
    """What the tasks of one ingest share: the archive's full address, a name of the run, the version at its start."""

    archive: str
    name: str
    version: int | None


class Committed(NamedTuple):
    """What a task has done; `warned` are warnings with their category, `failed` says why the archive takes nothing."""

    added: int = 0
    duplicates: int = 0
    refused: Sequence[dict[str, str]] = ()
    warned: Sequence[tuple[str, type[Warning]]] = ()
    failed: str | None = None


def begin(client: Client, archive: str, name: str) -> Run | None:
    """The run that a client's workers can write by themselves; None where one process has to write.

    They are processes of one thread that this machine has started, and the archive is in a file system whose locks keep
    all others out.
    """
    from distributed import LocalCluster

    started = getattr(client, "cluster", None)
    folder = tables.local_path(archive)
    if not isinstance(started, LocalCluster) or not started.processes or folder is None:
        return None
    if set(client.nthreads().values()) != {1} or not locks.reliable(folder):
        return None
    version = version_of(Archive.open(archive)) if Archive.exists(archive) else None
    return Run(str(folder.absolute()), name, version)


def packed(groups: Sequence[list[Path]], workers: int, largest: int) -> list[list[Path]]:
    """Groups put together, in their order, into tasks of about `largest` files, or of what each worker has of a few.

    A commit takes 20 ms and 1 ms a row, while the other workers may wait for its lock: the fewer the better.
    """
    least = min(largest, -(-sum(map(len, groups)) // max(workers, 1)))
    out: list[list[Path]] = []
    for group in groups:
        if out and len(out[-1]) + len(group) <= least:
            out[-1] = out[-1] + group
        else:
            out.append(list(group))
    return out


def commit_rows(kept: Sequence[tuple[Row, bytes]], refused: Sequence[dict[str, str]], run: Run) -> Committed:
    """The end of a task: its rows committed, beside the files that were `refused` when they were read."""
    if not kept:
        return Committed(refused=refused)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            store = _store(run.archive, run.name)
            report, kept_out = add_each(store.add_rows, kept)
        except tables.ArchiveError as error:
            return Committed(failed=str(error))
    refused = [*refused, *({"file": str(row["file"]), "reason": str(reason)} for (row, _), reason in kept_out)]
    added = report.added
    if report.duplicates:
        added = max(added, _written(store, [row for row, _ in kept], run.version))
    warned = [(str(one.message), one.category) for one in caught]
    return Committed(added, report.added + report.duplicates - added, refused, warned)


def tell(warned: Iterable[tuple[str, type[Warning]]]) -> None:
    """What workers were warned of, as warnings of this process."""
    for text, category in warned:
        warnings.warn(text, category, stacklevel=3)


@lru_cache(maxsize=1)
def _store(archive: str, name: str) -> Archive:
    """The archive, opened once for a run: under the same address there may be another one at the next."""
    return Archive.open_or_create(archive)


def _written(store: Archive, rows: Sequence[Row], version: int | None) -> int:
    """How many of some rows were written since a version: their ids were not there, and are now with the same file."""
    among = f"id IN ({tables.quoted(dict.fromkeys(row['id'] for row in rows))})"
    old: set[str] = set()
    if version is not None:
        old = set(_columns(at_version(store, version), ["id"], among)["id"].to_pylist())
    now = _columns(store, ["id", "file"], among)
    ours = {(row["id"], row["file"]) for row in rows}
    there = set(zip(now["id"].to_pylist(), now["file"].to_pylist(), strict=True))
    return sum(1 for patch_id, file in there & ours if patch_id not in old)


def _columns(archive: Archive, names: Sequence[str], among: str) -> pa.Table:
    return metadata.read(archive._patches, archive.uri, names, among=among)
