"""What a fetch knows of every frame, in one SQLite file that survives a kill: state, export, size, checksum, error.

A frame is named by (HARPNUM, T_REC, segment). Its states:

    seen        the keyword query told of it
    dropped     the rule of quality refuses it; `reason` says why
    wanted      chosen, to be asked for
    requested   part of export `export_id`
    downloaded  its file lies beside the manifest, to be read; `bytes` and `sha256` are the file's
    done        its row is in the archive
    failed      given up; `reason` says why, and a new run tries again
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..errors import SolqueryError
from .selection import CHOSEN_BY, Record

__all__ = ["STATES", "Entry", "Manifest", "ManifestError"]

STATES = ("seen", "dropped", "wanted", "requested", "downloaded", "done", "failed")
Key = tuple[int, str, str]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS frames (
    harpnum INTEGER NOT NULL,
    t_rec TEXT NOT NULL,
    segment TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    export_id TEXT,
    bytes INTEGER,
    sha256 TEXT,
    tries INTEGER NOT NULL DEFAULT 0,
    keywords TEXT NOT NULL,
    changed TEXT NOT NULL,
    PRIMARY KEY (harpnum, t_rec, segment)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON frames (state);
CREATE TABLE IF NOT EXISTS queries (record_set TEXT NOT NULL, segment TEXT NOT NULL, asked TEXT NOT NULL,
    PRIMARY KEY (record_set, segment));
"""
_VERSION = 1


class ManifestError(SolqueryError):
    """A manifest that another fetch holds, or that is damaged."""


class Entry(NamedTuple):
    """One frame of the manifest."""

    record: Record
    state: str
    reason: str
    export_id: str | None
    bytes: int | None
    sha256: str | None
    tries: int


class Manifest:
    """The manifest at a path, held by one process at a time; an empty path for one that leaves nothing behind.

    Raises
    ------
    ManifestError
        When another fetch holds it, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        try:
            self._db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            # the lock lasts as long as the process, and goes with it however it ends
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN EXCLUSIVE")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found > _VERSION:
                self._db.execute("ROLLBACK")
                raise ManifestError(f"the manifest {self.path} is of a newer solquery (format {found}); update this")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise ManifestError(f"another fetch into this archive is running ({self.path}); wait for it") from None
            raise ManifestError(f"the manifest {self.path} cannot be opened: {error}") from None
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ManifestError(
                f"the manifest {self.path} is damaged ({error}); remove it and run the same command: what is in the "
                "archive is not fetched again"
            ) from None

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextlib.contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --------------------------------------------------------------- queries

    def answered(self, record_set: str, segment: str) -> datetime | None:
        """When a query was answered (UTC), or None."""
        row = self._db.execute(
            "SELECT asked FROM queries WHERE record_set = ? AND segment = ?", (record_set, segment)
        ).fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def learn(self, record_set: str, segment: str, records: Iterable[Record]) -> None:
        """Keep a query's whole answer in one commit; of frames known already only the keywords change."""
        now = _now()
        with self._commit() as db:
            db.executemany(
                "INSERT INTO frames (harpnum, t_rec, segment, state, keywords, changed) VALUES (?, ?, ?, 'seen', ?, ?) "
                "ON CONFLICT DO UPDATE SET keywords = excluded.keywords",
                [(*r.key, json.dumps(dict(r.keywords)), now) for r in records],
            )
            db.execute("INSERT OR REPLACE INTO queries VALUES (?, ?, ?)", (record_set, segment, now))

    # ---------------------------------------------------------------- frames

    def records(self, segment: str) -> Iterator[Record]:
        """All frames of a segment, by region and time, with those keywords alone by which frames are chosen.

        A fetch holds as many of them as there are frames; `record` has a frame with all of its keywords.
        """
        rows = self._db.execute(
            "SELECT harpnum, t_rec, segment, keywords FROM frames WHERE segment = ? ORDER BY harpnum, t_rec", (segment,)
        )
        for harp, t_rec, name, keywords in rows:
            known = json.loads(keywords)
            # most values are those of many frames
            few = {key: sys.intern(str(known[key])) for key in CHOSEN_BY if known.get(key) is not None}
            yield Record(harp, t_rec, sys.intern(name), few)

    def record(self, key: Key) -> Record:
        """The frame of a key with all its keywords."""
        (keywords,) = self._db.execute(
            "SELECT keywords FROM frames WHERE harpnum = ? AND t_rec = ? AND segment = ?", key
        ).fetchone()
        return Record(*key, json.loads(keywords))

    def entries(self, *states: str) -> list[Entry]:
        """Frames in one of `states` (all states when none is named), by region and time."""
        chosen = states or STATES
        rows = self._db.execute(
            "SELECT harpnum, t_rec, segment, keywords, state, reason, export_id, bytes, sha256, tries FROM frames "
            f"WHERE state IN ({', '.join('?' * len(chosen))}) ORDER BY harpnum, t_rec, segment",
            chosen,
        )
        return [Entry(Record(r[0], r[1], r[2], json.loads(r[3])), *r[4:]) for r in rows]

    def states(self) -> dict[Key, str]:
        """State of every frame."""
        return {(h, t, s): state for h, t, s, state in self._db.execute(
            "SELECT harpnum, t_rec, segment, state FROM frames"
        )}  # fmt: skip

    def set(self, keys: Iterable[Key], state: str, **also: object) -> None:
        """Put frames into a state, in one commit; `also` sets reason, export_id, bytes, sha256 or tries."""
        if state not in STATES:
            raise ValueError(f"no state {state!r}; there are {', '.join(STATES)}")
        also = {"reason": "", **also}
        unknown = set(also) - {"reason", "export_id", "bytes", "sha256", "tries"}
        if unknown:
            raise ValueError(f"a frame has no {', '.join(unknown)}")
        names = "".join(f", {name} = ?" for name in also)
        with self._commit() as db:
            db.executemany(
                f"UPDATE frames SET state = ?, changed = ?{names} WHERE harpnum = ? AND t_rec = ? AND segment = ?",
                [(state, _now(), *also.values(), *key) for key in keys],
            )

    def set_reasons(self, state: str, reasons: Iterable[tuple[Key, str]]) -> None:
        """Put frames into a state, each with its own reason, in one commit."""
        with self._commit() as db:
            db.executemany(
                "UPDATE frames SET state = ?, changed = ?, reason = ? WHERE harpnum = ? AND t_rec = ? AND segment = ?",
                [(state, _now(), reason, *key) for key, reason in reasons],
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
