"""What an observation is called: the series it is from, the region it shows, and the id of its patch.

A region has different numbers in different series, and one frame exists as near-real-time and definitive, on the CCD
and in equal-area coordinates. All of that is part of an id, so that none is taken for another.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..aliases import Keywords

__all__ = [
    "Identity", "definitive_of", "id_of_file", "identify", "instrument_of", "near_real_time_of", "record_of",
    "series_of",
]  # fmt: skip

_SERIES = re.compile(r"^(?P<series>(?:hmi|mdi|[a-z]\w*)\.[a-z]\w*?)\.\d+\.\d{8}_\d{6}_TAI\.", re.IGNORECASE)
_SERIES_KEYWORDS = ("SERIES", "SERIESNM", "DRMS_SER", "SERIESNA")


@dataclass(frozen=True)
class Identity:
    """A region's kind and number, and the series; empty and None where the file is of no series known.

    Attributes
    ----------
    prefix
        How ids begin: ``sharp``, ``sharp-nrt``, ``sharp-ccd``, ``sharp-ccd-nrt``, ``smarp``, ``smarp-ccd``, or empty.
    number
        HARPNUM or TARPNUM.
    region
        ``HARP n`` or ``TARP n``.
    series
        As JSOC calls it, where the file says so.
    """

    prefix: str = ""
    number: int | None = None
    region: str = ""
    series: str = ""

    @property
    def harp(self) -> int | None:
        """The HARP number; None for a SMARP."""
        return self.number if self.prefix.startswith("sharp") else None

    def patch_id(self, t_rec: str, segment: str) -> str:
        """The id of the frame of a time."""
        # to the second: fractions and the name of the time scale are no part of it
        stamp = re.sub(r"[^0-9]", "", re.split(r"(?<=:\d\d)\.", t_rec)[0])[:14].ljust(14, "0")
        return f"{self.prefix}-{self.number}-{stamp[:8]}T{stamp[8:]}-{segment}"


def series_of(keywords: Keywords, file_name: str) -> str:
    """The series that a header or, failing that, the name of a file states; empty where neither does."""
    for key in _SERIES_KEYWORDS:
        value = keywords.get(key)
        if isinstance(value, str) and re.fullmatch(r"\w+\.\w+", value.strip()):
            return value.strip().lower()
    found = _SERIES.match(file_name)
    return found["series"].lower() if found else ""


def _number(value: Any) -> int | None:
    try:
        found = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found > 0 and not isinstance(value, bool) else None


def identify(keywords: Keywords, file_name: str, number_in_name: int | None) -> Identity:
    """What region of which series a file shows.

    Parameters
    ----------
    keywords
        Of the header; HARPNUM and TARPNUM, QLOOK, CTYPE1, TELESCOP.
    file_name
        Without its folder.
    number_in_name
        The region's number that the name gives, if any.
    """
    series = series_of(keywords, file_name)
    harp, tarp = _number(keywords.get("HARPNUM")), _number(keywords.get("TARPNUM"))
    smarp = (
        "smarp" in series
        or (tarp is not None and harp is None)
        or (tarp is not None and "MDI" in instrument_of(keywords))
    )
    number = (tarp if smarp else harp) or (number_in_name if "arp" in series or not series else None)
    if number is None:
        return Identity(series=series)
    ccd = "arp" in series and "_cea" not in series
    ccd = ccd or str(keywords.get("CTYPE1", "")).strip().upper().startswith(("HPLN", "SOLAR"))
    quick = series.endswith("_nrt") or "_nrt_" in series or _number(keywords.get("QLOOK")) == 1
    prefix = ("smarp" if smarp else "sharp") + ("-ccd" if ccd else "") + ("-nrt" if quick else "")
    return Identity(prefix, number, f"{'TARP' if smarp else 'HARP'} {number}", series)


def instrument_of(keywords: Keywords) -> str:
    """Observatory and instrument, ``SDO/HMI`` or ``SOHO/MDI`` for those two, else as the header names them."""
    telescope, instrument = (str(keywords.get(key) or "").strip() for key in ("TELESCOP", "INSTRUME"))
    both = f"{telescope} {instrument} {keywords.get('CAMERA') or ''}".upper()
    if "HMI" in both or "HARPNUM" in keywords:
        return "SDO/HMI"
    if "MDI" in both or "TARPNUM" in keywords:
        return "SOHO/MDI"
    return " ".join(dict.fromkeys(part for part in (telescope, instrument) if part))


#: series whose frames have ids that begin so, where the file did not say the series
_SERIES_OF = {
    "sharp": "hmi.sharp_cea_720s",
    "sharp-nrt": "hmi.sharp_cea_720s_nrt",
    "sharp-ccd": "hmi.sharp_720s",
    "sharp-ccd-nrt": "hmi.sharp_720s_nrt",
    "smarp": "mdi.smarp_cea_96m",
    "smarp-ccd": "mdi.smarp_96m",
}


def record_of(patch_id: str, series: str = "", harpnum: int | None = None) -> tuple[str, int | None]:
    """Series and region number of a patch, for the address of its record at JSOC; None for a patch of none."""
    found = re.match(r"^((?:sharp|smarp)(?:-ccd)?(?:-nrt)?)-(\d+)-", patch_id)
    if found:
        return series or _SERIES_OF.get(found[1], ""), int(found[2])
    return series or _SERIES_OF["sharp"], harpnum


def near_real_time_of(patch_id: str) -> str | None:
    """The id of the near-real-time frame that a definitive one replaces; None for what is not definitive."""
    found = re.match(r"^(sharp(?:-ccd)?|smarp(?:-ccd)?)-(\d.*)$", patch_id)
    return f"{found[1]}-nrt-{found[2]}" if found else None


def definitive_of(patch_id: str) -> str | None:
    """The id of the definitive frame that replaces a near-real-time one; None for another."""
    found = re.match(r"^(sharp(?:-ccd)?|smarp(?:-ccd)?)-nrt-(\d.*)$", patch_id)
    return f"{found[1]}-{found[2]}" if found else None


def id_of_file(stem: str, field: np.ndarray) -> str:
    """The id of an image of no series: equal names in different folders are different images."""
    return f"file-{stem}-{zlib.crc32(np.ascontiguousarray(field).tobytes()):08x}"
