"""From a patch back to a latent vector: the generator's closest approximation (paper, section 4, Fig. 6)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .editing import warn_if_far
from .generated import Generated, Origin, Shown
from .inputs import grid_input
from .latents import SteeringError, SteeringWarning, as_latents, frozen, in_use, prior_latents, render

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["Inversion", "invert"]

#: random latents among which starts are chosen
_SCREENED = 256
#: patches refined at a time
_PATCHES = 8
#: unexplained share of the power beyond which a patch is like nothing that the generator makes
_FAR = 0.8


@dataclass(frozen=True)
class Inversion(Generated):
    """The latent vector found for a patch.

    Attributes
    ----------
    z
        (D,) float32.
    mse
        Mean squared error of the reconstruction, in preset units squared.
    z_norm
        Length of `z`; the prior's is about sqrt(D).
    x
        (H, W) float32 reconstruction in preset units.
    start_mse
        (starts,) errors that the single starts came to before they were given up, lowest first.
    """

    z: np.ndarray
    mse: float
    z_norm: float
    x: np.ndarray
    start_mse: np.ndarray
    #: share of the patch's power that the reconstruction leaves unexplained; 1: an empty patch would do as well
    unexplained: float = float("nan")
    #: (parts, D) differences from `z` that each part of the generator is told (steering/layerwise.py); None without
    offsets: np.ndarray | None = None
    #: (local_noise,) added to the frozen noise of the generator: where the flux of this observation lies; None without
    noise: np.ndarray | None = None
    #: of `reconstruct`: parameter to what is measured on the patch and on its reconstruction, in units of the grid
    observed: dict[str, float] | None = None
    reconstructed: dict[str, float] | None = None
    #: side of the blocks averaged over, in pixels, to the share of the power that is explained
    explained: dict[int, float] | None = None
    #: ``"drawn"``, or ``"cannot draw"`` with the reason; empty before the end
    verdict: str = ""
    reason: str = ""
    #: the model that made it; None where that is not known
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @property
    def differences(self) -> dict[str, float]:
        """Reconstructed less observed, for each parameter."""
        if self.observed is None or self.reconstructed is None:
            return {}
        return {name: self.reconstructed[name] - value for name, value in self.observed.items()}

    def _facts(self) -> dict[str, str]:
        said = {"verdict": self.verdict} if self.verdict else {}
        return said | {"mse": f"{self.mse:.3g}", "unexplained": f"{self.unexplained:.0%}", "|z|": f"{self.z_norm:.2f}"}


def refuse_hopeless(target: Tensor) -> None:
    """Raise `SteeringError` where a patch (N, H, W) holds nothing to invert: no field, or the same one everywhere."""
    flat = target.flatten(1)
    empty = (flat == flat[:, :1]).all(1)
    if bool(empty.any()):
        which = "the patch" if len(target) == 1 else f"patch {int(empty.nonzero()[0])} of {len(target)}"
        raise SteeringError(
            f"{which} holds no structure: every pixel is zero, missing, or the same, so there is nothing to invert; "
            "leave it out"
        )


def targets_of(x: object, model: Model) -> Tensor:
    """Images as (N, H, W) float32 on a model's grid; missing pixels count as 0. See `invert` for `x`."""
    shape = model.preset.shape
    if isinstance(x, list | tuple) and len(x) and not isinstance(x[0], list | tuple | float | int):
        x = np.stack([grid_input(one, model).x for one in x])
    elif not isinstance(x, np.ndarray | Tensor | list | tuple):
        x = grid_input(x, model).x
    images = torch.as_tensor(x.detach().cpu() if isinstance(x, Tensor) else np.asarray(x), dtype=torch.float32)
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3 or tuple(images.shape[1:]) != tuple(shape) or len(images) == 0:
        raise SteeringError(
            f"a patch to invert must have the preset's shape {tuple(shape)}, got {tuple(images.shape)}; "
            "prepare it first"
        )
    if not bool(torch.isfinite(images).flatten(1).any(1).all()):
        raise SteeringError("a patch to invert holds no valid pixel; leave it out")
    return torch.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0)


def _choose_starts(target: Tensor, pool: Tensor, made: Tensor, starts: int) -> Tensor:
    """(N, starts, D): for each patch, the latents of the pool (M, D) whose patches (M, pixels) are closest."""
    flat = target.flatten(1)
    # |a - b|^2 without an (N, M, pixels) array
    distance = flat.square().sum(1)[:, None] + made.square().sum(1)[None] - 2.0 * flat @ made.T
    return pool[distance.topk(starts, dim=1, largest=False).indices]


def _refine(
    generator: nn.Module, target: Tensor, z0: Tensor, steps: int, learning_rate: float, prior: float
) -> tuple[Tensor, Tensor]:
    """Adam on all starts of all patches at once; each start's best latent (N, S, D) and its error (N, S).

    The worse half of a patch's starts stops after 0.3 of the steps, the worse half of the others after 0.6: which
    start wins shows early, and the time goes to those that may.
    """
    n, s, d = z0.shape
    # errors relative to the patch's own power: one setting then serves weak and strong patches
    power = target.square().mean((1, 2)).clamp(min=1e-6)
    best_z = z0.reshape(n * s, d).clone()
    best_loss = torch.full((n * s,), math.inf, device=z0.device)
    best_mse = best_loss.clone()
    going = torch.arange(n * s, device=z0.device)
    z = best_z.clone()
    first, second = torch.zeros_like(z), torch.zeros_like(z)
    cuts = (round(0.3 * steps), round(0.6 * steps)) if steps >= 20 else ()
    for step in range(steps + 1):
        if step in cuts and len(going) > n:
            keep = -(-(len(going) // n) // 2)
            rank = best_loss[going].view(n, -1).topk(keep, dim=1, largest=False, sorted=False).indices
            kept = (rank + torch.arange(n, device=z.device)[:, None] * (len(going) // n)).flatten()
            going, z, first, second = going[kept], z[kept], first[kept], second[kept]
        patch = going // s
        z.requires_grad_(True)
        with torch.enable_grad():
            mse = (generator(z)[:, 0] - target[patch]).square().mean((1, 2))
            loss = mse / power[patch] + prior * (z.norm(dim=1) / math.sqrt(d) - 1.0).square()
            # for z alone, and new at each step: nothing accumulates, neither here nor in the generator
            (gradient,) = torch.autograd.grad(loss.sum(), z)
        with torch.no_grad():
            z, mse, loss = z.detach(), mse.detach(), loss.detach()
            better = loss < best_loss[going]
            best_loss[going] = torch.where(better, loss, best_loss[going])
            best_mse[going] = torch.where(better, mse, best_mse[going])
            best_z[going] = torch.where(better[:, None], z, best_z[going])
            # Adam (Kingma and Ba 2015), written out because the batch shrinks on the way
            rate = learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * step / steps)))
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient.square()
            mean, power2 = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
            z = z - rate * mean / (power2.sqrt() + 1e-8)
    return best_z.reshape(n, s, d), best_mse.reshape(n, s)


def invert(
    model: Model,
    x: object,
    starts: int = 8,
    steps: int = 200,
    seed: int = 0,
    *,
    guesses: ArrayLike | None = None,
    learning_rate: float = 0.2,
    prior: float = 0.5,
) -> list[Inversion]:
    """Latent vectors whose patches come closest to the given ones: argmin over z of |x - G(z)|^2.

    The best of 256 random latents, what the model's inference network makes of the patch (where it has one), and
    `guesses` are refined together by Adam with a cosine schedule; the best of them is the answer.

    Parameters
    ----------
    model
        With generator and preset.
    x
        (H, W) or (N, H, W) in preset units, or one or several of what `grid_input` takes: a `Patch`, a sunpy Map, the
        path of a FITS file, an `Answer`; NaN pixels count as 0.
    starts, steps
        How many starts per patch, and Adam steps.
    seed
        Of the random latents.
    guesses
        (M, D) latents to start from as well; all of them are refined.
    learning_rate
        Adam's, at the start.
    prior
        Weight of (|z| / sqrt(D) - 1)^2 against the error as a share of the patch's power; 0 leaves z free, as in the
        paper, and lets it wander to where the generator was never trained. With 0.5 the twelve real samples end at
        |z| = 11 with 51 % of their power unexplained, with 0.05 at |z| = 16 with 48 %.

    Returns
    -------
    One `Inversion` per patch.

    Warns
    -----
    SteeringWarning
        When a latent ends far from the prior, or the closest patch leaves most of the power unexplained: the patch
        is unlike what the generator was trained on. The answer is given all the same.

    Raises
    ------
    SteeringError
        When a patch has another shape than the preset's, or no valid pixel.
    """
    if not 1 <= starts <= _SCREENED or steps < 1:
        raise ValueError(f"starts must be 1 to {_SCREENED} and steps at least 1, got {starts} and {steps}")
    if prior < 0:
        raise ValueError(f"prior must not be negative, got {prior}")
    target = targets_of(x, model)
    refuse_hopeless(target)
    generator, dim = in_use(model).generator, int(model.generator.latent_dim)
    pool = prior_latents(_SCREENED, dim, seed)
    inference = getattr(model, "inference", None)
    given = None if guesses is None else torch.from_numpy(as_latents(guesses, dim))
    answers: Shown[Inversion] = Shown()
    with frozen(generator) as device:
        made = render(generator, pool, model.preset.shape)[:, 0].flatten(1)
        for part in target.split(_PATCHES):
            z0 = _choose_starts(part, pool, made, starts)
            if inference is not None:
                z0 = torch.cat([inference.guess(part)[:, None], z0], dim=1)
            if given is not None:
                z0 = torch.cat([z0, given.expand(len(part), *given.shape)], dim=1)
            z, mse = _refine(generator, part.to(device), z0.to(device), steps, learning_rate, prior)
            for rows, errors in zip(z.cpu(), mse.cpu(), strict=True):
                best = int(errors.argmin())
                image = render(generator, rows[best][None], model.preset.shape)[0, 0].numpy()
                found = rows[best].numpy()
                power = float(part[len(answers) % _PATCHES].square().mean())
                answers.append(
                    Inversion(
                        found,
                        float(errors[best]),
                        float(np.linalg.norm(found)),
                        image,
                        errors.sort()[0].numpy(),
                        float(errors[best]) / max(power, 1e-12),
                        origin=Origin.of(model),
                    )
                )
    warn_if_far(np.stack([answer.z for answer in answers]), "the latent vector found")
    _warn_if_strange(answers)
    return answers


def _warn_if_strange(answers: Sequence[Inversion]) -> None:
    strange = [k for k, answer in enumerate(answers) if answer.unexplained > _FAR]
    if strange:
        worst = max(answers[k].unexplained for k in strange)
        which = "the patch is" if len(answers) == 1 else f"{len(strange)} of {len(answers)} patches are"
        warnings.warn(
            f"{which} far from what this generator makes: its closest patch leaves up to {worst:.0%} of the power "
            "unexplained; do not rely on the reconstruction",
            SteeringWarning,
            stacklevel=3,
        )
