"""The batched minimiser on losses whose minimum is known, and that no problem of a batch disturbs another."""

import itertools

import pytest
import torch

from solquery.steering.minimise import _MEMORY, BatchedLBFGS, _Curvature


def bowls(number, dim=12, seed=0):
    """Quadratic losses of condition a thousand: minima (N, D), and the objective."""
    source = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(number, dim, dim, generator=source)).Q
    curved = torch.logspace(-2, 1, dim).expand(number, dim)
    lowest = torch.randn(number, dim, generator=source)

    def objective(v, rows):
        apart = (turn[rows] @ (v - lowest[rows])[:, :, None])[:, :, 0]
        gradient = (turn[rows].transpose(1, 2) @ (curved[rows] * apart)[:, :, None])[:, :, 0]
        return 0.5 * (curved[rows] * apart.square()).sum(1), gradient, v[:, None, :]

    return lowest, objective


def test_the_minimum_is_found_where_plain_descent_would_not():
    lowest, objective = bowls(4)
    search = BatchedLBFGS(objective, torch.zeros_like(lowest))
    for _ in range(60):
        search.step()
    torch.testing.assert_close(search.v, lowest, atol=2e-2, rtol=0)
    assert search.evaluations == 61
    plain = torch.zeros_like(lowest)
    for _ in range(60):
        # the largest rate that is stable
        plain = plain - 0.19 * objective(plain, torch.arange(4))[1]
    assert float((plain - lowest).norm()) > 20 * float((search.v - lowest).norm())


def test_problems_do_not_influence_each_other():
    lowest, objective = bowls(3)
    together = BatchedLBFGS(objective, torch.zeros_like(lowest))
    alone = BatchedLBFGS(lambda v, rows: objective(v, rows + 2), torch.zeros(1, lowest.shape[1]))
    for _ in range(25):
        together.step()
        alone.step()
    torch.testing.assert_close(together.v[2:], alone.v, atol=1e-4, rtol=0)


def test_what_is_not_kept_stays_and_the_others_go_on():
    lowest, objective = bowls(3)
    search = BatchedLBFGS(objective, torch.zeros_like(lowest))
    for _ in range(5):
        search.step()
    before, loss = search.v.clone(), search.loss.clone()
    search.keep(torch.tensor([1]))
    for _ in range(20):
        search.step()
    assert torch.equal(search.v[[0, 2]], before[[0, 2]])
    assert search.loss[1] < 0.1 * loss[1]


def test_no_step_makes_it_worse_although_the_loss_is_rough():
    def rough(v, rows):
        loss = v.abs().sum(1) + torch.sin(40 * v).square().sum(1)
        return loss, v.sign() + 40 * torch.sin(80 * v), v[:, None, :]

    search = BatchedLBFGS(rough, torch.full((2, 4), 1.3))
    losses = []
    for _ in range(40):
        search.step()
        losses.append(search.loss.clone())
    assert all((after <= before).all() for before, after in itertools.pairwise(losses))
    assert (losses[-1] < losses[0]).all()


def test_a_loss_that_is_no_number_is_never_taken():
    def cliff(v, rows):
        loss = torch.where(v[:, 0] > 0.5, torch.nan, -v[:, 0])
        return loss, -torch.ones_like(v), v[:, None, :]

    search = BatchedLBFGS(cliff, torch.zeros(1, 2))
    for _ in range(20):
        search.step()
    assert float(search.v[0, 0]) == pytest.approx(0.5, abs=0.1) and torch.isfinite(search.loss).all()


def two_loops(pairs, q, scale):
    """The recursion as it is told (Nocedal & Wright 2006, algorithm 7.4), in double precision."""
    q, shares = q.double().clone(), []
    for step, change in reversed(pairs):
        shares.append(step @ q / (step @ change))
        q -= shares[-1] * change
    q *= scale
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        q += (share - change @ q / (step @ change)) * step
    return q


@pytest.mark.parametrize("learned", [0, 1, 7, _MEMORY, _MEMORY + 5])
def test_the_curvature_is_that_of_the_two_loops(learned):
    source = torch.Generator().manual_seed(learned)
    dim, rows = 60, torch.tensor([0, 2])
    curvature, known = _Curvature(torch.zeros(3, dim)), {0: [], 1: [], 2: []}
    stretch = torch.linspace(0.5, 3.0, dim)
    for turn in range(learned):
        told = [k for k in range(3) if (turn + k) % 3]  # each turn another problem takes no step
        step = torch.randn(len(told), dim, generator=source)
        change = stretch * step + 0.1 * torch.randn(len(told), dim, generator=source)
        curvature.learn(torch.tensor(told), step, change)
        for n in range(3):
            known[n].append((step[told.index(n)].double(), change[told.index(n)].double()) if n in told else None)
    q, first = torch.randn(2, dim, generator=source), torch.tensor([0.3, 0.7])
    got = curvature.product(q, rows, first)
    for n, one, of, start in zip(rows.tolist(), got, q, first, strict=True):
        pairs = [pair for pair in known[n][-_MEMORY:] if pair is not None]
        scale = pairs[-1][0] @ pairs[-1][1] / pairs[-1][1].square().sum() if pairs else start.double()
        torch.testing.assert_close(one.double(), two_loops(pairs, of, scale), rtol=1e-4, atol=1e-4)
    curvature.forget(torch.tensor([2]))
    torch.testing.assert_close(curvature.product(q, rows, first)[1], 0.7 * q[1])
    torch.testing.assert_close(curvature.product(q, rows, first)[0], got[0])
