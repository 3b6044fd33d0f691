"""Observations that lie beside the repository, where they do; tests that want them skip themselves elsewhere."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

__all__ = ["DATA", "bitmap", "frame", "frames", "line_of_sight"]

DATA = Path(os.environ.get("SOLQUERY_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def frames(pattern: str = "*", folder: str = "sharps"):
    """Patches of the SHARP frames whose name matches, whatever their QUALITY; skips where there are none."""
    from solquery.sharp import read_sharp

    files = sorted((DATA / folder).glob(f"hmi.sharp_cea_720s.{pattern}.fits"))
    if not files:
        pytest.skip(f"no observations under {DATA / folder}")
    return [read_sharp(path, strict_quality=False) for path in files]


def frame(pattern: str, folder: str = "sharps"):
    """The one patch whose name matches."""
    (patch,) = frames(pattern, folder)
    return patch


def bitmap(patch) -> np.ndarray | None:
    """The bitmap (H, W) of the patch's record, or None."""
    from solquery.sharp.bitmaps import bitmap_of

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for folder in ("sharps_los", "harp377"):
            found = bitmap_of(patch, DATA / folder)
            if found is not None:
                return found
    return None


def line_of_sight(patch):
    """The line-of-sight patch of the same record, or None."""
    from solquery.sharp import read_sharp

    name = Path(patch.file).name.replace(".Br.", ".magnetogram.")
    for folder in ("sharps_los", "harp377"):
        if (DATA / folder / name).exists():
            return read_sharp(DATA / folder / name, strict_quality=False)
    return None
