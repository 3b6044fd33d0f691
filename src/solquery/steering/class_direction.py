"""A direction from labels of observed patches: which way in latent space a class lies, and how well one can tell.

Patches become latent vectors first (`class_latents`); the direction is that of a linear support vector machine on them.
Labels are few and latent numbers many, so the machine starts from what the model knows: it sees the positions along the
directions of the physical parameters in full, and the rest of the vector weakly (`fit_class_direction`, `along`). Skill
is measured on regions that were left out whole: frames of one region are near copies of each other.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..aliases import Document
from ..io import write_atomically
from ..physics import parameters
from .generated import Shown
from .inversion import invert, refuse_hopeless, targets_of
from .latents import SteeringError, SteeringWarning, as_latents, clamp_norm, frozen, prior_norm_range
from .reconstruction import reconstruct
from .targeting import Answer, answers_of, measured_both

if TYPE_CHECKING:
    from torch import nn

    from ..protocols import Model

__all__ = [
    "LATENTS",
    "ClassDirection",
    "class_examples",
    "class_latents",
    "fit_class_direction",
    "latent_way",
    "refuse_one_sided",
]

_FORMAT = "solquery-class-direction"
#: regions of each class that a cross-validation by region needs at least
_FEWEST = 3
#: shuffles of the labels among regions that chance is estimated by
_SHUFFLES = 100
#: weight of what is not along the parameters' directions, whose positions are brought to a standard deviation of 1: a
#: class that lies elsewhere is found with some hundred labels, and noise of a hundred numbers hides no other with sixty
_REST = 0.3
#: patches are moved by their height over this when they are guessed: three pixels of 96
_MOVED = 32
#: ways from a patch to the latent vector that a class is told by
LATENTS = ("measured", "guess", "picture", "physics", "closest")
#: share of the largest singular value of the directions below which no latent vector is moved
_NEARLY_DEPENDENT = 0.1


@dataclass(frozen=True)
class ClassDirection:
    """Unit normal toward class 1, and how well it tells regions that it was not fitted on.

    Attributes
    ----------
    normal, intercept
        (D,) and a number: ``z . n + b > 0`` on the side of class 1.
    skill
        True skill statistic on regions left out: hit rate minus false alarm rate; 0 by guessing, 1 at best.
    auc
        Area under the receiver operating characteristic, likewise.
    chance
        95th percentile of the skill with labels shuffled among regions.
    patches, regions, positives
        How many, and how many patches of class 1.
    """

    normal: np.ndarray
    intercept: float
    skill: float
    auc: float
    chance: float
    patches: int
    regions: int
    positives: int

    @property
    def better_than_chance(self) -> bool:
        """Whether the skill is above what shuffled labels give in 95 of 100 cases."""
        return self.skill > self.chance

    @property
    def verdict(self) -> str:
        """One sentence for the user."""
        numbers = f"skill {self.skill:.2f} on regions left out ({self.chance:.2f} by chance), AUC {self.auc:.2f}"
        of = f"{self.patches} patches of {self.regions} regions"
        if self.better_than_chance:
            return f"the direction tells the classes: {numbers}, {of}"
        return f"no better than chance: {numbers}, {of}; do not steer by it"

    def summary(self) -> Document:
        """JSON: everything but the normal."""
        return {
            "skill": self.skill, "auc": self.auc, "chance": self.chance, "patches": self.patches,
            "regions": self.regions, "positives": self.positives, "intercept": self.intercept,
            "better_than_chance": self.better_than_chance, "verdict": self.verdict,
        }  # fmt: skip

    def save(self, path: str | Path, model: Model) -> Path:
        """Write it as JSON, with the model whose latent space it is in."""
        record = {"format": _FORMAT, "model": model.name, "hash": model.hash, "normal": self.normal.tolist()}
        return write_atomically(path, json.dumps(record | self.summary(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path, model: Model) -> ClassDirection:
        """Read one that was saved for this model.

        Raises
        ------
        SteeringError
            When the file is none, or for another model.
        """
        try:
            record = json.loads(Path(path).read_text())
            if record["format"] != _FORMAT:
                raise KeyError(_FORMAT)
            numbers: Document = {key: float(record[key]) for key in ("intercept", "skill", "auc", "chance")}
            counts: Document = {key: int(record[key]) for key in ("patches", "regions", "positives")}
            normal = np.asarray(record["normal"], np.float64)
        except OSError as error:
            raise SteeringError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise SteeringError(
                f"{path} holds no class direction; make one with `solquery directions labels`"
            ) from None
        if record.get("hash") != model.hash or normal.shape != (int(model.generator.latent_dim),):
            raise SteeringError(
                f"{path} was made for model {record.get('model')!r} as it was then, not for {model.name!r}; make it "
                "again with this one"
            )
        return cls(normal, **numbers, **counts)


def class_examples(model: Model, direction: ClassDirection, n: int, seed: int = 0, push: float = 1.5) -> list[Answer]:
    """Patches on the side of class 1: latents from the prior, moved along the normal alone.

    Their positions along it are drawn about `push` beyond the boundary, with half its size as spread; all else is as
    the prior gave it. The verdict is ``"met"`` where the latent lies on the side of class 1; `Answer.label` says the
    same as 1 or 0, and stands in the `truth` of the patch, and so in its FITS file (``TRUTH``).
    """
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, len(direction.normal)))
    wanted = np.abs(push + 0.5 * push * rng.standard_normal(n))
    z = z + (wanted - (z @ direction.normal + direction.intercept))[:, None] * direction.normal
    low, high = prior_norm_range(z.shape[1])
    latents = clamp_norm(torch.from_numpy(z.astype(np.float32)), low, high)
    side = latents.double().numpy() @ direction.normal + direction.intercept > 0
    return Shown(
        replace(answer, verdict="met" if one else "nearest", label=int(one))
        for answer, one in zip(answers_of(model, latents, {}, list(parameters())), side, strict=True)
    )


def class_latents(
    model: Model, x: object, by: str | None = None, starts: int = 1, steps: int = 40, seed: int = 0
) -> np.ndarray:
    """Latents (N, D) of observed patches, for `fit_class_direction`.

    Parameters
    ----------
    model
        With generator and preset.
    x
        (N, H, W) in preset units; NaN pixels count as 0.
    by
        ``"guess"``: what the model's inference network says, on average over small shifts of the patch.
        ``"measured"``: the guess, moved along the directions of the parameters to where the model expects what is
        measured on the patch; a guess alone loses much of what fine structure says. ``"picture"`` and ``"physics"``:
        the latent vector of `reconstruct` without and with the parameters; what that tells layers and local noise is
        left out. ``"closest"``: that of `invert`. None: `latent_way`.
    starts, steps, seed
        Of the inversion; the guess needs none.

    Raises
    ------
    SteeringError
        For a way that is not known, for the guess of a model without inference network, for what is measured with a
        model without directions, and as `reconstruct`.
    """
    by = latent_way(model, by)
    target = targets_of(x, model)
    if by in ("guess", "measured"):
        inference = getattr(model, "inference", None)
        if inference is None:
            raise SteeringError(f"model {model.name!r} has no inference network to guess by; take by='picture'")
        refuse_hopeless(target)
        z = _mean_guess(inference, target)
        return z if by == "guess" else _as_measured(model, target, z)
    with warnings.catch_warnings():
        # one latent vector does not draw an observation, and need not: it is asked on which side it lies
        warnings.simplefilter("ignore", SteeringWarning)
        if by == "closest":
            return np.stack([one.z for one in invert(model, target, starts, steps, seed)])
        match = by == "physics"
        found = reconstruct(model, target, starts=starts, evaluations=max(steps, 2), seed=seed, match=match)
    return np.stack([one.z for one in found])


def latent_way(model: Model, by: str | None = None) -> str:
    """Which of `LATENTS` is taken: as asked; else what is measured, the guess, or the picture, by what a model has."""
    if by is not None and by not in LATENTS:
        raise SteeringError(f"latents by {by!r} are not known; there are: {', '.join(LATENTS)}")
    if by is not None:
        return by
    if getattr(model, "inference", None) is None:
        return "picture"
    return "guess" if model.directions is None else "measured"


def _as_measured(model: Model, target: torch.Tensor, z: np.ndarray) -> np.ndarray:
    """Latents (N, D) moved to where the model expects what is measured on patches (N, H, W); least squares.

    Where a patch has not some parameter, its position along that direction stays. Directions that are nearly
    combinations of others move nothing of their own.
    """
    directions = model.directions
    if directions is None:
        raise SteeringError(f"model {model.name!r} has no directions to place what is measured by; fit them first")
    _, got = measured_both(model, target.numpy(), list(directions.names))
    at = np.stack([directions.position(z, name) for name in directions.names], axis=1)
    wanted = np.stack([directions.position_for(name, got[name]) for name in directions.names], axis=1)
    back = np.linalg.pinv(directions.normals.astype(np.float64), rcond=_NEARLY_DEPENDENT)
    return np.asarray(z + np.where(np.isnan(wanted), 0.0, wanted - at) @ back.T, np.float32)


def _mean_guess(inference: nn.Module, target: torch.Tensor) -> np.ndarray:
    """Mean guess (N, D) for patches (N, H, W) in place and moved a little: no class changes, noise averages."""
    step = max(1, target.shape[1] // _MOVED)
    with frozen(inference) as device:
        x = target.to(device)
        # what is moved out of the frame is lost, and nothing comes in
        moved = [torch.nn.functional.pad(x, (b, -b, a, -a)) for a in (-step, 0, step) for b in (-step, 0, step)]
        return np.asarray(torch.stack([inference.guess(one) for one in moved]).mean(0).cpu().numpy())


class _Coordinates:
    """Latents (N, D) as positions along given directions (K, D), and what is left of them, weakly."""

    def __init__(self, along: np.ndarray | None, dim: int) -> None:
        self.along = self.rest = None
        if along is not None and len(along):
            self.along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
            _, size, basis = np.linalg.svd(self.along, full_matrices=False)
            basis = basis[size > 1e-6 * size[0]]
            self.rest = _REST * (np.eye(dim) - basis.T @ basis)

    def fitted(self, z: np.ndarray) -> np.ndarray:
        """(K + D, D): rows that make the coordinates of latents like these."""
        if self.along is None or self.rest is None:
            return np.eye(z.shape[1])
        spread = (z @ self.along.T).std(0)
        return np.concatenate([self.along / np.maximum(spread, 1e-6)[:, None], self.rest])


def _svm(z: np.ndarray, label: np.ndarray, seed: int, coordinates: _Coordinates) -> tuple[np.ndarray, float]:
    from sklearn.svm import LinearSVC

    rows, centre = coordinates.fitted(z), z.mean(0)
    # few patches, many latent numbers: more regularised than the directions of the parameters are
    machine = LinearSVC(C=0.01, dual="auto", class_weight="balanced", random_state=seed, max_iter=20_000)
    fitted = machine.fit((z - centre) @ rows.T, label)
    normal = fitted.coef_[0] @ rows
    size = max(float(np.linalg.norm(normal)), 1e-12)
    return normal / size, (float(fitted.intercept_[0]) - float(centre @ normal)) / size


def _left_out(z: np.ndarray, label: np.ndarray, fold: np.ndarray, seed: int, coordinates: _Coordinates) -> np.ndarray:
    """(N,) positions along normals fitted without the patch's own fold."""
    out = np.zeros(len(z))
    for k in np.unique(fold):
        train = fold != k
        if len(np.unique(label[train])) < 2:
            continue
        normal, intercept = _svm(z[train], label[train], seed, coordinates)
        out[~train] = z[~train] @ normal + intercept
    return out


def _skill(position: np.ndarray, label: np.ndarray) -> float:
    said = position > 0
    return float(said[label == 1].mean() - said[label == 0].mean())


def _classes(label: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, int, int]:
    """(R,) share of ones of each region, and how many regions have ones and zeros; refuses too few."""
    share = np.array([label[of == k].mean() for k in np.unique(of)])
    with_one, with_zero = int((share > 0).sum()), int((share < 1).sum())
    if min(with_one, with_zero) < _FEWEST:
        raise SteeringError(
            f"labels 1 come from {with_one} regions and labels 0 from {with_zero}; at least {_FEWEST} of each are "
            "needed to tell skill from luck, label more"
        )
    return share, with_one, with_zero


def refuse_one_sided(labels: Sequence[int], regions: Sequence[str]) -> None:
    """Raise what `fit_class_direction` would for labels (N,) of patches of regions (N,), before latents are made.

    Raises
    ------
    SteeringError
        When a class has fewer than three regions.
    """
    _classes(np.asarray(labels, dtype=int), np.unique(np.asarray(regions, dtype=str), return_inverse=True)[1])


def fit_class_direction(
    z: ArrayLike,
    labels: Sequence[int],
    regions: Sequence[str],
    folds: int = 5,
    seed: int = 0,
    along: ArrayLike | None = None,
    shuffles: int = _SHUFFLES,
) -> ClassDirection:
    """Fit a direction toward patches labelled 1.

    Parameters
    ----------
    z
        (N, D) latents of the patches.
    labels, regions
        (N,) 0 or 1, and which region each belongs to.
    folds
        Of the cross-validation; a region is in one fold with all its patches.
    along
        (K, D) directions along which classes are likely to differ: ``model.directions.normals``. With some tens of
        labels they are most of what makes a direction good. None: all ways are as likely.
    shuffles
        Of the labels among regions, from which chance is estimated.

    Warns
    -----
    SteeringWarning
        When the skill is no better than chance.

    Raises
    ------
    SteeringError
        When a class has fewer than three regions, or `along` is of another latent space.
    """
    from sklearn.metrics import roc_auc_score

    z = as_latents(z, np.shape(z)[1]).astype(np.float64)
    if along is not None:
        along = as_latents(along, z.shape[1]).astype(np.float64)
    coordinates = _Coordinates(along, z.shape[1])
    label = np.asarray(labels, dtype=int)
    names, of = np.unique(np.asarray(regions, dtype=str), return_inverse=True)
    share, with_one, with_zero = _classes(label, of)
    rng = np.random.default_rng(seed)
    folds = min(folds, with_one, with_zero)
    # regions in the order of their share of ones, dealt out: every fold has some of both
    order = np.lexsort((rng.random(len(names)), share))
    fold_of = np.empty(len(names), int)
    fold_of[order] = np.arange(len(names)) % folds
    fold = fold_of[of]
    position = _left_out(z, label, fold, seed, coordinates)
    by_chance = []
    for _ in range(shuffles):
        # whole regions change their labels with each other
        other = (share[rng.permutation(len(names))] >= 0.5).astype(int)[of]
        if 0 < other.sum() < len(other):
            by_chance.append(_skill(_left_out(z, other, fold, seed, coordinates), other))
    normal, intercept = _svm(z, label, seed, coordinates)
    found = ClassDirection(
        normal, intercept, _skill(position, label), float(roc_auc_score(label, position)),
        float(np.percentile(by_chance, 95)) if by_chance else 0.0, len(z), len(names), int(label.sum()),
    )  # fmt: skip
    if not found.better_than_chance:
        warnings.warn(f"the class direction is {found.verdict}", SteeringWarning, stacklevel=2)
    return found
