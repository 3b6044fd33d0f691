"""An observation in a real browser: a guess at once, its refinement, and what the inversion says."""

from __future__ import annotations

import time

import pytest
from page_driver import MARKS, box, choose, picture, rest, until

from solquery.steering.latent_text import encode_latent

pytest.importorskip("playwright.sync_api")

pytestmark = MARKS


def put(page, sample_file):
    page.set_input_files("#open", {"name": "sharp_856.fits", "mimeType": "application/fits", "buffer": sample_file})


def test_a_guess_is_shown_at_once_and_the_table_says_what_came_of_it(opened, sample_file):
    page = opened()
    with page.expect_response(lambda r: r.request.method == "POST" and "/api/inversions" in r.url):
        put(page, sample_file)
    # from the guess on there is a reconstruction to look at, and sliders to move
    until(
        page,
        "!document.querySelector('[name=view][value=made]').disabled && !document.getElementById('p-tuf').disabled",
    )
    rest(page)
    assert page.is_hidden("#stop")
    page.click("#inverted summary")
    assert "explains" in page.inner_text("#inverted summary")
    text = page.inner_text("#inverted")
    assert "14.6 Mm" in text or "15 Mm" in text
    heads = page.eval_on_selector_all("#inverted thead th", "nodes => nodes.map((one) => one.textContent)")
    assert heads == ["", "observed", "reconstructed", "difference"]
    rows = page.eval_on_selector_all("#inverted tbody th", "nodes => nodes.map((one) => one.textContent)")
    assert {"TUF", "PSEP", "R"} <= set(rows)
    said = page.inner_text("#verdict")
    assert "cannot draw this region" in said or "UT" in said, "the verdict, or else when and where it was observed"


def test_a_number_out_of_reach_of_an_observation_stays_to_be_mended(opened, sample_file):
    page = opened()
    put(page, sample_file)
    until(page, "!document.getElementById('inverted').hidden && document.getElementById('stop').hidden")
    rest(page)
    told, drawn = page.inner_text("#inverted summary"), picture(page)
    page.fill("[data-name=flux] .value", "9e23 Mx")
    page.press("[data-name=flux] .value", "Enter")
    page.wait_for_selector("[data-name=flux] .wrong:not([hidden])")
    rest(page)
    page.wait_for_timeout(1_500)
    assert box(page, "flux") == 9e23 and page.is_visible("[data-name=flux] .nearest")
    assert page.inner_text("#inverted summary") == told and picture(page) == drawn, "nothing else has changed"
    page.click("[data-name=flux] .nearest")
    until(page, "document.getElementById('kind').textContent === 'generated'")
    rest(page)
    assert page.is_hidden("[data-name=flux] .wrong") and box(page, "flux") < 9e23


@pytest.fixture
def unending(monkeypatch):
    """Real inversions with more evaluations than anybody waits for; the states of each so far."""
    from solquery.app import service as module

    real, made = module.reconstruct_in_steps, []

    def states(model, x, **options):
        made.append([])
        for state in real(model, x, **options, evaluations=1_000_000):
            made[-1].append(state)
            yield state

    monkeypatch.setattr(module, "reconstruct_in_steps", states)
    return made


def deleted(request):
    return request.method == "DELETE" and "/api/inversions/" in request.url


def ended(page, room):
    """Wait until the server computes no inversion any more; the newest."""
    job, end = next(reversed(room.inversions._jobs.values())), time.monotonic() + 60
    while job.running:
        assert time.monotonic() < end, "the server goes on"
        page.wait_for_timeout(25)
    return job


def test_stop_ends_the_work_at_the_server_and_keeps_the_closest_so_far(opened, sample_file, shipped_room, unending):
    page = opened()
    put(page, sample_file)
    # some states beyond the guess
    until(page, "document.getElementById('verdict').textContent.includes('matching the picture')")
    assert page.is_visible("#stop")
    # an answer that is not read to its end is never finished
    with page.expect_event("requestfinished", deleted, timeout=60_000):
        page.click("#stop")
        page.wait_for_selector("#stop", state="hidden", timeout=5_000)
    rest(page)
    job = ended(page, shipped_room)
    assert job.cancelled and job.error is None
    count = len(unending[-1])
    assert count > 1
    assert "stopped: this is the closest so far" in page.inner_text("#verdict")
    # what was reached stays, and is of the states that the server has made
    assert page.is_visible("#inverted") and "z=" in page.evaluate("location.hash")
    z = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('z')")
    assert z in [encode_latent(one.z, one.offsets, one.noise) for state in unending[-1] for one in state.found]
    choose(page, "view", "made")
    assert "the model's closest" in page.inner_text("#title")
    # and is where a slider starts from
    with page.expect_request(lambda r: "/api/edit" in r.url and '"exact":true' in (r.post_data or "")) as moved:
        page.focus("#p-tuf")
        page.keyboard.press("ArrowRight")
    assert moved.value.post_data_json["z"] == z
    rest(page)
    assert page.is_enabled("#p-tuf")
    assert len(unending) == 1 and len(unending[0]) == count


def test_stop_before_the_guess_ends_what_begins_after_it(opened, sample_file, shipped_room, unending):
    page, held = opened(), []
    page.route("**/api/inversions?*", lambda route: held.append(route))
    put(page, sample_file)
    page.wait_for_selector("#stop:not([hidden])")
    while not held:
        page.wait_for_timeout(25)
    page.click("#stop")
    page.wait_for_selector("#stop", state="hidden", timeout=5_000)
    rest(page)
    assert "was not looked for" in page.inner_text("#verdict") and page.is_disabled("#p-tuf")
    with page.expect_event("requestfinished", deleted, timeout=60_000):
        held[0].continue_()
    assert ended(page, shipped_room).cancelled


def test_a_slider_that_moves_ends_the_refinement(opened, sample_file, shipped_room, unending):
    page = opened()
    put(page, sample_file)
    until(page, "!document.querySelector('[name=view][value=made]').disabled")
    with page.expect_event("requestfinished", deleted, timeout=60_000):
        page.focus("#p-tuf")
        page.keyboard.press("ArrowRight")
    assert ended(page, shipped_room).cancelled
    rest(page)
    assert page.is_hidden("#stop")
