"""From an ask to an archive: query, choose, export in lots, download one by one, check, ingest; always to be resumed.

What is safe at any moment: an answer to a query once it is in the manifest; an export once its number is; a file once
it lies checked in the staging folder; a frame once its row is in the archive. The archive has the last word: a frame
whose row is there is done, whatever the manifest says.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SolqueryError
from ..patch import Patch
from .fits import UnreadableFits
from .frames import read_frame
from .jsoc import Export, Jsoc
from .manifest import Manifest
from .patience import NotNow, ServerDown
from .plan import STORED_BYTES_A_PIXEL, FetchOptions, Progress, as_asked, pixels_of, survey
from .selection import Ask, Record, lots, record_sets
from .store import Archive
from .tables import local_path
from .wire import Gone, TooLarge

__all__ = ["FetchReport", "fetch", "staging_of"]


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
        self.report = FetchReport(archive, as_asked(ask))
        self.store = Archive.open(archive) if Archive.exists(archive) else None
        self.batch: list[tuple[Record, Patch]] = []
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
