"""Is an archive what it says it is? Every field is read and its checksum taken anew; nothing is changed."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..aliases import Row
from ..patch import observation_time
from ..sharp.names import file_name_of, patch_id_of
from . import records
from .cache import is_prepared_file
from .places import marks

if TYPE_CHECKING:
    from lancedb.table import Table

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
_FIELDS_AT_A_TIME, _ROWS_AT_A_TIME, _IDS_AT_A_TIME = 64, 500, 16384
#: what is held of all rows beside marks of their ids: what the field is checked with, of the sum eight bytes
_HELD = np.dtype([("ny", "<i4"), ("nx", "<i4"), ("sum", "<u8"), ("missing", "<f8")])


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
    found: list[Problem] = []
    # room for all is taken at once: to join parts would need it twice
    about, known = np.empty(len(archive), _HELD), np.empty(len(archive), np.int64)
    at = 0
    # rows come a few at a time
    for part in archive._patches.search().select(columns).to_batches(batch_size=_ROWS_AT_A_TIME):
        rows = part.to_pylist()
        for row in rows:
            found += [Problem(row["id"], what) for what in _faults_of(row)]
        about, known = _with_room(about, at + len(rows)), _with_room(known, at + len(rows))
        about[at : at + len(rows)] = [_held(row) for row in rows]
        known[at : at + len(rows)] = marks(part["id"])
        at += len(rows)
    order = np.argsort(known[:at]).astype(np.uint32 if at < 2**32 else np.int64)
    known = known[order]
    found += [Problem(i, f"is there {count} times") for i, count in _repeated(archive._patches, known)]
    found += _field_problems(archive, known, order, about, progress)
    if archive.path is not None:
        found += _orphan_files(archive.path)
        found += _manifest_problems(archive.path / "fetch", known)
    return sorted(set(found))


def _with_room(array: np.ndarray, size: int) -> np.ndarray:
    """An array of `size` at least: others may add rows meanwhile."""
    return (
        array if len(array) >= size else np.concatenate([array, np.empty(size - len(array) + size // 8, array.dtype)])
    )


def _held(row: Row) -> tuple[int, int, int, float]:
    missing = row["missing_fraction"]
    return row["ny"] or 0, row["nx"] or 0, _begin(row["checksum"]), math.nan if missing is None else missing


def _begin(checksum: str | None) -> int:
    """The first eight bytes of a sum; of what is none, a number that agrees with hardly any sum."""
    try:
        return int.from_bytes(bytes.fromhex(checksum or "")[:8], "little")
    except ValueError:
        return 0


def _stored(table: Table) -> np.ndarray:
    """Marks of all ids of a table, ascending."""
    out, at = np.empty(table.count_rows(), np.int64), 0
    for batch in table.search().select(["id"]).to_batches(batch_size=_IDS_AT_A_TIME):
        out = _with_room(out, at + len(batch))
        out[at : at + len(batch)] = marks(batch["id"])
        at += len(batch)
    out = out[:at]
    out.sort()
    return out


def _lacking(wanted: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Those of some marks that are not among others, which are in order."""
    out = [np.empty(0, np.int64)]
    for start in range(0, len(wanted), _IDS_AT_A_TIME):
        some = wanted[start : start + _IDS_AT_A_TIME]
        at = np.searchsorted(ordered, some)
        out.append(some[(at == len(ordered)) | (ordered.take(at, mode="clip") != some)] if len(ordered) else some)
    return np.concatenate(out)


def _named(table: Table, wanted: np.ndarray) -> list[str]:
    """Ids of a table with one of some marks, as often as they are there."""
    if not len(wanted):
        return []
    found: list[str] = []
    for batch in table.search().select(["id"]).to_batches(batch_size=_IDS_AT_A_TIME):
        found += batch["id"].filter(pa.array(np.isin(marks(batch["id"]), wanted))).to_pylist()
    return found


def _repeated(table: Table, ordered: np.ndarray) -> list[tuple[str, int]]:
    """Ids that are there more than once, and how often, of the sorted marks of a table."""
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return [(patch_id, count) for patch_id, count in Counter(_named(table, again)).items() if count > 1]


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
    observed = observation_time(row["t_rec"]) if row["t_rec"] else row["t_utc"]
    if row["t_rec"] and observed is None:
        yield f"time {row['t_rec']!r} cannot be read"
    elif row["t_utc"] != observed:
        yield f"t_utc {row['t_utc']} is not {row['t_rec']}"


def _field_problems(
    archive: Archive, known: np.ndarray, order: np.ndarray, rows: np.ndarray, progress: Progress
) -> list[Problem]:
    """Of marks of ids in order, and which of `rows` each has."""
    fields = archive._fields
    stored = _stored(fields)
    found = [Problem(i, f"has {count} fields") for i, count in _repeated(fields, stored)]
    found += [Problem(i, "has a row and no field") for i in _named(archive._patches, _lacking(known, stored))]
    total, done = len(stored), 0
    del stored
    for batch in fields.search().select(["id", "field"]).to_batches(batch_size=_FIELDS_AT_A_TIME):
        here = marks(batch["id"])
        places = np.searchsorted(known, here)
        for patch_id, data, mark, at in zip(batch["id"].to_pylist(), batch["field"], here, places, strict=True):
            if at == len(known) or known[at] != mark:
                found.append(Problem(patch_id, "has a field and no row; `solquery archive compact` removes it"))
            elif what := _bad(data.as_py(), *rows[order[at]].tolist()):
                found.append(Problem(patch_id, what))
        done += len(here)
        progress(min(done, total), total)
    return found


def _bad(data: bytes | None, ny: int, nx: int, begin: int, missing: float) -> str | None:
    if data is None:
        return "its field is null"
    if not ny or not nx or len(data) != 2 * ny * nx:
        return f"its field has {len(data)} bytes where {ny} x {nx} pixels need {2 * ny * nx}"
    if _begin(records.checksum(data, (ny, nx))) != begin:
        return "its field does not agree with its checksum"
    field = np.frombuffer(data, dtype="<f2")
    if np.isinf(field).any():
        return "its field holds infinities"
    lacking = float(np.isnan(field).mean())
    if not math.isnan(missing) and not math.isclose(lacking, missing, abs_tol=1e-9):
        return f"missing_fraction is {missing}, and {lacking:.6f} of its pixels are missing"
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


def _manifest_problems(folder: Path, known: np.ndarray) -> Iterator[Problem]:
    rows = _read(folder, "SELECT harpnum, t_rec, segment FROM frames WHERE state = 'done'")
    if rows is None:
        yield Problem("fetch/manifest.sqlite", "cannot be read: a fetch is running, or it is damaged")
        return
    done = pa.array([patch_id_of(*row) for row in rows], pa.string())
    for patch_id in done.filter(pa.array(~np.isin(marks(done), known))).to_pylist():
        yield Problem(patch_id, "was fetched and is not in the archive; fetch it again")
