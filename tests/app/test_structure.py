"""Search by structure from the API and the page: a line-of-sight observation finds the radial frame of its region."""

from __future__ import annotations

import dataclasses

import pytest
from answers import ok
from page_driver import MARKS, choose, rest, until

from solquery.app import Service, create_app
from solquery.simulator import simulate_region

pytestmark = pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")


@pytest.fixture(scope="module")
def twins():
    """The second frames of three regions of the archive, along the line of sight."""
    both = [simulate_region(seed=3, index=k, frames=3, quantity=("radial", "line-of-sight")) for k in (0, 2, 5)]
    return [[patch for patch in frames if patch.quantity == "line-of-sight"][1] for frames in both]


@pytest.fixture(scope="module")
def asking(shipped_room):
    from starlette.testclient import TestClient

    with TestClient(create_app(shipped_room), base_url="http://127.0.0.1") as client:
        yield client


def sent(client, patch, name):
    """The id under which the server remembers a patch that is sent as a file."""
    return ok(client.post("/api/patch", params={"name": name}, content=Service.fits_bytes(patch))).json()["id"]


def test_a_line_of_sight_file_finds_its_region_among_radial_fields(asking, shipped_room, twins):
    radial = {"filters": {"quantity": "radial"}, "by": "structure", "k": 4}
    for k, patch in enumerate(twins):
        upload = sent(asking, patch, f"twin-{k}.fits")
        found = ok(asking.post("/api/search", json={"upload": upload, **radial})).json()
        assert found["matches"][0]["region"] == patch.region and found["query"]["as_radial"] is True
        # the same distances as the library gives, and a condition takes none of them away
        told = shipped_room.catalogue.session.search(shipped_room.patch(upload), 100, by="structure", group="none")
        apart = {match.id: match.distance for match in told}
        assert [m["distance"] for m in found["matches"]] == pytest.approx([apart[m["id"]] for m in found["matches"]])
        assert found["matches"][0]["nearer"] > 0.9 and found["matches"][-1]["nearer"] < found["matches"][0]["nearer"]
        assert "--by structure" in found["recipe"]["cli"]
        assert "solquery.search(archive, model, patch," in found["recipe"]["python"]


def test_a_file_without_its_place_is_compared_as_it_is_and_that_is_told(asking, shipped_room, twins):
    lost = dataclasses.replace(twins[0], mu=float("nan"), latitude_deg=float("nan"), longitude_deg=float("nan"))
    upload = shipped_room.uploads.keep(lost)
    with pytest.warns(UserWarning, match="as it is"):
        found = ok(asking.post("/api/search", json={"upload": upload, "by": "structure"})).json()
    assert found["query"]["as_radial"] is False and found["matches"]


def test_structure_takes_examples_and_a_lasso(asking, shipped_room):
    ids = [str(one) for one in shipped_room.catalogue.ids]
    body = {"patch": ids[0], "by": "structure", "k": 100, "group": "none"}
    plain = ok(asking.post("/api/search", json=body)).json()["matches"]
    assert plain[0]["id"] == ids[0] and len(plain) == len(ids)
    wanted = plain[-1]["id"]
    more = [m["id"] for m in ok(asking.post("/api/search", json={**body, "more": [wanted]})).json()["matches"]]
    assert more.index(wanted) < len(ids) - 1
    box = {"x": "tuf", "y": "psep", "points": [[-1e30, -1e9], [1e30, -1e9], [1e30, 1e9], [-1e30, 1e9]]}
    inside = ok(asking.post("/api/search", json={**body, "filters": {"lasso": box}})).json()["matches"]
    known = {m["id"] for m in plain if None not in (m["parameters"]["tuf"]["value"], m["parameters"]["psep"]["value"])}
    assert {m["id"] for m in inside} == known


class TestOnThePage:
    """In a browser."""

    pytestmark = MARKS

    def test_the_page_says_that_structure_suits_a_line_of_sight_file(self, opened, twins):
        page = opened()
        assert page.is_hidden("#by-said")
        file = {"name": "los.fits", "mimeType": "application/fits", "buffer": Service.fits_bytes(twins[0])}
        page.set_input_files("#open", file)
        until(page, "!document.getElementById('by-said').hidden")
        assert "line of sight" in page.inner_text("#limits"), "of a simulated one too"
        assert "line-of-sight field" in page.inner_text("#by-said")
        with page.expect_response(
            lambda r: "/api/search" in r.url and '"by":"structure"' in (r.request.post_data or "")
        ):
            page.click("#by-structure")
        rest(page)
        assert page.evaluate("document.activeElement.value") == "structure", "the keyboard is not lost"
        assert "estimate of its own radial field" in page.inner_text("#by-said") and page.is_hidden("#by-structure")
        assert twins[0].region in page.inner_text(".match >> nth=0")
        assert "by=structure" in page.evaluate("location.hash")
        # compared again, the order is that of the correlations, and the page keeps it
        ranks = page.eval_on_selector_all(".match .rank", "nodes => nodes.map((n) => Number(n.textContent))")
        assert ranks == list(range(1, len(ranks) + 1))
        near = page.eval_on_selector_all(".match .near", "nodes => nodes.map((n) => n.textContent)")
        found = [float(text.rpartition("correlation ")[2]) for text in near]
        assert found == sorted(found, reverse=True) and found[0] > 0.5

    def test_structure_is_in_the_link_and_leaves_no_word_behind(self, opened):
        page = opened()
        with page.expect_response(lambda r: '"by":"structure"' in (r.request.post_data or "")):
            choose(page, "by", "structure")
        rest(page)
        assert page.is_hidden("#by-said"), "a generated query has no kind of its own"
        again = opened(hash=page.evaluate("location.hash"))
        assert again.is_checked("[name=by][value=structure]")
        listed = "nodes => nodes.map((n) => n.dataset.id)"
        assert again.eval_on_selector_all(".match", listed) == page.eval_on_selector_all(".match", listed)
