"""Local noise: what it does to a patch is known, because it was put there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from solquery.config import VaeGanConfig, get_preset
from solquery.generator.pyramid import PyramidGenerator
from solquery.physics import measure_on_grid
from solquery.steering import SteeringError, encode_latent, open_latent, reconstruct, with_layerwise
from solquery.steering.detailed_edits import lead_with_detail
from solquery.steering.latents import render
from solquery.steering.reconstruction_loss import MATCHED

SHAPE = (32, 32)


@pytest.fixture
def own():
    """A model without anything but a small pyramid of random weights, whose fields are as strong as the Sun's."""
    torch.manual_seed(7)
    config = VaeGanConfig(arch="pyramid", latent_dim=8, width=16, loss="vae-gan")
    generator = PyramidGenerator(config, SHAPE).eval()
    with torch.no_grad():
        for head in generator.heads:
            head.weight *= 12.0
    preset = get_preset("tiny")
    return SimpleNamespace(name="own", generator=generator, preset=preset, directions=None, inference=None, hash="x")


def latents(n=1, seed=0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def test_noise_of_zero_changes_nothing_and_a_number_changes_its_own_place(own):
    generator, z = own.generator, latents()
    with torch.no_grad():
        plain = generator(z)
        noise = torch.zeros(1, generator.local_noise)
        torch.testing.assert_close(generator(z, noise=noise), plain)
        noise[0, -1] = 20.0  # of the finest map, at the end of its last row
        changed = (generator(z, noise=noise) - plain)[0, 0].abs()
    # normalisation spreads a little of it everywhere; most stays within the reach of the convolutions
    assert changed[16:, 16:].max() > 5.0 * changed[:16, :16].max()
    assert changed[16:, 16:].max() > 0.0


def test_a_text_carries_noise_in_its_steps(own):
    rng = np.random.default_rng(1)
    z, offsets = rng.normal(size=8).astype(np.float32), rng.normal(size=(own.generator.parts, 8)).astype(np.float32)
    noise = (np.round(rng.normal(size=own.generator.local_noise) * 16.0) / 16.0).astype(np.float32)
    opened, again = open_latent(own, encode_latent(z, offsets, noise))
    np.testing.assert_array_equal(again, z)
    np.testing.assert_array_equal(opened.generator.noise.numpy(), noise)
    direct = with_layerwise(own, offsets, noise)
    np.testing.assert_array_equal(
        render(opened.generator, again[None], SHAPE).numpy(), render(direct.generator, z[None], SHAPE).numpy()
    )


def test_noise_beyond_the_steps_is_cut_not_wrapped(own):
    noise = np.linspace(-12.0, 12.0, own.generator.local_noise)
    text = encode_latent(np.zeros(8), np.zeros((own.generator.parts, 8)), noise)
    carried = open_latent(own, text)[0].generator.noise.numpy()
    np.testing.assert_allclose(carried, noise.clip(-127 / 16, 127 / 16), atol=1 / 32)


@pytest.mark.parametrize("damage", ["short", "long", "cut", "letters", "bomb"])
def test_damaged_noise_is_refused_in_one_line(own, damage):
    size, offsets = own.generator.local_noise, np.zeros((own.generator.parts, 8))
    sizes = {"short": size - 1, "long": size + 1, "bomb": 50_000_000}
    text = encode_latent(np.zeros(8), offsets, np.zeros(sizes.get(damage, size)))
    if damage == "cut":
        text = encode_latent(np.zeros(8), offsets, np.random.default_rng(0).normal(size=size))[:-9]
    elif damage == "letters":
        text = text.partition(".")[0] + ".???"
    with pytest.raises(SteeringError, match="damaged") as error:
        open_latent(own, text)
    assert "\n" not in str(error.value)


def test_noise_of_another_size_is_refused(own):
    with pytest.raises(SteeringError, match="local noise"):
        with_layerwise(own, np.zeros((own.generator.parts, 8)), np.zeros(3))


@pytest.mark.filterwarnings("ignore::solquery.steering.SteeringWarning")
def test_an_inversion_finds_where_the_flux_lies(own):
    """A patch that was made with local noise is explained with it, and not without."""
    generator = own.generator
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        x = generator(latents(seed=2), noise=torch.randn(1, generator.local_noise, generator=rng))[:, 0].numpy()
    options = {"evaluations": 60, "match": False, "guesses": latents(seed=2)}
    found = reconstruct(own, x, **options)[0]
    generator.__class__ = type("Deaf", (PyramidGenerator,), {"local_noise": 0})
    without = reconstruct(own, x, **options)[0]
    assert without.noise is None
    assert found.unexplained < 0.5 * without.unexplained
    generator.__class__ = PyramidGenerator
    # the answer is what the generator makes of it, from the text that travels, too
    opened, z = open_latent(own, encode_latent(found.z, found.offsets, found.noise))
    np.testing.assert_allclose(render(opened.generator, z[None], SHAPE)[0, 0].numpy(), found.x, atol=1e-5)


@pytest.fixture
def bipolar(own):
    """The same, carrying noise, at a latent with enough field of both polarities."""
    offsets = np.zeros((own.generator.parts, 8), np.float32)
    noise = np.random.default_rng(4).normal(size=own.generator.local_noise).astype(np.float32)
    # of the first eight, that of seed 5 ends 4 or 9 % off where TUF falls, as the last digit of a logarithm has it
    return with_layerwise(own, offsets, noise), latents(seed=6)[0].numpy()


@pytest.mark.parametrize("name, factor", [("tuf", 1.2), ("tuf", 0.85), ("area", 1.15)])
def test_detail_leads_one_parameter_and_holds_the_others(bipolar, name, factor):
    model, z = bipolar
    before = measure_on_grid(render(model.generator, z[None], SHAPE)[:, 0], model.preset, MATCHED)
    wanted = {one: float(before[one]) for one in ("tuf", "area")}
    wanted[name] *= factor
    led = lead_with_detail(model, z, wanted)
    after = measure_on_grid(led.x, model.preset, MATCHED)
    assert {one: float(after[one]) for one in wanted} == pytest.approx(wanted, rel=0.05)
    # the picture stays what it was for the most part, and text and arrays mean the same patch
    start = render(model.generator, z[None], SHAPE)[:, 0]
    assert float((led.x - start).square().sum() / start.square().sum()) < 0.3
    opened, again = open_latent(model_of(model), encode_latent(led.z, led.offsets, led.noise))
    np.testing.assert_allclose(render(opened.generator, again[None], SHAPE)[0, 0].numpy(), led.x[0].numpy(), atol=1e-5)


def test_what_cannot_be_led_with_detail_is_left_to_the_latent_vector(bipolar, own):
    model, z = bipolar
    assert lead_with_detail(model, z, {"sigma": 3.0}) is None
    assert lead_with_detail(own, z, {"tuf": 1.0}) is None
    assert lead_with_detail(with_layerwise(own, model.generator.offsets.numpy()), z, {"tuf": 1.0}) is None


def model_of(carried):
    return SimpleNamespace(**{**vars(carried), "generator": carried.generator.inner})
