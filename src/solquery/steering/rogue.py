"""Regions by the laws they keep or break: Hale's law of polarities, Joy's law of tilts, simple or complex.

Hale: in even cycles (24) the leading polarity is negative in the north and positive in the south, in odd ones the other
way round. Joy: the leading polarity lies nearer to the equator, so that the tilt as it is defined here (positive with
the leading polarity further north) is negative in the north and positive in the south.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from .editing import directions_of
from .latents import SteeringError
from .solving import Search
from .vocabulary import Target

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["draw_latents", "named_targets"]

#: a tilt of less than this is neither with Joy's law nor against it
_LEAST_TILT_DEG = 5.0
#: percentile of the separation below which centroids nearly coincide, and which leads or how they are tilted is chance
_LEAST_APART = 10.0
_BATCH = 24


def _one_of(option: str, value: str | None, choices: tuple[str, str]) -> None:
    if value is not None and value not in choices:
        raise SteeringError(f"{option} is {choices[0]} or {choices[1]}, got {value!r}")


def named_targets(
    model: Model,
    hale: str | None = None,
    joy: str | None = None,
    complexity: str | None = None,
    hemisphere: str = "north",
    cycle: int = 24,
) -> dict[str, Target]:
    """Targets of a region that keeps (``"normal"``) or breaks (``"anti"``) Hale's and Joy's laws.

    Parameters
    ----------
    model
        Of a preset with a scale: on a stretched grid a tilt is no tilt.
    hale, joy
        ``"normal"``, ``"anti"``, or None where it does not matter. Either asks for a bipole too: a separation above the
        10th percentile of generated patches.
    complexity
        ``"high"``: R at or above the 75th percentile of generated patches; ``"low"``: at or below the 25th.
    hemisphere, cycle
        ``"north"`` or ``"south"``, and the number of the activity cycle.

    Raises
    ------
    SteeringError
        For another word, or a model that stretches patches.
    """
    for option, value, choices in (
        ("--hale", hale, ("normal", "anti")),
        ("--joy", joy, ("normal", "anti")),
        ("--complexity", complexity, ("low", "high")),
        ("--hemisphere", hemisphere, ("north", "south")),
    ):
        _one_of(option, value, choices)
    if not model.preset.physical:
        raise SteeringError(
            f"model {model.name!r} is of preset {model.preset.name!r}, which stretches patches: its tilts and sizes "
            "are none of the Sun; use a model of preset physical"
        )
    directions = directions_of(model)
    north = hemisphere == "north"
    out: dict[str, Target] = {}
    if hale is not None:
        leading = -1.0 if (cycle % 2 == 0) == north else 1.0
        out["polarity"] = Target("polarity", leading if hale == "normal" else -leading, "=", f"{hale}-Hale")
    if joy is not None:
        sign = (-1.0 if north else 1.0) * (1.0 if joy == "normal" else -1.0)
        out["tilt"] = Target("tilt", sign * _LEAST_TILT_DEG, ">=" if sign > 0 else "<=", f"{joy}-Joy")
    if out:
        out["psep"] = Target("psep", directions.quantile("psep", _LEAST_APART), ">=", "a bipole")
    if complexity is not None:
        high = complexity == "high"
        out["r"] = Target("r", directions.quantile("r", 75 if high else 25), ">=" if high else "<=", f"{complexity} R")
    return out


def draw_latents(
    model: Model,
    targets: Mapping[str, Target],
    n: int,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """(n, D) latents that meet the targets, each from a draw of the prior of its own, moved no more than it must.

    So that hundreds of answers are as different as the prior makes them: sizes, fluxes and separations that are not
    asked for are distributed as in generated patches.

    Raises
    ------
    SteeringError
        When of thirty times as many draws too few meet them.
    """
    search = Search(model, targets, ())
    source = torch.Generator().manual_seed(seed)
    found: list[torch.Tensor] = []
    for _ in range(30 * (n // _BATCH + 1)):
        z = torch.randn(_BATCH, search.directions.latent_dim, generator=source)
        z, _, _ = search.refine(z, len(z))
        values = search.found
        met = [search.judge.met({name: float(v[k]) for name, v in values.items()}) for k in range(len(z))]
        found += list(z[torch.tensor(met)])
        report(min(len(found), n), n)
        if len(found) >= n:
            return torch.stack(found[:n]).numpy()
    names = ", ".join(f"{name} {t.relation} {t.value:.4g}" for name, t in targets.items())
    raise SteeringError(f"only {len(found)} patches of model {model.name!r} have {names}; ask for fewer or for less")
