"""The bitmap of a frame's record: which of its pixels are active."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from ..patch import Patch
from .fits import load_image
from .unreadable import UnreadableFits
from .wcs import Upright, coordinates_of

__all__ = ["bitmap_of"]

#: keywords of which one at least tells how an image lies
_TOLD = ("CTYPE1", "CDELT1", "CD1_1", "PC1_1", "CROTA2")


def bitmap_of(patch: Patch, folder: Path) -> np.ndarray | None:
    """The bitmap (H, W) of the same record as the patch's file, from a folder; None where it has none.

    Files are named as JSOC names them: ``hmi.sharp_cea_720s.377.20110215_020000_TAI.bitmap.fits`` beside ``…Br.fits``.
    The bitmap is brought upright as its own header says; where that has no coordinates, as the patch was.

    Raises
    ------
    UnreadableFits
        Where the file cannot be read, its header cannot be followed, or the patch was reprojected, so that the pixels
        of the bitmap are not its own.
    """
    name = Path(patch.file).name
    for segment in (".Br.", ".magnetogram."):
        path = folder / name.replace(segment, ".bitmap.")
        if segment in name and path.exists():
            return _upright(path, patch)
    return None


def _upright(path: Path, patch: Patch) -> np.ndarray:
    try:
        image, keywords = load_image(path)[:2]
        if "reprojected" in str(patch.keywords.get("NOTES") or ""):
            raise UnreadableFits("has other pixels than the reprojected frame; leave the bitmap out")
        if any(key in keywords for key in _TOLD):
            turn = coordinates_of(keywords, (image.shape[0], image.shape[1])).upright
        else:
            turn = _turn_of(patch)
    except UnreadableFits as error:
        raise UnreadableFits(f"{path}: {error}") from error.__cause__
    return np.ascontiguousarray(turn.apply(image))


def _turn_of(patch: Patch) -> Upright:
    """How the image of a patch was brought upright when it was read."""
    notes = str(patch.keywords.get("NOTES") or "").split("; ")
    turns = (Upright(*way) for way in product((False, True), repeat=3))
    return next((turn for turn in turns if turn.words and f"image {turn.words}" in notes), Upright())
