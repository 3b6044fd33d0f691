"""Encoders of the user's own, registered or given as they are, serve the search and are never mixed."""

import pickle
import re
import sys

import numpy as np
import pytest
import torch
from memory_archive import MemoryArchive, smooth_fields

from solquery import plugins
from solquery.config import get_preset
from solquery.encoder import EncoderError, as_encoder, embed_archive, encoders, register_encoder, registry
from solquery.encoder.plugged import PluggedEncoder
from solquery.generator import build_generator
from solquery.model import Model, ModelError, state_hash
from solquery.plugins import PluginError, load_plugin
from solquery.search import SearchError, load_index, search

PLUGIN = '''
import torch
from solquery import register_encoder

class Means(torch.nn.Module):
    """Means over blocks, times a learned number."""
    def __init__(self, side):
        super().__init__()
        self.side, self.weight = side, torch.nn.Parameter(torch.tensor([2.0]))
    def forward(self, x):
        return self.weight * torch.nn.functional.avg_pool2d(x, self.side).flatten(1)

register_encoder("means", lambda preset: Means(preset.shape[0] // 4))
'''


@pytest.fixture(autouse=True)
def scratch(monkeypatch):
    """Registries that forget what the test adds."""
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(registry, "_ENCODERS", {})
    before = set(sys.modules)
    yield
    for name in {name for name in sys.modules if name.startswith("solquery_plugin_")} - before:
        del sys.modules[name]


@pytest.fixture
def whole(model):
    """A model that can be saved, with the encoder that the tests share."""
    preset = get_preset("tiny")
    return Model("whole", preset, build_generator(preset.generator, preset.shape), model.encoder)


@pytest.fixture
def fields():
    return smooth_fields(12)


def means(x):
    return torch.nn.functional.avg_pool2d(x, 8).flatten(1)


def registered(tmp_path, text=PLUGIN, name="my_encoder.py"):
    path = tmp_path / name
    path.write_text(text)
    return load_plugin(path)


def test_a_plugged_in_encoder_serves_the_search(tmp_path, whole, fields):
    assert registered(tmp_path) == ("means",) and encoders() == ["means"]
    model, archive = whole.with_encoder("means"), MemoryArchive(fields, [f"R{k}" for k in range(len(fields))])
    assert embed_archive(archive, model).embedded == len(fields)
    # what it computes is known otherwise: twice the means of blocks of 8 pixels, and Euclidean distances between them
    known = 2 * fields.reshape(-1, 4, 8, 4, 8).mean((2, 4)).reshape(len(fields), -1)
    np.testing.assert_allclose(load_index(archive, model).vectors, known, atol=1e-6)
    query = smooth_fields(1, seed=5)[0]
    apart = np.linalg.norm(known - 2 * query.reshape(4, 8, 4, 8).mean((1, 3)).ravel(), axis=1)
    found = search(archive, model, query, k=3, rerank=0)
    assert [match.id for match in found] == [f"p{k:03d}" for k in np.argsort(apart)[:3]]
    np.testing.assert_allclose([match.distance for match in found], np.sort(apart)[:3], rtol=1e-4)


def test_embeddings_of_two_encoders_are_never_mixed(tmp_path, whole, fields):
    registered(tmp_path)
    archive, model = MemoryArchive(fields, ["R"] * len(fields)), whole.with_encoder("means")
    embed_archive(archive, whole)
    with pytest.raises(SearchError, match=r"another encoder .*archive embed .* --encoder means"):
        search(archive, model, fields[0])
    embed_archive(archive, model)
    with pytest.raises(SearchError, match="another encoder"):
        search(archive, whole, fields[0])
    assert embed_archive(archive, model).embedded == 0
    # half of the rows made anew by another encoder of equally many numbers: only the other half can be found
    other = whole.with_encoder(means)
    made = archive.columns["embedding_model"]
    archive.columns["embedding_model"] = [other.encoder_hash if k < 6 else made[k] for k in range(12)]
    with pytest.warns(UserWarning, match="6 of 12 patches have no embedding of this encoder"):
        assert set(load_index(archive, model).ids) == set(archive.ids[6:])


def test_the_hash_is_of_code_weights_and_fingerprints(tmp_path, whole):
    registered(tmp_path)
    first = whole.with_encoder("means")
    assert re.fullmatch("[0-9a-f]{64}", first.encoder_hash) and first.encoder_hash != whole.encoder_hash
    assert first.encoder_hash == whole.with_encoder("means").encoder_hash
    assert pickle.loads(pickle.dumps(as_encoder(torch.nn.Flatten(), whole.preset))).identity()
    with torch.no_grad():  # less than float16 can tell, and yet another encoder
        first.encoder.network.weight += 1e-6
    assert first.encoder_hash != whole.with_encoder("means").encoder_hash
    code = registered(tmp_path, PLUGIN.replace("self.weight *", "-self.weight *"), "other.py")
    assert code == ("means",) and whole.with_encoder("means").encoder_hash != first.encoder_hash
    register_encoder("by-version", lambda preset: means, version="1")
    one = whole.with_encoder("by-version").encoder_hash
    register_encoder("by-version", lambda preset: lambda x: means(x), version="1")
    assert whole.with_encoder("by-version").encoder_hash == one
    register_encoder("by-version", lambda preset: means, version="2")
    assert whole.with_encoder("by-version").encoder_hash != one


def test_the_model_it_was_taken_from_stays_as_it_was(whole):
    before = whole.encoder_hash
    other = whole.with_encoder(means)
    assert (whole.encoder_hash, state_hash(whole.encoder)) == (before, before)
    assert other.generator is whole.generator and isinstance(other.encoder, PluggedEncoder)


def test_a_model_keeps_the_name_and_the_hash(tmp_path, whole, monkeypatch):
    registered(tmp_path)
    folder = whole.with_encoder("means").save(tmp_path / "model")
    assert not (folder / "encoder.safetensors").exists()
    assert Model.load(folder).encoder_hash == whole.with_encoder("means").encoder_hash
    registered(tmp_path, PLUGIN + "# changed\n", "changed.py")
    with pytest.raises(ModelError, match=r"saved with another encoder 'means'.*restore the plug-in"):
        Model.load(folder)
    monkeypatch.setattr(registry, "_ENCODERS", {})
    with pytest.raises(ModelError, match=r"no encoder named 'means'; there is none.*--plugin FILE"):
        Model.load(folder)
    with pytest.raises(ModelError, match="no name finds again; register it"):
        whole.with_encoder(means).save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda x: x, r"gives shape \(12, 1, 32, 32\) for 12 patches; it must give \(12, D\)"),
        (lambda x: x.flatten(1)[:3], r"gives shape \(3, 1024\) for 12 patches"),
        (lambda x: x.flatten(1) / 0, "not finite"),
        (lambda x: [1.0], "gives a list"),
        (lambda x: x.view(3), r"fails on patches of shape \(12, 1, 32, 32\): RuntimeError: shape"),
    ],
)
def test_what_is_no_embedding_is_refused_and_nothing_is_written(whole, fields, give, says):
    archive = MemoryArchive(fields, ["R"] * len(fields))
    with pytest.raises(EncoderError, match=says):
        embed_archive(archive, whole.with_encoder(give))
    assert "embedding" not in archive.columns


def test_bad_encoders_are_told_in_one_line(tmp_path, whole):
    class Session:
        def __call__(self, x):
            return x.flatten(1)

    with pytest.raises(EncoderError, match="give it an attribute `fingerprint`"):
        whole.with_encoder(Session())
    named = Session()
    named.fingerprint = "weights of 2024"
    other = Session()
    other.fingerprint = "weights of 2025"
    assert whole.with_encoder(named).encoder_hash != whole.with_encoder(other).encoder_hash
    with pytest.raises(EncoderError, match="is a int, which cannot be called"):
        whole.with_encoder(3)
    register_encoder("torn", lambda preset: 1 / 0, version="1")
    with pytest.raises(EncoderError, match=r"'torn' cannot be built for preset 'tiny': ZeroDivisionError"):
        whole.with_encoder("torn")
    with pytest.raises(EncoderError, match=r"no encoder named 'tron'; there are: torn"):
        whole.with_encoder("tron")
    with pytest.raises(ValueError, match="letters, digits"):
        register_encoder("a/b", means)
    with pytest.raises(PluginError, match=r"registers no parameter, no generator and no encoder"):
        registered(tmp_path, "x = 1\n", "nothing.py")
    with pytest.raises(PluginError, match=r"line 5: ValueError"):
        registered(tmp_path, PLUGIN.replace("class Means", "raise ValueError\nclass Means"), "broken.py")
    assert encoders() == ["torn"]
