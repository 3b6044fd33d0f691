"""From nothing: an archive and a bundle made in the folder, and used again when they are there."""

import functools

import pytest

from solquery.config import get_preset
from solquery.study import reproduce_training as module


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setattr(module, "simulate", functools.partial(module.simulate, workers=1))


def test_an_archive_cut_short_is_completed_and_not_made_twice(one_process, tmp_path, monkeypatch):
    whole = module.simulated_archive(tmp_path, 3, 2, samples=False)
    ids = whole.ids()
    assert len(ids) == 6

    def refuse(*_, **__):
        raise AssertionError("simulated again")

    monkeypatch.setattr(module, "simulate", refuse)
    assert module.simulated_archive(tmp_path, 3, 2, samples=False).ids() == ids


@pytest.mark.filterwarnings("ignore::UserWarning")  # such a generator has directions no better than chance
def test_networks_are_trained_once_on_regions_that_are_not_searched(one_process, tmp_path, monkeypatch):
    plan = module.Training(regions=4, frames=4, images=64, latents=300)
    bundle, runs = module.trained_bundle(tmp_path, get_preset("tiny"), plan)
    assert bundle.encoder is not None
    assert "tuf" in bundle.directions.names
    assert all((run / "config.json").is_file() for run in runs)
    searched = module.simulated_archive(tmp_path, 2, 1, samples=False)
    trained = module.Archive.open(str(next(tmp_path.glob("trained-*/archive"))))
    assert not set(searched.ids()) & set(trained.ids())
    monkeypatch.setattr(module, "simulate", None)
    again, _ = module.trained_bundle(tmp_path, get_preset("tiny"), plan)
    assert again.hash == bundle.hash
    assert again.encoder_hash == bundle.encoder_hash
