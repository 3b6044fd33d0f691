"""How faithfully a generator gives patches back: by scale, by strength, observed beside simulated, and edited after.

An inversion that leaves half of the power unexplained can have lost the spots or the grain. Averaging patch and
reconstruction over blocks before they are compared tells the two apart: grain averages out, spots do not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from ..aliases import Document
from ..physics import measure_on_grid
from ..steering import (
    Inversion,
    OutOfReach,
    SteeringError,
    SteeringWarning,
    exact_traversal,
    invert,
    reconstruct_in_steps,
    refine_layerwise,
    with_layerwise,
)
from ..steering.reconstruction_loss import TOLERANCES, parameter_errors

if TYPE_CHECKING:
    from ..model import Model
    from ..patch import Patch

__all__ = ["BLOCKS", "Edit", "InversionStudy", "edit_inverted", "run_inversion", "unexplained_by_scale"]

#: sides of the blocks that are averaged over, in pixels
BLOCKS = (1, 2, 4, 8, 16)
#: parameters whose errors are told
PARAMETERS = ("tuf", "psep", "r")
_BATCH = 32
#: patches that `reconstruct` refines together
_TOGETHER = 8


def unexplained_by_scale(x: np.ndarray, y: np.ndarray, blocks: Sequence[int] = BLOCKS) -> np.ndarray:
    """Share of the power of x (N, H, W) that y leaves unexplained when both are averaged over blocks: (N, blocks)."""
    a, b = (torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[:, None] for field in (x, y))
    out = []
    for side in blocks:
        mean, other = F.avg_pool2d(a, side)[:, 0], F.avg_pool2d(b, side)[:, 0]
        out.append((mean - other).square().sum((1, 2)) / mean.square().sum((1, 2)).clamp(min=1e-12))
    return torch.stack(out, 1).numpy()


def power_by_scale(x: np.ndarray, blocks: Sequence[int] = BLOCKS) -> np.ndarray:
    """Share of the power of x (N, H, W) that is left after averaging over blocks: (N, blocks), 1 for single pixels."""
    a = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[:, None]
    power = a.square().sum((1, 2, 3)).clamp(min=1e-12)
    kept = [F.avg_pool2d(a, side).square().sum((1, 2, 3)) * side**2 / power for side in blocks]
    return torch.stack(kept, 1).numpy()


@dataclass(frozen=True)
class InversionStudy:
    """Patches, what came back, and how they differ.

    Attributes
    ----------
    ids, regions, kinds
        N patches; the kind is ``real`` or ``simulated``.
    x, y
        (N, H, W) patches and reconstructions in preset units.
    z
        (N, D) latents.
    unexplained, power
        (N, len(BLOCKS)) share of the power left unexplained, and share of it there is, by block.
    values, rebuilt
        Parameter to (N,), measured on the grid.
    seconds
        For each patch, by the clock.
    offsets
        (N, parts, D) detail, or None where none was asked for.
    noise
        (N, local_noise) local noise beside it, or None.
    before
        (N, len(BLOCKS)) share left unexplained before the parameters were led to those observed; None without physics.
    verdicts
        Of `reconstruct`; empty without physics.
    """

    ids: tuple[str, ...]
    regions: tuple[str, ...]
    kinds: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    unexplained: np.ndarray
    power: np.ndarray
    values: dict[str, np.ndarray]
    rebuilt: dict[str, np.ndarray]
    seconds: float
    offsets: np.ndarray | None = None
    noise: np.ndarray | None = None
    before: np.ndarray | None = None
    verdicts: tuple[str, ...] = ()

    def matched(self, rows: np.ndarray) -> Document:
        """How the parameters came out: median error in units of its tolerance, and share of patches within it."""
        values, rebuilt = ({k: v[rows] for k, v in some.items()} for some in (self.values, self.rebuilt))
        out: Document = {}
        for name, errors in parameter_errors(values, rebuilt).items():
            known = errors[~torch.isnan(errors)].numpy()
            out[name] = {
                "tolerance": TOLERANCES.get(name),
                "patches": len(known),
                "median": float(np.median(known)) if len(known) and np.isfinite(np.median(known)) else None,
                "within": float(np.mean(known <= 1.0)) if len(known) else None,
            }
        return out

    def rows(self, kind: str) -> np.ndarray:
        """Indices of the patches of a kind."""
        return np.flatnonzero(np.array(self.kinds) == kind)

    def best_rows(self, kind: str) -> list[int]:
        """Patches of a kind, the best explained first; one frame of a region, whose others would show the same."""
        best: dict[str, int] = {}
        for k in sorted(self.rows(kind), key=lambda k: float(self.unexplained[k, 0])):
            best.setdefault(self.regions[k], int(k))
        return list(best.values())

    def records(self) -> list[Document]:
        """JSON of each patch: what is left unexplained, by block, and the verdict."""
        verdicts = self.verdicts or ("",) * len(self.ids)
        columns = zip(self.ids, self.regions, self.kinds, self.unexplained.tolist(), verdicts, strict=True)
        return [dict(zip(("id", "region", "kind", "unexplained", "verdict"), row, strict=True)) for row in columns]

    def of(self, rows: np.ndarray) -> Document:
        """Medians over patches: by block, and of the parameters' relative errors."""
        error = {}
        for name in PARAMETERS:
            known, found = self.values[name][rows], self.rebuilt[name][rows]
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.abs(found / known - 1.0)
            share = share[np.isfinite(share)]
            error[name] = float(np.median(share)) if len(share) else None
        return {
            "patches": len(rows),
            "regions": len({self.regions[k] for k in rows}),
            "mse": float(np.median(np.square(self.x[rows] - self.y[rows]).mean((1, 2)))),
            "unexplained": {
                str(b): float(v) for b, v in zip(BLOCKS, np.median(self.unexplained[rows], 0), strict=True)
            },
            "power": {str(b): float(v) for b, v in zip(BLOCKS, np.median(self.power[rows], 0), strict=True)},
            "relative_error": error,
            **self._physics_of(rows),
            "z_norm": float(np.median(np.linalg.norm(self.z[rows], axis=1))),
        }

    def _physics_of(self, rows: np.ndarray) -> Document:
        if self.before is None:
            return {}
        return {
            "unexplained_before": {
                str(b): float(v) for b, v in zip(BLOCKS, np.median(self.before[rows], 0), strict=True)
            },
            "most_unexplained": float(self.unexplained[rows, 0].max()),
            "matched": self.matched(rows),
            "cannot_draw": sum(self.verdicts[k] == "cannot draw" for k in rows),
        }

    def summary(self) -> Document:
        """JSON: by kind, and of each kind the thirds by unsigned flux, weak to strong."""
        out: Document = {}
        for kind in sorted(set(self.kinds)):
            rows = self.rows(kind)
            order = rows[np.argsort(self.values["tuf"][rows], kind="stable")]
            thirds = [self.of(part) for part in np.array_split(order, 3)] if len(rows) >= 6 else []
            out[kind] = self.of(rows) | {"by_flux": thirds}
        return out | {"seconds_a_patch": self.seconds}


def run_inversion(
    model: Model,
    groups: Mapping[str, Sequence[Patch]],
    starts: int = 3,
    steps: int = 100,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
    detail: bool = False,
    physics: bool = False,
) -> InversionStudy:
    """Invert patches of several kinds alike and compare what comes back.

    Parameters
    ----------
    model
        With generator and preset.
    groups
        Kind (``real``, ``simulated``) to patches.
    detail
        Add a latent for each part of the generator (`refine_layerwise`).
    physics
        By `reconstruct`: picture at several scales, then the parameters as observed; `steps` are its evaluations.
    starts, steps, seed
        Of `invert`. Patches that are far from what the generator makes are counted like the others, without a warning.
    """
    import time

    from ..archive.prepare import prepare_many

    patches = [patch for group in groups.values() for patch in group]
    kinds = tuple(kind for kind, group in groups.items() for _ in group)
    x = np.nan_to_num(prepare_many(patches, model.preset))
    began = time.perf_counter()
    found: list[Inversion] = []
    early: list[np.ndarray] = []
    size = _TOGETHER if physics else _BATCH
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SteeringWarning)
        for first in range(0, len(x), size):
            report(first, len(x))
            batch = x[first : first + size]
            if physics:
                picture, last = _stages(model, batch, starts, steps, seed, detail)
                early.append(picture)
            else:
                last = invert(model, batch, starts, steps, seed)
                last = refine_layerwise(model, batch, last) if detail else last
            found += last
    seconds = (time.perf_counter() - began) / max(len(x), 1)
    y = np.stack([one.x for one in found])
    names = tuple(dict.fromkeys([*PARAMETERS, *TOLERANCES, "polarity"]))
    measured = [{k: v.numpy() for k, v in measure_on_grid(a, model.preset, names).items()} for a in (x, y)]
    offsets = [one.offsets for one in found if one.offsets is not None]
    noise = [one.noise for one in found if one.noise is not None]
    return InversionStudy(
        tuple(p.id for p in patches), tuple(p.region for p in patches), kinds, x, y, np.stack([one.z for one in found]),
        unexplained_by_scale(x, y), power_by_scale(x), measured[0], measured[1], seconds,
        np.stack(offsets) if offsets else None, np.stack(noise) if noise else None,
        np.concatenate(early) if early else None,
        tuple(one.verdict for one in found) if physics else (),
    )  # fmt: skip


def _stages(
    model: Model, x: np.ndarray, starts: int, steps: int, seed: int, detail: bool
) -> tuple[np.ndarray, list[Inversion]]:
    """Share left unexplained (N, len(BLOCKS)) before the physics, and the inversions at the end."""
    picture, last = None, []
    for state in reconstruct_in_steps(model, x, starts=starts, evaluations=max(steps, 2), seed=seed, layerwise=detail):
        last = state.found
        if picture is None or state.stage == "picture":
            picture = np.stack([one.x for one in state.found])
    assert picture is not None
    return unexplained_by_scale(x, picture), last


@dataclass(frozen=True)
class Edit:
    """One parameter of an inverted patch led to a value, another held.

    `before` and `after` are what is measured on the reconstruction and on its edit; `held_change` in usual spreads.
    """

    id: str
    name: str
    hold: str
    requested: float
    before: float
    after: float
    held_change: float
    x: np.ndarray


def edit_inverted(
    model: Model, study: InversionStudy, rows: Sequence[int], hold: str = "r", spreads: float = 0.75
) -> list[Edit]:
    """Lead TUF and PSEP of inverted patches up by so many spreads (half of the 16th to 84th percentile), `hold` held.

    What the generator does not reach is cut back to what it does; a patch on which a parameter is undefined is left
    out, and so is a parameter for which the model has no direction.
    """
    directions = model.directions
    if directions is None or hold not in directions.names:
        return []
    usual = directions.spread(hold)
    out = []
    for k in rows:
        noise = None if study.noise is None else study.noise[k]
        models = model if study.offsets is None else with_layerwise(model, study.offsets[k], noise)
        for name in (name for name in ("tuf", "psep") if name in directions.names):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SteeringWarning)
                    film = exact_traversal(models, study.z[k], name, (hold,), spreads=[0.0, spreads])
            except (SteeringError, OutOfReach):
                continue
            assert film.requested is not None
            moved = film.values[name]
            held = float(film.values[hold][1] - film.values[hold][0]) / usual
            asked, before, after = (float(value) for value in (film.requested[1], *moved[:2]))
            out.append(Edit(study.ids[k], name, hold, asked, before, after, held, film.x[:, 0]))
    return out
