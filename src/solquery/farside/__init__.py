"""From a blurred map of unsigned field to an ensemble of regions that could be behind it.

Helioseismology sees an active region on the far side of the Sun as one patch some 20 Mm fine, without polarity. Many
regions fit such a map. `farside_ensemble` draws from those that a generator knows, as often as the map says that they
are probable; what they agree on is known, what they differ in is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .ensemble import Ensemble, farside_ensemble
    from .maps import FarsideError, FarsideMap, degraded, read_map
    from .prior import Prior, draw_prior
    from .strength import StrengthLaw

__all__ = [
    "Ensemble",
    "FarsideError",
    "FarsideMap",
    "Prior",
    "StrengthLaw",
    "degraded",
    "draw_prior",
    "farside_ensemble",
    "read_map",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ensemble": "Ensemble farside_ensemble",
        "maps": "FarsideError FarsideMap degraded read_map",
        "prior": "Prior draw_prior",
        "strength": "StrengthLaw",
    },
)
