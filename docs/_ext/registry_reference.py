"""Directives that write what the package knows about itself: `parameter-table` and `public-names`."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx


def parameter_lines() -> list[str]:
    """Markdown: a list of the registered parameters with title, units, definition, source."""
    from solquery.physics import parameters

    out: list[str] = []
    for found in parameters().values():
        units = [unit or "pure number" for unit in dict.fromkeys((found.unit, found.grid_unit))]
        first, *more = found.definition.splitlines() or [""]
        out += [f"`{found.name}`, {found.title} ({'; on a bare grid '.join(units)})", f": {first}"]
        out += [f"  {line}".rstrip() for line in more]
        out += ["", f"  Source: {found.source or 'own definition'}", ""]
    return out


def public_lines() -> list[str]:
    """Markdown: a table of the names in `solquery` with their home and first line."""
    import solquery

    out = ["| Name | What it is |", "|---|---|"]
    for name in solquery.__all__:
        thing = getattr(solquery, name)
        first = (thing.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        role = "class" if isinstance(thing, type) else "func"
        out += [f"| {{py:{role}}}`{name} <{thing.__module__}.{name}>` | {first} |"]
    return out


class _Written(Directive):
    source = ""

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        node = nodes.container()
        node.document = self.state.document
        self.state.nested_parse(StringList(self.lines(), source=self.source), self.content_offset, node)
        return node.children


class ParameterTable(_Written):
    source = "solquery.physics"

    def lines(self) -> list[str]:
        return parameter_lines()


class PublicNames(_Written):
    source = "solquery"

    def lines(self) -> list[str]:
        return public_lines()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("parameter-table", ParameterTable)
    app.add_directive("public-names", PublicNames)
    return {"version": "1", "parallel_read_safe": True}
