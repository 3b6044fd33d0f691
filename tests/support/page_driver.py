"""Driving the page in a real browser: waiting, dragging, reading what a person sees, and how well it can be read."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import threading
import time
import traceback

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `apt-get install chromium`, or set CHROMIUM"),
    # told on the page; as an error it would be a fault of the server
    pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning"),
    # the driver of the browser leaves its loop to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
SIZES = {"phone": (390, 844), "desk": (1280, 900), "wide": (2200, 1300)}


def until(page, expression, arg=None):
    """Wait for a condition; the page's own policy forbids the text to be polled from within it."""
    # an inversion takes seconds, and minutes on a machine that does ten things at once
    end = time.monotonic() + 240
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"still not: {expression}; {told(page)}"
        page.wait_for_timeout(25)


def told(page):
    """What the page says of itself, for a failure to be understood by."""
    said = "ids => Object.fromEntries(ids.map((id) => [id, document.getElementById(id)?.innerText.slice(0, 300)]))"
    waits = "[...document.querySelectorAll('[aria-busy], #busy:not([hidden])')].map((node) => node.id)"
    ids = ["notice", "found-said", "count", "matches", "title"]
    return {**page.evaluate(said, ids), "waits": page.evaluate(waits), "server": working()}


def working():
    """Where the threads of the server are, which runs in this process."""
    frames = sys._current_frames()
    threads = [one for one in threading.enumerate() if one.name.startswith("solquery") and one.ident in frames]
    stacks = {one.name: traceback.extract_stack(frames[one.ident])[-8:] for one in threads}
    return {name: [f"{at.filename}:{at.lineno}" for at in stack] for name, stack in stacks.items()}


@contextlib.contextmanager
def serving(service):
    """Address of a server of a service, as long as it is needed."""
    from solquery.app import create_app

    uvicorn = pytest.importorskip("uvicorn")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server could not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)
    listener.close()


@contextlib.contextmanager
def on_a_phone(browser, address):
    """A page on a phone with a touch screen and no mouse."""
    width, height = SIZES["phone"]
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        yield page
    finally:
        context.close()


def rest(page):
    """Until no slider is held and nothing is being asked of the server any more."""
    until(
        page,
        "document.getElementById('busy').hidden && !document.getElementById('found').hasAttribute('aria-busy')"
        " && !('hand' in document.documentElement.dataset)",
    )


def say(page, text):
    """Type a sentence into the box, and wait until it is understood and the page is at rest."""
    page.fill("#describe", text)
    with page.expect_response(lambda r: "/api/understand" in r.url):
        page.press("#describe", "Enter")
    rest(page)


def fits(page):
    """Nothing runs out of the side, and no section out of its column."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sections = "[...document.querySelectorAll('main section')]"
    wide = f"{sections}.filter((s) => s.scrollWidth > s.clientWidth + 1).map((s) => s.id)"
    assert page.evaluate(wide) == []


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
    # not one of the searches that follow the hand, which ask for four
    with page.expect_response(lambda r: "/api/search" in r.url and '"k":4,' not in (r.request.post_data or "")):
        up()
    rest(page)


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
