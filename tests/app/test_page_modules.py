"""The page's modules without a browser: how numbers are written, and which part of a field is shown large."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from solquery.app.schemas import SearchIn
from solquery.cli.search import search as search_verb
from solquery.search import search

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which runs the page's modules")


def run(folder, imports, expression):
    """What an expression of JavaScript gives, with names imported from the modules of the page."""
    for module in files("solquery").joinpath("app/page").iterdir():
        if module.name.endswith(".js"):
            shutil.copy(str(module), folder)
    (folder / "package.json").write_text('{"type": "module"}')
    lines = [f'import {{ {names} }} from "./{module}";' for module, names in imports.items()]
    (folder / "run.js").write_text("\n".join([*lines, f"console.log(JSON.stringify({expression}));"]))
    done = subprocess.run(["node", "run.js"], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_numbers_keep_the_digits_that_they_have(tmp_path):
    values = [57.03, 0.01003, -22.04, 4330.4, 16, 2.1e22, 1e-5, -0.9996, 0, 31.0]
    wanted = ["57.0", "0.0100", "−22.0", "4330", "16", "2.10×10²²", "1.00×10⁻⁵", "−1.00", "0", "31"]
    assert run(tmp_path, {"format.js": "number"}, f"{values}.map((v) => number(v))") == wanted
    values = [0.6000000000000001, 1.5, 200000, 2.5e22, 40]
    wanted = ["0.6", "1.5", "2×10⁵", "2.5×10²²", "40"]
    assert run(tmp_path, {"format.js": "short"}, f"{values}.map((v) => short(v))") == wanted
    degrees = run(tmp_path, {"format.js": "quantity"}, "quantity({ value: -21.5, unit: 'deg' })")
    assert degrees == "−21.5°"


def test_a_value_goes_to_the_digit_of_its_error(tmp_path):
    pairs = [
        (57.03, 0.1215, "57.03 ± 0.12"),
        (2.312e22, 8.08e19, "(2.312 ± 0.008)×10²²"),
        (-0.4, 0.04, "−0.40 ± 0.04"),
        (1.17e21, 4.7e19, "(1.17 ± 0.05)×10²¹"),
        (50.13, 0.47, "50.1 ± 0.5"),
        (66.8, 3.2, "67 ± 3"),
        (3.0e21, 0, "3.00×10²¹"),
    ]
    told = f"{json.dumps(pairs)}.map(([value, error]) => measured({{ value, error }}))"
    assert run(tmp_path, {"numbers.js": "measured"}, told) == [wanted for *_, wanted in pairs]


def test_a_patch_is_called_by_its_region_and_time(tmp_path):
    ids = ["sharp-750-20110803T223600-Br", "sim-3-00001-004", "8f2c"]
    names = run(tmp_path, {"format.js": "nameOf"}, f"{ids}.map(nameOf)")
    assert names == ["HARP 750, 2011-08-03 22:36 TAI", "SIM 3-1, frame 5", "8f2c"]


def test_a_close_up_leaves_out_noise_and_small_elements_far_from_the_region(tmp_path):
    field = np.random.default_rng(0).normal(0, 60, (96, 192))
    field[40:60, 60:80] = 1200
    field[40:60, 84:104] = -1200
    field[5:8, 180:183] = 400
    flat = json.dumps([round(v, 1) for v in field.ravel().tolist()])
    shape = "(({ left, bottom, w, h }) => [left, bottom, w, h])"
    call = f"{shape}(cropped({{ data: Float32Array.from({flat}), h: 96, w: 192 }}))"
    left, bottom, width, height = run(tmp_path, {"field.js": "cropped"}, call)
    assert width < 0.5 * 192 and width / height == pytest.approx(2, rel=0.03)
    # the region itself is in it
    assert left <= 61 and left + width >= 103 and bottom <= 41 and bottom + height >= 59


def test_python_command_line_api_and_page_agree(tmp_path):
    library = {name: p.default for name, p in inspect.signature(search).parameters.items()}
    command = {name: p.default for name, p in inspect.signature(search_verb).parameters.items()}
    asked = SearchIn(patch="x")
    page = run(tmp_path, {"state.js": "fresh"}, "fresh()")
    assert library["k"] == command["k"] == asked.k == page["k"]
    assert library["by"] == command["by"].value == asked.by == page["by"]
    assert library["group"] == command["group"].value == asked.group == ("region" if page["perRegion"] else "none")
    html = files("solquery").joinpath("app/page/index.html").read_text()
    assert re.findall(r'name="by" value="(\w+)" checked', html) == [page["by"]]
    assert re.search(r'id="f-k"[^>]*value="(\d+)"', html)[1] == str(page["k"])


def test_links_from_before_mean_what_they_meant(tmp_path):
    links = ["#id=a", "#id=a&k=5", "#id=a&by=ssl", "#id=a&by=hybrid", "", "#id=a&by=embedding"]
    found = run(
        tmp_path, {"state.js": "fromHash"}, f"{links}.map((link) => fromHash(link).state).map((s) => [s.by, s.k])"
    )
    assert found == [
        ["hybrid", 12],
        ["hybrid", 5],
        ["embedding", 10],
        ["hybrid", 10],
        ["embedding", 10],
        ["embedding", 10],
    ]
