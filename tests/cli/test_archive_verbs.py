"""What goes into an archive and what is measured on files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from command_line import are_quantities, call, document, failure

from solquery.archive import Archive
from solquery.physics import parameters
from solquery.simulator import simulate_region


def test_simulate_adds_every_frame_once_and_makes_again_what_is_missing_alone(room, tmp_path, monkeypatch):
    from solquery.simulator import workers

    archive, made = tmp_path / "archive", []

    def counted(*job):
        made.append(job[1])
        return simulate_region(*job)

    monkeypatch.setattr(workers, "simulate_region", counted)
    command = ("simulate", "--frames", 3, "--seed", 5, "--archive", archive, "--workers", 1)
    first, again = document(*command, "--regions", 2), document(*command, "--regions", 2)
    assert (first["added"], first["duplicates"], first["patches"]) == (6, 0, 6)
    assert (again["added"], again["duplicates"], again["patches"]) == (0, 6, 6)
    assert made == [0, 1]
    # more regions, and the rest of one that was interrupted
    Archive.open(archive).remove(["sim-5-00001-002"])
    more = document(*command, "--regions", 3)
    assert made == [0, 1, 1, 2]
    assert (more["added"], more["duplicates"], more["patches"]) == (4, 5, 9)


def test_ingest_names_the_refused_and_keeps_the_others(observed, broken, tmp_path):
    archive = tmp_path / "archive"
    out, err = call("ingest", broken[0], observed, broken[1], tmp_path / "absent.fits", "--archive", archive, "--json")
    report = json.loads(out)
    assert (report["added"], report["duplicates"], report["patches"]) == (1, 0, 1)
    assert [r["file"] for r in report["refused"]] == [str(broken[0]), str(broken[1]), str(tmp_path / "absent.fits")]
    assert all(r["reason"] for r in report["refused"])
    for name in ("empty.fits", "page.fits", "absent.fits"):
        assert name in err
    row = Archive.open(archive).table().to_pylist()[0]
    assert (row["harpnum"], row["source"]) == (7777, "real")
    again = document("ingest", observed, "--archive", archive)
    assert (again["added"], again["duplicates"]) == (0, 1)


def test_ingest_of_nothing_readable_makes_no_archive(broken, tmp_path):
    archive = tmp_path / "archive"
    assert "none of the 2 files" in failure("ingest", *broken, "--archive", archive)
    assert not archive.exists()
    report = document("ingest", broken[0].parent, "--archive", archive, code=1)
    assert len(report["refused"]) == 2
    assert not archive.exists()


def test_params_measures_at_native_scale(observed):
    record = document("params", observed)["patches"][0]
    assert record["region"] == "HARP 7777"
    are_quantities(record["parameters"], parameters())
    field = fits.getdata(observed).astype(np.float32)
    tuf = record["parameters"]["tuf"]
    assert tuf["unit"] == "Mx"
    assert tuf["value"] == pytest.approx(np.abs(field).sum() * 1.328054e15, rel=1e-3)
    assert record["keywords"]["HARPNUM"] == 7777
    assert set(document("params", observed, "--param", "r")["patches"][0]["parameters"]) == {"r"}


def test_params_of_bad_input(observed, broken):
    assert "no parameter named 'fluxx'" in (line := failure("params", observed, "--param", "fluxx"))
    assert "tuf, tpf" in line
    assert "none of the 2 files" in failure("params", *broken)
    assert len(document("params", observed, *broken)["refused"]) == 2


def test_info(room):
    about = document("info", "--archive", room / "archive")
    assert (about["patches"], about["regions"], about["source"]) == (32, 8, {"simulated": 32})
    about = document("info", "--preset", "paper")
    assert about["generator"]["parameters"] == 1_510_081
    assert about["discriminator"]["parameters"] == 1_495_945
    assert about["encoder"]["parameters"] > 1e7
    assert about["generator"]["arch"] == "paper"
    about = document("info", "--model", room / "model")
    assert (about["name"], about["preset"]["name"]) == ("test", "tiny")
    are_quantities({name: row["median"] for name, row in about["directions"].items()}, ["tuf"])
    assert set(document("info")["parameters"]) == set(parameters())
    assert "tiny" in failure("info", "--preset", "huge")
    call("info", "--preset", "paper", "--model", "x", code=2)
