"""Patches out of an archive: rows of metadata joined with their fields, a helping at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..patch import Patch
from . import records
from .tables import ArchiveError, quoted

__all__ = ["READ_AHEAD", "read_patches"]

#: how many fields are held in memory at a time when an archive is read through
READ_AHEAD = 64


def read_patches(fields: Any, rows: pa.Table, uri: str) -> Iterator[Patch]:
    """The patches of `rows`, in their order, in bounded memory.

    Parameters
    ----------
    fields
        Lance table of the fields.
    rows
        Metadata, with the columns `records.METADATA`.
    uri
        Where the archive is, for messages.

    Raises
    ------
    ArchiveError
        When a field is missing or has another size than its row says.
    """
    if len(rows) <= READ_AHEAD:
        if len(rows):
            named = f"id IN ({quoted(rows['id'].to_pylist())})"
            data = _by_id(fields.search().where(named).select(["id", "field"]).to_arrow())
            yield from (_patch(row, data, uri) for row in rows.to_pylist())
        return
    place = _places(fields, rows["id"])
    for start in range(0, len(rows), READ_AHEAD):
        part = rows.slice(start, READ_AHEAD).to_pylist()
        data = _taken(fields, place[start : start + READ_AHEAD])
        if any(row["id"] not in data for row in part):
            # the table was compacted while it was being read, and rows have moved
            place = _places(fields, rows["id"])
            data = _taken(fields, place[start : start + READ_AHEAD])
        yield from (_patch(row, data, uri) for row in part)


def _by_id(found: pa.Table) -> dict[str, bytes]:
    return dict(zip(found["id"].to_pylist(), found["field"].to_pylist(), strict=True))


def _places(fields: Any, ids: pa.ChunkedArray) -> np.ndarray:
    """(N,) Lance's row number of the field of each id, -1 where there is none; no scan finds them later."""
    found = fields.search().select(["id"]).with_row_id(True).to_arrow()
    at = pc.index_in(ids, value_set=found["id"].combine_chunks())
    return pc.fill_null(found["_rowid"].take(at).cast(pa.int64()), -1).to_numpy()


def _taken(fields: Any, numbers: np.ndarray) -> dict[str, bytes]:
    known = np.unique(numbers[numbers >= 0]).tolist()
    return _by_id(fields.take_row_ids(known).select(["id", "field"]).to_arrow()) if known else {}


def _patch(row: dict[str, Any], data: dict[str, bytes], uri: str) -> Patch:
    if row["id"] not in data or len(data[row["id"]]) != 2 * row["ny"] * row["nx"]:
        raise ArchiveError(f"the archive at {uri} is damaged: {row['id']} has no field; make a new archive")
    return records.patch_of(row, data[row["id"]])
