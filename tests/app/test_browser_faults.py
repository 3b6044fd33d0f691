"""The page in a real browser: faults that users found, each as a journey that once went wrong."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from empty_fits import empty_file
from page_driver import MARKS, box, choose, picture, rest, state, until

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS

#: the first search after this answers last
LATE = """() => {
  const real = window.fetch;
  let first = true;
  window.late = false;
  window.fetch = async (path, options) => {
    const mine = String(path).includes('/api/search') && first;
    if (mine) first = false;
    const answer = await real(path, options);
    if (mine) { await new Promise((done) => setTimeout(done, 2500)); window.late = true; }
    return answer;
  };
}"""


def typed(page, name, text):
    page.fill(f"[data-name={name}] .value", text)
    page.press(f"[data-name={name}] .value", "Enter")


def test_an_older_search_that_answers_last_changes_nothing(opened):
    page = opened()
    page.evaluate(LATE)
    choose(page, "source", "simulated")
    page.wait_for_timeout(200)
    choose(page, "source", "real")
    until(page, "window.late")
    page.wait_for_timeout(200)
    rest(page)
    assert page.inner_text("#count") == "among 3 that pass"
    assert len(state(page)["matches"]) == 3
    kinds = page.eval_on_selector_all(".match .badge", "nodes => nodes.map((n) => n.textContent)")
    assert set(kinds) == {"real"}


@pytest.mark.parametrize(("status", "kind"), [(409, "superseded"), (503, "busy"), (504, "too slow")])
def test_a_search_that_passing_trouble_refused_is_asked_for_again(opened, status, kind):
    """An older search may reach the server after the newest, which is then taken for the older one."""
    page = opened()
    refused = []

    def once(route):
        if refused:
            route.continue_()
        else:
            refused.append(kind)
            route.fulfill(status=status, json={"error": {"kind": kind, "message": "not now"}})

    page.route("**/api/search", once)
    choose(page, "source", "real")
    rest(page)
    assert refused and page.inner_text("#count") == "among 3 that pass"
    assert len(state(page)["matches"]) == 3 and "not now" not in page.inner_text("#found-said")


def test_a_search_that_is_refused_again_and_again_says_so(opened):
    page = opened()
    before, asked = state(page)["matches"], []

    def never(route):
        asked.append(route.request.url)
        route.fulfill(status=503, json={"error": {"kind": "busy", "message": "too much to do"}})

    page.route("**/api/search", never)
    choose(page, "source", "real")
    until(page, "!document.getElementById('found-said').hidden")
    rest(page)
    assert page.inner_text("#found-said") == "These are the matches of before: too much to do"
    assert state(page)["matches"] == before and len(asked) == 3


def test_another_like_it_is_a_new_one_each_time_and_does_not_drift(opened):
    page = opened()
    page.fill("#describe", "strong, leading positive")
    page.press("#describe", "Enter")
    until(page, "document.getElementById('describe').value && location.hash.includes('say=')")
    rest(page)
    asked = float(page.inner_text("[data-name=tuf] .value") or box(page, "tuf"))
    seen = {picture(page)}
    for _ in range(5):
        before = picture(page)
        page.click("#another")
        until(page, "old => document.getElementById('patch').toDataURL() !== old", arg=before)
        rest(page)
        seen.add(picture(page))
        assert abs(box(page, "tuf") - asked) < 0.12 * asked
        assert page.input_value("#describe") == "strong, leading positive"
    assert len(seen) == 6


def test_undo_leaves_the_colours_and_back_is_undo(opened):
    page = opened()
    before = box(page, "tuf")
    typed(page, "tuf", f"{1.2 * before:.4g}")
    until(page, "old => Number(document.querySelector('[data-name=tuf] .value').value) !== old", arg=before)
    rest(page)
    changed = box(page, "tuf")
    choose(page, "palette", "hmi")
    page.check("#pil")
    page.click("#undo")
    rest(page)
    assert box(page, "tuf") == before
    assert page.is_checked("[name=palette][value=hmi]") and page.is_checked("#pil")
    page.go_forward()
    until(page, "v => Number(document.querySelector('[data-name=tuf] .value').value) === v", arg=changed)
    rest(page)
    page.go_back()
    until(page, "v => Number(document.querySelector('[data-name=tuf] .value').value) === v", arg=before)
    assert "z=" in page.url and page.is_disabled("#undo") and page.is_enabled("#redo")


def test_locks_stay_when_a_new_patch_is_made_or_a_match_used(opened):
    page = opened()
    page.click("[data-name=psep] .lock")
    held = box(page, "psep")
    page.fill("#describe", "weak")
    with page.expect_response(lambda r: "/api/generate" in r.url):
        page.press("#describe", "Enter")
    until(page, "location.hash.includes('say=weak')")
    rest(page)
    assert state(page)["locked"] == ["psep"] and abs(box(page, "psep") - held) < 0.15 * held
    page.focus(".match .use")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('kind').textContent !== 'generated'")
    rest(page)
    assert state(page)["locked"] == ["psep"], "at the value of the match"
    assert page.evaluate("document.activeElement.id") == "patch", "the keyboard is somewhere"


def test_a_held_value_that_was_not_kept_is_marked(opened):
    page = opened()
    link, value = page.url.partition("#")[2], box(page, "tuf")
    other = opened(hash=f"#{link}&lock=tuf:{value / 1.15:.5e}".replace("e+", "e"))
    note = other.locator("[data-name=tuf] .note")
    assert "+15 %" in note.inner_text() and "missed" in note.get_attribute("class")
    same = opened(hash=f"#{link}&lock=tuf:{value:.6e}".replace("e+", "e"))
    assert "%" not in same.inner_text("[data-name=tuf] .note")


def test_numbers_with_units_are_understood_and_others_stay_to_be_mended(opened):
    page = opened()
    before = box(page, "tuf")
    for text in (f"{1.1e-22 * before:.3f}e22 Mx", f"{1.1e-22 * before:.3f}×10^22Mx"):
        typed(page, "tuf", text)
        until(
            page,
            "old => Math.abs(Number(document.querySelector('[data-name=tuf] .value').value) - old) > 0.02 * old",
            before,
        )
        rest(page)
        assert abs(box(page, "tuf") - 1.1 * before) < 0.04 * before
        page.click("#undo")
        rest(page)
    for wrong in ("abc", "5 Mm", "1e21 1e22"):
        typed(page, "tuf", wrong)
        assert "no number of Mx" in page.inner_text("[data-name=tuf] .wrong")
        assert page.input_value("[data-name=tuf] .value") == wrong
        page.press("[data-name=tuf] .value", "Tab")
        assert page.input_value("[data-name=tuf] .value") == wrong
        page.focus("[data-name=tuf] .value")
        page.keyboard.press("Escape")
        assert box(page, "tuf") == before and not page.is_visible("[data-name=tuf] .wrong")


def test_a_server_that_was_started_anew_gets_the_file_again(opened, shipped_room, sample_file):
    page = opened()
    file = {"name": "sharp_856.fits", "mimeType": "application/fits", "buffer": sample_file}
    page.set_input_files("#open", file)
    until(page, "!document.querySelector('[name=view][value=made]').disabled")
    rest(page)
    before = state(page)
    page.context.set_offline(True)
    choose(page, "source", "real")
    until(page, "!document.getElementById('found-said').hidden")
    assert state(page)["matches"] == before["matches"], "matches stay while nobody answers"
    shipped_room.uploads._patches.clear()
    page.context.set_offline(False)
    until(page, "document.getElementById('notice').textContent.includes('answers again')")
    rest(page)
    assert page.inner_text("#title") == before["title"] and page.inner_text("#kind") == "real"
    # that nothing is close may be said, that nobody answers no more
    assert page.locator("#found-said:not(.hint)").is_hidden(), page.inner_text("#found-said")
    assert len(shipped_room.uploads) == 1


def test_an_upload_is_saved_under_its_own_name(opened, sample_file):
    page = opened()
    page.set_input_files("#open", {"name": "my region.fits", "mimeType": "application/fits", "buffer": sample_file})
    until(page, "document.getElementById('title').textContent.includes('HARP 856')")
    rest(page)
    page.click("#take")
    for kind, name in (("fits", "my region.fits"), ("png", "my region.png"), ("csv", "my region-matches.csv")):
        with page.expect_download() as download:
            page.click(f"#get-{kind}")
        assert download.value.suggested_filename == name


def test_a_file_without_a_field_is_not_inverted(opened):
    page = opened()
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/api/inver" in r.url else None)
    page.set_input_files("#open", {"name": "nothing.fits", "mimeType": "application/fits", "buffer": empty_file()})
    until(page, "document.getElementById('verdict').textContent.includes('holds no field')")
    rest(page)
    assert asked == [] and page.is_disabled("[data-name=tuf] input[type=range]")


def test_an_archive_of_observations_alone_has_histograms(opened):
    page = opened()

    def real_only(route):
        answer = route.fetch()
        document = answer.json()
        for about in document["parameters"].values():
            about["archive"]["simulated"] = [0] * len(about["archive"]["simulated"])
        route.fulfill(response=answer, body=json.dumps(document))

    assert page.eval_on_selector_all("[data-name=tuf] path.real", "nodes => nodes.length") == 0
    page.route("**/api/parameters", real_only)
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    bars = page.get_attribute("[data-name=tuf] path.real", "d")
    assert bars and page.eval_on_selector("[data-name=tuf] path.real", "node => node.getBBox().height") > 10


def test_the_frames_of_a_region_take_the_colours_too(opened):
    page = opened()
    page.click(".match .acts button[aria-expanded]")
    page.wait_for_selector(".frames canvas")
    drawn = "[...document.querySelectorAll('.frames canvas')].map((c) => c.toDataURL()).join()"
    page.wait_for_timeout(500)
    before = page.evaluate(drawn)
    choose(page, "palette", "hmi")
    until(page, f"old => {drawn} !== old", arg=before)


def test_what_is_asked_before_the_page_is_ready_is_done_then(opened):
    page = opened()
    held = []
    page.route("**/api/parameters", lambda route: held.append(route))
    page.goto("about:blank")
    page.goto(opened.address)
    page.fill("#describe", "weak")
    page.press("#describe", "Enter")
    until(page, "document.getElementById('about').textContent.includes('what you asked for')")
    held[0].continue_()
    until(page, "location.hash.includes('say=weak')")
    assert page.input_value("#describe") == "weak"


def test_the_first_move_after_an_observation_keeps_all_else(opened):
    # a region that the model can draw
    samples = files("solquery").joinpath("samples").iterdir()
    observation = next(one for one in samples if "sharp-4781" in one.name).read_bytes()
    page = opened()
    page.set_input_files("#open", {"name": "sharp_4781.fits", "mimeType": "application/fits", "buffer": observation})
    until(page, "!document.querySelector('[name=view][value=gap]').disabled && document.getElementById('stop').hidden")
    rest(page)
    assert "reconstructed" in page.inner_text("[data-name=tuf] .worth")
    before = {name: box(page, name) for name in ("tuf", "psep")}
    polarity = page.get_attribute("[name=p-polarity]:checked", "value")
    page.focus("#p-tuf")
    with page.expect_response(lambda r: "/api/search" in r.url):
        page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('kind').textContent === 'generated'")
    rest(page)
    assert abs(box(page, "tuf") - before["tuf"]) < 0.1 * before["tuf"]
    assert abs(box(page, "psep") - before["psep"]) < 0.15 * before["psep"]
    assert page.get_attribute("[name=p-polarity]:checked", "value") == polarity
