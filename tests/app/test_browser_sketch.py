"""A sketch in a real browser: by mouse, by keyboard and by finger, and what comes of it."""

from __future__ import annotations

import re

import pytest
from page_driver import MARKS, SIZES, on_a_phone, rest, state, until

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def numbers(page):
    """Sign, flux in 1e21 Mx, width, west and north of each blob."""
    rows = page.eval_on_selector_all(
        "#sketch-blobs fieldset",
        "rows => rows.map((row) => [...row.querySelectorAll('select, input')].map((one) => one.value))",
    )
    return [(sign, *map(float, rest_)) for sign, *rest_ in rows]


def drawn(page, how):
    """Have the region drawn, and wait until it is the query."""
    how()
    until(page, "!document.getElementById('sketch-box').open")
    until(
        page,
        "document.getElementById('stop').hidden && document.getElementById('title').textContent.includes('sketch')",
    )
    rest(page)


def test_blobs_are_moved_and_added_by_mouse_and_the_region_is_searched_with(opened):
    page = opened()
    page.click("#welcome-close")
    page.click("#sketch")
    box = page.locator("#sketch-canvas").bounding_box()
    per = box["width"] / 350  # the view of the model is 350 Mm wide
    plus, minus = numbers(page)
    x, y = box["x"] + box["width"] / 2 + plus[3] * per, box["y"] + box["height"] / 2 - plus[4] * per
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20 * per, y - 10 * per, steps=4)
    page.mouse.up()
    moved, same = numbers(page)
    assert moved[:3] == plus[:3] and moved[3:] == pytest.approx((plus[3] + 20, plus[4] + 10), abs=1.5)
    assert same == minus
    # where there is none, another of the other sign
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.8 * box["height"])
    assert len(numbers(page)) == 3 and numbers(page)[2][0] == "+"
    page.click("[aria-label='Remove blob 3']")
    assert numbers(page) == [moved, same]
    # what cannot be is told in the panel, and mended there
    page.fill("#sketch-blobs fieldset:first-child [name=flux]", "900")
    page.click("#sketch-draw")
    until(page, "document.getElementById('sketch-said').textContent.includes('blob 1')")
    assert "make it larger or weaker" in page.inner_text("#sketch-said")
    page.fill("#sketch-blobs fieldset:first-child [name=flux]", "10")
    before = state(page)["matches"]
    drawn(page, lambda: page.click("#sketch-draw"))
    until(page, "document.querySelector('.match')")
    told = state(page)
    assert told["kind"] == "generated" and told["matches"] and told["matches"] != before
    # two fluxes of 1e22 and 0.9e22 Mx; the region has noise beside them, and is told at native scale
    assert 1e22 < float(page.input_value("[data-name=tuf] .value")) < 8e22
    # link, Undo, and the panel as it was left
    other = opened(hash="#" + page.url.partition("#")[2])
    assert state(other)["title"] == told["title"]
    other.click("#sketch")
    assert numbers(other)[0][3:] == moved[3:]
    page.click("#undo")
    rest(page)
    assert "sketch" not in page.url and state(page)["matches"] == before


def test_by_keyboard_alone(opened):
    page = opened()
    page.focus("#sketch")
    page.keyboard.press("Enter")
    page.focus("#sketch-canvas")
    first, second = numbers(page)
    for key in ("ArrowLeft", "Shift+ArrowUp", "Space", "ArrowRight", "-"):
        page.keyboard.press(key)
    assert numbers(page) == [
        (*first[:3], first[3] - 1, first[4] + 10), (second[0], *second[1:3], second[3] + 1, second[4])
    ]  # fmt: skip
    assert re.search(r"Blob 2, negative: −?-?\d+ Mm west", page.inner_text("#sketch-said"))
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "sketch", "the keyboard is where it was"


def test_by_finger_on_a_phone(browser, opened):
    with on_a_phone(browser, opened.address) as page:
        page.locator("#welcome-close").tap()
        page.locator("#sketch").tap()
        box = page.locator("#sketch-canvas").bounding_box()
        assert box["width"] > 0.8 * SIZES["phone"][0], "the canvas takes the room there is"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing hangs over"
        page.touchscreen.tap(box["x"] + 0.15 * box["width"], box["y"] + 0.75 * box["height"])
        assert len(numbers(page)) == 3
        page.locator("[aria-label='Remove blob 3']").tap()
        page.locator("#sketch-draw").tap()
        until(page, "document.getElementById('title').textContent.includes('sketch')")
        until(page, "document.getElementById('stop').hidden")
        rest(page)
        assert page.inner_text("#kind") == "generated" and "sketch=" in page.url
