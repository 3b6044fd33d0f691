"""Changing a patch interactively: a step at once, then the step solved for, with what is held kept within bounds.

`generate` searches; a slider has 50 ms. The direct step goes along the directions as far as their calibration says,
measures once what came out, and corrects itself; it costs four patches, more only where a held parameter would leave
its bounds. While a slider is dragged, each step begins where the last one ended, and mostly costs one patch.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from .detailed_edits import detail_of, lead_with_detail
from .directions import Directions
from .editing import directions_of
from .judge import Judge, check_reach
from .latents import SteeringError, as_latents, clamp_norm, prior_norm_range, render
from .native_scale import measure_native
from .solving import Search
from .targeting import Answer, answers_of, generate, held_names
from .vocabulary import DERIVED, Target, as_target

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["HOLD_SLACK", "Visited", "steer"]

#: a place that a drag has passed: a latent (D,), and the asked and held parameters (1,) of its patch
Visited = tuple[np.ndarray, Mapping[str, np.ndarray]]

#: a held parameter may move by this share of its spread (`Directions.spread`), and no further
HOLD_SLACK = 0.2
#: or by this share of its value, where that is more: the spread of R is a small part of the R of a strong region
HOLD_SHARE = 0.03
#: keeps nearly parallel normals (flux and area) from asking for opposite steps of many sigma
_RIDGE = 0.02
_LONGEST = 5.0
#: Gauss-Newton steps of a direct step that has gradients
_LOCAL_ROUNDS = 4
#: places of a drag that are remembered
_REMEMBERED = 48
#: places on the way from the start that are tried where the end leaves the bounds of what is held
_PLACES = np.array([1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.12])


class _Change:
    """What is asked and held of one latent, and how far a patch is from it."""

    def __init__(
        self,
        model: Model,
        start: np.ndarray,
        targets: Mapping[str, Target],
        held: Sequence[str],
        pictures: MutableMapping[bytes, torch.Tensor] | None,
        visited: MutableSequence[Visited] | None,
    ) -> None:
        self.model, self.start, self.targets = model, start, targets
        self.held: dict[str, float] = {}
        self.directions: Directions = directions_of(model)
        self.judge = Judge(targets, self.directions)
        self.names = [*targets, *held]
        self.slack: dict[str, float] = {}
        self.low, self.high = prior_norm_range(self.directions.latent_dim)
        self.pictures: MutableMapping[bytes, torch.Tensor] = {} if pictures is None else pictures
        self.visited: MutableSequence[Visited] = [] if visited is None else visited

    def hold(self, given: Mapping[str, float]) -> None:
        """Keep parameters at values, within a share of their spread, or of the value where that is more."""
        self.held = dict(given)
        self.slack = {
            name: max(HOLD_SLACK * self.directions.spread(name), HOLD_SHARE * abs(value))
            for name, value in given.items()
        }

    def clamped(self, z: np.ndarray) -> np.ndarray:
        """Latents (K, D) of a norm that the prior gives."""
        return clamp_norm(torch.from_numpy(np.atleast_2d(z).astype(np.float32)), self.low, self.high).numpy()

    def values(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Asked and held parameters (K,) of latents (K, D)."""
        z = np.atleast_2d(z)
        x = self.picture(z[0]) if len(z) == 1 else render(self.model.generator, z, self.model.preset.shape)[:, 0]
        return measure_native(self.model, x, self.names)

    def picture(self, z: np.ndarray) -> torch.Tensor:
        """(1, H, W) of a latent (D,), in preset units; made once."""
        made = self.pictures.get(z.tobytes())
        if made is None:
            made = self.pictures[z.tobytes()] = render(self.model.generator, z[None], self.model.preset.shape)[:, 0]
        return made

    def missed(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(K,) how far from what is asked, in tolerances; infinite where it is unknown or a polarity is wrong."""
        total = np.square(self.judge.residual(values)).sum(1)
        return np.where(self.judge.allowed(values) & ~np.isnan(total), total, np.inf)

    def broken(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(K,) by how much what is held leaves its bounds at the most, in units of them; 0 where all is kept."""
        out = np.zeros(len(next(iter(values.values()))))
        for name, value in self.held.items():
            over = np.abs(values[name] - value) / max(self.slack[name], 1e-12) - 1.0
            out = np.maximum(out, np.nan_to_num(over, nan=1e9))
        return out

    def order(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Candidates, the best first: those that keep what is held, and of them the one that misses least."""
        return np.lexsort((self.missed(values), self.broken(values)))

    def step(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(D,) move from a latent with the values (1,): along the normals, by what their calibration says."""
        wanted = {name: target.value for name, target in self.targets.items()} | self.held
        rows, lengths = [], []
        for name, value in wanted.items():
            now, target = float(values[name][0]), self.targets.get(name)
            kept = target is not None and {"<=": now <= value, ">=": now >= value}.get(target.relation, False)
            if kept or np.isnan(now):
                continue
            k = self.directions.index(name)
            rows.append(self.directions.normals[k].astype(np.float64))
            lengths.append(float(np.diff(self.directions.position_for(name, np.array([now, value])))[0]))
        if not rows:
            return np.zeros(self.directions.latent_dim)
        normals = np.stack(rows)
        gram = normals @ normals.T + _RIDGE * np.eye(len(rows))
        move = normals.T @ np.linalg.solve(gram, np.array(lengths))
        return move * min(1.0, _LONGEST / max(float(np.linalg.norm(move)), 1e-12))

    def remember(self, z: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Of a drag, the places passed: the start, and the newest that keep what is held."""
        self.visited.append((z, values))
        if len(self.visited) > _REMEMBERED:
            del self.visited[1]

    def nearest(self) -> Visited:
        """Of the start and where the drag has visited, the place that is nearest to what is asked."""
        places = list(self.visited)
        together = {name: np.concatenate([values[name] for _, values in places]) for name in self.names}
        return places[int(np.argmin(self.missed(together)))]

    def direct(self) -> np.ndarray:
        """(D,) the best of a calibrated step from the nearest place known and its corrections."""
        z, values = self.nearest()
        # a step that misses by more than where it began is not taken
        tried: list[np.ndarray] = [z]
        seen: list[Mapping[str, np.ndarray]] = [values]
        for _ in range(2):
            z = self.clamped(z + self.step(values))[0]
            values = self.values(z)
            tried.append(z)
            seen.append(values)
            if self.broken(values)[0] == 0:
                self.remember(z, values)
            if self.missed(values)[0] < 0.05 and self.broken(values)[0] == 0:
                break
        together = {name: np.concatenate([v[name] for v in seen]) for name in self.names}
        return tried[int(self.order(together)[0])]

    def local(self, gradients: MutableMapping[str, np.ndarray]) -> np.ndarray:
        """(D,) a few Gauss-Newton steps from the start by the gradients there, what is held among the residuals."""
        search = Search(self.model, self.targets, tuple(self.held))
        held = np.array([list(self.held.values())], dtype=np.float64).reshape(1, len(self.held))
        z, _, _ = search.refine(
            torch.from_numpy(self.start[None].copy()), 1, held, gradients=gradients, rounds=_LOCAL_ROUNDS
        )
        return z[0].numpy()

    def solved(self, exact: bool, gradients: MutableMapping[str, np.ndarray] | None) -> np.ndarray:
        """(D,) the best of a direct step and, where `exact`, of what `generate` finds from there and from the start."""
        ends = [self.direct() if gradients is None else self.local(gradients)]
        if exact:
            # from both: the direct step may have left the valley in which the solution lies
            for origin in (ends[0], self.start):
                found = generate(self.model, self.targets, 1, self.held, start=origin)[0]
                ends.insert(0, found.z)
                if found.verdict == "met" and self.broken(self.values(found.z))[0] == 0:
                    break
            ends = [ends[k] for k in self.order(self.values(np.stack(ends)))]
        return self.kept(ends)

    def kept(self, ends: Sequence[np.ndarray]) -> np.ndarray:
        """(D,) of the latents in `ends` and those on the way to them, the best that keeps what is held.

        The start is among them: where nothing else does, nothing moves.
        """
        if not self.held:
            return ends[0]
        first = self.values(ends[0])
        if self.broken(first)[0] == 0:
            return ends[0]
        way = [self.start + share * (end - self.start) for end in ends for share in _PLACES]
        places = np.concatenate([self.clamped(np.stack(way)), self.start[None]])
        return places[int(self.order(self.values(places))[0])]


def steer(
    model: Model,
    z: ArrayLike,
    asked: Mapping[str, float | Target] | None = None,
    hold: Mapping[str, float] | Sequence[str] | str = (),
    *,
    exact: bool = True,
    pictures: MutableMapping[bytes, torch.Tensor] | None = None,
    visited: MutableSequence[Visited] | None = None,
    gradients: MutableMapping[str, np.ndarray] | None = None,
) -> Answer:
    """Change one patch: what is asked as nearly as it can be had while what is held stays.

    Parameters
    ----------
    model
        With generator, preset and directions.
    z
        (D,) latent of the patch to change.
    asked
        Parameter to number (as `generate` takes it), quantity, text such as ``"2e22 Mx"`` or `Target`;
        nothing asked gives the patch as it is.
    hold
        Parameters to keep at the value they have in `z`, or parameter to the value to keep, which may have been taken
        from an earlier patch so that drift does not add up. They move by at most `HOLD_SLACK` of their spread or
        `HOLD_SHARE` of their value, whichever is more, if they are within that at the start; rather than move them
        further, the change is made smaller.
    exact
        False: a calibrated step along the directions, corrected once, in a few milliseconds. True: what `generate`
        finds from there, if it is better; of an inverted patch with local noise first what moves with its detail
        (`lead_with_detail`).
    pictures
        Where patches made are kept and looked for, by the bytes of their latent; of one generator only. Many steps
        from one start then cost a patch less each. The caller bounds it.
    visited
        Places that a drag has passed: at first an empty list, kept by the caller as long as `z`, `hold` and the names
        in `asked` stay the same. Each step then begins at the nearest place, and mostly costs one patch.
    gradients
        Of parameters with respect to the latent vector, (D,) each, at `z`: at first an empty dict, kept by the caller
        as long as `z` stays the same, filled here. With them the direct step is solved for from the gradients at `z`
        instead of the calibration, which many held values need; it costs four patches, the first six more.

    Returns
    -------
    Answer
        `verdict` is ``"met"`` by the rule of `generate`.

    Raises
    ------
    OutOfReach, UnknownParameter, NoDirection, SteeringError
        When what is asked lies beyond reach or is not understood.
    """
    directions = directions_of(model)
    targets = _targets(asked or {}, directions)
    names = held_names(hold, targets, directions)
    check_reach(targets, directions, model.name)
    start = as_latents(z, directions.latent_dim)[0]
    change = _Change(model, start, targets, names, pictures, visited)
    here = change.visited[0][1] if change.visited else change.values(start)
    given = {n: float(hold[n]) for n in names} if isinstance(hold, Mapping) else {n: float(here[n][0]) for n in names}
    unknown = [name for name, value in given.items() if not np.isfinite(value)]
    if unknown:
        raise SteeringError(f"{unknown[0]} is unknown for this patch and cannot be held; release it")
    change.hold(given)
    if not change.visited:
        change.remember(start, here)

    best, detail = start, detail_of(model)
    led = lead_with_detail(model, start, _wanted(change, here)) if exact and targets else None
    led_to = {} if led is None else measure_native(model, led.x, change.names)
    there = led is not None and change.judge.met(_one(led_to)) and change.broken(led_to)[0] == 0
    if targets and not there:
        best = change.solved(exact, gradients)
    x = change.picture(best)
    if led is not None and (there or _is_better(change, led_to, change.values(best))):
        best, x, detail = led.z, led.x, (led.offsets, led.noise)
    answer = answers_of(model, torch.from_numpy(best[None]), targets, directions.names, x)[0]
    offsets, noise = (None, None) if detail is None else detail
    return replace(answer, held=given, offsets=offsets, noise=noise)


def _targets(asked: Mapping[str, float | Target], directions: Directions) -> dict[str, Target]:
    """What is asked for as targets; an error for what has no direction of its own."""
    targets = {name: as_target(name, value, directions) for name, value in asked.items()}
    derived = sorted(set(targets) & set(DERIVED) - set(directions.names))
    if derived:
        raise SteeringError(f"{derived[0]} has no direction of its own to follow; ask `generate` for it")
    return targets


def _one(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in values.items()}


def _wanted(change: _Change, here: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Parameter to the value that it shall have; a limit that is kept at the start leaves the value of the start."""
    out = dict(change.held)
    for name, target in change.targets.items():
        now = float(here[name][0])
        kept = {"<=": now <= target.value, ">=": now >= target.value}.get(target.relation, False)
        out[name] = now if kept else target.value
    return out


def _is_better(change: _Change, led: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    both = {name: np.concatenate([led[name], other[name]]) for name in change.names}
    return int(change.order(both)[0]) == 0
