"""From an ask to an archive: query, choose, export in batches, download, check, ingest; always to be resumed.

What is safe at any moment: an answer to a query once it is in the manifest; an export once its number is; a file once
it lies checked in the staging folder; a frame once its row is in the archive. The archive has the last word: a frame
whose row is there is done, whatever the manifest says.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..archive.store import Archive
from ..archive.tables import local_path
from ..archive.writing import add_each
from ..errors import SolqueryError
from .client import Export, Jsoc
from .connection import Gone, TooLarge
from .manifest import Manifest
from .plan import STORED_BYTES_A_PIXEL, FetchOptions, Progress, as_asked, pixels_of, survey
from .readers import Alone, Crew, Outcome, Reader
from .report import FetchReport, duration
from .retry import NotNow, ServerDown
from .selection import Ask, Record, export_batches, record_sets

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["FetchReport", "fetch", "staging_of"]


def staging_of(archive: str | Path) -> Path | None:
    """Folder of the manifest and of files on their way: inside a local archive; None for object storage."""
    path = local_path(str(archive))
    return None if path is None else path / "fetch"


def fetch(
    ask: Ask,
    archive: str,
    jsoc: Jsoc,
    options: FetchOptions | None = None,
    *,
    staging: str | Path | None = None,
    progress: Progress = lambda text, fraction: None,
    say: Callable[[str], None] = lambda text: None,
    client: Client | None = None,
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
    client
        Of a Dask cluster (`solquery.archive.distribute.cluster`) whose workers read, check and measure the files, a
        region at a time; this process downloads and commits.

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
        reader = Alone() if client is None else Crew(client)
        return _Fetch(ask, archive, jsoc, options or FetchOptions(), folder, manifest, reader, progress, say).run()


@dataclass
class _ExportBatch:
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
        reader: Reader,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.ask, self.archive, self.jsoc, self.options = ask, archive, jsoc, options
        self.files, self.manifest, self.reader = folder / "files", manifest, reader
        self.progress, self.say = progress, say
        self.report = FetchReport(archive, as_asked(ask))
        self.store = Archive.open(archive) if Archive.exists(archive) else None
        self.batch: list[Outcome] = []
        self.spoilt: Counter[tuple[int, str, str]] = Counter()
        self.settled = 0
        self.to_settle = 0
        self.began = time.monotonic()

    def run(self) -> FetchReport:
        report = self.report
        choice = survey(self.ask, self.jsoc, self.manifest, self.progress)
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
                self._work([_ExportBatch(records) for records in export_batches(todo, self.options.export_batch)])
        except ServerDown as error:
            report.stopped = str(error)
            self._settle(self.reader.rest())
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
        there = self._there()
        keep = set()
        for entry in self.manifest.entries("downloaded"):
            record, path = entry.record, self.files / entry.record.file_name
            if record.patch_id in there:
                continue
            if _sha256(path) == entry.sha256:
                keep.add(path.name)
                self._settle(self.reader.add(record, path), count=False)
            else:
                self.manifest.set([record.key], "wanted")
        self._settle(self.reader.rest(), count=False)
        self._ingest()
        if not self.options.keep_files:
            for path in self.files.iterdir():
                if path.name not in keep:
                    path.unlink(missing_ok=True)
        there = self._there()
        done = [record for record in chosen if record.patch_id in there]
        self.manifest.set([record.key for record in done], "done")
        self.report.there = len(done) - self.report.fetched
        todo = [record for record in chosen if record.patch_id not in there]
        states = self.manifest.states()
        self.manifest.set([r.key for r in todo if states[r.key] != "requested"], "wanted", export_id=None)
        return todo

    def _there(self) -> set[str]:
        return set(self.store.ids()) if self.store is not None else set()

    def _room_for(self, todo: list[Record]) -> None:
        path = local_path(self.archive)
        if path is None:
            return
        needed, free = pixels_of(todo) * STORED_BYTES_A_PIXEL, shutil.disk_usage(self.files).free
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
                rest = self._download_all(_ExportBatch(records), export)
                self.manifest.set([record.key for record in rest], "wanted", export_id=None)
        lost = [e.record.key for e in self.manifest.entries("requested") if e.record.key in keys]
        self.manifest.set(lost, "wanted", export_id=None)

    # ---------------------------------------------------------------- export

    def _work(self, todo: list[_ExportBatch]) -> None:
        """Export and download, a some at a time; one that is too large, or fails again and again, is halved."""
        todo = todo[::-1]
        while todo:
            some = todo.pop()
            keys = [record.key for record in some.records]
            try:
                export = self.jsoc.export(record_sets(some.records), self.options.method)
                if export.id is not None:
                    self.manifest.set(keys, "requested", export_id=export.id)
                export = self.jsoc.wait(export, self._note)
            except TooLarge as error:
                todo += self._smaller(some, str(error))
                continue
            except Gone as error:
                some.failures += 1
                self._note(f"an export of {len(some.records)} frames failed: {error}")
                if some.failures < self.options.export_tries:
                    time.sleep(self.jsoc.pause_after(some.failures))
                    todo.append(some)
                else:
                    todo += self._smaller(some, str(error))
                continue
            rest = self._download_all(some, export)
            if rest:
                some = _ExportBatch(rest, some.failures + 1)
                if some.failures < self.options.export_tries:
                    todo.append(some)
                else:
                    self._give_up(rest, "the server lists the file and does not have it")

    def _smaller(self, some: _ExportBatch, why: str) -> list[_ExportBatch]:
        if len(some.records) == 1:
            self._give_up(some.records, f"JSOC does not export it: {why}")
            return []
        self._note(f"{why}; asking for half of {len(some.records)} frames")
        middle = len(some.records) // 2
        return [_ExportBatch(some.records[middle:]), _ExportBatch(some.records[:middle])]

    # ----------------------------------------------------------------- files

    def _download_all(self, some: _ExportBatch, export: Export) -> list[Record]:
        """Download and check the files of a some; the frames whose export or file has gone meanwhile are returned."""
        rest: list[Record] = []
        todo = [record for record in some.records if record.key in export.files]
        self._give_up([r for r in some.records if r.key not in export.files], "JSOC has no file for this frame")
        while todo:
            again: list[Record] = []
            for k, record in enumerate(todo):
                try:
                    path = self._download(record, export.files[record.key])
                except Gone:
                    rest.append(record)
                    # with the first of its files an expired export has lost them all
                    if export.id is not None and self._expired(export.id):
                        rest += todo[k + 1 :]
                        break
                else:
                    again += self._settle(self.reader.add(self.manifest.record(record.key), path) if path else [])
            # what has arrived damaged is fetched again when all have been tried
            again += self._settle(self.reader.rest())
            todo = again
        return rest

    def _expired(self, export_id: str) -> bool:
        try:
            return not self.jsoc.export_state(export_id).ready
        except Gone:
            return True

    def _download(self, record: Record, url: str) -> Path | None:
        """The file of a frame, whole as far as its length tells; None where it was given up."""
        path = self.files / record.file_name
        failures = 0
        while True:
            try:
                size, sha256 = self.jsoc.download(url, path, record)
            except NotNow as error:
                failures += 1
                if failures >= self.jsoc.retry_policy.tries:
                    self._give_up([record], f"{error}, {failures} times")
                    return None
                self._wait(record, str(error), self.jsoc.pause_after(failures), error.after_s)
            else:
                self.report.bytes += size
                tries = failures + self.spoilt[record.key] + 1
                self.manifest.set([record.key], "downloaded", bytes=size, sha256=sha256, tries=tries)
                return path

    def _settle(self, outcomes: Sequence[Outcome], count: bool = True) -> list[Record]:
        """Put what was read on its way into the archive; the frames whose files are to be fetched again."""
        again = []
        for outcome in outcomes:
            record, spoilt = outcome.record, self.spoilt[outcome.record.key] + 1
            if outcome.pair is not None:
                self.batch.append(outcome)
                if count:
                    self._count()
                if len(self.batch) >= self.options.batch:
                    self._ingest()
                continue
            (self.files / record.file_name).unlink(missing_ok=True)
            if not outcome.damaged:
                self._give_up([record], outcome.reason, count)
            elif spoilt >= self.options.damaged_tries:
                self._give_up([record], f"{outcome.reason}, {spoilt} times", count)
            else:
                self.spoilt[record.key] = spoilt
                self.manifest.set([record.key], "wanted")
                self._wait(record, outcome.reason, self.jsoc.pause_after(spoilt) if count else 0.0)
                again.append(record)
        return again

    def _wait(self, record: Record, why: str, pause_s: float, asked_s: float = 0.0) -> None:
        wait = max(pause_s, min(asked_s, self.jsoc.retry_policy.most_s))
        self._note(f"{record.name}: {why}; again in {wait:.1f} s")
        time.sleep(wait)

    # ---------------------------------------------------------------- ingest

    def _ingest(self) -> None:
        """Commit the frames at hand."""
        batch, self.batch = self.batch, []
        if not batch:
            return
        if self.store is None:
            self.store = Archive.open_or_create(self.archive)
        _, refused = add_each(self.store.add_rows, [outcome.pair for outcome in batch if outcome.pair is not None])
        why = {pair[0]["id"]: str(reason) for pair, reason in refused}
        for outcome in batch:
            if outcome.record.patch_id in why:
                self._give_up([outcome.record], why[outcome.record.patch_id], count=False)
        good = [outcome for outcome in batch if outcome.record.patch_id not in why]
        self.manifest.set([outcome.record.key for outcome in good], "done")
        self.report.fetched += len(good)
        if not self.options.keep_files:
            for outcome in batch:
                (self.files / outcome.record.file_name).unlink(missing_ok=True)

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
        left = duration((self.to_settle - self.settled) / rate) + " left" if rate > 0 else "time left unknown"
        line = f"{self.settled:,} of {self.to_settle:,} frames, {rate:.2f} a second, {left}"
        self.progress(f"{line}; {what}" if what else line, self.settled / total)


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
