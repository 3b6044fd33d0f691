"""SQL conditions on the columns of an archive, read as a whole or refused.

The query engine of Lance parses the first complete expression of a text and drops the rest, so that ``mu > 0) AND
harpnum = 7`` would mean ``mu > 0``. Here a text must be balanced on its own; the engine then gets it in parentheses,
which it has to read to their end.
"""

from __future__ import annotations

import re

import pyarrow as pa

from .tables import ArchiveError, reason

__all__ = ["condition", "condition_fault"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*"|`[^`]*`)
    | (?P<comment>--|/\*|\#)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*)
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<comma>,)
    | (?P<end>;)
    | (?P<other>[^\s\w])
    """,
    re.VERBOSE,
)
_STATEMENTS = (
    "select",
    "with",
    "values",
    "insert",
    "update",
    "delete",
    "drop",
    "create",
    "union",
    "where",
    "order",
    "limit",
    "group",
)
_CLOSING = {"(": ")", "[": "]"}


def condition(where: str | None, schema: pa.Schema) -> str | None:
    """A condition as the engine may have it: all of it, in parentheses; None for none.

    Parameters
    ----------
    where
        Of the user: one SQL expression that is true or false for a row.
    schema
        Columns of the table, for advice.

    Raises
    ------
    ArchiveError
        When the text is not one complete expression, with what is wrong and the right form where it is known.
    """
    if where is None or where == "":
        return None
    fault = _form_fault(where, schema)
    if fault:
        raise ArchiveError(f"cannot filter by {where!r}: {fault}")
    return f"({where})"


def condition_fault(where: str, error: Exception, schema: pa.Schema) -> ArchiveError:
    """The error of the engine about a condition, in one line, with the right form where it is known."""
    advice = _advice(where, schema)
    said = reason(error).replace(f"({where})", where)
    if said.startswith("Error parsing statement"):
        # the engine repeats the text, which stands there already
        said = "it is not one complete condition"
    columns = ", ".join(schema.names)
    return ArchiveError(f"cannot filter by {where!r}: {said}; {advice or f'the columns are: {columns}'}")


def _form_fault(where: str, schema: pa.Schema) -> str:
    """Why a text is not one complete expression; empty where it may be."""
    if not where.strip():
        return "it is blank; leave it out to take all patches"
    opened: list[tuple[str, bool]] = []
    at, before = 0, ""
    while at < len(where):
        found = _TOKEN.match(where, at)
        if found is None:
            what = "a quotation mark is not closed" if where[at] in "'\"`" else f"{where[at]!r} is not understood"
            return f"{what} at position {at + 1}"
        kind, token, at = str(found.lastgroup), found[0], found.end()
        if kind == "space":
            continue
        if kind == "other" and token in "'\"`":
            return f"a quotation mark is not closed at position {at}"
        if kind == "comment":
            return "comments are not read; leave them out"
        if kind == "end":
            return "one condition is read, not several statements; leave out the semicolon"
        if kind == "word" and token.lower() in _STATEMENTS:
            return f"it is one condition and no query: leave out {token.upper()}, or use `solquery archive sql`"
        if kind == "open":
            # a list or a call behind a word, else a group of an expression
            opened.append(
                (
                    token,
                    before == "word"
                    and where[: found.start()].rstrip().split()[-1].lower() not in ("and", "or", "not"),
                )
            )
        elif kind == "close":
            if not opened or _CLOSING[opened[-1][0]] != token:
                return f"{token!r} at position {at} closes nothing; what stands behind it would be dropped"
            opened.pop()
        elif kind == "comma" and (not opened or not (opened[-1][1] or opened[-1][0] == "[")):
            return _comma(where, found.start())
        before = "word" if kind in ("word", "name") else kind
    if opened:
        return f"{opened[-1][0]!r} is not closed"
    return ""


def _comma(where: str, at: int) -> str:
    around = re.search(r"\d+$", where[:at]), re.match(r",\s*\d[\d.eE+-]*", where[at:])
    if around[0] and around[1]:
        return f"a decimal point is a point: write {around[0][0]}.{around[1][0][1:].strip()}"
    return f"the comma at position {at + 1} joins nothing; join conditions with AND or OR"


def _advice(where: str, schema: pa.Schema) -> str:
    """The right form of what is often written wrong; empty where nothing is recognised."""
    low = where.lower()
    lists = [n for n in schema.names if pa.types.is_list(schema.field(n).type) and re.search(rf"\b{n}\b", low)]
    if lists:
        number = re.search(rf"\b{lists[0]}\b\s*(?:=|==|in|like|<|>)\s*\(?\s*'?(\d+)", low)
        return f"{lists[0]} is a list: write array_has({lists[0]}, {number[1] if number else 11158})"
    times = [n for n in schema.names if pa.types.is_timestamp(schema.field(n).type) and re.search(rf"\b{n}\b", low)]
    if times:
        day = re.search(r"(\d{4})[-./](\d{2})[-./](\d{2})(?:[T _](\d{2}:\d{2}(?::\d{2})?))?", where)
        clock = (day[4] or "00:00:00") if day else "00:00:00"
        said = (
            f"{day[1]}-{day[2]}-{day[3]} {clock if clock.count(':') == 2 else clock + ':00'}"
            if day
            else "2011-02-15 00:00:00"
        )
        return f"{times[0]} is a time (UTC): write {times[0]} >= timestamp '{said}'"
    unquoted = re.search(r"(?:=|!=|<>|in\s*\()\s*\"?([A-Za-z][\w -]*)\"?\s*(?:\)|$)", where)
    if unquoted and unquoted[1].strip().lower() not in (*(n.lower() for n in schema.names), "null", "true", "false"):
        return f"texts stand in single quotes: write '{unquoted[1].strip()}'"
    if re.search(r"\d\s+[A-Za-z_]\w*\s*(?:=|<|>)", where):
        return "join conditions with AND or OR"
    return ""
