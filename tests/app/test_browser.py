"""The page in a real browser: what a user does with it, by mouse, by keyboard, on three screens.

`make test-browser`; needs playwright for Python and a chromium, which it does not download.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import socket
import threading
import time

import pytest

from solquery.bundle import Bundle
from solquery.patch import MX_PER_G_MM2

sync_api = pytest.importorskip("playwright.sync_api")
uvicorn = pytest.importorskip("uvicorn")

from solquery.app import create_app  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `apt-get install chromium`, or set CHROMIUM"),
    # told on the page; as an error it would be a fault of the server
    pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning"),
    # the driver of the browser leaves its loop to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
SIZES = {"phone": (390, 844), "desk": (1280, 900), "wide": (1800, 1050)}


@pytest.fixture(scope="module")
def address(shipped_room):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(shipped_room), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server could not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Opens pages; at the end, none may have thrown, been refused by the policy, or asked anybody else."""
    contexts, wrong = [], []

    def listen(page):
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None)
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((address, "blob:", "data:")) else None)

    def open_(size="desk", hash="", scheme="light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True,
            reduced_motion="reduce",
        )  # fmt: skip
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(45_000)
        listen(page)
        page.goto(address + hash)
        page.wait_for_selector("html[data-ready]", state="attached")
        rest(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not wrong


def until(page, expression, arg=None):
    """Wait for a condition; the page's own policy forbids the text to be polled from within it."""
    end = time.monotonic() + 45
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"still not: {expression}"
        page.wait_for_timeout(25)


def rest(page):
    """Until nothing is being asked of the server any more."""
    until(page, "document.getElementById('busy').hidden && !document.getElementById('found').hasAttribute('aria-busy')")


def choose(page, name, value):
    """One of several, by what a person clicks on: its text."""
    page.click(f"label:has([name={name}][value={value}]) span")
    assert page.is_checked(f"[name={name}][value={value}]")


def box(page, name):
    return float(page.input_value(f"[data-name={name}] .value"))


def picture(page):
    return page.evaluate("document.getElementById('patch').toDataURL()")


def state(page):
    """What a person sees: query, values, matches."""
    return {
        "title": page.inner_text("#title"),
        "kind": page.inner_text("#kind"),
        "values": page.eval_on_selector_all(".param .value", "nodes => nodes.map((n) => n.value)"),
        "locked": page.eval_on_selector_all(".param.locked", "nodes => nodes.map((n) => n.dataset.name)"),
        "matches": page.eval_on_selector_all(".match", "nodes => nodes.map((n) => n.dataset.id)"),
        "notes": page.eval_on_selector_all(".note", "nodes => nodes.map((n) => n.textContent)"),
        "palette": page.eval_on_selector("[name=palette]:checked", "node => node.value"),
        "picture": picture(page),
    }


def drag(page, name, share):
    """Take the thumb of a slider to a share of its range, in several moves, and let go."""
    slider = page.locator(f"[data-name={name}] input[type=range]")
    slider.scroll_into_view_if_needed()
    frame = slider.bounding_box()
    here = float(slider.input_value()) / 1000
    y = frame["y"] + frame["height"] / 2

    def x(part):
        return frame["x"] + 9 + part * (frame["width"] - 18)

    page.mouse.move(x(here), y)
    page.mouse.down()
    for k in range(1, 6):
        page.mouse.move(x(here + (share - here) * k / 5), y)
        page.wait_for_timeout(30)
    return page.mouse.up


def released(page, up):
    with page.expect_response(lambda r: "/api/search" in r.url):
        up()
    rest(page)


def test_it_opens_on_a_patch_and_its_matches_and_says_what_each_is(opened):
    page = opened()
    assert page.inner_text("#kind") == "generated" and "no observation" in page.inner_text("#title")
    kinds = page.eval_on_selector_all(".match .badge", "nodes => nodes.map((n) => n.textContent)")
    assert kinds and set(kinds) <= {"real", "simulated"}
    assert "21 patches" in page.inner_text("#about")
    assert "1.82 Mm" in page.inner_text("#explain")
    assert len(page.query_selector_all(".param")) >= 3


def test_the_patch_follows_the_hand_and_the_exact_solve_comes_after(opened):
    page = opened()
    before, value = picture(page), box(page, "tuf")
    with page.expect_response(lambda r: "/api/edit" in r.url and '"exact":false' in r.request.post_data):
        up = drag(page, "tuf", 0.75)
    until(page, "old => document.getElementById('patch').toDataURL() !== old", arg=before)
    under = picture(page)
    released(page, up)
    assert "asked" in page.inner_text("[data-name=tuf] .note") and "got" in page.inner_text("[data-name=tuf] .note")
    assert abs(box(page, "tuf") - value) > 0.05 * value
    assert before != under
    page.click("#undo")
    rest(page)
    assert picture(page) == before and box(page, "tuf") == value
    page.click("#redo")
    rest(page)
    assert box(page, "tuf") != value


def test_a_locked_value_stays_within_a_tenth_of_its_spread(opened):
    page = opened()
    spread = page.evaluate("fetch('/api/parameters').then((r) => r.json()).then((d) => d.parameters.r.spread)")
    page.click("[data-name=r] .lock")
    held = box(page, "r")
    for share in (0.3, 0.9, 0.1, 0.6):
        released(page, drag(page, "tuf", share))
        assert abs(box(page, "r") - held) <= 0.1 * spread * 1.01 + 0.001 * held
    assert page.is_disabled("[data-name=r] input[type=range]") and "held" in page.inner_text("[data-name=r] .note")
    page.click("[data-name=r] .lock")
    assert page.is_enabled("[data-name=r] input[type=range]")


def test_a_number_is_typed_and_one_out_of_reach_is_explained(opened):
    page = opened()
    before = box(page, "tuf")
    page.fill("[data-name=tuf] .value", f"{1.15 * before:.4g}")
    with page.expect_response(lambda r: "/api/search" in r.url):
        page.press("[data-name=tuf] .value", "Enter")
    rest(page)
    assert abs(box(page, "tuf") - 1.15 * before) < abs(before - 1.15 * before)
    page.fill("[data-name=tuf] .value", "1e30")
    page.press("[data-name=tuf] .value", "Enter")
    page.wait_for_selector("#notice:not([hidden])")
    assert "out of reach" in page.inner_text("#notice")
    rest(page)
    assert box(page, "tuf") < 1e30, "what cannot be had does not stay"


def test_words_make_a_patch_and_another_has_the_same_physics(opened):
    page = opened()
    page.fill("#describe", "leading polarity positive")
    page.press("#describe", "Enter")
    until(page, "document.querySelector('[name=p-polarity][value=\"1\"]').checked")
    rest(page)
    before = picture(page)
    page.click("#another")
    until(page, "old => document.getElementById('patch').toDataURL() !== old", arg=before)
    rest(page)
    assert page.is_checked("[name=p-polarity][value='1']")
    page.fill("#describe", "purple")
    page.press("#describe", "Enter")
    page.wait_for_selector("#notice:not([hidden])")
    assert "vocabulary" in page.inner_text("#notice")


def test_filters_narrow_and_a_match_becomes_the_query_and_is_edited(opened):
    page = opened()
    with page.expect_response(lambda r: "/api/search" in r.url):
        choose(page, "source", "real")
    rest(page)
    kinds = page.eval_on_selector_all(".match .badge", "nodes => nodes.map((n) => n.textContent)")
    assert kinds == ["real"] * 3
    first = page.get_attribute(".match", "data-id")
    page.click(".match .use")
    until(page, "document.getElementById('kind').textContent === 'real'")
    rest(page)
    assert page.is_visible("#views") and first not in state(page)["matches"], "not its own region"
    until(page, "!document.querySelector('[data-name=tuf] input[type=range]').disabled")
    choose(page, "view", "native")
    page.hover("#patch", position={"x": 100, "y": 60})
    assert re.search(r"Mm [WE], .* Mm [NS]", page.inner_text("#cursor")), "an observation has a scale"
    choose(page, "view", "made")
    assert page.inner_text("#kind") == "generated"
    released(page, drag(page, "tuf", 0.5))
    assert page.inner_text("#kind") == "generated" and "changed" in page.inner_text("#title")
    page.click("#reset")
    rest(page)
    assert page.is_checked("[name=source][value=any]")


def test_a_parameter_is_limited_in_its_native_unit_and_the_limit_taken_off(opened):
    page = opened()
    page.click("#filters summary")
    page.select_option("#f-param", "tuf")
    assert page.inner_text("#f-unit") == "Mx"
    page.fill("#f-low", "5e21")
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        page.click("#f-add")
    found = answer.value.json()
    assert found["where"] == "tuf >= 5e+21" and 0 < found["candidates"] < 21
    assert all(match["parameters"]["tuf"]["value"] >= 5e21 for match in found["matches"])
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        page.click("#f-active .chip")
    assert answer.value.json()["candidates"] == 21


def test_a_real_file_is_taken_and_a_broken_one_refused_without_losing_anything(opened, sample_file):
    page = opened()
    file = {"name": "sharp_856.fits", "mimeType": "application/fits", "buffer": sample_file}
    page.set_input_files("#open", file)
    until(page, "document.getElementById('title').textContent.includes('HARP 856')")
    until(page, "!document.querySelector('[name=view][value=made]').disabled")
    rest(page)
    before = state(page)
    assert before["kind"] == "real" and before["matches"]
    page.set_input_files("#open", {**file, "name": "broken.fits", "buffer": sample_file[:9000]})
    page.wait_for_selector("#notice:not([hidden])")
    assert "broken.fits: is cut short" in page.inner_text("#notice")
    assert state(page) == before
    page.set_input_files("#open", {**file, "name": "notes.fits", "buffer": b"no magnetogram"})
    until(page, "document.getElementById('notice').textContent.includes('not a FITS file')")
    assert state(page) == before


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
    both = state(page)["matches"]
    with page.expect_response(lambda r: "/api/search" in r.url) as answer:
        choose(page, "by", "ssl")
    rest(page)
    assert answer.value.request.post_data_json["by"] == "ssl" and "by=ssl" in page.url
    look = state(page)["matches"]
    assert look != both
    other = opened(hash="#" + page.url.partition("#")[2])
    assert other.is_checked("[name=by][value=ssl]") and state(other)["matches"] == look
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
    until(page, "document.getElementById('compare-said').textContent.includes('A − B')")
    assert page.evaluate("document.getElementById('canvas-a').toDataURL()") not in {side, *frames}
    again = opened(hash="#" + page.url.partition("#")[2])
    again.wait_for_selector("#compare-table tbody tr")
    assert again.is_checked("[name=how][value=difference]")


def test_it_is_taken_away_as_fits_csv_and_png(opened, tmp_path):
    page = opened()
    tuf = page.evaluate("document.querySelector('[data-name=tuf] .value').value")
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
    assert seen.meta["source"] == "generated" and seen.data.shape == (128, 128)
    pixel_mx = Bundle.load().preset.scale_mm[0] ** 2 * MX_PER_G_MM2
    flux = abs(seen.data.astype(float)).sum() * pixel_mx
    assert abs(flux - float(tuf)) < 0.001 * float(tuf), "the file holds the patch on the screen"


def test_everything_can_be_done_by_keyboard(opened):
    page = opened()
    reached = []
    for _ in range(70):
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
        "p-tuf",
        "group",
    ):
        assert any(wanted in str(name) for name in reached), f"{wanted} is not reached by Tab"
    page.focus("#patch")
    page.keyboard.press("ArrowRight")
    assert re.search(r"[+−]\d+ G", page.inner_text("#cursor"))
    page.focus("#p-tuf")
    before = box(page, "tuf")
    with page.expect_response(lambda r: "/api/search" in r.url):
        for _ in range(40):
            page.keyboard.press("ArrowRight")
    rest(page)
    assert box(page, "tuf") > before
    page.keyboard.press("Control+z")
    until(page, "v => Number(document.querySelector('[data-name=tuf] .value').value) === v", arg=before)


CONTRAST = """() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const light = (c) => [.2126, .7152, .0722].reduce((sum, weight, k) => sum + weight * linear(c[k] / 255), 0);
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const c = parse(getComputedStyle(n).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const skipped = node.closest(':disabled, .sr, option, datalist, .skip');
    if (!own || skipped || !node.checkVisibility()) continue;
    const a = light(parse(getComputedStyle(node).color)), b = light(behind(node));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(`${node.tagName} ${node.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


FOCUSED = """() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  // the input of a choice is not drawn: what is beside it is
  const shown = node.matches('.seg input') ? node.nextElementSibling : node, style = getComputedStyle(shown);
  const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  const box = shown.getBoundingClientRect();
  const inside = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
  return [seen && inside, node.id || node.className || node.textContent];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_opens_can_be_read_too(opened, scheme):
    page = opened(scheme=scheme)
    page.click("#more summary")
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
    for button in ("#take", "#compare"):
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
    columns = "[...document.querySelectorAll('main section')]"
    too_wide = page.evaluate(f"{columns}.filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.id)")
    assert too_wide == [], "and nothing out of its column"
    assert page.evaluate(CONTRAST) == []
    square = page.locator("#patch").bounding_box()
    assert abs(square["width"] - square["height"]) < 2 and square["width"] > 300
    folder = os.environ.get("SOLQUERY_SCREENSHOTS") or str(tmp_path)
    page.screenshot(path=f"{folder}/{size}-{scheme}.png", full_page=size == "phone")
