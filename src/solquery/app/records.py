"""What the page is told of one patch: a match beside the query, its values, and what limits them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..aliases import Document, Entries
from ..archive.view import COLUMNS_TOLD, caveats_of_row
from ..physics import measure_patch, parameters
from ..serialise import plain, quantity
from ..steering.vocabulary import quantities
from .links import fetch_line, links_of, record_set

if TYPE_CHECKING:
    from ..patch import Patch
    from ..search import Match
    from ..search.closeness import Closeness
    from ..steering import Directions
    from .catalogue import Catalogue

__all__ = ["Spread", "known_of", "match_record", "native_values", "sigmas_apart", "spread_of"]


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


#: share of the 84th percentile below which values of a long tail are not told apart
_LITTLE = 0.02


class Spread(NamedTuple):
    """What differences of a parameter are told in: sigmas of generated patches, or of their logarithm.

    Attributes
    ----------
    unit
        Of the parameter.
    sigma
        Half the width of the central 68 %: one sigma, were the population normal.
    floor
        Where the logarithm is compared, what is less counts as this; None where it is the value.
    """

    unit: str
    sigma: float
    floor: float | None


def spread_of(directions: Directions, name: str) -> Spread:
    """The spread of a parameter.

    Of what has a long tail and is never negative, as fluxes are, the logarithm is compared; what is less than one
    patch in a hundred has, or than a fiftieth of the 84th percentile, counts as that: R is 0 on many patches.
    """
    least, floor, low, middle, high = (directions.quantile(name, q) for q in (0, 1, 16, 50, 84))
    unit, floor = directions.unit(name), max(floor, _LITTLE * high)
    if least >= 0 and floor > 0 and high - middle > 1.5 * (middle - low):
        return Spread(unit, 0.5 * math.log(max(high, floor) / max(low, floor)), floor)
    return Spread(unit, 0.5 * (high - low), None)


def sigmas_apart(spread: Spread, mine: float, theirs: float | None) -> Document:
    """By how many sigmas two values differ, and whether it is the logarithm that is compared."""
    told: Document = {"sigmas": None, "logarithm": spread.floor is not None}
    if theirs is None or not math.isfinite(mine) or not math.isfinite(theirs) or spread.sigma <= 0:
        return told
    if spread.floor is not None:
        mine, theirs = (math.log(max(value, spread.floor)) for value in (mine, theirs))
    return told | {"sigmas": (theirs - mine) / spread.sigma}


def _within(mine: Document, theirs: float | None) -> bool | None:
    """Whether a value lies in the band of the query's; None where there is no band, or no value."""
    low, high = mine.get("low"), mine.get("high")
    if low is None or high is None or theirs is None or not math.isfinite(theirs):
        return None
    return bool(low <= theirs <= high)


def _told(match: Match, catalogue: Catalogue, physical: bool) -> Document:
    """What is known of a patch whatever was asked; a hand that moves finds the same ones again and again."""
    known = catalogue.told.get(match.id)
    if known is None:
        row = match.row
        on_grid = {name: row.get(f"grid_{name}") for name in parameters()}
        known = catalogue.told[match.id] = plain(
            {
                "id": match.id,
                **known_of({**row, "region": match.region}, catalogue.archive.uri),
                "frames": catalogue.frames(match.region),
                "parameters": quantities(catalogue.native(row), physical=True),
                "grid": quantities(on_grid, physical=physical),
                "native_shape": [row["ny"], row["nx"]],
                "native_scale_mm": None if row["scale_y_mm"] is None else [row["scale_y_mm"], row["scale_x_mm"]],
            }
        )
    return known


def match_record(
    match: Match,
    mine: Mapping[str, Document],
    catalogue: Catalogue,
    spreads: Mapping[str, Spread],
    physical: bool,
    closeness: Closeness | None,
) -> Document:
    """One match: what is known of it, and how its parameters differ from the query's.

    Parameters
    ----------
    match
        With the row of the archive.
    mine
        Parameters of the query (`Estimate`), at the scale of the model (`Catalogue.column`).
    spreads
        Of the parameters that are compared.
    physical
        Whether the grid has a scale.
    closeness
        Of the archive, by the distance that was searched with; None where it is not known.
    """
    apart = {}
    for name, spread in spreads.items():
        theirs = match.row.get(catalogue.column(name))
        own = math.nan if mine[name]["value"] is None else mine[name]["value"]
        apart[name] = quantity(None if theirs is None else theirs - own, spread.unit)
        apart[name] |= {**sigmas_apart(spread, own, theirs), "within": _within(mine[name], theirs)}
    judged = {"distance": match.distance, "nearer": closeness and closeness.share(match.distance), "rank": match.rank}
    judged |= {"correlation": match.correlation}
    return _told(match, catalogue, physical) | plain({**judged, "difference": apart})
