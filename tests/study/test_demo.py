"""The whole chain on an archive of a few patches, and the report it writes."""

import json
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from solquery.errors import SolqueryError
from solquery.study import METHODS, PARAMETERS
from solquery.study.demo import run_demo


class _Page(HTMLParser):
    """Checks that what is opened is closed, and collects addresses and text."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag


@pytest.fixture(scope="module")
def page(demo):
    parser = _Page()
    parser.feed((demo[0] / "report.html").read_text(encoding="utf-8"))
    parser.close()
    return parser


def test_report_is_well_formed_and_needs_nothing_from_outside(page, demo):
    assert page.open == []
    assert page.images and all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "video"}
    text = (demo[0] / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text and "@import" not in text
    assert len(text) < 12e6


def test_every_picture_says_what_it_shows_and_every_patch_where_it_comes_from(page):
    assert all(image["alt"] for image in page.images)
    tiles = [attrs["class"] for tag, attrs in page.tags if tag == "figure" and attrs["class"].startswith("tile ")]
    kinds = {name.removeprefix("tile ") for name in tiles}
    assert kinds == {"real", "simulated", "generated"}
    badges = [attrs for tag, attrs in page.tags if tag == "span" and attrs.get("class", "").startswith("badge")]
    assert len(badges) >= len(tiles)


def test_report_tells_the_reader_what_to_distrust(demo):
    text = (demo[0] / "report.html").read_text(encoding="utf-8")
    for phrase in (
        "archive is simulated",
        "No physical size",
        "Line of sight",
        "the limb",
        "leading polarity negative",
    ):
        assert phrase in text


def test_summary_has_the_documented_shape(demo):
    out, summary, _ = demo
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["archive"] == {"patches": 26, "regions": 14, "simulated": 24, "real": 2, "simulated_regions": 12}
    assert (
        summary["query"]["measured"]["tuf"]["unit"] == "G pix"
        and summary["query"]["requested"]["polarity"]["value"] == -1
    )
    assert summary["query"]["measured"]["polarity"]["value"] == -1
    assert set(summary["retrieval"]["correlations"]) == set(METHODS)
    assert set(summary["retrieval"]["correlations"]["ssl"]) == set(PARAMETERS)
    assert summary["retrieval"]["queries"] == 40 and summary["retrieval"]["patches"] == 26
    assert summary["seconds"] > 0 and summary["timings"] and summary["report"] == str(out / "report.html")


def test_matches_are_of_ten_regions_nearest_first(demo):
    matches = demo[1]["matches"]
    assert len(matches) == 10 and len({m["region"] for m in matches}) == 10
    distances = [m["distance"] for m in matches]
    assert distances == sorted(distances) and distances[0] > 0
    assert {m["source"] for m in matches} <= {"real", "simulated"}
    assert all(m["parameters"]["tuf"]["unit"] == "Mx" and m["parameters"]["tuf"]["value"] > 1e19 for m in matches)
    assert all(m["grid_parameters"]["tuf"]["unit"] == "G pix" for m in matches)


def test_the_real_region_is_inverted_edited_and_finds_itself(demo):
    real = demo[1]["real_query"]
    assert real["region"] == "HARP 856" and real["quantity"] == "line-of-sight" and real["finds_itself"]
    assert 0 <= real["mse"] < 0.05 and real["z_norm"] > 0
    assert real["edited"]["parameters"]["tuf"]["value"] > 1.1 * real["reconstructed"]["tuf"]["value"]
    for found in (real["matches"], real["edited_matches"]):
        assert len(found) == 5 and all(match["region"] != "HARP 856" for match in found)


def test_strips_change_what_they_should(demo):
    strips = demo[1]["strips"]
    assert [(s["parameter"], s["held"]) for s in strips] == [
        ("tuf", []), ("tuf", ["r"]), ("psep", []), ("psep", ["polarity"]),
        ("psep", ["polarity", "r"]),
    ]  # fmt: skip
    assert all(len(s["values"]["tuf"]) == len(s["steps"]) == 25 for s in strips)
    tuf, psep = (np.array(strips[k]["values"][name]) for k, name in ((0, "tuf"), (2, "psep")))
    # the drawn spots saturate at the strong end
    assert (np.diff(tuf[:17:4]) > 0).all() and tuf[-1] > 1.5 * tuf[0] and psep[-1] > psep[0]
    assert strips[0]["effect_on_random_latents"]["tuf"] > 1


def test_progress_rises_to_one(demo):
    fractions = [fraction for _, fraction in demo[2]]
    assert all(0 <= fraction <= 1 for fraction in fractions) and fractions[-1] == 1
    assert all(b >= a - 1e-9 for a, b in pairwise(fractions))
    assert all(isinstance(text, str) and text for text, _ in demo[2])


def test_no_partial_file_is_left_behind(demo):
    assert not list(demo[0].rglob("*.part"))


def test_the_demo_is_a_plan_of_the_reproduction(demo):
    results = json.loads((demo[0] / "results.json").read_text())
    assert {"described", "observed", "figure5", "table"} <= set(results["stages"])
    assert results["plan"]["description"] == demo[1]["query"]["description"]
    within = [row["within"] for row in results["stages"]["table"]["population"].values()]
    assert all(value is None or 0 <= value <= 1 for value in within) and any(within)


def test_second_run_uses_the_archive_again(demo, model, tmp_path, monkeypatch, capsys):
    from solquery.study import reproduce
    from solquery.study import reproduce_training as module

    def never(*arguments):
        raise AssertionError("simulated again")

    monkeypatch.setattr(module, "simulate", never)
    monkeypatch.setattr(module, "sample_patches", list)
    monkeypatch.setattr(reproduce.os, "cpu_count", lambda: 1)
    shutil.copytree(demo[0], tmp_path / "out")  # other tests read what the first run wrote
    again = run_demo(tmp_path / "out", queries=5, model=model, regions=12, frames=2)
    assert again["archive"] == demo[1]["archive"]
    assert [m["id"] for m in again["matches"]] == [m["id"] for m in demo[1]["matches"]]
    assert capsys.readouterr().out == ""


def test_a_model_without_directions_is_refused_before_anything_is_made(model, tmp_path):
    from solquery.model import Model

    bare = Model("bare", model.preset, model.generator, model.encoder)
    with pytest.raises(SolqueryError, match=r"has no directions.*solquery directions"):
        run_demo(tmp_path / "out", model=bare)
    assert not (tmp_path / "out" / "archive").exists()
