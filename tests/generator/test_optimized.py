"""The generator made ready for one image makes the images of the one it was made of."""

from __future__ import annotations

import pytest
import torch

from solquery.config import get_preset
from solquery.generator import build_generator, optimized
from solquery.generator.optimized import OptimizedPyramid, optimize_for_inference
from solquery.steering.latents import frozen


@pytest.fixture(scope="module", params=[(16, 16), (32, 64)], ids=str)
def pair(request):
    torch.manual_seed(request.param[0])
    made_of = build_generator(get_preset("physical").generator, request.param)
    with torch.no_grad():
        for head in made_of.heads:  # as strong as a trained one's, so that differences would show
            head.weight.normal_(std=0.03)
        made_of.fine_grain.spread.weight.normal_(std=0.02)
    return made_of.eval(), optimize_for_inference(made_of)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("numba", [True, False])
def test_the_images_are_the_same_to_rounding(pair, n, numba, monkeypatch):
    made_of, ready = pair
    if numba:
        assert optimized._compiled() is not None, "numba is a dependency"
    else:
        monkeypatch.setattr(optimized, "_compiled", lambda: None)
    z = torch.randn(n, made_of.latent_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        wanted = made_of(z)
        # of fields of some hundred gauss, hundredths of one
        torch.testing.assert_close(ready(z), wanted, atol=1e-4 * float(wanted.abs().max()), rtol=0)
    assert isinstance(ready, OptimizedPyramid)
    assert float(wanted.abs().max()) > 0.05


def test_layerwise_latents_give_the_images_of_the_generator(pair):
    made_of, ready = pair
    z = torch.randn(2, made_of.parts, made_of.latent_dim, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        wanted = made_of(z)
        torch.testing.assert_close(ready(z), wanted, atol=1e-4 * float(wanted.abs().max()), rtol=0)
        # each part has its say
        assert float((ready(z[:, :1].expand_as(z)) - wanted).abs().max()) > 0.01


def test_gradients_are_those_of_the_generator(pair):
    made_of, ready = pair
    slopes = []
    for network in (made_of, ready):
        z = torch.randn(1, made_of.latent_dim, generator=torch.Generator().manual_seed(6)).requires_grad_()
        network(z).square().sum().backward()
        slopes.append(z.grad)
    assert torch.equal(*slopes)
    assert float(slopes[0].abs().max()) > 0


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_latents_and_local_noise_are_those_of_the_generator(pair, parts, noise, threads):
    made_of, ready = pair
    source = torch.Generator().manual_seed(9)
    n, dim = 3, made_of.latent_dim
    z = torch.randn((n, made_of.parts, dim) if parts else (n, dim), generator=source)
    local = torch.randn(n, made_of.local_noise, generator=source)
    weights, found, before = torch.randn(n, 1, *made_of.shape, generator=source), [], torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with frozen(made_of):
            for network in pair:
                told = [z.clone().requires_grad_(), local.clone().requires_grad_()][: 1 + noise]
                x = network(told[0], noise=told[1] if noise else None)
                found.append([x.detach(), *torch.autograd.grad((x * weights).sum(), told, retain_graph=True)])
                # a second time through the same graph, as gradients of several parameters are found
                (again,) = torch.autograd.grad((x * weights).sum(), told[:1])
                torch.testing.assert_close(again, found[-1][1], rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(before)
    assert ready.local_noise == made_of.local_noise
    assert ready.window is made_of.window
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=0)
        assert float(wanted.abs().max()) > 0


def test_without_numba_gradients_are_the_generators(pair, monkeypatch):
    monkeypatch.setattr(optimized, "_compiled", lambda: None)
    slopes = []
    with frozen(pair[0]):
        for network in pair:
            z = torch.ones(1, network.latent_dim, requires_grad=True)
            slopes += torch.autograd.grad(network(z).square().sum(), z)
    assert torch.equal(*slopes)


def test_a_coarser_level_is_that_of_the_generator(pair):
    made_of, ready = pair
    z = torch.randn(1, made_of.latent_dim, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        torch.testing.assert_close(ready(z, 1), made_of(z, 1), atol=1e-4, rtol=1e-3)


def test_another_architecture_is_left_as_it_is():
    paper = build_generator(get_preset("tiny").generator, (32, 32))
    assert optimize_for_inference(paper) is paper
