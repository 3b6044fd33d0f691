"""The archive: reading, preparing and keeping patches. What needs Lance or astropy is loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "AddReport": "store",
    "Archive": "store",
    "ArchiveError": "store",
    "FlareLabels": "flare_labels",
    "FlareList": "flares",
    "label_archive": "flare_labels",
    "prepare_many": "prepare",
    "read_flares": "flares",
    "resize": "prepare",
    "sample_patches": "samples",
}

__all__ = [
    "AddReport",
    "Archive",
    "ArchiveError",
    "FlareLabels",
    "FlareList",
    "label_archive",
    "prepare_many",
    "read_flares",
    "resize",
    "sample_patches",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
