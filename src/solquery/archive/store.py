"""The archive: patches, metadata, parameters and embeddings in Lance, in a directory or an object store.

Two Lance tables that share the key `id`. ``patches`` has everything but the field and is small; ``fields`` has the
fields, is written once and only ever appended to. They are apart because filling in a column (an embedding, a new
parameter) rewrites the rows it touches, which must not drag gigabytes of images along. A patch exists once its row is
in ``patches``; its field is committed before that row, so whatever stops a writer, readers see whole patches only.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..config import Preset, get_preset
from ..patch import Patch
from ..physics import get_parameter, parameters
from . import batches as batching
from . import cache, reading, records, summary, tables
from .tables import ArchiveError

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["AddReport", "Archive", "ArchiveError"]


class AddReport(NamedTuple):
    """What `Archive.add` did."""

    added: int
    duplicates: int


class Archive:
    """Patches that can be filtered, read and searched; made by `open`, `create` or `open_or_create`.

    An archive may be used from several processes at once; each sees what the others have committed.

    Examples
    --------
    >>> import tempfile
    >>> from solquery.archive import Archive, simulate_region
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     archive = Archive.create(folder + "/archive")
    ...     print(archive.add(simulate_region(seed=1, index=0, frames=2)), len(archive))
    AddReport(added=2, duplicates=0) 2
    """

    def __init__(self, uri: str, patches: Any, fields: Any) -> None:
        self.uri = uri
        self.path = tables.local_path(uri)
        self._patches = patches
        self._fields = fields
        self._hash: tuple[int, str] | None = None

    def __repr__(self) -> str:
        return f"Archive({self.uri!r}, {len(self)} patches)"

    def __len__(self) -> int:
        return self._patches.count_rows()

    def __reduce__(self) -> tuple[Any, ...]:
        # worker processes open their own connection
        return Archive.open, (self.uri,)

    # ------------------------------------------------------------------ open

    @classmethod
    def exists(cls, uri: str | Path) -> bool:
        """Whether there is an archive at `uri`."""
        return tables.table_exists(uri)

    @classmethod
    def open(cls, uri: str | Path) -> Archive:
        """Open an archive.

        Parameters
        ----------
        uri
            Directory, or the address of an object store that Lance knows (``s3://bucket/archive``).

        Raises
        ------
        ArchiveError
            When there is none, or it cannot be read.
        """
        if not cls.exists(uri):
            raise ArchiveError(
                f"no archive at {uri}; make one with `solquery simulate`, `solquery ingest`, or Archive.create"
            )
        return cls(*tables.open_tables(uri))

    @classmethod
    def create(cls, uri: str | Path) -> Archive:
        """Make an empty archive.

        Raises
        ------
        ArchiveError
            When there is one already.
        """
        if cls.exists(uri):
            raise ArchiveError(f"there is an archive at {uri} already; open it, or choose another place")
        return cls(*tables.create_tables(uri))

    @classmethod
    def open_or_create(cls, uri: str | Path) -> Archive:
        """Open the archive at `uri`, or make it."""
        return cls.open(uri) if cls.exists(uri) else cls.create(uri)

    # ----------------------------------------------------------------- write

    def add(self, patches: Iterable[Patch], batch: int = 64) -> AddReport:
        """Add patches; measure every registered parameter at native scale on the way.

        Each `batch` is one commit: it is in the archive as a whole or not at all. A patch whose id is in the archive
        already is a duplicate and is not written again, so that a broken-off call can simply be repeated.

        Parameters
        ----------
        patches
            Any iterable; consumed as it goes, `batch` patches are held in memory.
        batch
            Patches in a commit.

        Returns
        -------
        AddReport
            Number of patches added, and of those that were there already.

        Raises
        ------
        ValueError
            For a patch that cannot be kept, naming it; batches before it stay.
        """
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        names = self._parameter_columns()
        seen = set(self.ids())
        added = duplicates = 0
        rows: list[dict[str, Any]] = []
        data: list[bytes] = []
        for patch in patches:
            if patch.id in seen:
                duplicates += 1
                continue
            row, encoded = records.row_of(patch, names)
            seen.add(patch.id)
            rows.append(row)
            data.append(encoded)
            if len(rows) == batch:
                new = self._commit(rows, data)
                added, duplicates = added + new, duplicates + len(rows) - new
                rows, data = [], []
        if rows:
            new = self._commit(rows, data)
            added, duplicates = added + new, duplicates + len(rows) - new
        return AddReport(added, duplicates)

    def add_rows(self, pairs: Sequence[tuple[dict[str, Any], bytes]]) -> AddReport:
        """Add finished rows with their encoded fields, as `records.row_of` makes them, in one commit.

        For rows that were made elsewhere, by workers of a cluster; an id that is there already, or comes twice, counts
        as a duplicate.
        """
        self._parameter_columns()
        first: dict[str, tuple[dict[str, Any], bytes]] = {}
        for row, data in pairs:
            first.setdefault(row["id"], (row, data))
        new = self._commit([row for row, _ in first.values()], [data for _, data in first.values()]) if first else 0
        return AddReport(new, len(pairs) - new)

    def _parameter_columns(self) -> list[str]:
        """Names of all registered parameters, after making sure that each has its column.

        An archive of an earlier version lacks some columns of the metadata, too; there its rows hold null.
        """
        present = set(self._patches.schema.names)
        wanted = {**records.METADATA, **dict.fromkeys(parameters(), pa.float64())}
        new = [pa.field(name, kind) for name, kind in wanted.items() if name not in present]
        if new:
            self._patches.add_columns(new)
        return list(parameters())

    def _commit(self, rows: list[dict[str, Any]], data: list[bytes]) -> int:
        # what another process has added meanwhile keeps its own field
        there = set(self.ids(f"id IN ({tables.quoted(row['id'] for row in rows)})"))
        fresh = [k for k, row in enumerate(rows) if row["id"] not in there]
        if not fresh:
            return 0
        rows, data = [rows[k] for k in fresh], [data[k] for k in fresh]
        fields = pa.table({"id": [row["id"] for row in rows], "field": data}, schema=tables.FIELDS_SCHEMA)
        # an id whose row was never written may have left its field behind: the one that comes with the row counts
        self._fields.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(fields)
        present = self._patches.schema
        kinds = pa.schema([present.field(name) for name in rows[0]])
        table = pa.Table.from_pylist(rows, schema=kinds)
        # columns that are filled in later start as null
        result = self._patches.merge_insert("id").when_not_matched_insert_all().execute(table)
        return result.num_inserted_rows

    def set_columns(self, ids: Sequence[str], columns: Mapping[str, Any]) -> None:
        """Write columns such as ``embedding`` for some patches; the other patches keep what they have, or null.

        All values are written in one commit.

        Parameters
        ----------
        ids
            Patches, in the order of the arrays; each once.
        columns
            Name to array: (N,) numbers (NaN becomes null), texts or truth values, or (N, D) numbers, kept as float32.
            A vector column whose length D changes is begun anew, since vectors of two lengths cannot be compared, and
            with it the columns written together with it, since they describe it.

        Raises
        ------
        ArchiveError
            For an id that is not in the archive, or a column that belongs to the metadata.
        ValueError
            When lengths differ, a name is no lower-case identifier, or values do not fit the column's type.
        """
        ids, there = list(ids), self._patches.schema
        table = tables.columns_table(ids, columns, there)
        if not ids or not columns:
            return
        self._check_known(ids, self.ids())
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

    def measure(self, names: Iterable[str] | None = None) -> None:
        """Measure parameters at native scale for every patch, as after registering a new one.

        Parameters
        ----------
        names
            Which; None for those that some patch has no column for yet.
        """
        if names is None:
            names = [name for name in parameters() if name not in self._patches.schema.names]
        names = [get_parameter(name).name for name in names]
        if not names:
            return
        self._parameter_columns()
        ids, values = [], {name: list[Any]() for name in names}
        for patch in self.patches():
            ids.append(patch.id)
            for name, value in records.parameter_values(patch.field, patch.scale_mm, names).items():
                values[name].append(value)
        self.set_columns(ids, {name: pa.array(column, pa.float64()) for name, column in values.items()})

    def optimize(self) -> None:
        """Merge the small files that many commits leave, and drop versions older than a week."""
        for table in (self._patches, self._fields):
            table.optimize(cleanup_older_than=timedelta(days=7))

    # ------------------------------------------------------------------ read

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `table`."""
        return list(self._patches.schema.names)

    def table(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Metadata and parameters, without the fields, sorted by id.

        Parameters
        ----------
        columns
            Which columns; None for all.
        where
            SQL condition on the columns, e.g. ``"source = 'real' AND tuf > 1e22 AND abs(latitude_deg) < 20"``,
            ``"array_has(noaa, 11158)"``, ``"t_utc >= timestamp '2011-02-15 00:00:00'"``.

        Raises
        ------
        ArchiveError
            When a column is unknown or the condition cannot be read.
        """
        names = self._patches.schema.names
        wanted = names if columns is None else list(columns)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ArchiveError(f"the archive has no column {', '.join(unknown)}; it has: {', '.join(names)}")
        query = self._patches.search().select(list(dict.fromkeys(["id", *wanted])))
        if where:
            query = query.where(where)
        try:
            found = query.to_arrow()
        except (ValueError, RuntimeError, OSError) as error:
            if not where:
                raise ArchiveError(f"the archive at {self.uri} cannot be read: {str(error).splitlines()[0]}") from error
            raise ArchiveError(
                f"cannot filter by {where!r}: {tables.reason(error)}; the columns are: {', '.join(names)}"
            ) from None
        return found.sort_by("id").select(wanted)

    def ids(self, where: str | None = None) -> list[str]:
        """Ids in order, of all patches or of those that meet `where`."""
        return self.table(["id"], where)["id"].to_pylist()

    def _check_known(self, asked: Iterable[str], known: Iterable[str]) -> None:
        known = set(known)
        for patch_id in asked:
            if patch_id not in known:
                raise ArchiveError(f"no patch {patch_id!r} in the archive at {self.uri}; `Archive.ids()` lists them")

    def _rows(self, where: str | None, ids: Iterable[str] | None) -> pa.Table:
        """Metadata of the patches that meet `where` and are among `ids`, in the order of `ids`, else sorted."""
        rows = self.table([name for name in records.METADATA if name in self._patches.schema.names], where)
        if ids is None:
            return rows
        asked = list(ids)
        if where is None:
            self._check_known(asked, rows["id"].to_pylist())
        else:
            self._check_known(asked, self.ids())
        place = pc.index_in(pa.array(asked, pa.string()), value_set=rows["id"].combine_chunks())
        return rows.take(pc.drop_null(place))

    def patches(self, where: str | None = None, ids: Iterable[str] | None = None) -> Iterator[Patch]:
        """Patches one by one, sorted by id, or in the order of `ids`; see `table` for `where`.

        Raises
        ------
        ArchiveError
            For an unknown id or a filter that cannot be read; at once, before the first patch.
        """
        return reading.read_patches(self._fields, self._rows(where, ids), self.uri)

    def batches(
        self,
        preset: Preset | str,
        size: int = 64,
        where: str | None = None,
        seed: int | None = None,
        drop_last: bool = False,
    ) -> Iterator[batching.Batch]:
        """Prepared patches as tensors (N, 1, H, W), `size` at a time, shuffled by `seed`; see `batches.batches`."""
        return batching.batches(self, preset, size, where, seed, drop_last)

    def maps(self, where: str | None = None, ids: Iterable[str] | None = None) -> Iterator[GenericMap]:
        """Patches as sunpy Maps, one by one, in the order of `patches`.

        Raises
        ------
        ImportError
            When sunpy is missing: ``pip install "solquery[sun]"``.
        """
        return (patch.to_map() for patch in self.patches(where, ids))

    def __getitem__(self, patch_id: str) -> Patch:
        """The patch of that id: ``archive["sharp-377-20110215T020000-Br"]``."""
        return self.get(patch_id)

    def __iter__(self) -> Iterator[Patch]:
        """All patches, as `patches`."""
        return self.patches()

    def get(self, patch_id: str) -> Patch:
        """The patch of that id.

        Raises
        ------
        ArchiveError
            When there is none.
        """
        return next(self.patches(ids=[patch_id]))

    def prepared(
        self, preset: Preset | str, where: str | None = None, ids: Iterable[str] | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Network input of many patches: their ids, and (N, H, W) float32 in units of `preset`.

        Order and errors as in `patches`. Local archives keep the result of the resampling under ``prepared/``, as
        float16 (within 0.0005 of the exact value), and redo only what has changed.
        """
        preset = get_preset(preset)
        wanted = self._rows(where, ids)["id"].to_pylist()
        if self.path is None:
            return wanted, cache.prepare_rows(self.patches(ids=wanted), preset, len(wanted)).astype(np.float32)
        known, stored = self.prepared_memmap(preset)
        if wanted == known:
            return wanted, stored.astype(np.float32)
        place = {patch_id: k for k, patch_id in enumerate(known)}
        return wanted, stored[[place[i] for i in wanted]].astype(np.float32)

    def prepared_memmap(self, preset: Preset | str) -> tuple[list[str], np.ndarray]:
        """Network input of the whole archive, on disk: ids, and (N, H, W) float16, for training on many patches.

        Raises
        ------
        ArchiveError
            For an archive in an object store: copy it to a local directory first, or use `prepared`.
        """
        if self.path is None:
            raise ArchiveError(f"{self.uri} is not local; use Archive.prepared, or copy the archive to a directory")
        keys = self._checksums()
        return list(keys), cache.prepared(
            self.path / "prepared", get_preset(preset), keys, lambda ids: self.patches(ids=ids)
        )

    # ----------------------------------------------------------------- about

    def content_hash(self) -> str:
        """SHA-256 over ids and fields; it does not depend on the order in which they were added."""
        version = self._patches.version
        if self._hash is None or self._hash[0] != version:
            self._hash = version, cache.content_key(self._checksums())
        return self._hash[1]

    def _checksums(self) -> dict[str, str]:
        marks = self.table(["id", "checksum"])
        return dict(zip(marks["id"].to_pylist(), marks["checksum"].to_pylist(), strict=True))

    def info(self) -> dict[str, Any]:
        """What is in the archive, ready for JSON: counts, time range (UTC), parameters, embeddings, bytes on disk."""
        return summary.summarise(self, self._patches.version)

    def size_bytes(self) -> int | None:
        """Bytes of a local archive on disk, all its files together; None for an object store."""
        if self.path is None:
            return None
        return sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())

    def clear_prepared(self) -> None:
        """Remove the prepared patches of a local archive; they are made again when asked for."""
        if self.path is not None:
            shutil.rmtree(self.path / "prepared", ignore_errors=True)
