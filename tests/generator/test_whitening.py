"""Latents made standard normal: the same images under other coordinates, in training and after it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import trainings
from command_line import call, document, failure
from safetensors.torch import load_file

from solquery.config import VaeGanConfig
from solquery.generator import build_generator, train_generator, whitening
from solquery.generator.inference import build_inference
from solquery.generator.registry import build_generator as registered
from solquery.generator.whitening import LatentMoments, Posterior, aggregated_posterior, whiten, whiten_run
from solquery.model_build import run_story
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
    # what is told of the training is told of its weights under other coordinates
    assert run_story(tmp_path / "white")["last"] == run_story(folder)["last"]


def test_anchors_stay_what_they_are(run):
    """Of uncorrelated anchors of unit variance the factor is the identity: the first numbers of u are those of z."""
    folder, config = run
    from solquery.generator.inference import load_inference

    inference = load_inference(folder, config, trainings.SHAPE)
    posterior = aggregated_posterior(inference, _fields(), config.anchors, config.unit_gauss)
    torch.testing.assert_close(posterior.factor[:2, :2], torch.eye(2).double(), atol=0.02, rtol=0)
    assert (posterior.factor[:2, 2:] == 0).all() and posterior.mean[:2].abs().max() < 0.02


def test_an_anchor_that_no_patch_has_is_no_obstacle(run):
    """Fields of one polarity have no separation: its anchor is 0 throughout, and stays near it in draws."""
    from solquery.generator.inference import load_inference

    folder, config = run
    one_polarity = np.abs(_fields()) + np.float16(0.01)
    inference = load_inference(folder, config, trainings.SHAPE)
    posterior = aggregated_posterior(inference, one_polarity, config.anchors, config.unit_gauss)
    assert torch.isfinite(posterior.factor).all() and float(posterior.factor[1, 1]) == pytest.approx(0.01, rel=0.1)
    assert posterior.departure < 1e6


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


def test_moments_follow_latents_and_draws_have_them(monkeypatch):
    monkeypatch.setattr(whitening, "REMEMBERED", 3000)
    posterior, moments = _posterior(), LatentMoments(DIM)
    normal = torch.randn(3, 5000, DIM, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(moments.draw(normal[0]), normal[0], atol=1e-3)  # of nothing yet: the prior
    z = (normal[0].double() @ posterior.factor.T + posterior.mean).float()
    for part in z.repeat(3, 1).split(50):  # five times as many as are remembered
        moments.update(part, torch.full_like(part, 0.3), ProcessGroup())
    drawn = moments.draw(normal[1]).double()
    wanted = posterior.factor @ posterior.factor.T
    assert (torch.cov(drawn.T) - wanted).abs().max() < 0.12 * wanted.abs().max()
    torch.testing.assert_close(drawn.mean(0), posterior.mean, atol=0.15, rtol=0)
    assert float(moments.variance[0]) == pytest.approx(0.3, abs=0.02)
    again = LatentMoments(DIM)
    again.begin(posterior)
    exact = (normal[2].double() @ posterior.factor.T + posterior.mean).float()
    torch.testing.assert_close(again.draw(normal[2]), exact, atol=2e-3, rtol=1e-3)


def test_a_training_with_moments_leaves_whitened_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(whitening, "REMEMBERED", 320)
    config = dataclasses.replace(CONFIG, images=1600, learning_rate=2e-3, latent_moments=True)
    data, folder = _fields(), tmp_path / "run"
    train_generator(config, data, folder, trainings.SHAPE, seed=2)
    kept = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    moments = LatentMoments(DIM)
    moments.load_state_dict(kept["latent_moments"])
    assert moments.posterior.departure > 0.5
    made = {
        "generator": build_generator(config, trainings.SHAPE),
        "inference": build_inference(config, trainings.SHAPE),
    }
    made["generator"].load_state_dict(kept["average"])
    made["inference"].load_state_dict(kept["inference"])
    raw = aggregated_posterior(made["inference"], data, config.anchors, 1000.0).departure
    whiten(made["generator"], made["inference"], moments.posterior)
    for name, network in made.items():
        stored = load_file(folder / "checkpoints" / f"{name}.safetensors")
        assert all(torch.equal(value, stored[key]) for key, value in network.state_dict().items())
        (last,) = (folder / "checkpoints" / "kept").glob(f"*001600-{name}.safetensors")
        assert all(map(torch.equal, load_file(last).values(), stored.values()))
    assert aggregated_posterior(made["inference"], data, config.anchors, 1000.0).departure < 0.6 * raw


def test_a_training_that_begins_with_another_draws_from_its_latents(run, tmp_path):
    folder, config = run
    config = dataclasses.replace(config, latent_moments=True, images=1616, learning_rate=1e-9)
    train_generator(config, _fields(), tmp_path / "on", trainings.SHAPE, until_images=16, start=folder)
    kept = torch.load(tmp_path / "on" / "checkpoints" / "last.pt", weights_only=True)["latent_moments"]
    inference = build_inference(config, trainings.SHAPE)
    inference.load_state_dict(torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["inference"])
    there = aggregated_posterior(inference, _fields(), config.anchors, config.unit_gauss)
    torch.testing.assert_close(kept["mean"].double(), there.mean, atol=0.02, rtol=0.05)
    with pytest.raises(ValueError, match="only 'pyramid' can"):
        dataclasses.replace(
            config, arch="tiny", latent_moments=True, footprint_mask=False, pixel_noise=False, noise_gain=False,
            latent_mapping=False,
        )  # fmt: skip


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
