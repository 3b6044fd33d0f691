"""The stage in which the physics weighs more and more, on problems of one number whose way is known."""

from types import SimpleNamespace

import pytest
import torch

from solquery.steering import refinement as module
from solquery.steering.minimise import BatchedLBFGS


class Distance:
    """The picture costs what v does, and nothing below `free`."""

    def __init__(self, free=9.0):
        self.weight, self.free = 0.0, free

    def set_gap(self, made):
        pass

    def picture(self, made, rows):
        return (made[:, 0, 0] > self.free).float()


@pytest.fixture
def stage(monkeypatch):
    """Runs the stage on: one that is right, one led to 1, 2 and 3 of which 2 is closest, one that no step improves."""

    def run(free=9.0):
        distance, seen = Distance(free), [0, 0, 0]

        def worst_of(refinement, made, rows):
            v = made[:, 0, 0]
            return torch.zeros(3), torch.stack([torch.tensor(0.1), (v[1] - 2.0).abs() + 0.6, torch.tensor(7.0)])

        def objective(v, rows):
            for row in rows.tolist():
                seen[row] += 1
            goal = {0.0: 0.0, 4.0: 1.0, 16.0: 2.0, 64.0: 3.0}[distance.weight]
            stuck = rows == 2
            loss = torch.where(stuck, 1.0, (v[:, 0] - goal).square())
            slope = torch.where(stuck, 1.0, 2.0 * (v[:, 0] - goal))
            return loss, slope[:, None], v[:, :, None]

        monkeypatch.setattr(module, "_off", worst_of)
        search = BatchedLBFGS(objective, torch.tensor([[5.0], [0.0], [0.0]]))
        list(module._stricter(SimpleNamespace(distance=distance), search, 10, torch.full((3,), 0.5)))
        return search, [count - 1 for count in seen]

    return run


def test_a_patch_that_is_right_and_one_that_no_step_improves_cost_no_more(stage):
    search, seen = stage()
    assert seen == [0, 33, 11]
    assert search.v[0] == 5.0 and search.v[2] == 0.0
    assert search.active.tolist() == [0, 1, 2]


def test_a_patch_ends_where_its_parameters_were_closest(stage):
    search, _ = stage()
    assert float(search.v[1]) == pytest.approx(2.0, abs=1e-3) and float(search.x[1]) == float(search.v[1])


def test_closer_parameters_are_not_bought_with_the_picture(stage):
    search, _ = stage(free=1.5)
    assert float(search.v[1]) == pytest.approx(1.0, abs=1e-3)


def _generator(latent_dim=6):
    from solquery.config import GeneratorConfig
    from solquery.generator import build_generator

    torch.manual_seed(0)
    return build_generator(GeneratorConfig(arch="pyramid", latent_dim=latent_dim, width=8), (16, 32)).eval()


def test_the_sensitivity_of_a_generator_is_how_far_its_layers_move():
    """The mean square of what layers are told of a step, of many steps, relative to steps in all directions."""
    generator = _generator()
    with torch.no_grad():
        for block in generator.blocks:
            for layer in block.layers:
                layer.style.weight[:, 2] *= 10.0
    told = generator.sensitivity()
    assert told.diagonal().mean() == pytest.approx(1.0) and torch.equal(told, told.T)
    steps = torch.eye(6)
    layers = [layer for block in generator.blocks for layer in block.layers]
    with torch.no_grad():
        moved = torch.stack(
            [sum((layer.style(step) - layer.style.bias).square().mean() for layer in layers) for step in steps]
        )
    torch.testing.assert_close(told.diagonal().float(), moved / moved.mean(), atol=1e-4, rtol=1e-4)
    assert told[2, 2] > 20 * told[0, 0]


def test_steps_count_the_same_in_every_direction_however_latents_are_scaled(monkeypatch):
    """Variables of two generators of which one is told latents that are mixed: the same images are as far apart."""
    from solquery.config import GeneratorConfig
    from solquery.generator.inference import build_inference
    from solquery.generator.whitening import Posterior, whiten

    plain, mixed = _generator(), _generator()
    factor = torch.tril(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double(), -1)
    factor = factor + torch.diag(torch.tensor([0.1, 3.0, 1.0, 0.3, 1.0, 2.0]).double())
    posterior = Posterior(torch.zeros(6).double(), factor, torch.ones(6).double())
    whiten(mixed, build_inference(GeneratorConfig(arch="pyramid", latent_dim=6, width=8), (16, 32)), posterior)
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
    u = (z.double() @ torch.linalg.inv(factor).T).float()
    assert (plain(z) - mixed(u)).abs().max() < 1e-4 * plain(z).abs().max()
    monkeypatch.setattr(module, "_DAMPING", 1e-6)
    lengths = []
    for generator, latents in ((plain, z), (mixed, u)):
        metric = module._metric(generator, 6, torch.device("cpu"))
        v = latents @ torch.linalg.inv(metric)
        torch.testing.assert_close(v @ metric, latents, atol=1e-4, rtol=1e-3)
        lengths.append(torch.cdist(v, v) / v.norm())
    # but for one scale of all
    assert (lengths[0] - lengths[1]).abs().max() < 0.01 * lengths[0].max()
    plainly = torch.cdist(u, u) / u.norm()
    assert (plainly - lengths[0]).abs().max() > 0.3 * lengths[0].max()  # as it was without


def test_a_generator_that_tells_nothing_of_directions_has_latents_for_variables():
    assert torch.equal(module._metric(torch.nn.Linear(3, 4), 3, torch.device("cpu")), torch.eye(3))
