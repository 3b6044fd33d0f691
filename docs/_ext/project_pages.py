"""The files at the top of the repository as pages in docs/project/, written at each build with links that fit there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "SECURITY.md": "security.md",
}


def placed(text: str) -> str:
    """Markdown with its links turned from the top of the repository to docs/project."""

    def turned(match: re.Match[str]) -> str:
        label, target = match["label"], match["target"]
        if "://" in target or target.startswith("#"):
            return match[0]
        if target in PAGES:
            return f"[{label}]({PAGES[target]})"
        if target.startswith("docs/"):
            return f"[{label}](../{target.removeprefix('docs/')})"
        return label  # a file that is no page

    return re.sub(r"\[(?P<label>[^\]]+)\]\((?P<target>[^)\s]+)\)", turned, text)


def write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "project"
    folder.mkdir(exist_ok=True)
    for source, page in PAGES.items():
        text = placed((Path(app.srcdir).parent / source).read_text())
        if not (folder / page).exists() or (folder / page).read_text() != text:
            (folder / page).write_text(text)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True}
