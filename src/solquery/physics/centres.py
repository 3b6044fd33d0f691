"""The flux-weighted centres of the polarities as the header of a SHARP defines them, from the field and its bitmap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import SolqueryError
from .keywords import MM_PER_DEGREE, header_values
from .sharp import ACTIVE

if TYPE_CHECKING:
    from ..protocols import PatchLike

__all__ = ["FluxCentres", "flux_centres"]


class FluxCentres(NamedTuple):
    """Centres of the two polarities in Stonyhurst degrees, under the names of the keywords in small letters."""

    latfwtpo: float
    lonfwtpo: float
    latfwtne: float
    lonfwtne: float

    def values(self) -> dict[str, float]:
        """``psep`` (Mm), ``axis_angle``, ``tilt`` (deg) and ``polarity``, as `header_values` has them of a header."""
        found = header_values({name.upper(): value for name, value in self._asdict().items()})
        return {name: entry.value for name, entry in found.items()}


def _places(patch: PatchLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitude and longitude in degrees, and μ, of each pixel (H, W): an equal-area map about the patch's centre."""
    assert patch.scale_mm is not None
    y, x = (
        np.radians((np.arange(n) - 0.5 * (n - 1)) * step / MM_PER_DEGREE)
        for n, step in zip(patch.field.shape, patch.scale_mm, strict=True)
    )
    # along y the sine of the angle from the great circle through the centre, along x the angle from its meridian
    sine = np.clip(y, -1.0, 1.0)[:, None] + 0.0 * x
    cosine = np.sqrt(1.0 - sine**2)
    out, west = cosine * np.cos(x), cosine * np.sin(x)
    middle, tip = math.radians(patch.latitude_deg), math.radians(patch.b0_deg)
    north = math.sin(middle) * out + math.cos(middle) * sine
    outward = math.cos(middle) * out - math.sin(middle) * sine
    latitude = np.arcsin(np.clip(north, -1.0, 1.0))
    longitude = np.arctan2(west, outward) + math.radians(patch.longitude_deg)
    mu = math.sin(tip) * np.sin(latitude) + math.cos(tip) * np.cos(latitude) * np.cos(longitude)
    return np.degrees(latitude), np.degrees(longitude), mu


def flux_centres(patch: PatchLike, bitmap: ArrayLike) -> FluxCentres:
    """Centres of the polarities as LATFWTPO, LONFWTPO, LATFWTNE and LONFWTNE have them.

    The weight of a pixel is its flux on the disk: the line-of-sight field times the projected area, over the active
    pixels of the bitmap (value 34), without a threshold. PSEP and TILT take the area on the Sun and the pixels beyond
    150 G of the whole box. Of a radial field the part along the line of sight is taken as B μ: where the field is not
    radial, the centres differ from the header's.

    Parameters
    ----------
    patch
        With scale and place.
    bitmap
        (H, W), the segment of that name of the same record.

    Returns
    -------
    FluxCentres
        NaN for a polarity that no active pixel has.

    Raises
    ------
    SolqueryError
        For a patch without scale or place.
    ValueError
        When the shapes differ.
    """
    active = np.asarray(bitmap) == ACTIVE
    if active.shape != patch.field.shape:
        raise ValueError(f"field and bitmap must have one shape, got {patch.field.shape} and {active.shape}")
    if patch.scale_mm is None or not np.isfinite([patch.latitude_deg, patch.longitude_deg, patch.b0_deg]).all():
        raise SolqueryError(f"{patch.id} has no scale or no place on the Sun: its centres have no coordinates")
    latitude, longitude, mu = _places(patch)
    weight = np.nan_to_num(np.asarray(patch.field, dtype=np.float64), posinf=0.0, neginf=0.0) * active
    weight *= np.clip(mu, 0.0, None) ** (1 if patch.quantity == "line-of-sight" else 2)
    found = []
    for part in (np.clip(weight, 0.0, None), np.clip(-weight, 0.0, None)):
        total = float(part.sum())
        found += [float((part * place).sum()) / total if total > 0 else math.nan for place in (latitude, longitude)]
    return FluxCentres(*found)
