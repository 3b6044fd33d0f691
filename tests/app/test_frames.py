"""Frames, links and how near is near: what the page tells of observations beside their picture."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from answers import latent, ok, refused
from empty_fits import empty_file

from solquery.app.links import fetch_line, links_of, record_set
from solquery.app.records import sigmas_apart, spread_of
from solquery.app.schemas import SearchIn
from solquery.app.uploads import read_upload

pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")


#: HARP 377 as JSOC has it
ROW = {
    "source": "real",
    "harpnum": 377,
    "t_rec": "2011.02.15_02:00:00_TAI",
    "t_utc": datetime(2011, 2, 15, 1, 59, 26, tzinfo=UTC),
    "noaa": [11158],
    "latitude_deg": -20.0,
    "longitude_deg": 13.0,
    "b0_deg": -6.8,
    "quantity": "radial",
}


def test_an_observation_is_linked_to_the_archives_of_the_field():
    assert record_set(ROW) == "hmi.sharp_cea_720s[377][2011.02.15_02:00:00_TAI]{Br}"
    links = {link["title"]: link["url"] for link in links_of(ROW)}
    assert list(links) == ["JSOC", "Helioviewer", "SolarMonitor", "HEK"]
    assert parse_qs(urlparse(links["JSOC"]).query)["ds"] == [record_set(ROW)]
    assert parse_qs(urlparse(links["SolarMonitor"]).query) == {"date": ["20110215"], "region": ["11158"]}
    seen = parse_qs(urlparse(links["Helioviewer"]).query)
    assert seen["date"] == ["2011-02-15T01:59:26.000Z"]
    # by sunpy, from one astronomical unit: 203 arcseconds west and 221 south of the centre of the disk
    assert float(seen["centerX"][0]) == pytest.approx(203, abs=2) and float(seen["centerY"][0]) == pytest.approx(
        -221, abs=3
    )
    events = parse_qs(urlparse(links["HEK"]).query)
    assert events["event_starttime"] == ["2011-02-14T13:59:26"] and "fl" in events["event_type"][0]


def test_the_place_on_the_disk_is_that_of_sunpy():
    frames = pytest.importorskip("sunpy.coordinates.frames")
    import astropy.units as u
    from astropy.constants import R_sun, au
    from astropy.coordinates import SkyCoord

    seen_from = SkyCoord(
        0 * u.deg, ROW["b0_deg"] * u.deg, au, obstime=ROW["t_utc"], frame=frames.HeliographicStonyhurst
    )
    place = SkyCoord(
        ROW["longitude_deg"] * u.deg, ROW["latitude_deg"] * u.deg, R_sun, obstime=ROW["t_utc"],
        frame=frames.HeliographicStonyhurst,
    )  # fmt: skip
    wanted = place.transform_to(frames.Helioprojective(observer=seen_from, obstime=ROW["t_utc"]))
    seen = parse_qs(urlparse(links_of(ROW)[1]["url"]).query)
    assert float(seen["centerX"][0]) == pytest.approx(wanted.Tx.to_value(u.arcsec), abs=2)
    assert float(seen["centerY"][0]) == pytest.approx(wanted.Ty.to_value(u.arcsec), abs=2)


def test_the_line_that_fetches_it_is_one_the_command_line_takes():
    from typer.main import get_command

    from solquery.cli.root import app

    line = shlex.split(fetch_line(ROW, "my archive"))
    assert line[:2] == ["solquery", "fetch"]
    context = get_command(app).commands["fetch"].make_context("fetch", line[2:])
    assert context.params["harp"] == [377] and context.params["archive"] == "my archive"
    assert context.params["start"] == context.params["end"] == "2011-02-15"


@pytest.mark.parametrize("change", [{"source": "simulated"}, {"harpnum": None}])
def test_what_is_no_frame_of_a_sharp_has_no_record_there(change):
    row = {**ROW, **change}
    assert record_set(row) is None and fetch_line(row, "a") is None
    assert bool(links_of(row)) == (row["source"] == "real")


def test_frames_of_a_region_come_in_time_with_their_parameters(client, service):
    found = ok(client.post("/api/frames", json={"filters": {"region": "SIM 3-2"}})).json()
    times = [frame["t_utc"] for frame in found["frames"]]
    assert len(times) == found["of"] == 3 and times == sorted(times) and found["regions"] == 1
    assert all(frame["parameters"]["tuf"]["unit"] == "Mx" and not frame["links"] for frame in found["frames"])
    best = max(found["frames"], key=lambda frame: frame["mu"])
    assert found["best"] == best["id"]
    few = ok(client.post("/api/frames", json={"limit": 5})).json()
    assert len(few["frames"]) == 5 and few["of"] == 21
    none = ok(client.post("/api/frames", json={"filters": {"noaa": 99999}})).json()
    assert none["frames"] == [] and none["best"] is None


def test_regions_are_found_by_their_noaa_number(client, service):
    table = service.catalogue.archive.table(columns=["id", "noaa"]).to_pylist()
    number, name = next((row["noaa"][0], row["id"]) for row in table if row["noaa"])
    found = ok(client.post("/api/frames", json={"filters": {"noaa": number}})).json()
    assert name in {frame["id"] for frame in found["frames"]}
    assert all(number in frame["noaa"] for frame in found["frames"])
    assert found["frames"][0]["record_set"].startswith("hmi.sharp_cea_720s[") and found["frames"][0]["links"]


def test_a_text_is_read_for_the_page(client):
    asked = ok(client.post("/api/understand", json={"text": "NOAA 11158, leading positive, purple"})).json()
    assert [part["kind"] for part in asked["parts"]] == ["noaa", "word", "unknown"]
    assert asked["filters"]["noaa"] == 11158 and asked["describe"] == "leading positive" and asked["set"] == {}
    refused(client.post("/api/understand", json={"text": "x" * 500}), 422)


@pytest.mark.parametrize("by", ["embedding", "hybrid", "physics"])
def test_distances_of_the_archive_are_those_of_its_searches(service, by):
    """What a match is judged by must be measured as the match is."""
    catalogue = service.catalogue
    query = 4
    x = catalogue.picture(str(catalogue.index.ids[query]))
    found, _ = catalogue.search(x, 21, None, "none", str(catalogue.index.regions[query]), by)
    pairs = catalogue.session.closeness(by).pairs
    for match in found:
        assert np.abs(pairs - match.distance).min() < 0.02 * match.distance


@pytest.mark.parametrize("by", ["embedding", "hybrid", "physics"])
def test_a_distance_is_the_same_whatever_the_filter(client, by):
    body = {"z": latent(5), "k": 100, "group": "none", "by": by}
    whole = ok(client.post("/api/search", json=body)).json()["matches"]
    real = ok(client.post("/api/search", json={**body, "filters": {"source": "real"}})).json()["matches"]
    before = {match["id"]: match["distance"] for match in whole}
    assert len(real) == 3
    for match in real:
        assert match["distance"] == pytest.approx(before[match["id"]], rel=1e-5)


def test_matches_say_how_near_they_are_among_pairs(client, service):
    own = str(service.catalogue.ids[4])
    found = ok(client.post("/api/search", json={"patch": own, "k": 6, "by": "hybrid"})).json()
    assert found["close"] is True and found["matches"][0]["nearer"] == 1.0
    shares = [match["nearer"] for match in found["matches"]]
    assert shares == sorted(shares, reverse=True) and shares[-1] < 1.0
    assert found["matches"][0]["quality"] == 0 and "t_rec" in found["matches"][0]


def test_fluxes_differ_in_sigmas_of_the_logarithm(shipped_room):
    fitted = shipped_room.directions
    q, spread = fitted.quantile, {name: spread_of(fitted, name) for name in fitted.names}
    told = sigmas_apart(spread["tuf"], q("tuf", 16), q("tuf", 84))
    assert told["logarithm"] and told["sigmas"] == pytest.approx(2.0)
    twice = sigmas_apart(spread["tuf"], 1e22, 2e22)["sigmas"]
    assert twice == pytest.approx(sigmas_apart(spread["tuf"], 2e21, 4e21)["sigmas"]), "a factor is a factor"
    tilt = sigmas_apart(spread["tilt"], q("tilt", 16), q("tilt", 84))
    assert not tilt["logarithm"] and tilt["sigmas"] == pytest.approx(2.0)
    assert np.isfinite(sigmas_apart(spread["r"], 0.0, 1e21)["sigmas"]), "no flux at all is finitely far away"
    # many patches have no R: one of five times the 84th percentile is far away, and not by dozens of sigmas
    r = sigmas_apart(spread["r"], q("r", 84), 5.0 * q("r", 84))
    assert q("r", 16) == 0.0 and r["logarithm"] and 0.5 < r["sigmas"] < 3.0
    assert sigmas_apart(spread["psep"], float("nan"), 30.0)["sigmas"] is None


def test_a_match_within_the_band_of_the_query_is_said_to_be(shipped_room):
    """R of a generated patch is known to a factor: a match within it is not so many sigmas away, it may be the same."""
    asked = SearchIn.model_validate({"z": latent(3, shipped_room.model.generator.latent_dim), "k": 8})
    found = shipped_room.search(asked)
    mine, said = found["query"]["parameters"], []
    for match in found["matches"]:
        for name, apart in match["difference"].items():
            own = mine[name]
            if own.get("low") is None or apart["value"] is None:
                assert apart["within"] is None
                continue
            value = own["value"] + apart["value"]
            assert apart["within"] is (own["low"] <= value <= own["high"]), name
            said.append(apart["within"])
    assert any(said) and not all(said)


def test_a_file_without_a_field_is_told_and_not_inverted(client):
    document = ok(client.post("/api/patch?name=nothing.fits", content=empty_file())).json()
    assert document["empty"] is True
    said = refused(client.post(f"/api/invert?patch={document['id']}"), 422, "invalid")
    assert "no field" in said and "open another file" in said
    assert read_upload(empty_file(), "nothing.fits").field.shape == (80, 160)


def test_out_of_reach_says_what_can_be_had(client, model):
    body = {"z": latent(1), "set": {"tuf": 1e30}}
    error = client.post("/api/edit", json=body).json()["error"]
    assert error["kind"] == "out of reach"
    nearest = error["nearest"]["tuf"]
    ok(client.post("/api/edit", json={"z": latent(1), "set": {"tuf": nearest}}))
    made = ok(client.post("/api/generate", json={"set": {"tuf": 1e30}, "nearest": True})).json()["answers"][0]
    assert made["verdict"] == "nearest" and made["measured"]["tuf"]["value"] > model.directions.quantile("tuf", 90)


def test_messages_call_fields_as_people_do(client):
    body = {"z": latent(1), "filters": {"latitude_deg": {"low": 5, "high": 1}}}
    assert refused(client.post("/api/search", json=body), 422) == "latitude: low must not exceed high"
    body = {"z": latent(1), "filters": {"parameters": {"tuf": {"low": 5, "high": 1}}}}
    assert refused(client.post("/api/search", json=body), 422).startswith("Total unsigned flux: ")
    assert "number of matches" in refused(client.post("/api/search", json={"z": latent(1), "k": 0}), 422)
