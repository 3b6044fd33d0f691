"""The command line: `solquery VERB`. The verbs are in modules of their own; `root` puts them together."""

from __future__ import annotations

from typing import Any

from . import root
from .root import main

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return root.app
