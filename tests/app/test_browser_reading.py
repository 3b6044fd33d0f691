"""The page in a real browser: by keyboard alone, on three screens, in light and dark, and whether it can be read."""

from __future__ import annotations

import os
import re

import pytest
from page_driver import CONTRAST, FOCUSED, MARKS, SIZES, box, choose, rest, until

from solquery.model import Model

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def test_everything_can_be_done_by_keyboard(opened):
    page = opened()
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("((e) => e.id || e.className || e.textContent.slice(0, 20))(document.activeElement)")
        )
    for wanted in (
        "reset",
        "take",
        "theme",
        "describe",
        "another",
        "open-label",
        "patch",
        "pil",
        "limit",
        "p-flux",
        "group",
    ):
        assert any(wanted in str(name) for name in reached), f"{wanted} is not reached by Tab"
    page.focus("#patch")
    page.keyboard.press("ArrowRight")
    assert re.search(r"[+−]\d+ G", page.inner_text("#cursor"))
    page.focus("#p-flux")
    before = box(page, "flux")
    with page.expect_response(lambda r: "/api/search" in r.url):
        for _ in range(40):
            page.keyboard.press("ArrowRight")
    rest(page)
    assert box(page, "flux") > before
    page.keyboard.press("Control+z")
    until(page, "v => Number(document.querySelector('[data-name=flux] .value').value) === v", arg=before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_opens_can_be_read_too(opened, scheme):
    page = opened(scheme=scheme)
    page.click("#filters summary")
    page.fill("#f-low", "1e20")
    page.click("#f-add")
    rest(page)
    page.fill("#describe", "purple")
    page.keyboard.press("Enter")
    until(page, "!document.getElementById('notice').hidden")
    assert page.input_value("#describe") == "purple", "what was not understood stays to be mended"
    assert page.evaluate(CONTRAST) == []
    page.click("[data-name=tuf] .symbol")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("Escape")
    for button in ("#take", "#sketch", "#compare"):
        page.click(button)
        page.wait_for_timeout(300)
        assert page.evaluate(CONTRAST) == []
        inside = page.evaluate("((e) => e.scrollWidth <= e.clientWidth)(document.querySelector('dialog[open]'))")
        assert inside, f"{button}: nothing runs out of the side"
        if button == "#compare":
            choose(page, "how", "difference")
            page.wait_for_timeout(300)
            edge = page.evaluate("document.querySelector('dialog[open]').getBoundingClientRect().right")
            square = page.locator("#canvas-a").bounding_box()
            assert square["x"] + square["width"] <= edge, "a difference fits its dialog"
        page.keyboard.press("Escape")


def test_where_the_keyboard_is_can_be_seen(opened):
    page = opened()
    unseen, stops = [], 0
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            break
        stops += 1
        if not found[0]:
            unseen.append(found[1])
    assert stops > 30
    assert unseen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_it_fits_three_screens_in_light_and_dark_and_can_be_read(opened, size, scheme, tmp_path):
    page = opened(size, scheme=scheme)
    page.click("[data-name=tuf] .lock")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the side"
    if size != "phone":
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "each column scrolls by itself"
    columns = "[...document.querySelectorAll('main section')]"
    too_wide = page.evaluate(f"{columns}.filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.id)")
    assert too_wide == [], "and nothing out of its column"
    assert page.evaluate(CONTRAST) == []
    frame, (rows, columns) = page.locator("#patch").bounding_box(), Model.load().preset.shape
    assert frame["width"] == pytest.approx(frame["height"] * columns / rows, abs=3) and frame["width"] > 300
    folder = os.environ.get("SOLQUERY_SCREENSHOTS") or str(tmp_path)
    page.screenshot(path=f"{folder}/{size}-{scheme}.png", full_page=size == "phone")


def test_a_dot_of_the_cloud_is_chosen_by_keyboard(opened):
    page = opened()
    page.focus("#cloud")
    for key in ("ArrowUp", "ArrowRight", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
    said = page.inner_text("#cloud-said")
    assert re.search(r"TUF \d.* Mx, PSEP \d.* Mm", said)
    page.keyboard.press("Enter")
    until(page, "document.getElementById('kind').textContent !== 'generated'")
    region = re.match(r"(SIM [\d-]+|HARP \d+), ", said)[1]
    until(page, "region => document.getElementById('title').textContent.startsWith(region)", region)
