"""Patches with given properties: the nearest of a look-up table, refined on what is measured until it is met.

The paper shifts a latent along a direction and looks at what comes out; here the step is solved for, with the value
measured on the generated patch as the judge, so that a number asked for is a number delivered, or an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..aliases import Document
from .editing import directions_of
from .generated import Generated, Origin, Shown
from .judge import Judge, OutOfReach, check_conflicts, check_reach, nearest_reachable, reach
from .latents import SteeringError, as_latents, render
from .native_scale import measure_both
from .solving import GOOD_ENOUGH, SPARE, Search
from .vocabulary import Target, as_target, measured_names, parse_description, with_derived

if TYPE_CHECKING:
    from ..protocols import Model
    from .directions import Directions

__all__ = [
    "Answer", "OutOfReach", "Target", "answers_of", "generate", "held_names", "parse_description", "reach",
]  # fmt: skip

#: starts for each answer wanted, and how many near latents each is drawn from
_STARTS = 3
_DRAWN_FROM = 1.5
#: cost up to which answers are equally good, and the least alike of them are chosen
_CLOSE = 3 * GOOD_ENOUGH
#: relative difference from the table up to which a patch is the one that the table was measured on
_SAME = 0.03


@dataclass(frozen=True)
class Answer(Generated):
    """One patch for what was asked.

    Attributes
    ----------
    z
        (D,) float32.
    x
        (H, W) float32 in preset units.
    requested
        Name to the number asked for (a limit where `targets` says so).
    measured
        Everything measured on `x`: all parameters that have a direction, and derived quantities asked for. Of a
        calibrated model these are estimates at native scale, as all other numbers here.
    verdict
        ``"met"``: every number within 10 %, or within 5 percentile points of the generated population; every limit
        kept. ``"nearest"``: the closest that was found.
    z_norm
        Length of `z`; the prior's is about sqrt(D).
    held
        Held parameters: name to the value at the start.
    targets
        What was asked, with relations and words.
    grid
        Parameters as they are on the model's grid; `native_quantities(model, answer.grid)` has the bands.
    origin
        The model that made it; None where that is not known.
    label
        Of `class_examples`: 1 on the side of the class, 0 on the other; None where no class was asked for.
    offsets, noise
        Detail that goes with `z`, of a model that carries some (`with_layerwise`); None otherwise.
    """

    z: np.ndarray
    x: np.ndarray
    requested: dict[str, float]
    measured: dict[str, float]
    verdict: str
    z_norm: float
    held: dict[str, float]
    targets: dict[str, Target]
    grid: dict[str, float] = field(default_factory=dict)
    origin: Origin | None = field(default=None, repr=False, compare=False)
    label: int | None = None
    offsets: np.ndarray | None = field(default=None, repr=False, compare=False)
    noise: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def prior_percentile(self) -> float:
        """Where the length of `z` lies among those that the prior gives, 0 to 100: far from both ends is near it."""
        # the square of the length is chi-squared
        at = torch.tensor([len(self.z) / 2.0, self.z_norm**2 / 2.0], dtype=torch.float64)
        return 100.0 * float(torch.special.gammainc(*at))

    def _truth(self) -> Document:
        return {} if self.label is None else {"label": self.label}

    def _facts(self) -> dict[str, str]:
        asked = {f"{name} requested": value for name, value in self._values(self.requested).items()}
        got = {f"{name} measured": value for name, value in self._values(self.measured).items()}
        shown = [f"{name} {which}" for name in self.requested for which in ("requested", "measured")]
        both = {**asked, **got}
        return {"verdict": self.verdict, **({name: both[name] for name in shown} or got)}


def _starts(search: Search, number: int, seed: int) -> tuple[torch.Tensor, dict[str, np.ndarray] | None]:
    """At most `number` of the latents of the look-up table close to what is asked, drawn by the seed.

    Returns
    -------
    (K, D), and the parameters (K,) that the table has of them; None where the generator is not that of the table, as
    one that carries the detail of a patch is not: the first of them measures something else.
    """
    table = search.directions.table
    values = with_derived(table.values, search.names)
    asked = search.judge.residual(values)
    # tails of a few tolerances and of hundreds should not differ: far is far
    distance = np.log1p(np.abs(asked)).sum(1)
    distance = np.where(search.judge.allowed(values) & ~np.isnan(distance), distance, np.inf)
    pool = np.argsort(distance, kind="stable")[: round(_DRAWN_FROM * number)]
    pool = pool[np.isfinite(distance[pool])]
    if len(pool) == 0:
        everything = {**search.judge.hard, **search.judge.soft}
        names = ", ".join(f"{name} {t.relation} {t.value:.4g}" for name, t in everything.items())
        raise OutOfReach(
            f"no patch of model {search.model.name!r} comes near {names}; ask for less at once, or train a generator "
            "on such regions"
        )
    rows = np.random.default_rng(seed).permutation(pool)[:number]
    z, known = torch.from_numpy(table.z[rows].copy()), {name: table.values[name][rows] for name in search.measured}
    first = search.values(z[:1])
    same = all(np.allclose(first[name], known[name][:1], _SAME, equal_nan=True) for name in known)
    return z, {**known, **with_derived(known, search.names)} if same else None


def _pick(z: np.ndarray, cost: np.ndarray, met: np.ndarray, n: int) -> list[int]:
    """Indices of n answers: one that is close, then the least alike of those that are, then the others, best first.

    Among the close ones the order of the starts counts, which the seed drew: by cost a patch of the table that is all
    that is asked would be the answer to every seed.
    """
    grade = np.where(cost <= _CLOSE, 0, np.where(met, 1, 2))
    order = [int(k) for k in np.lexsort((np.where(grade == 0, 0.0, cost), grade)) if np.isfinite(cost[k])]
    unit = z / np.linalg.norm(z, axis=1, keepdims=True).clip(1e-12)
    chosen = order[:1]
    while len(chosen) < min(n, len(order)):
        rest = [k for k in order if k not in chosen]
        same = [k for k in rest if grade[k] == grade[rest[0]]]
        if grade[rest[0]] == 0:
            chosen.append(min(same, key=lambda k: float((unit[k] @ unit[chosen].T).max())))
        else:
            chosen.append(rest[0])
    return chosen


def generate(
    model: Model,
    asked: Mapping[str, float | Target] | str,
    n: int = 1,
    hold: Mapping[str, float] | Sequence[str] | str = (),
    seed: int = 0,
    *,
    start: ArrayLike | None = None,
    nearest: bool = False,
) -> list[Answer]:
    """Patches with the properties asked for.

    Parameters
    ----------
    model
        With generator, preset and directions.
    asked
        Parameter to number, astropy quantity or `Target`; or a description in words. Numbers are in Mx and Mm at native
        scale, of a calibrated model; on its grid, where it is not calibrated; in gauss and pixels where its preset has
        no scale.
    n
        How many different patches.
    hold
        Parameters to keep at the value they have in the start; with a `start`, also parameter to the value to keep.
    seed
        Which of the near latents to start from; the same seed gives the same answers.
    start
        (D,) latent of a patch to change, instead of a search through the look-up table.
    nearest
        Of a number outside what the generator reaches, take the nearest that it does reach instead of an error; the
        answer still says what was asked, and its verdict is ``"nearest"``.

    Returns
    -------
    At most `n` answers, those that meet what was asked first. Which polarity leads is never compromised on.

    Raises
    ------
    OutOfReach
        When a number lies outside what the generator reaches, with the range that it does; when numbers contradict
        each other whatever the patch.
    UnknownParameter, NoDirection, UnknownWord, SteeringError
        When what is asked is not understood.
    """
    if n < 1:
        raise SteeringError(f"n must be at least 1, got {n}")
    directions = directions_of(model)
    targets, held = _understood(asked, hold, directions)
    check_conflicts(targets)
    if nearest:
        aims = {name: _reachable(target, directions) for name, target in targets.items()}
    else:
        aims = targets
        check_reach(targets, directions, model.name)
    search = Search(model, aims, held)
    if start is None:
        starts, known = _starts(search, _STARTS * (n + SPARE), seed)
        z, cost, start_values = search.refine(starts, n, rough=True, known=known)
    else:
        one = torch.from_numpy(as_latents(start, directions.latent_dim)[:1].copy())
        z0, before = search.across(one)
        if isinstance(hold, Mapping):
            before = np.tile([float(hold[name]) for name in held], (len(z0), 1))
        z, cost, start_values = search.refine(z0, n, before)
    if not np.isfinite(cost).any():
        wrong = ", ".join(f"{name} = {t.value:g}" for name, t in search.judge.hard.items()) or "what was asked"
        raise OutOfReach(
            f"model {model.name!r} found no patch with {wrong} from this start; start from another patch, or leave "
            "the start out"
        )
    judge = Judge(targets, directions)
    met = np.array([judge.met({name: v[k] for name, v in search.found.items()}) for k in range(len(z))])
    chosen = _pick(z.numpy(), cost, met, n)
    answers = answers_of(search.model, z[chosen], targets, list(dict.fromkeys([*directions.names, *search.names])))
    return Shown(
        replace(answer, held={name: float(start_values[k, j]) for j, name in enumerate(held)})
        for k, answer in zip(chosen, answers, strict=True)
    )


def _understood(
    asked: Mapping[str, float | Target] | str, hold: Mapping[str, float] | Sequence[str] | str, directions: Directions
) -> tuple[dict[str, Target], tuple[str, ...]]:
    """What is asked for as targets, and the names of what is held."""
    if isinstance(asked, str):
        asked = parse_description(asked, directions)
    if not asked:
        raise SteeringError("nothing is asked for; give at least one parameter")
    targets = {name: as_target(name, value, directions) for name, value in asked.items()}
    return targets, held_names(hold, targets, directions)


def held_names(
    hold: Mapping[str, float] | Sequence[str] | str, targets: Mapping[str, Target], directions: Directions
) -> tuple[str, ...]:
    """Names of the parameters to hold; an error where one has no direction, or is asked for too."""
    names = (hold,) if isinstance(hold, str) else tuple(hold)
    for name in names:
        if name in targets:
            raise SteeringError(f"{name!r} is both asked for and held; leave one out")
        directions.index(name)
    return names


def _reachable(target: Target, directions: Directions) -> Target:
    """The target, or where it lies out of reach the nearest value that does not."""
    value = nearest_reachable(target, directions)
    return target if value is None else Target(target.name, value, "=", target.word)


def answers_of(
    model: Model, z: torch.Tensor, targets: Mapping[str, Target], names: Sequence[str], x: torch.Tensor | None = None
) -> list[Answer]:
    """Latents (N, D) as answers, with the parameters `names`; `x` are their patches (N, H, W) where they are known."""
    x = render(model.generator, z, model.preset.shape)[:, 0] if x is None else x
    grid, native = measured_both(model, x, names)
    judge, origin = Judge(targets, directions_of(model)) if targets else None, Origin.of(model)
    answers = []
    for k, latent in enumerate(z.float().numpy()):
        measured = {name: float(values[k]) for name, values in native.items()}
        answers.append(
            Answer(
                z=latent.copy(),
                x=x[k].numpy().copy(),
                requested={name: target.value for name, target in targets.items()},
                measured=measured,
                verdict="met" if judge is None or judge.met(measured) else "nearest",
                z_norm=float(np.linalg.norm(latent)),
                held={},
                targets=dict(targets),
                grid={name: float(values[k]) for name, values in grid.items()},
                origin=origin,
            )
        )
    return answers


def measured_both(
    model: Model, x: ArrayLike, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters and derived quantities (N,) of patches (N, H, W): on the grid, and in the numbers of the model."""
    found, native = measure_both(model, x, measured_names(list(names)))
    return with_derived(found, list(names)), with_derived(native, list(names))
