"""Embeddings and grid parameters get into the archive once, and for the right patches."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_archive import MemoryArchive

from solquery.encoder import embed, embed_archive
from solquery.physics import measure
from solquery.search import SearchError, load_index, search, search_parameters


def test_each_patch_is_embedded_by_itself(model, fields):
    whole = embed(model.encoder, fields, batch=7)
    assert whole.shape == (40, 16)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(embed(model.encoder, fields[5])[0], whole[5], atol=1e-5)
    np.testing.assert_allclose(embed(model.encoder, torch.from_numpy(fields[:3])), whole[:3], atol=1e-5)
    assert embed(model.encoder, fields[:0]).shape == (0, 16)


def test_missing_pixels_count_as_zero_and_the_mode_is_left_as_it_was(model, fields):
    holes, filled = fields[:2].copy(), fields[:2].copy()
    holes[:, :5], filled[:, :5] = np.nan, 0
    model.encoder.train()
    np.testing.assert_array_equal(embed(model.encoder, holes), embed(model.encoder, filled))
    assert model.encoder.training


def test_any_callable_is_an_encoder(fields):
    got = embed(lambda x: x.flatten(1)[:, :3], fields)
    np.testing.assert_array_equal(got, fields.reshape(40, -1)[:, :3])


def test_wrong_shape_is_refused(model, fields):
    with pytest.raises(ValueError, match=r"must have shape \(N, H, W\)"):
        embed(model.encoder, fields[None])


def test_archive_gets_embeddings_and_grid_parameters(archive, model, fields):
    seen = []
    report = embed_archive(archive, model, progress=lambda done, of: seen.append((done, of)))
    assert (report.embedded, report.already) == (40, 0)
    assert seen[-1] == (40, 40)
    table = archive.table()
    stored = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(stored, embed(model.encoder, fields), atol=1e-6)
    expected = measure(model.preset.to_gauss(fields))
    for name in ("tuf", "r", "psep"):
        np.testing.assert_allclose(table[f"grid_{name}"].to_numpy(), expected[name].numpy(), rtol=1e-6)
    assert set(table["grid_preset"].to_pylist()) == {"tiny"}


def test_only_what_is_new_or_of_another_encoder_is_embedded(model, fields):
    archive = MemoryArchive(fields[:20], ["R"] * 20)
    embed_archive(archive, model)
    assert embed_archive(archive, model).embedded == 0
    assert embed_archive(archive, model, again=True).embedded == 20
    archive.set_columns(["p003", "p007"], {"embedding_model": ["other", "other"]})
    report = embed_archive(archive, model)
    assert (report.embedded, report.already) == (2, 18)
    assert set(archive.table()["embedding_model"].to_pylist()) == {model.encoder_hash}


def test_what_another_preset_measured_is_measured_again(model, fields):
    archive = MemoryArchive(fields[:20], ["R"] * 20)
    embed_archive(archive, model)
    archive.set_columns(["p003"], {"grid_preset": ["another"]})
    report = embed_archive(archive, model)
    assert (report.embedded, report.already) == (1, 19)
    assert set(archive.table()["grid_preset"].to_pylist()) == {"tiny"}


def test_models_that_share_an_encoder_but_no_preset_do_not_mix(model, fields):
    """A search refuses the columns of the other preset and names the command that makes them anew."""
    archive = MemoryArchive(fields[:20], [f"R{i}" for i in range(20)])
    embed_archive(archive, model)
    other = SimpleNamespace(**vars(model) | {"name": "sibling", "preset": replace(model.preset, name="wide")})
    refusal = r"on the grid of 'tiny'.*query of preset 'wide'.*`solquery archive embed \S+ --model sibling`"
    with pytest.raises(SearchError, match=refusal):
        search(archive, other, fields[3])
    values = {name: float(archive.table()[f"grid_{name}"][3].as_py()) for name in ("tuf", "r", "psep")}
    assert search_parameters(archive, values, preset="tiny")[0].id == "p003"
    with pytest.raises(SearchError, match=r"on the grid of 'tiny'.*query of preset 'wide'.*`solquery archive embed"):
        search_parameters(archive, values, preset="wide")
    archive.set_columns(["p007"], {"grid_preset": ["wide"]})
    with pytest.raises(SearchError, match=r"on the grid of 'tiny', 'wide'.*with each other"):
        search_parameters(archive, values)
    with pytest.warns(UserWarning, match=r"1 of 20 patches have no embedding of this encoder and preset"):
        assert "p007" not in load_index(archive, model).ids
    assert embed_archive(archive, other).embedded == 19
    assert search(archive, other, fields[3])[0].id == "p003"
