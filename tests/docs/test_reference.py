"""What the documentation writes from the code: command line, parameters, cards; and the records of releases."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib

import pytest
from page_blocks import ROOT


def module(path):
    """A script of the checkout as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def test_the_reference_of_the_command_line_has_every_verb_and_option():
    pytest.importorskip("sphinx")
    import typer

    from solquery.cli.root import app

    reference = module(ROOT / "docs" / "_ext" / "cli_reference.py")
    command = typer.main.get_command(app)
    text = "\n".join(reference.lines(command))
    found = reference.verbs(command)
    assert len(found) > 20
    for path, verb in found:
        assert f" {' '.join(path)}\n" in text
        assert (verb.help or "").strip(), path
        for parameter in verb.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in text or f", {option}" in text, (path, option)


def test_every_option_of_every_verb_has_a_help_text():
    pytest.importorskip("sphinx")
    import typer

    from solquery.cli.root import app

    reference = module(ROOT / "docs" / "_ext" / "cli_reference.py")
    for path, verb in reference.verbs(typer.main.get_command(app)):
        for parameter in verb.params:
            assert getattr(parameter, "help", None) or "--help" in parameter.opts, (path, parameter.name)


def test_the_list_of_parameters_has_each_with_its_units():
    pytest.importorskip("sphinx")
    from solquery.physics import parameters

    text = "\n".join(module(ROOT / "docs" / "_ext" / "registry_reference.py").parameter_lines())
    for found in parameters().values():
        assert f"`{found.name}`, {found.title}" in text
        assert found.definition.splitlines()[0] in text


@pytest.fixture
def cards():
    return module(ROOT / "scripts" / "model_card.py")


class TestCards:
    def test_the_committed_cards_say_what_the_models_say(self, cards):
        for path, text in cards.cards().items():
            assert path.exists() and path.read_text() == text, f"run python scripts/model_card.py: {path.name}"

    def test_every_shipped_model_has_words_of_a_person(self, cards):
        for folder in cards.MODELS.glob("*/model.json"):
            assert (cards.CARDS / "notes" / f"{folder.parent.name}.md").exists(), folder.parent.name

    def test_a_card_carries_the_numbers_of_its_model(self, cards):
        document = json.loads((cards.MODELS / "paper" / "model.json").read_text())
        document["metrics"]["direction_accuracy"]["tuf"] = 0.1234
        document["preset"]["scale_mm"] = [1.5, 1.5]
        text = cards.card(document, "")
        assert "| `tuf` | 0.123 |" in text and "1.5 × 1.5 Mm a pixel" in text


class TestRecords:
    def project(self):
        return tomllib.loads((ROOT / "pyproject.toml").read_text())

    def test_one_licence_everywhere(self):
        assert self.project()["project"]["license"] == "BSD-3-Clause"
        assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")
        assert "license: BSD-3-Clause" in (ROOT / "CITATION.cff").read_text()

    def test_one_version_everywhere(self):
        version = self.project()["project"]["version"]
        assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()

    def test_fragments_of_the_changelog_are_of_a_known_kind(self):
        kinds = {entry["directory"] for entry in self.project()["tool"]["towncrier"]["type"]}
        fragments = [path.name for path in (ROOT / "changes").glob("*.md") if path.name != "README.md"]
        assert all(re.fullmatch(rf"[\w+-]+\.({'|'.join(kinds)})(\.\d+)?\.md", name) for name in fragments), fragments

    def test_the_package_says_that_it_is_typed(self):
        assert (ROOT / "src" / "solquery" / "py.typed").exists()

    def test_make_lists_every_verb(self):
        text = (ROOT / "Makefile").read_text()
        phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
        listed = re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE)
        assert set(phony) == set(listed)

    def test_all_is_every_extra_that_a_user_can_need(self):
        extras = self.project()["project"]["optional-dependencies"]
        inside = re.fullmatch(r"solquery\[([\w,]+)\]", extras["all"][0])[1].split(",")
        assert set(inside) == set(extras) - {"all", "test", "docs", "dev", "browser"}
