"""Flare lists: the events of GOES as NOAA writes them, and as the Heliophysics Events Knowledgebase returns them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ..aliases import Entries, Row
from ..errors import SolqueryError
from ..patch import observation_time
from .labels import table_rows

__all__ = ["Flare", "FlareList", "flare_flux", "read_flares"]

#: peak flux in W/m2, 1 to 8 Angstrom, of a flare of class X1
_CLASSES = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}
_CLASS = re.compile(r"([ABCMX])\s*(\d+(?:\.\d*)?)?\s*$", re.IGNORECASE)
#: NOAA numbers passed 9999 on 14 June 2002; event reports go on writing their last four digits
_FIVE_DIGITS = datetime(2002, 6, 14, tzinfo=UTC)

#: what lists call their columns: HEK, sunpy's GOES event list, DONKI, NOAA's JSON, HELIO
_COLUMNS = {
    "start": ("event_starttime", "start_time", "starttime", "time_start", "tstart", "begin_time", "begintime", "start",
              "begin"),
    "peak": ("event_peaktime", "peak_time", "peaktime", "time_peak", "tpeak", "max_time", "maxtime", "peak", "max"),
    "class": ("fl_goescls", "goes_class", "goesclass", "flare_class", "xray_class", "max_class", "classtype", "fclass",
              "class"),
    "noaa": ("ar_noaanum", "noaa_active_region", "noaa_ar", "noaa", "noaa_number", "activeregionnum", "active_region",
             "nar", "ar"),
    "harp": ("harpnum", "harp", "harp_number"),
}  # fmt: skip

#: a line of NOAA's edited events: number, begin, max, end, observatory, quality, XRA, band, class, rest
_REPORT = re.compile(
    r"\s*\d+\s*\+?\s+([A-Z]?\d{4}|////)\s+([A-Z]?\d{4}|////)\s+([A-Z]?\d{4}|////)\s+\S+\s+\S+\s+XRA\s+\S+\s+(\S+)(.*)$"
)
_KNOWN = "NOAA's edited events (text), HEK (JSON, CSV), or a table with columns such as start_time, goes_class, noaa"


@dataclass(frozen=True)
class Flare:
    """One soft X-ray flare.

    Attributes
    ----------
    start, peak
        UTC; the peak is the start where the list has none.
    goes_class
        As the list has it, e.g. ``"M6.6"``.
    noaa, harpnum
        Numbers of the region; None where the list does not say.
    """

    start: datetime
    peak: datetime
    goes_class: str
    noaa: int | None = None
    harpnum: int | None = None

    @property
    def flux(self) -> float:
        """Peak flux in W/m2."""
        return flare_flux(self.goes_class)


@dataclass(frozen=True)
class FlareList:
    """Flares in the order of their starts, and the times that the list covers.

    Attributes
    ----------
    flares
        The events.
    covered
        Intervals in UTC, from and to: where there is no flare within them, there was none. Whole days, from that of
        the first event to that of the last, or those that an event report names.
    skipped
        Events without a GOES class, such as those that other instruments saw.
    """

    flares: tuple[Flare, ...]
    covered: tuple[tuple[datetime, datetime], ...]
    skipped: int = 0

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether the list tells of everything between two times."""
        return any(first <= start and end <= last for first, last in self.covered)


def flare_flux(goes_class: str) -> float:
    """Peak flux in W/m2 of a GOES class; a letter alone is its lowest: ``"M"`` is M1.0.

    Raises
    ------
    SolqueryError
        For what is no class.

    Examples
    --------
    >>> flare_flux("M6.6")
    6.6e-05
    """
    found = _CLASS.match(goes_class.strip())
    if found is None or float(found[2] or 1) <= 0:
        raise SolqueryError(f"{goes_class!r} is no GOES class; write one such as C, M or M5.0")
    return float(f"{float(found[2] or 1) * _CLASSES[found[1].upper()]:.6g}")


def read_flares(paths: str | Path | Iterable[str | Path], covers: tuple[datetime, datetime] | None = None) -> FlareList:
    """Read one flare list or several.

    Parameters
    ----------
    paths
        NOAA's edited events (``20150301events.txt``), what the Heliophysics Events Knowledgebase returns (JSON or CSV),
        or any table (CSV) or JSON list of events with a time, a GOES class and a NOAA or HARP number, under the names
        that HEK, sunpy, DONKI and NOAA use. Times are UTC.
    covers
        From when to when the lists are complete; by default the whole days between the first event of a file and its
        last one, or those that its reports are of.

    Returns
    -------
    FlareList

    Raises
    ------
    SolqueryError
        For a file that cannot be read or is none of these, naming it, and the row where one is wrong.

    Examples
    --------
    >>> flares = read_flares("hek.json")                                                     # doctest: +SKIP
    >>> [flare.goes_class for flare in flares.flares if flare.noaa == 11158][:2]             # doctest: +SKIP
    ['C1.1', 'M6.6']
    """
    flares: set[Flare] = set()
    covered: list[tuple[datetime, datetime]] = []
    skipped = 0
    for path in [paths] if isinstance(paths, str | Path) else list(paths):
        found, days, passed = _read(Path(path))
        flares |= set(found)
        covered += days
        skipped += passed
    ordered = tuple(sorted(flares, key=lambda flare: (flare.start, flare.peak, flare.goes_class, flare.noaa or 0)))
    return FlareList(ordered, (covers,) if covers is not None else tuple(_merged(covered)), skipped)


Read = tuple[list[Flare], list[tuple[datetime, datetime]], int]


def _read(path: Path) -> Read:
    try:
        start = path.read_bytes()[:4096].decode("utf-8-sig", errors="replace").lstrip()
    except OSError as error:
        raise SolqueryError(f"{path} cannot be read as a flare list: {error.strerror}") from None
    if start[:1] in ("{", "["):
        rows = _json_rows(path)
    elif "Edited Events" in start or re.search(r"^:Date:", start, re.MULTILINE):
        return _report(path)
    else:
        rows = _csv_rows(path)
    return _events(path, rows)


def _json_rows(path: Path) -> list[tuple[int, Row]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeDecodeError) as error:
        raise SolqueryError(f"{path} is no whole JSON document ({error}); fetch it again") from None
    if isinstance(found, dict):
        found = next((found[key] for key in ("result", "results", "events", "data") if key in found), None)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise SolqueryError(f"{path} holds no list of events; what is read: {_KNOWN}")
    return [(k, {str(name).lower(): value for name, value in row.items()}) for k, row in enumerate(found, start=1)]


def _csv_rows(path: Path) -> list[tuple[int, Row]]:
    rows = table_rows(path)
    if not rows:
        raise SolqueryError(f"{path} is empty; what is read: {_KNOWN}")
    heads = [cell.strip().lower() for cell in rows[0][1]]
    return [(line, dict(zip(heads, row, strict=False))) for line, row in rows[1:]] or [(0, dict.fromkeys(heads, ""))]


def _columns(path: Path, there: Iterable[str]) -> dict[str, str]:
    """What is wanted to the name of its column in this file."""
    names = list(there)
    found = {
        what: next(name for name in aliases if name in names)
        for what, aliases in _COLUMNS.items()
        if any(name in names for name in aliases)
    }
    lacking = [
        words
        for words, lacks in (
            ("a time", not {"start", "peak"} & set(found)),
            ("a GOES class", "class" not in found),
            ("a NOAA or HARP number", not {"noaa", "harp"} & set(found)),
        )
        if lacks
    ]
    if lacking:
        what = ", ".join(lacking)
        raise SolqueryError(f"{path} is no flare list that is known: no column has {what}; read: {_KNOWN}")
    return found


def _events(path: Path, rows: Sequence[tuple[int, Entries]]) -> Read:
    if not rows:
        return [], [], 0
    columns = _columns(path, dict.fromkeys(name for _, row in rows for name in row))
    flares, days, skipped = [], [], 0
    for line, row in rows:
        said = {what: str(row.get(name) if row.get(name) is not None else "").strip() for what, name in columns.items()}
        if not any(said.values()):
            continue
        start = _time(path, line, said.get("start", "")) or _time(path, line, said.get("peak", ""))
        if start is None:
            raise SolqueryError(f"{path}, row {line}: an event without a time")
        days.append(start.date())
        goes_class = said["class"].upper().replace(" ", "")
        if not _CLASS.match(goes_class):
            skipped += 1
            continue
        peak = _time(path, line, said.get("peak", "")) or start
        noaa, harp = (_number(path, line, said.get(what, "")) for what in ("noaa", "harp"))
        flares.append(Flare(start, peak, goes_class, _five_digits(noaa, start), harp))
    return flares, [_whole_days(min(days), max(days))] if days else [], skipped


def _time(path: Path, line: int, text: str) -> datetime | None:
    if text.lower() in ("", "nan", "nat", "none", "null", "--"):
        return None
    moment = observation_time(text.replace("/", "-"))
    if moment is None:
        raise SolqueryError(f"{path}, row {line}: {text!r} is no time; write 2011-02-15T01:44:00, in UTC")
    return moment


def _number(path: Path, line: int, text: str) -> int | None:
    bare = re.sub(r"^(?:NOAA|AR|HARP)\s*", "", text.upper())
    if bare in ("", "NAN", "NONE", "NULL", "--"):
        return None
    try:
        value = float(bare)
    except ValueError:
        value = 0.5
    if not value.is_integer():
        raise SolqueryError(f"{path}, row {line}: {text!r} is no number of a region")
    return int(value) if value > 0 else None


def _five_digits(noaa: int | None, when: datetime) -> int | None:
    return noaa + 10000 if noaa is not None and noaa < 5000 and when >= _FIVE_DIGITS else noaa


def _report(path: Path) -> Read:
    """NOAA's edited events: the day stands in a line of its own, and hours and minutes in those of the events."""
    day: date | None = None
    flares, covered, skipped = [], [], 0
    for line, text in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if text.startswith(":Date:"):
            try:
                day = date(*(int(part) for part in text.removeprefix(":Date:").split()))
            except (TypeError, ValueError):
                raise SolqueryError(f"{path}, line {line}: {text!r} names no day such as `:Date: 2015 03 01`") from None
            covered.append(_whole_days(day, day))
        elif (found := _REPORT.match(text)) is not None:
            if day is None:
                raise SolqueryError(f"{path}, line {line}: an event before the line `:Date:` that tells its day")
            start, peak = (_clock(path, line, day, found[k]) for k in (1, 2))
            start = start or peak
            if start is None or not _CLASS.match(found[4]):
                skipped += 1
                continue
            if peak is not None and peak < start:  # past midnight
                peak += timedelta(days=1)
            region = re.search(r"\s(\d{4,5})\s*$", found[5])
            number = _five_digits(int(region[1]), start) if region else None
            flares.append(Flare(start, peak or start, found[4].upper(), number))
    if not covered:
        raise SolqueryError(f"{path} has no line `:Date:`; what is read: {_KNOWN}")
    return flares, covered, skipped


def _clock(path: Path, line: int, day: date, text: str) -> datetime | None:
    """A time of day such as 0144 or B0144 (before), None for ////."""
    if text == "////":
        return None
    hours, minutes = int(text[-4:-2]), int(text[-2:])
    if hours > 24 or minutes > 59:
        raise SolqueryError(f"{path}, line {line}: {text!r} is no time of day")
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hours, minutes=minutes)


def _whole_days(first: date, last: date) -> tuple[datetime, datetime]:
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
    return start, end + timedelta(days=1)


def _merged(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same times without overlaps, neighbouring days joined."""
    out: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
