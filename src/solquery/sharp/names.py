"""What a SHARP image is called: as a file of JSOC, and as a patch of an archive."""

from __future__ import annotations

import re

__all__ = ["SERIES", "file_name_of", "patch_id_of"]

#: definitive SHARPs in cylindrical equal-area projection
SERIES = "hmi.sharp_cea_720s"


def patch_id_of(harp: int, t_rec: str, segment: str) -> str:
    """The id of a frame in an archive.

    >>> patch_id_of(377, "2011.02.15_02:00:00_TAI", "Br")
    'sharp-377-20110215T020000-Br'
    """
    stamp = re.sub(r"\D", "", t_rec)[:14]
    return f"sharp-{harp}-{stamp[:8]}T{stamp[8:]}-{segment}"


def file_name_of(harp: int, t_rec: str, segment: str) -> str:
    """The name that JSOC's exports give to the file of a frame.

    >>> file_name_of(377, "2011.02.15_02:00:00_TAI", "Br")
    'hmi.sharp_cea_720s.377.20110215_020000_TAI.Br.fits'
    """
    stamp = t_rec.replace(".", "").replace(":", "")
    return f"{SERIES}.{harp}.{stamp}.{segment}.fits"
