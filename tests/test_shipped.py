"""The shipped model does what the paper promises: flux rises along its direction, a changed copy is found."""

import dataclasses

import numpy as np
import pytest
import torch

from solquery.archive.prepare import prepare
from solquery.encoder.augment import augment, seeded_generator
from solquery.encoder.embedding import embed
from solquery.model import Model
from solquery.physics import measure
from solquery.simulator import simulate_region


@pytest.fixture(scope="module")
def model():
    return Model.load()


def test_it_draws_on_the_grid_it_was_trained_on_what_it_drew_then(model):
    """Its record says `physical`, which was square when it was made; the means are those of that version."""
    assert (model.preset.name, model.preset.shape) == ("physical-square", (128, 128))
    z = torch.randn(2, model.generator.latent_dim, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        x = model.generator(z)[:, 0]
    assert x.abs().mean((1, 2)).tolist() == pytest.approx([0.0043741, 0.0155462], rel=1e-3)
    assert x.mean((1, 2)).tolist() == pytest.approx([8.6467e-5, 2.37187e-3], rel=1e-2)


def test_flux_rises_along_its_direction(model):
    """Monotone over two standard deviations about at least 95 of 100 random latents."""
    normal = torch.as_tensor(np.asarray(model.directions.normal("tuf")), dtype=torch.float32)
    z = torch.randn(100, model.generator.latent_dim, generator=torch.Generator().manual_seed(5))
    flux = []
    for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
        with torch.no_grad():
            x = torch.cat([model.generator(part + step * normal) for part in z.split(25)])[:, 0]
        flux.append(measure(model.preset.to_gauss(x), model.preset.scale_mm, ["tuf"])["tuf"].numpy())
    rising = (np.diff(np.stack(flux), axis=0) > 0).all(0)
    assert rising.sum() >= 95


@pytest.fixture(scope="module")
def unseen(model):
    """200 patches of 100 regions that no network has seen, and their embeddings."""
    patches = [p for index in range(100) for p in simulate_region(99, index, 2)]
    x = np.stack([prepare(patch, model.preset) for patch in patches])
    return x, embed(model.encoder, x)


@pytest.mark.parametrize("change", ["shift_px", "zoom", "rotation_deg", "vertical_flip"])
def test_changed_copy_is_found_first(model, unseen, change):
    """Of 100 changed copies, at least 85 find their own patch."""
    x, archive = unseen
    whole = model.preset.encoder.augment
    still = dataclasses.replace(whole, shift_px=0.0, zoom=(1.0, 1.0), rotation_deg=0.0, vertical_flip=False)
    only = dataclasses.replace(still, **{change: getattr(whole, change)})
    originals = np.arange(0, 200, 2)
    copies = augment(torch.as_tensor(x[originals])[:, None], only, seeded_generator(3))[:, 0].numpy()
    nearest = np.linalg.norm(embed(model.encoder, copies)[:, None] - archive[None], axis=2).argmin(1)
    assert (nearest == originals).sum() >= 85


def test_directions_held_are_orthogonal(model):
    held = model.directions.normal("psep", hold=("polarity", "r"))
    for name in ("polarity", "r"):
        assert abs(float(np.dot(np.asarray(held), np.asarray(model.directions.normal(name))))) < 1e-6


def test_numbers_are_answered_and_converted_to_native_scale(tmp_path):
    """Asked in maxwell, megametres and degrees: met, and told what it is worth at HMI's pixels."""
    from command_line import document

    asked = ("--set", "tuf=2e22Mx", "--set", "psep=60Mm", "--set", "tilt=-10deg")
    (answer,) = document("generate", *asked, "--out", tmp_path, "--seed", 3)["answers"]
    assert answer["verdict"] == "met"
    got = {name: answer["measured"][name]["value"] for name in ("tuf", "psep", "tilt")}
    assert got == {
        "tuf": pytest.approx(2e22, rel=0.02), "psep": pytest.approx(60, rel=0.02), "tilt": pytest.approx(-10, abs=1)
    }  # fmt: skip
    assert answer["scale"] == "native"
    tuf = answer["measured"]["tuf"]
    # opposite polarities and noise that cancel on the grid are there at native scale
    assert tuf["unit"] == tuf["grid"]["unit"] == "Mx"
    assert 0.5 * tuf["value"] < tuf["grid"]["value"] < tuf["low"] < tuf["value"] < tuf["high"]
    assert answer["native"]["tuf"] == tuf
