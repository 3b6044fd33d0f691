"""Patches refined together: where to start, the picture, then the parameters by steps that cost the picture least."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..generator.footprint import footprint_error, seen_sizes
from ..physics import measure_on_grid
from .carried import noise_of, with_detail
from .latent_text import round_noise
from .latents import in_use, prior_latents, render
from .minimise import BatchedLBFGS
from .reconstruction_loss import MATCHED, ReconstructionLoss, parameter_errors

if TYPE_CHECKING:
    from ..protocols import Model
    from .directions import Directions

__all__ = [
    "EVALUATIONS", "REPORT_EVERY", "Refinement", "best_start", "candidates", "lead", "most_evaluations", "refine",
    "rounded",
]  # fmt: skip

#: one step of the optimiser in local noise: what moves the whole picture when it is of the latent vector moves a pixel
#: or two of a coarse map when it is of the noise
_NOISE_SCALE = 10.0
#: added to the sensitivity of a generator to each direction, 1 in the mean, before steps are made alike in it
_DAMPING = 0.2
#: weight of the squared logarithm of how much larger or smaller the window is than what was observed: its edge is all
#: that the picture sees of it, so that the picture alone does not lead a small window to a large observation
_FOOTPRINT = 2.0
#: evaluations in which mostly the picture counts, and those in which the physics does too; most corrections after
_PICTURE, _PHYSICS, _CORRECTIONS = 52, 26, 8
EVALUATIONS = _PICTURE + _PHYSICS
#: weight of the physics beside the picture in the two stages
_EARLY, _WEIGHT = 0.0, 1.0
#: weights of the physics after that, with what the soft versions miss made up for; each for a sixth of the evaluations
_STRICTER, _HELD = (4.0, 16.0, 64.0), 1.0 / 6.0
#: longest correction, by how much it is shortened where it made things worse, and the share at which it is given up
_LONGEST, _SHORTER, _SMALLEST = 3.0, 0.35, 0.03
#: at every second correction the Jacobian is computed anew, which costs four evaluations; in between it is updated
_FRESH = 2
#: a parameter is as observed when its error is less than this share of its tolerance
_WELL = 0.5
#: distance of the picture beyond which a second start is tried
_POOR = 0.6
#: most that the distance of the picture may rise while the parameters are led to those observed
_PAID = 0.2
#: error that stands for the wrong polarity, in tolerances
_WRONG = 100.0
#: weight of the physics when starts are compared
_AT_START = 0.1
#: evaluations between two states; as many stand for a correction
REPORT_EVERY = 5
#: random latents that are looked through where a model has neither inference network nor look-up table
_SCREENED = 64


class Refinement:
    """Some patches refined together."""

    def __init__(self, model: Model, target: Tensor, prior: float, apart: float, layerwise: bool) -> None:
        self.model, self.target, self.prior, self.apart = in_use(model), target, prior, apart
        self.dim = int(model.generator.latent_dim)
        self.parts = int(getattr(model.generator, "parts", 0)) if layerwise else 0
        self.noise = noise_of(model.generator) if layerwise else 0
        self.distance = ReconstructionLoss(model.preset, target)
        self.window: nn.Module = getattr(model.generator, "window", None)
        self.sizes = seen_sizes(target)
        self.metric = _metric(model.generator, self.dim, target.device)
        self.inverse = torch.linalg.inv(self.metric)
        self.jacobian = torch.zeros(0)
        self._observed: dict[str, Tensor] = {}

    def observed(self, names: list[str]) -> dict[str, Tensor]:
        """Parameters (N,) of the observed patches, on the grid; measured once."""
        if not set(names) <= set(self._observed):
            self._observed = measure_on_grid(self.target.cpu(), self.model.preset, names)
        return {name: self._observed[name] for name in names}

    def latents(self, v: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(K, D) latents, what each part is told beside them (K, parts, D), and local noise (K, local_noise)."""
        z, offsets, noise = v.split([self.dim, self.parts * self.dim, self.noise], 1)
        return (
            z @ self.metric,
            offsets.view(len(v), self.parts, self.dim) @ self.metric if self.parts else None,
            _NOISE_SCALE * noise if self.noise else None,
        )

    def made(self, v: Tensor) -> Tensor:
        """(K, H, W) patches of variables."""
        return with_detail(self.model.generator, *self.latents(v))[:, 0]

    def objective(self, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (K,), gradients and patches: distance from the target, length of the latent vector, size of detail."""
        with torch.enable_grad():
            v = v.detach().requires_grad_(True)
            made = self.made(v)
            loss = self._loss(made, rows, v)
            (gradient,) = torch.autograd.grad(loss.sum(), v)
        return loss.detach(), gradient, made.detach()

    def objective_with_jacobian(self, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same; the Jacobian (K, 5, D) of the soft errors is left in `jacobian`."""
        with torch.enable_grad():
            v = v.detach().requires_grad_(True)
            made = self.made(v)
            columns = self.distance.soft_errors(made, rows)
            jacobian = [torch.autograd.grad(column.sum(), v, retain_graph=True)[0] for column in columns.unbind(1)]
            loss = self._loss(made, rows, v)
            (gradient,) = torch.autograd.grad(loss.sum(), v)
        self.jacobian = torch.nan_to_num(torch.stack(jacobian, 1))
        return loss.detach(), gradient, made.detach()

    def _loss(self, made: Tensor, rows: Tensor, v: Tensor) -> Tensor:
        z, *detail = self.latents(v)
        loss = self.distance(made, rows)
        if self.window is not None:
            first = z if detail[0] is None else z + detail[0][:, 0]
            loss = loss + _FOOTPRINT * self._footprint_error(first, rows)
        if self.prior:
            loss = loss + self.prior * (z.norm(dim=1) / math.sqrt(self.dim) - 1.0).square()
        for some in detail:
            if some is not None:
                loss = loss + self.apart * some.square().flatten(1).mean(1)
        return loss

    def _footprint_error(self, z: Tensor, rows: Tensor) -> Tensor:
        """(K,) of latents (K, D): squared errors of the logarithms of height and width."""
        seen, shape = self.sizes[rows], self.target.shape[1:]
        each = [
            footprint_error(*pair, shape) for pair in zip(self.window.sizes(z).split(1), seen.split(1), strict=True)
        ]
        return torch.stack(each)

    def variables(self, z: Tensor, offsets: Tensor | None, noise: Tensor | None) -> Tensor:
        """(N, variables) of what `latents` gives."""
        told = [z @ self.inverse]
        if offsets is not None:
            told.append((offsets @ self.inverse).flatten(1))
        if noise is not None:
            told.append(noise / _NOISE_SCALE)
        return torch.cat(told, 1)

    def start(self, z: Tensor) -> Tensor:
        """(N, variables) of latents (N, D), without detail."""
        detail = torch.zeros(len(z), self.parts * self.dim + self.noise, device=z.device)
        return torch.cat([z @ self.inverse, detail], 1)


def _metric(generator: nn.Module, dim: int, device: torch.device) -> Tensor:
    """(D, D) latents of variables: a step in each variable tells the generator as much as one in any other.

    The identity for a generator that does not tell its `sensitivity`. Where latents are whitened, directions differ by
    hundreds of times, and a minimiser that knows nothing of that spends its first evaluations on the largest.
    """
    sensitivity = getattr(generator, "sensitivity", None)
    if sensitivity is None:
        return torch.eye(dim, device=device)
    values, axes = torch.linalg.eigh(sensitivity() + _DAMPING * torch.eye(dim, dtype=torch.float64))
    metric = (axes * values.rsqrt()) @ axes.T
    return (metric / metric.square().sum().div(dim).sqrt()).to(device, torch.float32)


def candidates(model: Model, target: Tensor, starts: int, seed: int, guesses: Tensor | None) -> Tensor:
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
        pool = prior_latents(max(more, _SCREENED), dim, seed)
        found.append(pool.expand(n, *pool.shape))
    if guesses is not None:
        found.append(guesses.expand(n, *guesses.shape))
    return torch.cat(found, 1)


def _alike(model: Model, target: Tensor, number: int) -> Tensor:
    """(N, number, D) latents of the look-up table whose parameters are nearest to those of the patches."""
    directions: Directions = model.directions
    # what is measured on the patches is of the grid
    directions = getattr(directions, "on_grid", None) or directions
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


def best_start(refinement: Refinement, candidates: Tensor) -> Tensor:
    """(N, 1 or 2, D): of each patch's candidates (N, K, D) the one whose patch is closest, and the next."""
    n, number, _ = candidates.shape
    if number == 1:
        return candidates
    distance, shape = refinement.distance, refinement.model.preset.shape
    rows = torch.arange(n).repeat_interleave(number)
    with torch.no_grad():
        made = render(refinement.model.generator, candidates.flatten(0, 1), shape)[:, 0].to(refinement.target)
        loss = distance.picture(made, rows) + _AT_START * distance.physics(made, rows)
    best = loss.view(n, number).topk(2, dim=1, largest=False).indices.cpu()
    return candidates[torch.arange(n)[:, None], best]


def _off(refinement: Refinement, made: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(K,) each: squared errors of the parameters that the observed patches have, added up, and the largest error."""
    observed = {k: v[rows.cpu()] for k, v in refinement.distance.observed.items()}
    errors = torch.stack(list(parameter_errors(observed, refinement.distance.measured(made)).values()), 1)
    errors = torch.nan_to_num(errors, nan=0.0, posinf=_WRONG).clamp(max=_WRONG).to(made)
    return errors.square().sum(1), errors.amax(1)


def refine(refinement: Refinement, z: Tensor, evaluations: int, match: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Stage, variables and patches after every few evaluations from starts (N, 1 or 2, D); the last are the answer."""
    distance = refinement.distance
    distance.weight = _EARLY if match else 0.0
    search = BatchedLBFGS(refinement.objective, refinement.start(z[:, 0]))
    everything = torch.arange(len(search.v), device=search.v.device)
    first = round(evaluations * _PICTURE / (_PICTURE + _PHYSICS)) if match else evaluations
    picture = search.v, search.x
    while search.evaluations < evaluations:
        if search.evaluations == first and match:
            yield from _second_start(refinement, search, z, first)
            picture = search.v.clone(), search.x.clone()
            distance.weight = _WEIGHT
            search.refresh()
        search.step()
        if search.evaluations % REPORT_EVERY == 0:
            yield ("picture" if search.evaluations <= first else "physics"), search.v, search.x
    if not match:
        yield "picture", search.v, search.x
        return
    with torch.no_grad():
        allowed = distance.picture(picture[1], everything) + _PAID
    yield from _stricter(refinement, search, round(_HELD * evaluations), allowed)
    with torch.no_grad():
        dear = distance.picture(search.x, everything) > allowed
    # where the parameters cost the picture, it comes first
    search.v[dear], search.x[dear] = picture[0][dear], picture[1][dear]
    yield from _corrections(refinement, search, allowed)


def _stricter(
    refinement: Refinement, search: BatchedLBFGS, evaluations: int, allowed: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Go on with more and more weight on the physics, its soft versions set right by what is measured before each.

    A patch leaves when its parameters are those observed, or when no step of a weight lowered its loss; it ends where
    its parameters were closest while the picture cost no more than `allowed`.
    """
    distance, everything = refinement.distance, torch.arange(len(search.v), device=search.v.device)
    worst = _off(refinement, search.x, everything)[1]
    best = search.v.clone(), search.x.clone(), worst.clone()
    for weight in _STRICTER:
        search.keep(search.active[worst[search.active] > _WELL])
        if len(search.active) == 0:
            break
        distance.set_gap(search.x)
        distance.weight = weight
        search.refresh()
        before = search.v.clone()
        for _ in range(evaluations):
            search.step()
            if search.evaluations % REPORT_EVERY == 0:
                yield "physics", search.v, search.x
        worst = _off(refinement, search.x, everything)[1]
        with torch.no_grad():
            closer = (worst < best[2]) & (distance.picture(search.x, everything) <= allowed)
        for kept, now in zip(best, (search.v, search.x, worst), strict=True):
            kept[closer] = now[closer]
        moved = (search.v != before).any(1)
        search.keep(search.active[moved[search.active]])
    search.keep(everything)
    search.v, search.x = best[0], best[1]


def _second_start(
    refinement: Refinement, search: BatchedLBFGS, z: Tensor, evaluations: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Patches of which the picture is still poor are tried from their second start (N, 2, D), too."""
    with torch.no_grad():
        poor = (refinement.distance.picture(search.x, search.active) > _POOR).nonzero()[:, 0]
    if len(poor) == 0 or z.shape[1] < 2:
        return
    other = BatchedLBFGS(lambda v, rows: refinement.objective(v, poor[rows]), refinement.start(z[poor, 1]))
    for _ in range(evaluations):
        other.step()
        if other.evaluations % REPORT_EVERY == 0:
            yield "picture", search.v, search.x
    better = other.loss < search.loss[poor]
    search.replace(poor[better], other, better.nonzero()[:, 0])


def _corrections(refinement: Refinement, search: BatchedLBFGS, allowed: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Lead the parameters to those observed, by the changes that cost the picture least, and no more than `allowed`."""
    distance = refinement.distance
    everything = torch.arange(len(search.v), device=search.v.device)
    total, worst = _off(refinement, search.x, everything)
    search.objective, distance.weight = refinement.objective_with_jacobian, 0.0
    search.keep(everything[worst > _WELL])
    share = torch.ones_like(total)
    jacobian = errors = torch.zeros(0)
    for turn in range(_CORRECTIONS):
        rows = search.active
        if len(rows) == 0:
            return
        if turn == 0:
            search.refresh()
            jacobian = torch.zeros(len(everything), *refinement.jacobian.shape[1:], device=search.v.device)
            jacobian[rows], errors = refinement.jacobian, distance.errors(search.x, everything)
        step = share[rows, None] * _correction(search, jacobian[rows], errors[rows])
        step *= (_LONGEST / step.norm(dim=1).clamp(min=_LONGEST))[:, None]
        there: list[Tensor] = []

        def nearer(_: Tensor, x: Tensor, rows: Tensor = rows, there: list[Tensor] = there) -> Tensor:
            there[:] = _off(refinement, x, rows)
            return (there[0] < total[rows]) & (distance.picture(x, rows) <= allowed[rows])

        fresh = turn % _FRESH == _FRESH - 1
        search.objective = refinement.objective_with_jacobian if fresh else refinement.objective
        taken = search.attempt(step, nearer)
        moved = rows[taken]
        change = distance.errors(search.x[moved], moved) - errors[moved]
        errors[moved] += change
        jacobian[moved] = refinement.jacobian[taken] if fresh else _broyden(jacobian[moved], step[taken], change)
        total[moved], worst[moved] = there[0][taken], there[1][taken]
        share[rows] = torch.where(taken, 1.0, _SHORTER * share[rows])
        yield "physics", search.v, search.x
        search.keep(rows[(worst[rows] > _WELL) & (share[rows] > _SMALLEST)])


def _broyden(jacobian: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """Jacobian (K, 5, D) that explains the change (K, 5) which a step (K, D) brought, the least different from before.

    Broyden 1965, doi:10.1090/S0025-5718-1965-0198670-6.
    """
    missed = change - (jacobian @ step[:, :, None])[:, :, 0]
    return jacobian + missed[:, :, None] * step[:, None] / step.square().sum(1).clamp(min=1e-12)[:, None, None]


def _correction(search: BatchedLBFGS, jacobian: Tensor, errors: Tensor) -> Tensor:
    """(K, D) steps that undo errors (K, 5) by their Jacobian (K, 5, D) and lower the loss otherwise.

    The least of g · s + s · B s / 2 with J s + errors = 0, B the curvature (Nocedal & Wright 2006, ch. 18).
    """
    flat = -search.product(search.gradient[search.active])
    turned = torch.stack([search.product(column) for column in jacobian.unbind(1)], 1)
    gram = jacobian @ turned.transpose(1, 2)
    size = gram.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-12)
    gram = gram + 1e-3 * size[:, None, None] * torch.eye(gram.shape[1], device=gram.device)
    missing = errors + (jacobian @ flat[:, :, None])[:, :, 0]
    return flat - (turned.transpose(1, 2) @ torch.linalg.solve(gram, missing)[:, :, None])[:, :, 0]


def lead(refinement: Refinement, v: Tensor, evaluations: int) -> Tensor:
    """Variables (N, …) near those given at which the parameters are those that the loss aims at, at any cost."""
    distance = refinement.distance
    distance.weight = _WEIGHT
    search = BatchedLBFGS(refinement.objective, v)
    for _ in range(evaluations):
        search.step()
    allowed = torch.full_like(search.loss, math.inf)
    for _ in _stricter(refinement, search, evaluations, allowed):
        pass
    for _ in _corrections(refinement, search, allowed):
        pass
    return search.v


def rounded(refinement: Refinement, v: Tensor) -> tuple[Tensor, Tensor]:
    """Variables with the detail rounded as it travels in a link, and the patches that they make then."""
    z, offsets, noise = refinement.latents(v)
    offsets = None if offsets is None else offsets.half().float()
    v = refinement.variables(z, offsets, None if noise is None else round_noise(noise))
    return v, refinement.made(v)


def most_evaluations(evaluations: int, match: bool) -> int:
    second = round(evaluations * _PICTURE / EVALUATIONS)
    stricter = len(_STRICTER) * (1 + round(_HELD * evaluations))
    return evaluations + (second + stricter + REPORT_EVERY * _CORRECTIONS if match else 0)
