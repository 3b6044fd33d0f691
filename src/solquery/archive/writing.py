"""What goes into the two tables of an archive: rows with their fields, and columns that are filled in later.

The field is committed before its row. Two processes may add the same patch at the same moment, even with different
fields: the row that comes first counts, and its own field stays with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from ..patch import Patch
from ..physics import parameters
from . import records, tables

__all__ = ["AddReport", "Writer"]


class AddReport(NamedTuple):
    """What `Archive.add` did."""

    added: int
    duplicates: int


class Writer:
    """Writes into the table of metadata, `patches`, and the table of fields of one archive."""

    def __init__(self, patches: Any, fields: Any) -> None:
        self._patches, self._fields = patches, fields

    def add(self, patches: Iterable[Patch], batch: int) -> AddReport:
        """See `Archive.add`."""
        names = self.parameter_columns()
        added = duplicates = 0
        for some in _helpings(patches, batch):
            # asked of the table for each commit: a list of all ids would grow with the archive
            there = self._there(patch.id for patch in some)
            pairs: dict[str, tuple[dict[str, Any], bytes]] = {}
            for patch in some:
                if patch.id not in there and patch.id not in pairs:
                    pairs[patch.id] = records.row_of(patch, names)
            new = self.commit(list(pairs.values()))
            added, duplicates = added + new, duplicates + len(some) - new
        return AddReport(added, duplicates)

    def add_rows(self, pairs: Sequence[tuple[dict[str, Any], bytes]]) -> AddReport:
        """See `Archive.add_rows`."""
        self.parameter_columns()
        first: dict[str, tuple[dict[str, Any], bytes]] = {}
        for row, data in pairs:
            first.setdefault(row["id"], (row, data))
        new = self.commit(list(first.values()))
        return AddReport(new, len(pairs) - new)

    def parameter_columns(self) -> list[str]:
        """Names of all registered parameters, after making sure that each has its column.

        An archive of an earlier version lacks some columns of the metadata, too; there its rows hold null.
        """
        present = set(self._patches.schema.names)
        wanted = {**records.METADATA, **dict.fromkeys(parameters(), pa.float64())}
        new = [pa.field(name, kind) for name, kind in wanted.items() if name not in present]
        if new:
            self._patches.add_columns(new)
        return list(parameters())

    def commit(self, pairs: Sequence[tuple[dict[str, Any], bytes]]) -> int:
        """Add rows with their encoded fields, of ids that differ from each other; how many were new."""
        # what another process has added meanwhile keeps its own field
        there = self._there(row["id"] for row, _ in pairs)
        fresh = {row["id"]: (row, data) for row, data in pairs if row["id"] not in there}
        if not fresh:
            return 0
        displaced = self._write_fields({patch_id: data for patch_id, (_, data) in fresh.items()})
        rows = [row for row, _ in fresh.values()]
        present = self._patches.schema
        kinds = pa.schema([present.field(name) for name in rows[0]])
        table = pa.Table.from_pylist(rows, schema=kinds)
        # columns that are filled in later start as null
        result = self._patches.merge_insert("id").when_not_matched_insert_all().execute(table)
        if result.num_inserted_rows < len(rows) and displaced:
            self._give_back(displaced)
        return result.num_inserted_rows

    def set_columns(self, table: pa.Table) -> None:
        """Write a table of `id`, whose rows are there, and of columns; see `Archive.set_columns`."""
        there, columns = self._patches.schema, [name for name in table.column_names if name != "id"]
        known = [name for name in columns if name in there.names]
        if any(tables.vector_length(there.field(n).type) != tables.vector_length(table[n].type) for n in known):
            # a writer killed here leaves no row that claims an embedding it has lost
            begun = [name for name in known if name not in parameters()]
            self._patches.drop_columns(begun)
            known = [name for name in known if name not in begun]
        new = [pa.field(name, table[name].type) for name in columns if name not in known]
        if new:
            self._patches.add_columns(new)
        self._patches.merge_insert("id").when_matched_update_all().execute(table)

    def _there(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that have a row."""
        asked = list(dict.fromkeys(ids))
        if not asked:
            return set()
        found = self._patches.search().where(f"id IN ({tables.quoted(asked)})").select(["id"]).to_arrow()
        return set(found["id"].to_pylist())

    def _write_fields(self, data: Mapping[str, bytes]) -> dict[str, bytes]:
        """Write fields of ids without a row; the different ones that lay there before, by id.

        Such a one was left behind by a writer that was killed, or its row is just about to be written.
        """
        result = self._fields.merge_insert("id").when_not_matched_insert_all().execute(_fields(data))
        if result.num_inserted_rows == len(data):
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


def _fields(data: Mapping[str, bytes]) -> pa.Table:
    return pa.table({"id": list(data), "field": list(data.values())}, schema=tables.FIELDS_SCHEMA)


def _helpings(patches: Iterable[Patch], size: int) -> Iterator[list[Patch]]:
    source = iter(patches)
    while some := list(islice(source, size)):
        yield some
