"""SHARP FITS files: headers, images, checksums, quality and the limb. What needs astropy is loaded on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .as_patch import as_patch
    from .fits import UnreadableFits, read_sharp
    from .fits_writing import write_fits

__all__ = ["UnreadableFits", "as_patch", "read_sharp", "write_fits"]

__getattr__, __dir__ = lazily(
    __name__, {"as_patch": "as_patch", "fits": "UnreadableFits read_sharp", "fits_writing": "write_fits"}
)
