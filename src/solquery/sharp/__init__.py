"""SHARP FITS files: headers, images, checksums, quality and the limb. What needs astropy is loaded on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .header import LIMITS

if TYPE_CHECKING:
    from ..patch import Patch
    from .caveats import Caveat

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


def _limits(patch: Patch) -> list[Caveat]:
    from .caveats import caveats

    return caveats(patch)


LIMITS.append(_limits)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
