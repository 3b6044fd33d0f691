"""An observation in a real browser: a guess at once, its refinement, and what the inversion says."""

from __future__ import annotations

import pytest
from page_driver import MARKS, rest, until

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
    assert said == "" or "cannot draw this region" in said
