"""Tidying up: merged fragments, no old versions, no fields without rows, no files of writers that were killed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from . import tables
from .cache import is_prepared_file

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["compact"]

_IDS_AT_A_TIME = 500


def compact(archive: Archive, keep: timedelta = timedelta(days=7)) -> dict[str, int | None]:
    """Merge what many commits have left, and remove what nothing refers to.

    Parameters
    ----------
    archive
        In an object store, and where several machines share a file system, it must not be written to meanwhile: a
        field that another process has just written looks as if it had no row. Elsewhere writers wait.
    keep
        Versions younger than that stay.

    Returns
    -------
    ``orphan_fields`` and ``files`` removed, ``bytes_before`` and ``bytes_after`` (None in an object store).
    """
    before = archive.size_bytes()
    with tables.writing(archive.uri), tables.committing(archive.uri):
        stored = archive._fields.search().select(["id"]).to_arrow()["id"]
        orphans = stored.filter(pc.invert(pc.is_in(stored, value_set=archive._ids()))).to_pylist()
        for start in range(0, len(orphans), _IDS_AT_A_TIME):
            archive._fields.delete(f"id IN ({tables.quoted(orphans[start : start + _IDS_AT_A_TIME])})")
    with tables.writing(archive.uri):
        for table in (archive._patches, archive._fields):
            table.optimize(cleanup_older_than=keep)
    files = 0
    if archive.path is not None:
        for path in [
            *archive.path.glob("prepared/*"),
            *archive.path.glob("prepared/.*"),
            *archive.path.glob("fetch/files/*.part"),
        ]:
            if path.is_file() and not is_prepared_file(path):
                path.unlink()
                files += 1
    return {"orphan_fields": len(orphans), "files": files, "bytes_before": before, "bytes_after": archive.size_bytes()}
