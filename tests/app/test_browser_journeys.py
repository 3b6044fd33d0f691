"""The page in a real browser: five journeys, each on a phone, a desk and a wide screen."""

from __future__ import annotations

import pytest
from page_driver import MARKS, SIZES, box, choose, drag, fits, picture, released, rest, state, until

pytest.importorskip("playwright.sync_api")

pytestmark = [*MARKS, pytest.mark.parametrize("size", list(SIZES))]


def test_a_region_is_described_and_changed(opened, size):
    page = opened(size)
    page.fill("#describe", "weak, leading positive")
    page.press("#describe", "Enter")
    until(page, "location.hash.includes('say=weak')")
    rest(page)
    before, value = picture(page), box(page, "psep")
    released(page, drag(page, "psep", 0.8))
    assert picture(page) != before and box(page, "psep") > value
    assert page.is_checked("[name=p-polarity][value='1']") or page.is_checked("[name=p-polarity][value='-1']")
    fits(page)


def test_a_region_is_found_and_followed_in_time(opened, size):
    page = opened(size)
    page.fill("#describe", "SIM 3-1")
    page.press("#describe", "Enter")
    until(page, "document.querySelectorAll('#strip button').length === 3")
    rest(page)
    page.locator("#strip").scroll_into_view_if_needed()
    page.focus("#strip")
    page.keyboard.press("End")
    assert page.input_value("#when") == "2"
    assert len(page.query_selector_all("#curves svg")) == 3
    fits(page)


def test_matches_are_filtered_and_one_becomes_the_query_and_is_left_again(opened, size):
    page = opened(size)
    query = page.inner_text("#title")
    choose(page, "source", "real")
    rest(page)
    assert page.inner_text("#count") == "among 3 that pass"
    page.locator(".match .use").first.click()
    until(page, "document.getElementById('kind').textContent === 'real'")
    rest(page)
    page.click("#undo")
    until(page, "document.getElementById('kind').textContent === 'generated'")
    rest(page)
    assert page.inner_text("#title") == query and page.is_checked("[name=source][value=real]")
    fits(page)


def test_two_are_compared_and_the_pair_is_in_the_link(opened, size):
    page = opened(size)
    page.locator(".match .thumb").nth(1).click()
    page.wait_for_selector("#compare-table tbody tr")
    choose(page, "how", "difference")
    until(page, "document.getElementById('compare-said').textContent.includes('B − A')")
    frame = page.locator("#canvas-a").bounding_box()
    assert frame["x"] >= 0 and frame["x"] + frame["width"] <= SIZES[size][0]
    assert f"pair=query%7C{state(page)['matches'][1]}" in page.url
    page.keyboard.press("Escape")
    fits(page)


def test_a_match_is_kept_and_taken_away_with_the_link(opened, size):
    page = opened(size)
    name = state(page)["matches"][0]
    page.locator(".match .star").first.click()
    page.click("#take")
    with page.expect_download() as download:
        page.click("#get-kept")
    assert download.value.suggested_filename == "kept.csv"
    page.click("#get-link")
    until(page, "document.getElementById('take-said').textContent.startsWith('Copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    assert name in link
    other = opened(size, hash="#" + link.partition("#")[2])
    assert other.get_attribute(".match .star", "aria-pressed") == "true"
    fits(other)
