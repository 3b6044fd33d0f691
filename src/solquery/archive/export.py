"""An archive's patches in other forms: one Parquet table, one HDF5 file, or a FITS file each.

All are written patch by patch in bounded memory, and appear under their names when they are complete.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..aliases import Document
from ..errors import SolqueryError
from ..io import replacing
from ..sharp.fits_writing import write_fits
from .reading import Rows, read_patches
from .sink import Sink
from .tables import vector_length

if TYPE_CHECKING:
    from ..patch import Patch
    from .store import Archive

__all__ = ["FORMATS", "export"]

FORMATS = ("parquet", "hdf5", "fits")
_ROWS_IN_GROUP = 64
#: of a group of rows in Parquet, at least: what describes a group, 0.1 MB, is held in memory until the end
_BYTES_IN_GROUP = 4 * 2**20
#: ids that are texts of Python at a time
_AT_A_TIME = 4096

Progress = Callable[[int, int], None]


def export(
    archive: Archive,
    out: str | Path,
    form: str,
    where: str | None = None,
    progress: Progress = lambda done, total: None,
) -> int:
    """Write the patches that meet `where`, with all their columns.

    Parameters
    ----------
    archive
        Where they are.
    out
        A file for ``parquet`` and ``hdf5`` (replaced when the new one is complete), a folder for ``fits``.
    form
        ``parquet``: one row a patch, its field as a list of float32 in G, row by row from the south, beside ny and nx.
        ``hdf5``: a group a patch under ``/patches``, its dataset ``field`` (ny, nx) float16 in G, columns as
        attributes. ``fits``: what `write_fits` writes, named by id.
    where
        SQL condition as in `Archive.table`; None for all.

    Returns
    -------
    Number of patches written.

    Raises
    ------
    SolqueryError
        When nothing meets `where`, the form is unknown, or h5py is missing.
    """
    if form not in FORMATS:
        raise SolqueryError(f"format {form!r} is not known; choose {', '.join(FORMATS)}")
    rows = _Rows(archive, archive._ids(where))
    if not len(rows):
        condition = f" with {where!r}" if where else ""
        raise SolqueryError(f"no patch in {archive.uri}{condition}; nothing was written")
    out = Path(out)
    if form == "fits":
        if out.exists() and not out.is_dir():
            raise SolqueryError(f"{out} is a file; FITS files go into a folder, name another place")
        out.mkdir(parents=True, exist_ok=True)
        for done, (stem, (_, patch)) in enumerate(zip(rows.stems, rows, strict=True), start=1):
            write_fits(patch, out / f"{stem}.fits")
            progress(done, len(rows))
        return len(rows)
    if out.is_dir():
        raise SolqueryError(f"{out} is a folder; name a file to write")
    try:
        with replacing(out) as part:
            (_to_parquet if form == "parquet" else _to_hdf5)(rows, part, progress)
    except OSError as error:
        if error.filename:
            raise
        raise SolqueryError(f"{out} could not be written: {error.strerror or error}; nothing is left of it") from error
    return len(rows)


#: bytes of a name that every file system takes, with room for what stands behind it
_LONGEST_NAME = 180


def file_stem(patch_id: str) -> str:
    """A patch's id as the name of a file; see `file_stems` for names of many that must not be equal."""
    stem = re.sub(r"[^\w.+-]", "_", patch_id)
    if stem.startswith("."):
        stem = "_" + stem[1:]
    if len(stem.encode()) > _LONGEST_NAME:
        stem = stem.encode()[: _LONGEST_NAME - 9].decode(errors="ignore") + "-" + _digest(patch_id)
    return stem


def file_stems(ids: Iterable[str]) -> list[str]:
    """Names of files for patches, no two of them equal, not even without regard to case.

    Ids that would share a name get a mark made of the id; an id that comes again gets the number of its turn.
    """
    return list(_stems(pa.array(list(ids), pa.string())))


def _stems(ids: pa.Array) -> Iterator[str]:
    """`file_stems` one by one; of all ids eight bytes are held each."""
    several = _sharing(ids, lambda patch_id: file_stem(patch_id).lower())
    turns: Counter[str] = Counter()
    for patch_id in _texts(ids):
        name = file_stem(patch_id)
        sharing = several.get(name.lower())
        if sharing is not None:
            name += "-" + _digest(patch_id) if len(sharing) > 1 else ""
            turns[patch_id] += 1
        yield name if turns[patch_id] <= 1 else f"{name}-{turns[patch_id]}"


def _sharing(ids: pa.Array, name: Callable[[str], str]) -> dict[str, set[str]]:
    """Name to the ids that have it, of the names that come more than once."""
    marks = np.fromiter((_mark(name(patch_id)) for patch_id in _texts(ids)), np.uint64, len(ids))
    values, counts = np.unique(marks, return_counts=True)
    again = values[counts > 1]
    found: dict[str, set[str]] = defaultdict(set)
    for row in np.flatnonzero(np.isin(marks, again)):
        patch_id = ids[int(row)].as_py()
        found[name(patch_id)].add(patch_id)
    return found


def _texts(ids: pa.Array) -> Iterator[str]:
    for start in range(0, len(ids), _AT_A_TIME):
        yield from ids.slice(start, _AT_A_TIME).to_pylist()


def _mark(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class _Rows:
    """Rows with their patches, in step; what is held of all of them is their ids."""

    def __init__(self, archive: Archive, ids: pa.Array) -> None:
        self.schema: pa.Schema = archive._patches.schema
        self._archive, self.ids = archive, ids

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def stems(self) -> Iterator[str]:
        """A name for each, in step (`file_stems`)."""
        return _stems(self.ids)

    def __iter__(self) -> Iterator[tuple[Document, Patch]]:
        # not `Archive.patches`, which would look all ids up once more
        patches = read_patches(self._archive._patches, self._archive._fields, self.ids, self._archive.uri)
        rows = Rows(self._archive._patches, self.schema.names, self.ids)
        for start in range(0, len(self), _ROWS_IN_GROUP):
            held = rows.helping(start, _ROWS_IN_GROUP)
            for patch in islice(patches, min(_ROWS_IN_GROUP, len(self) - start)):
                yield held[patch.id], patch


def _to_parquet(rows: _Rows, path: Path, progress: Progress) -> None:
    schema = rows.schema.append(pa.field("field", pa.list_(pa.float32())))
    source, done = iter(rows), 0
    held: list[pa.Table] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(source, _ROWS_IN_GROUP)):
            part = pa.Table.from_pylist([row for row, _ in group], schema=rows.schema)
            fields = pa.array([patch.field.ravel() for _, patch in group], schema.field("field").type)
            held.append(part.append_column("field", fields).cast(schema))
            done += len(group)
            if sum(some.nbytes for some in held) >= _BYTES_IN_GROUP or done == len(rows):
                whole = pa.concat_tables(held)
                held.clear()
                writer.write_table(whole, row_group_size=len(whole))
            progress(done, len(rows))


def _group_names(ids: pa.Array) -> Iterator[str]:
    """Names of groups: the ids, without slashes, each of which would begin a group of its own, and all different."""
    several = _sharing(ids, lambda patch_id: patch_id.replace("/", "_"))
    for patch_id in _texts(ids):
        name = patch_id.replace("/", "_")
        yield f"{name}-{_digest(patch_id)}" if name in several or name == "." else name


def _to_hdf5(rows: _Rows, path: Path, progress: Progress) -> None:
    try:
        import h5py
    except ImportError:
        raise SolqueryError('HDF5 files need h5py: pip install "solquery[export]"') from None
    vectors = [name for name in rows.schema.names if vector_length(rows.schema.field(name).type)]
    with open(path, "w+b") as raw, Sink(raw) as sink, h5py.File(sink, "w") as file:
        file.attrs["creator"], file.attrs["unit"] = "solquery", "G"
        home = file.create_group("patches", track_order=True)
        for done, (stem, (row, patch)) in enumerate(zip(_group_names(rows.ids), rows, strict=True), start=1):
            sink.check()
            group = home.create_group(stem)
            group.create_dataset(
                "field", data=patch.field.astype(np.float16), compression="gzip", compression_opts=4, shuffle=True
            )
            for name, value in row.items():
                if value is None:
                    continue
                if name in vectors:
                    group.create_dataset(name, data=np.asarray(value, np.float32))
                else:
                    group.attrs[name] = value.isoformat() if hasattr(value, "isoformat") else value
            progress(done, len(rows))
