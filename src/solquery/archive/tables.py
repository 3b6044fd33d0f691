"""The two Lance tables under an archive: where they are, how they are made, what goes into a column."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..aliases import Entries
from ..errors import SolqueryError
from ..lazy import without_spared
from . import locks, records

if TYPE_CHECKING:
    import lancedb
    from lancedb.db import DBConnection
    from lancedb.table import Table
    from numpy.typing import ArrayLike

__all__ = [
    "FIELDS_SCHEMA", "ArchiveError", "ArchiveExists", "as_column", "check_process", "columns_table", "committing",
    "create_tables", "local_path", "open_tables", "quoted", "reason", "table_exists", "vector_length", "writing",
]  # fmt: skip

PATCHES, FIELDS = "patches", "fields"
_CACHE_BYTES = 8 * 2**20
#: Lance's own compression (LZ4) makes noisy fields 8 % smaller, and costs half of the time of writing and of reading
_AS_IT_IS = {"lance-encoding:compression": "none"}
FIELDS_SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("field", pa.large_binary(), metadata=_AS_IT_IS)]
)


class ArchiveError(SolqueryError, ValueError):
    """An archive that is not there, a filter it does not understand, an id it does not have."""


class ArchiveExists(ArchiveError):
    """An archive that is there already where a new one was to be made."""


def local_path(uri: str) -> Path | None:
    """Directory of a local archive; None for object storage."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri).expanduser()


def _load_later(name: str) -> None:
    """Let a package be imported without its body, which runs when something of it but a submodule is used."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or spec.loader is None:
        return
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def load(attribute: str) -> object:
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__dict__["__getattr__"] = load
    sys.modules[name] = module


@lru_cache(maxsize=1)
def _lancedb() -> ModuleType:
    """The module `lancedb`, imported where an archive is opened: it takes longer to load than most verbs to run."""
    # the client of a catalogue server, which no archive has, is a third of that time
    _load_later("lance_namespace_urllib3_client")
    with without_spared():
        import lancedb

    return lancedb


@lru_cache(maxsize=1)
def _session() -> lancedb.Session:
    """What all archives of a process share; Lance's own limits for its caches are gigabytes."""
    lancedb = _lancedb()
    return lancedb.Session(index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES)


def _connect(uri: str | Path) -> tuple[str, DBConnection, list[str]]:
    """The address as Lance takes it, the connection, and the tables that are there."""
    path = local_path(str(uri))
    uri = str(uri) if path is None else str(path)
    if path is not None and path.exists() and not path.is_dir():
        raise ArchiveError(f"{uri} is a file; an archive is a directory: give another place")
    check_process()
    lancedb = _lancedb()
    if not _HOME_PROCESS:
        _HOME_PROCESS.append(os.getpid())
    # no interval: a handle sees at once what other processes have committed
    database = lancedb.connect(uri, read_consistency_interval=timedelta(0), session=_session())
    return uri, database, list(database.list_tables().tables)


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """What goes wrong while something is written, as one line: Lance raises RuntimeError for a full disk, and more.

    Raises
    ------
    ArchiveError
    """
    try:
        yield
    except SolqueryError:
        raise
    except (RuntimeError, OSError) as error:
        raise ArchiveError(f"cannot write to the archive at {uri}: {_cause(error)}") from error


_CAUSES = {
    "no space left": "the disk is full; make room and run the same command again",
    "os error 28": "the disk is full; make room and run the same command again",
    "disk quota": "the quota of the disk is used up; make room and run the same command again",
    "file too large": "a file would be larger than is allowed here; raise the limit (ulimit -f) and run it again",
    "read-only file system": "the place is read-only; copy the archive to one that can be written",
    "permission denied": "the place may not be written; check its permissions, or copy the archive",
    "os error 13": "the place may not be written; check its permissions, or copy the archive",
    "os error 30": "the place is read-only; copy the archive to one that can be written",
    "too many open files": "too many files are open; raise the limit (ulimit -n) and run it again",
}


def _cause(error: Exception) -> str:
    low = str(error).lower()
    for sign, words in _CAUSES.items():
        if sign in low:
            return words
    return reason(error)


def committing(uri: str) -> AbstractContextManager[bool]:
    """Hold the lock under which ids come and go; yields whether no other process can write any (`locks.held`).

    Of what is written at the same time only columns are filled in without it.
    """
    path = local_path(uri)
    return locks.held(None if path is None else path / f"{PATCHES}.lance")


_HOME_PROCESS: list[int] = []


def check_process() -> None:
    """Refuse to use Lance in a process that was forked from one that had used it: its threads are not there.

    Raises
    ------
    ArchiveError
    """
    if _HOME_PROCESS and _HOME_PROCESS[0] != os.getpid():
        raise ArchiveError(
            "this process was forked from one that had an archive open, and an archive does not survive a fork; start "
            "workers with multiprocessing.get_context('forkserver') or 'spawn', and open the archive in each"
        )


def table_exists(uri: str | Path) -> bool:
    """Whether there is an archive at `uri`; asking leaves nothing behind."""
    path = local_path(str(uri))
    if path is not None and not path.is_dir():
        return False
    return PATCHES in _connect(uri)[2]


def open_tables(uri: str | Path) -> tuple[str, Table, Table]:
    """Address, metadata table and table of fields of an archive that exists."""
    uri, database, _ = _connect(uri)
    try:
        with locks.held(local_path(uri), shared=True):
            return uri, database.open_table(PATCHES), database.open_table(FIELDS)
    except (ValueError, OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ArchiveError(f"the archive at {uri} is damaged ({first}); restore it, or make a new one") from error


def create_tables(uri: str | Path) -> tuple[str, Table, Table]:
    """Address, metadata table and table of fields of a new archive.

    Raises
    ------
    ArchiveExists
        When another process has made it meanwhile.
    """
    path = local_path(str(uri))
    if path is not None and path.exists() and not path.is_dir():
        raise ArchiveError(f"{uri} is a file; an archive is a directory: give another place")
    with writing(str(uri)):
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
        with locks.held(path):
            uri, database, present = _connect(uri)
            if PATCHES in present:
                raise ArchiveExists(f"there is an archive at {uri} already; open it, or choose another place")
            # a creation that was cut short leaves an empty table of fields, and nothing that counts
            fields = database.open_table(FIELDS) if FIELDS in present else _keyed(database, FIELDS, FIELDS_SCHEMA)
            return uri, _keyed(database, PATCHES, records.schema()), fields


def _keyed(database: DBConnection, name: str, schema: pa.Schema) -> Table:
    try:
        table = database.create_table(name, schema=schema)
        # lets Lance notice two writers that insert the same id at the same moment
        table.set_unenforced_primary_key("id")  # type: ignore[attr-defined]
    except (ValueError, RuntimeError):
        # in an object store nobody can be kept out: whoever came second takes what the first has made
        if name not in database.list_tables().tables:
            raise
        table = database.open_table(name)
    return table


def quoted(ids: Iterable[str]) -> str:
    """Texts as a list in SQL."""
    return ", ".join("'" + i.replace("'", "''") + "'" for i in ids)


def reason(error: Exception) -> str:
    """First sentence of what the query engine says, without its list of columns and its internals."""
    text = str(error).splitlines()[0].removeprefix("Invalid input, ").removeprefix("lance error: ")
    text = re.split(r",? ?\S*\.rs:\d+", text)[0]
    text = text.split(". Valid fields")[0].split(" (sql parser")[0].strip()
    return text if len(text) <= 200 else text[:200] + "..."


def vector_length(kind: pa.DataType) -> int:
    """Length of the vectors of a column; 0 where it holds single values."""
    return kind.list_size if pa.types.is_fixed_size_list(kind) else 0


def as_column(values: ArrayLike | pa.Array) -> pa.Array:
    """Column from numpy, torch, arrow or a list: (N,) as float64, int64, text or truth values, (N, D) as float32.

    NaN among single numbers becomes null, which no comparison in a filter meets; arrow arrays are taken as they are.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    array = np.asarray(values)
    if array.ndim == 2:
        flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), array.shape[1])
    if array.ndim != 1:
        raise ValueError(f"a column is (N,) or (N, D), got shape {array.shape}")
    if array.dtype.kind == "f":
        return pa.array(array.astype(np.float64), from_pandas=True)
    if array.dtype.kind in "iu":
        return pa.array(array.astype(np.int64))
    return pa.array(array.tolist())


def columns_table(ids: Sequence[str], columns: Entries, there: pa.Schema) -> pa.Table:
    """Table of `id` and the new `columns`, each of the type that its namesake has in `there`, if it has one.

    A vector column whose length differs from its namesake's keeps its own type.

    Raises
    ------
    ArchiveError
        For a column that belongs to the metadata.
    ValueError
        When lengths, names or types do not fit, naming the column.
    """
    if len(set(ids)) != len(ids):
        raise ValueError("ids must be different from each other")
    key = pa.schema([pa.field("id", pa.string(), nullable=False)])
    table = pa.table({"id": pa.array(ids, pa.string())}, schema=key)
    for name, values in columns.items():
        if name in records.METADATA:
            raise ArchiveError(f"column {name!r} describes the observation and cannot be set")
        if not name.isidentifier() or name != name.lower():
            raise ValueError(f"a column's name is a lower-case identifier such as 'embedding', got {name!r}")
        array = as_column(values)
        if len(array) != len(ids):
            raise ValueError(f"column {name!r} has {len(array)} values for {len(ids)} ids")
        old = there.field(name).type if name in there.names else None
        if old is None and pa.types.is_null(array.type) and ids:
            raise ValueError(f"column {name!r} is new and every value is None: nothing tells what it will hold")
        if old is not None and vector_length(old) == vector_length(array.type):
            try:
                array = array.cast(old)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise ValueError(f"column {name!r} holds {old}: {str(error).splitlines()[0]}") from None
        table = table.append_column(name, array)
    return table
