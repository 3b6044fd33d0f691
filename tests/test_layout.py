"""Imports go down the layers of the package and never in a circle, so that each part can be read and tested alone."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

import solquery

PACKAGE = Path(solquery.__file__).parent
#: from the bottom up: each imports those before it; a module of a package may stand lower than the rest of it
LAYERS = (
    "errors", "aliases", "lazy", "numba_cache", "io", "serialise", "grey", "notebook", "config", "protocols",
    "eight_bits", "model_files", "plugins",
    "sharp.unreadable", "sharp.identity", "sharp.wcs_header", "sharp.header", "sharp.cards",
    "patch", "physics", "sharp", "measuring", "simulator", "archive", "jsoc",
    "training", "generator", "encoder", "steering", "translation", "farside", "search", "model_parts", "model",
    "model_build", "extension",
    "study", "app", "cli", "__main__", "__init__",
)  # fmt: skip
PACKAGES = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
#: lines of a file, and of a function without its signature and its docstring
LONGEST_FILE, LONGEST_FUNCTION = 404, 60


class Import(NamedTuple):
    """That one module names another, where, and whether for its types only."""

    target: str
    line: int
    types_only: bool


def layer(module: str) -> int:
    """Place in `LAYERS` of a module (dotted, below the package); ValueError where it has none."""
    return LAYERS.index(module) if module in LAYERS else LAYERS.index(module.split(".")[0])


def modules() -> dict[str, str]:
    """Every module of the package, and its source."""
    out = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = file.read_text()
    return out


def imports(module: str, sources: dict[str, str]) -> list[Import]:
    """What a module imports of the package, at its top or anywhere in it, relatively or not."""
    is_package = any(name.startswith(f"{module}.") for name in sources) or module == "__init__"
    home = () if module == "__init__" else tuple(module.split("."))
    found: list[Import] = []

    def add(base: tuple[str, ...], name: str, line: int, types_only: bool) -> None:
        for path in ((*base, name), base):
            target = ".".join(path) or "__init__"
            if target in sources:
                found.append(Import(target, line, types_only))
                return

    def walk(node: ast.AST, types_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            below = types_only or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.ImportFrom):
                base: tuple[str, ...] | None = None
                if child.level:
                    up = child.level - 1 if is_package else child.level
                    base = home[: len(home) - up]
                elif (child.module or "").split(".")[0] == "solquery":
                    base = ()
                if base is not None:
                    told = tuple((child.module or "").split(".")) if child.module else ()
                    base += told if child.level else told[1:]
                    for alias in child.names:
                        if alias.name != "__version__":
                            add(base, alias.name, child.lineno, below)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    if alias.name.split(".")[0] == "solquery":
                        *path, name = alias.name.split(".")[1:] or [""]
                        add(tuple(path), name, child.lineno, below)
            walk(child, below)

    walk(ast.parse(sources[module]), False)
    return [entry for entry in found if entry.target != module]


def upward(sources: dict[str, str]) -> list[str]:
    """Imports of what stands above, those within functions and those for types included."""
    return [
        f"{module}, line {entry.line}, imports {entry.target}"
        for module in sources
        for entry in imports(module, sources)
        if layer(entry.target) > layer(module)
    ]


def circles(sources: dict[str, str]) -> list[list[str]]:
    """Groups of modules that import each other when they run, at their top or within functions."""
    graph = {
        module: sorted({entry.target for entry in imports(module, sources) if not entry.types_only})
        for module in sources
    }
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(module: str) -> None:  # Tarjan 1972
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in graph[module]:
            if target not in number:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], number[target])
        if low[module] == number[module]:
            group = [stack.pop()]
            while group[-1] != module:
                group.append(stack.pop())
            if len(group) > 1:
                out.append(sorted(group))

    for module in graph:
        if module not in number:
            visit(module)
    return out


def too_long(sources: dict[str, str]) -> list[str]:
    """Files and functions that have more lines than can be read at once."""
    found = []
    for module, source in sources.items():
        lines = len(source.splitlines())
        if lines > LONGEST_FILE:
            found.append(f"{module} has {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > LONGEST_FUNCTION:
                    found.append(f"{module}.{node.name} has {lines} lines")
    return found


@pytest.fixture(scope="module")
def sources():
    return modules()


def test_every_module_has_a_layer(sources):
    unplaced = [module for module in sources if module not in LAYERS and module.split(".")[0] not in LAYERS]
    assert not unplaced
    assert len(sources) > 200 and {"archive.store", "cli.root", "search"} <= set(sources)


def test_no_module_imports_what_stands_above_it(sources):
    assert upward(sources) == []


def test_no_modules_import_each_other(sources):
    assert circles(sources) == []


def test_files_and_functions_can_be_read_at_once(sources):
    assert too_long(sources) == []


def test_a_long_file_and_a_long_function_are_found():
    lines = ["def long(", "    x,", "):", '    """What it is.', "", '    """', *["    x += 1"] * 61]
    assert too_long({"a": "\n".join(lines)}) == ["a.long has 61 lines"]
    assert too_long({"a": "\n".join(lines[:-1])}) == []
    assert too_long({"a": "x = 1\n" * 405}) == ["a has 405 lines"]


def test_private_names_stay_in_their_package(sources):
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert private in ([], ["__version__"]), f"{module}, line {node.lineno}, imports {private}"


@pytest.mark.parametrize(
    "line",
    [
        "from ..study import figures",
        "def f():\n    from ..study.figures import png",
        "from solquery.study import figures",
        "import solquery.study.figures",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..study import figures",
        "from .. import study",
    ],
)
def test_an_upward_import_is_found_however_it_is_written(line):
    made = {"physics": "", "physics.units": line, "study": "", "study.figures": "", "__init__": ""}
    assert len(upward(made)) == 1 and "physics.units" in upward(made)[0]


def test_a_circle_is_found_although_it_is_closed_within_a_function():
    made = {
        "search": "",
        "search.a": "from . import b",
        "search.b": "from .c import x",
        "search.c": "def f():\n    from . import a",
    }
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a"
    assert circles(made) == [["search.a", "search.b", "search.c"]]
    assert circles(made | {"search.c": for_types}) == []


def test_a_package_is_read_as_python_reads_it():
    made = {"archive": "from .store import Archive\nfrom ..errors import E", "archive.store": "", "errors": ""}
    assert [entry.target for entry in imports("archive", made)] == ["archive.store", "errors"]
