"""What the inversion of HMI adds to a parameter of a radial field, apart from noise: a separate number.

Linear polarisation goes with the mean of the square of the field. Plage is made of tubes that fill a part of a pixel,
and an inversion that takes the filling factor for one finds too strong a transverse field there (Leka & Barnes 2012;
Pietarila et al. 2013): the radial field of plage comes out the larger the farther from disc centre. No frame shows this
of itself, and more frames do not lessen it. It is measured on simulated frames, each once as it is and once as HMI
would report it without noise (quantities ``noise-free`` and ``noise-free-observed`` of ``solquery simulate``). Their
filling factor was set so that plage at μ 0.5 to 0.85 is as strong as in observed frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .observed import measure_patch
from .registry import get_parameter

if TYPE_CHECKING:
    from ..protocols import PatchLike

__all__ = ["SYSTEMATIC", "Systematic", "systematics"]

#: log(reported / true) = a sin² of the heliocentric angle, and two thirds of the frames within b sin of it;
#: scripts/check_errors.py --pairs
SYSTEMATIC = {
    "flux": (0.44, 0.14),
    "flux_area": (0.72, 0.21),
    "tuf": (0.53, 0.09),
    "tpf": (0.29, 0.06),
    "tnf": (0.29, 0.06),
    "area": (0.57, 0.06),
    "psep": (0.0, 0.02),
    "separation": (0.0, 0.015),
}
_LEAST_MU = 0.5
_BASIS = "77 simulated frames with and without the observation, μ > 0.5"


class Systematic(NamedTuple):
    """What the observation adds to a value without noise.

    ``offset`` is how much of the value, in its own unit, the observation adds; ``error`` how uncertain that is. Neither
    is part of `ErrorEstimate`: value - bias - offset estimates what a telescope without the effect would find.
    """

    offset: float
    error: float
    basis: str


def systematics(
    patch: PatchLike, names: Iterable[str] | None = None, values: Mapping[str, float] | None = None
) -> dict[str, Systematic]:
    """Systematic offset and its uncertainty of parameters of a radial field.

    Parameters
    ----------
    patch
        With its μ; line-of-sight fields, whose amplitude is linear in the field, have no such offset.
    names
        Which parameters; None for all of `SYSTEMATIC`; others are left out.
    values
        What they are measured as, less their bias; None measures the patch.

    Returns
    -------
    Name to `Systematic`; empty for a line-of-sight or generated field, at μ < 0.5, and where μ is unknown.
    """
    wanted = [get_parameter(name).name for name in (SYSTEMATIC if names is None else names)]
    wanted = [name for name in wanted if name in SYSTEMATIC]
    if patch.quantity != "radial" or patch.source == "generated" or not patch.mu >= _LEAST_MU:
        return {}
    found = measure_patch(patch, wanted) if values is None else values
    square = max(1.0 - patch.mu**2, 0.0)
    out = {}
    for name in wanted:
        value = found.get(name, math.nan)
        if not math.isfinite(value):
            continue
        rate, scatter = SYSTEMATIC[name]
        true = value * math.exp(-rate * square)
        out[name] = Systematic(value - true, abs(true) * scatter * math.sqrt(square), _BASIS)
    return out
