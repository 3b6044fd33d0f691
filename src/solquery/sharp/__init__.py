"""SHARP FITS files: headers, images, checksums, quality and the limb. What needs astropy is loaded on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily
from .header import LIMITS

if TYPE_CHECKING:
    from ..patch import Patch
    from .as_patch import as_patch
    from .caveats import Caveat
    from .fits import UnreadableFits, read_sharp
    from .fits_writing import write_fits

__all__ = ["UnreadableFits", "as_patch", "read_sharp", "write_fits"]

__getattr__, __dir__ = lazily(
    __name__, {"as_patch": "as_patch", "fits": "UnreadableFits read_sharp", "fits_writing": "write_fits"}
)


def _limits(patch: Patch) -> list[Caveat]:
    from .caveats import caveats

    return caveats(patch)


LIMITS.append(_limits)
