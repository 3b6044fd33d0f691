"""The verbs `train translation` and `translate`: a map from a table of pairs, and what it makes of files."""

from __future__ import annotations

import numpy as np
import pytest
from blob_sun import line_of_sight, radial
from command_line import call, document, failure

from solquery import Archive, read_sharp, write_fits


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    base = tmp_path_factory.mktemp("pairs")
    lines = ["given,wanted"]
    for number, longitude in enumerate((-55.0, -35.0, -10.0, 20.0, 40.0, 58.0)):
        truth = radial(number, longitude)
        write_fits(truth, base / f"{number}-br.fits")
        write_fits(line_of_sight(truth), base / f"{number}-los.fits")
        lines.append(f"{number}-los.fits,{number}-br.fits")
    (base / "pairs.csv").write_text("\n".join(lines) + "\n")
    return base


def test_a_map_is_fitted_on_a_table_and_used(pairs, tmp_path):
    file = tmp_path / "mine.safetensors"
    told = document("train", "translation", pairs / "pairs.csv", "--kind", "los-to-radial", "--out", file)
    assert told["provenance"] == {"pairs": 6, "regions": 6, "data": "pairs.csv", "simple": "field / mu"}
    # these fields are radial everywhere, so that nothing is better than to divide by mu
    assert told["method"] == "simple" and told["shortfall"] == ""
    assert told["error"]["filters"]["rms_gauss"] < told["error"]["nothing"]["rms_gauss"]
    truth = radial(77, 45.0)
    given = write_fits(line_of_sight(truth), tmp_path / "given.fits")
    made = document("translate", given, "--with", file, "--out", tmp_path / "out")
    (row,) = made["patches"]
    assert (row["source"], row["of"], row["of_source"]) == ("translated", line_of_sight(truth).id, "simulated")
    assert row["translation"]["name"] == "mine" and row["translation"]["error"] == told["error"]["simple"]
    patch = read_sharp(row["file"])
    assert patch.source == "translated" and patch.quantity == "radial" and patch.keywords["TRANSLAT"] == "mine"
    assert float(np.nanmax(np.abs(patch.field))) == pytest.approx(float(np.abs(truth.field).max()), rel=0.1)
    assert (tmp_path / "out").joinpath(row["picture"].rsplit("/", 1)[-1]).read_bytes()[:4] == b"\x89PNG"
    # in words, and twice is refused
    assert "translated" in call("translate", given, "--with", file, "--out", tmp_path / "out")[0]
    assert "none of the 1 files" in failure("translate", row["file"], "--with", file)
    call("ingest", given, "--archive", tmp_path / "archive")
    assert "source must be one of" in call("ingest", row["file"], "--archive", tmp_path / "archive", code=1)[1]
    assert len(Archive.open(tmp_path / "archive")) == 1


def test_a_map_is_fitted_on_an_archive(tmp_path):
    archive = Archive.create(tmp_path / "pairs")
    fields = [radial(k, longitude) for k, longitude in enumerate((-50.0, 0.0, 50.0))]
    archive.add([*fields, *map(line_of_sight, fields)])
    file = tmp_path / "map.safetensors"
    told = document("train", "translation", "--archive", tmp_path / "pairs", "--kind", "radial-to-los", "--out", file)
    assert told["provenance"]["regions"] == 3 and file.exists()


def test_bad_input_is_one_line_and_writes_nothing(pairs, tmp_path):
    file = tmp_path / "map.safetensors"
    given = pairs / "0-los.fits"
    assert "no map 'nonsense'" in failure("translate", given, "--with", "nonsense")
    bad = pairs / "bad.csv"
    bad.write_text("given,wanted\n0-los.fits,0-br.fits\n")
    assert "all of region BLOB 0" in failure("train", "translation", bad, "--out", file)
    bad.write_text("given,wanted\n0-los.fits,1-br.fits\n")
    assert "line 2" in failure("train", "translation", bad, "--out", file)
    assert not file.exists()
