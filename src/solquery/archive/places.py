"""Ids as Arrow holds them, in a tenth of the room that Python's texts take, and where they are among others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .tables import ArchiveError

__all__ = ["marks", "places", "whole"]

_AT_A_TIME = 4096
#: values whose sorting takes memory that is worth giving back
_MANY = 10_000


def marks(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(N,) int64 that tells ids apart within this process, in 8 bytes each.

    Of a million ids any two share one in an archive of thirty million: whoever must be certain compares the texts.
    """
    out = np.empty(len(ids), np.int64)
    for start in range(0, len(ids), _AT_A_TIME):
        some = ids.slice(start, _AT_A_TIME).to_pylist()
        out[start : start + len(some)] = np.fromiter(map(hash, some), np.int64, len(some))
    return out


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    if len(column) > _MANY:
        # what its sorting took would stay with Arrow
        pa.default_memory_pool().release_unused()
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def places(asked: pa.Array, known: pa.Array, uri: str) -> pa.Array:
    """Where in `known` each of `asked` is.

    Raises
    ------
    ArchiveError
        Naming the first that is not, and the archive at `uri`.
    """
    found = _few(asked, known) if 64 * len(asked) < len(known) else pc.index_in(asked, value_set=known)
    if found.null_count:
        patch_id = asked.filter(pc.is_null(found))[0].as_py()
        raise ArchiveError(f"no patch {patch_id!r} in the archive at {uri}; `Archive.ids()` lists them")
    return found


def _few(asked: pa.Array, known: pa.Array) -> pa.Array:
    """Places of a few: the few are hashed, not the many."""
    rows = pc.indices_nonzero(pc.is_in(known, value_set=asked))
    return rows.take(pc.index_in(asked, value_set=known.take(rows))).cast(pa.int32())
