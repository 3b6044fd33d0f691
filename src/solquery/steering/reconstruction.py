"""An observation into latent space with its physics: a guess at once, then the picture, then the parameters.

1. The model's inference network guesses a latent vector in one pass.
2. The *picture* is refined: unexplained shares of the power at several scales and of the compressed field, by L-BFGS on
   the latent vector and, where the generator has parts, on what each of them is told beside it (layerwise.py).
3. The *physics* joins in: soft versions of TUF, area, R and the separation vector, which holds PSEP, tilt and polarity.
4. Steps of sequential quadratic programming: what is measured by the definitions is made right to first order by the
   soft versions' slopes, with the change that costs the picture least by the curvature learned so far, until every
   parameter is that observed within half of its tolerance.

`invert` is the plain form: one latent vector closest in squared error, as in the paper.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..physics import measure_on_grid
from .editing import warn_if_far
from .inversion import Inversion, frozen, refuse_hopeless, targets_of
from .latents import SteeringWarning, as_latents, render
from .likeness import BLOCKS, MATCHED, Likeness, explained_by_scale, parameter_errors
from .minimise import BatchedLBFGS

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Reconstruction", "first_guess", "reconstruct", "reconstruct_in_steps"]

#: patches refined together
_PATCHES = 8
#: evaluations in which mostly the picture counts, and those in which the physics does too; most corrections after
_PICTURE, _PHYSICS, _CORRECTIONS = 30, 15, 8
#: weight of the physics beside the picture in the two stages
_EARLY, _WEIGHT = 0.1, 0.5
#: longest correction, and by how much it is shortened where it made things worse
_LONGEST, _SHORTER = 3.0, 0.35
#: what an evaluation with the slopes of all parameters costs, in plain ones
_SLOPES = 4
#: a parameter is as observed when its error is less than this share of its tolerance
_WELL = 0.5
#: share of the power of 4 x 4 block means (7.3 Mm) below which a region counts as one that the model cannot draw
LEAST_EXPLAINED = 0.5
#: and the tolerances by which a parameter may be off
MOST_OFF = 3.0
_REPORT_EVERY = 5
#: random latents that are looked through where a model has neither inference network nor look-up table
_SCREENED = 64


@dataclass(frozen=True)
class Reconstruction:
    """Where a refinement stands.

    Attributes
    ----------
    stage
        ``"first guess"``, ``"picture"``, ``"physics"`` or ``"done"``.
    done, total
        Evaluations of the generator so far, and at most.
    found
        One `Inversion` for each patch: the closest so far.
    """

    stage: str
    done: int
    total: int
    found: list[Inversion]


class _Refinement:
    """Some patches refined together."""

    def __init__(self, model: Model, target: Tensor, prior: float, apart: float, layerwise: bool) -> None:
        self.model, self.target, self.prior, self.apart = model, target, prior, apart
        self.dim = int(model.generator.latent_dim)
        self.parts = int(getattr(model.generator, "parts", 0)) if layerwise else 0
        self.likeness = Likeness(model.preset, target)
        self.slopes = torch.zeros(0)

    def latents(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """(K, D) latents, and what each part is told beside them (K, parts, D)."""
        return v[:, : self.dim], v[:, self.dim :].view(len(v), self.parts, self.dim) if self.parts else None

    def objective(self, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, gradients and patches: likeness, length of the latent vector, distance of the parts from it."""
        with torch.enable_grad():
            v = v.detach().requires_grad_(True)
            z, offsets = self.latents(v)
            made = self.model.generator(z if offsets is None else z[:, None] + offsets)[:, 0]
            loss = self._loss(made, rows, z, offsets)
            (gradient,) = torch.autograd.grad(loss.sum(), v)
        return loss.detach(), gradient, made.detach()

    def objective_with_slopes(self, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same; the slopes (K, 5, D) of the soft errors are left in `slopes`."""
        with torch.enable_grad():
            v = v.detach().requires_grad_(True)
            z, offsets = self.latents(v)
            made = self.model.generator(z if offsets is None else z[:, None] + offsets)[:, 0]
            columns = self.likeness.soft_errors(made, rows)
            slopes = [torch.autograd.grad(column.sum(), v, retain_graph=True)[0] for column in columns.unbind(1)]
            loss = self._loss(made, rows, z, offsets)
            (gradient,) = torch.autograd.grad(loss.sum(), v)
        self.slopes = torch.nan_to_num(torch.stack(slopes, 1))
        return loss.detach(), gradient, made.detach()

    def _loss(self, made: Tensor, rows: Tensor, z: Tensor, offsets: Tensor | None) -> Tensor:
        loss = self.likeness(made, rows)
        if self.prior:
            loss = loss + self.prior * (z.norm(dim=1) / math.sqrt(self.dim) - 1.0).square()
        if offsets is not None:
            loss = loss + self.apart * offsets.square().mean((1, 2))
        return loss

    def start(self, z: Tensor) -> Tensor:
        """(N, variables) of latents (N, D), the parts told the same."""
        return torch.cat([z, torch.zeros(len(z), self.parts * self.dim, device=z.device)], 1)


def _candidates(model: Model, target: Tensor, starts: int, seed: int, guesses: Tensor | None) -> Tensor:
    """(N, K, D) latents to start from: the guess, those of the look-up table that measure alike, and given ones."""
    n, dim = len(target), int(model.generator.latent_dim)
    found = []
    inference = getattr(model, "inference", None)
    if inference is not None:
        found.append(inference.guess(target)[:, None])
    directions = getattr(model, "directions", None)
    more = starts - len(found)
    if directions is not None and len(directions.table) and more > 0:
        found.append(_alike(model, target, more))
    elif more > 0:
        pool = torch.randn(max(more, _SCREENED), dim, generator=torch.Generator().manual_seed(seed))
        found.append(pool.expand(n, *pool.shape))
    if guesses is not None:
        found.append(guesses.expand(n, *guesses.shape))
    return torch.cat(found, 1)


def _alike(model: Model, target: Tensor, number: int) -> Tensor:
    """(N, number, D) latents of the look-up table whose parameters are nearest to those of the patches."""
    directions: Any = model.directions
    names = [name for name in MATCHED if name in directions.table.values]
    observed = measure_on_grid(target, model.preset, names)
    distance = np.zeros((len(target), len(directions.table)))
    for name in names:
        a, b = observed[name].double().numpy()[:, None], directions.table.values[name][None]
        if name == "polarity":
            gap = 2.0 * np.abs(a - b)
        elif name == "tilt":
            gap = np.abs((a - b + 90.0) % 180.0 - 90.0) / 45.0
        else:
            small = 0.02 * max(float(np.nanmedian(directions.table.values[name])), 1e-12)
            gap = np.abs(np.log((np.abs(a) + small) / (np.abs(b) + small)))
        distance += np.nan_to_num(gap, nan=1.0)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :number]
    return torch.from_numpy(directions.table.z[nearest].astype(np.float32))


def _best_start(refinement: _Refinement, candidates: Tensor) -> Tensor:
    """(N, D): of each patch's candidates (N, K, D) the one whose patch is closest."""
    n, number, _ = candidates.shape
    if number == 1:
        return candidates[:, 0]
    likeness, shape = refinement.likeness, refinement.model.preset.shape
    rows = torch.arange(n).repeat_interleave(number)
    with torch.no_grad():
        made = render(refinement.model.generator, candidates.flatten(0, 1), shape)[:, 0].to(refinement.target)
        loss = likeness.picture(made, rows) + 0.3 * likeness.physics(made, rows)
    return candidates[torch.arange(n), loss.view(n, number).argmin(1).cpu()]


def _described(
    refinement: _Refinement, v: Tensor, made: Tensor, first_mse: np.ndarray, judged: bool = True
) -> list[Inversion]:
    """The inversions that variables (N, …) and their patches (N, H, W) stand for."""
    model, target = refinement.model, refinement.target
    z, offsets = refinement.latents(v)
    directions = getattr(model, "directions", None)
    names = list(dict.fromkeys([*MATCHED, *(directions.names if directions is not None else ())]))
    told = [{k: w.double().numpy() for k, w in measure_on_grid(x, model.preset, names).items()} for x in (target, made)]
    explained = explained_by_scale(target, made).cpu().numpy()
    mse = (made - target).square().mean((1, 2)).cpu().numpy()
    out = []
    for k in range(len(v)):
        rows = [{name: float(values[k]) for name, values in one.items()} for one in told]
        verdict, reason = _verdict(explained[k], *rows, scale=model.preset.scale_mm) if judged else ("", "")
        latent = z[k].cpu().numpy().copy()
        out.append(
            Inversion(
                z=latent,
                mse=float(mse[k]),
                z_norm=float(np.linalg.norm(latent)),
                x=made[k].cpu().numpy().copy(),
                start_mse=first_mse[k : k + 1],
                unexplained=1.0 - float(explained[k, 0]),
                offsets=None if offsets is None else offsets[k].cpu().numpy().copy(),
                observed=rows[0],
                reconstructed=rows[1],
                explained=dict(zip(BLOCKS, map(float, explained[k]), strict=True)),
                verdict=verdict,
                reason=reason,
            )
        )
    return out


def _verdict(explained: np.ndarray, observed: Any, made: Any, scale: tuple[float, float] | None) -> tuple[str, str]:
    """Whether a region is drawn, and if not why not."""
    side = 4
    share = float(explained[BLOCKS.index(side)])
    if share < LEAST_EXPLAINED:
        size = f"{side} × {side} pixels" if scale is None else f"{side * scale[1]:.1f} Mm"
        return (
            "cannot draw",
            f"the closest patch explains {max(share, 0.0):.0%} of the power at {size}, less than {LEAST_EXPLAINED:.0%}",
        )
    errors = {name: float(error) for name, error in parameter_errors(observed, made).items()}
    worst = max((name for name in errors if not math.isnan(errors[name])), key=errors.__getitem__, default=None)
    if worst is not None and errors[worst] > MOST_OFF:
        return "cannot draw", f"{worst} cannot be led to what is observed while the picture stays close"
    return "drawn", ""


def _off(refinement: _Refinement, made: Tensor, rows: Tensor) -> Tensor:
    """(K,) largest error of a parameter in units of its tolerance, of those that the observed patch has."""
    observed = {k: v[rows.cpu()] for k, v in refinement.likeness.observed.items()}
    errors = torch.stack(list(parameter_errors(observed, refinement.likeness.measured(made)).values()), 1)
    undefined = torch.stack([torch.isnan(observed[name]) for name in (*MATCHED,)], 1)
    return torch.where(undefined, 0.0, torch.nan_to_num(errors, nan=math.inf)).amax(1)


def _refine(refinement: _Refinement, z: Tensor, evaluations: int, match: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Stage, variables and patches after every few evaluations; the last are the answer."""
    refinement.likeness.weight = _EARLY if match else 0.0
    search = BatchedLBFGS(refinement.objective, refinement.start(z))
    first = round(evaluations * _PICTURE / (_PICTURE + _PHYSICS)) if match else evaluations
    while search.evaluations < evaluations:
        if search.evaluations == first and match:
            refinement.likeness.weight = _WEIGHT
            search.refresh()
        search.step()
        if search.evaluations % _REPORT_EVERY == 0:
            yield ("picture" if search.evaluations <= first else "physics"), search.v, search.x
    if match:
        yield from _corrections(refinement, search)
    else:
        yield "picture", search.v, search.x


def _corrections(refinement: _Refinement, search: BatchedLBFGS) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Lead the parameters to those observed, by the changes that cost the picture least."""
    likeness = refinement.likeness
    everything = torch.arange(len(search.v), device=search.v.device)
    off = _off(refinement, search.x, everything).to(search.v)
    search.objective, likeness.weight = refinement.objective_with_slopes, 0.0
    search.keep(everything[off > _WELL])
    share, slopes = torch.ones_like(off), torch.zeros(0)
    for turn in range(_CORRECTIONS):
        rows = search.active
        if len(rows) == 0:
            return
        if turn == 0:
            search.refresh()
            slopes = torch.zeros(len(everything), *refinement.slopes.shape[1:], device=search.v.device)
            slopes[rows] = refinement.slopes
        step = share[rows, None] * _correction(search, slopes[rows], likeness.errors(search.x[rows], rows))
        step *= (_LONGEST / step.norm(dim=1).clamp(min=_LONGEST))[:, None]
        there = off[rows]

        def nearer(_: Tensor, x: Tensor, rows: Tensor = rows, there: Tensor = there) -> Tensor:
            there.copy_(_off(refinement, x, rows))
            return there < off[rows]

        taken = search.attempt(step, nearer)
        slopes[rows[taken]], off[rows[taken]] = refinement.slopes[taken], there[taken]
        share[rows] = torch.where(taken, 1.0, _SHORTER * share[rows])
        yield "physics", search.v, search.x
        search.keep(rows[off[rows] > _WELL])


def _correction(search: BatchedLBFGS, slopes: Tensor, errors: Tensor) -> Tensor:
    """(K, D) steps that undo errors (K, 5) by their slopes (K, 5, D) and lower the loss otherwise.

    The least of gradient · s + s · B s / 2 with slopes s + errors = 0, B the curvature (Nocedal & Wright 2006, ch. 18).
    """
    flat = -search.product(search.gradient[search.active])
    turned = torch.stack([search.product(column) for column in slopes.unbind(1)], 1)
    gram = slopes @ turned.transpose(1, 2)
    size = gram.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-12)
    gram = gram + 1e-3 * size[:, None, None] * torch.eye(gram.shape[1], device=gram.device)
    missing = errors + (slopes @ flat[:, :, None])[:, :, 0]
    return flat - (turned.transpose(1, 2) @ torch.linalg.solve(gram, missing)[:, :, None])[:, :, 0]


def _rounded(refinement: _Refinement, v: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of the parts to half precision, as they travel in a link, and the patches that they make then."""
    z, offsets = refinement.latents(v)
    if offsets is None:
        return v, refinement.model.generator(z)[:, 0]
    offsets = offsets.half().float()
    return torch.cat([z, offsets.flatten(1)], 1), refinement.model.generator(z[:, None] + offsets)[:, 0]


def _total(evaluations: int, match: bool) -> int:
    return evaluations + (_SLOPES * _CORRECTIONS if match else 0)


def first_guess(model: Model, x: Any) -> list[Inversion]:
    """What the model's inference network makes of patches, in one pass: a start, to look at while `reconstruct` works.

    Parameters
    ----------
    model
        With generator and preset. Without an inference network, the patch of the look-up table that measures alike.
    x
        (H, W) or (N, H, W) in preset units; NaN pixels count as 0.

    Returns
    -------
    One `Inversion` per patch, without a verdict.

    Raises
    ------
    SteeringError
        As `reconstruct`.
    """
    target = targets_of(x, model.preset.shape)
    refuse_hopeless(target)
    with frozen(model.generator), torch.no_grad():
        refinement = _Refinement(model, target, 0.0, 0.0, layerwise=False)
        z = _candidates(model, target, 1, 0, None)[:, 0]
        made = render(model.generator, z, model.preset.shape)[:, 0]
        mse = (made - target).square().mean((1, 2)).numpy()
        return _described(refinement, z, made, mse, judged=False)


def reconstruct_in_steps(
    model: Model,
    x: Any,
    *,
    starts: int = 4,
    evaluations: int = _PICTURE + _PHYSICS,
    seed: int = 0,
    guesses: Any = None,
    prior: float = 0.5,
    layerwise: bool = True,
    apart: float = 0.05,
    match: bool = True,
) -> Iterator[Reconstruction]:
    """`reconstruct`, one state after the other: the first within one pass of the networks, the last is the answer.

    Leaving the loop gives up; nothing goes on. Parameters and errors are those of `reconstruct`.
    """
    if starts < 1 or evaluations < 2:
        raise ValueError(f"starts must be at least 1 and evaluations at least 2, got {starts} and {evaluations}")
    if prior < 0 or apart < 0:
        raise ValueError(f"prior and apart must not be negative, got {prior} and {apart}")
    target = targets_of(x, model.preset.shape)
    refuse_hopeless(target)
    given = None if guesses is None else torch.from_numpy(as_latents(guesses, int(model.generator.latent_dim)))
    found = first_guess(model, target)
    groups = list(zip(range(0, len(target), _PATCHES), target.split(_PATCHES), strict=True))
    each = _total(evaluations, match)
    total = each * len(groups)
    yield Reconstruction("first guess", 0, total, list(found))
    for k, (first, part) in enumerate(groups):
        with frozen(model.generator) as device:
            refinement = _Refinement(model, part.to(device), prior, apart, layerwise)
            z = _best_start(refinement, _candidates(model, part, starts, seed, given)).to(device)
            first_mse = np.array([one.mse for one in found[first : first + len(part)]], np.float32)
            done, v = k * each, refinement.start(z)
            for number, (stage, v, made) in enumerate(_refine(refinement, z, evaluations, match), 1):
                done = k * each + min(number * _REPORT_EVERY, each - 1)
                found[first : first + len(part)] = _described(refinement, v, made, first_mse, judged=False)
                yield Reconstruction(stage, done, total, list(found))
            with torch.no_grad():
                v, made = _rounded(refinement, v)
            found[first : first + len(part)] = _described(refinement, v, made, first_mse)
    yield Reconstruction("done", total, total, list(found))


def reconstruct(
    model: Model,
    x: Any,
    *,
    progress: Callable[[Reconstruction], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    **options: Any,
) -> list[Inversion]:
    """Latent vectors whose patches look like the given ones and have their physical parameters.

    Parameters
    ----------
    model
        With generator and preset; an inference network and directions help.
    x
        (H, W) or (N, H, W) in preset units; NaN pixels count as 0.
    progress
        Called with every state.
    cancel
        Asked after every state; True gives up, and the closest so far is the answer.
    starts
        Latents among which the start is chosen: the guess of the inference network, and others that measure alike.
    evaluations
        Of the generator for the picture and the physics together; the rounds of corrections come on top.
    seed
        Of the random latents that a model without inference network and look-up table starts from.
    guesses
        (M, D) latents to choose the start from as well.
    prior
        Weight of (|z| / sqrt(D) - 1)^2; 0 leaves z free.
    layerwise
        Tell each part of a generator that has parts something of its own.
    apart
        Weight of the mean square of those differences.
    match
        Lead TUF, PSEP, R, tilt, polarity and area to those observed; False: the picture alone.

    Returns
    -------
    One `Inversion` per patch, with `observed`, `reconstructed`, `explained` and `verdict`.

    Warns
    -----
    SteeringWarning
        When a latent vector ends far from the prior, or the model cannot draw a patch.

    Raises
    ------
    SteeringError
        When a patch has another shape than the preset's, no valid pixel, or no field.

    Examples
    --------
    >>> import warnings
    >>> from solquery import Model, prepare, sample_patches
    >>> from solquery.steering import reconstruct
    >>> model = Model.load()
    >>> x = prepare(sample_patches()[0], model.preset)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     found = reconstruct(model, x, evaluations=4)[0]
    >>> sorted(found.explained)
    [1, 2, 4, 8]
    """
    state = None
    for state in reconstruct_in_steps(model, x, **options):
        if progress is not None:
            progress(state)
        if cancel is not None and cancel():
            break
    assert state is not None
    if state.stage == "done":
        warn_if_far(np.stack([one.z for one in state.found]), "the latent vector found")
        _warn_if_not_drawn(state.found)
    return state.found


def _warn_if_not_drawn(found: Sequence[Inversion]) -> None:
    not_drawn = [one for one in found if one.verdict == "cannot draw"]
    if not_drawn:
        which = "this region" if len(found) == 1 else f"{len(not_drawn)} of {len(found)} regions"
        warnings.warn(
            f"the model cannot draw {which}: {not_drawn[0].reason}; do not rely on the reconstruction",
            SteeringWarning,
            stacklevel=3,
        )
