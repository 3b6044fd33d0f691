"""Taking patches out of an archive, and bringing an earlier version back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from . import tables
from .places import places, whole
from .tables import ArchiveError

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["RemoveReport", "remove", "restore"]

_IDS_AT_A_TIME = 500


class RemoveReport(NamedTuple):
    """Ids of the patches that were removed, and the version that still has them."""

    removed: list[str]
    version: int


def remove(archive: Archive, ids: Iterable[str] | None = None, where: str | None = None) -> RemoveReport:
    """See `Archive.remove`."""
    if (ids is None) == (where is None):
        raise ArchiveError("say which patches to remove: either their ids or a condition")
    if where == "":
        raise ArchiveError("a blank condition would remove everything; write 'true' if that is meant")
    if ids is not None:
        chosen = list(dict.fromkeys(ids))
        places(pa.array(chosen, pa.string()), archive._ids(), archive.uri)
    else:
        chosen = archive.ids(where)
    version = int(archive._patches.version)
    with tables.writing(archive.uri), tables.committing(archive.uri):
        # the row first: a field without a row is no patch, a row without a field would be damage
        for table in (archive._patches, archive._fields):
            for start in range(0, len(chosen), _IDS_AT_A_TIME):
                table.delete(f"id IN ({tables.quoted(chosen[start : start + _IDS_AT_A_TIME])})")
    return RemoveReport(chosen, version)


def restore(archive: Archive, version: int) -> int:
    """See `Archive.restore`."""
    there = [int(entry["version"]) for entry in archive._patches.list_versions()]
    if version not in there:
        raise ArchiveError(
            f"the archive at {archive.uri} has no version {version}; it has {min(there)} to {max(there)}"
        )
    with tables.writing(archive.uri), tables.committing(archive.uri):
        archive._patches.restore(version)
        archive._patches.checkout_latest()
        _bring_fields(archive)
    return len(archive)


def _bring_fields(archive: Archive) -> None:
    """Take the fields of rows that have none from the youngest version that has them."""
    known = whole(archive._fields.search().select(["id"]).to_arrow()["id"])
    ids = archive._ids()
    lacking = ids.filter(pc.invert(pc.is_in(ids, value_set=known))).to_pylist()
    if not lacking:
        return
    brought: set[str] = set()
    then = tables.open_tables(archive.uri)[2]
    for entry in sorted(then.list_versions(), key=lambda entry: -int(entry["version"])):
        then.checkout(int(entry["version"]))
        for start in range(0, len(lacking), _IDS_AT_A_TIME):
            asked = f"id IN ({tables.quoted(lacking[start : start + _IDS_AT_A_TIME])})"
            found = then.search().where(asked).select(["id", "field"]).to_arrow()
            if len(found):
                archive._fields.merge_insert("id").when_not_matched_insert_all().execute(found)
                brought |= set(found["id"].to_pylist())
        lacking = [patch_id for patch_id in lacking if patch_id not in brought]
        if not lacking:
            return
    raise ArchiveError(
        f"the fields of {len(lacking)} patches of that version are gone ({lacking[0]}, ...): "
        "the archive was compacted since"
    )
