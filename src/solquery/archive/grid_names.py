"""On the grid of which preset the rows of an archive were embedded and measured.

`grid_preset` has the name of the preset. A name may have stood for another grid once (`FORMER_MEANINGS`): rows that
were written then are told by having no share of flux outside the view, which every row has that was embedded since.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from ..config import Preset
from ..config.presets import FORMER_MEANINGS

__all__ = ["GRID_COLUMNS", "grid_names", "where_on_grid"]

#: columns that tell the grid of a row; an archive that was embedded before there was the second has only the first
GRID_COLUMNS = ("grid_preset", "flux_outside_view")


def grid_names(table: pa.Table) -> pa.ChunkedArray:
    """Name of the preset on whose grid each row was embedded; null for a row that was not.

    Parameters
    ----------
    table
        With those of `GRID_COLUMNS` that the archive has; ``grid_preset`` must be there.
    """
    names = table["grid_preset"].cast(pa.string())
    for name, meant in FORMER_MEANINGS.items():
        former = pc.equal(names, name)
        if "flux_outside_view" in table.column_names:
            former = pc.and_(former, pc.is_null(table["flux_outside_view"]))
        names = pc.if_else(pc.fill_null(former, False), meant, names)
    return names if isinstance(names, pa.ChunkedArray) else pa.chunked_array([names])


def where_on_grid(columns: Collection[str], preset: Preset) -> str:
    """SQL condition for the rows that `grid_names` gives the name of `preset`.

    Parameters
    ----------
    columns
        Of the archive; ``grid_preset`` must be among them.
    preset
        Whose rows.

    Examples
    --------
    >>> from solquery.config import get_preset
    >>> where_on_grid(["grid_preset"], get_preset("physical-square"))
    "(grid_preset = 'physical-square' OR grid_preset = 'physical')"
    """
    told = "flux_outside_view" in columns
    own = f"grid_preset = '{preset.name}'"
    if preset.name in FORMER_MEANINGS:
        own += " AND flux_outside_view IS NOT NULL" if told else " AND FALSE"
    unsaid = " AND flux_outside_view IS NULL" if told else ""
    former = [f"grid_preset = '{name}'{unsaid}" for name, meant in FORMER_MEANINGS.items() if meant == preset.name]
    if not former:
        return own
    return f"({' OR '.join(f'({part})' if ' AND ' in part else part for part in [own, *former])})"
