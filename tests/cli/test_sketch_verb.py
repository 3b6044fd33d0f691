"""The verb `sketch`: files, numbers of both, and matches of an archive."""

import json

import pytest
from command_line import are_quantities, document, failure

from solquery import Archive, read_sharp
from solquery.simulator import simulate_region


@pytest.fixture
def sketch(tmp_path):
    path = tmp_path / "bipole.json"
    blobs = [
        {"sign": "-", "flux": "8e21 Mx", "size": 20, "x": -25, "y": -3},
        {"sign": "+", "flux": "8e21 Mx", "size": 18, "x": 25, "y": 3},
    ]
    path.write_text(json.dumps({"blobs": blobs}))
    return path


def test_a_sketch_is_drawn_and_searched_with(sketch, tmp_path):
    archive = Archive.create(tmp_path / "archive")
    archive.add([frame for k in range(3) for frame in simulate_region(71, k, 1)])
    command = ("sketch", sketch, "--model", "physical", "--starts", 1, "--steps", 12, "--out", tmp_path / "out")
    told = document(*command, "--archive", tmp_path / "archive", "-k", 2)
    assert len(told["matches"]) == 2 and told["query"] == {"kind": "sketch", "blobs": 2}
    for name, source in (("sketch", "sketch"), ("region", "generated")):
        are_quantities(told[name]["parameters"])
        assert read_sharp(told[name]["file"]).source == source
    assert told["sketch"]["parameters"]["polarity"]["value"] == 1
    assert told["sketch"]["parameters"]["psep"]["value"] == pytest.approx(50.4, rel=0.02)
    # the region that was searched with can be searched with again
    common = ("--archive", tmp_path / "archive", "--model", "physical", "--by", "hybrid")
    again = document("search", told["region"]["latent"], *common, "-k", 2)
    assert [m["id"] for m in again["matches"]] == [m["id"] for m in told["matches"]]


def test_bad_sketches_are_one_line_and_write_nothing(sketch, tmp_path):
    command = ("sketch", sketch, "--out", tmp_path / "out")
    assert "has no scale" in failure(*command, "--model", "paper")
    sketch.write_text('[{"sign": "+", "flux": 1e22, "size": 20, "x": 0, "y": 0}]')
    assert "of both signs" in failure(*command)
    sketch.write_text("no drawing")
    assert "is no JSON" in failure(*command)
    assert "cannot be read" in failure("sketch", tmp_path / "nothing.json")
    assert not (tmp_path / "out").exists()
