"""Directions for parameters that a model was made without: of a plug-in, or registered since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from .aliases import Document
from .physics import get_parameter
from .steering.directions import Directions, LatentTable, fit_directions
from .steering.latents import SteeringError, measure_latents

if TYPE_CHECKING:
    from .model import Model

__all__ = ["extend_directions"]

_ROWS = ("intercepts", "accuracies", "chances", "medians", "quantiles", "positions", "expected", "dropped")


def extend_directions(model: Model, names: Iterable[str], seed: int = 0) -> Directions:
    """The directions of a model, and one more for each of `names` that they lack.

    The generator stays as it is: the latents of the model's own table (some 2,000) are rendered once and measured,
    and a support vector machine is fitted for each new parameter, as `fit_directions` does. Its accuracy comes from
    fewer patches than those of the model, but for that it is a direction like any other.

    Parameters
    ----------
    model
        With generator, preset and directions; it is not changed.
    names
        Registered parameters; those that have a direction are left alone.
    seed
        Of the split into training and validation.

    Raises
    ------
    SteeringError
        When the model has no directions, or none can be fitted for a parameter.
    UnknownParameter
        For a name that nobody registered.
    """
    old = model.directions
    if old is None:
        raise SteeringError(f"model {model.name!r} has no directions to add to; fit them with `solquery directions`")
    wanted = [get_parameter(name).name for name in dict.fromkeys(names) if name not in old.names]
    if not wanted:
        return old
    values = measure_latents(model.generator, model.preset, old.table.z, wanted)
    table = LatentTable(old.table.z, values, physical=old.table.physical)
    new = fit_directions(table, wanted, seed=seed)
    joined: Document = {row: np.concatenate([getattr(old, row), getattr(new, row)]) for row in _ROWS}
    return Directions(
        (*old.names, *new.names),
        np.concatenate([old.normals, new.normals]),
        table=LatentTable(old.table.z, {**old.table.values, **values}, physical=old.table.physical),
        physical=old.physical,
        **joined,
    )
