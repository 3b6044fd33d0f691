"""The answers of one search: a list that knows its archive, and so can be shown, drawn and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .. import notebook
from ..archive.view import caveats_of_row
from ..grey import stretched
from .index import Match

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.figure import Figure

    from ..archive.store import Archive
    from ..config import Preset
    from ..patch import Patch
    from .closeness import Closeness

__all__ = ["Matches", "title_of"]

#: matches whose pictures a notebook shows
_SHOWN = 20
_PARAMETERS = ("tuf", "r", "psep", "tilt")


def title_of(match: Match) -> str:
    """Rank, region, source and distance of a match, and the names of what limits its picture: a title of two lines.

    >>> title_of(Match("p", "HARP 1422", 0.25, 1, {"source": "real", "mu": 0.08}))
    '1: HARP 1422\\nreal, 0.25, limb'
    """
    limits = [caveat.name for caveat in caveats_of_row(match.row)]
    about = [str(match.row.get("source")), f"{match.distance:.3g}", *limits]
    return f"{match.rank}: {match.region}\n{', '.join(about)}"


class Matches(list[Match]):
    """Matches of a search, nearest first.

    Attributes
    ----------
    archive
        Where their patches are.
    query
        (H, W) in the units of `preset`, what was searched with.
    preset
        Of the model that searched.
    closeness
        What says whether their distances are small ones; None: nothing is known.

    Examples
    --------
    ``matches = search(archive, model, "HARP.fits")`` shows as a table with pictures in a notebook;
    ``matches.plot()`` draws the query and the matches, ``matches.qtable()`` has their parameters with units.
    """

    def __init__(
        self,
        matches: Iterable[Match],
        archive: Archive,
        query: np.ndarray,
        preset: Preset,
        closeness: Callable[[], Closeness | None] | None = None,
    ) -> None:
        super().__init__(matches)
        self.archive, self.query, self.preset, self._closeness = archive, query, preset, closeness

    @cached_property
    def close(self) -> bool | None:
        """Whether the nearest of them is close: as near as 95 of 100 patches of the archive have another region.

        None where that is not known: without matches, with weights of one's own, and where finding out would cost far
        more than the search (`SearchSession.closeness`).
        """
        known = self._closeness() if self._closeness is not None and self else None
        return None if known is None else known.close(min(match.distance for match in self))

    @property
    def doubt(self) -> str:
        """What is to be said where none of them is close; else empty."""
        if self.close is not False:
            return ""
        return (
            "nothing close was found: even the nearest match is farther away than 95 of 100 patches of the archive are "
            "from their nearest other region"
        )

    def patches(self) -> list[Patch]:
        """The patches themselves, at their native scale, in the order of the matches."""
        return list(self.archive.patches(ids=[match.id for match in self])) if self else []

    def qtable(self, names: Iterable[str] | None = None) -> QTable:
        """Parameters of the matches at native scale, as `solquery.qtable`; their rank and distance stand behind."""
        from ..physics.units import qtable

        more: dict[str, list[float]] = {
            "rank": [match.rank for match in self],
            "distance": [match.distance for match in self],
        }
        return qtable(self.patches(), names, more=more)

    def plot(self, columns: int = 4) -> Figure:
        """Query and matches in grey (`solquery.grey`), north up: the query on the grid, matches at native scale.

        Parameters
        ----------
        columns
            Pictures in a row.

        Returns
        -------
        matplotlib.figure.Figure
            It belongs to no window: save it with ``savefig``, or leave it as the last line of a notebook's cell.
        """
        from matplotlib.figure import Figure

        tiles = [("query", np.asarray(self.preset.to_gauss(self.query)))]
        for match, patch in zip(self, self.patches(), strict=True):
            tiles.append((title_of(match), patch.field))
        rows = -(-len(tiles) // columns)
        figure = Figure(figsize=(2.4 * columns, 2.4 * rows), layout="constrained")
        for place, (title, field) in enumerate(tiles, start=1):
            axes = figure.add_subplot(rows, columns, place)
            axes.imshow(stretched(field), origin="lower", cmap="gray", vmin=-1, vmax=1)
            axes.set_title(title, fontsize="small")
            axes.set_axis_off()
        return figure

    def _repr_html_(self) -> str:
        from ..physics import unit_of

        heads = ("", "", "id", "region", "source", "distance", *_PARAMETERS, "limits")
        query = notebook.picture(np.asarray(self.preset.to_gauss(self.query)), "the query")
        rows: list[tuple[object, ...]] = [("", query, "query", *[""] * (len(heads) - 3))]
        shown = self[:_SHOWN]
        patches = self.archive.patches(ids=[match.id for match in shown]) if shown else ()
        for match, patch in zip(shown, patches, strict=True):
            values = [notebook.number(match.row.get(name), unit_of(name, True)) for name in _PARAMETERS]
            picture = notebook.picture(patch.field, f"magnetogram of {match.region}")
            about = (match.id, match.region, patch.source, f"{match.distance:.4g}")
            limits = "; ".join(caveat.text for caveat in caveats_of_row(match.row))
            rows.append((match.rank, picture, *about, *values, limits))
        told = f"{len(self)} matches of {self.archive.uri} · {notebook.GREY}"
        return notebook.table(heads, rows, f"{told} · caution: {self.doubt}" if self.doubt else told)
