"""Where the approximate index of an archive lies on disk: complete or not there at all, and known for what it is.

    ARCHIVE/index/<encoder>-<version>-<token>/about.json    what it was made from, how it is searched, sizes and sums
                                              lists.faiss   codes of the embeddings in lists of neighbours
                                              vectors.npy   the embeddings, float32, in the order of their places
                                              halves.npy    |v|²/2
                                              places.npy    of the rows in Lance, ascending
                                              ranks.npy     of the ids in alphabetical order
                                              codes.npy     regions as numbers
                                              ids.arrow, regions.arrow

A folder is filled under another name and renamed when everything is on disk. One process builds at a time: it holds a
lock that the system takes back when it dies, and clears what a killed one has left.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..aliases import Document
from ..errors import SolqueryError

__all__ = ["About", "Damaged", "IndexingError", "Setting", "being_built", "check", "folder_of", "indexes"]

FORMAT = 1
#: read at every opening, and so checked by their sums; the others by their size
_SUMMED_AT_OPENING = ("lists.faiss", "places.npy", "ranks.npy", "codes.npy", "regions.arrow")
_PARTIAL = ".partial-"
_PIECE = 2**22


class IndexingError(SolqueryError, RuntimeError):
    """An approximate index that cannot be built or used."""


class Damaged(IndexingError):
    """Files of an index that are not what they were when it was built."""


@dataclass(frozen=True)
class Setting:
    """How deep a search looks: lists of neighbours, and candidates whose true distance is taken."""

    probes: int
    candidates: int
    recall: float


@dataclass(frozen=True)
class About:
    """What an index says of itself.

    Attributes
    ----------
    encoder
        Hash of the encoder that made the embeddings, and the preset whose grid it was shown (`made_with`).
    version
        Of the archive.
    rows, without, length, regions, lists
        Embeddings; rows of the archive that had none of this encoder; numbers in one; regions; lists of neighbours.
    settings
        For `group` ``"none"`` and ``"region"``, with the recall of the ten nearest that they had when it was built.
    seconds, peak_bytes
        What building took.
    files
        Name to bytes and CRC-32.
    """

    encoder: str
    version: int
    rows: int
    without: int
    length: int
    regions: int
    lists: int
    settings: dict[str, Setting]
    seconds: float
    peak_bytes: int
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(entry["bytes"] for entry in self.files.values())


def folder_of(archive_path: Path) -> Path:
    """The folder of an archive that holds its indexes."""
    return archive_path / "index"


def _sum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value


def write_about(folder: Path, about: Document) -> None:
    """Sums of all files in `folder`, and `about.json`; everything is on disk when it returns."""
    files = {}
    for path in sorted(folder.iterdir()):
        files[path.name] = {"bytes": path.stat().st_size, "crc32": _sum(path)}
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    # settings are dataclasses, too
    text = json.dumps(asdict(About(**about, files=files)), indent=2)
    with (folder / "about.json").open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_about(folder: Path) -> About | None:
    """What the index in `folder` says of itself; None where that cannot be read."""
    try:
        entries = json.loads((folder / "about.json").read_text())
        settings = {group: Setting(**setting) for group, setting in entries.pop("settings").items()}
        about = About(**entries, settings=settings)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return about if about.format == FORMAT else None


def indexes(archive_path: Path) -> list[tuple[About, Path]]:
    """All complete indexes of an archive, the newest version first."""
    folder = folder_of(archive_path)
    if not folder.is_dir():
        return []
    found = [(read_about(path), path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return sorted(((a, p) for a, p in found if a is not None), key=lambda entry: -entry[0].version)


def check(folder: Path, about: About, *, everything: bool = False) -> None:
    """Compare the files with what they were: sizes of all, sums of those that every search reads, or of all.

    Raises
    ------
    Damaged
        Naming the first that differs.
    """
    advice = "build it again with `solquery index`"
    for name, entry in about.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != entry["bytes"]:
                raise Damaged(f"{path} of the index has {size:,} bytes and not {entry['bytes']:,}; {advice}")
            if (everything or name in _SUMMED_AT_OPENING) and _sum(path) != entry["crc32"]:
                raise Damaged(f"{path} of the index is not what it was when it was built; {advice}")
        except OSError as error:
            raise Damaged(f"{path} of the index cannot be read ({error.strerror}); {advice}") from None


@contextmanager
def being_built(archive_path: Path, name: str) -> Iterator[Path]:
    """An empty folder to build an index in; it becomes the index `name` when the block ends, and replaces the others
    of the same encoder, which is the part of `name` in front of the first hyphen.

    Raises
    ------
    IndexingError
        When another process is building one.
    """
    root = folder_of(archive_path)
    root.mkdir(exist_ok=True)
    with (root / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IndexingError(
                f"another process is building the index of {archive_path}; wait until it is done"
            ) from None
        for left in root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)
        token = uuid.uuid4().hex[:8]
        partial = root / f"{_PARTIAL}{token}"
        partial.mkdir()
        try:
            yield partial
            before = [path for path in root.glob(f"{name.split('-')[0]}-*") if path.is_dir()]
            os.replace(partial, root / f"{name}-{token}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for path in before:
            # renamed first: a half-removed one is not to be taken for damaged
            gone = root / f"{_PARTIAL}{path.name}"
            os.replace(path, gone)
            shutil.rmtree(gone, ignore_errors=True)
