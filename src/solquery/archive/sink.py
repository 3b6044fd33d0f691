"""A file that HDF5 may write to on a disk that fills up: the library itself ends the process there.

HDF5 keeps what it cannot write, tries again when it closes, and crashes. So it never learns of a failure: from the
first one on, what it writes is held in memory, and the error is raised where the caller asks for it.
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import BinaryIO

__all__ = ["Sink"]


class Sink(io.RawIOBase):
    """Passes on to a file, and holds back an error until `check` or the end of the ``with`` block."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._error: OSError | None = None
        self._held: list[tuple[int, bytes]] = []
        self._at = 0
        self._size = 0

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._error is not None:
            raise self._error

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
            self.check()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def write(self, data: object) -> int:
        content = bytes(data)  # type: ignore[call-overload]
        if self._error is None:
            try:
                self._file.seek(self._at)
                self._file.write(content)
                self._file.flush()
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._held.append((self._at, content))
        self._at += len(content)
        self._size = max(self._size, self._at)
        return len(content)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        count = max(min(len(view), self._size - self._at), 0)
        self._file.seek(self._at)
        content = bytearray(self._file.read(count).ljust(count, b"\0"))
        for at, held in self._held:
            begin, end = max(at, self._at), min(at + len(held), self._at + count)
            if begin < end:
                content[begin - self._at : end - self._at] = held[begin - at : end - at]
        view[:count] = content
        self._at += count
        return count

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        if self._error is None:
            try:
                self._file.truncate(self._size)
            except OSError as error:
                self._error = error
        return self._size

    def flush(self) -> None:
        """Give the file's buffer to the system; a failure is held back, too."""
        if self._error is None and not self._file.closed:
            try:
                self._file.flush()
            except OSError as error:
                self._error = error
