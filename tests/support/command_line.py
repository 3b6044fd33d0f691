"""Run verbs of the command line in this process, and read what they print."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from solquery.cli.root import app

PNG = b"\x89PNG\r\n"


def call(*arguments, code=0):
    """Run one verb; what it wrote to stdout and to stderr."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"exit {result.exit_code}: {result.stderr}\n{result.exception!r}"
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


def document(*arguments, code=0):
    """The one JSON document that a verb prints."""
    out, _ = call(*arguments, "--json", code=code)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(out, parse_constant=refuse)


def failure(*arguments, code=1):
    """The one line of an error; nothing on stdout."""
    out, err = call(*arguments, code=code)
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("solquery: ")
    return last


def are_quantities(entries, names=None):
    for entry in entries.values():
        assert set(entry) >= {"value", "unit"}
        assert entry["value"] is None or isinstance(entry["value"], float)
    if names is not None:
        assert set(names) <= set(entries)
