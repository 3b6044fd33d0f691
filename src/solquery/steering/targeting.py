"""Patches with given properties: the nearest of a look-up table, refined on what is measured until it is met.

The paper shifts a latent along a direction and looks at what comes out; here the step is solved for, with the value
measured on the generated patch as the judge, so that a number asked for is a number delivered, or an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..physics import measure
from .conditional import span_basis
from .editing import directions_of
from .judge import Judge, OutOfReach, check_reach, reach
from .latents import SteeringError, as_latents, clamp_norm, measure_latents, prior_norm_range, render
from .vocabulary import (
    DERIVED,
    Target,
    as_target,
    measured_names,
    parse_description,
    with_derived,
)

__all__ = ["Answer", "OutOfReach", "Target", "generate", "parse_description", "reach"]

_ROUNDS = 12
#: length of the trial step for the slopes, and the longest step, in standard deviations of the prior
_TRIAL = 0.15
_LONGEST = 1.5


@dataclass(frozen=True)
class Answer:
    """One patch for what was asked.

    Attributes
    ----------
    z
        (D,) float32.
    x
        (H, W) float32 in preset units.
    asked
        Name to the number asked for, in gauss and pixels (a limit where `targets` says so).
    got
        Everything measured on `x`: all parameters that have a direction, and derived quantities asked for.
    verdict
        ``"met"``: every number within 10 %, or within 5 percentile points of the generated population; every limit
        kept. ``"nearest"``: the closest that was found.
    z_norm
        Length of `z`; the prior's is about sqrt(D).
    held
        Held parameters: name to the value at the start.
    targets
        What was asked, with relations and words.
    """

    z: np.ndarray
    x: np.ndarray
    asked: dict[str, float]
    got: dict[str, float]
    verdict: str
    z_norm: float
    held: dict[str, float]
    targets: dict[str, Target]


class Search:
    """Refines candidates by damped Newton steps within the span of the directions concerned."""

    def __init__(self, bundle: Any, targets: Mapping[str, Target], hold: Sequence[str]) -> None:
        self.bundle = bundle
        self.directions = directions_of(bundle)
        self.judge = Judge(targets, self.directions)
        self.hold = list(hold)
        self.names = [*targets, *(name for name in hold if name not in targets)]
        self.measured = measured_names(self.names)
        self.low, self.high = prior_norm_range(self.directions.latent_dim)
        self.basis = torch.from_numpy(self._basis(targets)).float()
        spread = [self.directions.quantile(k, 84) - self.directions.quantile(k, 16) for k in self.hold]
        # a held parameter may drift by a twentieth of its usual spread before it costs as much as a tolerance
        self.hold_tolerance = np.maximum(0.025 * np.array(spread), 1e-9)

    def _basis(self, targets: Mapping[str, Target]) -> np.ndarray:
        """Orthonormal basis of the normals that may be moved along.

        With nothing held these are the asked ones. A held normal is in the span too, and the held parameter among the
        residuals: the slope at the spot tells better than the global normal which combination leaves it alone.
        """
        moved: list[str] = []
        for name in self.names:
            moved += DERIVED[name].moved_by if name in DERIVED else (name,)
        soft = [name for name in dict.fromkeys(moved) if name not in self.judge.hard]
        normals = [self.directions.normals[self.directions.index(name)] for name in soft]
        dim = self.directions.latent_dim
        return span_basis(np.stack(normals, axis=1)) if normals else np.zeros((dim, 0))

    def values(self, z: torch.Tensor) -> dict[str, np.ndarray]:
        """Quantities (K,) measured on the patches of latents (K, D)."""
        measured = measure_latents(self.bundle.generator, self.bundle.preset, z, self.measured)
        return with_derived(measured, self.names)

    def residual(self, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K, M) asked and held deviations in units of their tolerances."""
        asked = self.judge.residual(values)
        kept = [(values[k] - held[:, j]) / self.hold_tolerance[j] for j, k in enumerate(self.hold)]
        return np.concatenate([asked, np.stack(kept, axis=1)], axis=1) if kept else asked

    def cost(self, values: Mapping[str, np.ndarray], held: np.ndarray) -> np.ndarray:
        """(K,) sum of squares; infinite where a quantity is unknown or a hard condition broken."""
        total = np.square(self.residual(values, held)).sum(1)
        return np.where(self.judge.allowed(values) & ~np.isnan(total), total, np.inf)

    def _step(self, z: torch.Tensor, residual: np.ndarray, held: np.ndarray, damping: np.ndarray) -> np.ndarray:
        """(K, P) damped Gauss-Newton steps from slopes measured at each candidate."""
        k, p = len(z), self.basis.shape[1]
        probes = (z[:, None] + _TRIAL * self.basis.T[None]).reshape(k * p, -1)
        there = self.residual(self.values(probes), np.repeat(held, p, axis=0)).reshape(k, p, -1)
        slopes = np.nan_to_num((there - residual[:, None]) / _TRIAL).transpose(0, 2, 1)
        normal = slopes.transpose(0, 2, 1) @ slopes
        scale = np.einsum("kpp->kp", normal).max(1) + 1e-9
        normal = normal + (damping * scale)[:, None, None] * np.eye(p)
        step = -np.linalg.solve(normal, slopes.transpose(0, 2, 1) @ residual[:, :, None])[:, :, 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        return step * np.minimum(1.0, _LONGEST / np.maximum(length, 1e-12))

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
        self, z: torch.Tensor, enough: int, held: np.ndarray | None = None
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Refined latents (K, D), their costs (K,), and the held values (K, H): those of `z` unless given.

        Stops when `enough` candidates hit their targets well within tolerance, or nothing improves.
        """
        z = clamp_norm(z, self.low, self.high)
        values = self.values(z)
        if held is None:
            held = self.held_values(values)
        cost = self.cost(values, held)
        damping = np.full(len(z), 1e-3)
        fractions = np.array([1.0, 0.5, 0.2])
        for _ in range(_ROUNDS):
            # a tenth of the tolerance: better than asked, at no price where a step more does it
            open_ = np.flatnonzero(np.isfinite(cost) & (cost > 0.01) & (damping < 1e3))
            if self.basis.shape[1] == 0 or len(open_) == 0 or int((cost <= 0.01).sum()) >= enough:
                break
            residual = self.residual({name: v[open_] for name, v in values.items()}, held[open_])
            step = self._step(z[open_], residual, held[open_], damping[open_])
            moves = torch.from_numpy(fractions[None, :, None] * step[:, None]).float() @ self.basis.T
            trials = clamp_norm((z[open_, None] + moves).flatten(0, 1), self.low, self.high)
            trial_values = self.values(trials)
            trial_cost = self.cost(trial_values, np.repeat(held[open_], len(fractions), axis=0))
            best = trial_cost.reshape(-1, len(fractions)).argmin(1) + len(fractions) * np.arange(len(open_))
            gained = trial_cost[best] < cost[open_]
            rows, chosen = open_[gained], best[gained]
            z[rows], cost[rows] = trials[chosen], trial_cost[chosen]
            for name in values:
                values[name][rows] = trial_values[name][chosen]
            damping[rows] = np.maximum(damping[rows] * 0.3, 1e-4)
            damping[open_[~gained]] *= 10.0
        return z, cost, held


def _starts(search: Search, number: int, seed: int) -> torch.Tensor:
    """(K, D): latents of the look-up table close to what is asked, drawn from a pool four times as large."""
    table = search.directions.table
    values = with_derived(table.values, search.names)
    asked = search.judge.residual(values)
    # tails of a few tolerances and of hundreds should not differ: far is far
    distance = np.log1p(np.abs(asked)).sum(1)
    distance = np.where(search.judge.allowed(values) & ~np.isnan(distance), distance, np.inf)
    pool = np.argsort(distance, kind="stable")[: 4 * number]
    pool = pool[np.isfinite(distance[pool])]
    if len(pool) == 0:
        everything = {**search.judge.hard, **search.judge.soft}
        names = ", ".join(f"{name} {t.relation} {t.value:.4g}" for name, t in everything.items())
        raise OutOfReach(
            f"no patch of bundle {search.bundle.name!r} comes near {names}; ask for less at once, or train a generator "
            "on such regions"
        )
    draw = np.random.default_rng(seed).permutation(len(pool))[:number]
    return torch.from_numpy(table.z[pool[draw]].copy())


def _pick(z: np.ndarray, cost: np.ndarray, met: np.ndarray, n: int) -> list[int]:
    """Indices of n answers: the best first, then among those that meet what was asked the least alike."""
    order = [int(k) for k in np.lexsort((cost, ~met)) if np.isfinite(cost[k])]
    unit = z / np.linalg.norm(z, axis=1, keepdims=True).clip(1e-12)
    chosen = order[:1]
    while len(chosen) < min(n, len(order)):
        rest = [k for k in order if k not in chosen]
        good = [k for k in rest if met[k]]
        if good:
            chosen.append(min(good, key=lambda k: float((unit[k] @ unit[chosen].T).max())))
        else:
            chosen.append(rest[0])
    return chosen


def generate(
    bundle: Any,
    asked: Mapping[str, float | Target] | str,
    n: int = 1,
    hold: Mapping[str, float] | Sequence[str] | str = (),
    seed: int = 0,
    *,
    start: Any = None,
) -> list[Answer]:
    """Patches with the properties asked for.

    Parameters
    ----------
    bundle
        With generator, preset and directions.
    asked
        Parameter to number (Mx and Mm where the preset has a scale, else gauss and pixels) or `Target`; or a
        description in words.
    n
        How many different patches.
    hold
        Parameters to keep at the value they have in the start; with a `start`, also parameter to the value to keep.
    seed
        Which of the near latents to start from; the same seed gives the same answers.
    start
        (D,) latent of a patch to change, instead of a search through the look-up table.

    Returns
    -------
    At most `n` answers, those that meet what was asked first. Which polarity leads is never compromised on.

    Raises
    ------
    OutOfReach
        When a number lies outside what the generator reaches, with the range that it does.
    UnknownParameter, NoDirection, UnknownWord, SteeringError
        When what is asked is not understood.
    """
    directions = directions_of(bundle)
    if n < 1:
        raise SteeringError(f"n must be at least 1, got {n}")
    if isinstance(asked, str):
        asked = parse_description(asked, directions)
    if not asked:
        raise SteeringError("nothing is asked for; give at least one parameter")
    targets = {name: as_target(name, value, directions) for name, value in asked.items()}
    held = (hold,) if isinstance(hold, str) else tuple(hold)
    for name in held:
        if name in targets:
            raise SteeringError(f"{name!r} is both asked for and held; leave one out")
        directions.index(name)
    check_reach(targets, directions, bundle.name)

    search = Search(bundle, targets, held)
    if start is None:
        z, cost, start_values = search.refine(_starts(search, max(12, 3 * n), seed), n)
    else:
        one = torch.from_numpy(as_latents(start, directions.latent_dim)[:1].copy())
        z0, before = search.across(one)
        if isinstance(hold, Mapping):
            before = np.tile([float(hold[name]) for name in held], (len(z0), 1))
        z, cost, start_values = search.refine(z0, n, before)
    if not np.isfinite(cost).any():
        wrong = ", ".join(f"{name} = {t.value:g}" for name, t in search.judge.hard.items()) or "what was asked"
        raise OutOfReach(
            f"bundle {bundle.name!r} found no patch with {wrong} from this start; start from another patch, or leave "
            "the start out"
        )

    everything = list(dict.fromkeys([*directions.names, *search.names]))
    x = render(bundle.generator, z, bundle.preset.shape)[:, 0]
    measured = measure(bundle.preset.to_gauss(x), bundle.preset.scale_mm, measured_names(everything))
    got = with_derived({name: value.numpy() for name, value in measured.items()}, everything)
    rows = [{name: float(values[k]) for name, values in got.items()} for k in range(len(z))]
    met = np.array([search.judge.met(row) for row in rows])
    norms = z.norm(dim=1)
    return [
        Answer(
            z=z[k].numpy().copy(),
            x=x[k].numpy().copy(),
            asked={name: target.value for name, target in targets.items()},
            got=rows[k],
            verdict="met" if met[k] else "nearest",
            z_norm=float(norms[k]),
            held={name: float(start_values[k, j]) for j, name in enumerate(held)},
            targets=dict(targets),
        )
        for k in _pick(z.numpy(), cost, met, n)
    ]
