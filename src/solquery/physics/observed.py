"""Parameters of an observation: those of the field, and the region's own flux where the header says the region lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..aliases import Array
from .keywords import MM_PER_DEGREE, number_or_nan
from .registry import measure_arrays, parameters, unit_of

if TYPE_CHECKING:
    from ..protocols import PatchLike

__all__ = ["OF_REGION", "Window", "measure_patch", "measure_within", "region_window"]

#: rows and columns of a field
Window = tuple[slice, slice]

#: parameters of the region alone, which other regions in the box are not to enter
OF_REGION = ("flux", "flux_area")
#: corners of the active pixels of a HARP in its SHARP's header, Stonyhurst degrees: constant names, values of the frame
_CORNERS = ("LAT_MIN", "LAT_MAX", "LON_MIN", "LON_MAX")
#: the region's field goes on so far beyond its active pixels; of real SHARPs the least error (docs/numbers.md)
_MARGIN_DEG = 0.2
#: a window of fewer pixels is none
_FEWEST_PX = 4


def region_window(patch: PatchLike) -> Window | None:
    """Rows and columns of a SHARP's box in which its header places the region: other regions may share the box.

    The corners of the active pixels at this instant (LAT_MIN, LAT_MAX, LON_MIN, LON_MAX) and 0.2° about them. None
    where the header does not have them, or they do not fit the field.
    """
    corners = [number_or_nan(patch.keywords.get(key)) for key in _CORNERS]
    if patch.scale_mm is None or not all(map(math.isfinite, (*corners, patch.latitude_deg, patch.longitude_deg))):
        return None
    if corners[0] > corners[1] or corners[2] > corners[3]:
        return None
    window = []
    ends = ((patch.latitude_deg, corners[0], corners[1]), (patch.longitude_deg, corners[2], corners[3]))
    for size, step_mm, (middle, low, high) in zip(patch.field.shape, patch.scale_mm, ends, strict=True):
        # equal-area maps of a region: both axes are even in degrees about its centre
        at = (np.array([low - _MARGIN_DEG, high + _MARGIN_DEG]) - middle) * MM_PER_DEGREE / step_mm + (size - 1) / 2
        first, last = max(math.ceil(at[0]), 0), min(math.floor(at[1]) + 1, size)
        if last - first < _FEWEST_PX:
            return None
        window.append(slice(first, last))
    return window[0], window[1]


def measure_within(
    fields: Array, scale_mm: ArrayLike | None, names: Iterable[str], window: Window | None
) -> dict[str, np.ndarray]:
    """`measure_arrays` of fields (H, W) or (N, H, W), with the parameters of the region alone from a window."""
    wanted = list(names)
    own = [name for name in wanted if name in OF_REGION]
    if window is None or not own:
        return measure_arrays(fields, scale_mm, wanted)
    rest = [name for name in wanted if name not in OF_REGION]
    found = measure_arrays(fields, scale_mm, rest) if rest else {}
    found |= measure_arrays(fields[..., window[0], window[1]], scale_mm, own)
    return {name: found[name] for name in wanted}


def measure_patch(patch: PatchLike, names: Iterable[str] | str | None = None) -> dict[str, float]:
    """Parameters of one patch at its native scale, in each parameter's own unit.

    As `measure` of its field, but for FLUX and its area: of a SHARP whose header says where the region lies in the box
    they are those of the field there (`region_window`).

    Parameters
    ----------
    patch
        A `solquery.Patch`; without a scale, parameters whose unit needs one are NaN.
    names
        Which; None for all but those measured on demand only.
    """
    wanted = [names] if isinstance(names, str) else list(parameters() if names is None else names)
    known = [n for n in wanted if patch.scale_mm is not None or unit_of(n, True) == unit_of(n, False)]
    found = measure_within(patch.field, patch.scale_mm, known, region_window(patch)) if known else {}
    return {name: float(found[name][0]) if name in found else math.nan for name in wanted}
