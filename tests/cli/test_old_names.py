"""Verbs and options under the names that they had before: they stay for one release."""

import pytest
import typer
from command_line import document

from solquery.cli import app

MOVED = [
    (("model", "build"), ("bundle", "build")),
    (("entanglement",), ("leaks",)),
    (("train", "finetune"), ("train", "settle")),
]


def find(*names):
    command = typer.main.get_command(app)
    for name in names:
        command = command.commands[name]
    return command


@pytest.mark.parametrize(("now", "before"), MOVED)
def test_a_verb_is_found_by_both_names_and_shown_by_one(now, before):
    assert find(*now).callback is find(*before).callback or find(*now).params
    assert [p.name for p in find(*now).params] == [p.name for p in find(*before).params]
    top = min(len(now), 1 if now[0] != before[0] else 2)
    assert find(*before[:top]).hidden and not find(*now[:top]).hidden


@pytest.mark.parametrize(
    ("verb", "now", "before"),
    [
        (("search",), "--model", "--bundle"),
        (("generate",), "--model", "--bundle"),
        (("archive", "embed"), "--model", "--bundle"),
        (("study", "limb"), "--model", "--bundle"),
        (("app",), "--model", "--bundle"),
        (("search",), "--rerank", "--verify"),
        (("train", "generator"), "--decay-images", "--cool"),
        (("train", "generator"), "--discriminator-warmup", "--judge-first"),
        (("train", "finetune"), "--footprint-mask", "--window"),
    ],
)
def test_an_option_is_taken_by_both_names(verb, now, before):
    assert any({now, before} <= set(parameter.opts) for parameter in find(*verb).params), verb


def test_every_verb_that_takes_a_model_takes_it_by_the_old_option_too():
    def verbs(command, path=()):
        for name, child in getattr(command, "commands", {}).items():
            yield from verbs(child, (*path, name))
        if not hasattr(command, "commands"):
            yield path, command

    found = {
        path: parameter.opts
        for path, command in verbs(typer.main.get_command(app))
        for parameter in command.params
        if "--model" in parameter.opts
    }
    assert len(found) > 8 and [path for path, names in found.items() if "--bundle" not in names] == []


def test_a_document_has_its_old_keys_beside_the_new_ones(room, tmp_path):
    about = document("generate", "--bundle", room / "model", "--set", "tuf>=0", "--out", tmp_path)
    (answer,) = about["answers"]
    assert answer["asked"] == answer["requested"] and answer["got"] == answer["measured"]
