"""The verbs of the paper's Figures 3 to 5 and of the inversion study, through the command line."""

import json

import pytest
from command_line import PNG, call, document, failure


@pytest.mark.parametrize(
    ("verb", "options", "name"),
    [
        ("parameters", ("-n", 12), "parameters"),
        ("plane", ("--param", "tuf", "-n", 60, "--axes", "1,2"), "plane-tuf"),
        ("traversals", ("--param", "tuf", "--hold", "alpha"), "traversals-tuf-hold-alpha"),
        ("strips", ("--param", "tuf"), "traversals-tuf"),  # the name of the verb before
    ],
)
def test_a_figure_is_one_command(room, tmp_path, verb, options, name):
    shown = document("study", verb, "--model", room / "model", *options, "--out", tmp_path)
    assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)
    assert json.loads((tmp_path / f"{name}.json").read_text()) == shown


@pytest.mark.parametrize("axes", ["1", "1,1", "0,2", "a,b"])
def test_axes_that_are_no_two_latent_numbers_are_refused(room, tmp_path, axes):
    _, said = call("study", "plane", "--model", room / "model", "--axes", axes, "--out", tmp_path, code=2)
    assert "--axes takes two" in said
    assert list(tmp_path.iterdir()) == []


def test_inversions_of_a_file_beside_an_archive(room, tmp_path, observed, broken):
    common = ("--model", room / "model", "--starts", 1, "--steps", 5, "--edits", 1, "--out", tmp_path)
    shown = document("study", "inversion", observed, *broken, "--archive", room / "archive", "-n", 3, *common)
    assert shown["real"]["patches"] == 1 and shown["simulated"]["regions"] == 3
    assert len(shown["refused"]) == 2
    assert {"inversion", "scales"} <= set(shown["pictures"])
    assert all(row["unexplained"][0] >= 0 for row in shown["patches"])
    assert "none of the 2 files" in failure("study", "inversion", *broken, *common)
