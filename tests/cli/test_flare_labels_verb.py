"""The verb `labels`, and that generated examples of a class say so in file and table."""

import csv
import json
from dataclasses import replace

import pytest
from command_line import call, document, failure

from solquery import Archive, read_sharp
from solquery.archive.labels import read_labels
from solquery.simulator import simulate_region
from solquery.steering.class_direction import ClassDirection


@pytest.fixture
def observed_archive(tmp_path):
    """Frames of two regions, as observed ones are kept."""
    frames = [
        replace(
            frame, id=f"sharp-{harp}-{k}", region=f"HARP {harp}", source="real", harpnum=harp, noaa=(noaa,),
            t_rec=f"2012-03-0{5 + k}T00:00:00",
        )
        for harp, noaa in ((1449, 11429), (1447, 11428))
        for k, frame in enumerate(simulate_region(harp, 0, 3))
    ]  # fmt: skip
    Archive.create(tmp_path / "archive").add(frames)
    return tmp_path / "archive"


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "flares.csv"
    path.write_text(
        "start_time,peak_time,goes_class,noaa_active_region\n2012-03-04T10:00:00,2012-03-04T10:52:00,M2.0,11429\n"
        "2012-03-07T00:02:00,2012-03-07T00:24:00,X5.4,11429\n2012-03-09T03:22:00,2012-03-09T03:53:00,M6.3,11429\n"
    )
    return path


def test_labels_of_an_archive(observed_archive, events, tmp_path):
    out = tmp_path / "labels.csv"
    command = ("labels", observed_archive, "--events", events, "--within", "24h", "--out", out)
    told = document(*command, "--class", "X")
    assert (told["patches"], told["positives"], told["regions"]) == (6, 1, {"1": 1, "0": 2})
    assert {name for name, label in read_labels(out).items() if label} == {"sharp-1449-2"}
    assert "no GOES class" in failure(*command, "--class", "Q")
    assert "all 6 patches are labelled 0" in failure(*command, "--class", "X9")
    assert "can be labelled: 6 outside" in failure(*command, "--covers", "2013-01-01", "2014-01-01")
    events.write_text("when,how strong\n2012-03-07,very\n")
    assert "is no flare list that is known" in failure(*command)
    # what is refused leaves the table that is there
    assert len(read_labels(out)) == 6
    assert "takes two times" in " ".join(call(*command, "--covers", "then", "now", code=2)[1].split())


def test_generated_examples_of_a_class_carry_its_label(model, room, tmp_path):
    import numpy as np

    normal = np.eye(1, int(model.generator.latent_dim))[0]
    path = ClassDirection(normal, 0.0, 0.8, 0.9, 0.2, 32, 8, 16).save(tmp_path / "class.json", model)
    command = ("generate", "--model", room / "model", "--class-direction", path, "-n", 3, "--out", tmp_path / "more")
    answers = document(*command)["answers"]
    assert [answer["label"] for answer in answers] == [1, 1, 1]
    for answer in answers:
        patch = read_sharp(answer["file"])
        assert patch.truth["label"] == 1 and patch.source == "generated"
    table = tmp_path / "more" / "labels.csv"
    assert read_labels(table) == {answer["id"]: 1 for answer in answers}
    with table.open() as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"generated"}
    # and in the archive that they are put into
    store = Archive.create(tmp_path / "archive")
    store.add([read_sharp(answer["file"]) for answer in answers])
    assert [json.loads(text)["label"] for text in store.table(["truth"])["truth"].to_pylist()] == [1, 1, 1]
    # what was not asked for as a class has none
    plain = document("generate", "--model", room / "model", "--describe", "strong", "--nearest", "--out", tmp_path)
    assert "label" not in plain["answers"][0] and not (tmp_path / "labels.csv").exists()
