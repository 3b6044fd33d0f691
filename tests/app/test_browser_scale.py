"""The page in a real browser: one scale and one uncertainty, what limits numbers and pictures, and lassos."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from page_driver import MARKS, box, choose, rest, state, until

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def test_a_slider_speaks_of_the_native_scale_and_tells_the_grids_number_on_request(opened):
    page = opened()
    link = re.search(r"z=([\w-]+)", page.url)[1]
    made = page.evaluate(
        "z => fetch('/api/edit', { method: 'POST', headers: { 'content-type': 'application/json' },"
        " body: JSON.stringify({ z }) }).then((r) => r.json()).then((d) => d.measured.tuf)",
        link,
    )
    assert box(page, "tuf") == pytest.approx(made["value"], rel=1e-3) and made["grid"]["value"] < made["value"]
    band = page.inner_text("[data-name=tuf] .worth")
    low, high = (float(text) for text in re.search(r"\(([\d.]+) to ([\d.]+)\)×10²", band).groups())
    assert low / high == pytest.approx(made["low"] / made["high"], rel=0.02)
    assert "grid" not in page.inner_text("#params")
    page.click("[data-name=tuf] .symbol")
    told = page.inner_text("#about-param")
    assert "native (HMI) scale" in told and "On the grid of the model it is" in told and "two thirds" in told


def test_an_observation_has_its_measured_values_with_their_errors(opened):
    page = opened()
    page.fill("#describe", "HARP 115")
    page.press("#describe", "Enter")
    until(page, "document.getElementById('title').textContent.startsWith('HARP 115')")
    until(page, "document.querySelector('[data-name=tuf] .worth').textContent.includes('±')")
    name = re.search(r"id=([\w-]+)", page.url)[1]
    record = page.evaluate("id => fetch('/api/patch/' + id).then((r) => r.json())", name)
    worth = page.inner_text("[data-name=tuf] .worth")
    digits = float(re.search(r"observed \(([\d.]+) ± [\d.]+\)×10²²", worth).group(1))
    assert digits * 1e22 == pytest.approx(record["parameters"]["tuf"]["value"], rel=5e-3)
    page.click("[data-name=tuf] .symbol")
    told = page.inner_text("#about-param")
    assert "own quiet pixels" in told
    # a line-of-sight field has none of what the inversion adds to a radial one
    assert record["quantity"] == "line-of-sight" and "filling factor" not in told


def test_what_limits_an_observation_stands_on_its_picture_and_beside_its_matches(opened):
    page = opened()
    choose(page, "source", "real")
    rest(page)
    marked = page.evaluate(
        "() => Promise.all([...document.querySelectorAll('.match')].map(async (n) => {"
        "const d = await (await fetch('/api/patch/' + n.dataset.id)).json();"
        "return [n.dataset.id, d.quantity, d.caveats.length, n.querySelectorAll('.mark-').length,"
        " n.querySelector('.marks').textContent]; }))"
    )
    assert marked
    for _, quantity, limits, marks, text in marked:
        assert marks >= 1 + limits and ("radial field" if quantity == "radial" else "line of sight") in text
    page.click(".match .use")
    until(page, "document.getElementById('kind').textContent === 'real'")
    rest(page)
    kind = page.inner_text("#limits .mark- >> nth=0")
    assert kind.startswith(("radial field", "line of sight"))
    inside = page.evaluate("document.querySelector('.frame').contains(document.getElementById('limits'))")
    assert inside, "on the picture, which it does not move"


def test_the_kind_of_field_is_a_filter_that_the_link_keeps(opened):
    page = opened()
    page.click("#filters summary")
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        page.select_option("#f-quantity", "line-of-sight")
    rest(page)
    found = answer.value.json()
    assert "quantity = 'line-of-sight'" in found["where"] and found["candidates"] > 0
    assert {match["quantity"] for match in found["matches"]} == {"line-of-sight"}
    assert "of another kind" in page.get_attribute(".match .mark-", "title"), "a generated patch is a radial field"
    other = opened(hash="#" + page.url.partition("#")[2])
    assert other.input_value("#f-quantity") == "line-of-sight" and state(other)["matches"] == state(page)["matches"]
    page.fill("#describe", "radial")
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        page.press("#describe", "Enter")
    assert "quantity = 'radial'" in answer.value.json()["where"]


def ring(page, selector, share=0.28):
    """Draw a line around the middle of a plot."""
    page.locator(selector).scroll_into_view_if_needed()
    frame = page.locator(selector).bounding_box()
    x, y = frame["x"] + 0.55 * frame["width"], frame["y"] + 0.45 * frame["height"]
    points = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -0.8)]
    at = [(x + share * frame["width"] * u, y + share * frame["height"] * v) for u, v in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for (x0, y0), (x1, y1) in pairwise(at):
        for k in range(1, 6):
            page.mouse.move(x0 + (x1 - x0) * k / 5, y0 + (y1 - y0) * k / 5)
    page.mouse.up()


@pytest.mark.parametrize("plot", ["cloud", "space"])
def test_a_line_drawn_around_dots_limits_the_matches(opened, plot):
    page = opened()
    everything = int(re.search(r"[\d,]+", page.inner_text("#count"))[0])
    if plot == "cloud":
        page.check("#lasso")
        page.check("#log")
    else:
        page.click("#space-box summary")
        until(page, "document.getElementById('space-axes').textContent.includes('patches')")
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        ring(page, f"#{plot}")
    rest(page)
    lasso = answer.value.request.post_data_json["filters"]["lasso"]
    assert len(lasso["points"]) >= 5 and lasso.get("x") == ("tuf" if plot == "cloud" else None)
    assert 0 < answer.value.json()["candidates"] < everything
    assert "encircled" in page.inner_text("#f-active")
    other = opened(hash="#" + page.url.partition("#")[2])
    assert other.inner_text("#count") == page.inner_text("#count")
    page.click("#f-active .chip")
    rest(page)
    assert int(re.search(r"[\d,]+", page.inner_text("#count"))[0]) == everything


def test_links_are_those_of_the_address_that_the_server_was_told(opened, shipped_room):
    shipped_room.public_url = "https://sun.example.org/solquery/"
    try:
        page = opened()
    finally:
        shipped_room.public_url = None
    page.click("#take")
    page.click("#get-link")
    until(page, "document.getElementById('take-said').textContent.startsWith('Copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == "https://sun.example.org/solquery/" + page.evaluate("location.hash")


def test_fifty_thousand_patches_are_drawn_and_each_can_be_chosen(opened):
    page = opened()
    page.route("**/api/space?*", many)
    page.locator("#space-box summary").scroll_into_view_if_needed()
    page.click("#space-box summary")
    until(page, "document.getElementById('space-axes').textContent.startsWith('50,000 patches')")
    page.locator("#space").scroll_into_view_if_needed()
    frame = page.locator("#space").bounding_box()
    page.mouse.move(frame["x"] + 0.5 * frame["width"], frame["y"] + 0.45 * frame["height"])
    said = page.inner_text("#space-said")
    assert re.match(r"p\d+: TUF ", said)
    page.mouse.move(frame["x"] + 0.6 * frame["width"], frame["y"] + 0.5 * frame["height"])
    assert page.inner_text("#space-said") != said


def many(route):
    """The answer of an archive of 50,000 patches."""
    import json

    import numpy as np

    rng = np.random.default_rng(0)
    points = np.round(rng.normal(size=(50_000, 2)), 4)
    body = {
        "content": "c", "ids": [f"p{k}" for k in range(50_000)], "regions": ["r"] * 50_000, "real": [False] * 50_000,
        "points": points.tolist(), "values": np.round(rng.lognormal(50, 1, 50_000), 3).tolist(), "column": "tuf",
        "explained": 0.5, "of": 50_000,
    }  # fmt: skip
    route.fulfill(status=200, content_type="application/json", body=json.dumps(body))
