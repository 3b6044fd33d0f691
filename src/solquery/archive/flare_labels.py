"""Labels of observed patches from a flare list: will the region flare soon after the observation?"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..aliases import Document, Row
from ..errors import SolqueryError
from ..io import write_atomically
from .flares import Flare, FlareList, flare_flux

if TYPE_CHECKING:
    from .store import Archive

__all__ = ["FlareLabels", "label_archive", "parse_window"]

_COLUMNS = ("id", "region", "source", "quantity", "harpnum", "noaa", "t_utc")
#: columns of the table; `solquery directions labels` reads the first two
_HEAD = ("id", "label", "region", "harpnum", "noaa", "t_utc", "goes_class", "flare_peak", "hours")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "hr": "hours", "d": "days", "day": "days", "days": "days"}


@dataclass(frozen=True)
class FlareLabels:
    """One row for each labelled patch, and why others have none.

    Attributes
    ----------
    rows
        Of each patch: ``id``, ``label`` (0 or 1), ``region``, ``harpnum``, ``noaa``, ``t_utc``; where the label is 1,
        ``goes_class``, ``flare_peak`` and ``hours`` (from the observation to the peak) of the strongest flare.
    left_out
        Reason to number of patches.
    flare_class, within
        What was asked.
    unassigned
        Flares of the class that the list gives to no region: labels 0 within `within` before one are less sure.
    """

    rows: tuple[Row, ...]
    left_out: dict[str, int]
    flare_class: str
    within: timedelta
    unassigned: int = 0

    @property
    def positives(self) -> int:
        """Patches labelled 1."""
        return sum(row["label"] for row in self.rows)

    def regions(self, label: int) -> int:
        """How many regions have patches with this label."""
        return len({row["region"] for row in self.rows if row["label"] == label})

    def write(self, path: str | Path) -> Path:
        """Write the table (CSV) that `solquery directions labels` reads."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _HEAD, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({
                **row, "noaa": " ".join(map(str, row["noaa"])), "t_utc": _stamp(row["t_utc"]),
                "flare_peak": _stamp(row["flare_peak"]), "hours": "" if row["hours"] is None else f"{row['hours']:.2f}",
            })  # fmt: skip
        return write_atomically(path, text.getvalue())


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S")


def parse_window(text: str) -> timedelta:
    """A length of time such as ``24h``, ``90min`` or ``2d``.

    Raises
    ------
    SolqueryError
        For what is none, or not longer than zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
    if found is None or found[2] not in _UNITS or float(found[1]) <= 0:
        raise SolqueryError(f"{text!r} is no length of time; write one such as 24h, 90min or 2d")
    try:
        return timedelta(**{_UNITS[found[2]]: float(found[1])})
    except OverflowError:
        raise SolqueryError(f"{text!r} is longer than there are observations") from None


def label_archive(
    archive: Archive, flares: FlareList, flare_class: str = "M", within: timedelta | str = "24h",
    where: str | None = None,
) -> FlareLabels:  # fmt: skip
    """Label observed patches by whether their region has a flare soon after the observation.

    A patch has label 1 where a flare of the class or stronger peaks later than its observation and within the window,
    in a region with one of its NOAA numbers (those of any frame of its HARP) or its HARP number; 0 where there is none.
    Left out are patches that nobody observed, without a time, without a NOAA number that a list by NOAA number could
    name, and those whose window the list does not cover in full: there, no flare in the list is no sign that there was
    none.

    Parameters
    ----------
    archive
        Whose patches; frames of both quantities get the same label.
    flares
        From `read_flares`.
    flare_class
        The weakest that counts: ``"M"`` is M1.0 and stronger.
    within
        Length of the window from the observation on: ``"24h"``, ``"2d"``, or a `timedelta`.
    where
        Only patches that meet this SQL condition.

    Returns
    -------
    FlareLabels

    Raises
    ------
    SolqueryError
        When no patch can be labelled, or all have the same label.

    Examples
    --------
    >>> labels = label_archive(Archive.open("sharps"), read_flares("hek.json"), "M", "24h")  # doctest: +SKIP
    >>> labels.write("labels.csv")                                                           # doctest: +SKIP
    """
    window = parse_window(within) if isinstance(within, str) else within
    if window <= timedelta(0):
        raise SolqueryError("the window of flares must be longer than nothing, such as 24h")
    least = flare_flux(flare_class)
    strong = [flare for flare in flares.flares if flare.flux >= least]
    by_region = _by_region(strong)
    table = archive.table([*_COLUMNS], where)
    patches = table.to_pylist()
    numbers = _numbers_of_harps(patches)
    by_harp = any(flare.harpnum is not None for flare in flares.flares)
    rows, left_out = [], Counter[str]()
    for patch in patches:
        harp = patch["harpnum"]
        noaa = sorted({*(patch["noaa"] or ()), *(numbers.get(harp, ()) if harp is not None else ())} - {0})
        reason = _why_not(patch, noaa, by_harp, window, flares)
        if reason is not None:
            left_out[reason] += 1
            continue
        keys = [*(("noaa", number) for number in noaa), ("harp", harp)]
        rows.append(_row(patch, noaa, window, [flare for key in keys for flare in by_region.get(key, ())]))
    unassigned = sum(flare.noaa is None and flare.harpnum is None for flare in strong)
    found = FlareLabels(tuple(rows), dict(left_out), flare_class.upper(), window, unassigned)
    _check(found, archive.uri, flares)
    return found


def _by_region(flares: Iterable[Flare]) -> dict[tuple[str, int | None], list[Flare]]:
    out: dict[tuple[str, int | None], list[Flare]] = {}
    for flare in flares:
        for kind, number in (("noaa", flare.noaa), ("harp", flare.harpnum)):
            if number is not None:
                out.setdefault((kind, number), []).append(flare)
    return out


def _numbers_of_harps(patches: Iterable[Document]) -> dict[int, set[int]]:
    """HARP number to the NOAA numbers of all its frames: a region is numbered days after it is seen."""
    out: dict[int, set[int]] = {}
    for patch in patches:
        if patch["harpnum"] is not None:
            out.setdefault(patch["harpnum"], set()).update(patch["noaa"] or ())
    return out


def _why_not(patch: Document, noaa: list[int], by_harp: bool, window: timedelta, flares: FlareList) -> str | None:
    """Why a patch cannot be labelled; None where it can."""
    if patch["source"] != "real":
        return "not observed"
    if patch["t_utc"] is None:
        return "without a time"
    if not noaa and not (by_harp and patch["harpnum"] is not None):
        return "without a NOAA number"
    if not flares.covers(patch["t_utc"], patch["t_utc"] + window):
        return "outside the times that the list covers"
    return None


def _row(patch: Row, noaa: list[int], window: timedelta, flares: list[Flare]) -> Row:
    when = patch["t_utc"]
    soon = [flare for flare in flares if when < flare.peak <= when + window]
    first = max(soon, key=lambda flare: (flare.flux, -flare.peak.timestamp()), default=None)
    return {
        "id": patch["id"], "label": int(first is not None), "region": patch["region"], "harpnum": patch["harpnum"],
        "noaa": noaa, "t_utc": when, "goes_class": first.goes_class if first else "",
        "flare_peak": first.peak if first else None,
        "hours": (first.peak - when).total_seconds() / 3600 if first else None,
    }  # fmt: skip


def _check(found: FlareLabels, uri: str, flares: FlareList) -> None:
    """One line where there is nothing to learn from."""
    if not found.rows:
        why = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items()) or "it holds none"
        first, last = (_stamp(flares.covered[0][0]), _stamp(flares.covered[-1][1])) if flares.covered else ("–", "–")
        raise SolqueryError(f"no patch of {uri} can be labelled: {why}; the list covers {first} to {last} UTC")
    hours = f"{found.within.total_seconds() / 3600:g} h"
    if found.positives == 0:
        raise SolqueryError(
            f"all {len(found.rows)} patches are labelled 0: none of their regions has a flare of {found.flare_class} "
            f"or stronger within {hours}; ask for a weaker class or a longer window"
        )
    if found.positives == len(found.rows):
        raise SolqueryError(
            f"all {len(found.rows)} patches are labelled 1: each has a flare of {found.flare_class} or stronger within "
            f"{hours}; ask for a stronger class or a shorter window"
        )
