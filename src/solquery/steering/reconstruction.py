"""An observation into latent space with its physics: a guess at once, then the picture, then the parameters.

1. The model's inference network guesses a latent vector in one pass.
2. The *picture* is refined: unexplained shares of the power at several scales and of the compressed field, by L-BFGS on
   the latent vector and, where the generator has parts, on what each of them is told beside it (layerwise.py) and on
   the local noise of its layers, which says where the flux of this observation lies.
3. The *physics* joins in: soft versions of TUF, area, R and the separation vector, which holds PSEP, tilt and polarity.
4. Steps of sequential quadratic programming: what is measured by the definitions is made right to first order by the
   soft versions' gradients, with the change that costs the picture least by the curvature learned so far, until every
   parameter is that observed within half of its tolerance.

`invert` is the plain form: one latent vector closest in squared error, as in the paper.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..physics import measure_on_grid
from .editing import warn_if_far
from .generated import Origin, Shown
from .inversion import Inversion, refuse_hopeless, targets_of
from .latents import SteeringWarning, as_latents, frozen, render
from .reconstruction_loss import BLOCKS, MATCHED, explained_by_scale, parameter_errors
from .refinement import (
    EVALUATIONS,
    REPORT_EVERY,
    Refinement,
    best_start,
    candidates,
    most_evaluations,
    refine,
    rounded,
)

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Reconstruction", "first_guess", "reconstruct", "reconstruct_in_steps"]

#: patches refined together
_PATCHES = 8
#: share of the power of 4 x 4 block means (7.3 Mm) below which a region counts as one that the model cannot draw
LEAST_EXPLAINED = 0.8
#: root mean square of the local noise beyond which a picture is no longer one of the generator's, whose own has 1
MOST_NOISE = 1.15
#: and the tolerances by which a parameter may be off
MOST_OFF = 3.0


class Reconstruction:
    """Where a refinement stands.

    Attributes
    ----------
    stage
        ``"first guess"``, ``"picture"``, ``"physics"`` or ``"done"``.
    done, total
        Evaluations of the generator so far, and at most.
    """

    def __init__(self, stage: str, done: int, total: int, describe: Callable[[], list[Inversion]]) -> None:
        self.stage, self.done, self.total = stage, done, total
        self._describe: Callable[[], list[Inversion]] | None = describe
        self._found: list[Inversion] = []

    @property
    def found(self) -> list[Inversion]:
        """One `Inversion` for each patch: the closest so far; measured when it is asked for."""
        if self._describe is not None:
            self._found, self._describe = self._describe(), None
        return self._found


def _described(
    refinement: Refinement, v: Tensor, made: Tensor, first_mse: np.ndarray, judged: bool = True
) -> list[Inversion]:
    """The inversions that variables (N, …) and their patches (N, H, W) stand for."""
    model, target = refinement.model, refinement.target
    z, offsets, noise = refinement.latents(v)
    directions = getattr(model, "directions", None)
    names = list(dict.fromkeys([*MATCHED, *(directions.names if directions is not None else ())]))
    told = [
        {k: w.double().numpy() for k, w in some.items()}
        for some in (refinement.observed(names), measure_on_grid(made.cpu(), model.preset, names))
    ]
    explained = explained_by_scale(target, made).cpu().numpy()
    mse = (made - target).square().mean((1, 2)).cpu().numpy()
    out = []
    for k in range(len(v)):
        rows = [{name: float(values[k]) for name, values in one.items()} for one in told]
        level = 0.0 if noise is None else float(noise[k].square().mean().sqrt())
        verdict, reason = _verdict(explained[k], rows[0], rows[1], model.preset.scale_mm, level) if judged else ("", "")
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
                noise=None if noise is None else noise[k].cpu().numpy().copy(),
                observed=rows[0],
                reconstructed=rows[1],
                explained=dict(zip(BLOCKS, map(float, explained[k]), strict=True)),
                verdict=verdict,
                reason=reason,
                origin=Origin.of(model),
            )
        )
    return out


def _verdict(
    explained: np.ndarray,
    observed: Mapping[str, float],
    made: Mapping[str, float],
    scale: tuple[float, float] | None,
    noise: float,
) -> tuple[str, str]:
    """Whether a region is drawn, and if not why not."""
    side = 4
    share = float(explained[BLOCKS.index(side)])
    if share < LEAST_EXPLAINED:
        size = f"{side} × {side} pixels" if scale is None else f"{side * scale[1]:.1f} Mm"
        return (
            "cannot draw",
            f"the closest patch explains {max(share, 0.0):.0%} of the power at {size}, less than {LEAST_EXPLAINED:.0%}",
        )
    if noise > MOST_NOISE:
        return "cannot draw", f"the picture takes {noise:.2f} times as much local noise as the generator draws with"
    errors = {name: float(error) for name, error in parameter_errors(observed, made).items()}
    worst = max((name for name in errors if not math.isnan(errors[name])), key=errors.__getitem__, default=None)
    if worst is not None and errors[worst] > MOST_OFF:
        return "cannot draw", f"{worst} cannot be led to what is observed while the picture stays close"
    return "drawn", ""


def first_guess(model: Model, x: object) -> list[Inversion]:
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
    target = targets_of(x, model)
    refuse_hopeless(target)
    with frozen(model.generator), torch.no_grad():
        refinement = Refinement(model, target, 0.0, 0.0, layerwise=False)
        z = candidates(model, target, 1, 0, None)[:, 0]
        made = render(refinement.model.generator, z, model.preset.shape)[:, 0]
        mse = (made - target).square().mean((1, 2)).numpy()
        return _described(refinement, z, made, mse, judged=False)


def reconstruct_in_steps(
    model: Model,
    x: object,
    *,
    starts: int = 4,
    evaluations: int = EVALUATIONS,
    seed: int = 0,
    guesses: ArrayLike | None = None,
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
    target = targets_of(x, model)
    refuse_hopeless(target)
    given = None if guesses is None else torch.from_numpy(as_latents(guesses, int(model.generator.latent_dim)))
    found = first_guess(model, target)
    groups = list(zip(range(0, len(target), _PATCHES), target.split(_PATCHES), strict=True))
    each = most_evaluations(evaluations, match)
    total = each * len(groups)
    yield Reconstruction("first guess", 0, total, partial(list, tuple(found)))
    for k, (first, part) in enumerate(groups):
        rest = found[:first], found[first + len(part) :]
        with frozen(model.generator) as device:
            refinement = Refinement(model, part.to(device), prior, apart, layerwise)
            z = best_start(refinement, candidates(model, part, starts, seed, given)).to(device)
            first_mse = np.array([one.mse for one in found[first : first + len(part)]], np.float32)
            v = refinement.start(z[:, 0])
            for number, (stage, v, made) in enumerate(refine(refinement, z, evaluations, match), 1):
                done = k * each + min(number * REPORT_EVERY, each - 1)
                described = partial(_joined, rest, refinement, v.clone(), made.clone(), first_mse)
                yield Reconstruction(stage, done, total, described)
            with torch.no_grad():
                v, made = rounded(refinement, v)
            found[first : first + len(part)] = _described(refinement, v, made, first_mse)
    yield Reconstruction("done", total, total, partial(list, found))


def _joined(
    rest: tuple[list[Inversion], list[Inversion]], refinement: Refinement, v: Tensor, made: Tensor, first: np.ndarray
) -> list[Inversion]:
    """The inversions of a group on its way, between those of the groups before and after it."""
    return [*rest[0], *_described(refinement, v, made, first, judged=False), *rest[1]]


def reconstruct(
    model: Model,
    x: object,
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
        Tell each part of a generator that has parts something of its own, and its layers local noise.
    apart
        Weight of the mean squares of those differences and of that noise.
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
    return Shown(state.found)


def _warn_if_not_drawn(found: Sequence[Inversion]) -> None:
    not_drawn = [one for one in found if one.verdict == "cannot draw"]
    if not_drawn:
        which = "this region" if len(found) == 1 else f"{len(not_drawn)} of {len(found)} regions"
        warnings.warn(
            f"the model cannot draw {which}: {not_drawn[0].reason}; do not rely on the reconstruction",
            SteeringWarning,
            stacklevel=3,
        )
