"""What a verb starts with: its own options, and nothing of the others."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

import solquery
from solquery.cli import root

OWN = {"demo", "simulate", "ingest"}


@pytest.mark.parametrize("module", root._VERBS)
def test_a_module_declares_the_verbs_that_it_is_asked_for(module):
    alone = typer.main.get_command(root._made([module]))
    assert list(alone.commands)[: len(OWN)] == ["demo", "simulate", "ingest"]
    assert set(alone.commands) - OWN == set(root._VERBS[module].split())


def test_a_verb_alone_has_the_options_that_it_has_among_all():
    every = typer.main.get_command(root.app)
    assert set(every.commands) == OWN | set(root._MODULE_OF)
    for verb, module in root._MODULE_OF.items():
        alone = typer.main.get_command(root._made([module])).commands[verb]
        assert [p.name for p in alone.params] == [p.name for p in every.commands[verb].params]


@pytest.mark.parametrize(
    ("args", "verb"),
    [
        (["search", "info"], "search"),
        (["--debug", "search"], "search"),
        (["--plugin", "search", "info"], "info"),
        (["--plugin=x.py", "params", "a"], "params"),
        (["--help"], None),
        (["serach"], None),
        (["demo"], None),
        ([], None),
    ],
)
def test_the_verb_is_found_among_options(args, verb):
    assert root._verb(args) == verb


def test_a_verb_that_is_alone_loads_no_other():
    code = (
        "import sys; from solquery.cli import main; sys.argv = ['solquery', 'params', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'solquery.cli.params' in sys.modules and 'solquery.cli.training' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_the_package_runs_as_the_command_does():
    told = subprocess.run([sys.executable, "-m", "solquery", "--version"], check=True, capture_output=True, text=True)
    assert told.stdout == f"solquery {solquery.__version__}\n"
