"""The archive: patches, metadata, parameters and embeddings in Lance, in a directory or an object store.

Two Lance tables that share the key `id`. ``patches`` has everything but the field and is small; ``fields`` has the
fields, is written once and only ever appended to. They are apart because filling in a column (an embedding, a new
parameter) rewrites the rows it touches, which must not drag gigabytes of images along. A patch exists once its row is
in ``patches``; its field is committed before that row, so whatever stops a writer, readers see whole patches only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Document, Entries, Row
from ..config import Preset
from ..patch import Patch
from ..physics import get_parameter, parameters
from . import batches as batching
from . import cache, care, metadata, reading, records, summary, tables
from .care import RemoveReport
from .places import places, whole
from .prepared import PreparedPatches, among_few
from .sql import sql as asked_in_sql
from .tables import ArchiveError, ArchiveExists
from .writing import AddReport, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from lancedb.table import Table
    from sunpy.map import GenericMap

    from ..protocols import Named

__all__ = ["AddReport", "Archive", "ArchiveError"]


class Archive(PreparedPatches):
    """Patches that can be filtered, read and searched; made by `open`, `create` or `open_or_create`.

    An archive may be used from several processes at once; each sees what the others have committed.

    Examples
    --------
    >>> import tempfile
    >>> from solquery.archive import Archive
    >>> from solquery.simulator import simulate_region
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     archive = Archive.create(folder + "/archive")
    ...     print(archive.add(simulate_region(seed=1, index=0, frames=2)), len(archive))
    AddReport(added=2, duplicates=0) 2
    """

    def __init__(self, uri: str, patches: Table, fields: Table) -> None:
        self.uri = uri
        self.path = tables.local_path(uri)
        self._tables = patches, fields
        self._writer = Writer(patches, fields, uri)
        self._seen: tuple[int, pa.Table] | None = None
        self._hash: tuple[int, str] | None = None

    @property
    def _patches(self) -> Table:
        tables.check_process()
        return self._tables[0]

    @property
    def _fields(self) -> Table:
        tables.check_process()
        return self._tables[1]

    def __repr__(self) -> str:
        return f"Archive({self.uri!r}, {len(self)} patches)"

    def __len__(self) -> int:
        return self._patches.count_rows()

    def __reduce__(self) -> tuple[Callable[[str], Archive], tuple[str]]:
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
            raise ArchiveExists(f"there is an archive at {uri} already; open it, or choose another place")
        return cls(*tables.create_tables(uri))

    @classmethod
    def open_or_create(cls, uri: str | Path) -> Archive:
        """Open the archive at `uri`, or make it."""
        if cls.exists(uri):
            return cls.open(uri)
        try:
            return cls.create(uri)
        except ArchiveExists:
            # another process was faster
            return cls.open(uri)

    # ----------------------------------------------------------------- write

    def add(self, patches: Iterable[Patch], batch: int = 64) -> AddReport:
        """Add patches; measure every registered parameter at native scale on the way.

        Each `batch` is one commit: it is in the archive as a whole or not at all. A patch whose id is in the archive
        already is a duplicate and is not written again, so that a broken-off call can simply be repeated. An
        observation whose id is there with other pixels is none, and is refused. A definitive frame replaces the
        near-real-time one of the same region, time and segment, with a warning that says so; the other way round it
        is refused.

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
        return self._writer.add(patches, batch)

    def add_rows(self, pairs: Sequence[tuple[Row, bytes]]) -> AddReport:
        """Add finished rows with their encoded fields, as `records.row_of` makes them, in one commit.

        For rows that were made elsewhere, by workers of a cluster; an id that is there already, or comes twice, counts
        as a duplicate.
        """
        return self._writer.add_rows(pairs)

    def set_columns(self, ids: Sequence[str], columns: Entries) -> None:
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
        ids = list(ids)
        table = tables.columns_table(ids, columns, self._patches.schema)
        if ids and columns:
            places(table["id"].combine_chunks(), self._ids(), self.uri)
            self._writer.set_columns(table)

    def measure(self, names: Iterable[str] | None = None) -> None:
        """Measure parameters at native scale for every patch, as after registering a new one.

        Parameters
        ----------
        names
            Which; None for those that some patch has no column for yet.
        """
        if names is None:
            present = set(self.columns)
            names = [name for name in parameters() if name not in present]
        names = [get_parameter(name).name for name in names]
        if not names:
            return
        self._writer.parameter_columns()
        ids: list[str] = []
        values: dict[str, list[float]] = {name: [] for name in names}
        for patch in self.patches():
            ids.append(patch.id)
            for name, value in records.parameter_values(patch, names).items():
                values[name].append(value)
        self.set_columns(ids, {name: pa.array(column, pa.float64()) for name, column in values.items()})

    def remove(self, ids: Iterable[str] | None = None, where: str | None = None) -> RemoveReport:
        """Remove patches, of `ids` or that meet `where`; `restore` of the version before brings them back.

        Raises
        ------
        ArchiveError
            For an unknown id, a condition that cannot be read, or when neither or both are given.
        """
        return care.remove(self, ids, where)

    def restore(self, version: int) -> int:
        """Bring back the rows of an earlier version (`info` tells versions), as a new one; how many patches there are
        then.

        Raises
        ------
        ArchiveError
            When there is no such version any more: `optimize` and `archive compact` drop those older than a week.
        """
        return care.restore(self, version)

    def sizes(self, ids: Sequence[str]) -> list[Document]:
        """Rows with ``id``, ``ny``, ``nx``, ``scale_y_mm`` and ``scale_x_mm`` of some patches, in no order."""
        wanted = pa.array(list(ids), pa.string())
        columns = ["id", "ny", "nx", "scale_y_mm", "scale_x_mm"]
        found = metadata.read(self._patches, self.uri, columns, among=among_few(wanted))
        return found.filter(pc.is_in(found["id"], value_set=wanted)).to_pylist()

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
        wanted = self.columns if columns is None else list(columns)
        found = metadata.read(self._patches, self.uri, ["id", *wanted], where)
        return found.sort_by("id").select(wanted)

    def count(self, where: str | None = None) -> int:
        """How many patches meet `where`; errors as in `table`."""
        return metadata.count(self._patches, self.uri, where)

    def sql(self, query: str) -> pa.Table:
        """The answer to one SELECT over the table ``patches``: metadata, parameters and embeddings, not the fields.

        ``archive.sql("SELECT harpnum, max(tuf) AS flux FROM patches GROUP BY harpnum ORDER BY flux DESC LIMIT 10")``

        Needs DuckDB (``pip install "solquery[sql]"``), whose dialect it speaks. ``*`` leaves out the large columns
        ``embedding``, ``keywords`` and ``truth``; name them.

        Raises
        ------
        ArchiveError
            For a query that cannot be answered, or would write.
        """
        return asked_in_sql(self, query)

    def ids(self, where: str | None = None) -> list[str]:
        """Ids in order, of all patches or of those that meet `where`."""
        return self._ids(where).to_pylist()

    def _ids(self, where: str | None = None) -> pa.Array:
        """`ids` as Arrow holds them, in a tenth of the room."""
        return whole(self.table(["id"], where)["id"])

    def _chosen(self, where: str | None, ids: Iterable[str] | None) -> pa.Array:
        """Ids of the patches that meet `where` and are among `ids`, in the order of `ids`, else sorted."""
        if ids is None:
            return self._ids(where)
        asked = ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
        if not len(asked):
            return asked
        # a few are asked for by name: the ids of an archive of millions need not be read for them
        among = among_few(asked)
        known = self._names(among)
        places(asked, known, self.uri)
        if where is not None:
            known = self._names(among, where)
        return asked.filter(pc.is_in(asked, value_set=known))

    def _names(self, among: str | None, where: str | None = None) -> pa.Array:
        """Ids in no order; see `metadata.read` for `among`."""
        return whole(metadata.read(self._patches, self.uri, ["id"], where, among=among)["id"])

    def patches(self, where: str | None = None, ids: Iterable[str] | None = None) -> Iterator[Patch]:
        """Patches one by one, sorted by id, or in the order of `ids`; see `table` for `where`.

        Raises
        ------
        ArchiveError
            For an unknown id or a filter that cannot be read; at once, before the first patch.
        """
        return reading.read_patches(self._patches, self._fields, self._chosen(where, ids), self.uri)

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

    def __getitem__(self, patch: str | Named) -> Patch:
        """The patch of that id, or of a match: ``archive["sharp-377-20110215T020000-Br"]``, ``archive[match]``."""
        return self.get(patch if isinstance(patch, str) else patch.id)

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

    # ----------------------------------------------------------------- about

    def content_hash(self) -> str:
        """SHA-256 over ids and fields; it does not depend on the order in which they were added."""
        version = self._patches.version
        if self._hash is None or self._hash[0] != version:
            self._hash = version, cache.content_key(self._keys())
        return self._hash[1]

    def info(self, where: str | None = None) -> Document:
        """What is in the archive, ready for JSON: counts, time range (UTC), parameters, embeddings, bytes on disk.

        With `where`, counts, times and embeddings are those of the patches that meet it.
        """
        return summary.summarise(self, self._patches.version, where)

    def size_bytes(self) -> int | None:
        """Bytes of a local archive on disk, all its files together; None for an object store."""
        if self.path is None:
            return None
        return sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())
