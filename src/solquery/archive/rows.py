"""Rows of an archive by their place in Lance, at one version: for what is kept beside millions of rows.

A place is a number that Lance finds a row by. It holds for one version of the archive only, takes eight bytes where an
id takes thirty, and is found for a condition without reading any id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..aliases import Row
from . import metadata

if TYPE_CHECKING:
    from .store import Archive

__all__ = [
    "RowReader", "at_version", "in_lance", "places_of", "rows_at", "rows_with_places", "table_with_places",
    "version_of",
]  # fmt: skip

_ROW = "_rowid"
#: of numbers that are held of an archive for its rows
_HELD_BYTES = 64 * 2**20


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


class RowReader:
    """Rows of the version that is open now, in whole, a few at a time.

    Lance takes 0.15 ms for each column of ten rows, and 1 ms for one of 50,000: from the second time on the numbers of
    an archive that is not too large are held, and only texts are read.

    Parameters
    ----------
    archive, columns
        Of what, and which.
    """

    def __init__(self, archive: Archive, columns: Sequence[str]) -> None:
        schema = archive._patches.schema
        self._archive, self._columns = archive, list(columns)
        self._numbers = [name for name in columns if pa.types.is_primitive(schema.field(name).type)]
        self._texts = ["id", *(name for name in columns if name not in ("id", *self._numbers))]
        self._holds = 8 * len(self._numbers) * len(archive) <= _HELD_BYTES
        self._asked = 0

    @cached_property
    def _held(self) -> tuple[np.ndarray, pa.Table]:
        """Places (N,), ascending, and the numbers of all rows."""
        places, table = table_with_places(self._archive, self._numbers)
        assert places is not None  # it is in Lance
        order = np.argsort(places)
        return places[order], table.combine_chunks().take(order)

    def rows(self, named: Mapping[str, int]) -> dict[str, Row]:
        """By id, the rows of some ids with their places; those that have moved are missing."""
        self._asked += 1
        held = self._holds and self._asked > 1
        found = rows_at(self._archive, list(named.values()), self._texts if held else self._columns)
        if not held or not found:
            return {row["id"]: row for row in found if row["id"] in named}
        places, table = self._held
        found = [row for row in found if row["id"] in named]
        numbers = table.take(np.searchsorted(places, [named[row["id"]] for row in found])).to_pylist()
        whole = [row | more for row, more in zip(found, numbers, strict=True)]
        return {row["id"]: {name: row[name] for name in self._columns} for row in whole}


def in_lance(archive: Archive) -> bool:
    """Whether the rows of an archive have places: not where another object stands in for one."""
    return hasattr(archive, "_patches")
