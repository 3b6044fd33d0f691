"""From a downloaded file to a patch: is it the frame that was asked for, whole and unchanged?

An as-is file of JSOC carries no keywords, so those of the query stand in; where the file has its own they must agree.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..aliases import Entries, Header
from ..patch import Patch
from ..sharp import header as hd
from ..sharp.fits import ReadOptions, UnreadableFits, load_checked, patch_of_image
from .selection import Record, same_time

__all__ = ["query_keywords", "read_frame"]

#: how a query writes the keywords that FITS writes otherwise
_FITS_NAME = {"DATE__OBS": "DATE-OBS"}
_NOTHING = ("", "nan", "-nan", "missing", "invalid keylink", "none", "?")


def query_keywords(record: Record) -> Header:
    """Keywords of a query as a FITS header would hold them: numbers as numbers, nothing for what is missing."""
    found: Header = {}
    for key, value in record.keywords.items():
        words = str(value).strip()
        if words.lower() in _NOTHING:
            continue
        whole, real = hd.whole(words), hd.number(words)
        if key in ("T_REC", "T_OBS", "NOAA_ARS") or (whole is None and real != real):
            found[_FITS_NAME.get(key, key)] = words
        elif whole is not None and not any(sign in words for sign in ".eE"):
            found[_FITS_NAME.get(key, key)] = whole
        else:
            found[_FITS_NAME.get(key, key)] = real
    return found


def _same(found: Entries, record: Record) -> None:
    harp, t_rec = hd.whole(found.get("HARPNUM")), hd.text(found.get("T_REC"))
    if harp is not None and harp != record.harp:
        raise UnreadableFits(f"is of HARP {harp}, not {record.harp}")
    if t_rec and same_time(t_rec) != record.t_rec:
        raise UnreadableFits(f"is of {t_rec}, not {record.t_rec}")


def read_frame(path: Path, record: Record) -> Patch:
    """The patch in a downloaded file.

    Parameters
    ----------
    path
        The file; its name must say the segment as JSOC's names do (`Record.file_name`).
    record
        What was asked for, with the keywords of the query.

    Returns
    -------
    Patch
        With `Patch.file` naming the record at JSOC.

    Raises
    ------
    UnreadableFits
        When the file is damaged, of another frame, of another size than the query says, or of bad QUALITY.
    """
    try:
        image = load_checked(path, header=True)
        own = image.keywords
        _same(own, record)
        if record.shape is not None and image.array.shape != record.shape:
            raise UnreadableFits(
                f"has {image.array.shape[0]} x {image.array.shape[1]} pixels where {record.shape} were expected"
            )
        keywords = {**query_keywords(record), **own, "HARPNUM": record.harp, "T_REC": record.t_rec}
        patch = patch_of_image(path, image._replace(keywords=keywords), ReadOptions(segment=record.segment))
    except UnreadableFits as error:
        raise UnreadableFits(f"{record.name}: the file {error}") from error.__cause__
    return replace(patch, id=record.patch_id, file=record.name, source="real")
