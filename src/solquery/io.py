"""Writing files so that no reader and no crash ever sees half of one, and what an error says in one line."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

__all__ = ["first_line", "replacing", "write_atomically"]


@contextlib.contextmanager
def replacing(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """A path beside `path` to write a file to, which takes the place of `path` when the block has ended.

    Parameters
    ----------
    path
        Its folder is made when needed.
    sync
        Whether the bytes must be on the disk before the file takes its place, so that a power cut loses nothing.

    Yields
    ------
    The path to write to. It ends as `path` does; when the block raises, it is removed and `path` stays as it was.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with replacing(place) as part:
    ...     _ = part.write_text("1 2 3")
    >>> place.read_text()
    '1 2 3'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        if sync:
            with part.open("rb") as file, contextlib.suppress(OSError):  # not every kind of file can be synchronised
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: bytes | str, *, sync: bool = False) -> Path:
    """Write a file beside `path`, then rename it; a text is written as UTF-8. Returns the path."""
    with replacing(path, sync=sync) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


def first_line(error: BaseException) -> str:
    """First line of an error's message, or its class where it has none.

    >>> first_line(ValueError("no such file" + chr(10) + "in detail")), first_line(ValueError())
    ('no such file', 'ValueError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]
