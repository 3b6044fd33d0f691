"""Which frames a fetch wants: the ask, the queries that answer it, the rule of quality, the choice, and batches.

Nothing here talks to a server: record sets are texts, records are keywords as the server gave them. Times are TAI, as
T_REC is: frames lie on slots of 12 minutes that count from midnight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple
from urllib.parse import quote_plus

import numpy as np

from ..aliases import Entries, Keywords
from ..errors import SolqueryError
from ..sharp import header as hd
from ..sharp.fits import quality_fault
from ..sharp.names import SERIES, file_name_of, patch_id_of

__all__ = [
    "CHOSEN_BY", "SERIES", "Ask", "Choice", "Record", "Window", "choose", "export_batches", "fault_of", "parse_cadence",
    "parse_time", "record_of", "record_sets", "same_time", "t_rec_of", "tai_of", "windows",
]  # fmt: skip

SLOT_S = 720
#: first and last moment of the series that a query without dates asks for
FIRST_DAY = datetime(2010, 5, 1)
#: a query is cut so that about this many records answer it
RECORDS_IN_QUERY = 4000
#: regions on the disk at a time near maximum, and days a region is seen: for the size of a query only
REGIONS_AT_ONCE, DAYS_SEEN = 14, 14
#: web servers refuse addresses of more than 8,190 characters, and the rest of a request's needs some hundred
LONGEST_RECORD_SET = 7000
#: keywords that `choose` and the size of a frame go by
CHOSEN_BY = ("QUALITY", "NOAA_AR", "NOAA_ARS", "CRPIX1", "CRPIX2")
_SECONDS_IN = {"m": 60, "min": 60, "h": 3600, "d": 86400, "s": 1}


def tai_of(t_rec: str) -> datetime:
    """``2011.02.15_02:00:00_TAI`` as a time without a zone (TAI).

    Raises
    ------
    ValueError
        When the text is no time.
    """
    bare = t_rec.strip().removesuffix("_TAI")
    day, _, clock = bare.partition("_")
    return datetime.fromisoformat(f"{day.replace('.', '-')} {clock or '00:00:00'}")


def t_rec_of(moment: datetime) -> str:
    """A time (TAI) as JSOC writes it."""
    return moment.strftime("%Y.%m.%d_%H:%M:%S_TAI")


def same_time(text: str) -> str:
    """T_REC in its usual form, also where a server writes ``2011.08.04_01:36:00.000_TAI``; other text as it is."""
    try:
        return t_rec_of(tai_of(text))
    except ValueError:
        return text.strip()


def parse_time(text: str, *, end: bool = False) -> datetime:
    """A date or time (TAI) from ``2010-05-01``, ``2010-05-01T06:00`` or JSOC's own form.

    With `end`, a date means the end of that day, and a time includes its own slot: what is given back lies just
    behind the last moment wanted.
    """
    clean = text.strip().removesuffix("_TAI").removesuffix("Z")
    day, _, clock = clean.replace("_", "T").partition("T")
    try:
        moment = datetime.fromisoformat(f"{day.replace('.', '-')} {clock or '00:00:00'}")
    except ValueError:
        raise SolqueryError(f"{text!r} is no time; write 2010-05-01 or 2010-05-01T06:00") from None
    if not end:
        return moment
    return moment + (timedelta(seconds=1) if clock else timedelta(days=1))


def parse_cadence(text: str) -> int:
    """Seconds of ``12m``, ``6h`` or ``1d``: a multiple of the series' 12 minutes that divides a day, or whole days."""
    found = re.fullmatch(r"\s*(\d+)\s*(s|m|min|h|d)\s*", text)
    seconds = int(found[1]) * _SECONDS_IN[found[2]] if found else 0
    fits = seconds >= SLOT_S and seconds % SLOT_S == 0 and (86400 % seconds == 0 or seconds % 86400 == 0)
    if not fits:
        raise SolqueryError(
            f"a cadence of {text!r} does not exist: frames come every 12 minutes, so ask for 12m, 36m, 1h, 6h, 1d or "
            "another multiple of 12m that divides a day"
        )
    return seconds


@dataclass(frozen=True)
class Ask:
    """What a user wants fetched.

    Attributes
    ----------
    start, end
        TAI; `end` is not included.
    harps, noaa
        Only these regions; empty means all.
    noaa_only
        Only HARPs that hold a region with a NOAA number.
    cadence_s
        Seconds between frames of a region; slots count from midnight.
    max_frames
        At most this many of a region, spread evenly over the time it was seen; None for all.
    segment
        ``Br`` or ``magnetogram``.
    """

    start: datetime
    end: datetime
    harps: tuple[int, ...] = ()
    noaa: tuple[int, ...] = ()
    noaa_only: bool = False
    cadence_s: int = 6 * 3600
    max_frames: int | None = None
    segment: str = "Br"

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise SolqueryError(f"the fetch would end ({self.end}) before it starts ({self.start}); exchange them")
        if self.max_frames is not None and self.max_frames < 1:
            raise SolqueryError(f"at least one frame of a region must be wanted, got {self.max_frames}")
        if any(number < 1 for number in (*self.harps, *self.noaa)):
            raise SolqueryError("HARP and NOAA numbers are positive")
        if self.segment not in ("Br", "magnetogram"):
            raise SolqueryError(f"segment {self.segment!r} is no field; choose Br or magnetogram")


class Window(NamedTuple):
    """One keyword query: from `start` to before `end` (TAI), of some HARPs or of all."""

    start: datetime
    end: datetime
    harps: tuple[int, ...]
    noaa: tuple[int, ...]
    noaa_only: bool
    cadence_s: int

    @property
    def record_set(self) -> str:
        """The query as JSOC's record-set language."""
        seconds = int((self.end - self.start).total_seconds())
        harps = ",".join(str(h) for h in self.harps)
        step = "" if self.cadence_s == SLOT_S else f"@{self.cadence_s}s"
        text = f"{SERIES}[{harps}][{t_rec_of(self.start)}/{seconds}s{step}]"
        if self.noaa:
            text += "[? " + " OR ".join(f"NOAA_ARS ~ '{number}'" for number in self.noaa) + " ?]"
        elif self.noaa_only:
            text += "[? NOAA_AR > 0 ?]"
        return text

    def halves(self) -> list[Window]:
        """The same question in two: by HARP where there are several, else by time; itself when it has one slot."""
        if len(self.harps) > 1:
            middle = len(self.harps) // 2
            return [self._replace(harps=part) for part in (self.harps[:middle], self.harps[middle:])]
        steps = int((self.end - self.start).total_seconds()) // self.cadence_s
        if steps < 2:
            return [self]
        cut = self.start + timedelta(seconds=steps // 2 * self.cadence_s)
        return [self._replace(end=cut), self._replace(start=cut)]


def _floor(moment: datetime, seconds: int) -> datetime:
    """Slot of the cadence at or before a moment; slots count from 2010-05-01, midnight."""
    past = (moment - FIRST_DAY).total_seconds()
    return FIRST_DAY + timedelta(seconds=past // seconds * seconds)


def windows(ask: Ask) -> list[Window]:
    """The queries that answer an ask, each for a few thousand records."""
    start = _floor(ask.start, ask.cadence_s)
    if start < ask.start:
        start += timedelta(seconds=ask.cadence_s)
    a_day = max(86400 / ask.cadence_s, 1e-3)
    if ask.harps or ask.noaa:
        together = max(int(RECORDS_IN_QUERY / (DAYS_SEEN * a_day)), 1)
        harps = sorted(set(ask.harps))
        groups = [tuple(harps[k : k + together]) for k in range(0, len(harps), together)] or [()]
        return [Window(start, ask.end, group, ask.noaa, False, ask.cadence_s) for group in groups if start < ask.end]
    steps = max(int(RECORDS_IN_QUERY / REGIONS_AT_ONCE), 1)
    length = timedelta(seconds=steps * ask.cadence_s)
    out = []
    while start < ask.end:
        out.append(Window(start, min(start + length, ask.end), (), (), ask.noaa_only, ask.cadence_s))
        start += length
    return out


@dataclass(frozen=True)
class Record:
    """One frame as the keyword query tells of it; `keywords` are texts as the server wrote them."""

    harp: int
    t_rec: str
    segment: str
    keywords: Keywords = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[int, str, str]:
        """HARP number, T_REC, segment: what names a frame everywhere."""
        return self.harp, self.t_rec, self.segment

    @property
    def name(self) -> str:
        """The frame as JSOC writes it."""
        return f"{SERIES}[{self.harp}][{self.t_rec}]{{{self.segment}}}"

    @property
    def patch_id(self) -> str:
        """The id that the frame has in an archive."""
        return patch_id_of(self.harp, self.t_rec, self.segment)

    @property
    def file_name(self) -> str:
        """A file name as JSOC's exports have it."""
        return file_name_of(self.harp, self.t_rec, self.segment)

    @property
    def shape(self) -> tuple[int, int] | None:
        """(ny, nx) from the reference pixel, which lies in the centre of a SHARP; None where it is not known."""
        sides = [2 * hd.number(self.keywords.get(f"CRPIX{axis}")) - 1 for axis in (2, 1)]
        return (int(sides[0]), int(sides[1])) if all(n > 0 and n == int(n) for n in sides) else None


def record_of(row: Entries, segment: str) -> Record | None:
    """A record from one line of a keyword query, or None when it says neither region nor time."""
    harp = hd.whole(row.get("HARPNUM"))
    try:
        t_rec = t_rec_of(tai_of(str(row.get("T_REC", ""))))
    except ValueError:
        return None
    return Record(harp, t_rec, segment, dict(row)) if harp and harp > 0 else None


def fault_of(record: Record) -> str | None:
    """Why the rule of quality drops a frame, or None."""
    quality = hd.whole(record.keywords.get("QUALITY"))
    if quality is None:
        return "its QUALITY is missing"
    return quality_fault(quality)


class Choice(NamedTuple):
    """Frames to fetch, and frames that the rule of quality drops with the reason; both by region and time."""

    chosen: list[Record]
    dropped: list[tuple[Record, str]]


def _asked(record: Record, ask: Ask) -> bool:
    moment = tai_of(record.t_rec)
    if not ask.start <= moment < ask.end or record.segment != ask.segment:
        return False
    if ask.harps and record.harp not in ask.harps:
        return False
    numbers = hd.noaa_of(record.keywords) if ask.noaa or ask.noaa_only else ()
    if (ask.noaa and not set(ask.noaa) & set(numbers)) or (ask.noaa_only and not numbers):
        return False
    return _floor(moment, ask.cadence_s) == moment


def choose(records: Iterable[Record], ask: Ask) -> Choice:
    """The frames of an ask: on its slots, of its regions, good by QUALITY, at most `max_frames` of a region.

    Those that stay, when there are too many, are first, last and evenly between; the middle one when it is one.
    """
    known = {record.key: record for record in records if _asked(record, ask)}
    chosen: list[Record] = []
    dropped: list[tuple[Record, str]] = []
    ordered = sorted(known.values(), key=lambda r: (r.harp, tai_of(r.t_rec)))
    for _, group in groupby(ordered, key=lambda r: r.harp):
        good = []
        for record in group:
            fault = fault_of(record)
            if fault is None:
                good.append(record)
            else:
                dropped.append((record, fault))
        if ask.max_frames is not None and len(good) > ask.max_frames:
            last = len(good) - 1
            places = [last / 2] if ask.max_frames == 1 else np.linspace(0, last, ask.max_frames)
            good = [good[int(k + 0.5)] for k in places]
        chosen += good
    return Choice(chosen, dropped)


def _times(moments: Sequence[datetime]) -> str:
    """Times of one region as short as JSOC takes them: runs of even steps as ranges, the others one by one."""
    parts, k = [], 0
    while k < len(moments):
        run = k + 1
        if run < len(moments):
            step = moments[run] - moments[k]
            while run + 1 < len(moments) and moments[run + 1] - moments[run] == step:
                run += 1
        if run - k >= 2:
            seconds = int(step.total_seconds())
            parts.append(f"{t_rec_of(moments[k])}-{t_rec_of(moments[run])}@{seconds}s")
            k = run + 1
        else:
            parts.append(t_rec_of(moments[k]))
            k += 1
    return ",".join(parts)


def record_sets(records: Sequence[Record]) -> str:
    """One export's record sets, a region each; they may name frames that are not wanted and were never chosen."""
    parts = []
    ordered = sorted(records, key=lambda r: (r.harp, tai_of(r.t_rec)))
    for harp, group in groupby(ordered, key=lambda r: r.harp):
        members = list(group)
        times = _times([tai_of(r.t_rec) for r in members])
        parts.append(f"{SERIES}[{harp}][{times}]{{{members[0].segment}}}")
    return ",".join(parts)


def export_batches(records: Sequence[Record], size: int) -> list[list[Record]]:
    """Frames in batches of at most `size`, by region and time, each short enough to be asked for in one address."""
    ordered = sorted(records, key=lambda r: (r.harp, tai_of(r.t_rec)))
    out: list[list[Record]] = []
    todo = [ordered[k : k + size] for k in range(0, len(ordered), size)][::-1]
    while todo:
        some = todo.pop()
        if len(some) > 1 and len(quote_plus(record_sets(some))) > LONGEST_RECORD_SET:
            todo += [some[len(some) // 2 :], some[: len(some) // 2]]
        else:
            out.append(some)
    return out
