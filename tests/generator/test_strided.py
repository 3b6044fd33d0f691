"""The paper's networks computed in another order: the same numbers, and the same gradients."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from solquery.config import get_preset
from solquery.generator import build_discriminator, build_generator, training
from solquery.generator.strided import double, double_thin, halve_thin

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "training.py"


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(2, 11), st.integers(2, 11), st.integers(0, 2**31 - 1))
def test_each_layer_is_the_one_of_torch(n, channels, height, width, seed):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    coarse, fine = draw(n, channels, height, width), draw(n, 1, 2 * height + 1, 2 * width + 2)
    weight, thin = draw(channels, 2, 3, 3), draw(channels, 1, 3, 3)
    both = draw(2)
    doubled = F.conv_transpose2d(coarse, weight, both, stride=2)
    assert torch.allclose(double(coarse, weight, both), doubled)
    assert torch.allclose(double(coarse, weight, both, 0.2), F.leaky_relu(doubled, 0.2))
    assert torch.allclose(double_thin(coarse, thin), F.conv_transpose2d(coarse, thin, stride=2))
    bias = draw(channels)
    assert torch.allclose(halve_thin(fine, thin, bias), F.conv2d(fine, thin, bias, stride=2))


def test_first_and_second_derivatives_are_right():
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64, requires_grad=True)

    for function, arguments in (
        (double, (draw(2, 3, 4, 3), draw(3, 2, 3, 3), draw(2))),
        (lambda x, w, b: double(x, w, b, 0.2), (draw(2, 3, 4, 3), draw(3, 2, 3, 3), draw(2))),
        (double_thin, (draw(2, 3, 4, 3), draw(3, 1, 3, 3))),
        (halve_thin, (draw(2, 1, 8, 7), draw(3, 1, 3, 3), draw(3))),
    ):
        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)  # the gradient penalty R1 needs them


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_training", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gradients_of_both_steps_are_those_of_the_plain_loop(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "BATCH", 8)
    monkeypatch.setattr(training, "MICRO_BATCH", 4)  # two parts, whose sizes bear on the mean
    errors = benchmark.gradient_errors()
    assert all(ours < 1e-5 for ours, _ in errors.values()), errors
    # and in double precision, kinks and all, nothing is left but the logits' float32
    errors = benchmark.gradient_errors(torch.float64)
    assert all(ours < 1e-6 for ours, _ in errors.values()), errors


def test_the_papers_networks_give_what_plain_layers_give(benchmark):
    preset = get_preset("paper")
    torch.manual_seed(3)
    generator, discriminator = (build(preset.generator) for build in (build_generator, build_discriminator))
    plain_g, plain_d = benchmark.PlainGenerator(), benchmark.plain_discriminator()
    plain_g.load_state_dict(generator.state_dict())
    plain_d.load_state_dict({k.replace("features.", ""): v for k, v in discriminator.state_dict().items()})
    with torch.no_grad():
        z = torch.randn(3, 100)
        x = plain_g(z)
        assert torch.allclose(generator(z), x, atol=1e-6)
        assert torch.allclose(discriminator(x), plain_d(x), atol=1e-6)


def test_a_shared_batch_is_another_training(benchmark):
    """Off by default: with it, the generator learns from the patches that the discriminator has just been shown."""
    real = 0.1 * torch.randn(32, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    weights = []
    for shared in (False, True):
        torch.manual_seed(0)
        trainer = benchmark.Ours(torch.device("cpu"), shared)
        trainer.step(real)
        weights.append(trainer.state.generator.linear.weight.detach())
        assert trainer.state.config.shared_batch is shared
    assert not get_preset("paper").generator.shared_batch
    assert not torch.allclose(*weights)


def test_in_bfloat16_the_gradients_of_both_steps_point_the_same_way():
    preset = get_preset("paper")
    torch.manual_seed(3)
    generator, discriminator = (build(preset.generator) for build in (build_generator, build_discriminator))
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)
    z, real = torch.randn(4, 100), 0.1 * torch.randn(4, 1, 128, 128)

    def gradients(low):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            made = generator(z)
            both = discriminator(torch.cat([real, made.to(real.dtype)]))
            loss = F.softplus(-both[:4]).mean() + 2.0 * F.softplus(both[4:]).mean()
        assert both.dtype == torch.float32
        parameters = [*generator.parameters(), *discriminator.parameters()]
        return torch.autograd.grad(loss, parameters)

    for full, low in zip(gradients(False), gradients(True), strict=True):
        assert low.dtype == torch.float32
        assert F.cosine_similarity(full.flatten(), low.flatten(), dim=0) > 0.98
        assert float(low.norm() / full.norm()) == pytest.approx(1.0, abs=0.1)


def test_the_discriminator_ends_in_one_linear_layer_where_that_is_asked_for():
    from dataclasses import replace

    config = get_preset("paper").generator
    two, one = (build_discriminator(replace(config, discriminator_linear_layers=n)) for n in (2, 1))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (two, one)]
    # three convolutions, then 14,400 -> 100 -> 1, or 14,400 -> 1
    convolutions = (32 * 9 + 32) + (64 * 32 * 9 + 64) + (64 * 64 * 9 + 64)
    assert sizes == [convolutions + 14_400 * 100 + 100 + 100 + 1, convolutions + 14_400 + 1]
    assert [type(layer).__name__ for layer in one.features].count("Linear") == 1
    assert one(torch.zeros(2, 1, 128, 128)).shape == (2,)
    with pytest.raises(ValueError, match="must be 1 or 2"):
        replace(config, discriminator_linear_layers=3)
