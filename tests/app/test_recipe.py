"""The lines that the page hands out do what the page did."""

from __future__ import annotations

import json
import shlex

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from solquery.app import create_app
from solquery.cli.root import app as cli


@pytest.fixture(scope="module")
def shipped(shipped_room):
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("kind", ["generated", "archive", "filtered", "hybrid", "physics", "structure"])
def test_python_and_command_line_give_the_matches_on_the_screen(shipped, shipped_room, kind):
    body = {"k": 4}
    if kind in ("archive", "structure"):
        body |= {"patch": str(shipped_room.catalogue.ids[5]), "exclude_own": True}
    else:
        body["z"] = shipped.post("/api/generate", json={"seed": 3}).json()["answers"][0]["z"]
    if kind == "filtered":
        body |= {"group": "none", "filters": {"source": "simulated", "mu_min": 0.3, "since": "2010-01-01"}}
    if kind in ("hybrid", "physics", "structure"):
        body |= {"by": kind, "filters": {"mu_min": 0.3}}
    shown = shipped.post("/api/search", json=body).json()
    assert len(shown["matches"]) == 4
    wanted = [(match["id"], pytest.approx(match["distance"], abs=1e-3)) for match in shown["matches"]]

    names: dict = {}
    exec(shown["recipe"]["python"], names)
    assert [(match.id, match.distance) for match in names["matches"]] == wanted

    line = shlex.split(shown["recipe"]["cli"])
    assert line[0] == "solquery"
    done = CliRunner().invoke(cli, [*line[1:], "--json"])
    assert done.exit_code == 0, done.stderr
    assert [(match["id"], match["distance"]) for match in json.loads(done.stdout)["matches"]] == wanted


def test_the_lines_for_an_upload_name_its_file(shipped, sample_file):
    read = shipped.post("/api/patch?name=../../it%27s mine.fits", content=sample_file).json()
    recipe = shipped.post("/api/search", json={"upload": read["id"]}).json()["recipe"]
    assert "solquery.read_sharp('it_s mine.fits'" in recipe["python"]
    assert shlex.split(recipe["cli"])[2] == "it_s mine.fits"
