"""The directive `cli-reference`: every verb of `solquery`, written from the command line itself."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Any, get_args

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.nodes import nested_parse_with_titles


def verbs(command: Any, path: tuple[str, ...] = ("solquery",)) -> list[tuple[tuple[str, ...], Any]]:
    """Every command with its path, groups before what is in them, by name."""
    found = [(path, command)]
    for name, sub in sorted(getattr(command, "commands", {}).items()):
        found += verbs(sub, (*path, name))
    return found


def one_line(text: str | None) -> str:
    """Help as one paragraph of Markdown, in which nothing is markup."""
    return re.sub(r"([\\*`|_<>\[\]])", r"\\\1", " ".join((text or "").split()))


def _option(parameter: Any) -> str:
    """How an option or argument is written, with what it takes."""
    if not any(name.startswith("-") for name in parameter.opts):
        return f"{(parameter.name or '').upper()}{' ...' if parameter.nargs == -1 else ''}"
    written = ", ".join([*parameter.opts, *(f"{off} (off)" for off in parameter.secondary_opts)])
    return written if getattr(parameter, "is_flag", False) else f"{written} {_value(parameter)}"


def _value(parameter: Any) -> str:
    """The kind of value, or the choices, in the two ways that versions of typer keep them."""
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        choices = getattr(parameter.type, "choices", None)
        return "[" + "|".join(map(str, choices)) + "]" if choices else str(parameter.type.name).upper()
    kind = described.annotation
    kind = (get_args(kind) or (kind,))[0]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "[" + "|".join(str(choice.value) for choice in kind) + "]"
    return {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(kind, "VALUE")


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    if default is None or default is False or callable(default) or default in ((), []):
        return ""
    return f"default: `{getattr(default, 'value', default)}`"


def lines(command: Any) -> list[str]:
    """Markdown of all verbs: a heading each, and its options as a list of definitions."""
    out: list[str] = []
    for path, verb in verbs(command):
        mark = "##" if len(path) <= 2 else "###"
        out += ["", f"(cli-{'-'.join(path)})=", f"{mark} {' '.join(path)}", "", one_line(verb.help), ""]
        if getattr(verb, "commands", None):
            out += ["Verbs: " + ", ".join(f"[{sub}](#cli-{'-'.join((*path, sub))})" for sub in verb.commands), ""]
        for parameter in verb.params:
            if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
                continue
            default = _default(parameter)
            text = " ".join(filter(None, [one_line(getattr(parameter, "help", "")), f"({default})" if default else ""]))
            out += [f"`{_option(parameter)}`", f": {text or 'See above.'}", ""]
    return out


class CliReference(Directive):
    """`cli-reference`, without arguments; for a Markdown page."""

    def run(self) -> list[nodes.Node]:
        import typer

        from solquery.cli.root import app

        content = StringList(lines(typer.main.get_command(app)), source="solquery --help")
        section = nodes.section()
        section.document = self.state.document
        nested_parse_with_titles(self.state, content, section)
        return section.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("cli-reference", CliReference)
    return {"version": "1", "parallel_read_safe": True}
