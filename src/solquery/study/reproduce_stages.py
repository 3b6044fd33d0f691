"""Stages of a long study: each is done once for its inputs, and done again only when one of them has changed.

A finished stage is ``stages/NAME.json`` (what it went in with, what came out, the hash of each file) and the folder it
names, which holds its pictures. The JSON is renamed into place last: a stage killed at any moment is not done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..aliases import Document, Entries
from ..io import write_atomically

__all__ = ["Folders", "StageResult", "Stages", "digest", "source_digest"]

#: stage to the folder of its files
Folders = Mapping[str, Path]

_PART = ".part"


def digest(document: object) -> str:
    """SHA-256 of anything that JSON can hold, whatever the order of its keys; NaN is refused with ValueError."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def source_digest(*files: str | Path) -> str:
    """SHA-256 of source files, so that a stage is done again when its code has changed."""
    return digest([hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in files])


@dataclass(frozen=True)
class StageResult:
    """What a stage gave: `result` is its JSON document, `folder` holds its files, `skipped` if it was done already.

    `changed` names the inputs that differ from those of an earlier run; empty on the first.
    """

    name: str
    result: Document
    folder: Path
    skipped: bool
    changed: tuple[str, ...] = ()


class Stages:
    """The stages kept in ``out/stages``."""

    def __init__(self, out: str | Path) -> None:
        self.folder = Path(out) / "stages"
        self.folder.mkdir(parents=True, exist_ok=True)

    def _read(self, name: str) -> Document | None:
        try:
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        whole = isinstance(record, dict) and {"key", "inputs", "result", "folder", "files"} <= record.keys()
        return record if whole else None

    def _complete(self, record: Entries) -> bool:
        place = self.folder / record["folder"]
        return all(
            (place / name).is_file() and hashlib.sha256((place / name).read_bytes()).hexdigest() == wanted
            for name, wanted in record["files"].items()
        )

    def run(self, name: str, inputs: Entries, work: Callable[[Path], Document], again: bool = False) -> StageResult:
        """Do a stage, unless it was done with these inputs and all its files are as it left them.

        Parameters
        ----------
        name
            Of the stage, a file name.
        inputs
            All that decides the outcome, as JSON: hashes of data and model, settings, version of the code.
        work
            Called with an empty folder for its files; returns a JSON document without NaN.
        again
            Do it whatever was done before.
        """
        inputs = json.loads(json.dumps(dict(inputs), allow_nan=False))
        key = digest([name, inputs])
        before = self._read(name)
        if before and before["key"] == key and self._complete(before) and not again:
            return StageResult(name, before["result"], self.folder / before["folder"], True)
        part = self.folder / f"{name}{_PART}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        result = json.loads(json.dumps(work(part), allow_nan=False))
        files = {
            path.relative_to(part).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(part.rglob("*"))
            if path.is_file()
        }
        # the outcome is part of the name: a folder that an earlier record speaks of is never written into
        place = self.folder / f"{name}-{digest([key, files])[:12]}"
        shutil.rmtree(place, ignore_errors=True)
        os.replace(part, place)
        record = {"key": key, "inputs": inputs, "result": result, "folder": place.name, "files": files}
        write_atomically(self.folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
        old = before["inputs"] if before else {}
        if before and before["folder"] != place.name:
            shutil.rmtree(self.folder / before["folder"], ignore_errors=True)
        changed = tuple(k for k in sorted({*old, *inputs}) if old.get(k) != inputs.get(k)) if before else ()
        return StageResult(name, result, place, False, changed)
