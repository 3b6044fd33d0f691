"""What can be said of an answer: how it ranks, where its parameters agree with the query's, what aligns the two.

Values are at native scale: those of an observed query are measured there, those of a generated one are estimates with
a band (`solquery.steering.native_scale`). Without a calibration they are compared on the grid. A parameter agrees when
the two differ by no more than two standard errors of their difference, as noise of `NOISE_GAUSS` in every pixel of the
grid makes them, where the match lies in the band of the estimate, or by no more than a quarter of the archive's spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from ..aliases import Document, Entries
from ..archive.rows import rows_at
from ..archive.tables import quoted
from ..physics import get_parameter, parameters
from ..sharp.identity import record_of
from ..steering.native_scale import NativeScale, native_scale_of
from .hybrid import NormalScores
from .patch_list import Match, PatchList

if TYPE_CHECKING:
    from ..archive.store import Archive
    from .query import Query
    from .session import SearchSession

__all__ = ["Difference", "Explanation", "explained", "links"]

#: of the archive's spread, in normal scores
_SHARE_OF_SPREAD = 0.25
#: pixels averaged before two pictures are compared: the eye does not ask for every one
_COARSE = 4
#: an archive beyond this is not read again for ranks and spans
_LARGEST = 1_000_000
#: rows that are found one by one sooner than by a pass over all
_BY_PLACE = 4096


@dataclass(frozen=True)
class Difference:
    """One parameter of a match beside the query's.

    Attributes
    ----------
    query, match
        Values; NaN where there is none.
    difference
        Match minus query; angles within ±180 degrees.
    scores
        The difference in spreads of the archive (normal scores).
    agrees
        ``"noise"``, ``"band"``, ``"spread"``, or None where they do not agree.
    scale
        ``"native"``, or ``"grid"`` where the query is not known at native scale.
    """

    query: float
    match: float
    difference: float
    scores: float
    agrees: str | None
    scale: str = "grid"


@dataclass(frozen=True)
class Explanation:
    """What can be said of one match.

    Attributes
    ----------
    rank_percentile
        Share in percent of the patches searched that are farther from the query; None in archives too large.
    differences
        Parameter name to `Difference`.
    visual_similarity
        Largest correlation of the two pictures, averaged over squares of four pixels (`Aligner`).
    alignment
        What the query undergoes to reach it: ``flip``, ``rotation_deg``, ``zoom``, ``shift_px`` (y, x).
    span
        ``first``, ``last`` (ISO times) and ``frames`` of the match's region that are no farther than the last answer.
    links
        Name of a site to the page about the region; empty for what was never seen.
    """

    rank_percentile: float | None
    differences: dict[str, Difference] = field(repr=False)
    visual_similarity: float
    alignment: Document
    span: Document | None
    links: dict[str, str]


@dataclass(frozen=True)
class _Side:
    """One parameter of the query: value, noise, the band of an estimate, and at which scale."""

    value: float
    noise: float
    band: tuple[float, float] | None
    native: bool


def _side(name: str, asked: Query, scale: NativeScale | None, observed: Entries | None) -> _Side:
    """A parameter of the query at native scale, where it is known there."""
    grid, noise = asked.values.get(name, np.nan), asked.noise.get(name, np.nan)
    seen = None if observed is None else observed.get(name)
    if seen is not None and np.isfinite(seen):
        about = get_parameter(name)
        # noise of sizes is told as a share of them, which is much the same on both
        relative = about.unit not in ("", "deg") and grid != 0
        return _Side(float(seen), noise * abs(float(seen) / grid) if relative else noise, None, True)
    found = None if scale is None else scale.estimate(name, grid)
    if found is None or scale is None:
        return _Side(grid, noise, None, False)
    steep = float(scale.slope(name, np.asarray(found.value)))
    return _Side(found.value, noise * steep, (found.low, found.high), True)


def _differences(name: str, query: _Side, matches: Sequence[float | None], scores: NormalScores) -> list[Difference]:
    """One parameter of each match beside the query's."""
    values = np.array([np.nan if value is None else value for value in (query.value, *matches)], np.float64)
    gaps = values[1:] - values[0]
    if get_parameter(name).unit == "deg":
        gaps = (gaps + 180.0) % 360.0 - 180.0
    noise, band = query.noise, query.band
    found = scores(values)
    within = 2.0 * np.sqrt(2.0) * (noise if np.isfinite(noise) else 0.0)
    out = []
    for value, gap, apart in zip(values[1:].tolist(), gaps.tolist(), (found[1:] - found[0]).tolist(), strict=True):
        agrees = None
        if np.isfinite(gap):
            if abs(gap) <= within:
                agrees = "noise"
            elif band is not None and band[0] <= values[0] + gap <= band[1]:
                agrees = "band"
            elif abs(apart) <= _SHARE_OF_SPREAD:
                agrees = "spread"
        kind = "native" if query.native else "grid"
        out.append(Difference(float(values[0]), value, gap, apart, agrees, kind))
    return out


def links(row: Entries) -> dict[str, str]:
    """Pages about an observed patch: its record at JSOC, its NOAA region (else the day) at SolarMonitor."""
    if row.get("source") != "real":
        return {}
    out = {}
    series, number = record_of(str(row.get("id") or ""), str(row.get("series") or ""), row.get("harpnum"))
    if number and row.get("t_rec"):
        record = f"{series}[{number}][{row['t_rec']}]"
        out["jsoc"] = f"http://jsoc.stanford.edu/ajax/lookdata.html?ds={quote(record)}"
    seen = row.get("t_utc")
    if seen is not None:
        day = f"{seen:%Y%m%d}"
        numbers = [int(n) for n in (row.get("noaa") or []) if n]
        page = f"region.php?date={day}&region={numbers[0]}" if numbers else f"index.php?date={day}"
        out["solarmonitor"] = f"https://www.solarmonitor.org/{page}"
    return out


def _times(archive: Archive, patches: PatchList, rows: np.ndarray) -> dict[str, datetime | None]:
    """When the patches in some rows were observed, by id."""
    found: list[Document] = []
    if patches.places is not None and len(rows) <= _BY_PLACE:
        found = rows_at(archive, patches.places[rows].tolist(), ["id", "t_utc"])
    if len(found) < len(rows):
        wanted = patches.id_array.take(pa.array(rows)).to_pylist()
        found = archive.table(["id", "t_utc"], f"id IN ({quoted(wanted)})").to_pylist()
    return {row["id"]: row["t_utc"] for row in found}


def _spans(
    archive: Archive, patches: PatchList, distances: np.ndarray, reach: float, regions: Sequence[str]
) -> dict[str, Document]:
    """Region to the first and the last time among its patches that are within reach, and how many they are."""
    near = np.flatnonzero(patches.in_regions(regions) & (distances <= reach))
    at = _times(archive, patches, near)
    ids, named = (a.take(pa.array(near)).to_pylist() for a in (patches.id_array, patches.region_array))
    out = {}
    for region in regions:
        here = [patch_id for patch_id, name in zip(ids, named, strict=True) if name == region]
        times = sorted(t for patch_id in here if (t := at.get(patch_id)) is not None)
        ends = {"first": times[0].isoformat(), "last": times[-1].isoformat()} if times else {}
        out[region] = {"first": None, "last": None, **ends, "frames": len(here)}
    return out


def explained(
    session: SearchSession,
    asked: Query,
    matches: Sequence[Match],
    by: str,
    where: str | None,
    weights: Mapping[str, float] | None,
    observed: Entries | None = None,
) -> list[Explanation]:
    """`SearchSession.explain`."""
    if not matches:
        return []
    archive, model = session.archive, session.model
    percentile: list[float | None] = [None] * len(matches)
    spans: dict[str, Document] = {}
    if len(archive) <= _LARGEST:
        patches, distances = session.distances(asked, where, by, weights)
        rows = patches.rows([match.id for match in matches])
        own = dict(zip(patches.id_array.take(pa.array(rows)).to_pylist(), distances[rows].tolist(), strict=True))
        # NaN, of a patch that lacks what is compared, is farther than none
        percentile = [100.0 * float((distances > own[match.id]).mean()) for match in matches]
        regions = list(dict.fromkeys(match.region for match in matches))
        spans = _spans(archive, patches, distances, float(np.nanmax(list(own.values()))), regions)
    present = set(archive.columns)
    names = [name for name in parameters() if f"grid_{name}" in present]
    sides = {name: _side(name, asked, native_scale_of(model), observed) for name in names}
    column = {name: name if side.native else f"grid_{name}" for name, side in sides.items()}
    scores = session.scores(list(column.values()))
    others = session.pictures(matches)
    alike, views = asked.aligner.over(others, finest=_COARSE)
    differences = {
        name: _differences(name, sides[name], [match.row.get(column[name]) for match in matches], scores[column[name]])
        for name in names
    }
    out = []
    for k, match in enumerate(matches):
        of_match = {name: found[k] for name, found in differences.items()}
        alignment = {
            "flip": bool(views.flip[k]),
            "rotation_deg": round(float(views.rotation_deg[k]), 2),
            "zoom": round(float(views.zoom[k]), 3),
            "shift_px": [float(v) for v in views.shift_px[k]],
        }
        span = spans.get(match.region)
        out.append(Explanation(percentile[k], of_match, float(alike[k]), alignment, span, links(match.row)))
    return out
