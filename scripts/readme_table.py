"""Write the comparison with the paper into the README, from the results of reproductions.

    python scripts/readme_table.py --paper PAPER.json --default DEFAULT.json [--readme README.md]

PAPER.json is the results.json of `solquery reproduce` with the paper's own networks, DEFAULT.json that with the default
model; one of them may be left out, and its column is empty then. The lines between the two markers are replaced; a
README without them is left as it is.
"""

import argparse
import json
import sys
from pathlib import Path

BEGIN, END = "<!-- reproduce:begin -->", "<!-- reproduce:end -->"


def main(paper: Path | None, default: Path | None, readme: Path) -> int:
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        print(f"{readme} needs {BEGIN} and {END} once each, on lines of their own; add them", file=sys.stderr)
        return 1
    from solquery.errors import SolqueryError
    from solquery.study.comparison import comparison_lines

    def read(path: Path | None) -> dict | None:
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    columns = [("the paper's networks, here", read(paper)), ("the default model, here", read(default))]
    try:
        lines = [BEGIN, *comparison_lines(columns), END]
    except SolqueryError as error:
        print(error, file=sys.stderr)
        return 1
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(before + "\n".join(lines) + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", type=Path, help="results.json of the paper's own networks")
    parser.add_argument("--default", type=Path, help="results.json of the default model")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    given = parser.parse_args()
    raise SystemExit(main(given.paper, given.default, given.readme))
