"""Solve for a latent vector whose patch measures what is asked: Gauss-Newton with gradients from the network itself.

The step is the shortest that the gradients allow in all of latent space, so that a start changes no more than it must
and different starts stay different answers. Gradients are computed once, by backpropagation through the generator, and
updated from what each step brings (Broyden 1965, doi:10.1090/S0025-5718-1965-0198670-6): a further step costs one
patch, while gradients cost five. Where there are many starts, all make a first step by the calibration of the
directions, which costs one patch each, and gradients are computed for the most promising only.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .conditional import span_basis
from .editing import directions_of
from .gradients import latent_gradients
from .judge import Judge
from .latents import clamp_norm, in_use, prior_norm_range
from .native_scale import measure_native_latents, native_scale_of
from .vocabulary import DERIVED, Target, measured_names, with_derived

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Search"]

_ROUNDS = 24
#: candidates worked on at once beyond the number wanted: those next in line wait until one gives up
SPARE = 3
#: longest step at the start, in standard deviations of the prior, and failures in a row at which a candidate gives up
_LONGEST = 1.5
_FAILURES = 6
#: length of the random step that goes with a trial near the goal after a failure
_SHAKE = 0.06
#: what a candidate is refined to, as a sum of squares in units of the tolerances: one that is a tenth is met to 2 %
GOOD_ENOUGH = 0.06
#: after so many rounds and with each that follows, what is good enough is relaxed by so much: a candidate that is met
#: to 5 % need not cost as much again as all the others to be met to 2 %
_PATIENT = 5
_RELAXED = 0.03
_MOST_RELAXED = 0.25
#: steps from one set of gradients before they are found afresh
_AGE = 8


class Search:
    """Refines candidates until what is measured on their patches is what is asked, and what is held stays."""

    def __init__(self, model: Model, targets: Mapping[str, Target], hold: Sequence[str]) -> None:
        self.model = in_use(model)
        #: measured on what was refined last, each (K,)
        self.found: dict[str, np.ndarray] = {}
        self.directions = directions_of(model)
        self.judge = Judge(targets, self.directions)
        self.hold = list(hold)
        self.names = [*targets, *(name for name in hold if name not in targets)]
        self.measured = measured_names(self.names)
        # two values have no gradient: such a parameter stays the same, or the step is not taken
        self.binary = [j for j, name in enumerate(self.hold) if self.directions.is_binary(name)]
        hard = {*self.judge.hard, *(self.hold[j] for j in self.binary)}
        #: those whose gradients are needed: what is hard is a condition, not a residual
        self.by_gradient = [name for name in self.measured if name not in hard]
        self.low, self.high = prior_norm_range(self.directions.latent_dim)
        self.basis = torch.from_numpy(self._basis()).float()
        spread = [self.directions.spread(name) for name in self.hold]
        # a held parameter may drift by a twentieth of its usual spread before it costs as much as a tolerance
        self.hold_tolerance = np.maximum(0.05 * np.array(spread), 1e-9)
        self.hold_tolerance[self.binary] = np.inf

    def _basis(self) -> np.ndarray:
        """Orthonormal basis of the normals concerned, for parameters that have gradients by trial steps only."""
        moved: list[str] = []
        for name in self.names:
            moved += DERIVED[name].moved_by if name in DERIVED else (name,)
        soft = [name for name in dict.fromkeys(moved) if name in self.by_gradient]
        normals = [self.directions.normals[self.directions.index(name)] for name in soft]
        dim = self.directions.latent_dim
        return span_basis(np.stack(normals, axis=1)) if normals else np.zeros((dim, 0))

    def values(self, z: torch.Tensor) -> dict[str, np.ndarray]:
        """Parameters (K,) measured on the patches of latents (K, D), and quantities derived from them."""
        measured = measure_native_latents(self.model, z, self.measured)
        return {**measured, **with_derived(measured, self.names)}

    def residual(self, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K, M) asked and held deviations in units of their tolerances."""
        asked = self.judge.residual(values)
        kept = [(values[k] - held[:, j]) / self.hold_tolerance[j] for j, k in enumerate(self.hold)]
        return np.concatenate([asked, np.stack(kept, axis=1)], axis=1) if kept else asked

    def cost(self, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K,) sum of squares; infinite where a quantity is unknown or a hard condition broken."""
        total = np.square(self.residual(values, held)).sum(1)
        kept = self.judge.allowed(values) & ~np.isnan(total)
        for j in self.binary:
            kept &= np.asarray(values[self.hold[j]]) == held[:, j]
        return np.where(kept, total, np.inf)

    def gradients(self, z: torch.Tensor, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K, M, D) derivatives of the residuals, by those of the parameters that they are made of."""
        found, _ = latent_gradients(self.model.generator, self.model.preset, z, self.by_gradient, self.basis)
        return self._chained(self._scaled(found.numpy(), values), values, held)

    def _scaled(self, by_latent: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Gradients (K, P, D) of parameters on the grid as those of the model's numbers."""
        scale = native_scale_of(self.model)
        if scale is None or not self.by_gradient:
            return by_latent
        steep = np.stack([scale.slope(name, values[name]) for name in self.by_gradient], axis=1)
        return by_latent * np.nan_to_num(steep, nan=1.0)[:, :, None]

    def _known_gradients(
        self,
        z: torch.Tensor,
        values: Mapping[str, np.ndarray],
        held: np.ndarray,
        gradients: MutableMapping[str, np.ndarray],
    ) -> np.ndarray:
        """(1, M, D) `gradients` from the gradients of single parameters; those that are not known yet are found."""
        missing = [name for name in self.by_gradient if name not in gradients]
        if missing:
            found, _ = latent_gradients(self.model.generator, self.model.preset, z, missing, self.basis)
            gradients.update(zip(missing, found[0].numpy(), strict=True))
        by_latent = np.stack([gradients[name] for name in self.by_gradient])[None]
        return self._chained(self._scaled(by_latent, values), values, held)

    def rough_gradients(self, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K, M, D) the same as the directions' calibration has them: right on average, and free."""
        rows = []
        for name in self.by_gradient:
            k, ends = self.directions.index(name), self.directions
            at = ends.position_for(name, values[name])[:, None] + np.array([-0.5, 0.5])
            rise = np.diff(ends.expected_value(name, at), axis=1)
            mean = (ends.expected[k][-1] - ends.expected[k][0]) / (ends.positions[k][-1] - ends.positions[k][0])
            # beyond the ends of the curve it is flat; parameters are not
            rows.append(np.maximum(np.nan_to_num(rise), 0.1 * mean) * ends.normals[k].astype(np.float64))
        return self._chained(np.stack(rows, axis=1), values, held)

    def _chained(self, by_latent: np.ndarray, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K, M, D) gradients of the residuals from those of the parameters (K, P, D)."""
        here = self.residual(values, held)
        out = np.zeros((*here.shape, by_latent.shape[2]))
        measured = {name: np.asarray(values[name], np.float64) for name in self.measured}
        for j, name in enumerate(self.by_gradient):
            # residuals of measured numbers are plain arithmetic: a small difference gives their derivatives
            small = 1e-4 * np.maximum(np.abs(measured[name]), max(self.directions.spread(name), 1e-9))
            nudged = {**measured, name: measured[name] + small}
            there = self.residual({**nudged, **with_derived(nudged, self.names)}, held)
            by_value = np.nan_to_num((there - here) / small[:, None])
            out += by_value[:, :, None] * by_latent[:, j][:, None, :]
        return out

    def held_values(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(K, H) held parameters among measured quantities."""
        rows = [values[k] for k in self.hold]
        return np.stack(rows, axis=1) if rows else np.zeros((len(next(iter(values.values()))), 0))

    def across(self, start: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """Candidates (K, D) from one latent (1, D), and the held values (K, H) of that latent.

        Where it breaks a hard condition (polarity), steps across that boundary, the held ones left alone.
        """
        held = self.held_values(self.values(start))
        z = start
        for name, target in self.judge.hard.items():
            if self.judge.allowed(self.values(start)).all():
                break
            sign = 1.0 if target.value > self.directions.medians[self.directions.index(name)] else -1.0
            normal = torch.from_numpy(self.directions.normal(name, self.hold))
            side = float(self.directions.position(start[0].numpy(), name))
            steps = torch.linspace(0.0, abs(side) + 3.0, 13)[:, None]
            z = (z[:, None] + sign * steps * normal).flatten(0, 1)
        return z, np.repeat(held, len(z), axis=0)

    def refine(
        self,
        z: torch.Tensor,
        enough: int,
        held: np.ndarray | None = None,
        rough: bool = False,
        gradients: MutableMapping[str, np.ndarray] | None = None,
        rounds: int = _ROUNDS,
        known: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Refined latents (K, D), their costs (K,), and the held values (K, H): those of `z` unless given.

        Works on the `enough` most promising candidates and a few more, and stops when so many hit their targets well
        within tolerance, or nothing improves. With `rough`, all make a first step by the calibration. `gradients` are
        those of single parameters (D,) at the one latent `z`, as far as they are known; what is missing is added.
        `known` is what the patches of `z` measure, each (K,), where that is known.
        """
        some = _Candidates(self, clamp_norm(z, self.low, self.high), held, known)
        self.found = some.values
        if some.residual.shape[1] == 0:
            return some.z, some.cost, some.held
        if rough and self.by_gradient:
            some.gradients = self.rough_gradients(some.values, some.held)
        elif gradients is not None and len(z) == 1 and self.by_gradient:
            some.begin_with(self._known_gradients(some.z, some.values, some.held, gradients))
        for turn in range(rounds):
            good = some.cost <= GOOD_ENOUGH + min(max(0, turn - _PATIENT) * _RELAXED, _MOST_RELAXED)
            missing = enough - int(good.sum())
            rows = np.flatnonzero(np.isfinite(some.cost) & ~good & (some.failures < _FAILURES))
            if len(rows) == 0 or missing <= 0:
                break
            by_calibration = rough and turn == 0
            some.step(rows if by_calibration else some.promising(rows, missing + SPARE), learn=not by_calibration)
        return some.z, some.cost, some.held


class _Candidates:
    """Latents (K, D) on their way to what a search asks for, with what is known of each.

    Attributes
    ----------
    z, held, values, residual, cost
        Latents (K, D); held values (K, H); parameters, each (K,); residuals (K, M); sums of squares (K,).
    gradients
        (K, M, D) of the residuals.
    longest, failures
        (K,) longest step allowed, and failures in a row.
    age, moved
        (K,) steps since the gradients were computed, and whether computing them again would change them.
    """

    def __init__(
        self, search: Search, z: torch.Tensor, held: np.ndarray | None, known: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self.search, self.z = search, z
        self.values = search.values(z) if known is None else dict(known)
        self.held = search.held_values(self.values) if held is None else held
        self.cost, self.residual = search.cost(self.values, self.held), search.residual(self.values, self.held)
        self.gradients = np.zeros((*self.residual.shape, z.shape[1]))
        self.longest = np.full(len(z), _LONGEST)
        self.failures = np.zeros(len(z), dtype=int)
        self.age = np.full(len(z), _AGE)
        self.moved = np.ones(len(z), dtype=bool)
        self.random = torch.Generator().manual_seed(len(z))

    def begin_with(self, gradients: np.ndarray) -> None:
        """Take gradients (K, M, D) of the residuals as computed just now."""
        self.gradients, self.age[:], self.moved[:] = gradients, 0, False

    def promising(self, rows: np.ndarray, most: int) -> np.ndarray:
        """At most so many of some candidates, those of least cost, with gradients that are not too old.

        The others wait: their turn comes when one of these has failed too often.
        """
        first = np.argsort(self.cost[rows] * 2.0 ** self.failures[rows], kind="stable")[:most]
        rows = np.sort(rows[first])
        stale = rows[(self.age[rows] >= _AGE) & self.moved[rows]]
        if len(stale):
            values = {name: value[stale] for name, value in self.values.items()}
            self.gradients[stale] = self.search.gradients(self.z[stale], values, self.held[stale])
            self.age[stale], self.moved[stale] = 0, False
        return rows

    def step(self, rows: np.ndarray, learn: bool) -> None:
        """One step of some candidates, kept where the cost falls; with `learn`, gradients and lengths follow."""
        before = self.residual[rows]
        trial = self._trial(rows)
        step = (trial - self.z[rows]).double().numpy()
        there = self.search.values(trial)
        residual, cost = self.search.residual(there, self.held[rows]), self.search.cost(there, self.held[rows])
        gained = cost < self.cost[rows]
        taken, lost = rows[gained], rows[~gained]
        self.z[taken], self.cost[taken] = trial[torch.from_numpy(gained)], cost[gained]
        self.residual[taken], self.moved[taken] = residual[gained], True
        for name, value in self.values.items():
            value[taken] = there[name][gained]
        if not learn:
            return
        self.gradients[rows] += _broyden(self.gradients[rows], step, residual - before)
        self.age[rows] += 1
        self.longest[taken] = np.minimum(2.0 * self.longest[taken], _LONGEST)
        self.failures[taken] = 0
        self.failures[lost] += 1
        self.longest[lost] = 0.5 * np.clip(np.linalg.norm(step[~gained], axis=1), 0.05, self.longest[lost])
        # a step failed on gradients that are no longer new: they are computed again before anything else
        self.age[lost[self.age[lost] > 2]] = _AGE

    def _trial(self, rows: np.ndarray) -> torch.Tensor:
        """Latents (K, D) to try next: the shortest step, and near the goal after a failure a little at random."""
        shortest = _shortest(self.gradients[rows], self.residual[rows], self.longest[rows])
        trial = self.z[rows] + torch.from_numpy(shortest).float()
        # thresholds make what is measured rough in the small: beside a place that fails lies one that does not
        noise = torch.randn(trial.shape, generator=self.random) * _SHAKE / trial.shape[1] ** 0.5
        near = (self.failures[rows] > 0) & (self.cost[rows] < 1.0)
        return clamp_norm(trial + noise * torch.from_numpy(near)[:, None], self.search.low, self.search.high)


def _shortest(gradients: np.ndarray, residual: np.ndarray, longest: np.ndarray) -> np.ndarray:
    """(K, D) shortest steps that the gradients (K, M, D) say undo the residuals (K, M), no longer than `longest` (K,).

    Damped a little, so that what can hardly be moved, or only together with another, is not paid for with a leap.
    """
    gram = gradients @ gradients.transpose(0, 2, 1)
    size = np.einsum("kmm->km", gram)
    gram = gram + np.eye(gram.shape[1]) * (1e-4 * size.max(1) + 1e-12)[:, None, None]
    step = -(gradients.transpose(0, 2, 1) @ np.linalg.solve(gram, np.nan_to_num(residual)[:, :, None]))[:, :, 0]
    length = np.linalg.norm(step, axis=1)
    return step * np.minimum(1.0, longest / np.maximum(length, 1e-12))[:, None]


def _broyden(gradients: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """(K, M, D) smallest correction after which gradients explain the `change` (K, M) that a `step` (K, D) brought."""
    length = np.square(step).sum(1)
    # beyond a border where something becomes unknown there is nothing to learn
    known = np.isfinite(change).all(1) & (length > 1e-10)
    missed = np.where(known[:, None], change - (gradients @ step[:, :, None])[:, :, 0], 0.0)
    return missed[:, :, None] * step[:, None, :] / np.maximum(length, 1e-10)[:, None, None]
