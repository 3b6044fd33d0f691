"""A room without an archive, with an empty one, without an encoder: what can be done is done, the rest is told."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from solquery.app import Service, create_app
from solquery.archive import Archive
from solquery.model import Model


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
    assert names["measured"]["tuf"][0] == pytest.approx(kept["grid"]["tuf"]["value"], rel=1e-3)
    assert kept["t_utc"].startswith("20")


def test_numbers_of_a_generated_patch_come_with_what_they_are_worth_at_native_scale(shipped_room):
    """By the curve of the model, whose middle must lie within its band, and not on the number of the grid."""
    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        made = client.post("/api/generate", json={"describe": "strong", "seed": 2}).json()["answers"][0]
    band = made["native"]["tuf"]
    assert band["unit"] == "Mx" and band["low"] < band["value"] < band["high"]
    assert 1.0 < band["value"] / made["measured"]["tuf"]["value"] < 2.0, "a coarse pixel loses flux"


def test_an_upload_that_its_quality_marks_as_bad_says_so(client):
    from importlib.resources import files

    samples = list(files("solquery").joinpath("samples").iterdir())
    for name, doubt in (("sharp-4781", "QUALITY 0x00010400 marks it as bad"), ("sharp-856", None)):
        data = next(file for file in samples if name in file.name).read_bytes()
        assert client.post("/api/patch", content=data).json()["doubt"] == doubt
