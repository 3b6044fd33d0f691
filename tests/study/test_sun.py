"""From simulation to the Sun: the shipped encoder has learned from simulated regions, and knows observed ones again."""

from dataclasses import replace

import numpy as np
import pytest

from solquery import Archive, Model, simulate
from solquery.archive.prepare import prepare
from solquery.archive.samples import sample_patches
from solquery.encoder import embed_archive
from solquery.errors import SolqueryError
from solquery.search import load_index, search
from solquery.study.real_frames import neighbours_in_time, real_frames, twins
from solquery.study.recall import changed_copies

SIMULATED = "source = 'simulated'"


@pytest.fixture(scope="module")
def models():
    return Model.load("physical")


@pytest.fixture(scope="module")
def simulated(models, tmp_path_factory):
    archive = Archive.create(tmp_path_factory.mktemp("sun") / "archive")
    archive.add(simulate(6, 6, 4, 1))
    embed_archive(archive, models)
    return archive


def test_changed_copies_of_the_samples_find_their_originals_among_simulated_patches(simulated, models):
    samples = sample_patches()
    found = real_frames(simulated, models, samples, copies=2, seed=1)
    assert found["among"] == 36 and len(found["frames"]) == len(samples)
    assert found["copies"]["share"] >= 0.9
    assert found["verified"]["share"] >= 0.95
    assert all(len(frame["copies"]) == 2 for frame in found["frames"])


def test_the_negative_of_a_sample_is_not_taken_for_it(simulated, models):
    """Polarity is physics: with the poles exchanged a copy is far from its original, and is not laid over it."""
    samples = sample_patches()[:4]
    simulated.add(samples)
    embed_archive(simulated, models)
    x = np.stack([np.nan_to_num(prepare(patch, models.preset)) for patch in samples]).astype(np.float32)
    for sample, copy in zip(samples, changed_copies(x, "all", models.preset.encoder.augment, 3), strict=True):
        own, other = search(simulated, models, copy, 1)[0], search(simulated, models, -copy, 1)[0]
        assert own.id == sample.id and own.correlation > 0.85
        assert other.correlation is None or other.correlation < 0.85
        assert other.distance > 1.3 * own.distance


def test_twins_and_neighbours_in_time_are_those_of_the_same_region(simulated, models):
    """Frames a day and an hour apart of simulated regions, radial and as they are seen along the line of sight."""
    pairs = list(simulate(3, 3, 9, 1, quantity=("radial", "line-of-sight")))
    radial = [patch for patch in pairs if patch.quantity == "radial"]
    across = [patch for patch in pairs if patch.quantity == "line-of-sight"]
    found = twins(simulated, models, across, radial)
    assert found["of"] == len(across) and found["among"] == len(radial) + len(load_index(simulated, models, SIMULATED))
    assert found["search"]["share"] >= 0.8 and found["structure"]["share"] >= 0.8
    assert found["region"]["structure"]["share"] >= found["structure"]["share"]
    ranks = [frame["rank_signature"] for frame in found["frames"]]
    assert np.mean([rank == 1 for rank in ranks]) == found["signature"]["share"]
    names = {(patch.region, patch.t_rec): patch.id for patch in radial}
    right = [names[patch.region, patch.t_rec] for patch in across]
    first = [frame["found"] == name for frame, name in zip(found["frames"], right, strict=True)]
    assert np.mean(first) == found["structure"]["share"]
    # with the twins of other regions there is nothing that could be right
    moved = [replace(patch, region=f"{patch.region} other") for patch in across]
    with pytest.raises(SolqueryError, match="T_REC"):
        twins(simulated, models, moved, radial)
    near = neighbours_in_time(simulated, models, radial, hours=1e6)
    assert near["of"] == len(radial) and near["search"] >= 0.6
    with pytest.raises(SolqueryError, match="hours"):
        neighbours_in_time(simulated, models, radial, hours=0.0)
