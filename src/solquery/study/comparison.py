"""The paper's numbers, those of its own networks here, and those of the default model here, side by side as Markdown.

Read from the ``results.json`` of reproductions, so that no number is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..aliases import Entries
from ..errors import SolqueryError
from .report import text

__all__ = ["comparison_lines"]

_CHANGES = (("shift_px", "shifted"), ("zoom", "zoomed"), ("rotation_deg", "rotated"), ("vertical_flip", "flipped"))
#: what the paper says of the rest, section 4
_PAPER_SAYS = {
    "visual_similarity": "“significantly higher”",
    "accuracy": "not given",
    "limb": "rises",
    "copies": "not given",
}


def _with_interval(row: Entries, key: str) -> str:
    if row[key] is None:
        return "–"
    return f"{text(row[key])} [{text(row['low'])}, {text(row['high'])}]"


def _rows_of(results: Entries) -> dict[tuple[str, str], Entries]:
    try:
        return {(row["parameter"], row["statistic"]): row for row in results["table"]}
    except (KeyError, TypeError):
        raise SolqueryError("this is no results.json of `solquery reproduce`; name one") from None


def _similarity(results: Entries, method: str) -> str:
    gap = results["stages"].get("queries", {}).get("visual_similarity_above", {}).get(method)
    return "–" if gap is None else _with_interval(gap, "difference")


def _limb(results: Entries) -> str:
    error = results["stages"].get("figure6", {}).get("error")
    if not error:
        return "–"
    p = error.get("p")
    return _with_interval(error, "spearman") + ("" if p is None else f", p = {p:.1g}")


def _accuracy(results: Entries, name: str) -> str:
    row = results["stages"].get("directions", {}).get("accuracies", {}).get(name)
    return "–" if row is None else text(row["accuracy"])


def _copies(results: Entries) -> str:
    found = results["stages"].get("copies")
    if found is None:
        return "–"
    return ", ".join(f"{100 * found[key]['share']:.0f} % {name}" for key, name in _CHANGES)


def comparison_lines(columns: Sequence[tuple[str, Entries | None]]) -> list[str]:
    """A Markdown table with the paper in the first column and one column for each reproduction.

    Parameters
    ----------
    columns
        Heading, and content of a ``results.json``; None where that model has not been reproduced yet.

    Raises
    ------
    SolqueryError
        Where a document is no result of a reproduction, or none is given.
    """
    given = [(head, _rows_of(results), results) for head, results in columns if results is not None]
    if not given:
        raise SolqueryError("a comparison needs the results.json of one reproduction at least")
    lines = [
        "| | paper | " + " | ".join(head for head, _ in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]

    def line(title: str, paper: str, cell: Callable[..., str]) -> None:
        cells = ["–" if results is None else cell(results) for _, results in columns]
        lines.append(f"| {' | '.join([title, paper, *cells])} |")

    for name in dict.fromkeys(parameter for parameter, _ in given[0][1]):
        p, s = (given[0][1][name, statistic]["paper"] for statistic in ("pearson", "spearman"))
        line(
            name.upper(),
            f"{text(p)} / {text(s)}",
            lambda results, name=name: " / ".join(
                _with_interval(_rows_of(results)[name, statistic], "ours") for statistic in ("pearson", "spearman")
            ),
        )
    for method, title in (("euclidean", "Euclidean"), ("mahalanobis", "Mahalanobis")):
        line(
            f"visual similarity above {title}", _PAPER_SAYS["visual_similarity"], lambda r, m=method: _similarity(r, m)
        )
    for name in ("tuf", "r", "psep"):
        line(f"boundary of {name.upper()}, accuracy", _PAPER_SAYS["accuracy"], lambda r, n=name: _accuracy(r, n))
    line("error toward the limb, Spearman", _PAPER_SAYS["limb"], _limb)
    line("changed copies found first", _PAPER_SAYS["copies"], _copies)
    told = [f"{head}: {results['stages']['table']['data']}" for head, _, results in given]
    heads = "Pearson / Spearman of query and best match, 95 % intervals over regions in brackets."
    return [heads, *(f"{one}." for one in told), "Paper: 1,000 queries, 49,552 observed patches.", "", *lines]
