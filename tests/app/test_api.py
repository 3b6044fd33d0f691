"""The API: what is asked comes back with units, in every format, and as the rooms give it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from answers import field_of, latent, ok, refused

from solquery.app.overview import bend_of, edges_of, parameters_of
from solquery.app.packed import MEDIA_TYPE, pack, unpack
from solquery.model import Model
from solquery.physics import measure
from solquery.sharp import read_sharp
from solquery.steering import HOLD_SLACK, decode_latent, encode_latent, render
from solquery.steering.judge import check_reach
from solquery.steering.vocabulary import Target

# told in the answer; as an error it would be a fault of the server
pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")


def test_health_tells_model_archive_and_grid(client, service):
    document = ok(client.get("/api/health")).json()
    assert document["status"] == "ok" and document["model"]["name"] == "bipoles"
    assert document["archive"]["patches"] == 21 and document["archive"]["real"] == 3
    assert document["model"]["scale_mm"] is None, "this preset stretches: it has no scale to show"


def test_parameters_have_units_reach_and_the_archives_histogram(client, service):
    found = ok(client.get("/api/parameters")).json()["parameters"]
    assert list(found) == list(service.directions.names)
    tuf = found["tuf"]
    assert (tuf["unit"], tuf["native_unit"]) == ("G pix", "Mx")
    assert tuf["shown"][0] <= tuf["reach"][0] < tuf["reach"][1] <= tuf["shown"][1]
    assert sum(tuf["archive"]["simulated"]) == 18 and sum(tuf["archive"]["real"]) == 3
    assert found["polarity"]["binary"] and not tuf["binary"]
    edges = np.array(tuf["archive"]["edges"])
    assert len(edges) == len(tuf["archive"]["real"]) + 1 and [edges[0], edges[-1]] == tuf["shown"]
    assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("median", [0.02, 0.1, 0.25])
def test_a_slider_of_long_tail_is_bent_until_the_median_comes_to_a_third(median):
    low, high = 2e20, 8e22
    bend = bend_of(low, low + median * (high - low), high)
    edges = edges_of(low, high, bend)
    assert np.interp(low + median * (high - low), edges, np.linspace(0, 1, 41)) == pytest.approx(1 / 3, abs=0.02)
    assert edges[0] == low and edges[-1] == high


@pytest.mark.parametrize("median", [0.0, 0.3, 0.5, 0.9])
def test_a_slider_without_a_tail_is_even(median):
    assert bend_of(-1.0, -1.0 + 2.0 * median, 1.0) is None
    np.testing.assert_allclose(np.diff(edges_of(-1.0, 1.0, None)), 0.05)


def test_both_ends_of_a_slider_can_be_asked_for():
    directions = Model.load().directions
    for name, about in parameters_of(directions, None)["parameters"].items():
        low, high = about["reach"]
        assert low < high
        for end in (low, high):
            check_reach({name: Target(name, end)}, directions, "physical")


def test_generate_gives_what_it_measures(client, model):
    goal = model.directions.quantile("tuf", 70)
    document = ok(client.post("/api/generate", json={"set": {"tuf": goal}, "n": 2, "seed": 5})).json()
    assert len(document["answers"]) == 2
    for answer in document["answers"]:
        assert answer["source"] == "generated" and answer["verdict"] == "met"
        assert answer["requested"]["tuf"] == {"value": goal, "unit": "G pix"}
        field = field_of(answer["field"])
        assert float(measure(field, None, ["tuf"])["tuf"][0]) == pytest.approx(
            answer["measured"]["tuf"]["value"], rel=2e-3
        )
    again = ok(client.post("/api/generate", json={"set": {"tuf": goal}, "n": 2, "seed": 5})).json()
    assert again["answers"] == document["answers"]


def test_generate_understands_words_and_draws_without_any(client):
    answer = ok(client.post("/api/generate", json={"describe": "leading polarity negative"})).json()["answers"][0]
    assert answer["measured"]["polarity"]["value"] == -1
    a, b = (ok(client.post("/api/generate", json={"seed": seed})).json()["answers"][0]["z"] for seed in (1, 2))
    assert a != b
    assert "vocabulary" in refused(client.post("/api/generate", json={"describe": "purple"}), 422, "invalid")


@pytest.mark.parametrize("exact", [False, True])
def test_edit_moves_what_is_set_and_keeps_what_is_held(client, model, exact):
    z, fitted = latent(1), model.directions
    before = ok(client.post("/api/edit", json={"z": z})).json()["measured"]
    goal = fitted.quantile("tuf", 75)
    body = {"z": z, "set": {"tuf": goal}, "hold": {"psep": before["psep"]["value"]}, "exact": exact}
    after = ok(client.post("/api/edit", json=body)).json()
    assert abs(after["measured"]["tuf"]["value"] - goal) < abs(before["tuf"]["value"] - goal)
    slack = HOLD_SLACK * fitted.spread("psep")
    assert abs(after["measured"]["psep"]["value"] - before["psep"]["value"]) <= slack * (1 + 1e-6)


def test_the_three_formats_hold_the_same_patch(client, model, tmp_path):
    z = latent(2)
    document = ok(client.post("/api/edit", json={"z": z})).json()
    packed = ok(client.post("/api/edit?format=packed", json={"z": z}))
    assert packed.headers["content-type"] == MEDIA_TYPE
    told, fields = unpack(packed.content)
    assert told["z"] == z == document["z"]
    expected = 1000 * render(model.generator, decode_latent(z)[None], (32, 32))[0, 0].numpy()
    np.testing.assert_allclose(fields[0], expected, atol=0.5)
    np.testing.assert_array_equal(field_of(document["field"]), fields[0])
    path = tmp_path / "made.fits"
    path.write_bytes(ok(client.post("/api/edit?format=fits", json={"z": z})).content)
    patch = read_sharp(path)
    assert patch.source == "generated" and patch.scale_mm is None
    assert patch.truth["latent"] == z, "the file tells how it was made"
    np.testing.assert_allclose(patch.field, expected, rtol=1e-6)


def test_packing_is_undone_and_a_cut_body_is_noticed():
    fields = np.random.default_rng(0).normal(0, 300, (2, 5, 7)).astype(np.float32)
    body = pack({"ä": 1}, fields)
    document, back = unpack(body)
    assert document["ä"] == 1
    np.testing.assert_allclose(back, fields, rtol=1e-3)
    with pytest.raises(ValueError, match="cut short"):
        unpack(body[:-2])
    with pytest.raises(ValueError, match="SQP1"):
        unpack(b"something else")


def test_a_patch_comes_at_native_scale_and_on_the_grid(client, service):
    name = str(service.catalogue.ids[-1])
    native = ok(client.get(f"/api/patch/{name}?grid=native")).json()
    patch = service.catalogue.archive.get(name)
    np.testing.assert_array_equal(field_of(native["field"]), patch.field)
    assert native["scale_mm"] == list(patch.scale_mm)
    grid = ok(client.get(f"/api/patch/{name}")).json()
    assert grid["field"]["shape"] == [32, 32] and grid["scale_mm"] is None
    assert grid["parameters"] == native["parameters"] and grid["parameters"]["tuf"]["unit"] == "Mx"
    refused(client.get("/api/patch/nobody"), 404, "not found")


def test_an_upload_is_read_searched_and_inverted(client, sample_file):
    read = ok(client.post("/api/patch?name=mine.fits", content=sample_file)).json()
    assert read["region"] == "HARP 856" and read["source"] == "real" and read["id"].startswith("upload-")
    found = ok(client.post("/api/search", json={"upload": read["id"], "k": 2})).json()
    assert found["query"]["kind"] == "upload" and len(found["matches"]) == 2
    body = ok(client.post(f"/api/invert?patch={read['id']}&starts=2&steps=15&format=packed"))
    told, fields = unpack(body.content)
    original = field_of(read["field"])
    np.testing.assert_array_equal(fields[0], original)
    made = ok(client.post("/api/edit", json={"z": told["z"]})).json()
    np.testing.assert_allclose(field_of(made["field"]), fields[1], atol=0.5)
    assert told["mse"] == pytest.approx(np.mean(((fields[1] - original) / 1000) ** 2), rel=0.01)
    direct = ok(client.post("/api/invert?name=mine.fits&starts=2&steps=15", content=sample_file)).json()
    assert direct["z"] == told["z"]


def test_the_map_separates_the_two_sides_of_its_line(client, service):
    view = ok(client.get("/api/map?parameter=tuf")).json()
    points, above = np.array(view["points"]), np.array(view["above"])
    beyond = points[:, 1] > view["slope"] * points[:, 0] + view["offset"]
    agree = (beyond == above).mean()
    assert max(agree, 1 - agree) > 0.8
    cloud = ok(client.get("/api/cloud?x=tuf&y=psep")).json()
    assert cloud["of"] == 21 and set(cloud["source"]) == {"real", "simulated"}
    refused(client.get("/api/map?parameter=nothing"), 422, "invalid")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/edit", {"z": "AAAA"}, 422),
        ("/api/edit", {"z": latent(1), "set": {"tuf": 1e40}}, 422),
        ("/api/edit", {"z": latent(1), "set": {"nothing": 1}}, 422),
        ("/api/edit", {"z": latent(1), "set": {"tuf": 5e4}, "hold": {"tuf": 5e4}}, 422),
        ("/api/edit", {"z": encode_latent(np.full(16, np.inf))}, 422),
        ("/api/generate", {"n": 99}, 422),
        ("/api/generate", {"extra": 1}, 422),
        ("/api/search", {}, 422),
        ("/api/search", {"patch": "nobody"}, 404),
        ("/api/search", {"upload": "upload-0"}, 404),
        ("/api/search", {"z": latent(1), "filters": {"latitude_deg": {"low": 5, "high": 1}}}, 422),
        ("/api/invert?patch=nobody", {}, 404),
        ("/api/patch", {}, 422),
        ("/api/nowhere", {}, 404),
        ("/api/health", {}, 405),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(client, path, body, status):
    refused(client.post(path, json=body), status)


def test_numbers_that_json_does_not_have_are_refused(client):
    body = json.dumps({"z": latent(1), "set": {"tuf": float("nan")}})
    refused(client.post("/api/edit", content=body, headers={"content-type": "application/json"}), 422)


def test_openapi_names_the_units_and_every_route(client):
    document = ok(client.get("/api/openapi.json")).json()
    for path in ("generate", "edit", "invert", "search", "parameters", "patch/{patch_id}", "health"):
        assert f"/api/{path}" in document["paths"]
    assert "unit" in document["components"]["schemas"]["Quantity"]["required"]
    assert document["paths"]["/api/invert"]["post"]["requestBody"]["content"]["application/fits"]


def as_fits(field, **cards):
    import io

    from astropy.io import fits

    buffer = io.BytesIO()
    fits.PrimaryHDU(np.asarray(field, np.float32), fits.Header({"BUNIT": "G", **cards})).writeto(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("verb", ["/api/patch", "/api/invert"])
def test_uploads_that_cannot_be_used_come_back_with_the_readers_words(model, verb):
    import dataclasses
    from copy import copy

    from starlette.testclient import TestClient

    from solquery.app import Service, create_app

    physical = copy(model)
    physical.preset = dataclasses.replace(model.preset, scale_mm=(1.82, 1.82))
    field = np.outer(np.hanning(24), np.linspace(-900, 900, 40))
    files = {
        "has no scale": as_fits(field),
        "no unit of magnetic flux density": as_fits(field, BUNIT="DN/s"),
        "--reproject": as_fits(field, CTYPE1="HPLN-TAN", CTYPE2="HPLT-TAN", CUNIT1="arcsec", CDELT1=0.5, CDELT2=0.5),
        "no image of a region": as_fits(field, CTYPE1="CRLN-CEA", CTYPE2="CRLT-CEA", CDELT1=1e-7, CDELT2=1e-7),
        "no negative value": as_fits(np.abs(field) + 1),
    }
    with TestClient(create_app(Service(physical)), base_url="http://localhost") as asked:
        for words, data in files.items():
            message = refused(asked.post(verb, params={"name": "mine.fits"}, content=data), 422, "unreadable")
            assert words in message and message.startswith("mine.fits: ")
        form = asked.post(verb, files={"file": ("mine.fits", as_fits(field))})
        assert "multipart" in refused(form, 415)
