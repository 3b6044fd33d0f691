"""What the page is told of one patch: a match beside the query, its values, and what limits them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..aliases import Document, Entries
from ..archive.view import COLUMNS_TOLD, caveats_of_row
from ..physics import measure_patch, parameters
from ..serialise import plain, quantity
from ..steering.vocabulary import quantities
from .links import fetch_line, links_of, record_set

if TYPE_CHECKING:
    from ..patch import Patch
    from ..search import Match
    from ..steering import Directions
    from .catalogue import Catalogue
    from .closeness import Closeness

__all__ = ["known_of", "match_record", "native_values", "sigmas_apart"]


def known_of(row: Entries, archive: str | None) -> Document:
    """Who, when and where a row of the archive is, and where else it can be seen."""
    return {
        "region": row["region"],
        "source": row["source"],
        "t_utc": row["t_utc"].isoformat() if row.get("t_utc") else None,
        **{key: row.get(key) for key in COLUMNS_TOLD},
        "caveats": [caveat._asdict() for caveat in caveats_of_row(row)],
        "record_set": record_set(row),
        "fetch": fetch_line(row, archive),
        "links": links_of(row),
    }


def native_values(patch: Patch) -> dict[str, float | None]:
    """Parameters of a patch at native scale; those that need a scale are unknown without one."""
    return {name: plain(value) for name, value in measure_patch(patch).items()}


def sigmas_apart(directions: Directions, name: str, mine: float, theirs: float | None) -> Document:
    """By how many sigmas of generated patches two values differ, and whether it is the logarithm that is compared.

    Half the width of the central 68 % is one sigma, were the population normal. Of what has a long tail and is never
    negative, as fluxes are, the logarithm is; what is less than one patch in a hundred has, counts as that.
    """
    low, middle, high = (directions.quantile(name, q) for q in (16, 50, 84))
    floor = directions.quantile(name, 1)
    long_tail = directions.quantile(name, 0) >= 0 and floor > 0 and high - middle > 1.5 * (middle - low)
    if theirs is None or not math.isfinite(mine) or not math.isfinite(theirs):
        return {"sigmas": None, "logarithm": long_tail}
    if long_tail:
        low, high, mine, theirs = (math.log(max(value, floor)) for value in (low, high, mine, theirs))
    width = high - low
    return {"sigmas": 2.0 * (theirs - mine) / width if width > 0 else None, "logarithm": long_tail}


def match_record(
    match: Match,
    mine: Mapping[str, float],
    catalogue: Catalogue,
    directions: Directions,
    physical: bool,
    closeness: Closeness,
) -> Document:
    """One match: what is known of it, and how its parameters differ from the query's.

    Parameters
    ----------
    match
        With the row of the archive.
    mine
        Parameters of the query, at the scale of the model (`Catalogue.column`).
    physical
        Whether the grid has a scale.
    closeness
        Of the archive, by the distance that was searched with.
    """
    row = match.row
    on_grid = {name: row.get(f"grid_{name}") for name in parameters()}
    apart = {}
    for name in directions.names:
        theirs = row.get(catalogue.column(name))
        gap = None if theirs is None else theirs - mine[name]
        apart[name] = quantity(gap, directions.unit(name))
        apart[name] |= sigmas_apart(directions, name, mine[name], theirs)
    return plain(
        {
            "id": match.id,
            **known_of({**row, "region": match.region}, catalogue.archive.uri),
            "distance": match.distance,
            "nearer": closeness.share(match.distance),
            "rank": match.rank,
            "frames": catalogue.frames(match.region),
            "parameters": quantities(catalogue.native(row), physical=True),
            "grid": quantities(on_grid, physical=physical),
            "difference": apart,
            "native_shape": [row["ny"], row["nx"]],
            "native_scale_mm": None if row["scale_y_mm"] is None else [row["scale_y_mm"], row["scale_x_mm"]],
        }
    )
