"""Measuring whatever stands for a patch: the public verbs over the definitions in `solquery.physics`.

Arrays go straight to `solquery.physics.measure`; a `Patch`, a sunpy Map, the path of a file, an `Answer` or an
`Inversion` bring their scale along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import physics
from .lazy import deferred
from .patch import Patch
from .physics.given import is_tensor
from .physics.observed import measure_within, region_window

if TYPE_CHECKING:
    import torch
    from astropy.table import QTable
    from astropy.units import Quantity
    from torch import Tensor

    from .physics.noise import ErrorEstimate
    from .physics.observed import Window
else:
    torch = deferred("torch")

__all__ = ["measure", "qtable", "quantities", "uncertainty"]


def _is_array(what: object) -> bool:
    """Whether something is a field, or several, and no patch."""
    return isinstance(what, np.ndarray | list | tuple) or is_tensor(what)


def _field_and_scale(what: object, scale_mm: ArrayLike | None) -> tuple[Any, Any, Window | None]:
    """Fields in gauss, their scale, and where the region lies (`solquery.physics.region_window`).

    Of arrays and Quantities as given, which say nothing of a region; else of the patch that `what` stands for.
    """
    if not _is_array(what):
        patch = _patch(what)
        if scale_mm is not None:
            raise ValueError("a Patch has its own scale; do not give another one")
        return patch.field, patch.scale_mm, region_window(patch)
    if not (hasattr(what, "to_value") or hasattr(scale_mm, "to_value") or isinstance(scale_mm, str)):
        return what, scale_mm, None
    from .physics.units import bare

    return *bare(what, scale_mm), None


def _patch(what: object) -> Patch:
    if isinstance(what, Patch):
        return what
    from .sharp.as_patch import as_patch

    return as_patch(what)


def measure(
    what: object, scale_mm: ArrayLike | None = None, names: Iterable[str] | str | None = None
) -> dict[str, Tensor]:
    """Measure physical parameters of a patch, or of a batch of fields of equal size.

    Parameters
    ----------
    what
        A `Patch`, a sunpy Map, the path of a FITS file, an `Answer` or an `Inversion`; or (H, W) or (N, H, W) in gauss,
        numpy or torch, on any device, or a Quantity. Row 0 is the southernmost, column 0 the easternmost; pixels that
        are not finite are missing.
    scale_mm
        For arrays: megametres per pixel as (y, x) for all, or (N, 2), or with a unit (``"0.5 Mm"``); None where the
        grid has no physical scale: the results are then in gauss and pixels.
    names
        Which parameters; None for all but those that are measured on demand only.

    Returns
    -------
    One (N,) float64 tensor per parameter, on the device of the fields, in `unit_of`. NaN: unknown for this patch. FLUX
    and its area of a SHARP whose header places the region in the box are those of the field there.

    Raises
    ------
    UnknownParameter
        Listing the parameters that exist.
    ValueError
        When shape or scale do not fit.

    Examples
    --------
    >>> from solquery import measure, sample_patches
    >>> f"{measure(sample_patches()[0], names='tuf')['tuf'].item():.2g} Mx"
    '1.6e+22 Mx'
    """
    fields, scale_mm, window = _field_and_scale(what, scale_mm)
    if window is None:
        return physics.measure(fields, scale_mm, names)
    wanted = [names] if isinstance(names, str) else list(physics.parameters() if names is None else names)
    found = measure_within(fields, scale_mm, wanted, window)
    return {name: torch.from_numpy(values) for name, values in found.items()}


def uncertainty(
    what: object,
    scale_mm: ArrayLike | None = None,
    noise_gauss: float | str | Quantity | None = None,
    names: Iterable[str] | None = None,
    samples: int = 32,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Standard errors of the parameters of what `measure` measures; see `solquery.physics.uncertainty`.

    Parameters
    ----------
    what, scale_mm, names
        As `measure` takes them.
    noise_gauss
        Standard deviation of the noise of one pixel, G, or with a unit (``"1 mT"``), independent from pixel to pixel.
        None: level and correlation are estimated from each patch's own quiet pixels.
    samples, seed
        How many draws, at least 4, and the seed they are drawn from.

    Returns
    -------
    One (N,) float64 tensor per parameter in the parameter's own unit; NaN where it is unknown.
    """
    quantity = "radial"
    if not _is_array(what):
        what = _patch(what)
        quantity = what.quantity
    fields, scale_mm, window = _field_and_scale(what, scale_mm)
    if isinstance(noise_gauss, str) or hasattr(noise_gauss, "to_value"):
        from .physics.units import in_unit

        noise_gauss = float(in_unit(noise_gauss, "G"))
    return physics.uncertainty(fields, scale_mm, noise_gauss, names, samples, seed, window, quantity)


def quantities(
    what: object, scale: ArrayLike | None = None, names: Iterable[str] | str | None = None
) -> dict[str, Quantity]:
    """Parameters of what `measure` measures as astropy Quantities, scalar for one field, (N,) for a batch.

    Examples
    --------
    >>> from solquery import quantities, sample_patches
    >>> quantities(sample_patches()[0], names="tuf")["tuf"].unit
    Unit("Mx")
    """
    from .physics.units import quantities as of_fields

    return of_fields(what if _is_array(what) else _patch(what), scale, names)


def qtable(
    patches: object,
    names: Iterable[str] | None = None,
    noise_gauss: float | None = None,
    more: Mapping[str, Iterable[Any]] | None = None,
    errors: bool | Iterable[Mapping[str, ErrorEstimate]] | None = None,
) -> QTable:
    """Parameters at native scale as an astropy QTable, one row a patch.

    Columns: id, region, source, quantity, t_rec, mu, then a Quantity per parameter, then the columns of `more`. A
    patch without scale has NaN where a unit needs one. ``table.write("out.ecsv")`` keeps units and definitions.

    Parameters
    ----------
    patches
        One, or any number, of what stands for a patch: `Patch`, sunpy Map, path, `Answer`, `Inversion`.
    names
        Which parameters; None for all but those that are measured on demand only.
    noise_gauss
        Estimate errors for independent noise of so many gauss.
    more
        Columns to put behind.
    errors
        True: bias and standard error of each parameter, from each patch's own quiet pixels, as ``<name>_bias`` and
        ``<name>_error``; or what `solquery.physics.parameter_errors` gave for each patch.

    Examples
    --------
    >>> from solquery import qtable, sample_patches
    >>> qtable(sample_patches()[:2], ["tuf", "r"]).colnames[-2:]
    ['tuf', 'r']
    """
    from .physics.noise import parameter_errors
    from .physics.units import known_names
    from .physics.units import qtable as of_patches

    rows = [_patch(one) for one in _several(patches)]
    if errors is True:
        errors = [
            parameter_errors(
                p.field, p.scale_mm, noise_gauss, known_names(p, names), window=region_window(p), quantity=p.quantity
            )
            for p in rows
        ]
    return of_patches(rows, names, noise_gauss, more, errors or None)


def _several(patches: object) -> Iterator[object]:
    """One thing that stands for a patch, or several, as several."""
    if isinstance(patches, str | Patch) or hasattr(patches, "to_patch") or not isinstance(patches, Iterable):
        return iter([patches])
    return iter(patches)
