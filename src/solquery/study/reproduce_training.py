"""From nothing: an archive to search, and networks trained on another one, for a reproduction without either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..archive.store import Archive
from .demo import _open_archive

__all__ = ["simulated_archive"]

Progress = Callable[[str, float], None]


def simulated_archive(out: Path, regions: int, frames: int, progress: Progress | None = None) -> Archive:
    """The archive in `out`, made if it is not there, completed if an earlier run was cut short.

    Simulated regions of the demo's seed, which no shipped bundle was trained on, and the real samples of the package.
    """
    out.mkdir(parents=True, exist_ok=True)
    return _open_archive(out, regions, frames, progress or (lambda text, fraction: None))
