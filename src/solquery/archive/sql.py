"""Questions to the metadata of an archive in SQL, answered by DuckDB; nothing can be written.

The engine gets the rows of the archive as one table, ``patches``, and nothing else: no files, no network, no settings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import SolqueryError
from .tables import ArchiveError

if TYPE_CHECKING:
    import pyarrow as pa

    from .store import Archive

__all__ = ["sql"]

#: large columns that ``*`` leaves out; each is there when it is named
_LARGE = ("embedding", "keywords", "truth")

#: neither files, nor variables of Python, nor a way out of this
_FENCE = (
    "enable_external_access = false",
    "python_enable_replacements = false",
    "memory_limit = '512MB'",
    "lock_configuration = true",
)


def sql(archive: Archive, query: str) -> pa.Table:
    """The answer to a query over the table ``patches``; see `Archive.sql`."""
    try:
        import duckdb
    except ImportError:
        raise SolqueryError('SQL needs DuckDB: pip install "solquery[sql]"') from None
    with duckdb.connect(":memory:") as engine:
        engine.register("patches", archive.table(_columns(archive.columns, query)))
        for setting in _FENCE:
            engine.execute(f"SET {setting}")
        try:
            statements = engine.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ArchiveError("one SELECT is answered; `Archive.set_columns` writes")
            return engine.sql(query).to_arrow_table()
        except duckdb.Error as error:
            what = " ".join(str(error).split("\n\n")[0].split())
            raise ArchiveError(f"cannot answer {query!r}: {what}") from None


def _columns(names: list[str], query: str) -> list[str]:
    """The columns that a query may touch: those it names, or all but the large ones where it says ``*``."""
    words = set(re.findall(r"\w+", query.lower()))
    named = [name for name in names if name in words]
    if "*" in query:
        named = [name for name in names if name in words or name not in _LARGE]
    return named or ["id"]
