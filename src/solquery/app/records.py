"""What the page is told of one patch: a match beside the query, what a generated patch is worth at native scale."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..cli_output import plain, quantities, quantity
from ..physics import measure, parameters
from ..steering.native import native_estimates

if TYPE_CHECKING:
    from ..patch import Patch
    from ..retrieval import Match
    from ..steering import Directions
    from .catalogue import Catalogue

__all__ = ["TOLD", "match_record", "native_bands", "native_values"]

#: what is told of the row of an archive as it is
TOLD = ("quantity", "t_rec", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu", "credit", "file")


def native_values(patch: Patch) -> dict[str, float | None]:
    """Parameters of a patch at native scale; those that need a scale are unknown without one."""
    known = patch.scale_mm is not None
    names = [name for name, about in parameters().items() if known or about.unit == about.grid_unit]
    measured = measure(patch.field, patch.scale_mm, names)
    return {name: float(measured[name][0]) if name in measured else None for name in parameters()}


def native_bands(record: Mapping[str, Any] | None, got: Mapping[str, float]) -> dict[str, Any]:
    """What values on the grid are worth at native scale, each with its unit; `record` as a bundle keeps it."""
    if not record:
        return {}
    with warnings.catch_warnings():
        # beyond the curve its last ratio is used: good enough for a band that is only shown
        warnings.simplefilter("ignore")
        worth = native_estimates(record, got)
    return {
        name: plain({**quantity(band["value"], parameters()[name].unit), "low": band["low"], "high": band["high"]})
        for name, band in worth.items()
        if name in parameters()
    }


def match_record(
    match: Match, mine: Mapping[str, float], catalogue: Catalogue, directions: Directions, physical: bool
) -> dict[str, Any]:
    """One match: what is known of it, and how its parameters differ from the query's.

    Parameters
    ----------
    match
        With the row of the archive.
    mine
        Parameters of the query on the grid.
    physical
        Whether the grid has a scale.
    """
    row = match.row
    on_grid = {name: row.get(f"grid_{name}") for name in parameters()}
    apart = {}
    for name in directions.names:
        theirs = on_grid.get(name)
        gap = None if theirs is None else theirs - mine[name]
        width = directions.quantile(name, 84) - directions.quantile(name, 16)
        apart[name] = quantity(gap, directions.unit(name))
        # half the width of the central 68 % is one sigma, were the population normal
        apart[name]["sigmas"] = plain(2.0 * gap / width) if gap is not None and width > 0 else None
    return plain(
        {
            "id": match.id,
            "region": match.region,
            "source": row.get("source"),
            "distance": match.distance,
            "rank": match.rank,
            "frames": catalogue.frames(match.region),
            "parameters": quantities(catalogue.native(row), physical=True),
            "grid": quantities(on_grid, physical=physical),
            "difference": apart,
            "t_utc": row["t_utc"].isoformat() if row.get("t_utc") else None,
            "native_shape": [row["ny"], row["nx"]],
            "native_scale_mm": None if row["scale_y_mm"] is None else [row["scale_y_mm"], row["scale_x_mm"]],
            **{key: row.get(key) for key in TOLD},
        }
    )
