"""The window: a rectangle of the size that the latent vector says, learned from an archive's rectangles."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.stats import ks_2samp, spearmanr

from solquery.config import GeneratorConfig, VaeGanConfig, get_preset
from solquery.generator import build_generator
from solquery.generator.finetune import FinetuneConfig, finetune
from solquery.generator.footprint import FootprintMask, drawn_sizes, fit_footprint, footprint_error, seen_sizes
from solquery.generator.optimized import optimize_for_inference
from solquery.generator.vaegan import train_vaegan
from solquery.training.run_folder import export_weights

SIDE = 32
CONFIG = VaeGanConfig(
    arch="pyramid", loss="vae-gan", latent_dim=8, width=16, batch=16, images=32, limit=4.0, footprint_mask=True
)


def windows(count, seed=0):
    """Rectangles of noise about the middle, wider than high, some beyond the grid: (N, 32, 32) and their sizes."""
    rng = np.random.default_rng(seed)
    heights = 2 * rng.integers(4, 10, count)
    widths = np.minimum(2 * rng.integers(5, 20, count), SIDE)
    fields = np.zeros((count, SIDE, SIDE), np.float32)
    for field, h, w in zip(fields, heights, widths, strict=True):
        at = slice((SIDE - h) // 2, (SIDE + h) // 2), slice((SIDE - w) // 2, (SIDE + w) // 2)
        field[at] = rng.normal(0.0, 0.2, (h, w))
    return fields, np.column_stack([heights, widths])


def told(window, sizes):
    """The window made to say `sizes` (height, width) whatever the latent."""
    with torch.no_grad():
        window.net[2].bias.copy_((torch.tensor(sizes) / torch.tensor(window.shape)).log())
    return window


@given(h=st.floats(6.0, 60.0), w=st.floats(6.0, 60.0), halvings=st.integers(0, 2))
def test_the_mask_has_the_area_and_lies_about_the_middle(h, w, halvings):
    side = 32 >> halvings
    mask = told(FootprintMask(4, (32, 32)), (h, w))(torch.zeros(1, 4), (side, side))[0, 0].detach()
    inside = min(h, 32.0) * min(w, 32.0) / 4**halvings
    assert float(mask.sum()) == pytest.approx(inside, rel=2e-4)
    assert torch.equal(mask, mask.flip(0)) and torch.equal(mask, mask.flip(1))
    assert float(mask.min()) >= 0 and float(mask.max()) <= 1


def test_the_size_has_a_slope_at_the_edge():
    window = told(FootprintMask(4, (32, 32)), (10.4, 20.4))
    z = torch.zeros(1, 4)
    window(z, (32, 32)).sum().backward()
    # d(h w) / d(log h) = h w
    assert window.net[2].bias.grad.tolist() == pytest.approx([10.4 * 20.4] * 2, rel=1e-3)


def test_a_network_that_has_not_learned_it_has_no_border():
    torch.manual_seed(0)
    network = build_generator(CONFIG, (SIDE, SIDE)).eval()
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        there = network(z)
        network.window = None
        assert torch.equal(there, network(z))


def test_sizes_of_observations_are_read_off_exactly():
    fields, sizes = windows(64)
    assert torch.equal(seen_sizes(torch.from_numpy(fields)), torch.from_numpy(sizes).float())
    assert seen_sizes(torch.zeros(1, SIDE, SIDE)).tolist() == [[0.0, 0.0]]


def test_sizes_of_drawings_are_read_off_though_their_border_is_ragged():
    fields, sizes = windows(64, 1)
    rng = np.random.default_rng(2)
    ragged = fields.copy()
    for field, (h, w) in zip(ragged, sizes, strict=True):
        corner = (SIDE - h) // 2, (SIDE - w) // 2
        field[corner[0], corner[1] : corner[1] + w // 4] = 0.0
        field[rng.integers(0, 2), :2] = 0.3  # a speck outside
    found = drawn_sizes(torch.from_numpy(ragged)).numpy()
    assert np.abs(found - sizes).max() <= 2.0


def test_one_that_fills_the_grid_may_be_as_wide_as_it_likes():
    seen, grid = torch.tensor([[16.0, 32.0]]), (SIDE, SIDE)
    assert float(footprint_error(torch.tensor([[16.0, 50.0]]), seen, grid)) == 0.0
    assert float(footprint_error(torch.tensor([[16.0, 16.0]]), seen, grid)) == pytest.approx(np.log(2.0) ** 2 / 2)
    assert float(footprint_error(torch.tensor([[32.0, 32.0]]), seen, grid)) == pytest.approx(np.log(2.0) ** 2 / 2)


class Ragged(torch.nn.Module):
    """Draws noise in a rectangle that two of its latents say, half as large again as an observation's."""

    def __init__(self):
        super().__init__()
        self.latent_dim, self.shape, self.window = 8, (SIDE, SIDE), FootprintMask(8, (SIDE, SIDE))

    def forward(self, z):
        middle = (torch.arange(SIDE) + 0.5 - SIDE / 2).abs()
        half = 0.75 * torch.tensor([12.0, 20.0]) * torch.exp(0.2 * z[:, :2]) / 2 + 2
        mask = (middle < half[:, :1])[:, :, None] & (middle < half[:, 1:])[:, None, :]
        noise = torch.randn(len(z), SIDE, SIDE, generator=torch.Generator().manual_seed(3))
        return (0.2 * noise * mask)[:, None] * self.window(z, (SIDE, SIDE))


def test_a_trained_generator_is_given_the_windows_of_an_archive():
    data, sizes = windows(600)
    network = Ragged()
    z = torch.randn(500, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        before = drawn_sizes(network(z)[:, 0])
    report = fit_footprint(network, data, seed=1, count=1024, steps=600)
    with torch.no_grad():
        after = network.window.sizes(z).clamp(max=SIDE).numpy()
    for k in (0, 1):
        assert ks_2samp(before[:, k].numpy(), sizes[:, k]).statistic > 0.2
        # sizes of observations are whole and even, so that a smooth distribution is a step or so away
        assert ks_2samp(np.round(after[:, k] / 2) * 2, sizes[:, k]).statistic < 0.12
        # what was drawn larger stays larger
        assert spearmanr(before[:, k], after[:, k]).statistic > 0.8
    assert report["error"] < 0.2


def test_training_learns_the_windows_of_what_it_is_shown(tmp_path):
    data, _ = windows(256)
    config = dataclasses.replace(CONFIG, images=4_000, learning_rate=2e-3, grow_images=(100_000,))
    train_vaegan(config, data, tmp_path / "run", (SIDE, SIDE), seed=2)
    lines = [json.loads(line)["footprint"] for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert lines[-1] < 0.4 * lines[0], lines


def test_going_on_from_weights_without_a_window_begins_with_the_archives(tmp_path):
    data, sizes = windows(256)
    plain = dataclasses.replace(CONFIG, footprint_mask=False, images=16, grow_images=(100_000,))
    train_vaegan(plain, data, tmp_path / "plain", (SIDE, SIDE), seed=2)
    config = dataclasses.replace(CONFIG, images=16, learning_rate=1e-9)
    weights = train_vaegan(config, data, tmp_path / "run", (SIDE, SIDE), seed=2, start=tmp_path / "plain")
    window = FootprintMask(8, (SIDE, SIDE))
    window.load_state_dict({k.removeprefix("window."): v for k, v in load_file(weights).items() if "window" in k})
    z = torch.randn(512, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        middle = window.sizes(z).log().mean(0).exp()
    wanted = np.exp(np.log(np.where(sizes >= SIDE, 1.15 * SIDE, sizes)).mean(0))
    assert middle.tolist() == pytest.approx(wanted.tolist(), rel=0.1)


def test_settling_gives_a_models_generator_a_window_and_swift_draws_the_same(tmp_path):
    data, _ = windows(128)
    torch.manual_seed(5)
    plain = dataclasses.replace(CONFIG, footprint_mask=False)
    network = build_generator(plain, (SIDE, SIDE))
    with torch.no_grad():
        for head in network.heads:
            head.weight.normal_(std=0.05)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    export_weights(network, folder / "generator.safetensors")
    weights = finetune(folder, tmp_path / "run", CONFIG, data, (SIDE, SIDE), FinetuneConfig(images=16))
    made = build_generator(CONFIG, (SIDE, SIDE)).eval()
    made.load_state_dict(load_file(weights))
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        x = made(z)
        torch.testing.assert_close(optimize_for_inference(made)(z), x, atol=1e-4 * float(x.abs().max()), rtol=0)
        inside = made.window.sizes(z)
    assert float(inside.min()) < SIDE
    assert (seen_sizes(x[:, 0]) <= 2 * torch.ceil(inside / 2 + 0.5)).all()


def test_other_architectures_have_no_window():
    with pytest.raises(ValueError, match="'paper' has no footprint_mask, only 'pyramid'"):
        GeneratorConfig(footprint_mask=True)
    assert get_preset("physical").generator.footprint_mask and not get_preset("quick").generator.footprint_mask
