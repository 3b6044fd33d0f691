"""SHARP FITS files: headers, images, checksums, quality and the limb. What needs astropy is loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "UnreadableFits": "fits",
    "read_sharp": "fits",
    "write_fits": "fits",
}

__all__ = [
    "UnreadableFits",
    "read_sharp",
    "write_fits",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
