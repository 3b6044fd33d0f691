"""Building blocks of a report: one HTML file with its pictures inside, for screen, phone and paper.

Nothing is loaded from anywhere: styles are in the head and pictures are data URIs.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from ..physics import get_parameter, unit_of
from .figures import tile_png

__all__ = [
    "Picture", "badge", "caption_of", "page", "parameter_text", "plate", "quantity", "row_of_tiles", "section", "share",
    "symbol", "table", "text", "tile", "wide",
]  # fmt: skip

_SYMBOLS = {"polarity": "leading polarity", "imbalance": "|net| / TUF", "tilt_size": "|TILT|"}
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2127;--soft:#5b6470;--page:#fbfaf7;--card:#fff;--rule:#dedbd3;--accent:#1f5fa8;
--real:#0a7d78;--simulated:#a6580a;--generated:#6b46c1}
@media (prefers-color-scheme:dark){:root{--ink:#e6e4df;--soft:#a2a8b1;--page:#14171b;--card:#1d2126;--rule:#343a42;
--accent:#8fbcf0;--real:#4cc9c0;--simulated:#eba65a;--generated:#b79cf5}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:17px/1.6 Charter,"Bitstream Charter","Iowan Old Style",
"Palatino Linotype",Georgia,serif}
main{max-width:1080px;margin:0 auto;padding:0 20px 64px}
header{padding:56px 0 20px;border-bottom:1px solid var(--rule)}
h1{font-size:clamp(28px,5vw,42px);line-height:1.15;margin:0 0 12px;letter-spacing:-.01em;font-weight:600}
h2{font-size:clamp(21px,3.2vw,27px);line-height:1.25;margin:60px 0 10px;font-weight:600}
h3{font-size:18px;margin:32px 0 6px;font-weight:600}
p,ul{max-width:44em;margin:10px 0}
li{margin:5px 0}
.lead{font-size:19px;color:var(--soft)}
.meta,figcaption,th,td,.badge,.key,.facts,footer{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.meta,footer{font-size:13.5px;color:var(--soft)}
a{color:var(--accent)}
.number{color:var(--soft);font-weight:400;margin-right:.4em}
.badge{display:inline-block;font-size:11px;line-height:1;font-weight:600;letter-spacing:.03em;padding:3px 6px;
border-radius:4px;border:1.5px solid currentColor;white-space:nowrap}
.badge.real{color:var(--real)}
.badge.simulated{color:var(--simulated);border-style:dashed}
.badge.generated{color:var(--generated);border-style:dotted}
.key{display:flex;flex-wrap:wrap;gap:8px 22px;align-items:center;font-size:13.5px;color:var(--soft);margin:18px 0}
.bar{display:inline-block;width:120px;height:12px;border:1px solid var(--rule);vertical-align:-1px;
background:linear-gradient(90deg,#000,#fff)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:16px 14px;margin:16px 0}
.strip{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(136px,1fr);gap:12px;overflow-x:auto;
padding:4px 2px 10px;margin:12px 0;scroll-snap-type:x proximity}
.strip>.tile{scroll-snap-align:start}
.tile{margin:0;min-width:0}
.tile img{display:block;width:100%;height:auto;border:3px solid var(--rule);border-radius:3px;background:#808080}
.tile.real img{border-color:var(--real)}
.tile.simulated img{border-color:var(--simulated);border-style:dashed}
.tile.generated img{border-color:var(--generated);border-style:dotted}
.tile figcaption{font-size:12.5px;line-height:1.45;margin-top:6px;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.tile figcaption b{display:block;font-weight:600}
.tile figcaption span.v{display:block;color:var(--soft)}
.plates{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:18px;margin:16px 0}
@media(min-width:640px){.plates.four{grid-template-columns:1fr 1fr;max-width:780px}}
.plate{margin:0;align-self:start}
.plate img{display:block;width:100%;height:auto;background:#fff;border:1px solid var(--rule);border-radius:6px}
.plate figcaption{font-size:13.5px;color:var(--soft);margin-top:6px;max-width:54em}
.plate.single{max-width:780px}
.plate.small{max-width:560px}
.scroll{overflow-x:auto;margin:14px 0;background:var(--card);border:1px solid var(--rule);border-radius:6px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{font-size:13px;line-height:1.4;padding:7px 8px;text-align:right;border-bottom:1px solid var(--rule);
white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{font-weight:600;color:var(--soft);vertical-align:bottom}
tbody tr:last-child td{border-bottom:0}
td.left,th.left{text-align:left}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0}
.facts div{background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:12px 14px;font-size:13px;
color:var(--soft)}
.facts strong{display:block;font-size:23px;line-height:1.25;color:var(--ink);font-variant-numeric:tabular-nums}
.asked{border-left:4px solid var(--accent);padding:2px 0 2px 16px;font-size:20px;font-style:italic;margin:16px 0}
.caution{background:var(--card);border:1px solid var(--rule);border-left:4px solid var(--simulated);border-radius:6px;
padding:6px 20px;margin:16px 0}
footer{border-top:1px solid var(--rule);margin-top:64px;padding-top:14px}
@media (max-width:560px){body{font-size:16px}main{padding:0 14px 40px}header{padding-top:30px}
.tiles{grid-template-columns:repeat(2,1fr)}}
@media print{body{background:#fff;color:#000}.strip{grid-auto-flow:row;grid-template-columns:repeat(7,1fr)}}
"""


@dataclass(frozen=True)
class Picture:
    """A patch as a report shows it.

    Attributes
    ----------
    field
        (H, W) in gauss, on the grid of the preset; or the file of a picture of it (`tile_png`).
    kind
        ``real``, ``simulated`` or ``generated``.
    title
        Its first line.
    values
        Parameters on the grid.
    lines
        More lines of the caption, plain text.
    physical
        Whether `values` are in maxwell and megametres, or in gauss and pixels.
    """

    field: np.ndarray | Path
    kind: str
    title: str = ""
    values: Mapping[str, float] = field(default_factory=dict)  # type: ignore[operator]
    lines: Sequence[str] = ()
    physical: bool = False


def symbol(name: str) -> str:
    """A parameter or a quantity derived from some as a table heads it."""
    return _SYMBOLS.get(name) or get_parameter(name).symbol


def text(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number without a unit; a dash where unknown."""
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def share(value: float | None) -> str:
    """A share of one, in percent; a dash where unknown."""
    return "–" if value is None else f"{100 * value:.0f} %"


def quantity(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with its unit as a person writes it: ``1.83 MG pix``, ``3.2 × 10²¹ Mx``; a dash where unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "Mx" and value != 0:
        power = math.floor(math.log10(abs(value)))
        head = f"{value / 10.0**power:.{digits - 1}f}"
        return f"{head} × 10{str(power).translate(_SUPERSCRIPT)} Mx".replace("-", "−", 1 if value < 0 else 0)
    prefix = ""
    if unit == "G pix":
        for size, name in ((1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                value, prefix = value / size, name
                break
    size = abs(value)
    decimals = 0 if size >= 10**digits else max(0, digits - 1 - (math.floor(math.log10(size)) if size > 0 else 0))
    text = f"{value:.{min(decimals, 5)}f}".replace("-", "−")
    return f"{text} {prefix}{unit}".strip()


def parameter_text(name: str, value: float | None, physical: bool = False) -> str:
    """A parameter's value as a person writes it; the polarity in words."""
    if name == "polarity":
        return "–" if value is None or not math.isfinite(value) else "positive" if value > 0 else "negative"
    return quantity(value, unit_of(name, physical))


def badge(kind: str) -> str:
    """What marks a row or a picture as real, simulated or generated."""
    return f'<span class="badge {escape(kind)}">{escape(kind)}</span>'


def caption_of(values: Mapping[str, float], physical: bool = False) -> list[str]:
    """The lines under a frame: measured TUF, R, PSEP and which polarity leads."""
    labels = {"tuf": "TUF", "r": "R", "psep": "PSEP", "polarity": "leading"}
    return [
        f"{label} {parameter_text(name, values[name], physical)}" for name, label in labels.items() if name in values
    ]


def _source(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def tile(picture: Picture) -> str:
    """One patch with badge and caption."""
    lines = [*picture.lines, *caption_of(picture.values, picture.physical)]
    text = "".join(f'<span class="v">{escape(line)}</span>' for line in lines)
    title = f"<b>{escape(picture.title)}</b>" if picture.title else ""
    alt = escape(f"{picture.kind} magnetogram {picture.title}".strip(), quote=True)
    drawn = picture.field.read_bytes() if isinstance(picture.field, Path) else tile_png(picture.field)
    return (
        f'<figure class="tile {escape(picture.kind)}"><img alt="{alt}" src="{_source(drawn)}">'
        f"<figcaption>{title}{badge(picture.kind)}{text}</figcaption></figure>"
    )


def row_of_tiles(pictures: Iterable[Picture], strip: bool = False) -> str:
    """Patches side by side: a strip keeps to one line and scrolls, others wrap."""
    return f'<div class="{"strip" if strip else "tiles"}">{"".join(tile(p) for p in pictures)}</div>'


def plate(folder: Path, file: str | None, alt: str, caption: str = "", width: str = "single") -> str:
    """A figure of a stage, from its file; `alt` says what it shows to who cannot see it, `caption` is HTML."""
    if file is None:
        return ""
    under = f"<figcaption>{caption}</figcaption>" if caption else ""
    image = f'<img alt="{escape(alt, quote=True)}" src="{_source((folder / file).read_bytes())}">'
    return f'<figure class="plate {width}">{image}{under}</figure>'


def wide(parts: Iterable[str]) -> str:
    """Figures side by side where there is room; four as two and two, so that none is left alone."""
    parts = list(parts)
    four = " four" if len(parts) == 4 else ""
    return f'<div class="plates{four}">{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: Sequence[int] = ()) -> str:
    """A table; cells are HTML already, the columns `left` (beside the first) are set to the left."""

    def cells(tag: str, row: Sequence[object]) -> str:
        return "".join(f"<{tag}{' class=left' if k in left else ''}>{cell}</{tag}>" for k, cell in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead><tbody>{body}</tbody></table></div>'


def section(number: int | str, title: str, *parts: str) -> str:
    """A part of the report, numbered unless `number` is empty."""
    tag = f'<span class="number">{number}</span>' if number != "" else ""
    return f"<section><h2>{tag}{escape(title)}</h2>{''.join(parts)}</section>"


def page(title: str, *parts: str) -> str:
    """The whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )
