"""Columns of the metadata table of an archive, read under a condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from .condition import condition, condition_fault
from .tables import ArchiveError

if TYPE_CHECKING:
    from lancedb.query import LanceQueryBuilder
    from lancedb.table import Table

__all__ = ["count", "read", "read_batches"]


def read(
    patches: Table,
    uri: str,
    columns: Sequence[str],
    where: str | None = None,
    places: bool = False,
    among: str | None = None,
) -> pa.Table:
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
    among
        A condition of the program's own that holds as well, and that no error quotes.

    Raises
    ------
    ArchiveError
        When a column is unknown or the condition cannot be read.
    """
    query = _query(patches, columns, where, among)
    try:
        found = (query.with_row_id(True) if places else query).to_arrow()
    except (ValueError, RuntimeError, OSError) as error:
        raise _unreadable(error, patches, uri, where) from (None if where else error)
    return found.select([*dict.fromkeys(columns), *(["_rowid"] if places else [])])


def read_batches(
    patches: Table, uri: str, columns: Sequence[str], where: str | None = None, size: int = 16384
) -> Iterator[pa.RecordBatch]:
    """As `read`, at most `size` rows at a time, with the column ``_rowid``."""
    query = _query(patches, columns, where).with_row_id(True)
    try:
        yield from query.to_batches(size)
    except (ValueError, RuntimeError, OSError) as error:
        raise _unreadable(error, patches, uri, where) from (None if where else error)


def count(patches: Table, uri: str, where: str | None = None) -> int:
    """How many rows meet `where`; errors as in `read`."""
    asked = condition(where, patches.schema)
    try:
        return patches.count_rows(asked)
    except (ValueError, RuntimeError, OSError) as error:
        raise _unreadable(error, patches, uri, where) from (None if where else error)


def _query(patches: Table, columns: Sequence[str], where: str | None, among: str | None = None) -> LanceQueryBuilder:
    names = patches.schema.names
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise ArchiveError(f"the archive has no column {', '.join(unknown)}; it has: {', '.join(names)}")
    query = patches.search().select(list(dict.fromkeys(columns)))
    asked = [part for part in (condition(where, patches.schema), among) if part]
    return query.where(" AND ".join(asked)) if asked else query


def _unreadable(error: Exception, patches: Table, uri: str, where: str | None) -> ArchiveError:
    if not where:
        return ArchiveError(f"the archive at {uri} cannot be read: {str(error).splitlines()[0]}")
    return condition_fault(where, error, patches.schema)
