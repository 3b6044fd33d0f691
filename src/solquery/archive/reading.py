"""Patches out of an archive: rows of metadata joined with their fields, a helping at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..aliases import Document, Row
from ..patch import Patch
from . import records
from .places import marks
from .tables import ArchiveError, quoted

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = ["READ_AHEAD", "Rows", "read_patches"]

#: how many fields are held in memory at a time when an archive is read through
READ_AHEAD = 64
#: and how many rows of metadata, some kilobytes each
ROWS_AHEAD = 1024
#: ids of a table that pass by together
_IDS_AHEAD = 16384


def read_patches(patches: Table, fields: Table, ids: pa.Array, uri: str) -> Iterator[Patch]:
    """The patches of `ids`, in their order.

    What is held of all of them is their ids and two row numbers; rows and fields come a helping at a time.

    Parameters
    ----------
    patches, fields
        Lance tables of the metadata and of the fields.
    ids
        Which; every one has a row.
    uri
        Where the archive is, for messages.

    Raises
    ------
    ArchiveError
        When a row or a field is missing, or a field has another size than its row says.
    """
    if not len(ids):
        return
    present = set(patches.schema.names)  # asked once: the table is opened for it
    columns = [name for name in records.METADATA if name in present]
    rows, data = Rows(patches, columns, ids), Rows(fields, ["id", "field"], ids)
    for start in range(0, len(ids), ROWS_AHEAD):
        about = rows.helping(start, ROWS_AHEAD)
        for at in range(start, min(start + ROWS_AHEAD, len(ids)), READ_AHEAD):
            here = ids.slice(at, min(READ_AHEAD, start + ROWS_AHEAD - at)).to_pylist()
            held = data.helping(at, len(here))
            for patch_id in here:
                yield _patch(about.get(patch_id), held.get(patch_id), patch_id, uri)


class Rows:
    """Rows of one table by id, a helping at a time; the table may change meanwhile."""

    def __init__(self, table: Table, columns: list[str], ids: pa.Array) -> None:
        self._table, self._columns, self._ids = table, columns, ids
        self._numbers: np.ndarray | None = None

    def helping(self, start: int, count: int) -> dict[str, Document]:
        """By id, the rows of `count` ids from place `start` on; those that are not there are left out."""
        wanted = self._ids.slice(start, count)
        if len(self._ids) <= READ_AHEAD:
            return self._named(wanted)
        if self._numbers is None:
            self._numbers = _row_numbers(self._table, self._ids)
        numbers = self._numbers[start : start + count]
        numbers = np.unique(numbers[numbers >= 0]).tolist()
        query = self._table.take_row_ids(numbers).select(self._columns) if numbers else None
        found = {} if query is None else {row["id"]: row for row in query.to_arrow().to_pylist()}
        if any(patch_id not in found for patch_id in wanted.to_pylist()):
            # the table was compacted or changed while it was being read, and rows have moved
            self._numbers = None
            return self._named(wanted)
        return found

    def _named(self, wanted: pa.Array) -> dict[str, Document]:
        if not len(wanted):
            return {}
        query = self._table.search().where(f"id IN ({quoted(wanted.to_pylist())})").select(self._columns)
        return {row["id"]: row for row in query.to_arrow().to_pylist()}


def _row_numbers(table: Table, ids: pa.Array) -> np.ndarray:
    """Lance's number of the row of every id, -1 where there is none; finding rows by number needs no scan."""
    here = marks(ids)
    order = np.argsort(here).astype(np.uint32 if len(here) < 2**32 else np.int64)
    known = here[order]
    del here
    numbers = np.full(len(known), -1)
    for batch in table.search().select(["id"]).with_row_id(True).to_batches(batch_size=_IDS_AHEAD):
        there = marks(batch["id"])
        at = np.minimum(np.searchsorted(known, there), len(known) - 1)
        same = known[at] == there
        numbers[at[same]] = batch["_rowid"].to_numpy()[same]
    # an id that is asked for again has the number of its first
    again = np.flatnonzero(known[1:] == known[:-1]) + 1
    numbers[again] = numbers[np.searchsorted(known, known[again])]
    known[order] = numbers  # in the room of the marks, which are not needed any more
    return known


def _patch(row: Row | None, field: Document | None, patch_id: str, uri: str) -> Patch:
    data = None if field is None else field["field"]
    if row is None or data is None or len(data) != 2 * row["ny"] * row["nx"]:
        what = "row" if row is None else "field"
        raise ArchiveError(f"the archive at {uri} is damaged: {patch_id} has no {what}; make a new archive")
    return records.patch_of(row, data)
