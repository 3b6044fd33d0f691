"""Runs that were begun before a setting got its name of today go on, and can be read."""

import dataclasses
import json

import numpy as np
import pytest

from solquery.config import EncoderConfig, GeneratorConfig, get_preset, validated, with_current_names
from solquery.config.renamed import RENAMED
from solquery.encoder import load_encoder, train_encoder
from solquery.generator import load_run, train_generator

TINY = get_preset("tiny")


@pytest.fixture
def patches():
    return np.random.default_rng(3).uniform(-1, 1, (32, 32, 32)).astype(np.float16)


def rename(run, kind):
    """Give the settings of a run their old names; how many had one."""
    path = run / "config.json"
    document = json.loads(path.read_text())
    old = {now: before for before, now in RENAMED.items()}
    renamed = {old.get(name, name): value for name, value in document[kind].items()}
    changed = set(renamed) - set(document[kind])
    path.write_text(json.dumps(document | {kind: renamed}))
    return len(changed)


def test_a_run_of_a_generator_goes_on(tmp_path, patches):
    config = dataclasses.replace(TINY.generator, epochs=2)
    train_generator(config, patches, tmp_path / "run", TINY.shape, until_images=32)
    assert rename(tmp_path / "run", "generator") > 4
    train_generator(config, patches, tmp_path / "run", TINY.shape)
    assert load_run(tmp_path / "run")[0] == config


def test_a_run_of_an_encoder_goes_on(tmp_path, patches):
    config = dataclasses.replace(TINY.encoder, epochs=1)
    train_encoder(config, patches, tmp_path / "run")
    assert rename(tmp_path / "run", "encoder") == 1
    train_encoder(config, patches, tmp_path / "run")
    assert load_encoder(tmp_path / "run") is not None


def test_a_name_of_today_wins_and_every_old_name_leads_to_a_setting():
    assert with_current_names({"siblings": 2, "frames_per_region": 4}) == {"frames_per_region": 4}
    assert validated(EncoderConfig, {"siblings": 4}).frames_per_region == 4
    settings = {field.name for kind in (GeneratorConfig, EncoderConfig) for field in dataclasses.fields(kind)}
    assert set(RENAMED.values()) <= settings and not set(RENAMED) & settings
