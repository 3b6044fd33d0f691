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

#: pairs of step and change of gradient that are remembered
_MEMORY = 20
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
        self._steps: list[Tensor] = []
        self._changes: list[Tensor] = []
        self._inverse: list[Tensor] = []
        self._scale = torch.zeros_like(self.loss)
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
        for inverse in self._inverse:
            inverse[rows] = 0.0
        self._scale[rows], self._share[rows], self._failed[rows] = 0.0, 1.0, 0.0

    def product(self, q: Tensor) -> Tensor:
        """(K, D): the inverse of each active problem's curvature times its vector, by the two-loop recursion."""
        rows = self.active
        q = q.clone()
        pairs = [(s[rows], y[rows], r[rows]) for s, y, r in zip(self._steps, self._changes, self._inverse, strict=True)]
        shares = []
        for step, change, inverse in reversed(pairs):
            share = inverse * (step * q).sum(1)
            shares.append(share)
            q -= share[:, None] * change
        known = self._scale[rows]
        first = _FIRST / self.gradient[rows].norm(dim=1).clamp(min=1e-12)
        q *= torch.where(known > 0, known, first)[:, None]
        for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
            q += (share - inverse * (change * q).sum(1))[:, None] * step
        return q

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
            for inverse in self._inverse:
                inverse[stuck] = 0.0
            self._scale[stuck] = 0.0
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
        self._learn(rows[good], step[good], (gradient - self.gradient[rows])[good])
        taken = rows[good]
        self.v[taken], self.loss[taken] = trial[good], loss[good]
        self.gradient[taken], self.x[taken] = gradient[good], x[good]
        self._share[taken], self._failed[taken] = 1.0, 0.0
        return good

    def _learn(self, rows: Tensor, step: Tensor, change: Tensor) -> None:
        curvature = (step * change).sum(1)
        curved = curvature > _CURVED
        if not bool(curved.any()):
            return
        rows, step, change, curvature = rows[curved], step[curved], change[curved], curvature[curved]
        pair = torch.zeros_like(self.v), torch.zeros_like(self.v), torch.zeros_like(self.loss)
        pair[0][rows], pair[1][rows], pair[2][rows] = step, change, 1.0 / curvature
        self._scale[rows] = curvature / change.square().sum(1).clamp(min=1e-20)
        for memory, one in zip((self._steps, self._changes, self._inverse), pair, strict=True):
            memory.append(one)
            del memory[:-_MEMORY]
