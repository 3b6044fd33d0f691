"""Runs that were begun before a setting got its name of today go on, and can be read."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from solquery.config import (
    EncoderConfig,
    GeneratorConfig,
    PaperGanConfig,
    VaeGanConfig,
    changed,
    get_preset,
    validated,
    with_current_names,
)
from solquery.config.renamed import RENAMED
from solquery.encoder import load_encoder, train_encoder
from solquery.encoder.run_folder import read_encoder_settings
from solquery.generator import load_run, train_generator
from solquery.generator.training import read_settings
from solquery.training.run_folder import TrainingError

TINY = get_preset("tiny")
RECORDED = sorted((Path(__file__).parents[2] / "docs" / "runs").glob("*/config*.json"))


@pytest.fixture
def patches():
    return np.random.default_rng(3).uniform(-1, 1, (32, 32, 32)).astype(np.float16)


def rename(run, kind):
    """Give the settings of a run their old names; how many had one."""
    path = run / "config.json"
    document = json.loads(path.read_text())
    old = {now: before for before, now in RENAMED.items()}
    renamed = {old.get(name, name): value for name, value in document[kind].items()}
    if kind == "encoder":
        renamed |= {"weight_decay": 0.0, "physics": []}
    else:  # until methods had settings of their own, a file held those of all
        renamed |= {"anchors": [], "amounts": 0.0, "seeker": 0.0, "cool_images": 0, "judge_first_images": 0}
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
    assert rename(tmp_path / "run", "encoder") == 2
    train_encoder(config, patches, tmp_path / "run")
    assert load_encoder(tmp_path / "run") is not None


def test_a_name_of_today_wins_and_every_old_name_leads_to_a_setting():
    assert with_current_names({"siblings": 2, "frames_per_region": 4}) == {"frames_per_region": 4}
    assert validated(EncoderConfig, {"siblings": 4}).frames_per_region == 4
    settings = {
        field.name for kind in (PaperGanConfig, VaeGanConfig, EncoderConfig) for field in dataclasses.fields(kind)
    }
    assert set(RENAMED.values()) <= settings and not set(RENAMED) & settings


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_settings_of_every_recorded_run_are_read(path, tmp_path):
    stored = json.loads(path.read_text())
    (tmp_path / "config.json").write_text(path.read_text())
    if "generator" in stored:
        config = read_settings(tmp_path)[0]
        names = {"hush": "shrinkage", "amounts": "statistics_matching", "window": "footprint_mask"}
        for old, name in names.items():
            if stored["generator"].get(old):
                assert getattr(config, name) == stored["generator"][old]
        assert isinstance(config, VaeGanConfig if stored["generator"]["loss"] == "vae-gan" else PaperGanConfig)
    else:
        config = read_encoder_settings(tmp_path)
        repeated = [name for name, weight in config.physics.items() for _ in range(weight)]
        assert repeated == list(stored["encoder"].get("physics", []))
    assert config.learning_rate == stored["generator" if "generator" in stored else "encoder"]["learning_rate"]


def test_what_is_wrong_with_the_settings_of_a_run_is_named(tmp_path):
    def refused(**changes):
        document = {"generator": {**dataclasses.asdict(VaeGanConfig()), **changes}, "shape": [16, 16]}
        (tmp_path / "config.json").write_text(json.dumps(document))
        with pytest.raises(TrainingError) as caught:
            read_settings(tmp_path)
        return str(caught.value)

    assert "does not know: gone, lost" in refused(lost=1, gone=True)
    assert "batch must be at least 2, got 0" in refused(batch=0)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_settings(tmp_path)


def test_a_weight_is_what_a_name_repeated_was():
    assert validated(EncoderConfig, {"physics": ["tuf", "r", "r"]}).physics == {"tuf": 1, "r": 2}
    assert EncoderConfig(physics={"r": 2}) == EncoderConfig(physics=("r", "r"))
    with pytest.raises(ValueError, match="must follow each other"):
        EncoderConfig(physics=("r", "tuf", "r"))


def test_a_method_has_its_own_settings_only():
    assert isinstance(
        validated(GeneratorConfig, {"loss": "vae-gan", "seeker": 1.0, "choose_within_epochs": 5}), VaeGanConfig
    )
    with pytest.raises(ValueError, match="loss 'bce' has no real_weight, only 'vae-gan'"):
        changed(PaperGanConfig(), real_weight=0.5)
    with pytest.raises(ValueError, match="loss 'vae-gan' has no shared_batch, only 'bce' and 'relativistic'"):
        changed(VaeGanConfig(), shared_batch=True)
    with pytest.raises(ValueError, match=r"loss must be one of bce, relativistic, got 'vae-gan'"):
        PaperGanConfig(loss="vae-gan")
    with pytest.raises(ValueError, match="has no setting weight_decay"):
        validated(EncoderConfig, {"weight_decay": 0.1})


def test_largest_value_and_unit_of_a_generator_follow_from_its_preset():
    assert get_preset("physical").generator.limit == 4.0 and get_preset("paper").generator.limit == 1.0
    halved = dataclasses.replace(get_preset("physical"), unit_gauss=500.0)
    assert (halved.generator.limit, halved.generator.unit_gauss) == (8.0, 500.0)
