"""How the answers of a search are shown and kept: records, a table, and a folder with picture, CSV and FITS files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..aliases import Document, Entries
from .output import picture, plain, quantities, quantity, table, write_file

if TYPE_CHECKING:
    import numpy as np

    from ..archive.store import Archive
    from ..model import Model
    from ..search.explanation import Explanation
    from ..search.index import Match

__all__ = ["answer_of", "save_answers", "sheet", "tell_answers", "why"]

_SHOWN = ("tuf", "r", "psep", "tilt", "polarity")
#: what noise and spread of a parameter do not make a match
_NOT_TOLD = ("polarity",)


def answer_of(match: Match, told: Explanation, physical: bool) -> Document:
    """One match as the JSON document has it."""
    from ..archive.view import COLUMNS_TOLD, caveats_of_row
    from ..physics import parameters
    from ..steering.vocabulary import unit_of_target

    row: Entries = match.row
    return {
        "id": match.id,
        "region": match.region,
        "distance": match.distance,
        "rank": match.rank,
        "rank_percentile": told.rank_percentile,
        "parameters": quantities({name: row.get(name) for name in parameters()}, physical=True),
        "grid": quantities({name: row.get(f"grid_{name}") for name in parameters()}, physical),
        "differences": {
            name: quantity(
                d.difference,
                unit_of_target(name, d.scale == "native" or physical),
                scores=d.scores,
                agrees=d.agrees,
                scale=d.scale,
            )
            for name, d in told.differences.items()
        },
        "agree": [name for name, d in told.differences.items() if d.agrees is not None],
        "visual_similarity": told.visual_similarity,
        "correlation": match.correlation,
        "alignment": told.alignment,
        "why": why(told),
        "span": told.span,
        "links": told.links,
        "source": row.get("source"),
        "caveats": [caveat._asdict() for caveat in caveats_of_row(row)],
        **{key: row.get(key) for key in COLUMNS_TOLD},
    }


def _named(names: Sequence[str]) -> str:
    return ", ".join(name.upper() for name in names)


def why(told: Explanation) -> str:
    """Why it matched, in a line: which parameters agree and how closely, and what aligns the two pictures."""
    within = {
        how: [n for n, d in told.differences.items() if d.agrees == how and n not in _NOT_TOLD]
        for how in ("noise", "band", "spread")
    }
    parts = []
    if within["noise"]:
        parts.append(f"{_named(within['noise'])} agree within the noise")
    if within["band"]:
        parts.append(f"{_named(within['band'])} within the band of the query's estimate")
    if within["spread"]:
        parts.append(f"{_named(within['spread'])} within a quarter of the archive's spread")
    polarity = told.differences.get("polarity")
    if polarity is not None and polarity.difference == polarity.difference and polarity.difference != 0:
        parts.append("the leading polarity is the other one")
    a = told.alignment
    done = ["flipped north to south"] if a["flip"] else []
    if abs(a["rotation_deg"]) >= 1:
        done.append(f"turned by {a['rotation_deg']:+.0f}°")
    if abs(a["zoom"] - 1) >= 0.02:
        done.append(f"zoomed by {a['zoom']:.2f}")
    if any(abs(v) >= 1 for v in a["shift_px"]):
        done.append(f"shifted by {a['shift_px'][0]:+.0f}, {a['shift_px'][1]:+.0f} px (north, west)")
    moved = ", ".join(done) or "as it is"
    parts.append(f"the query {moved} has correlation {told.visual_similarity:.2f} with it")
    return ("; ".join(parts) if len(parts) > 1 else f"no parameter agrees; {parts[0]}").replace("-", "−")


def _value(entry: Entries) -> str:
    return "–" if entry["value"] is None else f"{entry['value']:.3g}"


def _kind(match: Entries, name: str) -> str:
    """Which numbers of a match stand beside the query's: a query that is known on the grid alone has the grid's."""
    change = match["differences"].get(name)
    return "grid" if change is not None and change["scale"] == "grid" else "parameters"


def _beside(match: Entries, name: str) -> str:
    change = match["differences"].get(name)
    value = match[_kind(match, name)].get(name)
    if value is None or value["value"] is None:
        return "–"
    if change is None or change["value"] is None:
        return _value(value)
    return f"{_value(value)} ({change['value']:+.2g})".replace("-", "−")


def _span(span: Entries | None) -> str:
    if span is None or span["first"] is None:
        return ""
    first, last = (span[end][:16].replace("T", " ") for end in ("first", "last"))
    frames = f"{span['frames']} frame" + ("s" if span["frames"] > 1 else "")
    return f"{frames} of the region match, {first} to {last}" if span["frames"] > 1 else f"{frames} at {first}"


def tell_answers(query: Entries, matches: Sequence[Entries]) -> None:
    """Table of query and matches, then for each why it matched, when, and where to read on."""
    asked: Entries = query["parameters"]
    units = {name: (asked.get(name) or {}).get("unit") or "" for name in _SHOWN}
    lines = [("", "query", query.get("region") or "", query["kind"], "", "", *(_value(asked[n]) for n in _SHOWN))]
    for m in matches:
        nearer = "–" if m["rank_percentile"] is None else f"{m['rank_percentile']:.1f} %"
        cells = [_beside(m, name) for name in _SHOWN]
        lines.append((str(m["rank"]), m["id"], m["region"], m["source"], f"{m['distance']:.4g}", nearer, *cells))
    heads = [f"{name} ({units[name]})" if units[name] else name for name in _SHOWN]
    table(["", "id", "region", "source", "distance", "nearer than", *heads], lines)
    for m in matches:
        where = [f"NOAA {', '.join(map(str, m['noaa']))}"] if m["noaa"] else []
        if m["latitude_deg"] is not None and m["longitude_deg"] is not None:
            where.append(f"latitude {m['latitude_deg']:.1f}°, longitude {m['longitude_deg']:.1f}°")
        typer.echo(f"{m['rank']}  {m['why']}")
        about = "; ".join(part for part in (*where, _span(m["span"])) if part)
        for line in (about, *m["links"].values()):
            if line:
                typer.echo(f"   {line}")
        for caveat in m["caveats"]:
            typer.echo(f"   caution: {caveat['text']}")


def sheet(store: Archive, models: Model, x: np.ndarray, matches: Sequence[Match], path: Path) -> Path:
    """Query and matches in one picture."""
    from ..search.matches import title_of

    fields = store.prepared(models.preset, ids=[match.id for match in matches])[1]
    titles = ["query", *(title_of(match) for match in matches)]
    return write_file(path, picture([x, *fields], models.preset, titles))


def save_answers(
    folder: Path,
    store: Archive,
    models: Model,
    x: np.ndarray,
    matches: Sequence[Match],
    document: Entries,
) -> Document:
    """Contact sheet, CSV with all numbers, and a FITS file of each match at its native scale; the paths."""
    from ..archive.export import file_stem
    from ..archive.view import caveats_on_grid
    from ..sharp.fits_writing import write_fits

    files, limits = [], []
    for match in matches:
        patch, path = store.get(match.id), folder / f"{match.rank:02d}-{file_stem(match.id)}.fits"
        limits.append(caveats_on_grid(patch, models.preset))
        files.append(str(write_fits(patch, path, limits=limits[-1])))
    picture_file = sheet(store, models, x, matches, folder / "contact.png")
    text = io.StringIO()
    writer = csv.writer(text)
    names = list(document["query"]["parameters"])
    about = ("rank", "id", "region", "source", "harpnum", "t_rec", "latitude_deg", "longitude_deg", "mu", "distance",
             "rank_percentile", "visual_similarity", "flux_outside_view", "quantity", "quality")  # fmt: skip
    columns = [f"{n}_{kind}" for n in names for kind in ("query", "match", "difference")]
    units = [document["query"]["parameters"][n]["unit"] for n in names for _ in range(3)]
    heads = [f"{column} [{unit}]" if unit else column for column, unit in zip(columns, units, strict=True)]
    writer.writerow([*about, "caveats", "noaa", "first", "last", *heads, "jsoc", "solarmonitor", "why", "file"])
    for m, file, found in zip(document["matches"], files, limits, strict=True):
        span = m["span"] or {}
        values = [
            plain(entry.get("value")) if (entry := group.get(n)) else None
            for n in names
            for group in (document["query"]["parameters"], m[_kind(m, n)], m["differences"])
        ]
        noaa = " ".join(map(str, m["noaa"] or ()))
        ends = (span.get("first"), span.get("last"))
        pages = (m["links"].get("jsoc"), m["links"].get("solarmonitor"))
        marks = " ".join(caveat.name for caveat in found)
        writer.writerow([*(m[key] for key in about), marks, noaa, *ends, *values, *pages, m["why"], Path(file).name])
    sheet_file = write_file(folder / "matches.csv", text.getvalue().encode())
    return {"picture": str(picture_file), "table": str(sheet_file), "fits": files}
