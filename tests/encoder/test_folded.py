"""The folded encoder is the encoder; the one of eight bits is nearly so, and the archive says which was used."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_archive import MemoryArchive, smooth_fields
from torch import nn

from solquery.config import EncoderConfig
from solquery.encoder import build_encoder, embed, embed_archive
from solquery.encoder.folded import Folded, bands, fold
from solquery.encoder.int8 import Int8Encoder, PrecisionError, agreement, calibrate
from solquery.search import load_index, search

CFG = EncoderConfig(width=8, embedding_dim=16, projection_hidden=32, prediction_hidden=16, batch=8, images=64)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def patches(n, size, seed=0):
    return torch.from_numpy(2.0 * smooth_fields(n, size=size, seed=seed)).unsqueeze(1)


def spots(n, size, seed=0):
    """Patches that are quiet between their spots, as those of active regions are."""
    return torch.nn.functional.softshrink(patches(n, size, seed), 0.8)


def trained(cfg, size, seed=1):
    """An encoder with statistics, and with blocks that are not their shortcuts."""
    encoder = build_encoder(cfg, seed).train()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.num_features, generator=generator))
                module.bias.copy_(0.2 * torch.randn(module.num_features, generator=generator))
        for step in range(15):
            encoder(spots(32, size, seed=100 + step))
    return encoder.eval()


def test_a_folded_layer_is_layer_and_normalisation():
    torch.manual_seed(0)
    for layer, norm, x in [
        (nn.Conv2d(3, 5, 3, 2, 1), nn.BatchNorm2d(5), torch.randn(4, 3, 9, 9)),
        (nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, affine=False), torch.randn(4, 6)),
    ]:
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        norm.eval()
        torch.testing.assert_close(fold(layer, norm)(x), norm(layer(x)), atol=1e-5, rtol=1e-5)


def test_bands_are_those_the_encoder_sees():
    encoder = build_encoder(dataclasses.replace(CFG, bands=True))
    x = patches(9, 32)
    x[0], x[1, :, :9], x[2] = 0.0, -4.0, 1e-5 * x[2]
    torch.testing.assert_close(bands(x), encoder.shown(x), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "size"),
    [({"bands": True}, 128), ({"bands": True}, 64), ({"downsample": 2}, 64), ({}, 32), ({}, 64)],
)
def test_the_folded_encoder_gives_the_same_numbers(changes, size):
    """Grids whose last maps are 2 x 2, where the convolutions are matrices, and others."""
    encoder = trained(dataclasses.replace(CFG, **changes), size)
    x = patches(5, size, seed=7)
    kept = x.clone()
    with torch.no_grad():
        expected = encoder(x)
    torch.testing.assert_close(Folded(encoder)(x), expected, atol=2e-5, rtol=1e-4)
    assert torch.equal(x, kept)


def test_many_patches_are_embedded_as_few(model):
    x = smooth_fields(150, seed=4)
    few = np.concatenate([embed(model.encoder, x[k : k + 10]) for k in range(0, 150, 10)])
    np.testing.assert_allclose(embed(model.encoder, x), few, atol=2e-5)


@pytest.fixture(scope="module")
def quantised():
    torch.set_num_threads(1)
    encoder = trained(dataclasses.replace(CFG, bands=True), 64)
    # every other patch is nearly the one before it, so that which is nearest is not a matter of chance
    x = spots(48, 64, seed=20).repeat_interleave(2, dim=0)
    return encoder, calibrate(
        encoder, x * (1 + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2)))
    )


def test_int8_finds_the_same_patches(quantised):
    encoder, calibration = quantised
    x = spots(120, 64, seed=30)
    with torch.no_grad():
        exact = encoder(x).numpy()
        queries = encoder(x * (1 + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))).numpy()
    coarse = Int8Encoder(encoder, calibration)(x).numpy()
    assert agreement(queries, exact, coarse) >= 0.98
    # it is another arithmetic: were these the same numbers, nothing would have been quantised
    assert 1e-4 < np.sqrt(np.mean((coarse - exact) ** 2)) < 0.1 * exact.std()


def test_int8_embeds_each_patch_by_itself(quantised):
    network = Int8Encoder(*quantised)
    x = spots(6, 64, seed=31)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]), atol=1e-5, rtol=1e-5)


def test_without_the_shift_int8_is_further_off(quantised):
    """The rounding of the quiet field is the same everywhere; taking its mean back must help."""
    encoder, calibration = quantised
    x = spots(60, 64, seed=32)
    with torch.no_grad():
        exact = encoder(x)
    bare = dataclasses.replace(calibration, shift=tuple(torch.zeros_like(s) for s in calibration.shift))
    errors = [float((Int8Encoder(encoder, c)(x) - exact).square().mean()) for c in (calibration, bare)]
    assert errors[0] < errors[1]


def test_agreement_counts_the_queries_whose_nearest_stays():
    rows = np.eye(4, dtype=np.float32)
    swapped = rows[[1, 0, 2, 3]]
    assert agreement(rows, rows, rows) == 1.0
    assert agreement(rows, rows, swapped) == 0.5


def test_an_encoder_that_does_not_bear_int8_is_refused(quantised, monkeypatch):
    monkeypatch.setattr("solquery.encoder.int8.agreement", lambda *_: 0.4)
    with pytest.raises(PrecisionError, match=r"agrees with fp32 in only 40%.*--precision fp32"):
        calibrate(quantised[0], patches(8, 64))


class _Generator(nn.Module):
    latent_dim = 4

    def forward(self, z):
        return patches(len(z), 32, seed=40)


def test_the_archive_records_its_precision_and_is_searched_in_either(model, fields, monkeypatch):
    # how many neighbours stay depends on the processor's sums of bytes; here it is the records that count
    monkeypatch.setattr("solquery.encoder.int8.LEAST_AGREEMENT", 0.5)
    models = SimpleNamespace(**vars(model) | {"generator": _Generator()})
    archive = MemoryArchive(fields, [f"R{i}" for i in range(40)])
    archive.set_columns(archive.ids[:4], {"embedding_precision": [None] * 4})
    embed_archive(archive, models, precision="int8")
    assert set(archive.table()["embedding_precision"].to_pylist()) == {"int8"}
    coarse = load_index(archive, models).vectors
    assert search(archive, models, fields[7])[0].id == "p007"
    assert embed_archive(archive, models).embedded == 0
    assert embed_archive(archive, models, precision="int8").embedded == 0
    archive.set_columns(["p003"], {"embedding_model": ["other"]})
    assert embed_archive(archive, models).embedded == 1
    kinds = archive.table()["embedding_precision"].to_pylist()
    assert (kinds[3], set(kinds[:3] + kinds[4:])) == ("fp32", {"int8"})
    assert search(archive, models, fields[3])[0].id == "p003"
    assert embed_archive(archive, models, precision="fp32").embedded == 39
    exact = load_index(archive, models).vectors
    assert 0 < np.abs(exact - coarse).max() < 0.5


def test_a_precision_that_cannot_be_had_is_refused_before_anything_is_written(model, fields):
    archive = MemoryArchive(fields[:8], ["R"] * 8)
    with pytest.raises(PrecisionError, match=r"no precision named 'int4'; there are: fp32, int8"):
        embed_archive(archive, model, precision="int4")
    foreign = SimpleNamespace(**vars(model) | {"encoder": lambda x: x.flatten(1)[:, :3]})
    with pytest.raises(PrecisionError, match=r"'tiny' has no int8; embed with --precision fp32"):
        embed_archive(archive, foreign, precision="int8")
    assert "embedding" not in archive.table().column_names
