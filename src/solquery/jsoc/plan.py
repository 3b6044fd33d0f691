"""Before anything is fetched: the keyword queries, the choice of frames, and what fetching them would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta

from ..aliases import Header
from ..archive.store import Archive
from ..errors import SolqueryError
from ..patch import observation_time
from .client import Jsoc
from .connection import JsocRefusal, TooLarge
from .manifest import Manifest
from .selection import Ask, Choice, Record, choose, export_batches, record_of, t_rec_of, windows

__all__ = ["STORED_BYTES_A_PIXEL", "FetchOptions", "Plan", "Progress", "as_asked", "pixels_of", "plan", "survey"]

#: measured on 44 SHARP Br files as JSOC compresses them; a row of the archive holds two bytes a pixel
BYTES_A_PIXEL, STORED_BYTES_A_PIXEL = 1.84, 2.0
#: pixels of a frame whose size the query does not tell: the mean of the same files
USUAL_PIXELS = 199_000
#: records this old do not change any more
SETTLED = timedelta(days=60)

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class FetchOptions:
    """How a fetch is done; what is fetched is the `Ask`.

    Attributes
    ----------
    method
        ``url_quick``: files as they lie at JSOC, nothing is staged; ``url``: JSOC makes files with all keywords.
    export_batch
        Records in an export request.
    batch
        Frames in one commit of the archive.
    damaged_tries
        How often a file that arrives damaged is fetched before its frame is given up.
    export_tries
        How often an export that fails or expires is asked for again before it is halved, or given up.
    keep_files
        Keep the FITS files in the staging folder.
    """

    method: str = "url_quick"
    export_batch: int = 250
    batch: int = 32
    damaged_tries: int = 3
    export_tries: int = 3
    keep_files: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("url_quick", "url"):
            raise SolqueryError(f"export method {self.method!r} is not known; choose url_quick or url")
        if min(self.export_batch, self.batch, self.damaged_tries, self.export_tries) < 1:
            raise SolqueryError("export_batch, batch and tries must be at least 1")


@dataclass
class Plan:
    """What a fetch would do."""

    asked: Header
    frames: int
    regions: int
    there: int
    to_fetch: int
    download_bytes: int
    archive_bytes: int
    requests: dict[str, int]
    dropped: dict[str, int]


def plan(ask: Ask, archive: str, jsoc: Jsoc, options: FetchOptions, progress: Progress = lambda t, f: None) -> Plan:
    """Query and choose, and say what would be fetched; nothing is exported, and nothing is left behind."""
    with Manifest("") as manifest:
        choice = survey(ask, jsoc, manifest, progress)
    there = set(Archive.open(archive).ids()) if Archive.exists(archive) else set()
    todo = [record for record in choice.chosen if record.patch_id not in there]
    pixels = pixels_of(todo)
    exports = len(export_batches(todo, options.export_batch))
    return Plan(
        asked=as_asked(ask),
        frames=len(choice.chosen),
        regions=len({record.harp for record in choice.chosen}),
        there=len(choice.chosen) - len(todo),
        to_fetch=len(todo),
        download_bytes=int(pixels * BYTES_A_PIXEL),
        archive_bytes=int(pixels * STORED_BYTES_A_PIXEL),
        requests={"queries": len(windows(ask)), "exports": exports, "files": len(todo)},
        dropped=dict(Counter(reason for _, reason in choice.dropped)),
    )


def as_asked(ask: Ask) -> Header:
    """An ask, ready for JSON."""
    return {**asdict(ask), "start": t_rec_of(ask.start), "end": t_rec_of(ask.end)}


def pixels_of(records: Iterable[Record]) -> int:
    """Pixels of frames, where a query does not tell the usual number."""
    return sum(r.shape[0] * r.shape[1] if r.shape else USUAL_PIXELS for r in records)


def survey(ask: Ask, jsoc: Jsoc, manifest: Manifest, progress: Progress) -> Choice:
    """Ask for the keywords that the manifest does not have yet, and choose."""
    todo = windows(ask)[::-1]
    total, nameless = len(todo), 0
    while todo:
        window = todo.pop()
        progress(f"query {total - len(todo):,} of {total:,}", (total - len(todo) - 1) / total)
        answered = manifest.answered(window.record_set, ask.segment)
        if answered is not None:
            end = observation_time(t_rec_of(window.end))
            if end is not None and end + SETTLED < answered:
                continue
        try:
            rows = jsoc.records(window.record_set, ask.segment)
        except TooLarge as error:
            parts = window.halves()
            if len(parts) == 1:
                raise JsocRefusal(f"JSOC cannot answer the query {window.record_set}: {error}; try later") from None
            todo += parts[::-1]
            total += 1
            continue
        records = [record_of(row, ask.segment) for row in rows]
        nameless += sum(record is None for record in records)
        manifest.learn(window.record_set, ask.segment, [record for record in records if record is not None])
    if nameless:
        progress(f"{nameless:,} records name no region or time and are left out", 1.0)
    return choose(manifest.records(ask.segment), ask)
