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


#: package, or module at the top, to what it is for; the order of the page
GROUPS = {
    "patch": "A field in gauss with its scale, place and time, and whatever can stand for one.",
    "sharp": "SHARP FITS files and sunpy Maps in and out.",
    "measuring": "Physical parameters with units and errors.",
    "physics": "The registry of parameters, to which your own are added.",
    "simulator": "Active regions as magnetic flux carried by convection, as HMI would see them.",
    "archive": "Patches in Lance tables: added, filtered, split, read as the input of a network.",
    "model": "A trained generator and encoder with directions: loaded, saved, used.",
    "config": "Settings and presets of networks and their training.",
    "generator": "Networks that draw patches, and their training.",
    "encoder": "Networks that embed patches, their training, and the embeddings of an archive.",
    "steering": "Patches with the properties asked for, one property changed, observations inverted.",
    "search": "The patches of an archive that are most like one.",
    "study": "The whole chain as one report.",
    "errors": "What is raised, and what loads a file of your own.",
}
#: modules that are listed with another
_WITH = {"model_build": "model", "extension": "steering", "plugins": "errors", "model_files": "errors"}


def public_lines() -> list[str]:
    """Markdown: the names in `solquery` by package, each package with a sentence, each name with its first line."""
    import solquery

    grouped: dict[str, list[str]] = {name: [] for name in GROUPS}
    for name in solquery.__all__:
        thing = getattr(solquery, name)
        home = thing.__module__.split(".")[1]
        group = "errors" if isinstance(thing, type) and issubclass(thing, Exception) else _WITH.get(home, home)
        first = (thing.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        role = "class" if isinstance(thing, type) else "func"
        grouped[group].append(f"{{py:{role}}}`{name} <{thing.__module__}.{name}>`\n: {first}\n")
    out: list[str] = []
    for group, lines in grouped.items():
        title = {"patch": "Patches", "measuring": "Measuring", "errors": "Errors and plug-ins"}.get(group)
        out += [f"```{{rubric}} {title or f'solquery.{group}'}", "```", "", GROUPS[group], ""]
        out += [*"\n".join(lines).splitlines(), ""]
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
