"""A room without an archive, with an empty one, without an encoder: what can be done is done, the rest is told."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from importlib.resources import files

import pytest
from starlette.testclient import TestClient

from solquery.app import Service, create_app
from solquery.archive import Archive
from solquery.cli.params import _tell_systematic
from solquery.model import Model
from solquery.physics import describe_patch
from solquery.physics.systematic import SYSTEMATIC


@pytest.mark.parametrize(
    ("what", "said"),
    [("no archive", "no archive is open"), ("empty", "holds no patch yet"), ("no encoder", "has no encoder")],
)
def test_why_nothing_can_be_searched_is_told_with_what_to_do(model, service, tmp_path, what, said):
    models = model
    if what == "no encoder":
        models = Model(model.name, model.preset, model.generator, None, model.directions)
    archive = {"no archive": None, "empty": Archive.create(str(tmp_path / "empty"))}.get(
        what, service.catalogue.archive
    )
    with TestClient(create_app(Service(models, archive)), base_url="http://127.0.0.1") as client:
        health = client.get("/api/health").json()
        assert health["archive"] is None and said in health["no_search"] and "start the page" in health["no_search"]
        made = client.post("/api/generate", json={"seed": 1}).json()["answers"][0]
        found = client.post("/api/search", json={"z": made["z"]})
        assert found.status_code == 404 and said in found.json()["error"]["message"]
        assert client.get("/api/parameters").json()["parameters"]["tuf"]["archive"] is None


def test_where_something_can_be_searched_nothing_is_said(client):
    assert client.get("/api/health").json()["no_search"] is None


def test_the_lines_that_come_with_a_patch_make_it_again(shipped_room):
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        made = client.post("/api/generate", json={"seed": 4}).json()["answers"][0]
        kept = client.get(f"/api/patch/{shipped_room.catalogue.ids[-1]}").json()
    names: dict = {}
    exec(made["python"], names)
    assert names["measured"]["tuf"][0] == pytest.approx(made["measured"]["tuf"]["value"], rel=1e-5)
    exec(kept["python"], names)
    assert names["measured"]["tuf"][0] == pytest.approx(kept["parameters"]["tuf"]["value"], rel=1e-5)
    assert kept["t_utc"].startswith("20")


def test_numbers_of_a_generated_patch_come_with_what_they_are_worth_at_native_scale(shipped_room):
    """By the curve of the model, whose middle must lie within its band, and not on the number of the grid."""
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        made = client.post("/api/generate", json={"describe": "strong", "seed": 2}).json()["answers"][0]
    told = made["measured"]["tuf"]
    assert told["unit"] == told["grid"]["unit"] == "Mx" and told["low"] < told["value"] < told["high"]
    assert 1.0 < told["value"] / told["grid"]["value"] < 4.0, "a coarse pixel loses flux and noise"
    assert made["native"]["tuf"] == told, "its name of before"


def test_what_is_asked_is_asked_at_native_scale_and_matches_are_compared_there(shipped_room):
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        z = client.post("/api/generate", json={"seed": 5}).json()["answers"][0]["z"]
        about = client.get("/api/parameters").json()["parameters"]["tuf"]
        made = client.post("/api/edit", json={"z": z, "set": {"tuf": 8e21}}).json()
        found = client.post("/api/search", json={"z": made["z"], "k": 3}).json()
    assert about["native"] and about["unit"] == "Mx"
    mine = made["measured"]["tuf"]
    assert mine["value"] == pytest.approx(8e21, rel=0.1) and mine["grid"]["value"] < mine["value"]
    assert found["query"]["parameters"]["tuf"] == mine and found["query"]["grid"]["tuf"] == mine["grid"]
    for match in found["matches"]:
        row = shipped_room.catalogue.archive.table(where=f"id = '{match['id']}'").to_pylist()[0]
        assert match["difference"]["tuf"]["value"] == pytest.approx(row["tuf"] - mine["value"])


def test_the_archive_is_shown_at_the_scale_of_the_numbers(shipped_room):
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        cloud = client.get("/api/cloud?x=tuf&y=psep").json()
        space = client.get("/api/space?column=tuf").json()
    rows = {row["id"]: row for row in shipped_room.catalogue.archive.table().to_pylist()}
    for name, (x, y) in zip(cloud["ids"], cloud["values"], strict=True):
        assert (x, y) == (rows[name]["tuf"], rows[name]["psep"])
    for name, value in zip(space["ids"], space["values"], strict=True):
        assert value == pytest.approx(rows[name]["tuf"], rel=1e-3)


def test_an_observation_comes_with_the_errors_of_its_own_noise(shipped_room):
    name = next(i for i in shipped_room.catalogue.ids.to_pylist() if i.startswith("sharp-115"))
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        told = client.get(f"/api/errors/{name}").json()
        assert client.get("/api/errors/nobody").status_code == 404
    patch = shipped_room.catalogue.archive.get(name)
    wanted = describe_patch(patch, ["tuf"])
    assert told["errors"]["tuf"]["value"] == pytest.approx(wanted.errors["tuf"].error)
    assert told["errors"]["tuf"]["unit"] == "Mx" and "polarity" not in told["errors"]
    assert told["noise_gauss"] == pytest.approx(wanted.noise.gauss) and "quiet pixels" in told["source"]


def test_what_the_inversion_adds_to_an_observation_stands_beside_its_errors(shipped_room):
    """As a number of its own: the share of the flux that its law states at this μ, and no part of the error."""
    archive = shipped_room.catalogue.archive
    row = archive.table(where="source = 'simulated' and mu > 0.5 and mu < 0.9", columns=["id"]).to_pylist()[0]
    patch = archive.get(row["id"])
    assert patch.quantity == "radial"
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        told = client.get(f"/api/errors/{patch.id}").json()
        value = client.get(f"/api/patch/{patch.id}").json()["parameters"]["tuf"]["value"]
        sight = next(i for i in shipped_room.catalogue.ids.to_pylist() if i.startswith("sharp-115"))
        assert archive.get(sight).quantity == "line-of-sight"
        assert client.get(f"/api/errors/{sight}").json()["systematic"] == {}
    one, noise = told["systematic"]["tuf"], told["errors"]["tuf"]
    rate, scatter = SYSTEMATIC["tuf"]
    left = math.exp(-rate * (1 - patch.mu**2))
    # the archive holds the value in single precision
    assert one["value"] == pytest.approx((1 - left) * (value - noise["bias"]), rel=1e-4)
    wanted = left * (value - noise["bias"]) * scatter * math.sqrt(1 - patch.mu**2)
    assert one["error"] == pytest.approx(wanted, rel=1e-4)
    assert one["unit"] == "Mx" and "simulated frames" in one["basis"]
    assert "tilt" not in told["systematic"] and "tilt" in told["errors"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which reads the page's modules without a browser")
def test_the_sentence_about_the_inversion_is_that_of_params(tmp_path, capsys):
    entry = {"value": 2e22, "unit": "Mx", "error": 1e20, "bias": 3e20}
    entry["systematic"] = {"value": 5e21, "unit": "Mx", "error": 2.6e21, "basis": "77 frames"}
    for name in ("numbers.js", "format.js"):
        shutil.copy(str(files("solquery").joinpath(f"app/page/{name}")), tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    plain = {key: value for key, value in entry.items() if key != "systematic"}
    calls = [[entry, True], [plain, True], [entry, False]]
    script = (
        'import { told } from "./numbers.js";'
        f"console.log(JSON.stringify({json.dumps(calls)}.map(([e, o]) => told({{ native: true, unit: 'Mx' }}, e, o))));"
    )
    (tmp_path / "told.js").write_text(script)
    done = subprocess.run(["node", "told.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    observed, bare, estimated = json.loads(done.stdout)
    said = "the filling factor of plage adds 25 ± 13 % (77 frames)"
    assert said in observed and "filling factor" not in bare + estimated
    _tell_systematic({"tuf": entry})
    assert "the filling factor of plage adds 25% ± 13% to tuf (77 frames)" in capsys.readouterr().out


def test_an_upload_that_its_quality_marks_as_bad_says_so(client):
    samples = list(files("solquery").joinpath("samples").iterdir())
    for name, doubt in (("sharp-4781", "QUALITY 0x00010400 marks it as bad"), ("sharp-856", None)):
        data = next(file for file in samples if name in file.name).read_bytes()
        assert client.post("/api/patch", content=data).json()["doubt"] == doubt
