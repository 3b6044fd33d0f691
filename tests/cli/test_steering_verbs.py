"""Directions, generation, edits, leaks and inversion."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from command_line import PNG, are_quantities, call, document, failure

from solquery.model import Model
from solquery.physics import parameters


def test_directions_prints_accuracies_and_cosines(room, model, tmp_path):
    model.save(tmp_path / "copy")
    about = document("directions", "--model", tmp_path / "copy", "-n", 300, "--seed", 1, "--save")
    names = list(about["directions"])
    assert {"tuf", "sigma"} <= set(names)
    assert all(0 <= row["accuracy"] <= 1 for row in about["directions"].values())
    matrix = np.array([[about["cosines"][a][b] for b in names] for a in names])
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
    saved = Model.load(tmp_path / "copy")
    assert saved.directions.accuracies[0] == pytest.approx(about["directions"][saved.directions.names[0]]["accuracy"])
    assert saved.encoder_hash == model.encoder_hash
    call("directions", "--save", code=2)


def test_generate_writes_what_it_prints(room, model, tmp_path):
    median = model.directions.quantile("tuf", 60)
    command = ("generate", "--model", room / "model", "--set", f"tuf={median / 1e3:.6f} kG pix", "-n", 2, "--seed", 4)
    about = document(*command, "--out", tmp_path / "a")
    assert len(about["answers"]) == 2
    for answer in about["answers"]:
        assert answer["requested"]["tuf"]["value"] == pytest.approx(median, rel=1e-5)
        assert answer["verdict"] in ("met", "nearest")
        assert answer["z_norm"] > 0
        are_quantities(answer["measured"], model.directions.names)
        field = fits.getdata(answer["file"])
        got = answer["measured"]["tuf"]
        assert got["unit"] == "G pix"
        assert np.abs(field).sum() == pytest.approx(got["value"], rel=1e-4)
        assert (tmp_path / "a" / answer["picture"].split("/")[-1]).read_bytes().startswith(PNG)
    same = document(*command, "--out", tmp_path / "b")
    assert [a["measured"] for a in same["answers"]] == [a["measured"] for a in about["answers"]]
    assert document("params", about["answers"][0]["file"])["patches"][0]["parameters"]["tuf"]["unit"] == "G pix"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "fluxx=3"], "there are: flux, flux_area, tuf"),
        (["--set", "tuf"], "name=value[unit]"),
        (["--set", "tuf=1e22Mx"], "G pix"),
        (["--set", "tuf=1e99"], "reach"),
        (["--set", "tuf=1e4", "--set", "tuf=2e4"], "twice"),
        (["--set", "tuf=1e4", "--hold", "tuf"], "held"),
        (["--describe", "a friendly bipole"], "vocabulary"),
    ],
)
def test_generate_says_what_it_does_not_understand(room, tmp_path, arguments, said):
    assert said in failure("generate", "--model", room / "model", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_generate_asked_for_nothing_is_wrong_usage(room):
    call("generate", "--model", room / "model", code=2)


def test_edit_makes_a_strip(room, model, tmp_path):
    command = ("edit", "--model", room / "model", "--param", "tuf", "--hold", "sigma", "--steps", 5, "--range", 2)
    about = document(*command, "--out", tmp_path, "--seed", 3)
    assert [frame["eps"] for frame in about["frames"]] == [-2, -1, 0, 1, 2]
    for frame in about["frames"]:
        are_quantities(frame["parameters"], model.directions.names)
    assert json.loads((tmp_path / "edit-tuf-hold-sigma.json").read_text()) == about
    assert (tmp_path / "edit-tuf-hold-sigma.png").read_bytes().startswith(PNG)
    z = np.load(tmp_path / "edit-tuf-hold-sigma.npy")
    np.testing.assert_allclose((z[4] - z[0]) @ model.directions.normal("sigma"), 0, atol=1e-5)
    np.save(tmp_path / "z.npy", z[4])
    again = document(*command, "--from", tmp_path / "z.npy", "--out", tmp_path / "on")
    assert again["frames"][2]["parameters"] == about["frames"][4]["parameters"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--param", "fluxx"], "there are: flux, flux_area, tuf"),
        (["--param", "tuf", "--hold", "wings"], "there are: flux, flux_area, tuf"),
        (["--param", "tuf", "--hold", "tuf"], "tuf"),
        (["--param", "tuf", "--from", "absent.fits"], "absent.fits"),
    ],
)
def test_edit_says_what_it_cannot_do(room, tmp_path, arguments, said):
    assert said in failure("edit", "--model", room / "model", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_invert(room, model, observed, broken, tmp_path):
    command = ("invert", observed, broken[0], "--model", room / "model", "--starts", 2, "--steps", 5)
    about = document(*command, "--out", tmp_path / "out")
    (record,) = about["patches"]
    are_quantities(record["parameters"], parameters())
    are_quantities(record["reconstructed"], parameters())
    assert record["mse"] > 0
    assert record["z_norm"] == pytest.approx(np.linalg.norm(np.load(record["latent"])), rel=1e-6)
    assert len(about["refused"]) == 1
    assert json.loads((tmp_path / "out" / "invert.json").read_text()) == about
    assert "none of the 2 files" in failure("invert", *broken, "--model", room / "model", "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_exact_edit_says_what_was_asked_and_what_came(room, tmp_path):
    command = ("edit", "--model", room / "model", "--param", "sigma", "--exact", "--steps", 3, "--range", 0.5)
    about = document(*command, "--out", tmp_path, "--seed", 3)
    asked = [frame["requested"]["sigma"]["value"] for frame in about["frames"]]
    assert about["exact"] and asked == sorted(asked)
    assert about["frames"][1]["parameters"]["sigma"]["value"] == pytest.approx(asked[1], rel=0.01)
    assert (tmp_path / "edit-sigma-exact.png").read_bytes().startswith(PNG)


def test_entanglement_of_every_direction(room, model, tmp_path):
    about = document("entanglement", room / "model", "-n", 4, "--out", tmp_path)
    names = list(about["free"])
    assert set(about["held"]) == set(names) == set(model.directions.names)
    assert all(about["held"][name][name] is None for name in names)
    assert (tmp_path / "entanglement.png").read_bytes().startswith(PNG)
