"""Labels of patches from a table that a person or a spreadsheet wrote."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from ..errors import SolqueryError

__all__ = ["read_labels", "table_rows"]

_IDS = ("id", "patch_id", "patch", "name")
_LABELS = ("label", "labels", "class", "y", "target")
_YES = ("true", "t", "yes", "y")
_NO = ("false", "f", "no", "n")


def read_labels(path: str | Path, id_column: str | None = None, label_column: str | None = None) -> dict[str, int]:
    """Id to 0 or 1 from a table (CSV; commas, semicolons or tabs) in UTF-8 or in Windows' encoding.

    With a head the columns ``id`` and ``label`` are found by their names, wherever they stand; without one the id is
    first and the label second. Labels are 0, 1, 0.0, 1.0, true, false, yes, no.

    Parameters
    ----------
    path
        The table.
    id_column, label_column
        Names of the columns where they are called otherwise.

    Raises
    ------
    SolqueryError
        For a table that cannot be read, naming the row; for an id that is labelled both.
    """
    path = Path(path)
    rows = table_rows(path)
    head, body = _columns(path, rows, id_column, label_column)
    out: dict[str, int] = {}
    for line, row in body:
        if max(head) >= len(row):
            raise SolqueryError(f"{path}, row {line}: expected an id and a label, got {','.join(row)!r}")
        name, said = row[head[0]].strip(), row[head[1]].strip()
        label = _label(said)
        if label is None or not name:
            raise SolqueryError(f"{path}, row {line}: expected an id and 0 or 1, got {','.join(row)!r}")
        if out.setdefault(name, label) != label:
            raise SolqueryError(f"{path}: {name!r} is labelled 0 and 1; leave one out")
    if not out:
        raise SolqueryError(f"{path} holds no labels; its rows are an id and 0 or 1")
    return out


def table_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Row number and cells of a table (CSV; commas, semicolons or tabs), without empty rows and comments."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SolqueryError(f"{path} cannot be read as a table: {error.strerror}") from None
    try:
        # utf-8-sig drops the mark that spreadsheets put in front; UTF-16 has one of its own
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise SolqueryError(f"{path} cannot be read as a table: it holds zero bytes")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count) if any(sign in first for sign in ",;\t") else ","
    try:
        found = list(enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), start=1))
    except csv.Error as error:
        raise SolqueryError(f"{path} cannot be read as a table: {error}") from None
    return [
        (line, row) for line, row in found if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")
    ]


def _columns(
    path: Path, rows: Sequence[tuple[int, list[str]]], id_column: str | None, label_column: str | None
) -> tuple[tuple[int, int], Sequence[tuple[int, list[str]]]]:
    """Where ids and labels stand, and the rows that hold them."""
    if not rows:
        return (0, 1), rows
    names = [cell.strip().lower() for cell in rows[0][1]]
    ids = [id_column.lower()] if id_column else _IDS
    labels = [label_column.lower()] if label_column else _LABELS
    here = next((names.index(name) for name in ids if name in names), None)
    there = next((names.index(name) for name in labels if name in names), None)
    if here is not None and there is not None:
        return (here, there), rows[1:]
    if here is None and there is None and not (id_column or label_column):
        if len(names) != 2:
            raise SolqueryError(f"{path} has {len(names)} columns and no head that names them; call them id and label")
        return (0, 1), rows
    if here is not None and len(names) == 2:
        return (here, 1 - here), rows[1:]
    lacking = (label_column or "label") if here is not None else (id_column or "id")
    raise SolqueryError(f"{path} has no column {lacking!r}; it has: {', '.join(names)}")


def _label(said: str) -> int | None:
    low = said.lower()
    if low in _YES or low in _NO:
        return int(low in _YES)
    try:
        value = float(said.replace(",", "."))
    except ValueError:
        return None
    return int(value) if not math.isnan(value) and value in (0.0, 1.0) else None
