"""What can be said of an answer: how it ranks, where its parameters agree with the query's, what aligns the two.

A parameter agrees when the two values differ by no more than two standard errors of their difference, as noise of
`NOISE_GAUSS` in every pixel of the grid makes them, or by no more than a quarter of the archive's spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ..archive.identity import record_of
from ..physics import parameters, uncertainty, unit_of
from .alignment import Aligner
from .baselines import table_distances
from .embedding import embed
from .hybrid import NormalScores, hybrid_distances
from .index import Match, checked_query, load_index

if TYPE_CHECKING:
    from ..archive.store import Archive
    from ..bundle import Bundle

__all__ = ["NOISE_GAUSS", "Difference", "Explanation", "explain", "links", "noise_of", "ranked"]

#: standard deviation of a pixel of the grid: between HMI's line-of-sight and radial noise, averaged onto 1.8 Mm
NOISE_GAUSS = 10.0
#: of the archive's spread, in normal scores
_SHARE_OF_SPREAD = 0.25
_NOISE_DRAWS = 8
#: pixels averaged before two pictures are compared: the eye does not ask for every one
_COARSE = 4
#: an archive beyond this is not read again for ranks and spans
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Difference:
    """One parameter of a match beside the query's, both on the grid.

    Attributes
    ----------
    query, match
        Values; NaN where there is none.
    difference
        Match minus query; angles within ±180 degrees.
    scores
        The difference in spreads of the archive (normal scores).
    agrees
        ``"noise"``, ``"spread"``, or None where they do not agree.
    """

    query: float
    match: float
    difference: float
    scores: float
    agrees: str | None


@dataclass(frozen=True)
class Explanation:
    """What can be said of one match.

    Attributes
    ----------
    rank_percentile
        Share in percent of the patches searched that are farther from the query; None in archives too large.
    differences
        Parameter name to `Difference`.
    likeness
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
    likeness: float
    alignment: dict[str, Any]
    span: dict[str, Any] | None
    links: dict[str, str]


def ranked(
    archive: Archive,
    bundle: Bundle,
    x: np.ndarray,
    values: Mapping[str, float],
    by: str = "ssl",
    where: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, regions and distances, each (N,), of all patches searched, ungrouped.

    Parameters
    ----------
    archive, bundle, where
        As in `search`.
    x
        (H, W) query in preset units.
    values
        Its parameters on the grid.
    by
        ``ssl``, ``hybrid`` or ``physics`` (with `weights`), ``euclidean``, ``mahalanobis``.
    """
    if by in ("euclidean", "mahalanobis"):
        ids, regions, distances = table_distances(archive, values, by, where)
        return np.asarray(ids, dtype=str), regions, distances[0]
    if by == "ssl":
        index = load_index(archive, bundle, where)
        distances = index.distances(embed(bundle.encoder, checked_query(x, bundle)))
    else:
        index, distances = hybrid_distances(archive, bundle, x, where, weights)
    return index.ids, index.regions, distances[0]


def noise_of(bundle: Bundle, x: np.ndarray) -> dict[str, float]:
    """Standard errors of the parameters of patch x (H, W), in preset units, at `NOISE_GAUSS` a pixel of the grid."""
    gauss = np.asarray(bundle.preset.to_gauss(np.nan_to_num(np.asarray(x, np.float32))))
    found = uncertainty(gauss, bundle.preset.scale_mm, NOISE_GAUSS, samples=_NOISE_DRAWS)
    return {name: float(value[0]) for name, value in found.items()}


def _difference(name: str, query: Any, match: Any, noise: float, scores: NormalScores, physical: bool) -> Difference:
    a, b = (float("nan") if v is None else float(v) for v in (query, match))
    gap = b - a
    if unit_of(name, physical) == "deg":
        gap = (gap + 180.0) % 360.0 - 180.0
    apart = float(scores(b) - scores(a))
    agrees = None
    if np.isfinite(gap):
        if abs(gap) <= 2.0 * np.sqrt(2.0) * (noise if np.isfinite(noise) else 0.0):
            agrees = "noise"
        elif abs(apart) <= _SHARE_OF_SPREAD:
            agrees = "spread"
    return Difference(a, b, gap, apart, agrees)


def links(row: Mapping[str, Any]) -> dict[str, str]:
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


def _spans(archive: Archive, near: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Region to the first and the last time among patches, and how many they are."""
    wanted = [name for ids in near.values() for name in ids]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in wanted)
    table = archive.table(["id", "t_utc"], f"id IN ({quoted})")
    at: dict[str, datetime | None] = dict(zip(table["id"].to_pylist(), table["t_utc"].to_pylist(), strict=True))
    out = {}
    for region, ids in near.items():
        times = sorted(t for name in ids if (t := at.get(name)) is not None)
        ends = {"first": times[0].isoformat(), "last": times[-1].isoformat()} if times else {}
        out[region] = {"first": None, "last": None, **ends, "frames": len(ids)}
    return out


def explain(
    archive: Archive,
    bundle: Bundle,
    x: np.ndarray,
    values: Mapping[str, float],
    matches: Sequence[Match],
    by: str = "ssl",
    where: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[Explanation]:
    """What can be said of each match of a search.

    Parameters
    ----------
    archive, bundle, x, values, by, where, weights
        As in `ranked`; those of the search.
    matches
        Its answers, nearest first.
    """
    if not matches:
        return []
    percentile: list[float | None] = [None] * len(matches)
    spans: dict[str, dict[str, Any]] = {}
    if len(archive) <= _LARGEST:
        ids, regions, distances = ranked(archive, bundle, x, values, by, where, weights)
        row_of = {str(name): k for k, name in enumerate(ids)}
        own = [distances[row_of[match.id]] for match in matches]
        percentile = [100.0 * float((distances > d).mean()) for d in own]
        reach = np.nanmax(own)
        near = {
            match.region: [str(i) for i in ids[(regions == match.region) & (distances <= reach)]] for match in matches
        }
        spans = _spans(archive, near)
    names = [name for name in parameters() if f"grid_{name}" in archive.columns]
    stored = archive.table([f"grid_{name}" for name in names])
    scores = {name: NormalScores(stored[f"grid_{name}"].to_numpy()) for name in names}
    noise = noise_of(bundle, x)
    found, pictures = archive.prepared(bundle.preset, ids=[match.id for match in matches])
    place = {name: k for k, name in enumerate(found)}
    others = np.stack([np.asarray(pictures[place[match.id]], np.float32) for match in matches])
    alike, views = Aligner(x, bundle.preset.encoder.augment).over(others, finest=_COARSE)
    out = []
    for k, match in enumerate(matches):
        differences = {
            name: _difference(
                name, values.get(name), match.row.get(f"grid_{name}"), noise.get(name, np.nan), scores[name],
                bundle.preset.physical,
            )
            for name in names
        }  # fmt: skip
        alignment = {
            "flip": bool(views.flip[k]),
            "rotation_deg": round(float(views.rotation_deg[k]), 2),
            "zoom": round(float(views.zoom[k]), 3),
            "shift_px": [float(v) for v in views.shift_px[k]],
        }
        span = spans.get(match.region)
        out.append(Explanation(percentile[k], differences, float(alike[k]), alignment, span, links(match.row)))
    return out
