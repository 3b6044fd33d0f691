"""What goes into the two tables of an archive: rows with their fields, and columns that are filled in later.

The field is committed before its row. Two processes may add the same patch at the same moment, even with different
fields: the row that comes first counts, and its own field stays with it. Where a lock keeps all others out, ids are
compared and new rows appended under it. Elsewhere rows are merged by id, for which Lance holds the ids of the whole
table in memory, and notices at the commit that another has inserted one of them meanwhile.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Row
from ..patch import Patch
from ..physics import parameters
from ..sharp.identity import definitive_of, near_real_time_of
from . import records, tables
from .guard import told_of_workers

if TYPE_CHECKING:
    from lancedb.table import Table


__all__ = ["AddReport", "Writer", "add_each"]

_Item = TypeVar("_Item")
#: ids of a table that pass by together
_IDS_AHEAD = 65536
#: bytes of a field that cost more to copy than to be a piece of a column by itself
_LARGE = 32768


class AddReport(NamedTuple):
    """What `Archive.add` did."""

    added: int
    duplicates: int


class Writer:
    """Writes into the table of metadata, `patches`, and the table of fields of one archive."""

    def __init__(self, patches: Table, fields: Table, uri: str = "") -> None:
        self._patches, self._fields, self._uri = patches, fields, uri

    def add(self, patches: Iterable[Patch], batch: int) -> AddReport:
        """See `Archive.add`."""
        names = self.parameter_columns()
        added = duplicates = 0
        for some in _helpings(patches, batch):
            # asked of the table for each commit: a list of all ids would grow with the archive
            there = self._there(patch.id for patch in some)
            same = self._checksums(patch.id for patch in some if patch.id in there and patch.source == "real")
            pairs: dict[str, tuple[Row, bytes]] = {}
            for patch in some:
                if patch.id in same:
                    _refuse_other_pixels(patch.id, records.field_checksum(patch.field), same[patch.id])
                elif patch.id not in there and patch.id in pairs and patch.source == "real":
                    _refuse_other_pixels(patch.id, records.field_checksum(patch.field), pairs[patch.id][0]["checksum"])
                elif patch.id not in there and patch.id not in pairs:
                    pairs[patch.id] = records.row_of(patch, names)
            new = self.commit(list(pairs.values()))
            added, duplicates = added + new, duplicates + len(some) - new
        return AddReport(added, duplicates)

    def add_rows(self, pairs: Sequence[tuple[Row, bytes]]) -> AddReport:
        """See `Archive.add_rows`."""
        self.parameter_columns()
        first: dict[str, tuple[Row, bytes]] = {}
        for row, data in pairs:
            first.setdefault(row["id"], (row, data))
        real = [row for row, _ in pairs if row["source"] == "real"]
        # under the lock, or another process might write other pixels between the comparison and the commit
        with tables.writing(self._uri), tables.committing(self._uri) as alone:
            there = self._there(_around(first))
            same = self._checksums(row["id"] for row in real if row["id"] in there)
            for row in real:
                _refuse_other_pixels(row["id"], row["checksum"], same.get(row["id"]) or first[row["id"]][0]["checksum"])
            new = self._commit(first.values(), there, alone)
        return AddReport(new, len(pairs) - new)

    def parameter_columns(self) -> list[str]:
        """Names of all registered parameters, after making sure that each has its column.

        An archive of an earlier version lacks some columns of the metadata, too; there its rows hold null.
        """
        present = set(self._patches.schema.names)
        wanted = {**records.METADATA, **dict.fromkeys(parameters(), pa.float64())}
        new = [pa.field(name, kind) for name, kind in wanted.items() if name not in present]
        if new:
            # an append fails when columns come in between
            with tables.writing(self._uri), tables.committing(self._uri):
                try:
                    self._patches.add_columns(new)
                except (ValueError, RuntimeError):
                    # another process may have added them at the same moment
                    self._patches.checkout_latest()
                    if any(name not in self._patches.schema.names for name in wanted):
                        raise
        return list(parameters())

    def commit(self, pairs: Sequence[tuple[Row, bytes]]) -> int:
        """Add rows with their encoded fields, of ids that differ from each other; how many were new.

        Raises
        ------
        ArchiveError
            When the disk is full, or the place may not be written; what was committed before stays.
        ValueError
            For a near-real-time frame whose definitive one is there.
        """
        with tables.writing(self._uri), tables.committing(self._uri) as alone:
            # what another process has added meanwhile keeps its own field
            return self._commit(pairs, self._there(_around(row["id"] for row, _ in pairs)), alone)

    def _commit(self, pairs: Iterable[tuple[Row, bytes]], there: set[str], alone: bool) -> int:
        """Add rows of which none is `there`, among the ids `_around` theirs that have a row; how many were new."""
        fresh = {row["id"]: (row, data) for row, data in pairs if row["id"] not in there}
        if not fresh:
            return 0
        _refuse_superseded(fresh, there)
        displaced = self._write_fields({patch_id: data for patch_id, (_, data) in fresh.items()}, alone)
        rows = [row for row, _ in fresh.values()]
        present = self._patches.schema
        kinds = pa.schema([present.field(name) for name in rows[0]])
        table = pa.Table.from_pylist(rows, schema=kinds)
        # columns that are filled in later start as null
        inserted = _insert(self._patches, table, alone)
        if inserted < len(rows) and displaced:
            self._give_back(displaced)
        quick = {old for patch_id in fresh if (old := near_real_time_of(patch_id))}
        self._replace_near_real_time(quick & there if alone else self._there(quick))
        return inserted

    def _replace_near_real_time(self, quick: Iterable[str]) -> None:
        """Remove the near-real-time frames of definitive ones that have just been written, and say so."""
        replaced = sorted(quick)
        if not replaced:
            return
        for table in (self._patches, self._fields):
            table.delete(f"id IN ({tables.quoted(replaced)})")
        more = f" and {len(replaced) - 3} more" if len(replaced) > 3 else ""
        warnings.warn(
            f"definitive frames replace near-real-time ones: {', '.join(replaced[:3])}{more}", UserWarning, stacklevel=2
        )

    def _checksums(self, ids: Iterable[str]) -> dict[str, str]:
        """Checksum of the field of those of `ids` that have a row."""
        asked = list(dict.fromkeys(ids))
        if not asked:
            return {}
        found = self._patches.search().where(f"id IN ({tables.quoted(asked)})").select(["id", "checksum"]).to_arrow()
        return dict(zip(found["id"].to_pylist(), found["checksum"].to_pylist(), strict=True))

    def set_columns(self, table: pa.Table) -> None:
        """Write a table of `id`, whose rows are there, and of columns; see `Archive.set_columns`."""
        there, columns = self._patches.schema, [name for name in table.column_names if name != "id"]
        known = [name for name in columns if name in there.names]
        if any(tables.vector_length(there.field(n).type) != tables.vector_length(table[n].type) for n in known):
            # a writer killed here leaves no row that claims an embedding it has lost
            begun = [name for name in known if name not in parameters()]
            with tables.writing(self._uri), tables.committing(self._uri):
                self._patches.drop_columns(begun)
            known = [name for name in known if name not in begun]
        new = [pa.field(name, table[name].type) for name in columns if name not in known]
        with tables.writing(self._uri):
            if new:
                with tables.committing(self._uri):
                    self._patches.add_columns(new)
            self._patches.merge_insert("id").when_matched_update_all().execute(table)

    def _there(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that have a row."""
        return _present(self._patches, ids)

    def _write_fields(self, data: Mapping[str, bytes], alone: bool) -> dict[str, bytes]:
        """Write fields of ids without a row; the different ones that lay there before, by id.

        Such a one was left behind by a writer that was killed, or its row is just about to be written.
        """
        left = _present(self._fields, data) if alone else set()
        new = {patch_id: field for patch_id, field in data.items() if patch_id not in left}
        if new and _insert(self._fields, _fields(new), alone) == len(data):
            return {}
        query = self._fields.search().where(f"id IN ({tables.quoted(data)})").select(["id", "field"])
        found = query.to_arrow()
        stored = dict(zip(found["id"].to_pylist(), found["field"].to_pylist(), strict=True))
        other = {patch_id: old for patch_id, old in stored.items() if old != data[patch_id]}
        taken = self._there(other)
        other = {patch_id: old for patch_id, old in other.items() if patch_id not in taken}
        if other:
            table = _fields({patch_id: data[patch_id] for patch_id in other})
            self._fields.merge_insert("id").when_matched_update_all().execute(table)
        return other

    def _give_back(self, displaced: Mapping[str, bytes]) -> None:
        """Where another process wrote its row first, its field comes back."""
        query = self._patches.search().where(f"id IN ({tables.quoted(displaced)})")
        for row in query.select(["id", "checksum", "ny", "nx"]).to_list():
            old = displaced[row["id"]]
            if records.checksum(old, (row["ny"], row["nx"])) == row["checksum"]:
                self._fields.merge_insert("id").when_matched_update_all().execute(_fields({row["id"]: old}))


def add_each(
    add: Callable[[Sequence[_Item]], AddReport], items: Sequence[_Item]
) -> tuple[AddReport, list[tuple[_Item, ValueError]]]:
    """All of some patches or rows added at once, and those refused with the reason; these do not take the others along.

    Parameters
    ----------
    add
        `Archive.add` or `Archive.add_rows`.
    items
        What it takes.

    Raises
    ------
    ArchiveError
        Of a full disk, or a place that may not be written: the other patches will do no better.
    """
    try:
        return add(items), []
    except tables.ArchiveError:
        raise
    except ValueError:
        pass
    done, refused = AddReport(0, 0), []
    for item in items:
        try:
            report = add([item])
        except tables.ArchiveError:
            raise
        except ValueError as error:
            refused.append((item, error))
        else:
            done = AddReport(done.added + report.added, done.duplicates + report.duplicates)
    return done, refused


def _present(table: Table, ids: Iterable[str]) -> set[str]:
    """Those of `ids` that a table has.

    Its ids pass by a helping at a time: a condition that names the ids is copied by Lance for each of its files.
    """
    asked, found = pa.array(list(dict.fromkeys(ids)), pa.string()), set()
    for batch in table.search().select(["id"]).to_batches(batch_size=_IDS_AHEAD) if len(asked) else ():
        found.update(batch["id"].filter(pc.is_in(batch["id"], value_set=asked)).to_pylist())
    return found


def _insert(table: Table, rows: pa.Table, alone: bool) -> int:
    """Write those of some rows whose ids a table has not; how many.

    Parameters
    ----------
    alone
        No other process can write ids now, and none of these is there.
    """
    if alone:
        table.add(rows)
        return len(rows)
    # an index of the ids would do away with the notice that Lance takes of another's insertion
    result = table.merge_insert("id").use_index(False).when_not_matched_insert_all().execute(rows)
    return int(result.num_inserted_rows)


def _refuse_other_pixels(patch_id: str, new: str, old: str) -> None:
    if new != old:
        raise ValueError(
            f"patch {patch_id}: the archive has other pixels under this id; if the new ones are right, remove the old: "
            f"solquery archive remove ARCHIVE {patch_id}"
        )


def _around(ids: Iterable[str]) -> Iterator[str]:
    """Ids, and those of the definitive or near-real-time frames that would stand in their way."""
    for patch_id in ids:
        yield patch_id
        yield from filter(None, (definitive_of(patch_id), near_real_time_of(patch_id)))


def _refuse_superseded(ids: Iterable[str], there: set[str]) -> None:
    """Refuse near-real-time frames whose definitive one is there or comes in the same commit."""
    arriving = set(ids)
    better = {definitive: patch_id for patch_id in arriving if (definitive := definitive_of(patch_id))}
    for definitive in better:
        if definitive in there or definitive in arriving:
            raise ValueError(f"patch {better[definitive]}: the definitive frame {definitive} is there already")


def _fields(data: Mapping[str, bytes]) -> pa.Table:
    """Rows of the table of fields; large fields are not copied, each is a piece of the column by itself."""
    values: list[bytes] | pa.ChunkedArray = list(data.values())
    if sum(map(len, values)) > _LARGE * len(values):
        values = pa.chunked_array([_piece(value) for value in values], pa.large_binary())
    return pa.table({"id": list(data), "field": values}, schema=tables.FIELDS_SCHEMA)


def _piece(value: bytes) -> pa.Array:
    ends = pa.py_buffer(np.array([0, len(value)], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(value)])


def _helpings(patches: Iterable[Patch], size: int) -> Iterator[list[Patch]]:
    source = iter(patches)
    with told_of_workers():
        while some := list(islice(source, size)):
            yield some
