"""From an ask to an archive: query, choose, export in lots, download one by one, check, ingest; always to be resumed.

What is safe at any moment: an answer to a query once it is in the manifest; an export once its number is; a file once
it lies checked in the staging folder; a frame once its row is in the archive. The archive has the last word: a frame
whose row is there is done, whatever the manifest says.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..errors import SolqueryError
from ..patch import Patch, observation_time
from .fits import UnreadableFits
from .frames import read_frame
from .jsoc import Export, Gone, Jsoc, JsocRefusal, TooLarge
from .manifest import Manifest
from .patience import NotNow, ServerDown
from .selection import Ask, Choice, Record, choose, lots, record_of, record_sets, t_rec_of, windows
from .store import Archive
from .tables import local_path

__all__ = ["FetchOptions", "FetchReport", "Plan", "fetch", "plan", "staging_of"]

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
    lot
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
    lot: int = 250
    batch: int = 32
    damaged_tries: int = 3
    export_tries: int = 3
    keep_files: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("url_quick", "url"):
            raise SolqueryError(f"export method {self.method!r} is not known; choose url_quick or url")
        if min(self.lot, self.batch, self.damaged_tries, self.export_tries) < 1:
            raise SolqueryError("lot, batch and tries must be at least 1")


@dataclass
class Plan:
    """What a fetch would do."""

    asked: dict[str, Any]
    frames: int
    regions: int
    there: int
    to_fetch: int
    download_bytes: int
    archive_bytes: int
    requests: dict[str, int]
    dropped: dict[str, int]


@dataclass
class FetchReport:
    """What a fetch did; `dropped` and `failed` name every frame that was given up, with the reason."""

    archive: str
    asked: dict[str, Any]
    frames: int = 0
    regions: int = 0
    there: int = 0
    fetched: int = 0
    dropped: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    bytes: int = 0
    requests: int = 0
    seconds: float = 0.0
    stopped: str | None = None


def staging_of(archive: str | Path) -> Path | None:
    """Folder of the manifest and of files on their way: inside a local archive; None for object storage."""
    path = local_path(str(archive))
    return None if path is None else path / "fetch"


def plan(ask: Ask, archive: str, jsoc: Jsoc, options: FetchOptions, progress: Progress = lambda t, f: None) -> Plan:
    """Query and choose, and say what would be fetched; nothing is exported, and nothing is left behind."""
    with Manifest(":memory:") as manifest:
        choice = _survey(ask, jsoc, manifest, progress)
    there = set(Archive.open(archive).ids()) if Archive.exists(archive) else set()
    todo = [record for record in choice.chosen if record.patch_id not in there]
    pixels = sum(r.shape[0] * r.shape[1] if r.shape else USUAL_PIXELS for r in todo)
    exports = len(lots(todo, options.lot))
    return Plan(
        asked=_asked(ask),
        frames=len(choice.chosen),
        regions=len({record.harp for record in choice.chosen}),
        there=len(choice.chosen) - len(todo),
        to_fetch=len(todo),
        download_bytes=int(pixels * BYTES_A_PIXEL),
        archive_bytes=int(pixels * STORED_BYTES_A_PIXEL),
        requests={"queries": len(windows(ask)), "exports": exports, "files": len(todo)},
        dropped=dict(Counter(reason for _, reason in choice.dropped)),
    )


def fetch(
    ask: Ask,
    archive: str,
    jsoc: Jsoc,
    options: FetchOptions | None = None,
    *,
    staging: str | Path | None = None,
    progress: Progress = lambda text, fraction: None,
    say: Callable[[str], None] = lambda text: None,
) -> FetchReport:
    """Fetch what is asked for into an archive; repeating a call that was cut short goes on where that one was.

    Parameters
    ----------
    ask
        Which frames.
    archive
        Directory or URI; made when the first frame is there.
    jsoc
        The connection.
    staging
        Folder for manifest and files; inside a local archive when None.
    progress
        Called with a line of text and the fraction that is done.
    say
        Called with a line about each frame that is given up.

    Returns
    -------
    FetchReport
        With `stopped` set when the server went away; what was fetched by then is in the archive.

    Raises
    ------
    JsocRefusal
        When exports are not allowed, or a query makes no sense.
    ManifestError
        When another fetch is at it, or the manifest is damaged.
    ServerDown
        When not even the queries are answered.
    """
    folder = Path(staging) if staging is not None else staging_of(archive)
    if folder is None:
        raise SolqueryError(f"{archive} is no local directory; name a folder for files on their way: --staging DIR")
    (folder / "files").mkdir(parents=True, exist_ok=True)
    with Manifest(folder / "manifest.sqlite") as manifest:
        return _Fetch(ask, archive, jsoc, options or FetchOptions(), folder, manifest, progress, say).run()


def _asked(ask: Ask) -> dict[str, Any]:
    return {**asdict(ask), "start": t_rec_of(ask.start), "end": t_rec_of(ask.end)}


def _survey(ask: Ask, jsoc: Jsoc, manifest: Manifest, progress: Progress) -> Choice:
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


@dataclass
class _Lot:
    """Frames that are exported together, and how often that has failed."""

    records: list[Record]
    failures: int = 0


class _Fetch:
    """One run; its methods in the order in which they are used."""

    def __init__(
        self,
        ask: Ask,
        archive: str,
        jsoc: Jsoc,
        options: FetchOptions,
        folder: Path,
        manifest: Manifest,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.ask, self.archive, self.jsoc, self.options = ask, archive, jsoc, options
        self.files, self.manifest, self.progress, self.say = folder / "files", manifest, progress, say
        self.report = FetchReport(archive, _asked(ask))
        self.store = Archive.open(archive) if Archive.exists(archive) else None
        self.batch: list[tuple[Record, Patch]] = []
        self.settled = 0
        self.to_settle = 0
        self.began = time.monotonic()

    def run(self) -> FetchReport:
        report = self.report
        choice = _survey(self.ask, self.jsoc, self.manifest, self.progress)
        self.manifest.set_reasons("dropped", [(record.key, reason) for record, reason in choice.dropped])
        report.frames, report.regions = len(choice.chosen), len({r.harp for r in choice.chosen})
        report.dropped = [{"frame": record.name, "reason": reason} for record, reason in choice.dropped]
        todo = self._take_up(choice.chosen)
        self.to_settle = len(todo)
        chosen = {record.key for record in choice.chosen}
        try:
            if todo:
                self._room_for(todo)
                self.jsoc.check_email()
                self._resume_exports({record.key for record in todo})
                states = self.manifest.states()
                todo = [record for record in todo if states[record.key] == "wanted"]
                self._work([_Lot(records) for records in lots(todo, self.options.lot)])
        except ServerDown as error:
            report.stopped = str(error)
        self._ingest()
        report.failed = [
            {"frame": entry.record.name, "reason": entry.reason}
            for entry in self.manifest.entries("failed")
            if entry.record.key in chosen
        ]
        report.requests, report.seconds = self.jsoc.requests, time.monotonic() - self.began
        return report

    # ---------------------------------------------------------------- resume

    def _take_up(self, chosen: list[Record]) -> list[Record]:
        """Put every chosen frame into its state, from the archive, the staging folder and the manifest; those to do."""
        there = set(self.store.ids()) if self.store is not None else set()
        staged = {entry.record.key: entry for entry in self.manifest.entries("downloaded")}
        keep = set()
        for entry in staged.values():
            path = self.files / entry.record.file_name
            if entry.record.patch_id in there:
                continue
            patch = self._staged(path, entry.record, entry.sha256)
            if patch is None:
                self.manifest.set([entry.record.key], "wanted")
            else:
                keep.add(path.name)
                self._add(entry.record, patch)
        self._ingest()
        if not self.options.keep_files:
            for path in self.files.iterdir():
                if path.name not in keep:
                    path.unlink(missing_ok=True)
        there = set(self.store.ids()) if self.store is not None else set()
        done = [record for record in chosen if record.patch_id in there]
        self.manifest.set([record.key for record in done], "done")
        self.report.there = len(done) - self.report.fetched
        todo = [record for record in chosen if record.patch_id not in there]
        states = self.manifest.states()
        self.manifest.set([r.key for r in todo if states[r.key] != "requested"], "wanted", export_id=None)
        return todo

    def _staged(self, path: Path, record: Record, sha256: str | None) -> Patch | None:
        """The patch of a file that an earlier run has left, if it is still what that run checked."""
        try:
            if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                return None
            return read_frame(path, record)
        except (OSError, UnreadableFits):
            return None

    def _room_for(self, todo: list[Record]) -> None:
        path = local_path(self.archive)
        if path is None:
            return
        pixels = sum(r.shape[0] * r.shape[1] if r.shape else USUAL_PIXELS for r in todo)
        needed, free = pixels * STORED_BYTES_A_PIXEL, shutil.disk_usage(self.files).free
        if needed > free:
            raise SolqueryError(
                f"{len(todo):,} frames need some {needed / 1e9:.1f} GB, and {path} has {free / 1e9:.1f} GB free; "
                "choose another place, or fewer frames with --max-frames or --cadence"
            )

    def _resume_exports(self, keys: set[tuple[int, str, str]]) -> None:
        """Take up exports that an earlier run has asked for."""
        pending: dict[str, list[Record]] = defaultdict(list)
        for entry in self.manifest.entries("requested"):
            if entry.record.key in keys and entry.export_id:
                pending[entry.export_id].append(entry.record)
        for export_id, records in pending.items():
            try:
                export = self.jsoc.wait(self.jsoc.export_state(export_id), self._note)
            except Gone:
                self.manifest.set([record.key for record in records], "wanted", export_id=None)
            else:
                rest = self._download_all(_Lot(records), export)
                self.manifest.set([record.key for record in rest], "wanted", export_id=None)
        lost = [e.record.key for e in self.manifest.entries("requested") if e.record.key in keys]
        self.manifest.set(lost, "wanted", export_id=None)

    # ---------------------------------------------------------------- export

    def _work(self, todo: list[_Lot]) -> None:
        """Export and download, a lot at a time; one that is too large, or fails again and again, is halved."""
        todo = todo[::-1]
        while todo:
            lot = todo.pop()
            keys = [record.key for record in lot.records]
            try:
                export = self.jsoc.export(record_sets(lot.records), self.options.method)
                if export.id is not None:
                    self.manifest.set(keys, "requested", export_id=export.id)
                export = self.jsoc.wait(export, self._note)
            except TooLarge as error:
                todo += self._smaller(lot, str(error))
                continue
            except Gone as error:
                lot.failures += 1
                self._note(f"an export of {len(lot.records)} frames failed: {error}")
                if lot.failures < self.options.export_tries:
                    time.sleep(self.jsoc.pause_after(lot.failures))
                    todo.append(lot)
                else:
                    todo += self._smaller(lot, str(error))
                continue
            rest = self._download_all(lot, export)
            if rest:
                lot = _Lot(rest, lot.failures + 1)
                if lot.failures < self.options.export_tries:
                    todo.append(lot)
                else:
                    self._give_up(rest, "the server lists the file and does not have it")

    def _smaller(self, lot: _Lot, why: str) -> list[_Lot]:
        if len(lot.records) == 1:
            self._give_up(lot.records, f"JSOC does not export it: {why}")
            return []
        self._note(f"{why}; asking for half of {len(lot.records)} frames")
        middle = len(lot.records) // 2
        return [_Lot(lot.records[middle:]), _Lot(lot.records[:middle])]

    # ----------------------------------------------------------------- files

    def _download_all(self, lot: _Lot, export: Export) -> list[Record]:
        """Download and check the files of a lot; the frames whose export or file has gone meanwhile are returned."""
        rest: list[Record] = []
        for k, record in enumerate(lot.records):
            url = export.files.get(record.key)
            if url is None:
                self._give_up([record], "JSOC has no file for this frame")
                continue
            try:
                self._one(record, url)
            except Gone:
                rest.append(record)
                # with the first of its files an expired export has lost them all
                if export.id is not None and self._expired(export.id):
                    return rest + lot.records[k + 1 :]
        return rest

    def _expired(self, export_id: str) -> bool:
        try:
            return not self.jsoc.export_state(export_id).ready
        except Gone:
            return True

    def _one(self, record: Record, url: str) -> None:
        """One file: downloaded, checked, on its way into the archive; or given up."""
        path = self.files / record.file_name
        failures = damaged = 0
        while True:
            try:
                size, sha256 = self.jsoc.download(url, path, record)
                self.report.bytes += size
                patch = read_frame(path, record)
            except NotNow as error:
                failures += 1
                if failures >= self.jsoc.patience.tries:
                    self._give_up([record], f"{error}, {failures} times")
                    return
                self._wait(record, str(error), self.jsoc.pause_after(failures), error.after_s)
            except UnreadableFits as error:
                path.unlink(missing_ok=True)
                damaged += 1
                if damaged >= self.options.damaged_tries:
                    self._give_up([record], f"{error}, {damaged} times")
                    return
                self._wait(record, str(error), self.jsoc.pause_after(damaged))
            else:
                tries = failures + damaged + 1
                self.manifest.set([record.key], "downloaded", bytes=size, sha256=sha256, tries=tries)
                self._add(record, patch)
                self._count()
                return

    def _wait(self, record: Record, why: str, pause_s: float, asked_s: float = 0.0) -> None:
        wait = max(pause_s, min(asked_s, self.jsoc.patience.most_s))
        self._note(f"{record.name}: {why}; again in {wait:.1f} s")
        time.sleep(wait)

    # ---------------------------------------------------------------- ingest

    def _add(self, record: Record, patch: Patch) -> None:
        self.batch.append((record, patch))
        if len(self.batch) >= self.options.batch:
            self._ingest()

    def _ingest(self) -> None:
        """Commit the frames at hand; one that the archive cannot keep does not take the others along."""
        batch, self.batch = self.batch, []
        if not batch:
            return
        if self.store is None:
            self.store = Archive.open_or_create(self.archive)
        try:
            self.store.add([patch for _, patch in batch], batch=len(batch))
        except ValueError:
            kept = []
            for record, patch in batch:
                try:
                    self.store.add([patch])
                except ValueError as error:
                    self._give_up([record], str(error), count=False)
                else:
                    kept.append((record, patch))
            batch = kept
        self.manifest.set([record.key for record, _ in batch], "done")
        self.report.fetched += len(batch)
        if not self.options.keep_files:
            for record, _ in batch:
                (self.files / record.file_name).unlink(missing_ok=True)

    # -------------------------------------------------------------- progress

    def _give_up(self, records: Iterable[Record], reason: str, count: bool = True) -> None:
        for record in records:
            words = reason.removeprefix(f"{record.name}: ")
            self.manifest.set([record.key], "failed", reason=words, export_id=None)
            self.say(f"given up: {record.name}: {words}")
            if count:
                self._count()

    def _count(self) -> None:
        self.settled += 1
        self._note("")

    def _note(self, what: str) -> None:
        total = max(self.to_settle, 1)
        seconds = time.monotonic() - self.began
        rate = self.settled / seconds if seconds > 0 else 0.0
        left = _duration((self.to_settle - self.settled) / rate) + " left" if rate > 0 else "time left unknown"
        line = f"{self.settled:,} of {self.to_settle:,} frames, {rate:.2f} a second, {left}"
        self.progress(f"{line}; {what}" if what else line, self.settled / total)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
