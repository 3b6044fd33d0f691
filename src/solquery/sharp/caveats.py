"""What limits the numbers and pictures of a patch: limb, missing pixels, a region cut by the box, QUALITY."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..patch import Patch
from ..physics.region import own_field
from .limb import offlimb_fraction
from .quality import quality_fault

__all__ = ["Caveat", "caveats"]

#: below this the noise of radial fields exceeds 60 G and sums of weak field measure it
_NEAR_LIMB_MU = 0.5
#: share of the pixels that may be missing unsaid
_MISSING = 0.01
#: width of the border in Mm, and the share of the region's own flux in it from which it is cut
_BORDER_MM, _CUT = 2.2, 0.05


class Caveat(NamedTuple):
    """A limit of a patch: a name (``limb``, ``offlimb``, ``missing``, ``cut``, ``quality``) and a sentence."""

    name: str
    text: str


def caveats(patch: Patch) -> list[Caveat]:
    """Limits that touch every number and picture of a patch; empty where there are none.

    ``limb``: μ below 0.5; ``offlimb``: part of the box lies behind the limb; ``missing``: more than one pixel in a
    hundred is missing; ``cut``: more than 5 % of the region's own flux lies within 2.2 Mm of the border, so that the
    region goes on beyond it; ``quality``: QUALITY marks the frame as bad.
    """
    out = []
    if patch.mu < _NEAR_LIMB_MU:
        out.append(Caveat("limb", f"near the limb (μ = {patch.mu:.2f}): noise and projection dominate weak field"))
    beyond = offlimb_fraction(
        (patch.field.shape[0], patch.field.shape[1]), patch.scale_mm, patch.latitude_deg, patch.longitude_deg,
        patch.b0_deg,
    )  # fmt: skip
    if beyond > _MISSING:
        out.append(Caveat("offlimb", f"{beyond:.0%} of the box lies behind the limb"))
    if patch.missing_fraction > _MISSING:
        out.append(Caveat("missing", f"{patch.missing_fraction:.0%} of the pixels are missing and count as 0 G"))
    if patch.scale_mm is not None:
        share = _at_the_border(patch)
        if share > _CUT:
            out.append(Caveat("cut", f"cut by the view: {share:.0%} of the region's own flux lies at the border"))
    fault = quality_fault(patch.quality)
    if fault:
        out.append(Caveat("quality", fault))
    return out


def _at_the_border(patch: Patch) -> float:
    """Share of the region's own flux within the border."""
    assert patch.scale_mm is not None
    own = np.abs(own_field(patch.field, patch.scale_mm))
    y, x = (max(1, round(_BORDER_MM / step)) for step in patch.scale_mm)
    total = float(own.sum(dtype=np.float64))
    return 1.0 - float(own[y:-y, x:-x].sum(dtype=np.float64)) / total if total > 0 else 0.0
