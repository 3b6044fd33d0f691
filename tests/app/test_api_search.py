"""Search by the API: matches with units, filters, what changes while the server runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from answers import latent, ok, refused

from solquery.app.catalogue import Catalogue
from solquery.search import WEIGHTS, SearchError, search_hybrid

# told in the answer; as an error it would be a fault of the server
pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")


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
