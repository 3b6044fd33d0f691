"""The pipeline as a diagram (paper, Fig. 1): an SVG that loads nothing and follows the reader's light or dark theme."""

from __future__ import annotations

from html import escape

__all__ = ["pipeline_svg"]

_WIDTH, _HEIGHT = 1000, 420
_BOX = (136, 58)
_PITCH, _LEFT = 166, 17
_ROWS = {"top": 74, "middle": 186, "bottom": 292}

_STYLE = (
    ".pl-back{fill:#fff}.pl-box{fill:#f3f5f8;stroke:#56606e;stroke-width:1.2}"
    ".pl-data{fill:#e8f3f2;stroke:#0a7d78}.pl-net{fill:#eef0fb;stroke:#3b4cb8}"
    ".pl-text{fill:#1c2530;font:600 13px system-ui,sans-serif;text-anchor:middle}"
    ".pl-small{fill:#4a5563;font:12px system-ui,sans-serif;text-anchor:middle}"
    ".pl-line{fill:none;stroke:#56606e;stroke-width:1.4}.pl-dash{stroke-dasharray:5 4}.pl-head{fill:#56606e}"
    "@media (prefers-color-scheme:dark){.pl-back{fill:#12161c}.pl-box{fill:#1f2630;stroke:#8b97a7}"
    ".pl-data{fill:#12302f;stroke:#35b5ae}.pl-net{fill:#222a52;stroke:#8d9bf0}.pl-text{fill:#eef2f7}"
    ".pl-small{fill:#b4bfcc}.pl-line{stroke:#8b97a7}.pl-head{fill:#8b97a7}}"
)

#: row, column, kind, title, second line
_BOXES = (
    ("top", 0, "", "latent vector z", "100 numbers, N(0, 1)"),
    ("top", 1, "net", "generator G", "GAN"),
    ("top", 2, "data", "generated patch", "the query"),
    ("top", 3, "", "parameters", "TUF, R, PSEP, …"),
    ("top", 4, "", "look-up table", "z ↔ parameters"),
    ("top", 5, "net", "linear SVMs", "directions n̂"),
    ("middle", 1, "net", "discriminator D", "real or generated?"),
    ("bottom", 0, "data", "observations", "SHARP, on one grid"),
    ("bottom", 1, "", "two views", "shift, zoom, turn, flip"),
    ("bottom", 2, "net", "encoder f", "SimSiam"),
    ("bottom", 3, "", "look-up table", "patch ↔ embedding"),
    ("bottom", 4, "", "search", "nearest embedding"),
    ("bottom", 5, "data", "matches", "observed regions"),
)


def _x(column: int) -> int:
    return _LEFT + _PITCH * column


def _box(row: str, column: int, kind: str, title: str, second: str) -> str:
    x, y, middle = _x(column), _ROWS[row], _x(column) + _BOX[0] // 2
    style = f"pl-box pl-{kind}" if kind else "pl-box"
    return (
        f'<rect class="{style}" x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="7"/>'
        f'<text class="pl-text" x="{middle}" y="{y + 25}">{escape(title)}</text>'
        f'<text class="pl-small" x="{middle}" y="{y + 43}">{escape(second)}</text>'
    )


def _arrow(points: list[tuple[int, int]], dashed: bool = False) -> str:
    """A line through the points with a head at the last; its last stretch is level or upright."""
    (px, py), (x, y) = points[-2:]
    dx, dy = (x > px) - (x < px), (y > py) - (y < py)
    end = (x - 7 * dx, y - 7 * dy)
    line = " ".join(f"{a},{b}" for a, b in [*points[:-1], end])
    head = f"{x},{y} {x - 9 * dx - 5 * dy},{y - 9 * dy - 5 * dx} {x - 9 * dx + 5 * dy},{y - 9 * dy + 5 * dx}"
    kind = "pl-line pl-dash" if dashed else "pl-line"
    return f'<polyline class="{kind}" points="{line}"/><polygon class="pl-head" points="{head}"/>'


def _arrows() -> list[str]:
    width, height = _BOX
    out = []
    for row in ("top", "bottom"):
        y = _ROWS[row] + height // 2
        out += [_arrow([(_x(k) + width, y), (_x(k + 1), y)]) for k in range(5)]
    top, middle, bottom = (_ROWS[name] for name in ("top", "middle", "bottom"))
    centre = [_x(k) + width // 2 for k in range(6)]
    # directions move the latent vector
    out.append(_arrow([(centre[5], top), (centre[5], top - 34), (centre[0], top - 34), (centre[0], top)]))
    # the discriminator sees both kinds and teaches the generator
    out.append(_arrow([(centre[2] - 34, top + height), (centre[2] - 34, middle + 29), (_x(1) + width, middle + 29)]))
    out.append(_arrow([(centre[0], bottom), (centre[0], middle + 29), (_x(1), middle + 29)]))
    out.append(_arrow([(centre[1], middle), (centre[1], top + height)], dashed=True))
    # the generated patch is the query
    out.append(_arrow([(centre[2] + 34, top + height), (centre[2] + 34, bottom)]))
    low = bottom + height
    out.append(_arrow([(centre[2], low), (centre[2], low + 30), (centre[4], low + 30), (centre[4], low)]))
    return out


def pipeline_svg() -> str:
    """The diagram as one ``<svg>`` element, 1000 x 420, for a page or a file of its own."""
    width, height = _BOX
    labels = (
        (_WIDTH // 2, _ROWS["top"] - 44, "z + ε n̂: change one parameter, hold others"),
        (_x(1) + width // 2 + 34, _ROWS["middle"] - 21, "loss"),
        (_x(2) + width // 2 + 66, _ROWS["middle"] + 36, "query"),
        (_x(3) + width // 2, _ROWS["bottom"] + height + 48, "embedding of the query"),
    )
    text = "".join(f'<text class="pl-small" x="{x}" y="{y}">{escape(said)}</text>' for x, y, said in labels)
    title = "Pipeline: a generator makes patches from latent vectors, directions change them, an encoder finds matches"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title, quote=True)}" style="max-width:100%;height:auto"><style>{_STYLE}</style>'
        f'<rect class="pl-back" width="{_WIDTH}" height="{_HEIGHT}" rx="10"/>{"".join(_arrows())}'
        f"{''.join(_box(*box) for box in _BOXES)}{text}</svg>"
    )
