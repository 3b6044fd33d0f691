"""Textures: noise of known strength, stripes, sparse elements; mixtures of amounts; noise for every pixel."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from solquery.config import GeneratorConfig, VaeGanConfig
from solquery.generator import build_generator
from solquery.generator.footprint import load_weights
from solquery.generator.optimized import optimize_for_inference
from solquery.generator.pyramid import KNEE, compress, expand
from solquery.generator.statistics_matching import STATISTICS, StatisticsMatching
from solquery.generator.textures import TEXTURES, measure_textures
from solquery.generator.vaegan import train_vaegan
from solquery.training.process_group import ProcessGroup

CONFIG = VaeGanConfig(
    arch="pyramid", loss="vae-gan", latent_dim=8, width=16, batch=16, images=32, limit=4.0, precision="fp32"
)


def _noise(count, sigma, side=64, seed=0):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed)) * sigma


def _column(values, name):
    return values[:, TEXTURES.index(name)]


def _all(fields):
    return torch.ones_like(fields)


def test_white_noise_has_half_its_strength_at_every_next_scale_and_the_peak_of_a_normal_distribution():
    fields = _noise(8, 10.0, side=128)
    values = measure_textures(fields, _all(fields))
    linear = 0.01 / (KNEE * math.asinh(1 / KNEE))  # 10 G, compressed: well below the knee
    for scale in range(4):
        for way in ("x", "y", "xy"):
            found = _column(values, f"detail_{2**scale}_{way}").exp().mean()
            assert float(found) == pytest.approx(linear / 2 ** (scale + 1), rel=0.1), (scale, way)
    for name in ("peaked_1", "peaked_2"):
        assert float(_column(values, name).mean()) == pytest.approx(0.5 * math.log(3.0), abs=0.05)


def test_stripes_are_seen_across_them_only():
    across = torch.zeros(1, 64, 64)
    across[:, :, ::2] = 40.0  # changes along x, at every pixel
    values = measure_textures(across, _all(across))
    along_x, along_y = _column(values, "detail_1_x"), _column(values, "detail_1_y")
    assert float(along_x.exp()) == pytest.approx(float(compress(torch.tensor(0.04))) / 2, rel=1e-3)
    assert float(along_y) < float(along_x) - 3
    turned = measure_textures(across.mT.contiguous(), _all(across))
    assert float(_column(turned, "detail_1_y")) == pytest.approx(float(along_x))


def test_sparse_elements_are_peaked_and_an_empty_border_counts_for_nothing():
    fields, chosen = _noise(4, 10.0), torch.rand(4, 64, 64, generator=torch.Generator().manual_seed(1)) < 0.03
    sparse = fields + chosen * 150.0
    dense, peaked = (measure_textures(x, _all(x)) for x in (fields, sparse))
    assert (_column(peaked, "peaked_1") > _column(dense, "peaked_1") + 0.25).all()
    assert _column(peaked, "peaked_2").mean() > _column(dense, "peaked_2").mean() + 0.08
    observed = torch.zeros_like(fields)
    observed[:, 16:48] = 1.0
    bordered = measure_textures(fields * observed, observed)
    inside = measure_textures(fields[:, 16:48], torch.ones(4, 32, 64))
    assert torch.allclose(bordered, inside, atol=1e-5)
    assert torch.isnan(measure_textures(fields, torch.zeros_like(fields))).all()


def _pairs(count, seed, together):
    """Smooth spots on white noise; strong spots have strong noise or, if not `together`, weak noise."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(0.0, 0.5, count)
    y, x = (np.mgrid[:32, :32] - 15.5) / 6.0
    spot = np.exp(-(x**2 + y**2) / 2)[None] * (0.4 * np.exp(strength))[:, None, None]
    noise = 0.02 * np.exp(strength if together else -strength)[:, None, None] * rng.normal(size=(count, 32, 32))
    return (spot + noise).astype(np.float32)


def test_two_amounts_that_are_right_alone_and_wrong_together_are_found_out():
    amounts = StatisticsMatching(_pairs(800, 0, True), 1000.0, seed=0)

    def missed(together):
        """Of the amounts, and of their mixtures."""
        made = torch.as_tensor(_pairs(1200, 5, together))[:, None]
        for part in made[:1024].split(64):  # the memory is now of draws
            amounts.belong(amounts(part), ProcessGroup())
        values = amounts(made[1024:])
        quantiles = torch.linspace(0.1, 0.9, 9)
        gap = torch.quantile(values, quantiles, dim=0) - torch.quantile(amounts.table, quantiles, dim=0)
        gap = gap.abs().mean(0)
        names = [STATISTICS.index("tuf"), STATISTICS.index("detail_1_xy")]
        return (
            float(gap[names].mean()),
            float(gap[len(STATISTICS) :].mean()),
            float(amounts.belong(values, ProcessGroup())),
        )

    (alone, mixed, all_of_it), (wrong_alone, wrong_mixed, wrong_all) = missed(True), missed(False)
    assert max(alone, wrong_alone) < 0.25  # told from flux or texture alone, both are the archive
    assert wrong_mixed > 2 * mixed and wrong_all > 2 * all_of_it


def test_fine_grain_starts_as_nothing_and_takes_weights_from_before_it():
    torch.manual_seed(0)
    plain = build_generator(CONFIG, (32, 32)).eval()
    grained = build_generator(dataclasses.replace(CONFIG, pixel_noise=True), (32, 32)).eval()
    assert load_weights(grained, plain.state_dict()) is False  # no window is missing
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(plain(z), grained(z))
    with pytest.raises(RuntimeError, match="linear"):
        load_weights(grained, {name: value for name, value in plain.state_dict().items() if "linear" not in name})


def test_fine_grain_gives_every_pixel_noise_of_its_own():
    torch.manual_seed(0)
    network = build_generator(dataclasses.replace(CONFIG, pixel_noise=True), (64, 64)).eval()
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = compress(network(z))
        for k in range(4):
            network.fine_grain.spread.weight[k, k, 1, 1] = 0.05
        added = (compress(network(z)) - before)[:, 0]
        again = (compress(network(z)) - before)[:, 0]
    assert torch.equal(added, again)  # one latent vector has one image
    cells = added.unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, 4).numpy()
    assert np.abs(np.corrcoef(cells.T) - np.eye(4)).max() < 0.05
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.9
    assert float(expand(added.std())) > 0.001


@pytest.mark.parametrize("cool", [0, 64])
def test_the_learning_rate_falls_at_the_end(tmp_path, cool):
    config = dataclasses.replace(CONFIG, images=128, decay_images=cool, learning_rate=1e-3)
    data = _noise(32, 0.1, side=32, seed=4).numpy()
    train_vaegan(config, data, tmp_path / "run", (32, 32), seed=1)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    rates = [kept[name]["param_groups"][0]["lr"] for name in ("optimise_g", "optimise_d")]
    # the last of eight steps is one of the last four, a quarter of whose images are left
    assert rates == pytest.approx([1e-3, 5e-4] if not cool else [0.25e-3, 0.125e-3])


def test_only_the_pyramid_has_fine_grain():
    with pytest.raises(ValueError, match="has no pixel_noise"):
        GeneratorConfig(pixel_noise=True)
    with pytest.raises(ValueError, match="decay_images"):
        dataclasses.replace(CONFIG, decay_images=-1)


def test_the_latent_vector_scales_each_pattern_of_the_pixel_noise_and_starts_with_leaving_it_as_it_is():
    plain, gained = (
        build_generator(dataclasses.replace(CONFIG, pixel_noise=True, noise_gain=gain), (64, 64)).eval()
        for gain in (False, True)
    )
    with torch.no_grad():
        plain.fine_grain.spread.weight.normal_(std=0.1)
    load_weights(gained, plain.state_dict())
    z = torch.randn(3, CONFIG.latent_dim, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(gained(z), plain(z))
        # one pattern alone, and its strength along one number of the latent vector
        noise, features = gained.fine_grain, torch.randn(3, gained.fine_grain.strength.in_channels, 32, 32)
        noise.gain.bias.zero_()
        noise.gain.weight[5, 0] = 2.0
        made = noise(features, z)
        for k in range(3):
            shares = torch.nn.functional.normalize(z[k : k + 1] @ noise.mixing, dim=1)
            pattern = (shares @ noise.noise).view(1, 8, 32, 32) * (torch.arange(8) == 5)[:, None, None]
            expected = noise.spread(noise.strength(features[k : k + 1]) * pattern)
            torch.testing.assert_close(made[k : k + 1], 2.0 * z[k, 0] * expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(optimize_for_inference(gained)(z), gained(z), atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="noise_gain is of the pixel noise"):
        dataclasses.replace(CONFIG, pixel_noise=False, noise_gain=True)


def _mapped(seed=0, **settings):
    torch.manual_seed(seed)
    plain = build_generator(dataclasses.replace(CONFIG, footprint_mask=True, **settings), (64, 64)).eval()
    mapped = build_generator(
        dataclasses.replace(CONFIG, footprint_mask=True, latent_mapping=True, **settings), (64, 64)
    ).eval()
    assert load_weights(mapped, plain.state_dict()) is False
    return plain, mapped


def test_the_mapping_of_latents_starts_as_nothing():
    plain, mapped = _mapped(pixel_noise=True)
    z = torch.randn(4, CONFIG.latent_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(plain(z), mapped(z))
    with pytest.raises(ValueError, match="has no latent_mapping"):
        GeneratorConfig(latent_mapping=True)


def test_layers_are_told_the_mapped_latent_and_the_footprint_the_latent_itself():
    """A mapping that adds the same to every latent draws what the plain network draws of the sum, in z's footprint."""
    plain, mapped = _mapped(pixel_noise=True, noise_gain=True)
    moved = torch.randn(CONFIG.latent_dim, generator=torch.Generator().manual_seed(4))
    random = torch.Generator().manual_seed(2)
    z = torch.randn(3, CONFIG.latent_dim, generator=random)
    apart = torch.randn(3, plain.parts, CONFIG.latent_dim, generator=random)
    with torch.no_grad():
        for network in (plain, mapped):
            network.fine_grain.spread.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(3))
            network.window.net[-1].weight.normal_(std=0.5, generator=torch.Generator().manual_seed(5))
        mapped.mapping.last.bias.copy_(moved)
        for latents in (z, apart):
            first = latents[:, 0] if latents.ndim == 3 else latents
            ours, theirs = (plain.window(one, (64, 64)) for one in (first, first + moved))
            assert (ours - theirs).abs().max() > 0.5  # that it is z's footprint can be seen
            torch.testing.assert_close(mapped(latents) * theirs, plain(latents + moved) * ours, atol=1e-5, rtol=1e-4)
            # as it is used: where the mapping is no mere shift
            mapped.mapping.last.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(6))
            assert (mapped(latents) - plain(latents)).abs().max() > 1e-3
            torch.testing.assert_close(optimize_for_inference(mapped)(latents), mapped(latents), atol=2e-5, rtol=1e-4)
            mapped.mapping.last.weight.zero_()
