"""Training on simulated and real frames together, and what a view cuts, as the command line tells it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from command_line import call, document, failure

from solquery.archive import Archive
from solquery.config import PRESETS, EncoderConfig, get_preset
from solquery.encoder import build_encoder
from solquery.generator import build_generator
from solquery.model import Model
from solquery.patch import Patch
from solquery.search import SearchError, search
from solquery.sharp import write_fits


def field(k, shape=(24, 36)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    random = np.random.default_rng(k)
    out = random.normal(0, 5, shape)
    for sign in (1, -1):
        at = random.uniform(0.3, 0.7) * shape[0], random.uniform(0.3, 0.7) * shape[1]
        out += sign * 1200 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 18.0)
    return out.astype(np.float32)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Twenty simulated patches and six real ones of three HARPs."""
    archive = Archive.create(tmp_path_factory.mktemp("mixed") / "archive")
    archive.add([Patch(field(k), (2.0, 2.0), f"s{k:02d}", f"SIM {k // 2}", "simulated") for k in range(20)])
    harps = (377, 377, 377, 1449, 1449, 2)
    archive.add(
        [Patch(field(50 + k), (2.0, 2.0), f"r{k}", f"HARP {n}", "real", harpnum=n) for k, n in enumerate(harps)]
    )
    return archive


def test_an_encoder_learns_of_both_and_its_run_says_which_regions(mixed, tmp_path):
    command = ("train", "encoder", "--preset", "tiny", "--archive", mixed.uri, "--device", "cpu", "--images", 32)
    weighted = (*command, "--real-weight", 0.25, "--leave-out-harps", "1449,2")
    _, err = call(*weighted, "--run", tmp_path / "run")
    assert "left out: 3 patches, of a region that is left out" in err
    told = json.loads((tmp_path / "run" / "config.json").read_text())
    assert told["encoder"]["real_weight"] == 0.25
    assert told["provenance"]["real"] == {"patches": 3, "harps": [377]}
    assert told["provenance"]["left_out_harps"] == [2, 1449]
    said = failure(*weighted, "--leave-out-harps", "377", "--run", tmp_path / "none")
    assert "needs real patches beside simulated ones" in said
    assert "no real patch of HARP 9" in failure(*command, "--leave-out-harps", "9", "--run", tmp_path / "none")
    call(*command, "--leave-out-harps", "nine", "--run", tmp_path / "none", code=2)


def test_the_options_reach_the_configuration(tmp_path):
    about = document("train", "encoder", "--preset", "physical", "--device", "cpu", "--self-supervised", "--dry-run")
    assert about["encoder"]["physics"] == {} and about["encoder"]["real_weight"] == 0
    taught = document("train", "encoder", "--preset", "physical", "--precision", "bf16", "--dry-run")
    assert taught["encoder"]["physics"] and taught["encoder"]["precision"] == "bf16"
    about = document("train", "generator", "--preset", "physical", "--real-weight", 0.3, "--dry-run")
    assert about["generator"]["real_weight"] == 0.3 and about["shape"] == [96, 192]
    about = document("train", "generator", "--preset", "paper", "--beta1", 0.5, "--epsilon", 1e-4, "--dry-run")
    assert about["generator"]["betas"] == [0.5, 0.999] and about["generator"]["epsilon"] == 1e-4
    call("train", "generator", "--preset", "paper", "--beta1", 1.0, "--dry-run", code=2)
    call("train", "generator", "--preset", "paper", "--epsilon", 0.0, "--dry-run", code=2)
    for wrong in (1.0, -0.1):
        call("train", "generator", "--preset", "physical", "--real-weight", wrong, "--dry-run", code=2)
    # a loss that knows no such share
    call("train", "generator", "--preset", "tiny", "--real-weight", 0.3, "--dry-run", code=2)


def test_any_setting_can_be_set_in_the_type_that_it_has():
    command = ("train", "generator", "--preset", "physical", "--dry-run")
    given = ("r1=0.1", "pooled_head=true", "images=640", "betas=[0.0, 0.9]", "precision=fp32", "epsilon=1")
    about = document(*command, *(part for text in given for part in ("--set", text)))["generator"]
    assert (about["r1"], about["pooled_head"], about["images"], about["epsilon"]) == (0.1, True, 640, 1.0)
    assert (about["betas"], about["precision"]) == ([0.0, 0.9], "fp32")
    for wrong in ("r1", "no_such=1", "r1=much", "pooled_head=1", "batch=3.5", "batch=1", "precision=1"):
        call(*command, "--set", wrong, code=2)


def test_any_setting_of_the_encoder_and_of_its_views_can_be_set():
    command = ("train", "encoder", "--preset", "paper", "--device", "cpu", "--dry-run")
    given = ("augment.plain_share=0.5", "augment.zoom=[0.9, 1.1]", "momentum=0.8")
    settings = [part for text in given for part in ("--set", text)]
    about = document(*command, "--without", "flip", "--downsample", 1.6, *settings)["encoder"]
    assert (about["augment"]["plain_share"], about["augment"]["zoom"]) == (0.5, [0.9, 1.1])
    assert not about["augment"]["vertical_flip"] and (about["momentum"], about["downsample"]) == (0.8, 1.6)
    assert document(*command, "--downsample", 2)["encoder"]["downsample"] == 2
    for wrong in ("augment.plain_share=2", "augment.no_such=1", "no_such=1", "augment.zoom=1", "augment"):
        call(*command, "--set", wrong, code=2)
    call(*command, "--downsample", 0.5, code=2)


def test_adapting_begins_with_a_run_and_takes_its_settings(tmp_path):
    command = ("train", "generator", "--preset", "physical", "--device", "cpu", "--adapt", "--dry-run")
    call(*command, code=2)
    call(*command, "--start", "physical", code=2)
    about = document(*command, "--start", tmp_path)["generator"]
    assert (about["real_weight"], about["discriminator_augment"]) == (0.5, 0.6)
    assert (about["frozen_discriminator_layers"], about["learning_rate"]) == (2, 1e-4)
    given = document(*command, "--start", tmp_path, "--real-weight", 0.7, "--learning-rate", 2e-4)["generator"]
    assert (given["real_weight"], given["learning_rate"], given["frozen_discriminator_layers"]) == (0.7, 2e-4, 2)


def wide_region():
    """Spots 450 Mm apart, which no view of 350 Mm shows together: the smaller one, a sixth of the flux, is cut."""
    out = np.zeros((60, 280), np.float32)
    out[20:40, 20:40], out[20:40, 250:254] = 1500.0, -1500.0
    return Patch(out, (2.0, 2.0), "real-1-20120307T000000-Br", "HARP 1", "real", harpnum=1)


def test_parameters_say_what_the_view_cuts(tmp_path):
    from astropy.table import QTable

    path = write_fits(wide_region(), tmp_path / "wide.fits")
    got = document("params", path, "--no-errors", "--param", "tuf", "--out", tmp_path / "table.ecsv")
    (record,) = got["patches"]
    told = record["flux_outside_view"]
    assert told["value"] == pytest.approx(1 / 6, abs=0.01) and told["preset"] == "physical"
    (mark,) = [c for c in record["caveats"] if c["name"] == "view"]
    assert "17% of the flux" in mark["text"]
    table = QTable.read(tmp_path / "table.ecsv")
    assert table["flux_outside_view"][0] == pytest.approx(told["value"])
    assert "view" in table["caveats"][0].split()
    whole = write_fits(dataclasses.replace(wide_region(), field=field(3)), tmp_path / "whole.fits")
    (record,) = document("params", whole, "--no-errors", "--param", "tuf")["patches"]
    assert record["flux_outside_view"]["value"] == 0 and "view" not in [c["name"] for c in record["caveats"]]


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """A model of the square grid that `physical` was once, and an archive that it has embedded."""
    return embedded(tmp_path_factory.mktemp("square"), "physical-square")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """The same with the grid of today."""
    return embedded(tmp_path_factory.mktemp("wide"), "physical")


def embedded(folder, name):
    """A small model, not trained, and three patches that it has embedded."""
    small = get_preset("tiny").generator, EncoderConfig(width=4, embedding_dim=16)
    preset = dataclasses.replace(get_preset(name), generator=small[0], encoder=small[1])
    networks = build_generator(preset.generator, preset.shape), build_encoder(preset.encoder)
    model = Model("small", preset, *networks).save(folder / "model")
    archive = Archive.create(folder / "archive")
    archive.add([wide_region(), *(Patch(field(k), (2.0, 2.0), f"s{k}", f"SIM {k}", "simulated") for k in range(2))])
    call("archive", "embed", archive.uri, "--model", model)
    return Archive.open(archive.uri), model


@pytest.mark.parametrize("name", ["physical", "physical-square"])
def test_a_model_is_of_the_grid_that_it_was_made_on(name, wide, square):
    archive, folder = wide if name == "physical" else square
    loaded = Model.load(folder)
    assert (loaded.preset.name, loaded.preset.shape) == (name, PRESETS[name].shape)
    assert set(archive.table(["grid_preset"])["grid_preset"].to_pylist()) == {name}
    assert document("search", "s1", "--archive", archive.uri, "--model", folder, "-k", 1)["matches"][0]["id"] == "s1"
    # the encoders have the same weights, and what they saw of a patch on another grid is another thing
    other, _ = square if name == "physical" else wide
    with pytest.raises(SearchError, match="on the grid of 'physical"):
        search(other, loaded, "s1", k=1)


def test_a_record_of_before_that_says_physical_is_of_the_square_grid(square, tmp_path):
    import shutil

    from solquery.model_files import document_hash

    folder = shutil.copytree(square[1], tmp_path / "former")
    told = json.loads((folder / "model.json").read_text())
    told["preset"]["name"] = "physical"
    told["hash"] = document_hash(told)
    (folder / "model.json").write_text(json.dumps(told))
    loaded = Model.load(folder)
    assert (loaded.preset.name, loaded.preset.shape) == ("physical-square", (128, 128))


@pytest.mark.parametrize("name", ["physical", "physical-square"])
def test_archive_search_table_files_and_page_say_it_too(name, wide, square, tmp_path):
    import csv

    from astropy.io import fits

    from solquery.app.records import known_of

    own = wide_region().id
    archive, folder = wide if name == "physical" else square
    table = archive.table(["id", "grid_preset", "flux_outside_view"])
    shares = dict(zip(table["id"].to_pylist(), table["flux_outside_view"].to_pylist(), strict=True))
    assert shares.pop(own) == pytest.approx(1 / 6, abs=0.01) and set(shares.values()) == {0.0}
    assert set(table["grid_preset"].to_pylist()) == {name}
    command = ("search", own, "--archive", archive.uri, "--model", folder, "-k", 1, "--rerank", 0)
    found = document(*command, "--save", tmp_path / "saved")
    assert "view" in [c["name"] for c in found["query"]["caveats"]]
    (match,) = found["matches"]
    assert match["id"] == own and match["flux_outside_view"] == pytest.approx(1 / 6, abs=0.01)
    (row,) = csv.DictReader((tmp_path / "saved" / "matches.csv").read_text().splitlines())
    assert float(row["flux_outside_view"]) == pytest.approx(1 / 6, abs=0.01)
    (file,) = (tmp_path / "saved").glob("*.fits")
    assert "view" in fits.getheader(file)["CAVEATS"].split()
    (row,) = archive.table(where=f"id = '{own}'").to_pylist()
    assert known_of(row, None)["flux_outside_view"] == pytest.approx(1 / 6, abs=0.01)


def test_what_was_embedded_when_physical_was_square_is_searched_as_it_is(square):
    archive, folder = square
    archive.set_columns(archive.ids(), {"grid_preset": ["physical"] * 3, "flux_outside_view": [np.nan] * 3})
    command = ("search", "s0", "--archive", archive.uri, "--model", folder, "--rerank", 0)
    for by in ("ssl", "physics", "euclidean"):
        assert document(*command, "--by", by, "-k", 1)["matches"][0]["id"] == "s0"
    assert set(Archive.open(archive.uri).table(["grid_preset"])["grid_preset"].to_pylist()) == {"physical"}
