"""The page in a real browser: links, comparing, taking away, and what happens when something is not there."""

from __future__ import annotations

import csv
import io
import re

import pytest
from page_driver import MARKS, choose, drag, picture, released, rest, state, until

from solquery.model import Model
from solquery.patch import MX_PER_G_MM2

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def test_a_link_opens_to_the_same(opened):
    page = opened()
    released(page, drag(page, "tuf", 0.6))
    page.click("[data-name=psep] .lock")
    choose(page, "palette", "hmi")
    page.check("#pil")
    page.uncheck("#group")
    page.click("#filters summary")
    page.fill("#f-mu", "0.4")
    with page.expect_response(lambda r: "/api/search" in r.url):
        page.press("#f-mu", "Tab")
    rest(page)
    page.click("#take")
    page.click("#get-link")
    until(page, "document.getElementById('take-said').textContent !== ''")
    link = page.evaluate("navigator.clipboard.readText()")
    page.keyboard.press("Escape")
    other = opened(hash="#" + link.partition("#")[2])
    assert state(other) == state(page)
    assert other.input_value("#f-mu") == "0.4" and not other.is_checked("#group")


def test_what_is_compared_can_be_chosen_and_is_in_the_link(opened):
    page = opened()
    assert page.is_checked("[name=by][value=embedding]")  # as in Python and on the command line
    choose(page, "by", "hybrid")
    rest(page)
    both = state(page)["matches"]
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        choose(page, "by", "embedding")
    rest(page)
    assert answer.value.request.post_data_json["by"] == "embedding" and "by=embedding" in page.url
    look = state(page)["matches"]
    assert look != both
    other = opened(hash="#" + page.url.partition("#")[2])
    assert other.is_checked("[name=by][value=embedding]") and state(other)["matches"] == look
    # a link of before has the former name
    former = opened(hash="#" + page.url.partition("#")[2].replace("by=embedding", "by=ssl"))
    assert former.is_checked("[name=by][value=embedding]") and state(former)["matches"] == look
    page.click("#undo")
    rest(page)
    assert page.is_checked("[name=by][value=hybrid]") and state(page)["matches"] == both


def test_a_link_to_a_forgotten_upload_shows_what_was_made_of_it(opened):
    page = opened()
    z = re.search(r"z=([\w-]+)", page.url)[1]
    other = opened(hash=f"#upload=upload-0&name=mine.fits&z={z}")
    assert picture(other) == picture(page) and "mine.fits" in other.inner_text("#title")
    assert "not part of the link" in other.inner_text("#notice")


@pytest.mark.parametrize(
    "hash", ["#z=%%%", "#z=AAAA", "#id=nobody", "#upload=upload-0&name=x", "#k=-5&limit=x&where=tuf:"]
)
def test_a_damaged_link_opens_to_something_sound(opened, hash):
    page = opened(hash=hash)
    assert page.inner_text("#kind") == "generated" and state(page)["matches"]


def test_two_patches_are_compared_blinked_and_differenced(opened):
    page = opened()
    page.click("#compare")
    page.wait_for_selector("#compare-table tbody tr")
    side = page.evaluate("document.getElementById('canvas-a').toDataURL()")
    assert page.is_visible("#canvas-b") and "pair=" in page.url
    choose(page, "how", "blink")
    until(page, "!document.querySelector('#canvas-b').checkVisibility()")
    frames = set()
    for _ in range(2):
        page.click("#swap")
        page.wait_for_timeout(100)
        frames.add(page.evaluate("document.getElementById('canvas-a').toDataURL()"))
    assert len(frames) == 2
    choose(page, "how", "difference")
    until(page, "document.getElementById('compare-said').textContent.includes('B − A')")
    assert page.evaluate("document.getElementById('canvas-a').toDataURL()") not in {side, *frames}
    again = opened(hash="#" + page.url.partition("#")[2])
    again.wait_for_selector("#compare-table tbody tr")
    assert again.is_checked("[name=how][value=difference]")


def test_it_is_taken_away_as_fits_csv_and_png(opened, tmp_path):
    page = opened()
    # the file holds the field of the grid, whose number the page tells on request
    tuf = page.evaluate(
        "z => fetch('/api/edit', { method: 'POST', headers: { 'content-type': 'application/json' },"
        " body: JSON.stringify({ z }) }).then((r) => r.json()).then((d) => d.measured.tuf.grid.value)",
        re.search(r"z=([\w-]+)", page.url)[1],
    )
    page.click("#take")
    saved = {}
    for kind in ("fits", "csv", "png"):
        with page.expect_download() as download:
            page.click(f"#get-{kind}")
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    rows = list(csv.DictReader(io.StringIO(saved["csv"].read_text())))
    page.keyboard.press("Escape")
    assert [row["id"] for row in rows] == state(page)["matches"] and float(rows[0]["tuf [Mx]"]) > 0
    assert saved["png"].read_bytes()[:4] == b"\x89PNG"
    sunpy = pytest.importorskip("sunpy.map")
    seen = sunpy.Map(saved["fits"])
    assert seen.meta["source"] == "generated" and seen.data.shape == Model.load().preset.shape
    pixel_mx = Model.load().preset.scale_mm[0] ** 2 * MX_PER_G_MM2
    flux = abs(seen.data.astype(float)).sum() * pixel_mx
    assert abs(flux - tuf) < 0.001 * tuf, "the file holds the patch on the screen"


def test_the_numbers_beside_a_match_are_native_on_the_grid_or_a_difference(opened):
    page = opened()
    native = page.inner_text(".match .values dd span")
    page.click("#display summary")
    page.select_option("#numbers", "difference")
    gap = page.inner_text(".match .values dd span")
    assert re.match(r"[+−]?\d", gap) and gap != native and "numbers=difference" in page.url
    assert opened(hash="#" + page.url.partition("#")[2]).inner_text(".match .values dd span") == gap


def test_it_says_that_the_server_is_gone_and_goes_on_when_it_is_back(opened):
    page = opened()
    before = state(page)
    page.context.set_offline(True)
    page.fill("[data-name=tuf] .value", "9e21")
    page.press("[data-name=tuf] .value", "Enter")
    until(page, "document.getElementById('notice').textContent.includes('does not answer')")
    assert picture(page) == before["picture"], "what was seen stays to be seen"
    page.context.set_offline(False)
    until(page, "document.getElementById('notice').textContent.includes('answers again')")
    rest(page)
    assert state(page) == before
