"""Is an archive what it says it is? Every field is read and its checksum taken anew; nothing is changed."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Row
from ..patch import observation_time
from ..sharp.names import file_name_of, patch_id_of
from . import records
from .cache import is_prepared_file

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["Problem", "verify"]

Progress = Callable[[int, int], None]

#: column, smallest and largest value that makes sense
_RANGES = {
    "latitude_deg": (-90.0, 90.0),
    "longitude_deg": (-180.0, 360.0),
    "carrington_deg": (0.0, 360.0),
    "b0_deg": (-90.0, 90.0),
    "mu": (-1.0, 1.0),
    "missing_fraction": (0.0, 1.0),
    "clipped_fraction": (0.0, 1.0),
    "offlimb_fraction": (0.0, 1.0),
    "scale_y_mm": (1e-9, 1e3),
    "scale_x_mm": (1e-9, 1e3),
    "ny": (2, 1e5),
    "nx": (2, 1e5),
}
_FIELDS_AT_A_TIME, _ROWS_AT_A_TIME = 64, 2000
_KEPT = pa.schema([(name, records.METADATA[name]) for name in ("id", "ny", "nx", "checksum", "missing_fraction")])
#: as they are held of all rows: the sum as bytes, which takes half of its text
_HELD = _KEPT.set(3, pa.field("checksum", pa.binary()))


class Problem(NamedTuple):
    """What is off, and where: the id of a patch, or a path inside the archive."""

    where: str
    what: str


def verify(archive: Archive, progress: Progress = lambda done, total: None) -> list[Problem]:
    """Everything that is off in an archive, sorted; empty when nothing is.

    Checked are: checksum, size and presence of every field; ids that appear twice; fields without a row; values out of
    range, times that cannot be read; files that do not belong there; frames that the manifest of a fetch calls done
    and that are not there.

    Parameters
    ----------
    archive
        What to check.
    progress
        Called with the number of fields read and of all.
    """
    present = set(archive.columns)
    columns = [name for name in records.METADATA if name in present and name not in ("keywords", "truth")]
    found, kept = [], [_HELD.empty_table()]
    # rows come a few at a time, and what is held of all of them is what their fields are checked with
    for part in archive._patches.search().select(columns).to_batches(batch_size=_ROWS_AT_A_TIME):
        for row in part.to_pylist():
            found += [Problem(row["id"], what) for what in _faults_of(row)]
        some = pa.Table.from_batches([part]).select(_KEPT.names).cast(_KEPT)
        kept.append(some.set_column(3, _HELD.field(3), _as_bytes(some["checksum"])))
    rows = pa.concat_tables(kept).combine_chunks()
    del kept
    found += [Problem(patch_id, f"is there {count} times") for patch_id, count in _repeated(rows["id"])]
    found += _field_problems(archive, rows, progress)
    if archive.path is not None:
        found += _orphan_files(archive.path)
        found += _manifest_problems(archive.path / "fetch", rows["id"])
    return sorted(set(found))


def _as_bytes(sums: pa.ChunkedArray) -> pa.Array:
    """Sums as bytes; a text that is none is kept as it is, which agrees with no sum."""
    out: list[bytes | None] = []
    for text in sums.to_pylist():
        try:
            out.append(bytes.fromhex(text))
        except (TypeError, ValueError):
            out.append(None if text is None else text.encode())
    return pa.array(out, pa.binary())


def _repeated(ids: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Ids that are there more than once, and how often."""
    if pc.count_distinct(ids).as_py() == len(ids):
        return []
    counts = pc.value_counts(ids)
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    return [(entry["values"], entry["counts"]) for entry in several.to_pylist()]


def _faults_of(row: Row) -> Iterator[str]:
    for name, (low, high) in _RANGES.items():
        value = row.get(name)
        if value is not None and not low <= value <= high:
            yield f"{name} is {value}, not within {low:g} and {high:g}"
    if row["source"] not in records.SOURCES:
        yield f"source is {row['source']!r}"
    if not row["region"]:
        yield "has no region"
    if row["ny"] is None or row["nx"] is None:
        yield "its size is missing"
    if row["t_rec"] and observation_time(row["t_rec"]) is None:
        yield f"time {row['t_rec']!r} cannot be read"
    elif row["t_rec"] and row["t_utc"] != observation_time(row["t_rec"]):
        yield f"t_utc {row['t_utc']} is not {row['t_rec']}"


def _field_problems(archive: Archive, rows: pa.Table, progress: Progress) -> list[Problem]:
    fields = archive._fields
    stored = fields.search().select(["id"]).to_arrow()["id"]
    found = [Problem(i, f"has {count} fields") for i, count in _repeated(stored)]
    bare = rows["id"].filter(pc.invert(pc.is_in(rows["id"], value_set=stored.combine_chunks())))
    found += [Problem(i, "has a row and no field") for i in bare.to_pylist()]
    place = pc.index_in(stored, value_set=rows["id"].combine_chunks()).combine_chunks()
    total, done = len(stored), 0
    query = fields.search().select(["id", "field"])
    for batch in query.to_batches(batch_size=_FIELDS_AT_A_TIME):
        named = batch["id"].to_pylist()
        here = place.slice(done, len(named))
        if not stored.slice(done, len(named)).combine_chunks().equals(batch["id"]):
            # somebody has added or compacted since the ids were read
            here = pc.index_in(batch["id"], value_set=rows["id"].combine_chunks())
        about = rows.take(pc.fill_null(here, 0)).drop_columns("id").to_pylist() if len(rows) else [{}] * len(named)
        for patch_id, data, at, row in zip(named, batch["field"], here.to_pylist(), about, strict=True):
            orphan = "has a field and no row; `solquery archive compact` removes it"
            what = orphan if at is None else _bad(data.as_py(), *row.values())
            if what:
                found.append(Problem(patch_id, what))
        done += len(named)
        progress(min(done, total), total)
    return found


def _bad(
    data: bytes | None, ny: int | None, nx: int | None, checksum: bytes | None, missing: float | None
) -> str | None:
    if data is None:
        return "its field is null"
    if ny is None or nx is None or len(data) != 2 * ny * nx:
        return f"its field has {len(data)} bytes where {ny} x {nx} pixels need {2 * (ny or 0) * (nx or 0)}"
    if bytes.fromhex(records.checksum(data, (ny, nx))) != checksum:
        return "its field does not agree with its checksum"
    field = np.frombuffer(data, dtype="<f2")
    if np.isinf(field).any():
        return "its field holds infinities"
    if missing is not None and not math.isclose(float(np.isnan(field).mean()), missing, abs_tol=1e-9):
        return f"missing_fraction is {missing}, and {np.isnan(field).mean():.6f} of its pixels are missing"
    return None


def _orphan_files(root: Path) -> Iterator[Problem]:
    """Files that neither Lance, nor the prepared patches, nor an index, nor a fetch put there."""
    staged = _staged_names(root / "fetch")
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        parts = path.relative_to(root).parts
        where = "/".join(parts)
        if parts[0] in ("patches.lance", "fields.lance"):
            continue
        if parts[0] == "prepared" and len(parts) == 2 and is_prepared_file(path):
            continue
        if parts[0] == "index" and (len(parts) == 3 or parts[1:] == (".lock",)) and ".partial" not in parts[1]:
            continue
        if parts[0] == "fetch" and (parts[1:] in (("manifest.sqlite",), ("manifest.sqlite-journal",))):
            continue
        if parts[:2] == ("fetch", "files") and staged is not None and parts[-1] in staged:
            continue
        yield Problem(where, "does not belong to the archive")


def _read(folder: Path, query: str) -> list[tuple[Any, ...]] | None:
    """Rows of the manifest, without touching it; None where it cannot be read."""
    path = folder / "manifest.sqlite"
    if not path.exists():
        return []
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()
    except sqlite3.Error:
        return None


def _staged_names(folder: Path) -> set[str] | None:
    rows = _read(folder, "SELECT harpnum, t_rec, segment FROM frames")
    return None if rows is None else {file_name_of(*row) for row in rows}


def _manifest_problems(folder: Path, ids: pa.ChunkedArray) -> Iterator[Problem]:
    rows = _read(folder, "SELECT harpnum, t_rec, segment FROM frames WHERE state = 'done'")
    if rows is None:
        yield Problem("fetch/manifest.sqlite", "cannot be read: a fetch is running, or it is damaged")
        return
    done = pa.array([patch_id_of(*row) for row in rows], pa.string())
    for patch_id in done.filter(pc.invert(pc.is_in(done, value_set=ids.combine_chunks()))).to_pylist():
        yield Problem(patch_id, "was fetched and is not in the archive; fetch it again")
