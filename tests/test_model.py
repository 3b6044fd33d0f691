import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from solquery import model as model_module
from solquery import model_files, model_parts
from solquery.config import Preset, get_preset
from solquery.config.renamed import RENAMED
from solquery.encoder.networks import build_encoder
from solquery.errors import SolqueryError
from solquery.generator.registry import build_generator
from solquery.model import Model, ModelError
from solquery.model_files import ModelWarning
from solquery.physics import measure, parameters
from solquery.steering import Directions, LatentTable, draw_patches


def make_directions(dim, names=("tuf", "polarity"), seed=0):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(len(names), dim))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    p = len(names)
    return Directions(
        tuple(names),
        normals.astype(np.float32),
        *(rng.normal(size=p) for _ in range(4)),
        quantiles=np.sort(rng.normal(size=(p, 101)), axis=1),
        positions=np.sort(rng.normal(size=(p, 33)), axis=1),
        expected=np.sort(rng.normal(size=(p, 33)), axis=1),
        dropped=np.zeros(p, int),
        table=LatentTable(rng.normal(size=(40, dim)).astype(np.float32), {name: rng.normal(size=40) for name in names}),
    )


@pytest.fixture
def made():
    preset = get_preset("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator(preset.generator, preset.shape)
        encoder = build_encoder(preset.encoder)
    metadata = {"provenance": {"data": "test"}, "metrics": {"median_ks": 0.5}}
    return Model("mine", preset, generator, encoder, make_directions(preset.generator.latent_dim), metadata)


@pytest.fixture
def folder(made, tmp_path):
    return made.save(tmp_path / "mine")


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    place = tmp_path / "shipped"
    monkeypatch.setattr(model_parts, "SHIPPED", place)
    return place


def rewrite(folder, change):
    """Change model.json and give it the hash that it should then have."""
    path = folder / "model.json"
    document = json.loads(path.read_text())
    change(document)
    document["hash"] = model_files.document_hash(document)
    path.write_text(json.dumps(document))


def test_there_and_back(made, folder):
    loaded = Model.load(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "directions.safetensors",
        "encoder.safetensors",
        "generator.safetensors",
        "model.json",
    ]
    assert loaded.name == "mine"
    assert loaded.preset == made.preset
    assert loaded.metadata == made.metadata
    assert loaded.hash == made.hash
    assert not loaded.generator.training and not loaded.encoder.training
    # float16 on disk, float32 in memory
    assert {p.dtype for p in loaded.generator.parameters()} == {torch.float32}
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    x = made.generator(z)
    torch.testing.assert_close(loaded.generator(z), x, atol=2e-3, rtol=0)
    torch.testing.assert_close(loaded.encoder(x), made.encoder(x), atol=2e-2, rtol=2e-2)
    np.testing.assert_array_equal(loaded.directions.normals, made.directions.normals)
    assert loaded.directions.names == made.directions.names


def test_running_statistics_keep_their_precision(made, folder):
    loaded = Model.load(folder)
    for name, value in made.encoder.named_buffers():
        torch.testing.assert_close(dict(loaded.encoder.named_buffers())[name], value, atol=0, rtol=0)


def test_saving_what_was_loaded_changes_nothing(folder, tmp_path):
    loaded = Model.load(folder)
    again = loaded.save(tmp_path / "again")
    assert loaded.hash == Model.load(folder).hash
    for path in folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_encoder_hash_is_that_of_the_weights(made, folder):
    loaded = Model.load(folder)
    assert loaded.encoder_hash == made.encoder_hash == model_module.state_hash(loaded.encoder)
    with torch.no_grad():
        next(made.encoder.parameters()).add_(0.1)
    other = Model("other", "tiny", made.generator, made.encoder)
    assert other.encoder_hash != loaded.encoder_hash


def test_weights_changed_in_place_change_the_hash(folder, tmp_path):
    """Or embeddings of before the change would pass for those of after it."""
    loaded = Model.load(folder)
    before = loaded.encoder_hash
    loaded.encoder.load_state_dict({name: value + 1 for name, value in loaded.encoder.state_dict().items()})
    assert loaded.encoder_hash != before
    assert Model.load(loaded.save(tmp_path / "changed")).encoder_hash == loaded.encoder_hash


def test_loading_leaves_the_random_state_alone(folder):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    Model.load(folder)
    torch.testing.assert_close(torch.random.get_rng_state(), before)


def test_parts_may_be_absent(made, tmp_path):
    loaded = Model.load(Model("bare", "tiny", made.generator).save(tmp_path / "bare"))
    assert loaded.encoder is None and loaded.directions is None
    with pytest.raises(ModelError, match="has no encoder"):
        _ = loaded.encoder_hash


@pytest.mark.parametrize("name", ["generator", "encoder", "directions"])
def test_damage_is_found(folder, name):
    path = folder / f"{name}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=rf"{name}\.safetensors is damaged: \d+ bytes instead of {len(whole)}"):
        Model.load(folder)
    flipped = bytearray(whole)
    flipped[-7] ^= 0x10
    path.write_bytes(bytes(flipped))
    with pytest.raises(ModelError, match=rf"{name}\.safetensors is damaged: its contents changed"):
        Model.load(folder)
    path.unlink()
    with pytest.raises(ModelError, match=rf"lacks {name}\.safetensors"):
        Model.load(folder)


def test_damage_to_the_description_is_found(folder):
    path = folder / "model.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match="not JSON"):
        Model.load(folder)
    path.write_text(text.replace('"median_ks": 0.5', '"median_ks": 0.1'))
    with pytest.raises(ModelError, match="damaged or was edited"):
        Model.load(folder)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not JSON"):
        Model.load(folder)
    path.unlink()
    with pytest.raises(ModelError, match=r"it has no model\.json"):
        Model.load(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "something else"}'])
def test_a_foreign_format_is_refused(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match="another format"):
        Model.load(folder)


def test_another_version_is_refused(folder):
    rewrite(folder, lambda document: document.update(version=99))
    with pytest.raises(ModelError, match="model version 99, this solquery reads 1"):
        Model.load(folder)


def test_wrong_shapes_are_named(folder):
    rewrite(folder, lambda document: document["generator"]["config"].update(width=12))
    with pytest.raises(ModelError, match=r"has shape .* the network needs"):
        Model.load(folder)


def test_weights_of_another_network_are_named(folder):
    rewrite(folder, lambda document: document["generator"]["config"].update(arch="pyramid"))
    with pytest.raises(ModelError):
        Model.load(folder)
    rewrite(folder, lambda document: document["generator"]["config"].update(arch="nonsense"))
    with pytest.raises(ModelError, match="nonsense"):
        Model.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("generator"),
        lambda d: d.pop("name"),
        lambda d: d["preset"].update(name="unknown"),
        lambda d: d["encoder"].pop("weights"),
        lambda d: d["generator"]["config"].update(latent_dim="many"),
        lambda d: d["generator"]["config"].update(surprise=1),
        lambda d: d.update(name=7),
        lambda d: d["files"].update({"../escape": {"sha256": "", "bytes": 0}}),
        lambda d: d["files"].update({"generator.safetensors": 3}),
        lambda d: d["directions"].update(names=["tuf"]),
        lambda d: d.update(preset=None),
        lambda d: d.update(files=[]),
        lambda d: d.update(encoder=[1]),
    ],
)
def test_nonsense_in_the_description_is_one_clear_line(folder, change):
    rewrite(folder, change)
    with pytest.raises(ModelError) as error:
        Model.load(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_a_model_of_another_preset_is_refused(folder):
    assert Model.load(folder, preset="tiny").name == "mine"
    with pytest.raises(ModelError, match="is of preset 'tiny', not 'paper'"):
        Model.load(folder, preset="paper")


def test_a_preset_that_changed_its_meaning_is_refused(folder):
    rewrite(folder, lambda document: document["preset"].update(unit_gauss=3000.0))
    with pytest.raises(ModelError, match="another definition of preset 'tiny'"):
        Model.load(folder)


def test_settings_younger_than_the_model_do_not_break_it(folder):
    rewrite(folder, lambda document: document["preset"].pop("clip_gauss"))
    assert Model.load(folder).preset.clip_gauss == Preset("tiny").clip_gauss


def test_nothing_there(tmp_path, shipped):
    with pytest.raises(ModelError, match=r"no model at .*nowhere; .*none in this installation"):
        Model.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no model at"):
        Model.load()
    (tmp_path / "a file").write_text("")
    with pytest.raises(ModelError, match="no model at"):
        Model.load(tmp_path / "a file")
    assert issubclass(ModelError, SolqueryError)


def test_shipped_models_by_name(made, shipped):
    assert Model.list() == []
    default = Model("physical", made.preset, made.generator, made.encoder, made.directions)
    default.save(shipped / "physical")
    Model("paper", made.preset, made.generator, made.encoder).save(shipped / "paper", encoder_from="physical")
    assert Model.list() == ["paper", "physical"]
    assert Model.load().name == "physical"
    assert Model.load("paper").name == "paper"


def test_shared_encoder(made, shipped):
    made.save(shipped / "quick")
    place = Model("paper", made.preset, made.generator, made.encoder).save(shipped / "paper", encoder_from="quick")
    assert not (place / "encoder.safetensors").exists()
    loaded = Model.load("paper")
    assert loaded.encoder_hash == made.encoder_hash
    for name, value in Model.load("quick").encoder.state_dict().items():
        torch.testing.assert_close(loaded.encoder.state_dict()[name], value)
    # the other one changes, or goes away
    with torch.no_grad():
        next(made.encoder.parameters()).add_(0.5)
    Model("quick", made.preset, made.generator, made.encoder).save(shipped / "quick")
    with pytest.raises(ModelError, match="needs another encoder"):
        Model.load("paper")
    shutil.rmtree(shipped / "quick")
    with pytest.raises(ModelError, match="shares the encoder of model 'quick', which is neither"):
        Model.load("paper")


def test_only_the_same_encoder_can_be_shared(made, shipped, tmp_path):
    made.save(shipped / "quick")
    encoder = build_encoder(made.preset.encoder)
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    other = Model("other", made.preset, made.generator, encoder)
    with pytest.raises(ModelError, match="does not hold the encoder of 'other'"):
        other.save(tmp_path / "other", encoder_from="quick")
    assert not (tmp_path / "other").exists()


def test_saving_replaces_a_model_but_nothing_else(made, folder, tmp_path):
    made.metadata["metrics"] = {"median_ks": 0.1}
    made.save(folder)
    assert Model.load(folder).metadata["metrics"] == {"median_ks": 0.1}
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match="not empty; nothing was written"):
        made.save(tmp_path / "papers")
    assert (tmp_path / "papers" / "thesis.tex").exists()
    # no temporary folders are left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "papers"]


def test_a_failed_write_leaves_the_old_model(made, folder, monkeypatch):
    before = Model.load(folder).hash
    real = model_files.os.rename
    calls = []

    def rename(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("disk full")
        real(source, target)

    monkeypatch.setattr(model_files.os, "rename", rename)
    with pytest.raises(OSError, match="disk full"):
        made.save(folder)
    monkeypatch.undo()
    assert Model.load(folder).hash == before
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_weights_that_do_not_fit_float16_are_refused(made, tmp_path):
    with torch.no_grad():
        next(made.generator.parameters())[0] = 1e6
    with pytest.raises(ModelError, match="not finite in float16"):
        made.save(tmp_path / "huge")
    assert not (tmp_path / "huge").exists()


def test_names_and_metadata_are_checked(made, tmp_path):
    for name in ("", "../up", ".hidden"):
        with pytest.raises(ModelError, match="name is made of"):
            Model(name, "tiny", made.generator)
    with pytest.raises(ModelError, match="may not use the keys files"):
        Model("mine", "tiny", made.generator, metadata={"files": {}})
    with pytest.raises(ModelError, match="not plain JSON"):
        Model("mine", "tiny", made.generator, metadata={"note": SimpleNamespace()}).save(tmp_path / "odd")


def test_configurations_of_the_model_win_over_those_of_the_preset(tmp_path):
    tiny = get_preset("tiny")
    preset = dataclasses.replace(tiny, generator=dataclasses.replace(tiny.generator, latent_dim=5, width=6))
    with torch.random.fork_rng():
        model = Model("other", preset, build_generator(preset.generator, preset.shape))
    loaded = Model.load(model.save(tmp_path / "other"))
    assert loaded.preset.generator == preset.generator
    assert loaded.generator.latent_dim == 5


def test_a_model_saved_under_the_names_of_before_loads_as_it_did(tmp_path):
    model = Model("old", "tiny", build_generator(get_preset("tiny").generator, (32, 32)))
    folder = model.save(tmp_path / "old")
    (folder / "model.json").rename(folder / "bundle.json")
    rename_settings(folder / "bundle.json")
    again = Model.load(folder)
    assert again.hash != model.hash and again.preset.generator == model.preset.generator
    z = torch.randn(2, 16)
    with torch.no_grad():
        assert torch.equal(again.generator(z), Model.load(model.save(tmp_path / "new")).generator(z))


def rename_settings(path):
    """The settings of a manifest under their old names, and the hash that goes with them."""
    document = json.loads(path.read_text())
    settings = document["generator"]["config"]
    for old, new in RENAMED.items():
        if new in settings:
            settings[old] = settings.pop(new)
    document["hash"] = model_files.document_hash(document)
    path.write_text(json.dumps(document))


def test_a_model_measures_patches_in_its_own_units():
    model = Model("physical-grid", "physical", build_generator(get_preset("tiny").generator, (32, 32)))
    x = torch.rand(3, 16, 24) * 2 - 1
    got = model.measure(x, ["tuf", "psep"])
    expected = measure(model.preset.to_gauss(x), model.preset.scale_mm, ["tuf", "psep"])
    assert list(got) == ["tuf", "psep"] and isinstance(got["tuf"], np.ndarray)
    np.testing.assert_array_equal(got["tuf"], expected["tuf"].numpy())
    np.testing.assert_array_equal(model.measure(x[0].numpy(), "tuf")["tuf"], got["tuf"][:1])
    assert set(model.measure(x[0])) == set(parameters())


def with_sampler(model, levels=0.0):
    """A sampler of the model's own encoder, which accepts about half of the draws."""
    from solquery.steering.rejection import RejectionSampler

    with torch.random.fork_rng():
        torch.manual_seed(1)
        embeddings = model.encoder(torch.randn(64, 1, *model.preset.shape))
        sampler = RejectionSampler(embeddings.shape[1], model.encoder).eval()
    sampler.record = {"encoder": model.encoder_hash, "accepted": 0.5, "patches": 3}
    with torch.no_grad():
        sampler.bound.fill_(2.0)
        sampler.middle.copy_(sampler.logit(embeddings).median())
    model.sampler = sampler
    return model


def test_an_encoder_of_other_settings_than_the_preset_s_is_not_saved_to_embed_otherwise(made, tmp_path):
    settings = dataclasses.replace(made.preset.encoder, downsample=2)
    made.encoder = build_encoder(settings)
    with pytest.raises(ModelError, match=r"was built with downsample=2, its preset says 1.*dataclasses.replace"):
        made.save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    preset = dataclasses.replace(made.preset, encoder=settings)
    other = Model("mine", preset, made.generator, made.encoder, made.directions, made.metadata)
    x = torch.randn(2, 1, *preset.shape, generator=torch.Generator().manual_seed(1))
    again = Model.load(other.save(tmp_path / "mine")).encoder
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), made.encoder.eval()(x), rtol=0.01, atol=0.01)


def test_a_sampler_is_saved_with_the_model_and_draws_the_same_again(made, tmp_path):
    plain = made.save(tmp_path / "plain")
    before = Model.load(plain)
    assert before.sampler is None and "sampler" not in json.loads((plain / "model.json").read_text())
    folder = with_sampler(made).save(tmp_path / "mine")
    loaded = Model.load(folder)
    assert (folder / "sampler.safetensors").exists() and loaded.hash not in (before.hash, None)
    assert loaded.sampler.record == made.sampler.record and "sampler" not in loaded.metadata
    again = Model.load(loaded.save(tmp_path / "again"))
    assert again.hash == loaded.hash
    one, other = (draw_patches(model, 12, 3) for model in (loaded, again))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], draw_patches(before, 12, 3)[0])


def test_with_another_encoder_a_model_draws_as_before_and_is_saved_without_its_sampler(made, tmp_path):
    own = with_sampler(made)
    other = own.with_encoder(_another_encoder(own.preset))
    np.testing.assert_array_equal(draw_patches(other, 5, 1)[0], draw_patches(own, 5, 1)[0])
    with pytest.warns(ModelWarning, match="saved without its sampler"):
        folder = other.save(tmp_path / "other")
    assert Model.load(folder).sampler is None and not (folder / "sampler.safetensors").exists()


def test_a_sampler_whose_file_or_size_is_gone_is_told(made, tmp_path):
    folder = with_sampler(made).save(tmp_path / "mine")
    rewrite(folder, lambda document: document["sampler"].update(features=7))
    with pytest.raises(ModelError, match="the network needs"):
        Model.load(folder)
    rewrite(folder, lambda document: document["sampler"].pop("features"))
    with pytest.raises(ModelError, match="how many features its sampler reads"):
        Model.load(folder)


def _another_encoder(preset):
    encoder = build_encoder(preset.encoder)
    with torch.no_grad():
        next(encoder.parameters()).mul_(-0.5)
    return encoder
