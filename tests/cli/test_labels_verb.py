"""A direction from labels of an archive's patches; inversions are kept for other labels."""

import csv
import warnings

import numpy as np
import pytest
from command_line import document, failure

from solquery import Archive
from solquery.steering import SteeringWarning


@pytest.fixture
def labels(room, tmp_path):
    """Strong and weak frames of the archive: four frames of each of eight regions."""
    table = Archive.open(str(room / "archive")).table(columns=["id", "region", "tuf"])
    ids, regions, flux = (np.array(table[key].to_pylist()) for key in ("id", "region", "tuf"))
    of = {name: np.mean(flux[regions == name]) for name in set(regions)}
    middle = np.median(list(of.values()))
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        rows = [(i, int(of[r] > middle)) for i, r in zip(ids, regions, strict=True)]
        csv.writer(file).writerows([("id", "label"), *rows])
    return path


def labelled(room, labels, out, *more):
    with warnings.catch_warnings():
        # a generator of one epoch knows little; whether its direction has skill is not what is asked here
        warnings.simplefilter("ignore", SteeringWarning)
        command = ("directions", "labels", "--labels", labels, "--archive", room / "archive", "--steps", 3)
        return document(*command, "--model", room / "model", "--out", out, *more)


def test_inversions_are_made_once_for_many_labels(room, labels, tmp_path):
    kept = ("--latents", tmp_path / "latents.npz")
    first = labelled(room, labels, tmp_path / "a.json", *kept)
    assert first["inverted"] == 32 and first["patches"] == 32 and first["regions"] == 8 and first["positives"] == 16
    again = labelled(room, labels, tmp_path / "b.json", *kept)
    assert again["inverted"] == 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    # without the file they are the same as with it
    labelled(room, labels, tmp_path / "c.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "c.json").read_text()
    command = ("directions", "labels", "--labels", labels, "--archive", room / "archive", "--model", room / "model")
    assert "was made with another model" in failure(*command, "--steps", 4, *kept)
    assert "--by" in failure(*command, "--steps", 3, "--by", "closest", *kept)
    assert "no inference network" in failure(*command, "--by", "guess")
    (tmp_path / "no.npz").write_text("nothing")
    assert "holds no latents" in failure(*command, "--latents", tmp_path / "no.npz")


def test_labels_of_one_class_are_refused_before_anything_is_inverted(room, labels, tmp_path):
    ones = tmp_path / "ones.csv"
    ones.write_text("\n".join(line.rsplit(",", 1)[0] + ",1" for line in labels.read_text().splitlines()[1:]) + "\n")
    kept, out = tmp_path / "kept.npz", tmp_path / "d.json"
    command = ("directions", "labels", "--labels", ones, "--archive", room / "archive", "--model", room / "model")
    told = failure(*command, "--latents", kept, "--out", out)
    assert "labels 1 come from 8 regions and labels 0 from 0" in told and "inverting" not in told
    assert not kept.exists() and not out.exists()


def test_more_of_a_class_lie_on_its_side(room, labels, tmp_path):
    labelled(room, labels, tmp_path / "strong.json")
    common = ("--model", room / "model", "--class-direction", tmp_path / "strong.json", "-n", 5)
    answers = document("generate", *common, "--out", tmp_path / "more")["answers"]
    assert [answer["verdict"] for answer in answers] == ["met"] * 5
