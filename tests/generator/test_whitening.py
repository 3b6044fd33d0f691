"""Latents made standard normal: the same images under other coordinates, and a penalty that asks for it in training."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import trainings
from command_line import call, document, failure

from solquery.config import VaeGanConfig
from solquery.generator import build_generator, train_generator, whitening
from solquery.generator.inference import build_inference
from solquery.generator.registry import build_generator as registered
from solquery.generator.whitening import LatentCovariance, Posterior, aggregated_posterior, whiten, whiten_run
from solquery.training.process_group import ProcessGroup
from solquery.training.run_folder import TrainingError

DIM = 8
CONFIG = VaeGanConfig(
    arch="pyramid", latent_dim=DIM, width=8, batch=16, images=160, anchors=("tuf", "psep"), pixel_noise=True,
    noise_gain=True, footprint_mask=True, latent_mapping=True, fade_images=1,
)  # fmt: skip


def _random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _posterior(mean=0.5):
    factor = torch.tril(_random(DIM, DIM, seed=3, scale=0.3), -1).double() + torch.diag(
        torch.linspace(0.5, 2.0, DIM).double()
    )
    return Posterior(mean * _random(DIM, seed=4).double(), factor, torch.linspace(0.1, 0.4, DIM).double())


def _networks(shape=(32, 64)):
    """A generator and an inference network whose every weight matters."""
    torch.manual_seed(0)
    generator, inference = build_generator(CONFIG, shape).eval(), build_inference(CONFIG, shape).eval()
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if value.abs().max() == 0 or "heads" in name:
                value.add_(_random(*value.shape, seed=len(name), scale=0.1))
        for value in inference.layers[-1].parameters():
            value.mul_(5.0)
    return generator, inference


@pytest.mark.parametrize("grained", [True, False])
def test_the_generator_makes_of_u_what_it_made_of_z(grained):
    """With no mean to the grain's last bit; with one where there is no grain, whose mixtures have no place for it."""
    generator, inference = _networks()
    if not grained:
        with torch.no_grad():
            generator.fine_grain.spread.weight.zero_()
            for block in generator.blocks:
                for layer in block.layers:
                    layer.grain.weight.zero_()
    posterior = _posterior(0.0 if grained else 0.5)
    u = _random(4, DIM, seed=7)
    apart = _random(4, generator.parts, DIM, seed=8)
    moved = [(latents.double() @ posterior.factor.T + posterior.mean).float() for latents in (u, apart)]
    with torch.no_grad():
        wanted = [generator(z) for z in moved]
        without = generator(u)
        whiten(generator, inference, posterior)
        for latents, images in zip((u, apart), wanted, strict=True):
            torch.testing.assert_close(generator(latents), images, atol=2e-4 * float(images.abs().max()), rtol=1e-3)
    assert (without - wanted[0]).abs().max() > 0.05 * wanted[0].abs().max()  # that it is another image can be seen


def test_the_inference_network_tells_u():
    generator, inference = _networks()
    posterior, x = _posterior(), _random(5, 1, *inference.shape, seed=9, scale=0.2)
    with torch.no_grad():
        z, variance = inference(x)
        whiten(generator, inference, posterior)
        u, narrower = inference(x)
    torch.testing.assert_close((u.double() @ posterior.factor.T + posterior.mean).float(), z, atol=1e-4, rtol=1e-4)
    # a patch of mean variances: u has those of L^-1 (z - mean)
    inverse = torch.linalg.inv(posterior.factor)
    wanted = (inverse @ torch.diag(posterior.variance) @ inverse.T).diagonal()
    scaled = (narrower - variance).exp() * posterior.variance
    torch.testing.assert_close(scaled, wanted.float().expand_as(scaled).double(), atol=1e-4, rtol=1e-4)


def test_the_departure_is_the_divergence_of_a_normal_distribution():
    posterior = _posterior()
    normal = torch.distributions.MultivariateNormal(posterior.mean, scale_tril=posterior.factor)
    prior = torch.distributions.MultivariateNormal(torch.zeros(DIM).double(), torch.eye(DIM).double())
    assert posterior.departure == pytest.approx(float(torch.distributions.kl_divergence(normal, prior)), rel=1e-6)
    assert Posterior(torch.zeros(DIM), torch.eye(DIM), torch.ones(DIM)).departure == 0.0


def _fields(count=300, seed=0):
    """One blob each whose strength, and with it everything, is lognormal: latents that go together."""
    rng = np.random.default_rng(seed)
    strength = np.exp(rng.normal(0.0, 0.6, count))[:, None, None]
    turn = rng.integers(0, 4, count)
    blobs = trainings.blobs(count).astype(np.float32)
    pairs = 0.5 * strength * (blobs - np.stack([np.rot90(x, k) for x, k in zip(blobs[::-1], turn, strict=True)]))
    return np.clip(pairs, -1, 1).astype(np.float16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whiten") / "run"
    config = dataclasses.replace(CONFIG, images=1600, learning_rate=2e-3)
    train_generator(config, _fields(), folder, trainings.SHAPE, seed=2, provenance={"preset": "tiny"})
    return folder, config


def _latents(folder, config, data):
    """Mean latents of patches by the inference network of a run."""
    from solquery.generator.inference import load_inference

    inference = load_inference(folder, config, trainings.SHAPE)
    with torch.no_grad():
        return inference(torch.as_tensor(np.asarray(data, np.float32))[:, None])


def test_latents_of_a_whitened_run_are_standard_normal(run, tmp_path):
    folder, config = run
    data = _fields()
    told = whiten_run(folder, tmp_path / "white", config, data, trainings.SHAPE, config.anchors)
    departure = told["departure"]
    assert departure["before"] > 1.0 > 4 * departure["after"] >= 0.0 and told["patches"] == len(data)
    # the numbers after the anchors, of which the means tell most, by a route of their own
    mean, log_variance = _latents(tmp_path / "white", config, data)
    free = mean[:, 2:]
    covariance = torch.cov(free.T) + torch.diag(log_variance[:, 2:].exp().mean(0))
    assert (covariance.diagonal() - 1).abs().max() < 0.25 and free.mean(0).abs().max() < 0.05
    written = json.loads((tmp_path / "white" / "config.json").read_text())
    assert written["provenance"]["whitened"]["departure"] == departure
    assert (tmp_path / "white" / "checkpoints" / "generator.safetensors").exists()


def test_anchors_stay_what_they_are(run):
    """Of uncorrelated anchors of unit variance the factor is the identity: the first numbers of u are those of z."""
    folder, config = run
    from solquery.generator.inference import load_inference

    inference = load_inference(folder, config, trainings.SHAPE)
    posterior = aggregated_posterior(inference, _fields(), config.anchors, config.unit_gauss)
    torch.testing.assert_close(posterior.factor[:2, :2], torch.eye(2).double(), atol=0.02, rtol=0)
    assert (posterior.factor[:2, 2:] == 0).all() and posterior.mean[:2].abs().max() < 0.02


def test_what_cannot_be_whitened_is_refused(run, tmp_path):
    folder, config = run
    few = _fields(40)
    with pytest.raises(TrainingError, match="40 patches are too few for the covariance of 100"):
        inference = build_inference(dataclasses.replace(CONFIG, latent_dim=100), trainings.SHAPE)
        aggregated_posterior(inference, few, (), 1000.0)
    with pytest.raises(TrainingError, match="the run to whiten itself"):
        whiten_run(folder, folder, config, few, trainings.SHAPE, ())
    with pytest.raises(TrainingError, match=r"no generator\.safetensors"):
        whiten_run(tmp_path, tmp_path / "out", config, few, trainings.SHAPE, ())
    other = registered(trainings.configurations()["bce"], trainings.SHAPE)
    with pytest.raises(TrainingError, match="only architecture 'pyramid'"):
        whiten(other, build_inference(CONFIG, trainings.SHAPE), _posterior())


def test_the_penalty_makes_latents_uncorrelated(monkeypatch):
    """Latents that a matrix mixes: descending on the penalty alone turns it into a rotation, and its mean to zero."""
    monkeypatch.setattr(whitening, "REMEMBERED", 2000)
    covariance = LatentCovariance(3)
    mixing = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.3, 0.0], [0.5, 0.5, 1.0]], requires_grad=True)
    offset = torch.tensor([0.5, -0.5, 0.0], requires_grad=True)
    descend = torch.optim.Adam([mixing, offset], lr=2e-3)
    for step in range(3000):
        z = _random(64, 3, seed=step) @ mixing.T + offset
        descend.zero_grad()
        covariance.penalty(z, ProcessGroup()).backward()
        descend.step()
    made = (mixing @ mixing.T).detach()
    assert (made - torch.eye(3)).abs().max() < 0.15 and offset.detach().abs().max() < 0.1
    assert float(covariance.departure) < 0.15


def test_the_gradient_of_the_penalty_is_that_of_half_the_summed_squares():
    covariance = LatentCovariance(4)
    z = (_random(400, 4, seed=1) @ _random(4, 4, seed=2)).requires_grad_(True)
    with torch.no_grad():  # as after many batches of these latents
        covariance.mean.copy_(z.mean(0))
        covariance.square.copy_(z.T @ z / len(z))
    covariance.penalty(z, ProcessGroup()).backward()
    wanted = z.detach().clone().requires_grad_(True)
    wrong = wanted.T @ wanted / len(wanted) - torch.eye(4)
    (0.5 * wrong.square().sum() + wanted.mean(0).square().sum()).backward()
    torch.testing.assert_close(z.grad, wanted.grad, atol=1e-6, rtol=1e-4)


def test_the_verb_whitens_a_run_and_names_what_it_needs(run, tmp_path):
    folder, _ = run
    np.save(tmp_path / "patches.npy", _fields())
    command = ("train", "whiten", folder, "--preset", "tiny", "--data", tmp_path / "patches.npy")
    told = document(*command, "--run", tmp_path / "white")
    assert told["departure"]["before"] > told["departure"]["after"]
    assert "itself" in failure(*command, "--run", folder)
    train_generator(
        trainings.configurations()["bce"], trainings.blobs(), tmp_path / "bce", trainings.SHAPE, until_images=16
    )
    told = call("train", "whiten", tmp_path / "bce", *command[3:], "--run", tmp_path / "none", code=2)[1]
    assert "only vae-gan" in told
