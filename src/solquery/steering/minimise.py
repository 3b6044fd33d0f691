"""Limited-memory BFGS on many independent problems at once, one evaluation of all of them a step.

Of one generator call most of the time is spent whether one latent vector is asked for or eight, so the problems share
their evaluations; nothing else. Each has its own curvature, step and failures (Nocedal 1980,
doi:10.1090/S0025-5718-1980-0572855-7).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["BatchedLBFGS", "Objective"]

#: variables (K, D) and which problems they belong to (K,): losses (K,), their gradients (K, D), pictures (K, H, W)
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

#: pairs of step and change of gradient that are remembered; of 90 evaluations of a patch, 40 leave 5 % less of the loss
#: than 20 do, and more than 40 no less
_MEMORY = 40
#: length of the first step, and of the longest
_FIRST, _LONGEST = 0.5, 4.0
#: a step that does not lower the loss is shortened by this; after so many in a row what was learned is forgotten
_SHORTER, _FAILURES = 0.3, 4
_CURVED = 1e-10


class BatchedLBFGS:
    """Minimise many losses at once.

    Parameters
    ----------
    objective
        Called with the variables of some problems and their numbers.
    start
        (N, D) variables.

    Attributes
    ----------
    v, loss, gradient, x
        (N, D), (N,), (N, D) and (N, H, W): the best of each problem so far.
    evaluations
        Calls of the objective.
    """

    def __init__(self, objective: Objective, start: Tensor) -> None:
        self.objective, self.v = objective, start.detach().clone()
        self.active = torch.arange(len(start), device=start.device)
        self.evaluations = 0
        self.loss, self.gradient, self.x = self._evaluate(self.v)
        self._curvature = _Curvature(self.v)
        self._share = torch.ones_like(self.loss)
        self._failed = torch.zeros_like(self.loss)

    def _evaluate(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.evaluations += 1
        return self.objective(v, self.active)

    def refresh(self) -> None:
        """Evaluate anew where things stand: the objective has changed. What was learned of the curvature is kept."""
        rows = self.active
        self.loss[rows], self.gradient[rows], self.x[rows] = self._evaluate(self.v[rows])
        self._share[rows], self._failed[rows] = 1.0, 0.0

    def keep(self, rows: Tensor) -> None:
        """Go on with these problems only (their numbers); the others stay as they are."""
        self.active = rows

    def replace(self, rows: Tensor, other: BatchedLBFGS, theirs: Tensor) -> None:
        """Let problems stand where those of another search (its numbers `theirs`) do; their curvature is forgotten."""
        for name in ("v", "loss", "gradient", "x"):
            getattr(self, name)[rows] = getattr(other, name)[theirs]
        self._curvature.forget(rows)
        self._share[rows], self._failed[rows] = 1.0, 0.0

    def product(self, q: Tensor) -> Tensor:
        """(K, D): the inverse of each active problem's curvature times its vector."""
        rows = self.active
        first = _FIRST / self.gradient[rows].norm(dim=1).clamp(min=1e-12)
        return self._curvature.product(q, rows, first)

    def step(self) -> None:
        """One evaluation of the active problems; a step is taken where it lowers the loss."""
        rows = self.active
        step = -self._share[rows, None] * self.product(self.gradient[rows])
        step *= (_LONGEST / step.norm(dim=1).clamp(min=_LONGEST))[:, None]
        lower = self.attempt(step, lambda loss, _: loss < self.loss[rows])
        refused = rows[~lower]
        self._share[refused] *= _SHORTER
        self._failed[refused] += 1
        stuck = rows[self._failed[rows] >= _FAILURES]
        if len(stuck):
            self._curvature.forget(stuck)
            self._failed[stuck] = 0.0

    def attempt(self, step: Tensor, accept: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """One evaluation at steps (K, D) of the active problems; those are taken whose loss and picture are accepted.

        Returns
        -------
        (K,) which were taken.
        """
        rows = self.active
        trial = self.v[rows] + step
        loss, gradient, x = self._evaluate(trial)
        good = accept(loss, x) & torch.isfinite(loss)
        self._curvature.learn(rows[good], step[good], (gradient - self.gradient[rows])[good])
        taken = rows[good]
        self.v[taken], self.loss[taken] = trial[good], loss[good]
        self.gradient[taken], self.x[taken] = gradient[good], x[good]
        self._share[taken], self._failed[taken] = 1.0, 0.0
        return good


class _Curvature:
    """What steps (D,) and the changes of gradient that they brought say of the curvature of N problems.

    The two-loop recursion of L-BFGS needs nothing of D numbers but products of what is remembered with the vector; all
    else is in the products of pairs among themselves, which are kept: each loop is the solution of a triangular system
    of as many equations as there are pairs (as the compact form of Byrd, Nocedal & Schnabel 1994,
    doi:10.1007/BF01582063).
    """

    def __init__(self, like: Tensor) -> None:
        n, dim = like.shape
        #: steps and changes (N, pairs, D), in a ring: the newest takes the place of the oldest
        self.steps, self.changes = like.new_zeros(n, _MEMORY, dim), like.new_zeros(n, _MEMORY, dim)
        small = {"dtype": torch.float64, "device": like.device}
        #: products of step i and change j, and of changes (N, pairs, pairs); 1 over that of a pair's own, 0 without one
        self.mixed, self.squares = (torch.zeros(n, _MEMORY, _MEMORY, **small) for _ in range(2))
        self.inverse = torch.zeros(n, _MEMORY, **small)
        self.scale = torch.zeros(n, **small)
        self.count = 0

    def forget(self, rows: Tensor) -> None:
        """Start again with some problems."""
        self.inverse[rows], self.scale[rows] = 0.0, 0.0

    def learn(self, rows: Tensor, step: Tensor, change: Tensor) -> None:
        """Remember steps and changes (K, D) of some problems; all others have no pair in that place."""
        curvature = (step * change).sum(1)
        curved = curvature > _CURVED
        if not bool(curved.any()):
            return
        rows, step, change, curvature = rows[curved], step[curved], change[curved], curvature[curved].double()
        at = self.count % _MEMORY
        self.count += 1
        self.inverse[:, at] = 0.0
        self.steps[rows, at], self.changes[rows, at] = step, change
        steps, changes = self._pairs(rows)
        self.mixed[rows, at] = (changes @ step[:, :, None])[:, :, 0].double()
        self.mixed[rows, :, at] = (steps @ change[:, :, None])[:, :, 0].double()
        self.squares[rows, at] = self.squares[rows, :, at] = (changes @ change[:, :, None])[:, :, 0].double()
        self.inverse[rows, at] = 1.0 / curvature
        self.scale[rows] = curvature / change.double().square().sum(1).clamp(min=1e-20)

    def _pairs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        whole = len(rows) == len(self.steps)  # numbers of problems are in order: no copy of all is needed
        return (self.steps, self.changes) if whole else (self.steps[rows], self.changes[rows])

    def product(self, q: Tensor, rows: Tensor, first: Tensor) -> Tensor:
        """(K, D) of vectors (K, D) of some problems; `first` (K,) of those of which nothing is known yet."""
        known = self.scale[rows]
        scale = torch.where(known > 0, known, first.double())
        pairs = min(self.count, _MEMORY)
        if pairs == 0:
            return q * scale[:, None].to(q)
        # in the ring the pairs stand as they came but for a turn: the oldest first
        order = torch.arange(self.count - pairs, self.count, device=q.device) % _MEMORY
        steps, changes = self._pairs(rows)
        mixed, squares = (one[rows][:, order[:, None], order] for one in (self.mixed, self.squares))
        inverse = self.inverse[rows][:, order]

        def along(pairs_of: Tensor) -> Tensor:
            return (pairs_of @ q[:, :, None])[:, order, 0].double()

        def solved(matrix: Tensor, right: Tensor, upper: bool) -> Tensor:
            system = inverse[:, :, None] * matrix  # its diagonal counts as ones
            return torch.linalg.solve_triangular(system, right[:, :, None], upper=upper, unitriangular=True)[:, :, 0]

        def together(pairs_of: Tensor, shares: Tensor) -> Tensor:
            placed = torch.zeros(len(q), _MEMORY, dtype=q.dtype, device=q.device)
            placed[:, order] = shares.to(q)
            return (placed[:, None] @ pairs_of)[:, 0]

        newest_first = solved(mixed.triu(1), inverse * along(steps), upper=True)
        turned = along(changes) - (squares @ newest_first[:, :, None])[:, :, 0]
        right = newest_first - inverse * scale[:, None] * turned
        oldest_first = solved(mixed.transpose(1, 2).tril(-1), right, upper=False)
        out = scale[:, None].to(q) * (q - together(changes, newest_first))
        return out + together(steps, oldest_first)
