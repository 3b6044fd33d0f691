"""The page in a real browser: what a user does with it, by mouse.

`make test-browser`; needs playwright for Python and a chromium, which it does not download.
"""

from __future__ import annotations

import re

import pytest
from page_driver import MARKS, box, choose, drag, picture, released, rest, state, until

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


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


def test_the_picture_is_painted_before_the_numbers_and_both_are_of_the_last_move(opened):
    page = opened()
    events, number = page.evaluate("""async () => {
      const slider = document.getElementById('p-flux'), worth = document.querySelector('[data-name=psep] .worth');
      const g = document.getElementById('patch').getContext('2d'), draw = g.drawImage.bind(g), events = [];
      let going = true;
      const frame = () => { events.push('frame'); if (going) requestAnimationFrame(frame); };
      new MutationObserver(() => events.push('numbers')).observe(worth, { childList: true });
      g.drawImage = (...all) => { draw(...all); events.push('drawn'); };
      requestAnimationFrame(frame);
      for (let k = 1; k <= 3; k++) {
        slider.value = Number(slider.value) - 60;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        const end = performance.now() + 60000, drawn = events.filter((e) => e === 'drawn').length;
        const behind = () => !events.slice(events.lastIndexOf('drawn')).includes('numbers');
        while (behind() || events.filter((e) => e === 'drawn').length === drawn) {
          if (performance.now() > end) throw new Error(events.join());
          await new Promise((done) => setTimeout(done, 20));
        }
      }
      going = false;
      delete g.drawImage;
      const said = worth.textContent;
      slider.dispatchEvent(new Event('change', { bubbles: true }));
      return [events, said];
    }""")
    first = events.index("drawn")
    assert "frame" in events[first : first + events[first:].index("numbers")], "the picture is on the screen by then"
    assert number
    rest(page)


def test_pictures_of_matches_leave_connections_free(opened):
    page = opened()
    page.evaluate("""() => {
      const real = window.fetch.bind(window);
      window.most = window.asked = 0;
      let now = 0;
      window.fetch = async (path, options) => {
        if (!String(path).startsWith('/api/patch/')) return real(path, options);
        window.asked++;
        window.most = Math.max(window.most, ++now);
        try { return await real(path, options); } finally { now--; }
      };
    }""")
    page.click("label:has([name=by][value=physics]) span")
    page.click("label:has([name=source][value=simulated]) span")
    page.uncheck("#group")
    rest(page)
    until(page, "[...document.querySelectorAll('.match canvas')].every((c) => c.width > 1)")
    assert page.evaluate("window.asked") > 3 and page.evaluate("window.most") <= 2


def test_a_locked_value_stays_within_a_fifth_of_its_spread(opened):
    page = opened()
    spread = page.evaluate("fetch('/api/parameters').then((r) => r.json()).then((d) => d.parameters.r.spread)")
    page.click("[data-name=r] .lock")
    held = box(page, "r")
    for share in (0.3, 0.9, 0.1, 0.6):
        released(page, drag(page, "tuf", share))
        assert abs(box(page, "r") - held) <= 0.2 * spread * 1.01 + 0.001 * held
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
    page.wait_for_selector("[data-name=tuf] .wrong:not([hidden])")
    assert "out of reach" in page.inner_text("[data-name=tuf] .wrong")
    rest(page)
    assert box(page, "tuf") == 1e30, "what was typed stays to be mended"
    page.click("[data-name=tuf] .nearest")
    until(page, "document.querySelector('[data-name=tuf] .wrong').hidden")
    rest(page)
    assert 1.15 * before < box(page, "tuf") < 1e24 and "got" in page.inner_text("[data-name=tuf] .note")


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


def test_stretched_colours_lift_weak_fields_everywhere_and_say_so(opened):
    page = opened()
    grey = (
        "selector => { const c = document.querySelector(selector), d = c.getContext('2d').getImageData(0, 0, c.width, "
        "c.height).data; let s = 0; for (let k = 0; k < d.length; k += 4) s += Math.abs(d[k] - 128); return s; }"
    )
    choose(page, "stretch", "linear")
    page.wait_for_timeout(300)
    before = [page.evaluate(grey, selector) for selector in ("#patch", ".match canvas")]
    choose(page, "stretch", "asinh")
    page.wait_for_timeout(300)
    after = [page.evaluate(grey, selector) for selector in ("#patch", ".match canvas")]
    assert all(b > 1.5 * a for a, b in zip(before, after, strict=True))
    assert "+100" in page.inner_text("#ends") and "stretch" not in page.url, "as it opens"


def test_first_it_says_what_it_does_and_once_read_no_more(opened):
    page = opened()
    assert page.is_visible("#welcome")
    page.click("#welcome-close")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert not page.is_visible("#welcome")
    page.click("#help")
    assert "Describe" in page.inner_text("#welcome")
