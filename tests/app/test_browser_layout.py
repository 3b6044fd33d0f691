"""The page in a real browser: nothing moves the picture, no text is squeezed, and tables can be read whole."""

from __future__ import annotations

import re

import pytest
from empty_fits import empty_file
from page_driver import MARKS, rest, say, until

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def edges(page, selector):
    return page.eval_on_selector(selector, "n => { const b = n.getBoundingClientRect(); return [b.top, b.bottom]; }")


def test_a_warning_lies_on_the_picture_and_does_not_move_it(opened):
    page = opened()
    before = edges(page, "#patch")
    page.set_input_files("#open", {"name": "nothing.fits", "mimeType": "application/fits", "buffer": empty_file()})
    until(page, "document.getElementById('verdict').textContent.includes('holds no field')")
    rest(page)
    warning = page.locator("#limits .strong-", has_text="it holds no field")
    assert warning.is_visible() and edges(page, "#patch")[0] == before[0]
    # as wide as the picture at most, and all of it is seen
    assert warning.evaluate("n => n.scrollWidth <= n.parentElement.clientWidth && n.scrollHeight <= n.offsetHeight + 2")


def test_a_page_of_middle_width_has_matches_before_maps_and_no_squeezed_text(opened):
    page = opened()
    page.set_viewport_size({"width": 768, "height": 1024})
    page.wait_for_timeout(200)
    assert edges(page, "#found")[1] <= edges(page, "#maps")[0]
    top, bottom = edges(page, "#cursor")
    assert bottom - top < 50, "two lines at most"
    box = page.locator("#describe").bounding_box()
    assert box["width"] > 220, "room for what is typed"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("document.getElementById('stage').contains(document.getElementById('maps'))")


def test_close_stays_in_reach_in_a_dialog_that_is_longer_than_the_screen(opened):
    page = opened("phone")
    page.click("#compare")
    page.wait_for_selector("#compare-table tbody tr")
    page.eval_on_selector("#compare-box", "n => { n.scrollTop = n.scrollHeight; }")
    assert page.eval_on_selector("#compare-box", "n => n.scrollTop > 100")
    top, bottom = edges(page, "#compare-box form[method=dialog] button")
    assert 0 <= top < bottom < 150
    page.locator("#compare-box form[method=dialog] button").click()
    assert page.is_hidden("#compare-box")


def test_heads_keep_to_one_line_on_a_phone_and_at_middle_width(opened):
    page = opened()
    with page.expect_response(lambda r: "/api/search" in r.url and '"source":"real"' in (r.request.post_data or "")):
        page.click("label:has([name=source][value=real]) span")
    rest(page)
    middle = {}
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        for selector in (
            "#found-h",
            "#compare",
            "[name=by][value=embedding] + span",
            "[name=by][value=structure] + span",
        ):
            middle[selector] = sum(edges(page, selector)) / 2
        assert "that pass" in page.inner_text("#count")
        assert middle["#found-h"] == pytest.approx(middle["#compare"], abs=3), width
        ways = [middle[f"[name=by][value={by}] + span"] for by in ("embedding", "structure")]
        assert ways[0] == pytest.approx(ways[1], abs=1), width
        about = page.eval_on_selector("#about", "n => n.offsetHeight / parseFloat(getComputedStyle(n).lineHeight)")
        assert about < (2.1 if width == 390 else 1.1), "what archive it is"


def test_the_buttons_of_a_match_stand_on_one_line(opened):
    page = opened()
    # in one line their middles are as high, but for what rounding leaves
    apart = """n => {
      const edges = [...n.querySelectorAll('.acts button')].map((b) => b.getBoundingClientRect());
      const middles = edges.map((r) => r.top + r.bottom);
      return (Math.max(...middles) - Math.min(...middles)) / 2;
    }"""
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        card = page.locator(".match:has(.badge.simulated)").first
        assert card.locator(".acts button").count() == 6 and card.evaluate(apart) < 2, width
    page.click("#sketch")
    remove, north = edges(page, "#sketch-blobs .remove"), edges(page, "#sketch-blobs [name=y]")
    assert remove == pytest.approx(north, abs=1.5), "as high as what stands beside it"


def test_on_a_phone_the_reconstruction_is_told_below_the_picture_and_its_table_is_whole(opened, sample_file):
    page = opened("phone")
    page.set_input_files("#open", {"name": "s.fits", "mimeType": "application/fits", "buffer": sample_file})
    until(page, "!document.getElementById('inverted').hidden")
    until(page, "document.getElementById('stop').hidden")
    rest(page)
    assert edges(page, "#inverted")[0] >= edges(page, "#figure")[1]
    page.click("#inverted summary")
    wide = "n => n.getBoundingClientRect().right <= innerWidth"
    assert page.eval_on_selector("#inverted table", wide)
    cells = page.eval_on_selector_all(
        "#inverted tbody tr", "rows => rows.map((r) => [...r.children].map((c) => c.textContent))"
    )
    leads = next(row for row in cells if row[0] == "POL")
    assert set(leads[1:3]) <= {"positive", "negative"} and leads[3] in ("the same", "other")
    page.click("#compare")
    page.wait_for_selector("#compare-table tbody tr")
    assert page.eval_on_selector("#compare-table", wide)
    assert re.search(r"Leading polarity\s+(positive|negative)", page.inner_text("#compare-table"))


def test_frames_that_were_found_are_gone_when_a_patch_is_made(opened):
    page = opened()
    say(page, "SIM 3-2")
    until(page, "document.querySelectorAll('#strip button').length === 3")
    # as large as they are drawn, whatever the width of the page
    gap = "nodes => nodes.map((n) => n.viewBox.baseVal.width - n.clientWidth)"
    sizes = page.eval_on_selector_all("#curves svg", gap)
    assert sizes and all(abs(gap) < 2 for gap in sizes)
    say(page, "flux 5e21")
    assert page.is_hidden("#time")
    assert "5×10²¹ Mx" in page.inner_text("#understood")
