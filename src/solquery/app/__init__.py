"""The web page and the HTTP API: describe a region, move its physics, see the observations that match.

`create_app` gives an ASGI application over a `Service`, which holds the model and the archive; `solquery app` serves
it. Needs the extra `app` (FastAPI and uvicorn).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Service", "create_app"]

# the process that decodes uploads comes through here and must start fast
_HOME = {"Service": "service", "create_app": "server"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
