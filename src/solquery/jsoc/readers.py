"""What becomes of downloaded files: read, checked and measured here, or on a cluster a region at a time.

Both ways give the same outcomes, row for row. A task carries the bytes of its files along, so that workers need not see
this machine's disk; Dask gives a task whose worker was lost to another one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..aliases import Header
from ..archive import records
from ..errors import SolqueryError
from ..physics import parameters
from ..sharp.fits import UnreadableFits
from .frames import read_frame
from .selection import Record

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Alone", "Crew", "Outcome", "Reader", "read_rows"]

#: a task that fails by itself (not by a lost worker) is tried again so often
_RETRIES = 2
#: files and bytes in a task: Dask warns of tasks that carry ten megabytes
_FILES, _BYTES = 64, 6_000_000
#: tasks on their way for each thread of the workers, so that results do not pile up
_AHEAD = 2


class Outcome(NamedTuple):
    """What a file holds: a row with its encoded field, or the reason why there is none.

    One that is `damaged` can be downloaded again; another one would be the same each time.
    """

    record: Record
    pair: tuple[Header, bytes] | None
    reason: str = ""
    damaged: bool = False


class Reader(Protocol):
    """Takes files in, and gives outcomes when it has them."""

    def add(self, record: Record, path: Path) -> Sequence[Outcome]:
        """Take a file in; what has been finished meanwhile."""

    def rest(self) -> Sequence[Outcome]:
        """Everything that was taken in and not given back yet."""


def _outcome(record: Record, path: Path, names: list[str]) -> Outcome:
    try:
        patch = read_frame(path, record)
    except UnreadableFits as error:
        return Outcome(record, None, str(error), damaged=True)
    try:
        return Outcome(record, records.row_of(patch, names))
    except ValueError as error:
        return Outcome(record, None, str(error))


def read_rows(files: Iterable[tuple[Record, bytes]], names: Sequence[str]) -> list[Outcome]:
    """One task: the outcome of each file, of which only the content came along."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for record, content in files:
            path = Path(folder, record.file_name)
            path.write_bytes(content)
            out.append(_outcome(record, path, list(names)))
            path.unlink()
    return out


class Alone:
    """Reads in this process, at once."""

    def __init__(self) -> None:
        self._names = list(parameters())

    def add(self, record: Record, path: Path) -> Sequence[Outcome]:
        return [_outcome(record, path, self._names)]

    def rest(self) -> Sequence[Outcome]:
        return []


class Crew:
    """Reads on the workers of a cluster, a region at a time, while the next files are being downloaded."""

    def __init__(self, client: Client) -> None:
        self._client, self._names = client, list(parameters())
        self._group: list[tuple[Record, bytes]] = []
        self._bytes = 0
        self._pending: list[Future[Sequence[Outcome]]] = []

    def add(self, record: Record, path: Path) -> Sequence[Outcome]:
        size = os.path.getsize(path)
        full = len(self._group) == _FILES or self._bytes + size > _BYTES
        if self._group and (full or self._group[0][0].harp != record.harp):
            self._submit()
        self._group.append((record, path.read_bytes()))
        self._bytes += size
        return self._finished(_AHEAD * max(sum(self._client.nthreads().values()), 1) if self._pending else 0)

    def rest(self) -> Sequence[Outcome]:
        if self._group:
            self._submit()
        return self._finished(0)

    def _submit(self) -> None:
        group, self._group, self._bytes = self._group, [], 0
        self._pending.append(self._client.submit(read_rows, group, self._names, pure=False, retries=_RETRIES))

    def _finished(self, may_wait: int) -> list[Outcome]:
        """Outcomes of the tasks that are done, after waiting until at most so many are not."""
        from distributed import wait

        out: list[Outcome] = []
        while self._pending:
            done = [future for future in self._pending if future.done()]
            self._pending = [future for future in self._pending if future not in done]
            for future in done:
                try:
                    out += future.result()
                except Exception as error:  # whatever a worker raised, or that workers died of it
                    raise SolqueryError(
                        f"downloaded files could not be read by any worker "
                        f"({(str(error).splitlines() or [type(error).__name__])[0]}); they are kept, and the same "
                        "command without --workers and --dask goes on with them"
                    ) from error
            if len(self._pending) <= may_wait:
                break
            with self._client.as_current():  # another client of this process would wait in its own loop
                wait(self._pending, return_when="FIRST_COMPLETED")
        return out
