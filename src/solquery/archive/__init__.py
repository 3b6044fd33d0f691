"""The archive: reading, preparing and keeping patches. What needs Lance or astropy is loaded on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .flare_labels import FlareLabels, label_archive
    from .flares import FlareList, read_flares
    from .prepare import prepare_many, resize
    from .samples import sample_patches
    from .store import AddReport, Archive, ArchiveError

__all__ = [
    "AddReport", "Archive", "ArchiveError", "FlareLabels", "FlareList", "label_archive", "prepare_many", "read_flares",
    "resize", "sample_patches",
]  # fmt: skip

__getattr__, __dir__ = lazily(
    __name__,
    {
        "flare_labels": "FlareLabels label_archive",
        "flares": "FlareList read_flares",
        "prepare": "prepare_many resize",
        "samples": "sample_patches",
        "store": "AddReport Archive ArchiveError",
    },
)
