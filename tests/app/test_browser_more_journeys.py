"""The page in a real browser: ten more journeys, each on a phone, a desk and a wide screen."""

from __future__ import annotations

import re

import pytest
from page_driver import MARKS, SIZES, box, choose, fits, picture, rest, state, until

pytest.importorskip("playwright.sync_api")

pytestmark = [*MARKS, pytest.mark.parametrize("size", list(SIZES))]


def say(page, text):
    page.fill("#describe", text)
    page.press("#describe", "Enter")
    until(page, "text => new URLSearchParams(location.hash.slice(1)).get('say') === text", arg=text)
    rest(page)


def typed(page, name, text):
    page.fill(f"[data-name={name}] .value", text)
    page.press(f"[data-name={name}] .value", "Enter")


def searched(page, act):
    """The answer of the search that an act asks for."""
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        act()
    rest(page)
    return answer.value.json()


def test_a_delta_spot_has_the_flux_near_its_inversion_lines(opened, size):
    page = opened(size)
    say(page, "delta spot, 2e22 Mx")
    assert "5 % of FLUX" in page.inner_text("#understood .word")
    assert abs(box(page, "flux") - 2e22) < 0.12 * 2e22
    assert abs(box(page, "r") - 1e21) < 0.25 * 1e21
    fits(page)


def test_a_number_out_of_reach_gives_the_nearest(opened, size):
    page = opened(size)
    typed(page, "psep", "900 Mm")
    page.wait_for_selector("[data-name=psep] .nearest")
    fits(page)
    page.click("[data-name=psep] .nearest")
    until(page, "document.querySelector('[data-name=psep] .wrong').hidden")
    rest(page)
    assert 50 < box(page, "psep") < 400


def test_all_but_one_are_held_and_released(opened, size):
    page = opened(size)
    page.click("[data-name=flux] .only")
    assert set(state(page)["locked"]) == {"psep", "r", "tilt", "polarity"}
    fits(page)
    page.click("[data-name=flux] .only")
    assert state(page)["locked"] == [] and page.is_enabled("#p-psep")


def test_a_range_is_drawn_on_a_histogram_and_taken_off(opened, size):
    page = opened(size)
    everything = page.inner_text("#count")
    # clear of the picture, which stays at the top of a phone
    page.locator("[data-name=psep] .track svg").evaluate("node => node.scrollIntoView({ block: 'end' })")
    frame = page.locator("[data-name=psep] .track svg").bounding_box()
    y = frame["y"] + 0.3 * frame["height"]

    def sweep():
        page.mouse.move(frame["x"] + 0.1 * frame["width"], y)
        page.mouse.down()
        page.mouse.move(frame["x"] + 0.5 * frame["width"], y, steps=4)
        page.mouse.up()

    found = searched(page, sweep)
    assert found["candidates"] < 21 and "PSEP" in page.inner_text("#f-active")
    fits(page)
    searched(page, lambda: page.click("#f-active .chip"))
    assert page.inner_text("#count") == everything


def test_a_dot_of_the_archive_becomes_the_query_by_keyboard(opened, size):
    page = opened(size)
    page.focus("#cloud")
    page.keyboard.press("ArrowRight")
    name = page.inner_text("#cloud-said").partition(":")[0]
    page.keyboard.press("Enter")
    until(page, "document.getElementById('kind').textContent !== 'generated'")
    rest(page)
    assert f"id={name}" in page.url
    fits(page)


def test_a_change_is_undone_and_done_again(opened, size):
    page = opened(size)
    before = picture(page)
    searched(page, lambda: typed(page, "tilt", "30"))
    after = picture(page)
    assert after != before
    for button, wanted in (("#undo", before), ("#redo", after)):
        page.click(button)
        until(page, "wanted => document.getElementById('patch').toDataURL() === wanted", arg=wanted)
        rest(page)
    assert page.is_disabled("#redo")


def test_a_file_is_opened_and_its_inversion_stopped(opened, size, sample_file):
    page = opened(size)
    page.set_input_files("#open", {"name": "mine.fits", "mimeType": "application/fits", "buffer": sample_file})
    until(page, "document.getElementById('kind').textContent === 'real'")
    until(page, "!document.getElementById('stop').hidden || location.hash.includes('z=')")
    if page.is_visible("#stop"):
        page.click("#stop")
    until(page, "document.getElementById('stop').hidden")
    rest(page)
    assert "HARP 856" in page.inner_text("#title") and state(page)["matches"]
    fits(page)


def test_matches_of_one_kind_of_field(opened, size):
    page = opened(size)
    page.click("#filters summary")
    found = searched(page, lambda: page.select_option("#f-quantity", "line-of-sight"))
    assert {match["quantity"] for match in found["matches"]} == {"line-of-sight"}
    fits(page)
    searched(page, lambda: page.click("#f-clear"))
    assert len(state(page)["matches"]) > len(found["matches"])


def test_matches_as_pictures_in_the_order_of_a_parameter(opened, size):
    page = opened(size)
    choose(page, "cards", "grid")
    page.select_option("#sort", "psep")
    assert "cards=grid" in page.url and "sort=psep" in page.url
    until(page, "[...document.querySelectorAll('.match canvas')].every((c) => c.width > 1)")
    tell = "id => fetch('/api/patch/' + id).then((r) => r.json()).then((d) => d.parameters.psep.value)"
    values = [page.evaluate(tell, name) for name in state(page)["matches"][:4]]
    assert values == sorted(values, reverse=True)
    fits(page)


def test_more_like_a_match_brings_it_nearer(opened, size):
    page = opened(size)
    last = state(page)["matches"][-1]
    found = searched(page, lambda: page.locator(".match .more").last.click())
    assert last in [match["id"] for match in found["matches"][:-1]]
    assert re.search("more like", page.inner_text("#judged"))
    fits(page)
    page.click("#undo")
    rest(page)
    assert state(page)["matches"][-1] == last
