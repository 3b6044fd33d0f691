"""Reading and measuring on many processes or machines with Dask, a region or more at a time.

A task turns the files of one region into finished rows and fields. Dask gives a task whose worker was lost to another
one. Workers that `cluster` has started on this machine commit what they have made, one after another, where the archive
has a lock that keeps others out (`worker_commits`); elsewhere the process that asked commits regions as they arrive,
small ones together. So an archive made by many workers has the same rows and checksums as one made by a single process,
and an end at any moment costs only what had not been committed. Of a frame that two files hold, the one that comes
first is kept.
"""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..aliases import Document, Entries, Row
from ..errors import SolqueryError
from ..physics import parameters
from ..sharp.fits import UnreadableFits, read_sharp
from ..sharp.header import from_name
from . import records
from .guard import refuse_inside_workers, told_of_workers
from .store import Archive
from .tables import ArchiveError
from .worker_commits import Committed, Run, begin, commit_rows, packed, tell
from .writing import add_each

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DistributedReport", "by_region", "cluster", "each", "ingest_files", "rows_of_files"]

_Group = TypeVar("_Group", bound=Sequence[object])
_Result = TypeVar("_Result")

#: a task that fails by itself (not by a lost worker) is tried again so often
_RETRIES = 2
#: files in a task: a region with more is read in several
_FILES_IN_TASK = 64
#: rows in a commit, at least: a commit of one row takes as long as one of fifty
_ROWS_IN_COMMIT = 64
#: tasks on their way for each thread of the workers, so that results do not pile up
_AHEAD = 2
#: Dask has a worker give each freed array back to the system; to be given its pages anew takes longer than to decode it
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": 32 * 2**20, "MALLOC_TRIM_THRESHOLD_": 128 * 2**20}


class DistributedReport(NamedTuple):
    """What `ingest_files` did; `refused` names files with their reasons."""

    added: int
    duplicates: int
    refused: list[dict[str, str]]


def by_region(paths: Iterable[Path]) -> list[list[Path]]:
    """Files grouped by the region in their names; those without one by themselves."""
    groups: dict[int | str, list[Path]] = defaultdict(list)
    for path in paths:
        number = from_name(path.name).number
        groups[number if number is not None else str(path)].append(path)
    return [
        group[start : start + _FILES_IN_TASK]
        for group in groups.values()
        for start in range(0, len(group), _FILES_IN_TASK)
    ]


def rows_of_files(
    paths: Sequence[Path],
    names: Sequence[str],
    strict_quality: bool = True,
    base: str = "",
    stated: Entries | None = None,
) -> tuple[list[tuple[Row, bytes]], list[dict[str, str]]]:
    """One task: (row, encoded field) of each file that can be kept, and file and reason of each that is refused.

    Relative paths start at `base`, since a worker may run elsewhere; rows name files as they were given. `stated` are
    the other options of `read_sharp`.
    """
    kept, refused = [], []
    for path in paths:
        try:
            read = read_sharp(Path(base, path), strict_quality=strict_quality, **(stated or {}))
            patch = replace(read, file=str(path))
            kept.append(records.row_of(patch, list(names)))
        except (UnreadableFits, ValueError, ArithmeticError, MemoryError, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].replace(str(Path(base, path)), str(path))
            refused.append({"file": str(path), "reason": reason})
    return kept, refused


@contextmanager
def cluster(workers: int | None = None, scheduler: str | None = None) -> Iterator[Client]:
    """A Dask client: of the scheduler at an address, or of so many processes on this machine.

    Raises
    ------
    SolqueryError
        When Dask is missing, or the scheduler does not answer.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise SolqueryError('work on many processes needs Dask: pip install "solquery[dask]"') from None
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="20s")
        except (OSError, ValueError, TypeError) as error:
            raise SolqueryError(f"no Dask scheduler answers at {scheduler} ({error}); check the address") from None
        with client:
            yield client
        return
    import dask

    refuse_inside_workers()
    spawned = "distributed.nanny.pre-spawn-environ"
    with (
        dask.config.set({spawned: {**dask.config.get(spawned, {}), **_MEMORY}}),
        told_of_workers(),
        LocalCluster(n_workers=workers or 1, threads_per_worker=1, processes=True, dashboard_address=None) as local,
        Client(local, direct_to_workers=True) as client,
    ):
        yield client


def each(
    client: Client, task: Callable[..., _Result], groups: Iterable[_Group], *arguments: object
) -> Iterator[tuple[_Group, _Result]]:
    """Every group with what ``task(group, *arguments)`` makes of it on some worker, as they come.

    A few tasks for each thread are on their way at a time, so that neither they nor their results pile up.

    Raises
    ------
    SolqueryError
        When a task fails again and again, naming the first of its group.
    """
    from distributed import as_completed

    waiting = iter(groups)
    asked: dict[str, _Group] = {}

    def submit(count: int) -> list[Future[_Result]]:
        out = []
        for group in islice(waiting, count):
            future = client.submit(task, group, *arguments, pure=False, retries=_RETRIES)
            asked[str(future.key)] = group
            out.append(future)
        return out

    threads = max(sum(client.nthreads().values()), 1)
    # without its loop, futures that are computed again are waited for in that of another client of this process
    pending = as_completed(submit(_AHEAD * threads), loop=client.loop)
    for future in pending:
        group = asked.pop(str(future.key))
        try:
            made = future.result()
        except Exception as error:  # whatever a worker raised, or that workers died of it
            raise SolqueryError(
                f"{group[0]} and {len(group) - 1} others with it could not be done by any worker "
                f"({(str(error).splitlines() or [type(error).__name__])[0]}); what came before is in the archive"
            ) from error
        yield group, made
        for more in submit(1):
            pending.add(more)


def ingest_files(
    paths: Sequence[Path],
    archive: str,
    client: Client,
    strict_quality: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stated: Entries | None = None,
) -> DistributedReport:
    """Add the patches of many files to an archive, made if need be, read and measured by a cluster's workers.

    Parameters
    ----------
    paths
        Files that every worker can read under the same names.
    archive
        Directory or URI; the workers write to it where they were started on this machine, else this process does.
    client
        See `cluster`.
    strict_quality
        Refuse frames of bad QUALITY.
    progress
        Called with the number of files done and of all.
    stated
        Other options of `read_sharp`.

    Raises
    ------
    SolqueryError
        When a task fails again and again, naming one of its files, or the archive cannot be written.
    """
    groups = by_region(paths)
    store = Archive.open(archive) if Archive.exists(archive) else None
    added = duplicates = done = 0
    held: list[tuple[Document, bytes]] = []
    refused: list[dict[str, str]] = []
    told = (list(parameters()), strict_quality, os.getcwd(), dict(stated or {}))
    run = begin(client, archive, uuid.uuid4().hex)
    if run is not None:
        return _by_workers(packed(groups, len(client.nthreads()), _FILES_IN_TASK), run, client, told, progress)
    for group, (kept, bad) in each(client, rows_of_files, groups, *told):
        held += kept
        refused += bad
        done += len(group)
        if held and (len(held) >= _ROWS_IN_COMMIT or done == len(paths)):
            store = Archive.open_or_create(archive) if store is None else store
            report, kept_out = add_each(store.add_rows, held)
            refused += [{"file": str(row["file"]), "reason": str(reason)} for (row, _), reason in kept_out]
            added, duplicates, held = added + report.added, duplicates + report.duplicates, []
        progress(done, len(paths))
    return DistributedReport(added, duplicates, sorted(refused, key=lambda entry: entry["file"]))


def _files_to_archive(paths: Sequence[Path], run: Run, *told: Any) -> Committed:
    """One task of a worker that commits itself; see `rows_of_files` for `told`."""
    kept, refused = rows_of_files(paths, *told)
    return commit_rows(kept, refused, run)


def _by_workers(
    groups: list[list[Path]], run: Run, client: Client, told: tuple[object, ...], progress: Callable[[int, int], None]
) -> DistributedReport:
    """`ingest_files` by workers that commit."""
    added = duplicates = done = 0
    refused: list[dict[str, str]] = []
    total = sum(map(len, groups))
    for group, made in each(client, _files_to_archive, groups, run, *told):
        tell(made.warned)
        if made.failed is not None:
            raise ArchiveError(made.failed)
        added, duplicates, done = added + made.added, duplicates + made.duplicates, done + len(group)
        refused += made.refused
        progress(done, total)
    return DistributedReport(added, duplicates, sorted(refused, key=lambda entry: entry["file"]))
