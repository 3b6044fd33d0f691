"""The statistics of a run, a line of ``stats.jsonl`` each, as they are read again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from ..aliases import Document

__all__ = ["RENAMED", "last_statistics", "read_statistics"]

#: name of a statistic in runs begun before, and its name now
RENAMED = {
    "amounts": "statistics_matching",
    "astray": "embedding_distance",
    "seeker": "embedding_critic",
    "unlike": "embedding_adversarial",
    "window": "footprint",
}


def read_statistics(run: str | Path) -> list[Document]:
    """The lines of a run folder, oldest first, under the names of today; empty where there are none.

    A line that a kill cut short is left out.
    """
    path, lines = Path(run) / "stats.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            lines.append({RENAMED.get(name, name): value for name, value in json.loads(line).items()})
    return lines


def last_statistics(run: str | Path) -> Document:
    """The last line of a run folder; empty where there are none."""
    return (read_statistics(run) or [{}])[-1]
