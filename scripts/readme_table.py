"""Write the table of a reproduction into the README: python scripts/readme_table.py RESULTS.json [README.md].

The lines between the two markers are replaced; a README without them is left as it is.
"""

import json
import sys
from pathlib import Path

BEGIN, END = "<!-- reproduce:begin -->", "<!-- reproduce:end -->"


def main(results: Path, readme: Path) -> int:
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        print(f"{readme} needs {BEGIN} and {END} once each, on lines of their own; add them", file=sys.stderr)
        return 1
    from solquery.study.reproduce_table import readme_lines

    document = json.loads(results.read_text(encoding="utf-8"))
    data = document["stages"]["table"]["data"]
    lines = [BEGIN, f"Here: {data}. Paper: 1,000 queries, 49,552 observed patches.", "",
             *readme_lines(document["table"]), END]  # fmt: skip
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(before + "\n".join(lines) + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print(__doc__.splitlines()[0], file=sys.stderr)
        raise SystemExit(2)
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "README.md")))
