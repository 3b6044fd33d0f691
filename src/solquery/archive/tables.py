"""The two Lance tables under an archive: where they are, how they are made, what goes into a column."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import SolqueryError
from . import records

if TYPE_CHECKING:
    import lancedb

__all__ = [
    "FIELDS_SCHEMA",
    "ArchiveError",
    "as_column",
    "columns_table",
    "count",
    "create_tables",
    "local_path",
    "open_tables",
    "quoted",
    "read",
    "read_batches",
    "reason",
    "table_exists",
    "vector_length",
]

PATCHES, FIELDS = "patches", "fields"
_CACHE_BYTES = 64 * 2**20
FIELDS_SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("field", pa.large_binary())])


class ArchiveError(SolqueryError, ValueError):
    """An archive that is not there, a filter it does not understand, an id it does not have."""


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

    def load(attribute: str) -> Any:
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__dict__["__getattr__"] = load
    sys.modules[name] = module


@lru_cache(maxsize=1)
def _lancedb() -> Any:
    """The module `lancedb`, imported where an archive is opened: it takes longer to load than most verbs to run."""
    # the client of a catalogue server, which no archive has, is a third of that time
    _load_later("lance_namespace_urllib3_client")
    import lancedb

    return lancedb


@lru_cache(maxsize=1)
def _session() -> lancedb.Session:
    """What all archives of a process share; Lance's own limits for its caches are gigabytes."""
    lancedb = _lancedb()
    return lancedb.Session(index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES)


def _connect(uri: str | Path) -> tuple[str, Any, list[str]]:
    """The address as Lance takes it, the connection, and the tables that are there."""
    path = local_path(str(uri))
    uri = str(uri) if path is None else str(path)
    if path is not None and path.exists() and not path.is_dir():
        raise ArchiveError(f"{uri} is a file; an archive is a directory: give another place")
    # no interval: a handle sees at once what other processes have committed
    database = _lancedb().connect(uri, read_consistency_interval=timedelta(0), session=_session())
    return uri, database, list(database.list_tables().tables)


def table_exists(uri: str | Path) -> bool:
    """Whether there is an archive at `uri`; asking leaves nothing behind."""
    path = local_path(str(uri))
    if path is not None and not path.is_dir():
        return False
    return PATCHES in _connect(uri)[2]


def open_tables(uri: str | Path) -> tuple[str, Any, Any]:
    """Address, metadata table and table of fields of an archive that exists."""
    uri, database, _ = _connect(uri)
    try:
        return uri, database.open_table(PATCHES), database.open_table(FIELDS)
    except (ValueError, OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ArchiveError(f"the archive at {uri} is damaged ({first}); restore it, or make a new one") from error


def create_tables(uri: str | Path) -> tuple[str, Any, Any]:
    """Address, metadata table and table of fields of a new archive."""
    uri, database, present = _connect(uri)
    # a creation that was cut short leaves an empty table of fields, and nothing that counts
    fields = database.open_table(FIELDS) if FIELDS in present else _keyed(database, FIELDS, FIELDS_SCHEMA)
    return uri, _keyed(database, PATCHES, records.schema()), fields


def _keyed(database: Any, name: str, schema: pa.Schema) -> Any:
    table = database.create_table(name, schema=schema)
    # lets Lance notice two writers that insert the same id at the same moment
    table.set_unenforced_primary_key("id")
    return table


def read(patches: Any, uri: str, columns: Sequence[str], where: str | None = None, places: bool = False) -> pa.Table:
    """Columns of the metadata table, in the order in which Lance keeps the rows.

    Parameters
    ----------
    patches, uri
        The table, and where the archive is.
    columns
        Which; the table that comes back has them and no other, but for `places`.
    where
        SQL condition as in `Archive.table`.
    places
        Add the column ``_rowid``, by which Lance finds a row at this version.

    Raises
    ------
    ArchiveError
        When a column is unknown or the condition cannot be read.
    """
    query = _query(patches, columns, where)
    try:
        found = (query.with_row_id(True) if places else query).to_arrow()
    except (ValueError, RuntimeError, OSError) as error:
        raise _unreadable(error, patches, uri, where) from (None if where else error)
    return found.select([*dict.fromkeys(columns), *(["_rowid"] if places else [])])


def read_batches(
    patches: Any, uri: str, columns: Sequence[str], where: str | None = None, size: int = 16384
) -> Iterator[pa.RecordBatch]:
    """As `read`, at most `size` rows at a time, with the column ``_rowid``."""
    query = _query(patches, columns, where).with_row_id(True)
    try:
        yield from query.to_batches(size)
    except (ValueError, RuntimeError, OSError) as error:
        raise _unreadable(error, patches, uri, where) from (None if where else error)


def count(patches: Any, uri: str, where: str | None = None) -> int:
    """How many rows meet `where`; errors as in `read`."""
    try:
        return patches.count_rows(where or None)
    except (ValueError, RuntimeError, OSError) as error:
        raise _unreadable(error, patches, uri, where) from (None if where else error)


def _query(patches: Any, columns: Sequence[str], where: str | None) -> Any:
    names = patches.schema.names
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise ArchiveError(f"the archive has no column {', '.join(unknown)}; it has: {', '.join(names)}")
    query = patches.search().select(list(dict.fromkeys(columns)))
    return query.where(where) if where else query


def _unreadable(error: Exception, patches: Any, uri: str, where: str | None) -> ArchiveError:
    if not where:
        return ArchiveError(f"the archive at {uri} cannot be read: {str(error).splitlines()[0]}")
    columns = ", ".join(patches.schema.names)
    return ArchiveError(f"cannot filter by {where!r}: {reason(error)}; the columns are: {columns}")


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


def as_column(values: Any) -> pa.Array:
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


def columns_table(ids: Sequence[str], columns: Mapping[str, Any], there: pa.Schema) -> pa.Table:
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
