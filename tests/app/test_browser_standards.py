"""The page in a real browser: what axe-core says, by finger, by keyboard alone, on a grid of another shape."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from page_driver import MARKS, SIZES, box, choose, on_a_phone, picture, rest, serving, state, until
from torch import nn

from solquery.app import Service
from solquery.config import EncoderConfig, get_preset
from solquery.encoder import build_encoder
from solquery.model import Model
from solquery.steering import fit_directions, sample_latents

pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = MARKS

#: WCAG 2.2, levels A and AA
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}


def violations(page):
    found = axe.Axe().run(page, options=RULES).response["violations"]
    return [f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}" for one in found]


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("desk", "light"), ("wide", "dark")])
def test_axe_finds_no_violation_of_wcag_aa(opened, size, scheme):
    page = opened(size, scheme=scheme)
    assert violations(page) == [], "as it opens"
    page.click("#welcome-close")
    for summary in ("#more > summary", "#filters > summary", "#display > summary", "#space-box > summary"):
        if not page.evaluate(f"document.querySelector('{summary}').parentElement.open"):
            page.click(summary)
    page.fill("#describe", "HARP 115, purple")
    page.press("#describe", "Enter")
    until(page, "document.getElementById('kind').textContent === 'real'")
    rest(page)
    page.click("[data-name=tuf] .lock")
    assert violations(page) == [], "an observation, and all that opens"
    for button in ("#compare", "#sketch", "#take"):
        page.click(button)
        page.wait_for_timeout(300)
        assert violations(page) == [], button
        page.keyboard.press("Escape")
    page.click("[data-name=tuf] .symbol")
    assert violations(page) == [], "what a parameter is"


def test_a_finger_does_what_a_mouse_does(browser, opened):
    """On a phone with a touch screen and no mouse: describe, slide, look at marks, use a match, compare, go back."""
    with on_a_phone(browser, opened.address) as page:
        rest(page)
        page.tap("#welcome-close")
        page.fill("#describe", "weak")
        page.tap("#ask button[type=submit]")
        until(page, "location.hash.includes('say=weak')")
        rest(page)
        before = box(page, "flux")
        slider = page.locator("#p-flux")
        slider.evaluate("node => node.scrollIntoView({ block: 'end' })")
        frame = slider.bounding_box()
        with page.expect_response(lambda r: "/api/search" in r.url and '"k":4,' not in (r.request.post_data or "")):
            page.touchscreen.tap(frame["x"] + 0.8 * frame["width"], frame["y"] + frame["height"] / 2)
        rest(page)
        assert box(page, "flux") > before
        page.locator("label:has([name=source][value=real]) span").tap()
        rest(page)
        page.locator(".match .mark-").first.tap()
        page.wait_for_selector("#notice:not([hidden])")
        page.tap("#notice button")
        page.locator(".match .use").first.tap()
        until(page, "document.getElementById('kind').textContent === 'real'")
        rest(page)
        assert page.locator("#limits .mark-").count() >= 1
        page.locator(".match .thumb").first.tap()
        page.wait_for_selector("#compare-table tbody tr")
        page.locator("#compare-box form button").tap()
        page.tap("#undo")
        until(page, "document.getElementById('kind').textContent === 'generated'")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_whole_search_by_keyboard_alone(opened):
    """No pointer: find a region, hold a value, move another, use a match, keep it, compare, take the link away."""
    page = opened()
    page.mouse.move(0, 0)

    def reach(wanted, limit=160):
        for _ in range(limit):
            if page.evaluate("s => document.activeElement.matches(s)", wanted):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{wanted} is not reached by Tab")

    reach("#describe")
    page.keyboard.type("strong, leading positive")
    page.keyboard.press("Enter")
    until(page, "location.hash.includes('say=')")
    rest(page)
    reach("[data-name=psep] .lock")
    page.keyboard.press("Enter")
    assert state(page)["locked"] == ["psep"]
    reach("#p-r")
    before = picture(page)
    with page.expect_response(lambda r: "/api/search" in r.url and '"k":4,' not in (r.request.post_data or "")):
        for _ in range(20):
            page.keyboard.press("ArrowRight")
    rest(page)
    assert picture(page) != before
    reach(".match .star")
    page.keyboard.press("Enter")
    reach(".match .thumb")
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare-table tbody tr")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    reach(".match .use")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('kind').textContent !== 'generated'")
    rest(page)
    assert page.evaluate("document.activeElement.id") == "patch"
    page.keyboard.press("Control+z")
    until(page, "document.getElementById('kind').textContent === 'generated'")
    rest(page)
    assert page.eval_on_selector_all(".star[aria-pressed=true]", "nodes => nodes.length") >= 1


class Wide(nn.Module):
    """(N, 16) -> (N, 1, 24, 48): two spots at the ends of a grid twice as wide as high."""

    latent_dim = 16

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.6))
        self.register_buffer("y", torch.arange(24) - 11.5)
        self.register_buffer("x", torch.arange(48) - 23.5)

    def forward(self, z):
        peak, half = self.gain * torch.exp(0.25 * z[:, 0]), 14.0 * torch.exp(0.1 * z[:, 1])
        sign, angle = torch.tanh(6.0 * z[:, 2]), 0.2 * z[:, 3]
        dx, dy = half * torch.cos(angle), half * torch.sin(angle)
        west, east = (
            (peak * sign)[:, None, None] * self.spot(dx, dy),
            (-peak * sign)[:, None, None] * self.spot(-dx, -dy),
        )
        return torch.tanh(west + east)[:, None]

    def spot(self, x, y):
        across, up = (self.x - x[:, None]).square()[:, None, :], (self.y - y[:, None]).square()[:, :, None]
        return torch.exp(-(across + up) / (2 * 2.5**2))


@pytest.fixture(scope="module")
def wide_address(new_archive):
    preset = dataclasses.replace(
        get_preset("physical"), shape=(24, 48), scale_mm=(7.29, 7.29), encoder=EncoderConfig(width=4, embedding_dim=16)
    )
    names = ("tuf", "psep", "r", "tilt", "polarity")
    directions = fit_directions(sample_latents(Wide(), preset, 1000, seed=1, names=names))
    model = Model("wide", preset, Wide(), build_encoder(preset.encoder), directions)
    # an archive of its own: a service embeds it with its model's encoder, and those of other models find nothing in it
    service = Service(model, new_archive("wide"))
    with serving(service) as place:
        yield place


@pytest.mark.parametrize("size", list(SIZES))
def test_a_grid_twice_as_wide_as_high_fits_every_screen(browser, wide_address, size):
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(wide_address)
        page.wait_for_selector("html[data-ready]", state="attached")
        rest(page)
        until(page, "document.querySelector('.match canvas').width > 1")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the side"
        for selector in ("#patch", ".match .thumb"):
            frame = page.locator(selector).first.bounding_box()
            assert frame["width"] == pytest.approx(2 * frame["height"], rel=0.05), selector
        drawn = page.evaluate("(({ width, height }) => width / height)(document.querySelector('.match canvas'))")
        assert drawn == pytest.approx(2, rel=0.1), "and its picture is not stretched"
        choose(page, "cards", "grid")
        frame = page.locator(".match .thumb").first.bounding_box()
        assert frame["width"] == pytest.approx(2 * frame["height"], rel=0.05)
        page.click("#compare")
        page.wait_for_selector("#compare-table tbody tr")
        frame = page.locator("#canvas-a").bounding_box()
        assert frame["width"] == pytest.approx(2 * frame["height"], rel=0.05) and frame["width"] <= width
    finally:
        context.close()
