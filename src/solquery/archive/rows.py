"""Rows of an archive by their place in Lance, at one version: for what is kept beside millions of rows.

A place is a number that Lance finds a row by. It holds for one version of the archive only, takes eight bytes where an
id takes thirty, and is found for a condition without reading any id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..aliases import Row
from . import metadata

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["at_version", "in_lance", "places_of", "rows_at", "rows_with_places", "table_with_places", "version_of"]

_ROW = "_rowid"


def version_of(archive: Archive) -> int:
    """The version that the archive's table of patches has now; every commit, of whomever, counts it up."""
    return int(archive._patches.version)


def at_version(archive: Archive, version: int) -> Archive:
    """The archive as it was at a version, read from only, whatever is written meanwhile."""
    then = type(archive).open(archive.uri)
    then._patches.checkout(version)
    return then


def places_of(archive: Archive, where: str | None = None) -> np.ndarray:
    """(N,) uint64, ascending: places of the rows that meet a condition.

    Raises
    ------
    ArchiveError
        For a condition that cannot be read.
    """
    found = metadata.read(archive._patches, archive.uri, [], where, places=True)
    return np.sort(found[_ROW].to_numpy())


def rows_with_places(
    archive: Archive, columns: Sequence[str], where: str | None = None, size: int = 16384
) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Places (n,) uint64 and columns of rows, at most `size` at a time, in no order that is promised."""
    for batch in metadata.read_batches(archive._patches, archive.uri, columns, where, size):
        yield batch.column(_ROW).to_numpy(), batch.select(list(columns))


def table_with_places(
    archive: Archive, columns: Sequence[str], where: str | None = None
) -> tuple[np.ndarray | None, pa.Table]:
    """Places (N,) and columns of rows, in no order that is promised; no places of an archive that is not in Lance."""
    if not in_lance(archive):
        return None, archive.table(columns=columns, where=where)
    found = metadata.read(archive._patches, archive.uri, columns, where, places=True)
    return found[_ROW].to_numpy(), found.select(list(columns))


def rows_at(archive: Archive, places: Sequence[int], columns: Sequence[str]) -> list[Row]:
    """Rows at some places of the version that is open, in no order that is promised; those that have moved are missing.

    Found without reading any other row.
    """
    if not len(places):
        return []
    query = archive._patches.take_row_ids([int(place) for place in places]).select(list(columns))
    return query.to_arrow().to_pylist()


def in_lance(archive: Archive) -> bool:
    """Whether the rows of an archive have places: not where another object stands in for one."""
    return hasattr(archive, "_patches")
