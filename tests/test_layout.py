"""Imports between the package's rooms go one way, so that each can be read, tested and used without those after it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import solquery

PACKAGE = Path(solquery.__file__).parent
#: a room imports those before it; the archive measures what enters it, and so comes after physics
ROOMS = ("physics", "simulator", "archive", "generator", "steering", "retrieval", "study", "app")


def imports(source: str, home: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What a module of the package imports of it: modules and names, as paths below the package."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = home[: len(home) - node.level]
            base += tuple(node.module.split(".")) if node.module else ()
            found += [(*base, alias.name) for alias in node.names]
    return found


def test_relative_imports_are_read_as_python_does():
    code = "from . import a\nfrom ..physics import measure\ndef f():\n    from ..study.figures import png\nimport numpy"
    assert imports(code, ("archive", "store")) == [
        ("archive", "a"), ("physics", "measure"), ("study", "figures", "png"),
    ]  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room):
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    for file in files:
        home = file.relative_to(PACKAGE).with_suffix("").parts
        wrong = [".".join(path) for path in imports(file.read_text(), home) if path[0] in later]
        assert not wrong, f"{file.relative_to(PACKAGE)} imports {', '.join(wrong)}"


def test_private_names_stay_in_their_room():
    for file in sorted(PACKAGE.rglob("*.py")):
        home = file.relative_to(PACKAGE).with_suffix("").parts
        for path in imports(file.read_text(), home):
            foreign = path[0] != home[0] and path[0] in ROOMS
            assert not (foreign and path[-1].startswith("_") and path[-1] != "__version__"), (file, path)
