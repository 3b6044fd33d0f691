"""A model that needs no training: a generator that draws bipoles from its latent numbers."""

import dataclasses
import fcntl
import os

import numpy as np
import pytest
import torch
from torch import nn

from solquery.archive import Archive
from solquery.config import EncoderConfig, get_preset
from solquery.encoder import build_encoder
from solquery.model import Model
from solquery.patch import Patch
from solquery.simulator import simulate_region
from solquery.steering import fit_directions, sample_latents


class BipoleGenerator(nn.Module):
    """(N, 16) -> (N, 1, 32, 32): two opposite spots; strength, separation, leading sign, tilt and size are latents."""

    latent_dim = 16

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7))

    def forward(self, z):
        y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        strength = self.gain * torch.exp(0.25 * z[:, 0])
        separation = 5.0 + 2.0 * torch.tanh(0.7 * z[:, 1])
        sign = torch.tanh(4.0 * z[:, 2])
        angle = 0.3 * z[:, 3]
        width = 2.0 + 0.4 * torch.tanh(z[:, 4])
        out = 0.0
        for side in (1.0, -1.0):
            cx = 15.5 + side * separation * torch.cos(angle) + z[:, 5].clamp(-2, 2)
            cy = 15.5 + side * separation * torch.sin(angle) + z[:, 6].clamp(-2, 2)
            d2 = (x - cx[:, None, None]) ** 2 + (y - cy[:, None, None]) ** 2
            amplitude = strength * (side * sign + 0.06 * z[:, 7])
            out = out + amplitude[:, None, None] * torch.exp(-d2 / (2 * width[:, None, None] ** 2))
        ripple = 0.01 * torch.sin(0.8 * x + z[:, 8, None, None]) * torch.cos(0.7 * y + z[:, 9, None, None])
        return (out + ripple).clamp(-1, 1)[:, None]


@pytest.fixture(scope="session")
def model():
    torch.set_num_threads(1)
    preset = dataclasses.replace(get_preset("tiny"), encoder=EncoderConfig(width=4, embedding_dim=16))
    generator = BipoleGenerator()
    names = ("tuf", "net_flux", "psep", "tilt", "polarity", "r", "area")
    directions = fit_directions(sample_latents(generator, preset, 1500, seed=1, names=names))
    return Model("bipoles", preset, generator, build_encoder(preset.encoder), directions)


@pytest.fixture(scope="session")
def twelve_regions(tmp_path_factory):
    """An archive of 12 simulated regions of 10 frames, made once for all processes of the tests: to read from."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    place = root / "twelve-regions"
    with open(root / "twelve-regions.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        archive = Archive.open_or_create(place)
        # a worker that was ended in the middle leaves fewer
        if len(archive) < 120:
            archive.add(patch for index in range(12) for patch in simulate_region(3, index, 10))
    return archive


def real_patches():
    """Stand-ins for the samples of the package: two observed patches, one of them HARP 856."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:40, 0:60]
    out = []
    for harp in (115, 856):
        field = rng.normal(0, 8, (40, 60))
        for cx, sign in ((20, 1), (40, -1)):
            field += sign * 900 * np.exp(-((x - cx) ** 2 + (y - 20) ** 2) / 40)
        out.append(
            Patch(
                field.astype(np.float32), (0.364, 0.364), f"sharp-{harp}-test", f"HARP {harp}", "real",
                quantity="line-of-sight", segment="magnetogram", harpnum=harp, t_rec="2011.01.01_00:00:00_TAI",
                credit="NASA/SDO and the HMI science team",
            )
        )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def demo(model, tmp_path_factory):
    """The demo, run once on a very small archive: (folder, summary, progress calls)."""
    from solquery.study import demo as module
    from solquery.study import reproduce, reproduce_training

    out = tmp_path_factory.mktemp("demo")
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce_training, "sample_patches", real_patches)
        patch.setattr(reproduce.os, "cpu_count", lambda: 1)
        summary = module.run_demo(
            out, queries=40, model=model, regions=12, frames=2, progress=lambda *call: calls.append(call)
        )
    return out, summary, calls
