"""A sketch sent to the API: the region that is drawn for it, how it is followed, and what is refused."""

from __future__ import annotations

import dataclasses
import time
import warnings

import numpy as np
import pytest
from answers import ok

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from solquery.app import Service, create_app
from solquery.app.packed import unpack
from solquery.archive import Archive
from solquery.model import Model
from solquery.simulator import simulate_region
from solquery.steering import fit_directions, sample_latents


@pytest.fixture(scope="module")
def room(model, tmp_path_factory):
    """The model of these tests on pixels of 7.29 Mm, and an archive of four patches."""
    preset = dataclasses.replace(model.preset, scale_mm=(7.29, 7.29))
    names = ("tuf", "psep", "tilt", "polarity", "r", "area")
    directions = fit_directions(sample_latents(model.generator, preset, 1000, seed=1, names=names))
    archive = Archive.create(str(tmp_path_factory.mktemp("sketch") / "archive"))
    archive.add([patch for index in range(4) for patch in simulate_region(seed=5, index=index, frames=1)])
    return Service(Model("scaled", preset, model.generator, model.encoder, directions), archive)


@pytest.fixture(scope="module")
def client(room):
    with TestClient(create_app(room), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def bipole(**changed):
    """A sketch that fits in the view of the model of these tests, 233 Mm wide and high."""
    blobs = [
        {"sign": "+", "flux": 1.2e22, "size": 40, "x": 40, "y": 5},
        {"sign": "-", "flux": 1.2e22, "size": 40, "x": -40, "y": -5},
    ]
    return [blobs[0] | changed, blobs[1]]


def test_a_sketch_becomes_a_region_that_can_be_searched_with(client, room):
    begun = ok(client.post("/api/sketch", json={"blobs": bipole()})).json()
    state, until = begun, time.monotonic() + 120
    while state["running"] and time.monotonic() < until:
        time.sleep(0.05)
        state = ok(client.get(f"/api/inversions/{begun['id']}")).json()
    last = state
    assert last["stage"] == "done" and last["observed"]["tuf"]["unit"] == "Mx"
    # the sketch itself: two blobs of 1.2e22 Mx, 80.6 Mm apart
    assert last["observed"]["tuf"]["value"] == pytest.approx(2.4e22, rel=0.02)
    assert last["observed"]["psep"]["value"] == pytest.approx(np.hypot(80, 10), rel=0.02)
    found = ok(client.post("/api/search", json={"z": last["z"], "k": 3})).json()
    assert len(found["matches"]) == 3
    packed, fields = unpack(ok(client.post("/api/sketch?packed=true", json={"blobs": bipole()})).content)
    assert fields[0].shape == tuple(room.model.preset.shape)
    ok(client.delete(f"/api/inversions/{packed['id']}"))


@pytest.mark.parametrize(
    ("blobs", "says"),
    [
        (bipole(sign="-"), "of both signs"),
        (bipole()[:1], "two blobs or more"),
        (bipole(x=5000), "blob 1 at (5000, 5) Mm reaches out of the view"),
        (bipole(flux=9e23), "make it larger or weaker"),
        (bipole(flux=-1), "blob 1, flux: Input should be greater than 0"),
        (bipole(sign="north"), "'+' or '-'"),
        (bipole(width=3), "not permitted"),
        ([], "at least 1"),
    ],
)
def test_what_is_no_sketch_is_refused_in_a_line(client, blobs, says):
    response = client.post("/api/sketch", json={"blobs": blobs})
    assert response.status_code == 422 and says in response.json()["error"]["message"], response.text


def test_a_grid_without_a_scale_takes_no_sketch(service):
    with TestClient(create_app(service), base_url="http://127.0.0.1") as client:
        response = client.post("/api/sketch", json={"blobs": bipole()})
    assert response.status_code == 422 and "has no scale" in response.json()["error"]["message"]
