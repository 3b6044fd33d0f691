"""Pairs of patches: the same instant as it is given and as it is wanted."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SolqueryError
from ..patch import Patch
from ..sharp.fits import read_sharp
from .degrade import mdi_like, saturated, with_missing_block
from .kinds import Kind, TranslationError, kind_of

if TYPE_CHECKING:
    from ..archive.store import Archive

__all__ = ["Pair", "made_pair", "pairs_of_archive", "pairs_of_table"]

#: two observations are of one instant when they are no further apart
_SECONDS = 720.0
#: the strongest field a pair of kind saturated is clipped at, and the sides of missing blocks, drawn at random
_LIMITS, _BLOCKS = (700.0, 1800.0), (15.0, 45.0)


@dataclass(frozen=True)
class Pair:
    """The same instant twice.

    Attributes
    ----------
    given, wanted
        Patches of the same region, time and extent; their scales may differ.

    Raises
    ------
    TranslationError
        When they do not match in place, time or size; one line says in which.
    """

    given: Patch
    wanted: Patch

    def __post_init__(self) -> None:
        fault = _mismatch(self.given, self.wanted)
        if fault:
            raise TranslationError(f"{_name(self.given)} and {_name(self.wanted)} are no pair: {fault}")

    @property
    def region(self) -> str:
        """What frames of one region share."""
        return self.given.region


def _name(patch: Patch) -> str:
    return Path(patch.file).name if patch.file else patch.id


def _mismatch(given: Patch, wanted: Patch) -> str:
    """In what two patches do not match; empty where they do."""
    if given.scale_mm is None or wanted.scale_mm is None:
        return "one has no scale; give its Mm per pixel"
    times = given.time, wanted.time
    if times[0] is None or times[1] is None:
        if given.t_rec != wanted.t_rec:
            return f"their times cannot be compared ({given.t_rec or 'none'!s} and {wanted.t_rec or 'none'!s})"
    else:
        apart = abs((times[0] - times[1]).total_seconds())
        if apart > _SECONDS:
            return f"they are {apart / 3600:.3g} hours apart; a pair shows one instant"
    sizes = [[n * s for n, s in zip(p.field.shape, p.scale_mm, strict=True)] for p in (given, wanted) if p.scale_mm]
    steps = [max(a, b) for a, b in zip(given.scale_mm, wanted.scale_mm, strict=True)]
    if any(abs(a - b) > step for a, b, step in zip(*sizes, steps, strict=True)):
        told = [f"{x:.4g} x {y:.4g} Mm" for y, x in sizes]
        return f"one is {told[0]}, the other {told[1]}; crop them to the same box"
    places = [np.array([p.latitude_deg, p.longitude_deg]) for p in (given, wanted)]
    if np.isfinite(places).all() and np.abs(places[0] - places[1]).max() > 0.5:
        return "their centres are more than half a degree apart"
    return ""


def made_pair(kind: str | Kind, patch: Patch, seed: int = 0) -> Pair:
    """A pair of a kind that follows from one good patch: MDI-like, missing or saturated.

    The patch is what is wanted, or, of kind ``hmi-to-mdi``, what is given.
    """
    kind = kind if isinstance(kind, Kind) else kind_of(kind)
    rng = np.random.default_rng([seed, 7])
    if kind.name == "hmi-to-mdi":
        return Pair(patch, mdi_like(patch, seed))
    if kind.name == "mdi-to-hmi":
        return Pair(mdi_like(patch, seed), patch)
    if kind.name == "missing-to-filled":
        return Pair(with_missing_block(patch, float(rng.uniform(*_BLOCKS)), seed), patch)
    if kind.name == "saturated-to-unsaturated":
        return Pair(saturated(patch, float(rng.uniform(*_LIMITS))), patch)
    raise TranslationError(f"pairs of kind {kind.name!r} cannot be made of one patch; give pairs of both fields")


#: kind to the segments of a simulated archive that it pairs
_SEGMENTS = {
    "los-to-radial": ("magnetogram", "Br"),
    "radial-to-los": ("Br", "magnetogram"),
    "limb-to-clean": ("Br", "noise-free"),
}


def pairs_of_archive(archive: Archive, kind: str, where: str | None = None) -> Iterator[Pair]:
    """Pairs of one kind from an archive, e.g. of ``solquery simulate --quantity radial --quantity line-of-sight``.

    Parameters
    ----------
    archive
        With frames of one instant as both fields; one field is enough for kinds about MDI, missing and saturated
        pixels, whose other half is made from it (`mdi_like`, `with_missing_block`, `saturated`).
    kind
        Of `KINDS`.
    where
        SQL condition.

    Raises
    ------
    TranslationError
        When the archive holds no pair.
    """
    chosen = kind_of(kind)
    rows = archive.table(["id", "region", "t_rec", "segment"], where).to_pylist()
    found = 0
    if chosen.name in _SEGMENTS:
        by_frame: dict[Any, dict[str, str]] = {}
        for row in rows:
            by_frame.setdefault((row["region"], row["t_rec"]), {})[row["segment"]] = row["id"]
        first, second = _SEGMENTS[chosen.name]
        listed = [i[s] for i in by_frame.values() if first in i and second in i for s in (first, second)]
        patches = archive.patches(ids=listed)
        # two at a time, given and wanted
        for given, wanted in zip(patches, patches, strict=True):
            found += 1
            yield Pair(given, wanted)
        lacks = f"of one instant with segments {first} and {second}"
    else:
        segment = "magnetogram" if chosen.reads == "line-of-sight" else "Br"
        listed = [row["id"] for row in rows if row["segment"] == segment]
        for number, patch in enumerate(archive.patches(ids=listed)):
            if chosen.name == "missing-to-filled" and min(_sides(patch)) < 2.1 * _BLOCKS[1]:
                continue
            pair = made_pair(chosen, patch, number)
            if chosen.name == "saturated-to-unsaturated" and not _is_clipped(pair):
                continue
            found += 1
            yield pair
        lacks = f"with segment {segment}" + (" that is strong enough to be clipped" if chosen.where != "all" else "")
    if not found:
        raise TranslationError(f"{archive.uri} holds no frame {lacks}; simulate some, or name another archive")


def _sides(patch: Patch) -> list[float]:
    return [n * s for n, s in zip(patch.field.shape, patch.scale_mm or (0.0, 0.0), strict=True)]


def _is_clipped(pair: Pair) -> bool:
    """Whether a pair has enough saturated pixels to learn from."""
    return int((np.abs(pair.wanted.field) > np.nanmax(np.abs(pair.given.field))).sum()) >= 20


def pairs_of_table(path: str | Path) -> list[Pair]:
    """Pairs of a table (CSV) with the columns ``given`` and ``wanted``: FITS files, relative to the table's folder.

    Raises
    ------
    TranslationError
        Naming the line that is wrong: a column or a file is missing, or two files are no pair.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise TranslationError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TranslationError(f"{path} is no table of text: {error}") from None
    if not rows or not {"given", "wanted"} <= set(rows[0]):
        raise TranslationError(f"{path} is no table of pairs; it needs a header line `given,wanted` and lines of files")
    out = []
    for line, row in enumerate(rows, start=2):
        try:
            given, wanted = (read_sharp(path.parent / str(row[name])) for name in ("given", "wanted"))
            out.append(Pair(given, wanted))
        except (SolqueryError, OSError, ValueError) as error:
            raise TranslationError(f"{path}, line {line}: {error}") from None
    return out
