"""How the values of a column are spread, as numbers for JSON and as bars for a terminal."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..aliases import Document

__all__ = ["NEEDED", "bars", "histograms"]

#: column, title, unit, whether it is counted in decades
COLUMNS = (
    ("tuf", "unsigned flux", "log10 Mx", True),
    ("mu", "mu of the centre", "", False),
    ("latitude_deg", "latitude", "deg", False),
    ("missing_fraction", "missing pixels", "share", False),
    ("pixels", "size", "log10 pixels", True),
)
#: columns of an archive that `histograms` looks at, where they are there
NEEDED = ("t_utc", "ny", "nx", *(name for name, *_ in COLUMNS if name != "pixels"))
_BINS = 12
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"


def histograms(table: pa.Table) -> dict[str, Document]:
    """Counts of some columns of an archive's table, and of its frames by year.

    Returns
    -------
    Title to ``{"unit", "edges", "counts"}`` with one edge more than counts, at round numbers; for years, edges are the
    years themselves. Columns without a value are left out.
    """
    found: dict[str, Document] = {}
    years = pc.year(table["t_utc"]).drop_null().to_numpy() if len(table) else np.zeros(0, int)
    if len(years):
        span = np.arange(years.min(), years.max() + 2)
        found["year"] = {"unit": "", "edges": span.tolist(), "counts": np.histogram(years, span)[0].tolist()}
    for name, title, unit, decades in COLUMNS:
        if name == "pixels":
            values = pc.multiply(table["ny"], table["nx"]).to_numpy().astype(float)
        elif name in table.schema.names:
            values = table[name].to_numpy().astype(float)
        else:
            continue
        values = values[np.isfinite(values)]
        if decades:
            values = np.log10(values[values > 0])
        if len(values):
            edges = _edges(float(values.min()), float(values.max()))
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
            found[title] = {"unit": unit, "edges": edges.tolist(), "counts": counts.tolist()}
    return found


def _edges(low: float, high: float) -> np.ndarray:
    """Edges of at most some dozen bins that hold low … high, at round numbers, as somebody would draw them by hand."""
    width = (high - low) / _BINS or abs(low) or 1.0
    power = math.floor(math.log10(width))
    step = min(m for m in (1, 2, 5, 10) if m * 10.0**power >= width * (1 - 1e-9)) * 10.0**power
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return np.round(np.arange(first, last + 1) * step, max(-power, 0))


def bars(title: str, histogram: Document, width: int = 40) -> list[str]:
    """Lines of a horizontal histogram: from which value on, a bar, the count."""
    counts, edges = histogram["counts"], histogram["edges"]
    most = max(counts)
    lines = [f"{title} ({histogram['unit']})" if histogram["unit"] else title]
    for low, count in zip(edges, counts, strict=False):
        eighths = round(8 * width * count / most) if most else 0
        if count and not eighths:
            eighths = 1
        bar = _FULL * (eighths // 8) + (_PARTS[eighths % 8] if eighths % 8 else "")
        shown = str(low) if isinstance(low, int) else f"{low:.4g}"
        lines.append(f"{shown:>9} {bar:<{width}} {count:,}")
    return lines
