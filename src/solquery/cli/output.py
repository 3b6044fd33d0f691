"""What the command line writes: one JSON document or a table on stdout, all else on stderr, files at once."""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..aliases import Document, Entries
from ..io import write_atomically
from ..serialise import json_text, plain, quantity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike
    from rich.progress import Progress

    from ..config import Preset

__all__ = [
    "Reporter", "emit", "note", "picture", "plain", "quantities", "quantity", "readable", "table", "tell_band",
    "write_file", "write_json", "write_npy",
]  # fmt: skip

_LINE_SECONDS = 5.0
#: whether this process runs one verb and ends
alone = False


def emit(document: object) -> None:
    """The one JSON document of a verb, on stdout; in ASCII where stdout could not hold all of it otherwise."""
    text = json_text(document)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=True, allow_nan=False)
    typer.echo(text)


def note(text: str) -> None:
    """A line for the user beside the result, on stderr."""
    typer.echo(text, err=True)


def quantities(values: Entries, physical: bool = False) -> dict[str, Document]:
    """Parameters with their units, as `solquery.steering.vocabulary.quantities`, which takes a while to load."""
    from ..steering.vocabulary import quantities as with_units

    return with_units(values, physical)


def readable(entry: Entries | None) -> str:
    """A quantity as a cell of a table."""
    if entry is None or entry["value"] is None:
        return "–"
    sign = {">=": "≥ ", "<=": "≤ "}.get(entry.get("relation", "="), "")
    return f"{sign}{entry['value']:.4g} {entry['unit']}".rstrip()


def tell_band(entry: Entries | None) -> str:
    """The band of an estimate, and the share of observed patches that were found in it."""
    if entry is None or "low" not in entry:
        return ""
    real = entry.get("coverage", {}).get("real")
    return f"{entry['low']:.3g} to {entry['high']:.3g}" + ("" if real is None else f" ({real:.0%} of real patches)")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", left: Sequence[int] = ()) -> None:
    """A table on stdout; the columns `left` (beside the first) hold words and are set to the left."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title:
        typer.echo(title)
    out = Table(box=None, pad_edge=False)
    for k, column in enumerate(columns):
        out.add_column(column, justify="left" if k == 0 or k in left else "right", overflow="fold")
    for row in rows:
        out.add_row(*(Text(str(cell)) for cell in row))
    buffer = io.StringIO()
    # a file or a pipe has no width: nothing is to be folded there
    wide = Console().width if Console().is_terminal else 400
    Console(file=buffer, width=wide, force_terminal=False).print(out)
    typer.echo("\n".join(line.rstrip() for line in buffer.getvalue().rstrip().splitlines()))


def write_file(path: Path, data: bytes) -> Path:
    """Write a file at once, so that half of it is never seen."""
    return write_atomically(path, data)


def write_npy(path: Path, array: np.ndarray) -> Path:
    """An array as a file of numpy."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array)
    return write_file(path, buffer.getvalue())


def write_json(path: Path, document: object) -> Path:
    """The same document as `emit` prints, as a file."""
    return write_file(path, (json_text(document) + "\n").encode())


def picture(fields: Sequence[ArrayLike], preset: Preset, titles: Sequence[str], heading: str = "") -> bytes:
    """Patches (H, W) in preset units side by side as a PNG: north up, west to the right, one grey scale."""
    import numpy as np

    _load_matplotlib()
    from matplotlib.figure import Figure

    from ..study.magnetogram import grey_bar, show_field

    columns = min(len(fields), 7)
    rows = -(-len(fields) // columns)
    high = 1.9 * max((np.shape(x)[0] / np.shape(x)[1] for x in fields), default=1.0) + 0.3
    figure = Figure(figsize=(max(1.9 * columns, 3.0), high * rows + 0.85), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    image = None
    for axis, x, title in zip(axes, fields, titles, strict=False):
        field = preset.to_gauss(np.asarray(x, dtype=np.float32))
        image = show_field(axis, field, limit_gauss=preset.display_gauss)
        axis.set_title(title, fontsize=7)
    if image is not None:
        grey_bar(figure, image, list(axes), width=max(0.3, 0.9 - 0.15 * columns))
    if heading:
        figure.suptitle(heading, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, facecolor="white")
    return buffer.getvalue()


def _load_matplotlib() -> None:
    """Import `matplotlib.figure` without the lists of properties in its docstrings, a third of what it takes."""
    if "matplotlib.figure" in sys.modules:
        return
    from matplotlib import artist

    written = artist.kwdoc
    artist.kwdoc = lambda artist: ""
    try:
        import matplotlib.figure  # noqa: F401
    finally:
        artist.kwdoc = written


class Reporter:
    """Progress on stderr: a bar on a terminal, a line every few seconds in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._last = -math.inf
        self._bar: Progress | None = None

    def __enter__(self) -> Reporter:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True, redirect_stdout=False,
            )  # fmt: skip
            self._bar.start()
            self._bar.add_task(self.title, total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, text: str = "", fraction: float = 0.0) -> None:
        """How far it is, 0 to 1, and what is being done."""
        shown = f"{self.title}: {text}" if text and self.title else text or self.title
        fraction = min(max(float(fraction), 0.0), 1.0)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=fraction, description=shown)
        elif time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            note(f"{shown} ({100 * fraction:.0f} %)")

    def count(self, done: int, total: int) -> None:
        """How many of how many."""
        self(f"{done:,} of {total:,}", done / max(total, 1))

    def training(self, entry: Entries) -> None:
        """One line of statistics of a trainer."""
        total = entry.get("of_images") or entry.get("planned") or 0
        shown = [f"{k} {v:.4g}" for k, v in entry.items() if isinstance(v, float) and k not in ("of_images", "planned")]
        if entry.get("seconds_left"):
            minutes = math.ceil(entry["seconds_left"] / 60)
            shown.append(f"{minutes // 60} h {minutes % 60:02d} min left")
        self(f"{entry['images']:,} images, " + ", ".join(shown), entry["images"] / total if total else 0.0)
