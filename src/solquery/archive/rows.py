"""Rows of an archive by their place in Lance, at one version: for what is kept beside millions of rows.

A place is a number that Lance finds a row by. It holds for one version of the archive only, takes eight bytes where an
id takes thirty, and is found for a condition without reading any id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from .condition import condition, condition_fault

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["at_version", "places_of", "rows_with_places", "version_of"]

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
    query = archive._patches.search().select([_ROW])
    asked = condition(where, archive._patches.schema)
    if asked:
        query = query.where(asked)
    try:
        found = query.to_arrow()
    except (ValueError, RuntimeError, OSError) as error:
        raise condition_fault(where or "", error, archive._patches.schema) from None
    return np.sort(found[_ROW].to_numpy())


def rows_with_places(
    archive: Archive, columns: Sequence[str], where: str | None = None, size: int = 16384
) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Places (n,) uint64 and columns of rows, at most `size` at a time, in no order that is promised."""
    query = archive._patches.search().select(list(columns)).with_row_id(True)
    asked = condition(where, archive._patches.schema)
    if asked:
        query = query.where(asked)
    for batch in query.to_batches(size):
        yield batch.column(_ROW).to_numpy(), batch.select(list(columns))
