"""The API: what is asked comes back with units, in every format, and as the rooms give it."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import torch

from solquery.app.catalogue import Catalogue
from solquery.app.overview import bend_of, edges_of
from solquery.app.packed import MEDIA_TYPE, pack, unpack
from solquery.physics import measure
from solquery.search import WEIGHTS, SearchError, search_hybrid
from solquery.sharp import read_sharp
from solquery.steering import HOLD_SLACK, decode_latent, encode_latent, render

# told in the answer; as an error it would be a fault of the server
pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")


def latent(seed, size=16):
    return encode_latent(np.random.default_rng(seed).standard_normal(size))


def ok(response):
    assert response.status_code == 200, response.text[:500]
    return response


def refused(response, status, kind=None):
    assert response.status_code == status, response.text[:500]
    error = response.json()["error"]
    assert error["message"] and "\n" not in error["message"] and "Traceback" not in error["message"]
    assert kind is None or error["kind"] == kind
    return error["message"]


def field_of(record):
    data = base64.b64decode(record["data"])
    return np.frombuffer(data, record["dtype"]).reshape(record["shape"]).astype(np.float32)


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


def test_search_finds_the_patch_itself_and_one_per_region(client, service):
    query = str(service.catalogue.ids[4])
    found = ok(client.post("/api/search", json={"patch": query, "k": 9})).json()
    assert found["matches"][0]["id"] == query and found["matches"][0]["distance"] == pytest.approx(0, abs=1e-3)
    regions = [match["region"] for match in found["matches"]]
    assert len(set(regions)) == len(regions) == 9 and found["candidates"] == 21
    distances = [match["distance"] for match in found["matches"]]
    assert distances == sorted(distances)
    without = ok(client.post("/api/search", json={"patch": query, "k": 9, "exclude_own": True})).json()
    assert regions[0] not in [match["region"] for match in without["matches"]]
    frames = {"patch": query, "k": 9, "group": "none", "filters": {"region": regions[0]}}
    assert len(ok(client.post("/api/search", json=frames)).json()["matches"]) == found["matches"][0]["frames"] == 3


def test_matches_have_native_values_grid_values_and_differences(client, service):
    found = ok(client.post("/api/search", json={"z": latent(3), "k": 3})).json()
    mine = found["query"]["parameters"]
    for match in found["matches"]:
        assert match["parameters"]["tuf"]["unit"] == "Mx" and match["grid"]["tuf"]["unit"] == "G pix"
        # a model that is not calibrated compares on its grid
        gap = match["grid"]["tuf"]["value"] - mine["tuf"]["value"]
        assert match["difference"]["tuf"]["value"] == pytest.approx(gap)
        row = service.catalogue.archive.table(where=f"id = '{match['id']}'").to_pylist()[0]
        assert match["parameters"]["psep"]["value"] == row["psep"]


@pytest.mark.parametrize(
    ("filters", "keeps"),
    [
        ({"source": "real"}, lambda r: r["source"] == "real"),
        ({"mu_min": 0.85}, lambda r: r["mu"] is not None and r["mu"] >= 0.85),
        ({"since": "2012-01-01"}, lambda r: r["t_utc"] is not None and r["t_utc"].year >= 2012),
        ({"until": "2011-12-17"}, lambda r: r["t_utc"] is not None and r["t_utc"].isoformat() < "2011-12-18"),
        ({"latitude_deg": {"low": 0}}, lambda r: r["latitude_deg"] is not None and r["latitude_deg"] >= 0),
        ({"longitude_deg": {"low": -30, "high": 30}}, lambda r: abs(r["longitude_deg"] or 99) <= 30),
        ({"parameters": {"tuf": {"low": 5e21}}}, lambda r: r["tuf"] is not None and r["tuf"] >= 5e21),
        ({"quantity": "line-of-sight"}, lambda r: r["quantity"] == "line-of-sight"),
        ({"source": "simulated", "mu_min": 0.5}, lambda r: r["source"] == "simulated" and (r["mu"] or 0) >= 0.5),
    ],
)
def test_filters_keep_what_they_say(client, service, filters, keeps):
    rows = service.catalogue.archive.table().to_pylist()
    wanted = {row["id"] for row in rows if keeps(row)}
    assert 0 < len(wanted) < len(rows), "a filter that keeps all or nothing shows nothing"
    body = {"z": latent(4), "k": 100, "group": "none", "filters": filters}
    found = ok(client.post("/api/search", json=body)).json()
    assert {match["id"] for match in found["matches"]} == wanted and found["candidates"] == len(wanted)


def test_a_lasso_keeps_what_it_encircles(client, service):
    rows = {row["id"]: row for row in service.catalogue.archive.table().to_pylist()}
    cut = 1.0001 * float(np.median([row["grid_tuf"] for row in rows.values()]))
    everything = {"z": latent(4), "k": 100, "group": "none"}

    def found(lasso, **more):
        body = everything | {"filters": {"lasso": lasso, **more}}
        answer = ok(client.post("/api/search", json=body)).json()
        assert "encircled" in answer["recipe"]["python"]
        return {match["id"] for match in answer["matches"]}

    box = [[-1e9, -1e9], [cut, -1e9], [cut, 1e9], [-1e9, 1e9]]
    wanted = {i for i, row in rows.items() if row["grid_tuf"] <= cut and row["grid_psep"] is not None}
    assert found({"x": "tuf", "y": "psep", "points": box}) == wanted and 0 < len(wanted) < len(rows)
    logs = [[-9, -1e9], [np.log10(cut), -1e9], [np.log10(cut), 1e9], [-9, 1e9]]
    assert found({"x": "tuf", "y": "psep", "points": logs, "log": [True, False]}) == wanted
    real = {i for i in wanted if rows[i]["source"] == "real"}
    assert found({"x": "tuf", "y": "psep", "points": box}, source="real") == real
    space = ok(client.get("/api/space")).json()
    at = dict(zip(space["ids"], space["points"], strict=True))
    (x, y), name = at[space["ids"][3]], space["ids"][3]
    ring = [[x - 1e-3, y - 1e-3], [x + 1e-3, y - 1e-3], [x + 1e-3, y + 1e-3], [x - 1e-3, y + 1e-3]]
    assert name in found({"points": ring}) and len(found({"points": ring})) < len(rows)
    frames = ok(client.post("/api/frames", json={"filters": {"lasso": {"points": ring}}})).json()
    assert name in [frame["id"] for frame in frames["frames"]]
    for wrong in ({"points": ring[:2]}, {"x": "tuf", "points": ring}, {"x": "tuf", "y": "nothing", "points": ring}):
        refused(client.post("/api/search", json=everything | {"filters": {"lasso": wrong}}), 422)


def test_what_limits_a_patch_is_told_with_it(client, service):
    from solquery.sharp.caveats import caveats

    rows = service.catalogue.archive.table().to_pylist()
    seen = 0
    for row in rows:
        limits = [limit._asdict() for limit in caveats(service.catalogue.archive.get(row["id"]))]
        assert ok(client.get(f"/api/patch/{row['id']}")).json()["caveats"] == limits
        body = {"patch": row["id"], "k": 100, "group": "none"}
        match = next(m for m in ok(client.post("/api/search", json=body)).json()["matches"] if m["id"] == row["id"])
        assert match["caveats"] == [limit for limit in limits if limit["name"] != "cut"]
        seen += bool(limits)
    assert seen, "no patch here has a limit: the test tests nothing"


def test_links_are_made_for_the_address_that_the_server_was_told(model):
    from starlette.testclient import TestClient

    from solquery.app import Service, create_app

    for url in (None, "https://sun.example.org/solquery/"):
        with TestClient(create_app(Service(model, public_url=url)), base_url="http://localhost") as client:
            assert client.get("/api/health").json()["public_url"] == url


def test_a_filter_cannot_carry_a_condition_of_its_own(client):
    quoted = {"z": latent(4), "filters": {"region": "x' OR '1' = '1"}}
    assert ok(client.post("/api/search", json=quoted)).json()["matches"] == []
    named = {"z": latent(4), "filters": {"parameters": {"tuf > 0 OR tuf": {"low": 1}}}}
    refused(client.post("/api/search", json=named), 422, "invalid")


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


def test_without_an_archive_patches_are_made_and_search_says_why_not(model):
    from starlette.testclient import TestClient

    from solquery.app import Service, create_app

    with TestClient(create_app(Service(model)), base_url="http://localhost") as client:
        assert client.get("/api/health").json()["archive"] is None
        assert ok(client.get("/api/parameters")).json()["parameters"]["tuf"]["archive"] is None
        ok(client.post("/api/edit", json={"z": latent(1)}))
        assert "--archive" in refused(client.post("/api/search", json={"z": latent(1)}), 404)


def test_matches_are_placed_in_the_latent_space_where_the_model_can(client, service, model):
    from starlette.testclient import TestClient

    from solquery import decode_latent
    from solquery.app import Service, create_app
    from solquery.generator.inference import InferenceNetwork
    from solquery.model import Model

    ids = [str(i) for i in service.catalogue.ids[:3]]
    assert "no inference network" in refused(client.post("/api/estimate", json={"ids": ids}), 404)
    network = InferenceNetwork(16, shape=(32, 32), width=8)
    able = Model("able", model.preset, model.generator, model.encoder, model.directions, {}, network)
    with TestClient(create_app(Service(able, service.catalogue.archive)), base_url="http://localhost") as asked:
        assert asked.get("/api/health").json()["model"]["estimates"]
        found = ok(asked.post("/api/estimate", json={"ids": ids})).json()["estimates"]
        x = np.stack([service.catalogue.picture(i) for i in ids])
        expected = network.guess(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(np.stack([decode_latent(found[i], 16) for i in ids]), expected, atol=1e-5)
        refused(asked.post("/api/estimate", json={"ids": ["nobody"]}), 404)
        refused(asked.post("/api/estimate", json={"ids": []}), 422)


def test_patches_added_while_it_runs_are_seen(model, tmp_path):
    from solquery.app import Service
    from solquery.archive import Archive
    from solquery.encoder import embed_archive
    from solquery.simulator import simulate_region

    archive = Archive.create(str(tmp_path / "archive"))
    archive.add(simulate_region(seed=4, index=0, frames=2))
    service = Service(model, archive)
    archive.add(simulate_region(seed=4, index=1, frames=2))
    embed_archive(archive, model)
    x = service.catalogue.picture(str(service.catalogue.ids[0]))
    assert service.catalogue.search(x, 10, None, "none", None)[1] == 4


@pytest.mark.parametrize("by", ["hybrid", "physics"])
@pytest.mark.parametrize("where", [None, "mu > 0.5"])
def test_a_search_by_physics_is_that_of_the_package(service, by, where):
    weights = {name: weight for name, weight in WEIGHTS.items() if by == "hybrid" or name != "embedding"}
    archive, x = service.catalogue.archive, service.catalogue.picture(str(service.catalogue.ids[3]))
    own = str(service.catalogue.regions[3])
    for group in ("region", "none"):
        shown, _ = service.catalogue.search(x, 5, where, group, own, by)
        wanted = search_hybrid(archive, service.model, x, 5, where, group, own, weights)
        assert [(m.id, m.rank) for m in shown] == [(m.id, m.rank) for m in wanted]
        np.testing.assert_allclose([m.distance for m in shown], [m.distance for m in wanted], rtol=1e-6)
        assert own not in {m.region for m in shown}


def test_an_archive_without_parameters_on_the_grid_is_not_compared_by_them(model, service, monkeypatch):
    archive = service.catalogue.archive
    without = [name for name in archive.columns if name != "grid_sigma"]
    monkeypatch.setattr(type(archive), "columns", property(lambda self: without))
    catalogue = Catalogue(archive, model)
    x = catalogue.picture(str(catalogue.ids[0]))
    with pytest.raises(SearchError, match="archive embed"):
        catalogue.search(x, 3, None, "none", None, "hybrid")
    assert catalogue.search(x, 3, None, "none", None)[0]


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


def test_a_page_that_was_opened_on_an_empty_archive_sees_what_comes(model, tmp_path):
    from solquery.app import Service
    from solquery.archive import Archive
    from solquery.simulator import simulate_region

    archive = Archive.create(str(tmp_path / "archive"))
    service = Service(model, archive)
    assert service.catalogue is None and service.why_no_search
    Archive.open(archive.uri).add(simulate_region(seed=4, index=0, frames=2))
    assert service.cloud("tuf", "psep")["of"] == 2 and not service.why_no_search
    # and without anybody embedding them
    Archive.open(archive.uri).add(simulate_region(seed=4, index=1, frames=2))
    assert service.health()["archive"]["searchable"] == 4


def test_what_was_ssl_is_the_embedding(client, service):
    body = {"patch": str(service.catalogue.ids[2]), "k": 4}
    shown = [ok(client.post("/api/search", json=body | by)).json() for by in ({}, {"by": "embedding"}, {"by": "ssl"})]
    assert shown[0]["matches"] == shown[1]["matches"] == shown[2]["matches"]
    assert "--by" not in shown[2]["recipe"]["cli"]
