"""Write the comparison with the paper into the README, from the results of reproductions.

    python scripts/readme_table.py --paper PAPER.json --default DEFAULT.json [--readme README.md]

PAPER.json is the results.json of `solquery reproduce` with the paper's own networks, DEFAULT.json that with the default
model; one of them may be left out, and its column is empty then. The lines between the two markers are replaced; a
README without them is left as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from solquery.aliases import Entries
from solquery.errors import SolqueryError
from solquery.study.report import text

BEGIN, END = "<!-- reproduce:begin -->", "<!-- reproduce:end -->"
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


def _limb_within(results: Entries) -> str:
    within = results["stages"].get("figure6", {}).get("within_regions")
    if not within or within["spearman"] is None:
        return "–"
    return _with_interval(within, "spearman") + ("" if within["p"] is None else f", p = {within['p']:.1g}")


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
    line("error and angle from disk centre, Spearman: over patches", _PAPER_SAYS["limb"], _limb)
    line("the same within a region as it crosses the disk", _PAPER_SAYS["limb"], _limb_within)
    line("changed copies found first", _PAPER_SAYS["copies"], _copies)
    told = [f"{head}: {results['stages']['table']['data']}" for head, _, results in given]
    heads = "Pearson / Spearman of query and best match, 95 % intervals over regions in brackets."
    return [heads, *(f"{one}." for one in told), "Paper: 1,000 queries, 49,552 observed patches.", "", *lines]


def main(paper: Path | None, default: Path | None, readme: Path) -> int:
    page = readme.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        print(f"{readme} needs {BEGIN} and {END} once each, on lines of their own; add them", file=sys.stderr)
        return 1

    def read(path: Path | None) -> dict | None:
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    columns = [("the paper's networks, here", read(paper)), ("the default model, here", read(default))]
    try:
        lines = [BEGIN, *comparison_lines(columns), END]
    except SolqueryError as error:
        print(error, file=sys.stderr)
        return 1
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    readme.write_text(before + "\n".join(lines) + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", type=Path, help="results.json of the paper's own networks")
    parser.add_argument("--default", type=Path, help="results.json of the default model")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    given = parser.parse_args()
    raise SystemExit(main(given.paper, given.default, given.readme))
