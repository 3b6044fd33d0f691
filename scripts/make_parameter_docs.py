"""Write the table of parameters in docs/parameters.md from the registry.

python scripts/make_parameter_docs.py           # writes
python scripts/make_parameter_docs.py --check   # exit code 1 if the page is not up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

from solquery.physics import parameters
from solquery.plugins import plugin_names

PAGE = Path(__file__).parents[1] / "docs" / "parameters.md"
BEGIN, END = "<!-- parameters: made by scripts/make_parameter_docs.py -->", "<!-- end of parameters -->"


def table() -> str:
    """The registry as Markdown."""
    lines = [
        "| name | symbol | unit (bare grid) | definition | where there is none of it | domain | gradients | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for about in parameters(on_demand=True).values():
        if about.name in plugin_names():
            continue
        unit = about.unit or "–"
        if about.grid_unit != about.unit:
            unit += f" ({about.grid_unit})"
        cells = [
            f"`{about.name}`" + ("" if about.default else " *"),
            about.symbol,
            unit,
            f"{about.title}: {about.formula}",
            about.without or "0",
            about.domain or "any patch",
            "smooth version" if about.differentiable else "none",
            about.source,
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def updated(page: str) -> str:
    """The page with the table of today."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(updated(page) != page)
    PAGE.write_text(updated(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
