"""The network is the ResNet-18 of the paper with SimSiam's heads."""

import dataclasses

import pytest
import torch

from solquery.config import EncoderConfig, get_preset
from solquery.encoder.networks import ResNet18, area_means, build_encoder, build_predictor


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_paper_preset():
    encoder = build_encoder(EncoderConfig())
    # ResNet-18 has 11,176,512 without its classifier; one input channel instead of three: 2 * 64 * 49 fewer
    assert count(encoder.backbone) == 11_176_512 - 2 * 64 * 49
    assert count(encoder.projection) == 512 * 512 + 2 * 512 + 512 * 100
    assert count(build_predictor(EncoderConfig())) == 100 * 128 + 2 * 128 + 128 * 100 + 100


def test_spatial_sizes_are_those_of_resnet():
    backbone = ResNet18(4)
    x = torch.zeros(1, 1, 128, 128)
    sizes = [backbone.stem(x).shape[-1]]
    y = backbone.stem(x)
    for block in backbone.blocks:
        y = block(y)
        sizes.append(y.shape[-1])
    assert sizes == [32, 32, 32, 16, 16, 8, 8, 4, 4]


def test_forward_gives_one_embedding_a_patch():
    cfg = get_preset("tiny").encoder
    encoder = build_encoder(cfg).eval()
    x = torch.randn(3, 1, 32, 40)
    assert encoder(x).shape == (3, cfg.embedding_dim)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))


def test_embeddings_are_normalised_over_a_batch():
    z = build_encoder(get_preset("tiny").encoder).train()(torch.randn(64, 1, 32, 32))
    torch.testing.assert_close(z.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(0, unbiased=False), torch.ones(16), atol=2e-2, rtol=0)


def test_weights_follow_from_the_seed_and_leave_the_global_generator_alone():
    cfg = get_preset("tiny").encoder
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a, b, c = build_encoder(cfg, 1), build_encoder(cfg, 1), build_encoder(cfg, 2)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="no encoder architecture named 'vit'; there is: resnet18"):
        build_encoder(dataclasses.replace(EncoderConfig(), arch="vit"))


def test_narrow_shortcuts_halve_like_the_convolution_they_stand_for():
    """oneDNN corrupts memory in the plain one's gradient, on some processors; here both go channels first."""
    from solquery.encoder.networks import _Halve

    torch.manual_seed(0)
    narrow = _Halve(4, 8, 1, 2, bias=False)
    plain = torch.nn.Conv2d(4, 8, 1, 2, bias=False)
    plain.load_state_dict(narrow.state_dict())
    x = torch.randn(3, 4, 7, 6)
    ours, theirs = narrow(x), plain(x)
    assert ours.shape == (3, 8, 4, 3) and torch.allclose(ours, theirs, atol=1e-6)
    for y in (ours, theirs):
        y.square().sum().backward()
    assert torch.allclose(narrow.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "ratio", "finer", "block"), [(128, 1.6, 5, 8), (128, 4 / 3, 3, 4), (96, 1.5, 2, 3)])
def test_blocks_may_end_within_a_pixel(side, ratio, finer, block):
    """As block means of the image whose pixels are repeated so often that blocks end between them."""
    x = torch.randn(2, 3, side, side // 2, generator=torch.Generator().manual_seed(3))
    repeated = x.repeat_interleave(finer, 2).repeat_interleave(finer, 3)
    wanted = torch.nn.functional.avg_pool2d(repeated, block)
    torch.testing.assert_close(area_means(x, ratio), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ratio", [1, 2, 1.6, 3.7])
def test_block_means_keep_the_mean_of_an_image(ratio):
    x = torch.randn(2, 1, 60, 40, generator=torch.Generator().manual_seed(3))
    if 60 % ratio == 0:
        assert torch.equal(area_means(x, ratio), x if ratio == 1 else torch.nn.functional.avg_pool2d(x, ratio))
    torch.testing.assert_close(area_means(x, ratio).mean((2, 3)), x.mean((2, 3)), atol=1e-6, rtol=1e-5)


def test_an_encoder_of_broken_blocks_sees_them():
    cfg = dataclasses.replace(get_preset("tiny").encoder, downsample=1.6)
    encoder = build_encoder(cfg).eval()
    whole = build_encoder(dataclasses.replace(cfg, downsample=1)).eval()
    x = torch.randn(3, 1, 32, 40, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(encoder(x), whole(area_means(x, 1.6)))
    assert encoder.shown(x).shape[-2:] == (20, 25)
