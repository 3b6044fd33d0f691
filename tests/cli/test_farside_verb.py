"""The verbs `farside` and `study farside`: files, numbers, pictures, refusals."""

import json

import numpy as np
import pytest
from astropy.io import fits
from command_line import are_quantities, call, document, failure

from solquery import Archive, read_sharp, write_fits
from solquery.sharp.fits import read_unsigned
from solquery.simulator import simulate_region

FEW = ("--draws", 50, "--members", 4, "--steps", 2)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frame.fits"
    return write_fits(simulate_region(72, 0, 1)[0], path)


def test_an_ensemble_of_a_magnetogram(frame, tmp_path):
    told = document("farside", frame, "--degrade", *FEW, "--set", "tuf=1e22Mx±50%", "--out", tmp_path / "out")
    assert told["members"] == 4 and len(told["files"]) == 4
    for key in ("median", "low", "high"):
        are_quantities({name: values[key] for name, values in told["parameters"].items()})
    tuf = told["parameters"]["tuf"]
    assert tuf["low"]["value"] <= tuf["median"]["value"] <= tuf["high"]["value"]
    assert {read_sharp(path).source for path in told["files"]} == {"generated"}
    assert np.load(told["latents"]).shape == (4, 100)
    assert json.loads((tmp_path / "out" / "farside.json").read_text())["members"] == 4
    assert (tmp_path / "out" / "farside.png").stat().st_size > 10_000


def test_an_ensemble_of_a_map(tmp_path):
    y, x = ((np.arange(n) - (n - 1) / 2) * 5.0 for n in (30, 50))
    field = 250.0 * np.exp(-0.5 * (y[:, None] ** 2 + x[None] ** 2) / 25.0**2)
    path = tmp_path / "map.fits"
    header = fits.Header({"BUNIT": "Gauss"})
    fits.writeto(path, field.astype(np.float32), header)
    out, said = call("farside", path, "--scale", 5.0, *FEW, "--out", tmp_path / "out")
    with pytest.raises(ValueError, match="source"):
        Archive.create(tmp_path / "archive").add([read_unsigned(path, scale_mm=5.0)])
    assert "4 generated regions" in out and "plausible regions, not the region" in said


def test_what_is_no_map_or_no_constraint_is_one_line(frame, tmp_path):
    command = ("farside", frame, *FEW, "--out", tmp_path / "out")
    assert "has both polarities" in failure(*command) and "--degrade" in failure(*command)
    assert "no constraint 'sepsep'" in failure(*command, "--degrade", "--set", "sepsep=3")
    assert "is no constraint" in failure(*command, "--degrade", "--set", "tuf")
    assert "has no scale" in failure(*command, "--degrade", "--model", "paper")
    assert not (tmp_path / "out").exists()


def test_the_study_ranks_the_truth(tmp_path):
    archive = Archive.create(tmp_path / "archive")
    archive.add([frame for k in range(10) for frame in simulate_region(73, k, 1)])
    told = document("study", "farside", "--archive", tmp_path / "archive", "-n", 10, *FEW, "--out", tmp_path / "out")
    assert told["patches"] == told["regions"] == 10
    for values in told["parameters"].values():
        assert sum(values["histogram"]) == values["patches"] <= 10
        assert 0 <= values["within_68"] <= 1
    # even 50 draws and a blurred map know more of the flux than none
    assert told["parameters"]["tuf"]["skill"] > 0.2
    assert told["visual_similarity"]["members"] > told["visual_similarity"]["draws"]
    assert told["likeness"] == told["visual_similarity"]  # its name before
    for name in ("ranks.png", "ensemble.png"):
        assert (tmp_path / "out" / name).stat().st_size > 5_000
    few = Archive.create(tmp_path / "few")
    few.add(simulate_region(73, 0, 1))
    assert "10 are needed" in failure("study", "farside", "--archive", tmp_path / "few", *FEW)
