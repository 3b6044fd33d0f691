"""The directive `cli-reference`: every verb of `solquery`, written from the command line itself."""

from __future__ import annotations

import re
from typing import Any

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
    """Help as one paragraph of reStructuredText, in which nothing is markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", " ".join((text or "").split()))


def _option(parameter: Any) -> str:
    """How an option or argument is written, its choices and default."""
    kind = getattr(parameter, "param_type_name", "option")
    if kind == "argument":
        name = parameter.make_metavar() if not _wants_context(parameter) else (parameter.human_readable_name or "")
        written = name.strip("[]").rstrip(".")
    else:
        written = ", ".join([*parameter.opts, *(f"{off} (off)" for off in parameter.secondary_opts)])
        if not parameter.is_flag:
            written += f" {_value(parameter)}"
    return written


def _wants_context(parameter: Any) -> bool:
    import inspect

    return len(inspect.signature(parameter.make_metavar).parameters) > 0


def _value(parameter: Any) -> str:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return "[" + "|".join(str(getattr(choice, "value", choice)) for choice in choices) + "]"
    return str(getattr(parameter, "metavar", None) or getattr(parameter.type, "name", "value")).upper()


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    if default is None or default is False or callable(default) or default in ((), []):
        return ""
    return f"default: {getattr(default, 'value', default)}"


def lines(command: Any) -> list[str]:
    """reStructuredText of all verbs."""
    out: list[str] = []
    for path, verb in verbs(command):
        name = " ".join(path)
        mark = "-" if len(path) <= 2 else "~"
        out += ["", f".. _cli-{'-'.join(path)}:", "", name, mark * len(name), "", one_line(verb.help), ""]
        if getattr(verb, "commands", None):
            out += ["Verbs: " + ", ".join(f":ref:`{sub} <cli-{'-'.join((*path, sub))}>`" for sub in verb.commands), ""]
        for parameter in verb.params:
            if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
                continue
            more = _default(parameter)
            text = " ".join(filter(None, [one_line(getattr(parameter, "help", "")), f"({one_line(more)})" * bool(more)]))
            out += [f"``{_option(parameter)}``", f"    {text or 'See above.'}", ""]
    return out


class CliReference(Directive):
    """`cli-reference`, without arguments."""

    def run(self) -> list[nodes.Node]:
        import typer

        from solquery.cli import app

        content = StringList(lines(typer.main.get_command(app)), source="solquery --help")
        section = nodes.section()
        section.document = self.state.document
        nested_parse_with_titles(self.state, content, section)
        return section.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("cli-reference", CliReference)
    return {"version": "1", "parallel_read_safe": True}
