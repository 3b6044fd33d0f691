"""HTML that a notebook shows in place of a repr: pictures of fields, and tables."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from .grey import LIMIT_GAUSS, grey_png

__all__ = ["GREY", "number", "picture", "rows_of", "table"]

#: how the grey of `picture` is to be read
GREY = f"grey: ±{LIMIT_GAUSS:,.0f} G, asinh, north up, west to the right"


class _Picture(str):
    """HTML that is not escaped again."""


def picture(field_gauss: np.ndarray, alt: str, width: int = 120) -> str:
    """An ``img`` of a field (H, W) in gauss, drawn as `solquery.grey` says."""
    data = b64encode(grey_png(field_gauss)).decode()
    source = f"data:image/png;base64,{data}"
    return _Picture(f'<img alt="{escape(alt)}" width="{width}" style="image-rendering:pixelated" src="{source}">')


def number(value: float | None, unit: str = "") -> str:
    """A number to three digits with its unit; a dash for None and NaN.

    >>> number(2.345e22, "Mx"), number(float("nan"))
    ('2.35e+22 Mx', '–')
    """
    known = value is not None and value == value
    return " ".join(filter(None, (f"{value:.3g}", unit))) if known else "–"


def _cell(tag: str, content: object) -> str:
    return f"<{tag}>{content if isinstance(content, _Picture) else escape(str(content))}</{tag}>"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A ``table`` with a line of heads; cells of `picture` stay pictures, all other text is escaped."""
    lines = ["".join(_cell("th", head) for head in heads)]
    lines += ["".join(_cell("td", cell) for cell in row) for row in rows]
    under = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{under}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def rows_of(values: Mapping[str, object]) -> str:
    """A ``table`` of names and values, those without a value left out."""
    lines = "".join(f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>" for name, value in values.items() if value)
    return f"<table>{lines}</table>"
