"""The frames of the archive that meet a condition, in time: of one region, of a day, of a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Document, Row
from ..physics import parameters
from ..serialise import plain
from ..steering.vocabulary import quantities
from .records import known_of

if TYPE_CHECKING:
    from .catalogue import Catalogue
    from .schemas import Lasso

__all__ = ["frame_record", "frames_of"]


def frame_record(row: Row, catalogue: Catalogue, physical: bool) -> Document:
    """One frame: what is known of it, and its parameters at native scale and on the grid."""
    on_grid = {name: row.get(f"grid_{name}") for name in parameters()}
    return plain(
        {
            "id": row["id"],
            **known_of(row, catalogue.archive.uri),
            "frames": catalogue.frames(row["region"]),
            "parameters": quantities(catalogue.native(row), physical=True),
            "grid": quantities(on_grid, physical=physical),
        }
    )


def frames_of(catalogue: Catalogue, where: str | None, lasso: Lasso | None, limit: int, physical: bool) -> Document:
    """At most `limit` of the frames that meet a condition, evenly spread among them, in the order of time.

    ``best`` is the one nearest to the disk centre.
    """
    catalogue.refresh()
    # of all of them only what their order needs: a row is a hundred numbers
    found = catalogue.archive.table(["id", "region", "t_utc"], where)
    if lasso is not None:
        found = found.filter(pc.is_in(found["id"], value_set=catalogue.inside(lasso)))
    found = found.sort_by([("t_utc", "ascending"), ("id", "ascending")])
    of, regions = len(found), pc.count_distinct(found["region"]).as_py()
    ids = found["id"]
    if of > limit:
        ids = ids.take(pa.array([round(k * (of - 1) / (limit - 1)) for k in range(limit)] if limit > 1 else [0]))
    known = catalogue.rows(ids.to_pylist())
    rows = [known[patch_id] for patch_id in ids.to_pylist()]
    best = max(rows, key=lambda row: (row.get("mu") or 0.0, row.get("tuf") or 0.0), default=None)
    return {
        "frames": [frame_record(row, catalogue, physical) for row in rows],
        "of": of,
        "regions": regions,
        "best": None if best is None else best["id"],
        "where": where,
    }
