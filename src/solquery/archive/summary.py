"""What is in an archive, in a few numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from ..aliases import Document
from ..physics import parameters

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["summarise"]


def summarise(archive: Archive, version: int, where: str | None = None) -> Document:
    """Counts, time range (UTC), parameters, embeddings and bytes on disk of what meets `where`, for JSON."""
    names = archive.columns
    asked = ["region", "source", "quantity", "t_utc", "scale_x_mm", *({"embedding_model"} & set(names))]
    rows = archive.table(asked, where)
    span = pc.min_max(rows["t_utc"]).as_py()

    def counts(column: str) -> dict[str, int]:
        if column not in rows.schema.names:
            return {}
        found = {f["values"]: f["counts"] for f in pc.value_counts(rows[column]).to_pylist()}
        return {value: found[value] for value in sorted(filter(None, found))}

    sources = counts("source")
    return {
        "uri": archive.uri,
        "version": version,
        "patches": len(rows),
        "regions": pc.count_distinct(rows["region"]).as_py(),
        "simulated": sources.get("simulated", 0),
        "real": sources.get("real", 0),
        "source": sources,
        "quantity": counts("quantity"),
        "without_scale": rows["scale_x_mm"].null_count,
        "first": span["min"].isoformat() if span["min"] else None,
        "last": span["max"].isoformat() if span["max"] else None,
        "parameters": [name for name in parameters() if name in names],
        "embeddings": counts("embedding_model"),
        "content": archive.content_hash(),
        "bytes": archive.size_bytes(),
    }
