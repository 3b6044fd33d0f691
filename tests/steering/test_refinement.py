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
