"""Locks of a local archive: while it is made, and while a commit is prepared and written.

The kernel frees a lock when its process ends, however it ends. A lock of a directory needs no file, and a file system
whose locks hold on one of several machines alone is not taken for one whose locks hold.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

__all__ = ["held", "reliable"]

#: of one kernel, so that no other machine can write past a lock
_OF_ONE_KERNEL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


@contextmanager
def held(folder: Path | None, shared: bool = False) -> Iterator[bool]:
    """Hold the lock of a folder, waiting for it; yields whether no other process at all can hold it now.

    False without a folder, where the system or the file system has no locks, and where other machines may have the
    folder too, which may or may not see the lock. It is not reentrant: a thread that asks again waits for itself.

    Parameters
    ----------
    folder
        The folder, which is there; None for an object store.
    shared
        Together with others that share it.
    """
    try:
        import fcntl

        handle = None if folder is None else os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        handle = None
    if handle is None or folder is None:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            alone = not shared and _of_one_kernel(folder)
        except OSError:
            alone = False
        yield alone
    finally:
        # said aloud, since a process that was forked meanwhile has the handle as well
        _free(handle)


def reliable(folder: Path) -> bool:
    """Whether the lock of a folder, which need not be there yet, keeps all other processes out while it is held."""
    return importlib.util.find_spec("fcntl") is not None and _of_one_kernel(folder)


def _free(handle: int) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    except OSError:
        pass  # it was not held
    finally:
        os.close(handle)


@lru_cache(maxsize=64)
def _of_one_kernel(folder: Path) -> bool:
    """Whether a folder lies in a file system that one kernel alone writes to, as Linux lists what is mounted."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    place, found = folder.resolve(), (0, "")
    for line in lines:
        mounted, _, behind = line.partition(" - ")
        point = Path(mounted.split()[4].encode().decode("unicode_escape"))
        if place.is_relative_to(point):
            # of two at one point the later hides the former
            found = max(found, (len(point.parts), behind.split()[0]), key=lambda pair: pair[0])
    return found[1] in _OF_ONE_KERNEL
