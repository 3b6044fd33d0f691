"""Edits that start from an observation: one thing changes, everything else is held where it was observed."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .carried import with_layerwise
from .direct import steer
from .editing import directions_of
from .inversion import Inversion
from .latents import SteeringError
from .native_scale import native_scale_of
from .reconstruction_loss import MATCHED
from .targeting import Answer
from .vocabulary import DERIVED, Target

if TYPE_CHECKING:
    from ..protocols import Model

__all__ = ["edit_inversion", "observed_holds"]


def observed_holds(model: Model, observed: Mapping[str, float], asked: Sequence[str]) -> dict[str, float]:
    """What is held on the first move away from an observation: its matched parameters but those that are asked for.

    Parameters
    ----------
    model
        With directions.
    observed
        Parameter to what the observation has, in the numbers of the model (`generate`).
    asked
        Parameters that move; what is derived from one frees that one.

    Returns
    -------
    Parameter to the value to hold; what is undefined on the observation is left free.
    """
    free = {*asked, *(name for one in asked if one in DERIVED for name in DERIVED[one].needs)}
    known = set(directions_of(model).names) & set(observed)
    names = [n for n in MATCHED if n in known and n not in free and math.isfinite(observed[n])]
    return {name: float(observed[name]) for name in names}


def _in_numbers_of(model: Model, on_grid: Mapping[str, float]) -> dict[str, float]:
    """Values on the grid as the model speaks of them: at native scale, where it is calibrated."""
    scale = native_scale_of(model)
    return dict(on_grid) if scale is None else {name: float(v) for name, v in scale.of_all(on_grid).items()}


def edit_inversion(
    model: Model,
    found: Inversion,
    asked: Mapping[str, float | Target],
    hold: Mapping[str, float] | Sequence[str] | None = None,
    *,
    exact: bool = True,
    gradients: MutableMapping[str, np.ndarray] | None = None,
) -> Answer:
    """Change one thing of an observation, everything else held where it was observed.

    Parameters
    ----------
    model
        With which it was inverted, with directions.
    found
        Of `reconstruct`.
    asked
        Parameter to what it shall become, as `generate` takes it: number, quantity, text or `Target`.
    hold
        What to hold instead of TUF, PSEP, AREA, R, tilt and polarity as observed: parameter to value, or names, which
        are held at the observed values.
    exact, gradients
        Of `steer`.

    Returns
    -------
    The answer of `steer`. Its latent goes with the layer-wise latents of `found` (`with_layerwise`).

    Raises
    ------
    SteeringError, OutOfReach
        As `steer`; when `found` does not say what was observed.

    Examples
    --------
    >>> import warnings
    >>> from solquery import Model, prepare, sample_patches
    >>> from solquery.steering import edit_inversion, reconstruct
    >>> model = Model.load()
    >>> x = prepare(sample_patches()[0], model.preset)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     found = reconstruct(model, x, evaluations=10)[0]
    >>> answer = edit_inversion(model, found, {"tuf": "2e22 Mx"}, exact=False)
    >>> sorted(answer.held) == sorted({"psep", "area", "r", "tilt", "polarity"})
    True
    """
    if found.observed is None:
        raise SteeringError("this inversion does not say what was observed; make it with `reconstruct`")
    if hold is None:
        hold = observed_holds(model, _in_numbers_of(model, found.observed), list(asked))
    elif not isinstance(hold, Mapping):
        hold = _in_numbers_of(model, {name: found.observed[name] for name in hold})
    carried: Any = model if found.offsets is None else with_layerwise(model, found)
    return steer(carried, found.z, asked, hold, exact=exact, gradients={} if gradients is None else gradients)
