"""Parameters as astropy Quantities, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from numpy.typing import ArrayLike

from ..patch import Patch
from .noise import ErrorEstimate, parameter_errors
from .observed import measure_patch, measure_within, region_window
from .registry import get_parameter, parameters, unit_of

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["bare", "in_unit", "known_names", "qtable", "quantities"]


def in_unit(value: Any, unit: str | u.UnitBase) -> Any:
    """A bare number as it is; a Quantity, or a text such as ``"2e22 Mx"``, as a number of `unit`.

    >>> float(in_unit("0.364 Mm", "km"))
    364.0
    """
    if isinstance(value, str):
        value = u.Quantity(value)
    return value.to_value(unit) if isinstance(value, u.Quantity) else value


def bare(fields: object, scale_mm: ArrayLike | None) -> tuple[Any, Any]:
    """Fields in G and scale in Mm per pixel, from a `Patch`, Quantities, texts with units, or bare numbers."""
    if isinstance(fields, Patch):
        if scale_mm is not None:
            raise ValueError("a Patch has its own scale; do not give another one")
        return fields.field, fields.scale_mm
    if isinstance(scale_mm, str):
        scale_mm = u.Quantity(scale_mm)
    if isinstance(scale_mm, u.Quantity):
        per_pixel = u.Mm / u.pix
        steps = in_unit(scale_mm, per_pixel if scale_mm.unit.is_equivalent(per_pixel) else u.Mm)
        scale_mm = (float(steps), float(steps)) if np.ndim(steps) == 0 else steps
    return in_unit(fields, u.G), scale_mm


def quantities(
    fields: object, scale: ArrayLike | None = None, names: Iterable[str] | str | None = None
) -> dict[str, u.Quantity]:
    """Measure a patch, as astropy Quantities.

    Parameters
    ----------
    fields
        As `measure` takes them, bare numbers in gauss or a Quantity of magnetic field.
    scale
        Megametres per pixel (y, x), bare or with a unit (``0.5 * u.Mm``, ``0.5 * u.Mm / u.pix``, ``"364 km"``); None
        for a grid without scale.
    names
        Which parameters; None for all but those measured on demand only.

    Returns
    -------
    Name to Quantity, scalar for one field, (N,) for a batch, in Mx, Mm, … with a scale and in G pix, pix, … without.

    Raises
    ------
    astropy.units.UnitConversionError
        For a field that is no magnetic field, or a scale that is no length.
    """
    window = region_window(fields) if isinstance(fields, Patch) else None
    gauss, scale_mm = bare(fields, scale)
    single = np.ndim(gauss) == 2
    out = {}
    wanted = [names] if isinstance(names, str) else list(parameters() if names is None else names)
    for name, values in measure_within(gauss, scale_mm, wanted, window).items():
        unit = u.Unit(unit_of(name, scale_mm is not None))
        out[name] = (values[0].item() if single else values) * unit
    return out


_UNKNOWN = ErrorEstimate(float("nan"), float("nan"))
_ERRORS = {"bias": "what the noise adds on average", "error": "standard error of the value less its bias"}


def known_names(patch: Patch, names: Iterable[str] | None = None) -> list[str]:
    """Of some parameters, or of all, those whose unit the patch can have."""
    wanted = [get_parameter(name).name for name in names] if names is not None else list(parameters())
    return [n for n in wanted if patch.scale_mm is not None or unit_of(n, True) == unit_of(n, False)]


def qtable(
    patches: Iterable[Patch],
    names: Iterable[str] | None = None,
    noise_gauss: float | None = None,
    more: Mapping[str, Iterable[Any]] | None = None,
    errors: Iterable[Mapping[str, ErrorEstimate]] | None = None,
) -> QTable:
    """Parameters of patches as an astropy QTable; `solquery.qtable` says what is in it.

    `errors` are the estimates of `parameter_errors` for each patch; with `noise_gauss` they are made here.
    """
    from astropy.table import QTable

    rows = list(patches)
    wanted = [get_parameter(name).name for name in names] if names is not None else list(parameters())
    values: dict[str, list[float]] = {name: [] for name in wanted}
    known = [known_names(patch, wanted) for patch in rows]
    if errors is None and noise_gauss is not None:
        errors = [
            parameter_errors(p.field, p.scale_mm, float(noise_gauss), n, window=region_window(p))
            for p, n in zip(rows, known, strict=True)
        ]
    wrong = None if errors is None else list(errors)
    for patch, names_known in zip(rows, known, strict=True):
        got = measure_patch(patch, names_known)
        for name in wanted:
            values[name].append(got[name] if name in got else float("nan"))
    table = QTable(
        {key: [str(getattr(p, key)) for p in rows] for key in ("id", "region", "source", "quantity", "t_rec")}
    )
    table["mu"] = [p.mu for p in rows]
    for name in wanted:
        about = get_parameter(name)
        table[name] = np.array(values[name]) * u.Unit(about.unit)
        table[name].info.description = f"{about.title}: {about.formula}" if about.formula else about.title
        for kind in ("bias", "error") if wrong is not None else ():
            found = [getattr(row.get(name, _UNKNOWN), kind) for row in wrong or ()]
            table[f"{name}_{kind}"] = np.array(found) * u.Unit(about.unit)
            table[f"{name}_{kind}"].info.description = _ERRORS[kind]
    for key, column in (more or {}).items():
        table[key] = column
    return table
