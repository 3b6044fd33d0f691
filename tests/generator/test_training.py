"""Networks of the paper, the pyramid, and a training run that survives being killed."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from solquery.config import GeneratorConfig, PaperGanConfig, VaeGanConfig, config_class, get_preset
from solquery.generator.inference import load_inference
from solquery.generator.pyramid import KNEE, compress, expand, haar_split
from solquery.generator.registry import build_discriminator, build_generator, register_generator
from solquery.generator.training import TrainingError, discriminator_accuracy, load_run, train_generator
from solquery.model import Model
from solquery.model_files import FORMAT, VERSION, document_hash
from solquery.training.run_folder import begun_from

TINY = get_preset("tiny").generator
SHAPE = (32, 32)


def _count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(scope="module")
def blobs():
    """96 fields of one blob each at a random place."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    centre = rng.uniform(8, 24, (96, 2))
    return np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 18.0) for a, b in centre]).astype(np.float16)


def test_paper_networks_have_the_papers_size():
    config = get_preset("paper").generator
    generator, discriminator = build_generator(config), build_discriminator(config)
    assert _count(generator) == 1_510_081 and _count(discriminator) == 1_495_945
    out = generator(torch.randn(2, 100, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (2, 1, 128, 128) and out.abs().max() <= 1
    assert discriminator(out).shape == (2,)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_haar_bands_keep_the_mean_and_the_energy(seed, half):
    x = torch.randn(2, 1, 2 * half, 4 * half, generator=torch.Generator().manual_seed(seed))
    bands = haar_split(x)
    assert torch.allclose(bands[:, :1], torch.nn.functional.avg_pool2d(x, 2), atol=1e-6)
    assert torch.allclose(4 * bands.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)), rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, 1))
def test_compressed_field_comes_back(value):
    x = torch.tensor([value], dtype=torch.float64)
    assert torch.allclose(expand(compress(x)), x, atol=1e-12)
    assert compress(x).abs() <= 1 and torch.sign(compress(x)) == torch.sign(x)


def test_compressed_field_is_a_scaled_asinh_and_so_are_its_slopes():
    sizes = torch.logspace(-9, 1, 41, dtype=torch.float64)
    x = torch.cat([-sizes, torch.zeros(1, dtype=torch.float64), sizes]).requires_grad_(True)
    plain = torch.asinh(x / KNEE) / math.asinh(1 / KNEE)
    assert torch.allclose(compress(x), plain, rtol=1e-12, atol=0)
    (slope,), (expected,) = (torch.autograd.grad(y.sum(), x) for y in (compress(x), plain))
    assert torch.allclose(slope, expected, rtol=1e-12, atol=0)
    # a gradient penalty needs the second derivative too
    assert torch.autograd.gradgradcheck(
        compress, torch.tensor([-0.3, 0.01, 0.2], dtype=torch.float64, requires_grad=True)
    )
    single = compress(x.detach().float()).double()
    assert torch.allclose(single, plain.detach(), rtol=5e-7, atol=0)


def test_pyramid_has_an_image_of_every_side_and_grain_of_its_own_for_every_latent():
    network = build_generator(PaperGanConfig(arch="pyramid", width=16), (64, 64)).eval()
    z = torch.randn(3, 100, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert [network(z, level).shape[-1] for level in (1, 2, 3)] == [16, 32, 64]
        assert torch.equal(network(z), network(z, 3)) and torch.equal(network(z), network(z))
        layer = network.blocks[-1].layers[0]
        shares = torch.nn.functional.normalize(z @ layer.mixing, dim=1)
        grain = shares @ layer.noise
    # a mixture of unit noise with shares on the unit sphere: unit variance, another one for another latent
    assert torch.allclose(grain.var(1), torch.ones(3), atol=0.15)
    assert torch.corrcoef(grain).fill_diagonal_(0).abs().max() < 0.95


def test_unknown_architecture_names_those_there_are():
    with pytest.raises(ValueError, match=r"paper.*pyramid"):
        build_generator(PaperGanConfig(arch="nosuch"))


def _weights(path):
    return load_file(path)


@pytest.mark.parametrize("arch", ["tiny", "pyramid", "vae-gan"])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, blobs, arch):
    config = TINY
    if arch == "pyramid":
        config = PaperGanConfig(
            arch="pyramid", latent_dim=8, width=8, batch=16, images=320, loss="relativistic", r1=1.0,
            ema_halflife_images=100, grow_images=(96,), fade_images=64,
        )  # fmt: skip
    if arch == "vae-gan":
        config = VaeGanConfig(
            arch="pyramid", latent_dim=8, width=8, batch=16, images=320, loss="vae-gan", r1=1.0,
            ema_halflife_images=100, grow_images=(96,), fade_images=64, anchors=("tuf", "psep"),
        )  # fmt: skip
    whole = train_generator(config, blobs, tmp_path / "whole", SHAPE, seed=3)
    for until in (32, 112, None):
        parts = train_generator(config, blobs, tmp_path / "parts", SHAPE, seed=3, until_images=until)
    a, b = _weights(whole), _weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "stats.jsonl").read_text().splitlines()]
    assert [e["images"] for e in lines] == sorted({e["images"] for e in lines})


def test_epoch_with_the_worst_discriminator_is_chosen(tmp_path, blobs):
    config = dataclasses.replace(TINY, epochs=5, choose_within_epochs=3)
    train_generator(config, blobs, tmp_path / "run", SHAPE, seed=0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    accuracy = [e["discriminator_accuracy"] for e in lines if "discriminator_accuracy" in e]
    assert len(accuracy) == 5
    assert lines[-1]["chosen_epoch"] == 1 + int(np.argmin(accuracy[:3]))


def of_loss(loss):
    """The tiny preset's settings for another loss."""
    common = {field.name: getattr(TINY, field.name) for field in dataclasses.fields(GeneratorConfig)}
    return config_class(loss)(**common | {"loss": loss})


@pytest.mark.parametrize("arch, loss", [("tiny", "bce"), ("pyramid", "vae-gan")])
def test_gradients_far_below_epsilon_move_no_weight(tmp_path, blobs, arch, loss):
    moved = {}
    for epsilon in (1e-8, 1e9):
        config = dataclasses.replace(of_loss(loss), arch=arch, epsilon=epsilon, images=64)
        run = tmp_path / f"{epsilon:g}"
        train_generator(config, blobs, run, SHAPE, until_images=32, device="cpu")
        before = torch.load(run / "checkpoints" / "last.pt", weights_only=False)["generator"]
        train_generator(config, blobs, run, SHAPE, device="cpu")
        after = torch.load(run / "checkpoints" / "last.pt", weights_only=False)["generator"]
        moved[epsilon] = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert moved[1e-8] > 1e-4 and moved[1e9] < 1e-7


def test_accuracy_of_a_perfect_judge_is_one(blobs):
    class Judge(torch.nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3)) - 0.01

    class Blank(torch.nn.Module):
        latent_dim = 4

        def forward(self, z):
            return torch.zeros(len(z), 1, 32, 32)

    real = torch.as_tensor(blobs.astype(np.float32))[:, None]
    assert discriminator_accuracy(Judge(), Blank(), real, 0) == 1.0


def test_foreign_run_few_patches_and_wrong_shape_are_refused(tmp_path, blobs):
    train_generator(TINY, blobs, tmp_path / "run", SHAPE, until_images=32)
    with pytest.raises(TrainingError, match="other settings"):
        train_generator(TINY, blobs, tmp_path / "run", SHAPE, seed=9)
    with pytest.raises(TrainingError, match="cannot fill a batch"):
        train_generator(TINY, blobs[:3], tmp_path / "few", SHAPE)
    with pytest.raises(TrainingError, match="wants"):
        train_generator(TINY, blobs[:, :16], tmp_path / "shape", SHAPE)


def test_run_is_read_back(tmp_path, blobs):
    path = train_generator(TINY, blobs, tmp_path / "run", SHAPE, until_images=32)
    config, shape, network = load_run(tmp_path / "run")
    assert config == TINY and shape == SHAPE
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in load_file(path).items())
    with pytest.raises(TrainingError, match="no finished generator"):
        load_run(tmp_path / "nothing")


def test_own_architecture_needs_no_list_edited(tmp_path, blobs):
    class Linear(torch.nn.Module):
        def __init__(self, config, shape):
            super().__init__()
            self.latent_dim, self.shape = config.latent_dim, shape
            self.layer = torch.nn.Linear(config.latent_dim, shape[0] * shape[1])

        def forward(self, z):
            return torch.tanh(self.layer(z)).view(-1, 1, *self.shape)

    from solquery.generator.networks import PaperDiscriminator

    register_generator("test-linear", Linear, PaperDiscriminator)
    config = dataclasses.replace(TINY, arch="test-linear")
    train_generator(config, blobs, tmp_path / "own", SHAPE, until_images=64)
    assert load_run(tmp_path / "own")[0].arch == "test-linear"


def test_reconstruction_learns_the_layout_of_its_patches(tmp_path, blobs):
    """After a short run, rebuilt blobs lie where the originals do: the nats fall to a fraction."""
    config = VaeGanConfig(
        arch="pyramid", latent_dim=8, width=16, batch=16, images=6_000, learning_rate=1e-3, loss="vae-gan",
        ema_halflife_images=200, grow_images=(6_000,),
    )  # fmt: skip
    train_generator(config, blobs, tmp_path / "run", SHAPE, seed=0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert lines[-1]["nats"] < 0.4 * lines[0]["nats"]

    # the inference network of the run guesses latents whose patches are far closer than blind ones are
    _, shape, network = load_run(tmp_path / "run")
    inference = load_inference(tmp_path / "run", config, shape)
    x = torch.from_numpy(blobs.astype(np.float32))
    with torch.no_grad():
        anywhere = torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
        coarse = [torch.nn.functional.avg_pool2d(network(z, 1), 2)[:, 0] for z in (inference.guess(x), anywhere)]
    truth = torch.nn.functional.avg_pool2d(x[:, None], 4)[:, 0]
    guessed, blind = ((part - truth).square().mean() for part in coarse)
    assert guessed < 0.5 * blind

    # it goes into a model and comes back
    preset = dataclasses.replace(get_preset("tiny"), generator=config)
    model = Model.load(Model("mine", preset, network, inference=inference).save(tmp_path / "mine"))
    assert torch.allclose(model.inference.guess(x), inference.guess(x), atol=0.02)  # stored in half precision


def test_anchors_are_uncorrelated_normal_scores_of_what_they_name(blobs):
    from scipy.stats import spearmanr

    from solquery.generator.anchors import anchor_scores

    rng = np.random.default_rng(0)
    data = (blobs * rng.uniform(0.2, 1.0, (len(blobs), 1, 1))).astype(np.float16)
    scores = anchor_scores(data, ("tuf", "grad"), 1000.0)
    assert abs(np.corrcoef(scores.T)[0, 1]) < 1e-4
    assert scores.std(0) == pytest.approx([1, 1], rel=1e-3)
    assert spearmanr(scores[:, 0], np.abs(data.astype(float)).sum((1, 2))).statistic > 0.999


def test_vaegan_wants_an_architecture_with_levels(tmp_path, blobs):
    with pytest.raises(TrainingError, match="architecture with levels"):
        train_generator(of_loss("vae-gan"), blobs, tmp_path / "run", SHAPE)


def test_events_for_tensorboard_where_it_is_installed(tmp_path, blobs, monkeypatch):
    pytest.importorskip("tensorboard")
    train_generator(TINY, blobs, tmp_path / "run", SHAPE, until_images=96)
    train_generator(TINY, blobs, tmp_path / "run", SHAPE)
    files = sorted((tmp_path / "run" / "events").iterdir())
    assert len(files) == 2  # one for each process that trained
    for file in files:
        content = file.read_bytes()
        assert all(tag in content for tag in (b"loss_d", b"loss_g", b"images_per_s", b"samples", b"PNG"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # not installed
    train_generator(TINY, blobs, tmp_path / "bare", SHAPE, until_images=96)
    assert (tmp_path / "bare" / "stats.jsonl").exists() and not (tmp_path / "bare" / "events").exists()


def test_a_plugged_in_layer_that_draws_random_numbers_resumes_as_well(tmp_path, blobs):
    """Dropout draws from torch's own random state, which is part of a checkpoint."""

    class Dropping(torch.nn.Module):
        def __init__(self, config, shape):
            super().__init__()
            self.latent_dim, self.shape = config.latent_dim, shape
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(config.latent_dim, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, shape[0] * shape[1])
            )

        def forward(self, z):
            return torch.tanh(self.layers(z)).view(-1, 1, *self.shape)

    register_generator("test-dropping", Dropping)
    config = dataclasses.replace(TINY, arch="test-dropping", loss="relativistic", images=192)
    whole = train_generator(config, blobs, tmp_path / "whole", SHAPE)
    train_generator(config, blobs, tmp_path / "parts", SHAPE, until_images=96)
    torch.manual_seed(99)  # what another program does meanwhile
    parts = train_generator(config, blobs, tmp_path / "parts", SHAPE)
    a, b = load_file(whole), load_file(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_new_run_begins_with_the_weights_of_another(tmp_path):
    import trainings

    trainings.train("vae-gan", str(tmp_path / "first"), until_images=160)
    config = dataclasses.replace(
        trainings.configurations()["vae-gan"], learning_rate=1e-9, grow_images=(), statistics_matching=0.0,
        statistics_critic=0.0,
    )  # fmt: skip
    train_generator(
        config, trainings.blobs(), tmp_path / "second", trainings.SHAPE, until_images=16, start=tmp_path / "first"
    )
    before, after = (
        torch.load(tmp_path / run / "checkpoints" / "last.pt", weights_only=True) for run in ("first", "second")
    )
    for part in ("generator", "discriminator", "inference"):
        assert all(torch.allclose(before[part][k], after[part][k], atol=1e-6) for k in before[part])
    assert (before["step"], after["step"]) == (10, 1)
    # what it began with is told, through all runs before
    assert json.loads((tmp_path / "second" / "start.json").read_text()) == {"from": "first", "images": 160}
    checkpoint = tmp_path / "second" / "checkpoints" / "last.pt"
    assert begun_from(checkpoint) == begun_from(tmp_path / "second") == {"from": "second", "images": 176}
    assert begun_from(tmp_path / "nowhere") == {"from": "nowhere"}
    with pytest.raises(TrainingError, match="same networks"):
        wider = dataclasses.replace(config, width=16)
        train_generator(wider, trainings.blobs(), tmp_path / "third", trainings.SHAPE, start=tmp_path / "first")
    with pytest.raises(TrainingError, match="starts from nothing"):
        bce = trainings.configurations()["bce"]
        train_generator(bce, trainings.blobs(), tmp_path / "fourth", trainings.SHAPE, start=tmp_path / "first")


def test_a_new_run_begins_with_a_model_whose_discriminator_has_to_learn_first(tmp_path):
    import trainings

    trainings.train("vae-gan", str(tmp_path / "first"), until_images=160)
    model = tmp_path / "model"
    model.mkdir()
    about = {"format": FORMAT, "version": VERSION, "preset": {"shape": trainings.SHAPE}}
    (model / "model.json").write_text(json.dumps(about | {"hash": document_hash(about)}))
    for name in ("generator", "inference"):
        (model / f"{name}.safetensors").write_bytes((tmp_path / f"first/checkpoints/{name}.safetensors").read_bytes())
    shipped = load_file(model / "generator.safetensors")
    config = dataclasses.replace(
        trainings.configurations()["vae-gan"], grow_images=(), fade_images=1, discriminator_warmup_images=32
    )

    def stored(images):
        run = tmp_path / "run"
        train_generator(config, trainings.blobs(), run, trainings.SHAPE, until_images=images, start=model)
        return torch.load(run / "checkpoints" / "last.pt", weights_only=True)

    first = stored(32)
    assert all(torch.equal(first[part][k], shipped[k]) for part in ("generator", "average") for k in shipped)
    assert first["optimise_d"]["state"] and not first["optimise_g"]["state"]
    second = stored(48)  # gone on with: now the generator learns as well
    assert not torch.equal(second["generator"]["linear.weight"], shipped["linear.weight"])
    with pytest.raises(TrainingError, match="give a model or a checkpoint of the same networks"):
        wider = dataclasses.replace(config, width=16)
        train_generator(wider, trainings.blobs(), tmp_path / "other", trainings.SHAPE, start=model)
