"""What limits the numbers and pictures of a patch: limb, missing pixels, a region cut by the box, QUALITY."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..patch import Patch
from ..physics.region import own_field
from .limb import offlimb_fraction
from .quality import quality_fault

__all__ = ["Caveat", "caveats", "known_caveats"]

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
    beyond = offlimb_fraction(
        (patch.field.shape[0], patch.field.shape[1]), patch.scale_mm, patch.latitude_deg, patch.longitude_deg,
        patch.b0_deg,
    )  # fmt: skip
    out = known_caveats(patch.mu, patch.quality, patch.missing_fraction, beyond)
    share = 0.0 if patch.scale_mm is None else _at_the_border(patch)
    if share > _CUT:
        cut = Caveat("cut", f"cut by the view: {share:.0%} of the region's own flux lies at the border")
        out.insert(len(out) - 1 if out and out[-1].name == "quality" else len(out), cut)
    return out


def known_caveats(
    mu: float, quality: int = 0, missing_fraction: float = 0.0, offlimb_fraction: float = 0.0
) -> list[Caveat]:
    """The limits of `caveats` that need no pixels: all but ``cut``.

    Parameters
    ----------
    mu
        Cosine of the heliocentric angle of the centre; NaN where unknown.
    quality
        The keyword QUALITY.
    missing_fraction, offlimb_fraction
        Shares of the pixels that are missing and that lie behind the limb; NaN where unknown.
    """
    out = []
    if mu < _NEAR_LIMB_MU:
        out.append(Caveat("limb", f"near the limb (μ = {mu:.2f}): noise and projection dominate weak field"))
    if offlimb_fraction > _MISSING:
        out.append(Caveat("offlimb", f"{offlimb_fraction:.0%} of the box lies behind the limb"))
    if missing_fraction > _MISSING:
        out.append(Caveat("missing", f"{missing_fraction:.0%} of the pixels are missing and count as 0 G"))
    fault = quality_fault(quality)
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
