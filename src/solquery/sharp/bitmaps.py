"""The bitmap of a frame's record: which of its pixels are active."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..patch import Patch
from .fits import load_image

__all__ = ["bitmap_of"]


def bitmap_of(patch: Patch, folder: Path) -> np.ndarray | None:
    """The bitmap (H, W) of the same record as the patch's file, from a folder; None where it has none.

    Files are named as JSOC names them: ``hmi.sharp_cea_720s.377.20110215_020000_TAI.bitmap.fits`` beside ``…Br.fits``.
    """
    name = Path(patch.file).name
    for segment in (".Br.", ".magnetogram."):
        path = folder / name.replace(segment, ".bitmap.")
        if segment in name and path.exists():
            return load_image(path)[0]
    return None
