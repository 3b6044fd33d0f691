"""The page in a real browser: finding by a line of text, frames in time, pictures, and ways out to the field."""

from __future__ import annotations

import csv
import io
import re

import pytest
from page_driver import CONTRAST, MARKS, box, choose, drag, picture, released, rest, say, state, until

from solquery.model import Model

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def pieces(page, kind):
    return page.eval_on_selector_all(f"#understood .{kind}", "nodes => nodes.map((n) => n.firstChild.textContent)")


def test_a_region_is_found_and_its_frames_lie_in_time(opened):
    page = opened()
    say(page, "SIM 3-2")
    until(page, "document.getElementById('title').textContent.startsWith('SIM 3-2')")
    until(page, "document.querySelectorAll('#strip button').length === 3")
    assert pieces(page, "region") == ["SIM 3-2"]
    assert page.inner_text("#time-of").startswith("3 frames of SIM 3-2")
    assert len(page.query_selector_all("#curves svg")) == 3
    when = page.inner_text("#now")
    page.focus("#strip")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    rest(page)
    link = page.url
    other = opened(hash="#" + link.partition("#")[2])
    until(other, "document.querySelectorAll('#strip button').length === 3")
    assert other.inner_text("#now") == page.inner_text("#now") != when


def test_frames_play_and_the_query_stays(opened):
    page = opened()
    say(page, "SIM 3-2")
    until(page, "document.querySelectorAll('#strip button').length === 3")
    # the link holds the latent vector once it is found
    until(page, "document.getElementById('stop').hidden && location.hash.includes('z=')")
    rest(page)
    query = page.url
    page.focus("#strip")
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    first = picture(page)
    page.click("#play")
    until(
        page, "document.getElementById('when').value === '2' && document.getElementById('play').textContent === 'Play'"
    )
    assert picture(page) != first and page.url == query


def test_a_text_finds_and_makes_at_once_and_says_what_it_did_not_understand(opened):
    page = opened()
    say(page, "strong purple bipole, leading positive, real")
    assert pieces(page, "word") == ["strong", "bipole", "leading positive"]
    assert pieces(page, "unknown") == ["purple"] and page.query_selector("#understood s")
    assert page.inner_text("#kind") == "generated" and page.is_checked("[name=p-polarity][value='1']")
    kinds = page.eval_on_selector_all(".match .badge", "nodes => nodes.map((n) => n.textContent)")
    assert set(kinds) == {"real"} and page.is_checked("[name=source][value=real]")
    say(page, "flux 5e21")
    assert abs(box(page, "flux") - 5e21) < 0.1 * 5e21 and "asked" in page.inner_text("[data-name=flux] .note")


def test_what_is_not_in_the_archive_is_said_with_how_to_get_it(opened):
    page = opened()
    before = state(page)
    say(page, "NOAA 12673")
    assert "solquery fetch --archive DIR --noaa 12673" in page.inner_text("#notice")
    assert state(page) == before and page.input_value("#describe") == "NOAA 12673"


def test_matches_say_how_near_they_are_and_are_sorted_as_asked(opened):
    page = opened()
    near = page.eval_on_selector_all(".near", "nodes => nodes.map((n) => n.textContent)")
    assert all(re.match(r"nearer than [\d.]+ % · distance [\d.]+", text) for text in near)
    page.select_option("#sort", "tuf")
    values = page.eval_on_selector_all(
        ".match .values dd:nth-of-type(1) span", "nodes => nodes.map((n) => n.textContent)"
    )
    assert values and "sort=tuf" in page.url
    order = state(page)["matches"]
    other = opened(hash="#" + page.url.partition("#")[2])
    assert state(other)["matches"] == order
    page.select_option("#sort", "distance")
    ranks = page.eval_on_selector_all(".match .rank", "nodes => nodes.map((n) => Number(n.textContent))")
    assert ranks == list(range(1, len(ranks) + 1))


def test_nothing_close_is_said(opened):
    page = opened()
    assert page.is_hidden("#found-said") or "Nothing close" in page.inner_text("#found-said")
    page.evaluate("""() => {
      const real = window.fetch;
      window.fetch = async (path, options) => {
        const answer = await real(path, options);
        if (!String(path).includes('/api/search')) return answer;
        return new Response(JSON.stringify({ ...(await answer.json()), close: false }), { status: 200 });
      };
    }""")
    choose(page, "by", "physics")
    rest(page)
    assert "Nothing close in this archive" in page.inner_text("#found-said")


def test_pictures_are_large_cropped_and_shown_beside_the_query(opened):
    page = opened()
    choose(page, "cards", "grid")
    page.evaluate(
        "(() => { const s = document.getElementById('size'); s.value = 160; s.dispatchEvent(new Event('input')); })()"
    )
    wide = page.locator(".match .thumb").first.bounding_box()["width"]
    # of the area of a square of 160 pixels, and as much more as fills the row
    height, width = Model.load().preset.shape
    least = 160 * (width / height) ** 0.5
    assert least - 20 <= wide <= 2 * least and "cards=grid" in page.url and "size=160" in page.url
    page.hover(".match .thumb")
    page.wait_for_selector("#hover:not([hidden])")
    large, query = page.locator("#hover").bounding_box(), page.locator("#patch").bounding_box()
    assert large["width"] > 250
    assert large["x"] + large["width"] <= query["x"] or large["x"] >= query["x"] + query["width"], "beside, not over"
    page.hover("h1")
    page.wait_for_selector("#hover", state="hidden")


def test_arrow_keys_go_through_the_matches_when_comparing(opened):
    page = opened()
    page.click("#compare")
    page.wait_for_selector("#compare-table tbody tr")
    order = page.eval_on_selector_all("#pick-b option", "nodes => nodes.map((n) => n.value)")
    page.focus("#compare-box button")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#pick-b") == order[2]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#pick-b") == order[2]


def test_real_matches_lead_out_to_the_field(opened, tmp_path):
    page = opened()
    choose(page, "source", "real")
    rest(page)
    card = "[data-id^='sharp-115'] .links a"
    titles = page.eval_on_selector_all(card, "nodes => nodes.map((n) => n.textContent)")
    assert titles == ["JSOC", "Helioviewer", "SolarMonitor", "HEK"]
    kinds = page.eval_on_selector_all(card, "nodes => nodes.map((n) => n.target + n.rel)")
    assert set(kinds) == {"_blanknoreferrer noopener"}
    page.click("#take")
    page.click("#get-list")
    until(page, "document.getElementById('take-said').textContent.includes('Copied')")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines == ["115\t2010.08.07_20:36:00_TAI"], "the others are no frames of a SHARP"
    page.click("#get-fetch")
    until(page, "document.getElementById('take-said').textContent.includes('command line')")
    assert page.evaluate("navigator.clipboard.readText()").startswith("solquery fetch --archive ")
    with page.expect_download() as download:
        page.click("#get-csv")
    download.value.save_as(tmp_path / "m.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "m.csv").read_text())))
    assert {"t_rec", "quantity", "quality", "mu"} <= set(rows[0]) and rows[0]["t_rec"].endswith("TAI")


def test_all_but_one_value_are_held(opened):
    page = opened()
    page.click("[data-name=psep] .only")
    assert set(state(page)["locked"]) == {"flux", "r", "tilt", "polarity"}
    tilt = box(page, "tilt")
    released(page, drag(page, "psep", 0.5))
    assert abs(box(page, "tilt") - tilt) < 10
    page.click("[data-name=psep] .only")
    assert state(page)["locked"] == []


def test_the_nearest_matches_follow_the_hand(opened):
    page = opened()
    before = state(page)["matches"]
    with page.expect_response(lambda r: "/api/search" in r.url and '"k":4' in r.request.post_data):
        up = drag(page, "tuf", 0.1)
    until(page, "document.querySelector('.match.before')")
    assert state(page)["matches"] != before
    released(page, up)
    assert page.query_selector(".match.before") is None


def test_five_sliders_fit_a_small_laptop_and_matches_come_before_maps_on_a_phone(opened):
    page = opened()
    page.set_viewport_size({"width": 1280, "height": 800})
    rows = page.eval_on_selector_all("#params .param", "nodes => nodes.map((n) => n.getBoundingClientRect().bottom)")
    assert len(rows) == 5 and max(rows) <= 800
    phone = opened("phone")
    tops = "['found', 'maps'].map((id) => document.getElementById(id).getBoundingClientRect().top)"
    found, maps = phone.evaluate(tops)
    assert found < maps
    say(phone, "SIM 3-2")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the side"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_was_found_can_be_read(opened, scheme):
    page = opened(scheme=scheme)
    say(page, "SIM 3-2, purple")
    until(page, "!document.getElementById('time').hidden")
    choose(page, "cards", "grid")
    assert page.evaluate(CONTRAST) == []


def test_matches_are_kept_in_lists_that_are_in_the_link_and_taken_away(opened, tmp_path):
    page = opened()
    first, second = state(page)["matches"][:2]
    page.click(".match:nth-child(1) .star")
    page.fill("#list", "bipoles")
    page.press("#list", "Tab")
    page.click(".match:nth-child(1) .star")
    page.click(".match:nth-child(2) .star")
    link = page.url.partition("#")[2]
    other = opened(hash=f"#{link}")
    stars = "nodes => nodes.map((n) => n.closest('.match').dataset.id)"
    assert other.eval_on_selector_all(".star[aria-pressed=true]", stars) == [first, second]
    assert other.input_value("#list") == "bipoles"
    other.click("#take")
    with other.expect_download() as download:
        other.click("#get-kept")
    download.value.save_as(tmp_path / "k.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "k.csv").read_text())))
    assert [row["id"] for row in rows] == [first, second] and float(rows[0]["tuf [Mx]"]) > 0
    with other.expect_download() as download:
        other.click("#get-sheet")
    assert download.value.suggested_filename == "bipoles.png"
    other.keyboard.press("Escape")
    other.fill("#list", "kept")
    other.press("#list", "Tab")
    assert other.eval_on_selector_all(".star[aria-pressed=true]", stars) == [first]


def test_more_and_less_like_some_matches_rank_them_anew(opened):
    page = opened()
    before = state(page)["matches"]
    last = before[-1]
    with page.expect_response(lambda r: "/api/search" in r.url and last in r.request.post_data):
        page.click(".match:last-child .more")
    rest(page)
    assert state(page)["matches"].index(last) < len(before) - 1, "an example comes nearer"
    first = state(page)["matches"][0]
    with page.expect_response(lambda r: "/api/search" in r.url):
        page.click(".match:first-child .less")
    rest(page)
    assert first not in state(page)["matches"]
    link = page.url.partition("#")[2]
    assert state(opened(hash=f"#{link}"))["matches"] == state(page)["matches"]
    for _ in range(2):
        page.click("#undo")
        rest(page)
    assert state(page)["matches"] == before


def sweep(page, selector, start, end):
    """Drag over a plot, in shares of its box."""
    page.locator(selector).first.scroll_into_view_if_needed()
    frame = page.locator(selector).first.bounding_box()

    def at(share):
        return frame["x"] + share[0] * frame["width"], frame["y"] + share[1] * frame["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    for k in range(1, 5):
        page.mouse.move(*at([a + (b - a) * k / 4 for a, b in zip(start, end, strict=True)]))
    page.mouse.up()


def test_a_range_is_dragged_on_a_histogram_and_in_the_cloud(opened):
    page = opened()
    query = page.inner_text("#title")
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        sweep(page, "[data-name=tuf] .track svg", (0.3, 0.3), (0.7, 0.3))
    rest(page)
    limits = answer.value.request.post_data_json["filters"]["parameters"]["tuf"]
    found = answer.value.json()
    assert 0 < found["candidates"] < 21
    assert all(limits["low"] <= match["parameters"]["tuf"]["value"] <= limits["high"] for match in found["matches"])
    assert "TUF" in page.inner_text("#f-active") and "grid" not in page.inner_text("#f-active")
    assert opened(hash="#" + page.url.partition("#")[2]).inner_text("#count") == page.inner_text("#count")
    page.click("#f-active .chip")
    rest(page)
    page.check("#log")
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        sweep(page, "#cloud", (0.25, 0.1), (0.7, 0.7))
    rest(page)
    grid = answer.value.request.post_data_json["filters"]["parameters"]
    assert set(grid) == {"tuf", "psep"} and grid["tuf"]["low"] > 0
    for match in answer.value.json()["matches"]:
        assert all(grid[n]["low"] <= match["parameters"][n]["value"] <= grid[n]["high"] for n in grid)
    assert page.inner_text("#title") == query, "a drag is no click"


def test_the_archive_as_the_encoder_sees_it(opened):
    page = opened()
    page.locator("#space-box summary").scroll_into_view_if_needed()
    page.click("#space-box summary")
    until(page, "document.getElementById('space-axes').textContent.startsWith('21 patches')")
    drawn = page.evaluate("document.getElementById('space').toDataURL()")
    page.select_option("#space-column", "psep")
    until(page, "old => document.getElementById('space').toDataURL() !== old", arg=drawn)
    page.focus("#space")
    for key in ("ArrowUp", "ArrowRight", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
    said = page.inner_text("#space-said")
    assert "PSEP" in said
    page.wait_for_selector("#hover:not([hidden])")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('kind').textContent !== 'generated'")
    assert f"id={said.partition(':')[0]}" in page.url
